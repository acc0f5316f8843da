"""
The courier: section by section what becomes of each parcel.
"""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred, fail

from tests.delivery.fakes import AWAY, BAD, BROKEN, NOT_US, OK, START, CourierTestCase, FakeAnswer, FakeParcel, throttle
from vumi_turn.delivery import Result
from vumi_turn.delivery.retries import Action, Step
from vumi_turn.delivery.sender import _parking_of, _Tried
from vumi_turn.failures.dead_letter import DeadLetter
from vumi_turn.turn.verdicts import Verdict

MALFORMED = DeadLetter(Verdict.MALFORMED, "permanent", "Not a vumi message: no content")


class OrdinaryTests(CourierTestCase):
    """All goes well."""

    def test_delivered(self) -> None:
        """What Turn accepts is delivered, prepared and sent just once."""
        parcel = self.send("a")
        self.assertIs(self.result(parcel), Result.DELIVERED)
        self.assertEqual((parcel.prepared, self.turn.names), (1, ["a"]))
        self.assertEqual(self.counted.tries, [("message", "delivered", 0.0)])
        self.assertEqual(self.counted.results, [("message", "delivered")])

    def test_one_after_another(self) -> None:
        """Parcels with one key go one after another, in the order in which they came."""
        self.turn.answer = lambda parcel: None
        a, b, c = (self.send(name, "person") for name in "abc")
        self.assertEqual((self.turn.names, b.prepared), (["a"], 0))
        self.turn.finish(a)
        self.assertEqual(self.turn.names, ["a", "b"])
        self.turn.finish(b)
        self.turn.finish(c)
        self.assertEqual(self.ended, [a, b, c])

    def test_others_overlap(self) -> None:
        """Parcels with other keys, or of another kind, don't wait."""
        self.turn.answer = lambda parcel: None
        self.send("a", "person")
        self.send("b", "another")
        self.send("c", "person", kind="status")
        self.assertEqual(self.turn.names, ["a", "b", "c"])
        self.assertEqual((self.courier.in_flight, self.courier.in_flight_of("status")), (3, 1))

    def test_order_across_retries(self) -> None:
        """The next of a person waits while the one before is tried again."""
        answers = iter([BROKEN, AWAY, OK, OK])
        self.turn.answer = lambda parcel: next(answers)
        self.send("a", "person")
        b = self.send("b", "person")
        self.pass_time(30)
        self.assertEqual(self.turn.names, ["a", "a", "a", "b"])
        self.assertIs(self.result(b), Result.DELIVERED)

    def test_long_line_at_once(self) -> None:
        """A line of a thousand that are all answered at once needs no deep stack."""
        self.turn.answer = lambda parcel: None
        first = self.send("first", "person")
        self.turn.answer = lambda parcel: OK
        others = [self.send(str(number), "person") for number in range(1000)]
        self.turn.finish(first)
        self.assertEqual(self.ended, [first, *others])

    def test_observer_that_fails(self) -> None:
        """Whoever counts cannot change what becomes of a parcel."""

        class Bad:
            def tried(self, *args: Any) -> None:
                raise ZeroDivisionError("a counter broke")

            settled = tried

        self.courier = self.make_courier(observer=Bad())
        self.assertIs(self.result(self.send("a")), Result.DELIVERED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class BeforeSendingTests(CourierTestCase):
    """What is not sent at all."""

    def test_stale(self) -> None:
        """One that is too old when its turn comes is parked as stale, and not sent."""
        parcel = self.send("a", expires=START - 1)
        self.assertIs(self.result(parcel), Result.PARKED)
        parking = parcel.parkings[0]
        self.assertEqual((parking.verdict, parking.code, parking.attempts), (Verdict.STALE, "temporary", 0))
        self.assertEqual((self.turn.posts, parcel.prepared), ([], 0))

    def test_stale_while_it_waited(self) -> None:
        """One that becomes too old between its tries is parked as stale."""
        self.turn.answer = lambda parcel: AWAY
        parcel = self.send("a", expires=START + 3)
        self.pass_time(90)
        self.assertIs(self.result(parcel), Result.PARKED)
        self.assertIs(parcel.parkings[0].verdict, Verdict.STALE)
        self.assertLess(max(time for time, _ in self.turn.posts), START + 3.1)

    def test_stale_probe(self) -> None:
        """A probe that is too old makes way for another one at once."""
        self.courier = self.make_courier(max_retries=0)
        self.turn.answer = lambda parcel: AWAY
        self.send("a", expires=START + 0.5)
        b = self.send("b")
        self.turn.answer = lambda parcel: OK
        self.pass_time(1.5)
        self.assertIs(self.result(b), Result.DELIVERED)

    def test_returned_too_often(self) -> None:
        """One that went back 15 times is parked before the queue drops it, one of 14 is sent."""
        fourteen, fifteen = self.send("a", delivery_count=14), self.send("b", delivery_count=15)
        self.assertEqual((self.result(fourteen), self.result(fifteen)), (Result.DELIVERED, Result.PARKED))
        self.assertEqual((fifteen.parkings[0].code, self.turn.names), ("temporary", ["a"]))

    def test_lost_before(self) -> None:
        """One whose delivery is gone already is lost, and not sent."""
        parcel, malformed = self.parcel("a"), self.parcel("b")
        parcel.lose()
        malformed.lose()
        self.assertIs(self.result(self.deliver(parcel)), Result.LOST)
        self.assertIs(self.result(self.park(malformed, MALFORMED)), Result.LOST)
        self.assertEqual((self.turn.posts, malformed.park_tries), ([], []))

    def test_prepare_fails(self) -> None:
        """An exception in preparing parks it for a replay, with an id that is in the log."""
        parcel = self.parcel("a")
        parcel.preparing = lambda: fail(ZeroDivisionError("our bug"))
        self.deliver(parcel)
        self.assertIs(self.result(parcel), Result.PARKED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        error_id = self.lines("Sending {message_id} failed")[0]["error_id"]
        parking = parcel.parkings[0]
        self.assertEqual((parking.verdict, parking.code), (Verdict.ERROR, "temporary"))
        self.assertIn(error_id, parking.reason)
        self.assertNotIn("our bug", parking.reason)

    def test_post_fails(self) -> None:
        """An exception in posting does the same, and is counted as an error."""
        self.turn.answer = lambda parcel: KeyError("our bug")
        parcel = self.send("a")
        self.assertIs(self.result(parcel), Result.PARKED)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertIn(self.lines("Sending {message_id} failed")[0]["error_id"], parcel.parkings[0].reason)
        self.assertEqual(parcel.parkings[0].attempts, 1)
        self.assertEqual(self.counted.tries, [("message", "error", 0.0)])


class RefusedTests(CourierTestCase):
    """Turn says no."""

    def test_parked_at_once(self) -> None:
        """A refused one is parked at once for good, and the next one of that person goes on."""
        self.turn.answer = lambda parcel: BAD if parcel.name == "a" else OK
        a, b = self.send("a", "person"), self.send("b", "person")
        self.assertEqual((self.result(a), self.result(b)), (Result.PARKED, Result.DELIVERED))
        parking = a.parkings[0]
        self.assertEqual(
            (parking.verdict, parking.code, parking.attempts, parking.last_status),
            (Verdict.REFUSED, "permanent", 1, 400),
        )
        self.assertIn("no such thing", parking.reason)

    def test_twenty_in_a_row(self) -> None:
        """After 20 refusals without one acceptance the others are held: it is not their fault."""
        self.turn.answer = lambda parcel: BAD
        parcels = [self.send(str(number)) for number in range(40)]
        self.pass_time(300)
        self.assertEqual([self.result(parcel) for parcel in parcels[:20]], [Result.PARKED] * 20)
        self.assertEqual([self.result(parcel) for parcel in parcels[20:]], [None] * 20)
        self.assertTrue(self.courier.away and self.courier.misconfigured)
        self.turn.answer = lambda parcel: OK
        self.pass_time(120)
        self.assertEqual([self.result(parcel) for parcel in parcels[20:]], [Result.DELIVERED] * 20)
        self.assertFalse(self.courier.away or self.courier.misconfigured)

    def test_not_in_a_row(self) -> None:
        """One acceptance among them begins the count again."""
        self.turn.answer = lambda parcel: OK if parcel.name == "19" else BAD
        parcels = [self.send(str(number)) for number in range(39)]
        self.assertEqual([self.result(parcel) for parcel in parcels].count(Result.PARKED), 38)
        self.assertFalse(self.courier.away)

    def test_reason_of_parking(self) -> None:
        """A parking says what came of the last try."""
        tried = _Tried(Verdict.FAILED, BROKEN, None)
        parking = _parking_of(Step(Action.PARK, why="Because"), tried, 4)
        self.assertEqual(parking, DeadLetter(Verdict.FAILED, "temporary", "Because (status 500).", 4, 500))


class AwayTests(CourierTestCase):
    """Turn is away."""

    max_retries = 0

    def go_away(self, answer: FakeAnswer = AWAY, count: int = 3) -> list[FakeParcel]:
        """Several are sent while Turn is away; the first is tried, and the others wait."""
        self.turn.answer = lambda parcel: answer
        return [self.send(f"p{number}") for number in range(count)]

    def test_held(self) -> None:
        """When a round ended and nothing was accepted Turn is away, and nothing more is sent."""
        self.go_away()
        self.assertTrue(self.courier.away)
        self.assertEqual((self.turn.names, self.courier.held), (["p0"], 3))
        self.pass_time(0.9)
        self.assertEqual(self.turn.names, ["p0"])

    def test_a_whole_round_first(self) -> None:
        """Turn is not away before a whole round has failed."""
        self.courier = self.make_courier(max_retries=3)
        self.turn.answer = lambda parcel: AWAY
        self.send("a")
        while not self.courier.away:
            self.pass_time(0.25)
        self.assertEqual(self.turn.names, ["a"] * 4)

    def test_another_probe_each_time(self) -> None:
        """Probes come 1 s doubling to 60 s apart, another parcel each time, newcomers first."""
        self.go_away()
        self.pass_time(8)
        self.send("new")
        self.pass_time(175)
        times = [time - START for time, _ in self.turn.posts]
        self.assertEqual([round(time) for time in times], [0, 1, 3, 7, 15, 31, 63, 123, 183])
        self.assertEqual(self.turn.names, ["p0", "p1", "p2", "p0", "new", "p1", "p2", "p0", "new"])

    def test_one_probe_at_a_time(self) -> None:
        """While a probe is under way no other is sent, however long it takes."""
        self.go_away()
        self.turn.answer = lambda parcel: None
        self.pass_time(300)
        self.assertEqual(self.turn.running, 1)

    def test_nothing_is_parked(self) -> None:
        """However long Turn is away, nothing is parked."""
        parcels = self.go_away()
        self.pass_time(1100)
        self.assertEqual([self.result(parcel) for parcel in parcels], [None] * 3)

    def test_back(self) -> None:
        """When a probe is accepted all go on: two at a time, then three, up to all."""
        parcels = self.go_away(count=20)
        self.turn.answer = lambda parcel: None
        self.pass_time(1.1)
        self.assertEqual(self.turn.running, 1)
        for running in range(2, 8):
            self.turn.finish(next(iter(self.turn.hanging)))
            self.assertEqual((self.turn.running, self.courier.away), (running, False))
        while self.turn.hanging:
            self.turn.finish(next(iter(self.turn.hanging)))
        self.assertEqual([self.result(parcel) for parcel in parcels], [Result.DELIVERED] * 20)

    def test_an_early_answer_ends_it(self) -> None:
        """One that was under way before, and is accepted, shows that Turn is back."""
        self.turn.answer = lambda parcel: None if parcel.name == "early" else AWAY
        early = self.send("early")
        other = self.send("a")
        self.assertTrue(self.courier.away)
        self.turn.answer = lambda parcel: OK
        self.turn.finish(early)
        self.assertFalse(self.courier.away)
        self.assertIs(self.result(other), Result.DELIVERED)

    def test_any_answer_ends_it(self) -> None:
        """A probe that is refused, throttled or failed shows that Turn is back."""
        for answer in (BAD, throttle(5.0), BROKEN):
            self.courier = self.make_courier(max_retries=1)
            self.turn.posts.clear()
            self.turn.answer = lambda parcel: AWAY
            self.send("a")
            self.send("b")
            self.pass_time(3)
            self.assertTrue(self.courier.away)
            self.turn.answer = lambda parcel, answer=answer: answer  # type: ignore[misc]
            probes = len(self.turn.posts)
            while len(self.turn.posts) == probes:
                self.assertEqual(self.lines("Turn is back"), [])
                self.pass_time(0.25)
            self.assertEqual(len(self.lines("Turn is back")), 1, answer)
            self.stop(0)
            self.clock.advance(0)
            self.events.clear()

    def test_held_classes_do_not_end_it(self) -> None:
        """A probe that is not let in does not end it, and makes it a misconfiguration."""
        self.go_away()
        self.turn.answer = lambda parcel: NOT_US
        self.pass_time(1.1)
        self.assertTrue(self.courier.away and self.courier.misconfigured)
        self.turn.answer = lambda parcel: AWAY
        self.pass_time(3)
        self.assertTrue(self.courier.away and not self.courier.misconfigured)

    def test_throttled_probe(self) -> None:
        """No probe is sent while Turn wants no requests."""
        self.go_away(FakeAnswer(503, wait=100.0))
        self.pass_time(99.5)
        self.assertEqual(self.turn.names, ["p0"])
        self.pass_time(1)
        self.assertEqual(self.turn.names, ["p0", "p1"])

    def test_nobody_to_probe_with(self) -> None:
        """If nobody is held, the next one that comes is the probe, at once."""
        (parcel,) = self.go_away(count=1)
        parcel.lose()
        self.pass_time(100)
        self.assertEqual(len(self.turn.posts), 1)
        self.turn.answer = lambda parcel: OK
        self.assertIs(self.result(self.send("new")), Result.DELIVERED)
        self.assertFalse(self.courier.away)

    def test_log(self) -> None:
        """The log has a line when Turn goes, one a minute, and one when it is back."""
        self.go_away(count=20)
        self.pass_time(200)
        self.turn.answer = lambda parcel: OK
        self.pass_time(120)
        self.assertEqual(
            [event["log_format"][:9] for event in self.events if event["log_level"].name != "debug"],
            ["Turn is a", *["Turn has "] * 4, "Turn is b"],
        )
        self.assertEqual(self.events[0]["what"], "connect")

    def test_another_probe_after_a_reconnect(self) -> None:
        """What failed as a probe before the broker's connection was lost comes last after it, too."""
        parcels = self.go_away()
        self.pass_time(1.1)
        self.assertEqual(self.turn.names, ["p0", "p1"])
        for parcel in parcels:
            parcel.lose()
        for parcel in parcels:
            self.deliver(parcel.again())
        self.pass_time(7)
        self.assertEqual(self.turn.names, ["p0", "p1", "p2", "p0"])

    def test_log_amid_traffic(self) -> None:
        """Those whose round began before Turn went, and saw others accepted, add no lines of their own."""
        self.courier = self.make_courier(max_retries=1)
        self.turn.answer = lambda parcel: OK if parcel.name == "good" else AWAY
        held = [self.send(f"p{number}") for number in range(20)]
        self.send("good")
        self.turn.answer = lambda parcel: AWAY
        self.pass_time(50)
        self.assertEqual(self.courier.held, len(held))
        self.assertEqual(
            [event["log_format"][:9] for event in self.events if event["log_level"].name != "debug"],
            ["Turn is a"],
        )

    def test_log_of_misconfiguration(self) -> None:
        """While Turn does not let us in there is one error line a minute that says what to check."""
        self.go_away(NOT_US, count=20)
        self.pass_time(150)
        lines = self.lines("Turn does not let us in")
        self.assertEqual([round(line["log_time"] - self.events[0]["log_time"]) for line in lines], [0] * 3)
        self.assertEqual({line["log_level"].name for line in lines}, {"error"})
        self.assertIn("auth_token", lines[0]["log_format"])
        self.assertIn("turn_api_url", lines[0]["log_format"])

    def test_misconfigured_is_one_try(self) -> None:
        """One that is not let in is tried once, then held."""
        self.courier = self.make_courier(max_retries=3)
        self.go_away(NOT_US)
        self.pass_time(0.9)
        self.assertEqual(self.turn.names, ["p0"])


class FailingTests(CourierTestCase):
    """Turn answers with errors of its own."""

    def test_one_that_fails(self) -> None:
        """One that fails for a round while another is accepted is parked, for a replay."""
        self.turn.answer = lambda parcel: BROKEN if parcel.name == "bad" else OK
        bad = self.send("bad")
        self.send("good")
        self.pass_time(30)
        self.assertIs(self.result(bad), Result.PARKED)
        parking = bad.parkings[0]
        self.assertEqual(
            (parking.verdict, parking.code, parking.attempts, parking.last_status),
            (Verdict.FAILED, "temporary", 4, 500),
        )

    def test_all_fail(self) -> None:
        """A Turn that fails on everything fills no failures queue, and makes few log lines."""
        self.turn.answer = lambda parcel: BROKEN
        parcels = [self.send(str(number)) for number in range(20)]
        self.pass_time(1100)
        self.assertEqual([self.result(parcel) for parcel in parcels], [None] * 20)
        self.assertLess(len([event for event in self.events if event["log_level"].name != "debug"]), 40)
        self.assertLess(len(self.turn.posts), 1100)
        self.turn.answer = lambda parcel: OK
        self.pass_time(90)
        self.assertEqual([self.result(parcel) for parcel in parcels], [Result.DELIVERED] * 20)

    def test_accepted_before_the_round(self) -> None:
        """What was accepted before its round began does not count."""
        self.send("good")
        self.turn.answer = lambda parcel: BROKEN
        bad = self.send("bad")
        self.pass_time(30)
        self.assertIsNone(self.result(bad))

    def test_status_not_found(self) -> None:
        """A 404 on a status is its own failure; on a message it is a wrong URL."""
        self.turn.answer = lambda parcel: OK if parcel.name == "good" else FakeAnswer(404)
        status = self.send("status", kind="status")
        self.send("good")
        self.pass_time(30)
        self.assertIs(self.result(status), Result.PARKED)
        self.send("message")
        self.assertTrue(self.courier.misconfigured)


class PoisonTests(CourierTestCase):
    """One message on which Turn always hangs."""

    def trickle(self, seconds: float) -> None:
        """Somebody else's message each second."""
        for _ in range(int(seconds)):
            self.send(f"other {len(self.results)}")
            self.pass_time(1.0)

    def test_three_rounds(self) -> None:
        """It is held alone, and parked after three rounds, while the others are delivered."""
        self.turn.answer = lambda parcel: FakeAnswer(504) if parcel.name == "bad" else OK
        bad, behind = self.send("bad", "person"), self.send("behind", "person")
        self.trickle(100)
        self.assertEqual(self.turn.names.count("bad"), 12)
        self.assertEqual((self.result(bad), self.result(behind)), (Result.PARKED, Result.DELIVERED))
        self.assertEqual((bad.parkings[0].code, bad.parkings[0].last_status), ("temporary", 504))
        others = {self.result(parcel) for parcel in self.results if parcel.name.startswith("other")}
        self.assertEqual(others, {Result.DELIVERED})
        self.assertFalse(self.courier.away)
        lines = [(line["message_id"], line["seconds"]) for line in self.lines("is held for")]
        self.assertEqual(lines, [("bad", 2.0)])  # the first time may be the beginning of an outage

    def test_the_window_is_full_of_its_line(self) -> None:
        """
        With so many of the same person behind it that nobody else's can come, the next one is tried
        just after it: when Turn takes that, it is parked, and the others go on in order.
        """
        self.turn.answer = lambda parcel: FakeAnswer(504) if parcel.name == "bad" else OK
        line = [self.send(name, "person") for name in ("bad", *(f"m{number}" for number in range(19)))]
        self.pass_time(60)
        self.assertEqual([self.result(parcel) for parcel in line], [Result.PARKED, *[Result.DELIVERED] * 19])
        self.assertEqual([parcel.name for parcel in self.turn.accepted], [f"m{number}" for number in range(19)])
        self.assertEqual(self.turn.names.count("m0"), 1)
        self.assertEqual(line[0].parkings[0].code, "temporary")
        self.assertFalse(self.courier.away)

    def test_two_lines_fill_the_window_over_reconnects(self) -> None:
        """So are two of them, also where the connection to the broker is lost again and again."""
        self.courier = self.make_courier(prefetch=10)  # one of them fills it, too
        self.turn.answer = lambda parcel: FakeAnswer(504) if parcel.name.startswith("bad") else OK
        waiting = [self.parcel(f"{name}-{who}", who) for name in ("bad", *"abcdefghi") for who in ("x", "y")]
        for _ in range(30):
            sent = [self.deliver(parcel.again()) for parcel in waiting]
            self.pass_time(9)
            for parcel in sent:
                if self.result(parcel) is None:
                    parcel.lose()
            self.pass_time(20)
            lost = [parcel.name for parcel in sent if self.result(parcel) is Result.LOST]
            waiting = [parcel for parcel in waiting if parcel.name in lost]
        self.assertEqual(waiting, [])
        for who in ("x", "y"):
            theirs = [parcel.name for parcel in self.turn.accepted if parcel.key == who]
            self.assertEqual(theirs, [f"{name}-{who}" for name in "abcdefghi"])

    def test_away_with_a_window_full_of_one_line(self) -> None:
        """While Turn is away that parks nobody, and afterwards all is delivered in order, each once."""
        self.turn.answer = lambda parcel: AWAY
        line = [self.send(f"m{number}", "person") for number in range(20)]
        self.pass_time(300)
        self.assertEqual([self.result(parcel) for parcel in line], [None] * 20)
        self.turn.answer = lambda parcel: OK
        self.pass_time(61)
        self.assertEqual(self.turn.accepted, line)
        self.assertEqual({self.result(parcel) for parcel in line}, {Result.DELIVERED})

    def test_stand_in_lost(self) -> None:
        """The connection is lost while the next one is tried: both are lost, and it is sent once."""
        self.turn.answer = lambda parcel: None if parcel.name == "m0" else FakeAnswer(504)
        line = [self.send(name, "person") for name in ("bad", *(f"m{number}" for number in range(19)))]
        while "m0" not in self.turn.names:
            self.pass_time(0.25)
        for parcel in line:
            parcel.lose()
        self.pass_time(0.1)
        self.turn.finish(line[1])
        self.assertEqual({self.result(parcel) for parcel in line}, {Result.LOST})
        self.assertEqual(self.turn.names.count("m0"), 1)
        again = self.deliver(line[1].again())
        self.assertIs(self.result(again), Result.DELIVERED)

    def test_one_after_another_while_standing_in(self) -> None:
        """As long as the next one is under way its head is not sent: Turn, when it thaws, would get both."""
        self.turn.answer = lambda parcel: None if parcel.name == "m0" else FakeAnswer(504)
        line = [self.send(name, "person") for name in ("bad", *(f"m{number}" for number in range(19)))]
        while "m0" not in self.turn.names:
            self.pass_time(0.25)
        tries = self.turn.names.count("bad")
        self.pass_time(100)
        self.assertEqual(self.turn.names.count("bad"), tries)
        self.turn.answer = lambda parcel: OK
        self.turn.finish(line[1], FakeAnswer(504))
        self.pass_time(61)
        self.assertEqual(self.turn.accepted, line)

    def test_head_lost_while_its_next_is_tried(self) -> None:
        """A head that was to be the probe, and waits for that, leaves the probing to others when it is lost."""
        self.turn.answer = lambda parcel: None if parcel.name == "m0" else FakeAnswer(504)
        line = [self.send(name, "person") for name in ("bad", *(f"m{number}" for number in range(19)))]
        while "m0" not in self.turn.names:
            self.pass_time(0.25)
        self.pass_time(100)
        for parcel in line:
            parcel.lose()
        self.turn.answer = lambda parcel: OK
        other = self.send("other")
        self.pass_time(61)
        self.assertIs(self.result(other), Result.DELIVERED)
        self.turn.finish(line[1])

    def test_stand_in_waits_as_told(self) -> None:
        """When Turn wants no requests for a while, the next one is not tried before its turn either."""
        self.turn.answer = lambda parcel: None if parcel.name == "other" else FakeAnswer(504)
        other, bad, behind = self.send("other"), self.send("bad", "person"), self.parcel("m0", "person")
        preparing: Deferred[None] = Deferred()
        behind.preparing = lambda: preparing
        for parcel in (behind, *(self.parcel(f"m{number}", "person") for number in range(1, 19))):
            self.deliver(parcel)
        while not behind.prepared:
            self.pass_time(0.25)
        tries = len(self.turn.posts)
        self.turn.finish(other, throttle(60))
        preparing.callback(None)
        self.pass_time(59)
        self.assertEqual(len(self.turn.posts), tries)
        self.turn.answer = lambda parcel: OK
        self.pass_time(10)
        self.assertEqual([self.result(parcel) for parcel in (other, bad, behind)], [Result.DELIVERED] * 3)
        self.assertEqual(self.turn.names.count("m0"), 1)

    def test_stand_in_at_the_end_of_the_stay(self) -> None:
        """A line whose next one is being tried goes back when that has ended, all of it."""
        self.turn.answer = lambda parcel: None if parcel.name == "m0" else FakeAnswer(504)
        names = ("bad", *(f"m{number}" for number in range(19)))
        line = [self.send(name, "person", received=START - 1140) for name in names]
        self.pass_time(65)
        self.assertIn("m0", self.turn.names)
        self.assertEqual([self.result(parcel) for parcel in line[:2]], [None, None])
        self.turn.finish(line[1], FakeAnswer(504))
        self.pass_time(2)
        self.assertEqual({self.result(parcel) for parcel in line}, {Result.REQUEUE})

    def test_stand_in_stopped(self) -> None:
        """Stopped while the next one is tried: that may finish, and all else goes back."""
        self.turn.answer = lambda parcel: None if parcel.name == "m0" else FakeAnswer(504)
        line = [self.send(name, "person") for name in ("bad", *(f"m{number}" for number in range(19)))]
        while "m0" not in self.turn.names:
            self.pass_time(0.25)
        stopped = self.stop(10.0)
        self.assertNoResult(stopped)
        self.turn.finish(line[1])
        self.successResultOf(stopped)
        results = [self.result(parcel) for parcel in line]
        self.assertEqual(results, [Result.REQUEUE, Result.DELIVERED, *[Result.REQUEUE] * 18])

    def test_alone(self) -> None:
        """If it is the only one Turn seems away; the next one that comes shows that it is not."""
        self.turn.answer = lambda parcel: FakeAnswer(504) if parcel.name == "bad" else OK
        self.send("bad")
        self.pass_time(60)
        self.assertTrue(self.courier.away)
        good = self.send("good")
        while self.result(good) is None:
            self.assertTrue(self.courier.away)
            self.pass_time(1)
        self.assertIs(self.result(good), Result.DELIVERED)
        self.assertFalse(self.courier.away)
        self.assertLess(self.clock.seconds() - START, 120)


class ThrottledTests(CourierTestCase):
    """Too many requests."""

    def test_nothing_is_sent(self) -> None:
        """While told to wait nothing is sent, messages go before statuses then, and no try counts."""
        self.turn.answer = lambda parcel: throttle(30.0)
        first = self.send("first")
        self.turn.answer = lambda parcel: OK
        self.send("status", kind="status")
        message = self.send("message")
        self.assertEqual(self.courier.throttled_until, START + 30)
        # They wait for the rate limit, which is nothing that anybody has to see to.
        self.assertEqual((self.courier.waiting, self.courier.held), (3, 0))
        self.pass_time(29.9)
        self.assertEqual(self.turn.names, ["first"])
        self.pass_time(0.2)
        self.assertEqual(self.turn.names, ["first", "first", "message", "status"])
        self.assertEqual((self.result(first), self.result(message)), (Result.DELIVERED, Result.DELIVERED))
        self.assertIsNone(self.courier.throttled_until)

    def test_storm(self) -> None:
        """With a limit of 60 requests a minute nothing is parked or lost, and no request is sent
        while told to wait."""
        window: list[float] = []
        told = [0.0]

        def answer(parcel: FakeParcel) -> FakeAnswer:
            now = self.clock.seconds()
            self.assertGreaterEqual(now, told[0] - 1e-6)
            window[:] = [time for time in window if time > now - 60]
            if len(window) >= 60:
                wait = window[0] + 60 - now
                told[0] = now + wait
                return throttle(wait)
            window.append(now)
            return OK

        self.turn.answer = answer
        parcels = [self.send(str(number), kind=("status", "message")[number % 2]) for number in range(400)]
        self.pass_time(600)
        self.assertEqual({self.result(parcel) for parcel in parcels}, {Result.DELIVERED})
        self.assertEqual([event for event in self.events if event["log_level"].name != "debug"], [])

    def test_never_counts(self) -> None:
        """However often one is throttled, it is neither parked nor held."""
        self.turn.answer = lambda parcel: throttle()
        parcel = self.send("a")
        self.pass_time(1000)
        self.assertIsNone(self.result(parcel))
        self.assertFalse(self.courier.away)
        self.assertLess(len(self.turn.posts), 30)


class ParkingTests(CourierTestCase):
    """Parking, also where it fails."""

    def test_until_it_works(self) -> None:
        """Parking that fails is tried again after 1 s, doubling to 60 s, until it works."""
        parcel = self.parcel("a")
        parcel.parking = lambda: fail(OSError("broker away"))
        self.park(parcel, MALFORMED)
        self.pass_time(200)
        times = [round(time - START) for time in parcel.park_tries]
        self.assertEqual(times, [0, 1, 3, 7, 15, 31, 63, 123, 183])
        self.assertIsNone(self.result(parcel))
        parcel.parking = lambda: None
        self.pass_time(60)
        self.assertEqual((self.result(parcel), parcel.parkings), (Result.PARKED, [MALFORMED]))
        self.assertEqual(len(self.lines("could not be parked")), 9)

    def test_those_behind_wait(self) -> None:
        """While one is being parked the next of that person waits, because it may be replayed."""
        a = self.parcel("a", "person")
        parked: Deferred[None] = Deferred()
        a.parking = lambda: parked
        self.turn.answer = lambda parcel: BAD if parcel.name == "a" else OK
        self.deliver(a)
        b = self.send("b", "person")
        self.assertEqual((self.result(a), self.turn.names), (None, ["a"]))
        parked.callback(None)
        self.assertEqual((self.result(a), self.result(b)), (Result.PARKED, Result.DELIVERED))

    def test_twenty_minutes(self) -> None:
        """One that cannot be parked goes back to its queue after 20 minutes."""
        parcel = self.parcel("a")
        parcel.parking = lambda: fail(OSError("broker away"))
        self.park(parcel, MALFORMED)
        self.pass_time(1199)
        self.assertIsNone(self.result(parcel))
        self.pass_time(2)
        self.assertIs(self.result(parcel), Result.REQUEUE)

    def test_lost_meanwhile(self) -> None:
        """One whose delivery is lost between two tries is lost at once, during a try after it."""
        between, during = self.parcel("a"), self.parcel("b")
        between.parking = lambda: fail(OSError("broker away"))
        parked: Deferred[None] = Deferred()
        during.parking = lambda: parked
        self.park(between, MALFORMED)
        self.park(during, MALFORMED)
        between.lose()
        during.lose()
        self.assertEqual((self.result(between), self.result(during)), (Result.LOST, None))
        parked.callback(None)
        self.assertIs(self.result(during), Result.LOST)

    def test_log(self) -> None:
        """Each parked one has a line that names its id and the reason, and a flood is cut short."""
        for number in range(200):
            self.park(self.parcel(f"id {number}"), MALFORMED)
        lines = self.lines("is parked")
        self.assertEqual(len(lines), 30)
        self.assertEqual((lines[0]["message_id"], lines[0]["log_level"].name), ("id 0", "warn"))
        self.pass_time(61)
        self.park(self.parcel("later"), MALFORMED)
        self.assertEqual(self.lines("were left out")[0]["count"], 170)


class LostTests(CourierTestCase):
    """The connection that brought them is gone."""

    def test_those_that_wait(self) -> None:
        """All that only wait are lost at once, and none of them is sent any more."""
        self.turn.answer = lambda parcel: None if parcel.name == "a" else throttle(1000.0)
        a, b = self.send("a", "person"), self.send("b", "person")
        c, d = self.send("c", "another"), self.send("d", "another")
        for parcel in (b, c, d):
            parcel.lose()
            self.assertIs(self.result(parcel), Result.LOST)
        self.assertIsNone(self.result(a))
        self.pass_time(1100)
        self.assertEqual(self.turn.names, ["a", "c"])

    def test_the_next_does_not_overtake(self) -> None:
        """When a person's are lost one after another, none of them is sent in between."""
        self.turn.answer = lambda parcel: AWAY if parcel.name == "a" else OK
        a, b, c = (self.send(name, "person") for name in "abc")
        for parcel in (a, b, c):
            parcel.lose()
        self.pass_time(30)
        self.assertEqual(self.turn.names, ["a"])
        self.assertEqual([self.result(parcel) for parcel in (a, b, c)], [Result.LOST] * 3)

    def test_one_alone(self) -> None:
        """When only one is lost, the next of that person goes on."""
        self.turn.answer = lambda parcel: AWAY if parcel.name == "a" else OK
        a, b = self.send("a", "person"), self.send("b", "person")
        a.lose()
        self.pass_time(0.25)
        self.assertIs(self.result(b), Result.DELIVERED)

    def test_while_posting_and_accepted(self) -> None:
        """A POST under way is finished, and the copy behind it is acknowledged without sending."""
        self.turn.answer = lambda parcel: None
        parcel = self.send("a", "person")
        parcel.lose()
        copy = self.deliver(parcel.again())
        self.assertEqual((self.result(parcel), self.turn.names), (None, ["a"]))
        self.turn.finish(parcel)
        self.pass_time(0.25)
        self.assertEqual((self.result(parcel), self.result(copy)), (Result.LOST, Result.DELIVERED))
        self.assertEqual((self.turn.names, copy.prepared), (["a"], 0))

    def test_while_posting_and_failed(self) -> None:
        """One that failed after it was lost is not tried again; the copy is."""
        self.turn.answer = lambda parcel: None
        parcel = self.send("a", "person")
        parcel.lose()
        copy = self.deliver(parcel.again())
        self.turn.finish(parcel, BAD)
        self.pass_time(0.25)
        self.turn.finish(copy)
        self.assertEqual((self.result(parcel), self.result(copy)), (Result.LOST, Result.DELIVERED))
        self.assertEqual((self.turn.names, parcel.parkings), (["a", "a"], []))

    def test_while_preparing(self) -> None:
        """One that is lost while it is prepared is not sent."""
        parcel = self.parcel("a")
        waiting: Deferred[None] = Deferred()
        parcel.preparing = lambda: waiting
        self.deliver(parcel)
        parcel.lose()
        self.assertEqual((self.result(parcel), self.turn.posts), (Result.LOST, []))

    def test_within_its_own_call(self) -> None:
        """One that is lost within its own prepare or post ends as lost."""
        in_prepare, in_post = self.parcel("a"), self.parcel("b")
        in_prepare.preparing = lambda: in_prepare.lose()  # type: ignore[func-returns-value]

        def answer(parcel: FakeParcel) -> FakeAnswer:
            parcel.lose()
            return OK

        self.turn.answer = answer
        self.deliver(in_prepare)
        self.deliver(in_post)
        self.assertEqual((self.result(in_prepare), self.result(in_post)), (Result.LOST, Result.LOST))
        self.assertEqual(self.turn.names, ["b"])

    def test_probe(self) -> None:
        """A probe that is lost while it is under way leaves its place to another."""
        self.courier = self.make_courier(max_retries=0)
        self.turn.answer = lambda parcel: AWAY
        a, b = self.send("a"), self.send("b")
        self.turn.answer = lambda parcel: None
        self.pass_time(1.1)
        (probe,) = self.turn.hanging
        probe.lose()
        self.turn.finish(probe, AWAY)
        self.pass_time(3)
        self.assertEqual(self.turn.names, ["a", "b", "a"])
        self.assertEqual((self.result(a), self.result(b)), (None, Result.LOST))


class RedeliveredTests(CourierTestCase):
    """Delivered again."""

    def test_already_accepted(self) -> None:
        """One that Turn has accepted is delivered without being sent again."""
        parcel = self.send("a")
        copy = self.deliver(parcel.again())
        self.assertEqual((self.result(copy), self.turn.names), (Result.DELIVERED, ["a"]))

    def test_not_accepted(self) -> None:
        """One that was not accepted is sent."""
        self.turn.answer = lambda parcel: BAD
        parcel = self.send("a")
        self.turn.answer = lambda parcel: OK
        self.deliver(parcel.again())
        self.assertEqual(self.turn.names, ["a", "a"])

    def test_same_id_other_body(self) -> None:
        """The same id with another body is another message."""
        parcel = self.send("a")
        copy = parcel.again()
        copy.identity = ("a", b"another digest")
        self.deliver(copy)
        self.assertEqual(self.turn.names, ["a", "a"])

    def test_not_flagged(self) -> None:
        """One that is not flagged as redelivered is sent, whatever was sent before."""
        self.send("a")
        self.send("a")
        self.assertEqual(self.turn.names, ["a", "a"])

    def test_waits_for_its_post(self) -> None:
        """The copy of one whose POST is running waits for it."""
        self.turn.answer = lambda parcel: None
        parcel = self.send("a", "person")
        copy = self.deliver(parcel.again())
        self.pass_time(10)
        self.assertEqual((self.result(copy), self.turn.names), (None, ["a"]))
        self.turn.finish(parcel)
        self.assertEqual((self.result(copy), self.turn.names), (Result.DELIVERED, ["a"]))

    def test_long_line_of_copies(self) -> None:
        """A thousand copies in one line need no deep stack."""
        parcels = [self.send(str(number), "person") for number in range(1000)]
        self.turn.answer = lambda parcel: None
        first = self.send("first", "person")
        copies = [self.deliver(parcel.again()) for parcel in parcels]
        self.turn.finish(first)
        self.assertEqual({self.result(copy) for copy in copies}, {Result.DELIVERED})


class TwentyMinutesTests(CourierTestCase):
    """The longest stay."""

    def test_with_those_behind(self) -> None:
        """After 20 minutes one goes back with that person's later ones, in order and unsent;
        others stay."""
        self.turn.answer = lambda parcel: AWAY
        a = self.send("a", "person")
        self.pass_time(600)
        b, c = self.send("b", "person"), self.send("c", "person")
        other = self.send("other")
        self.pass_time(599)
        self.assertIsNone(self.result(a))
        self.pass_time(2)
        self.assertEqual(self.ended, [a, b, c])
        self.assertEqual({self.result(parcel) for parcel in self.ended}, {Result.REQUEUE})
        self.assertIsNone(self.result(other))
        self.assertNotIn("b", self.turn.names)

    def test_counts_from_the_delivery(self) -> None:
        """The time counts from the delivery, not from when the courier saw it."""
        self.turn.answer = lambda parcel: throttle(600.0)
        self.send("first")
        parcel = self.send("a", received=START - 1190)
        self.pass_time(11)
        self.assertIs(self.result(parcel), Result.REQUEUE)

    def test_in_line(self) -> None:
        """It counts also for one that only waits in line."""
        self.turn.answer = lambda parcel: throttle(600.0)
        first, second = self.send("a", "person"), self.send("b", "person", received=START - 1000)
        third = self.send("c", "person")
        self.pass_time(201)
        self.assertEqual(self.ended, [second, third])
        self.assertIsNone(self.result(first))

    def test_running_post(self) -> None:
        """A POST that is running may finish: accepted, it is delivered, and the next goes on."""
        self.turn.answer = lambda parcel: None
        a, b = self.send("a", "person", received=START - 1199), self.send("b", "person")
        self.pass_time(5)
        self.assertIsNone(self.result(a))
        self.turn.finish(a)
        self.assertEqual((self.result(a), self.turn.names), (Result.DELIVERED, ["a", "b"]))
        self.assertIsNone(self.result(b))

    def test_running_post_fails(self) -> None:
        """If it then fails it goes back with those behind it, without another try."""
        self.turn.answer = lambda parcel: None
        a, b = self.send("a", "person", received=START - 1199), self.send("b", "person")
        self.pass_time(5)
        self.turn.finish(a, AWAY)
        self.assertEqual(self.ended, [a, b])
        self.assertEqual((self.result(a), self.turn.names), (Result.REQUEUE, ["a"]))

    def test_running_post_that_never_ends(self) -> None:
        """One that hangs for longer than any POST should is given up, before 30 minutes are over."""
        self.turn.answer = lambda parcel: None
        a, b = self.send("a", "person"), self.send("b", "person", received=START + 1300)
        self.pass_time(1499)
        self.assertIsNone(self.result(a))
        self.pass_time(2)
        self.assertEqual((self.ended, self.turn.running), ([a, b], 0))

    def test_preparing(self) -> None:
        """One whose preparation never ends goes back too."""
        parcel = self.parcel("a")
        waiting: Deferred[None] = Deferred()
        parcel.preparing = lambda: waiting
        self.deliver(parcel)
        self.pass_time(1201, step=50)
        self.assertEqual((self.result(parcel), self.turn.posts), (Result.REQUEUE, []))

    def test_one_on_its_way(self) -> None:
        """One that was on its way to us when its line went back goes back too, behind them."""
        self.turn.answer = lambda parcel: AWAY
        a = self.send("a", "person")
        self.pass_time(1201, step=1)
        self.assertIs(self.result(a), Result.REQUEUE)
        late = self.send("late", "person")
        self.assertIs(self.result(late), Result.REQUEUE)
        copy, late_copy = self.deliver(a.again()), self.deliver(late.again())
        new = self.send("new", "person")
        self.turn.answer = lambda parcel: OK
        self.pass_time(61)
        self.assertEqual(self.ended, [a, late, copy, late_copy, new])
        self.assertIs(self.result(new), Result.DELIVERED)

    def test_redelivered_on_its_way(self) -> None:
        """That holds after a restart of the broker too, when everything is flagged redelivered."""
        self.turn.answer = lambda parcel: AWAY
        a, b = self.send("a", "person", redelivered=True), self.send("b", "person", redelivered=True)
        self.pass_time(1201, step=1)
        late = self.send("late", "person", redelivered=True)
        first = self.deliver(a.again())
        new = self.send("new", "person", redelivered=True)
        second = self.deliver(b.again())
        newer = self.send("newer", "person", redelivered=True)
        self.assertEqual(self.ended, [a, b, late, new, newer])
        rest = [second, *(self.deliver(parcel.again()) for parcel in (late, new, newer))]
        self.turn.answer = lambda parcel: OK
        self.pass_time(61)
        self.assertEqual(self.ended[5:], [first, *rest])
        self.assertEqual({self.result(parcel) for parcel in rest}, {Result.DELIVERED})

    def test_line_that_another_worker_got(self) -> None:
        """One that was sent back once is not sent back again: its line may have gone elsewhere."""
        self.turn.answer = lambda parcel: AWAY
        self.send("a", "person")
        self.pass_time(1201, step=1)
        late = self.send("late", "person")
        again = self.deliver(late.again())
        self.assertIs(self.result(late), Result.REQUEUE)
        self.turn.answer = lambda parcel: OK
        self.pass_time(61)
        self.assertIs(self.result(again), Result.DELIVERED)

    def test_line_that_does_not_come_back(self) -> None:
        """After five seconds nobody waits for it."""
        self.turn.answer = lambda parcel: AWAY
        self.send("a", "person")
        self.pass_time(1201, step=1)
        self.pass_time(5)
        self.turn.answer = lambda parcel: OK
        new = self.send("new", "person")
        self.pass_time(61)
        self.assertIs(self.result(new), Result.DELIVERED)

    def test_one_timer_for_all(self) -> None:
        """All that wait share one timer, and it stops when there is nothing to watch."""
        self.turn.answer = lambda parcel: None
        parcels = [self.send(str(number)) for number in range(50)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for parcel in parcels:
            self.turn.finish(parcel)
        self.pass_time(1201, step=100)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StopTests(CourierTestCase):
    """Stopping."""

    def test_what_waits_and_what_runs(self) -> None:
        """What only waits goes back at once in order; POSTs finish, and then it has stopped."""
        self.turn.answer = lambda parcel: {"a": None, "c": throttle(60.0)}.get(parcel.name, OK)
        a, b = self.send("a", "person"), self.send("b", "person")
        c, d = self.send("c", "another"), self.send("d", "another")
        stopped = self.stop(10.0)
        self.assertEqual(self.ended, [b, c, d])
        self.assertEqual({self.result(parcel) for parcel in self.ended}, {Result.REQUEUE})
        self.pass_time(5)
        self.assertNoResult(stopped)
        self.turn.finish(a)
        self.successResultOf(stopped)
        self.assertEqual((self.result(a), self.turn.names), (Result.DELIVERED, ["a", "c"]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_to_do(self) -> None:
        """With nothing under way it stops at once."""
        self.send("a")
        self.successResultOf(self.stop(10.0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_turn_that_hangs(self) -> None:
        """POSTs that don't end go back in order after the timeout, and are given up."""
        self.turn.answer = lambda parcel: None
        parcels = [self.send(name) for name in "abc"]
        stopped = self.stop(10.0)
        self.pass_time(9.9)
        self.assertEqual(self.ended, [])
        self.pass_time(0.2)
        self.successResultOf(stopped)
        self.assertEqual(self.ended, parcels)
        self.assertEqual({self.result(parcel) for parcel in parcels}, {Result.REQUEUE})
        self.assertEqual(self.turn.running, 0)

    def test_post_that_cannot_be_cancelled(self) -> None:
        """A POST that goes on after it was given up changes nothing when it ends."""
        ending: Deferred[None] = Deferred(lambda _: None)

        class Stubborn(FakeParcel):
            async def post(self) -> FakeAnswer:
                try:
                    await Deferred()
                except Exception:
                    await ending
                raise ZeroDivisionError("too late to matter")

        parcel = self.deliver(Stubborn(self.turn, "a"))
        self.successResultOf(self.stop_now())
        self.assertIs(self.result(parcel), Result.REQUEUE)
        ending.callback(None)
        self.assertEqual(self.result(parcel), Result.REQUEUE)

    def stop_now(self) -> Deferred[None]:
        stopped = self.stop(0.0)
        self.clock.advance(0.0)
        return stopped

    def test_no_more_tries(self) -> None:
        """A POST that fails while stopping goes back, neither tried again nor parked."""
        for answer in (AWAY, BROKEN, BAD, throttle(5.0), NOT_US):
            self.courier = self.make_courier()
            self.turn.answer = lambda parcel: None
            parcel = self.send("a")
            stopped = self.stop(10.0)
            self.turn.finish(parcel, answer)
            self.successResultOf(stopped)
            self.assertEqual((self.result(parcel), parcel.parkings), (Result.REQUEUE, []))
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_publishes(self) -> None:
        """A parking under way may finish; one that waits for its next try goes back."""
        running, waiting = self.parcel("a"), self.parcel("b")
        parked: Deferred[None] = Deferred()
        running.parking = lambda: parked
        waiting.parking = lambda: fail(OSError("broker away"))
        self.park(running, MALFORMED)
        self.park(waiting, MALFORMED)
        stopped = self.stop(10.0)
        self.assertEqual(self.ended, [waiting])
        parked.callback(None)
        self.successResultOf(stopped)
        self.assertEqual((self.result(running), self.result(waiting)), (Result.PARKED, Result.REQUEUE))

    def test_parking_that_fails(self) -> None:
        """A parking that fails while stopping goes back."""
        parcel = self.parcel("a")
        parked: Deferred[None] = Deferred()
        parcel.parking = lambda: parked
        self.park(parcel, MALFORMED)
        stopped = self.stop(10.0)
        parked.errback(OSError("broker away"))
        self.successResultOf(stopped)
        self.assertIs(self.result(parcel), Result.REQUEUE)

    def test_preparing(self) -> None:
        """One that is being prepared goes back at once, and its preparation is cancelled."""
        cancelled: list[object] = []
        waiting: Deferred[None] = Deferred(cancelled.append)
        parcel = self.parcel("a")
        parcel.preparing = lambda: waiting
        self.deliver(parcel)
        self.successResultOf(self.stop(10.0))
        self.assertEqual((self.result(parcel), cancelled), (Result.REQUEUE, [waiting]))

    def test_held(self) -> None:
        """What is held while Turn is away, or alone, goes back at once; no probe is left."""
        self.turn.answer = lambda parcel: NOT_US if parcel.name == "a" else OK
        self.send("good")
        held = self.send("a")
        self.assertTrue(self.courier.away)
        self.successResultOf(self.stop(10.0))
        self.assertIs(self.result(held), Result.REQUEUE)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_after_the_stop(self) -> None:
        """What comes after the stop goes back at once, unsent, also what should be parked."""
        self.successResultOf(self.stop(10.0))
        a, b = self.send("a"), self.park(self.parcel("b"), MALFORMED)
        self.assertEqual((self.result(a), self.result(b)), (Result.REQUEUE, Result.REQUEUE))
        self.assertEqual((self.turn.posts, b.park_tries), ([], []))

    def test_twice(self) -> None:
        """Stopping twice is stopping once: both end together."""
        self.turn.answer = lambda parcel: None
        parcel = self.send("a")
        first, second = self.stop(10.0), self.stop(20.0)
        self.turn.finish(parcel)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StrandedTests(CourierTestCase):
    """This package itself fails."""

    def test_nothing_is_lost(self) -> None:
        """A parcel on which the policy itself fails goes back with its line after 20 minutes."""

        class Odd(FakeParcel):
            @property
            def expires(self) -> Optional[float]:  # type: ignore[override]
                raise ZeroDivisionError("a bug")

            @expires.setter
            def expires(self, value: Optional[float]) -> None:
                pass

        odd = self.deliver(Odd(self.turn, "odd", "person"))
        behind = self.send("behind", "person")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.pass_time(1201, step=100)
        self.assertEqual(self.ended, [odd, behind])
        self.assertEqual({self.result(odd), self.result(behind)}, {Result.REQUEUE})
