"""
The scheduler: section by section what becomes of each request.
"""

from __future__ import annotations

import random
from typing import Any, Optional

from twisted.internet.defer import Deferred, fail, succeed

from tests.cases import case
from tests.delivery.fakes import (
    AWAY,
    BAD,
    BROKEN,
    NOT_US,
    OK,
    START,
    FakeAnswer,
    FakeRequest,
    SchedulerTestCase,
    throttle,
)
from vumi_turn.delivery import Result
from vumi_turn.delivery.retries import Action, Step
from vumi_turn.delivery.sender import _dead_letter_of, _Tried
from vumi_turn.failures.dead_letter import DeadLetter
from vumi_turn.turn.verdicts import BodyMeaning, Verdict

MALFORMED = DeadLetter(Verdict.MALFORMED, "permanent", "Not a vumi message: no content")


class OrdinaryTests(SchedulerTestCase):
    """All goes well."""

    def test_delivered(self) -> None:
        """What Turn accepts is delivered, prepared and sent just once."""
        request = self.send("a")
        self.assertIs(self.result(request), Result.DELIVERED)
        self.assertEqual((request.prepared, self.turn.names), (1, ["a"]))
        self.assertEqual(self.counted.tries, [("message", "delivered", 0.0)])
        self.assertEqual(self.counted.results, [("message", "delivered")])

    def test_one_after_another(self) -> None:
        """Requests with one key go one after another, in the order in which they came."""
        self.turn.answer = lambda request: None
        a, b, c = (self.send(name, "person") for name in "abc")
        self.assertEqual((self.turn.names, b.prepared), (["a"], 0))
        self.turn.finish(a)
        self.assertEqual(self.turn.names, ["a", "b"])
        self.turn.finish(b)
        self.turn.finish(c)
        self.assertEqual(self.ended, [a, b, c])

    def test_others_overlap(self) -> None:
        """Requests with other keys, or of another kind, don't wait."""
        self.turn.answer = lambda request: None
        self.send("a", "person")
        self.send("b", "another")
        self.send("c", "person", kind="status")
        self.assertEqual(self.turn.names, ["a", "b", "c"])
        self.assertEqual((self.scheduler.in_flight, self.scheduler.in_flight_of("status")), (3, 1))

    def test_order_across_retries(self) -> None:
        """The next of a person waits while the one before is tried again."""
        answers = iter([BROKEN, AWAY, OK, OK])
        self.turn.answer = lambda request: next(answers)
        self.send("a", "person")
        b = self.send("b", "person")
        self.pass_time(30)
        self.assertEqual(self.turn.names, ["a", "a", "a", "b"])
        self.assertIs(self.result(b), Result.DELIVERED)

    def test_long_line_at_once(self) -> None:
        """A line of a thousand that are all answered at once needs no deep stack."""
        self.turn.answer = lambda request: None
        first = self.send("first", "person")
        self.turn.answer = lambda request: OK
        others = [self.send(str(number), "person") for number in range(1000)]
        self.turn.finish(first)
        self.assertEqual(self.ended, [first, *others])

    def test_observer_that_fails(self) -> None:
        """Whoever counts cannot change what becomes of a request."""

        class Bad:
            def tried(self, *args: Any) -> None:
                raise ZeroDivisionError("a counter broke")

            settled = tried

        self.scheduler = self.make_scheduler(observer=Bad())
        self.assertIs(self.result(self.send("a")), Result.DELIVERED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class BeforeSendingTests(SchedulerTestCase):
    """What is not sent at all."""

    def test_stale(self) -> None:
        """One that is too old when its turn comes is parked as stale, and not sent."""
        request = self.send("a", expires=START - 1)
        self.assertIs(self.result(request), Result.PARKED)
        parking = request.parkings[0]
        self.assertEqual((parking.verdict, parking.code, parking.attempts), (Verdict.STALE, "temporary", 0))
        self.assertEqual((self.turn.posts, request.prepared), ([], 0))

    def test_stale_while_it_waited(self) -> None:
        """One that becomes too old between its tries is parked as stale."""
        self.turn.answer = lambda request: AWAY
        request = self.send("a", expires=START + 3)
        self.pass_time(90)
        self.assertIs(self.result(request), Result.PARKED)
        self.assertIs(request.parkings[0].verdict, Verdict.STALE)
        self.assertLess(max(time for time, _ in self.turn.posts), START + 3.1)

    def test_stale_probe(self) -> None:
        """A probe that is too old makes way for another one at once."""
        self.scheduler = self.make_scheduler(max_retries=0)
        self.turn.answer = lambda request: AWAY
        self.send("a", expires=START + 0.5)
        b = self.send("b")
        self.turn.answer = lambda request: OK
        self.pass_time(1.5)
        self.assertIs(self.result(b), Result.DELIVERED)

    def test_returned_too_often(self) -> None:
        """
        One that went back 15 times is parked before the queue drops it, one of 14 is sent; so is one
        that is not redelivered, whose count is that of a queue from which it was moved.
        """
        moved = self.send("moved", delivery_count=16)
        self.assertIs(self.result(moved), Result.DELIVERED)
        fourteen, fifteen = (
            self.send(name, redelivered=True, delivery_count=count) for name, count in (("a", 14), ("b", 15))
        )
        self.assertEqual((self.result(fourteen), self.result(fifteen)), (Result.DELIVERED, Result.PARKED))
        self.assertEqual((fifteen.parkings[0].code, self.turn.names), ("temporary", ["moved", "a"]))

    def test_max_deliveries(self) -> None:
        """How often it may go back is a parameter."""
        self.scheduler = self.make_scheduler(max_deliveries=3)
        self.assertIs(self.result(self.send("a", redelivered=True, delivery_count=3)), Result.PARKED)

    def test_lost_before(self) -> None:
        """One whose delivery is gone already is lost, and not sent."""
        request, malformed = self.request("a"), self.request("b")
        request.lose()
        malformed.lose()
        self.assertIs(self.result(self.deliver(request)), Result.LOST)
        self.assertIs(self.result(self.park(malformed, MALFORMED)), Result.LOST)
        self.assertEqual((self.turn.posts, malformed.park_tries), ([], []))

    def test_prepare_fails(self) -> None:
        """An exception in preparing parks it for a replay, with an id that is in the log."""
        request = self.request("a")
        request.preparing = lambda: fail(ZeroDivisionError("our bug"))
        self.deliver(request)
        self.assertIs(self.result(request), Result.PARKED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        error_id = self.lines("Sending {message_id} failed")[0]["error_id"]
        parking = request.parkings[0]
        self.assertEqual((parking.verdict, parking.code), (Verdict.ERROR, "temporary"))
        self.assertIn(error_id, parking.reason)
        self.assertNotIn("our bug", parking.reason)

    def test_post_fails(self) -> None:
        """An exception in posting does the same, and is counted as an error."""
        self.turn.answer = lambda request: KeyError("our bug")
        request = self.send("a")
        self.assertIs(self.result(request), Result.PARKED)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertIn(self.lines("Sending {message_id} failed")[0]["error_id"], request.parkings[0].reason)
        self.assertEqual(request.parkings[0].attempts, 1)
        self.assertEqual(self.counted.tries, [("message", "error", 0.0)])


class RefusedTests(SchedulerTestCase):
    """Turn says no."""

    def test_parked_at_once(self) -> None:
        """A refused one is parked at once for good, and the next one of that person goes on."""
        self.turn.answer = lambda request: BAD if request.name == "a" else OK
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
        self.turn.answer = lambda request: BAD
        requests = [self.send(str(number)) for number in range(40)]
        self.pass_time(300)
        self.assertEqual([self.result(request) for request in requests[:20]], [Result.PARKED] * 20)
        self.assertEqual([self.result(request) for request in requests[20:]], [None] * 20)
        self.assertTrue(self.scheduler.away and self.scheduler.misconfigured)
        self.turn.answer = lambda request: OK
        self.pass_time(120)
        self.assertEqual([self.result(request) for request in requests[20:]], [Result.DELIVERED] * 20)
        self.assertFalse(self.scheduler.away or self.scheduler.misconfigured)

    def test_twenty_of_one_person(self) -> None:
        """Any number of refusals of fewer than five people are those people's messages' fault."""
        self.turn.answer = lambda request: BAD
        requests = [self.send(str(number), f"person {number % 4}") for number in range(100)]
        self.assertEqual({self.result(request) for request in requests}, {Result.PARKED})
        self.assertFalse(self.scheduler.away or self.scheduler.misconfigured)
        fifth = self.send("fifth")
        self.assertIsNone(self.result(fifth))
        self.assertTrue(self.scheduler.misconfigured)

    def test_not_in_a_row(self) -> None:
        """One acceptance among them begins the count again."""
        self.turn.answer = lambda request: OK if request.name == "19" else BAD
        requests = [self.send(str(number)) for number in range(39)]
        self.assertEqual([self.result(request) for request in requests].count(Result.PARKED), 38)
        self.assertFalse(self.scheduler.away)

    def test_reason_of_parking(self) -> None:
        """A parking says what came of the last try."""
        tried = _Tried(Verdict.FAILED, BROKEN, None)
        parking = _dead_letter_of(Step(Action.PARK, why="Because"), tried, 4)
        self.assertEqual(parking, DeadLetter(Verdict.FAILED, "temporary", "Because (status 500).", 4, 500))

    def test_words_of_turn(self) -> None:
        """Turn's own words in its refusal are kept with what is parked, and are in no log line."""
        self.turn.answer = lambda request: FakeAnswer(400, words="1008 marker words")
        request = self.send("m1")
        self.assertEqual(request.parkings[0].words, "1008 marker words")
        self.assertIn("Turn refused it (status 400). Turn says: 1008 marker words", request.parkings[0].full_reason)
        self.assertNotIn("marker", "".join(str(event) for event in self.events))


class AwayTests(SchedulerTestCase):
    """Turn is away."""

    max_retries = 0

    def go_away(self, answer: FakeAnswer = AWAY, count: int = 3) -> list[FakeRequest]:
        """Several are sent while Turn is away; the first is tried, and the others wait."""
        self.turn.answer = lambda request: answer
        return [self.send(f"p{number}") for number in range(count)]

    def test_held(self) -> None:
        """When a round ended and nothing was accepted Turn is away, and nothing more is sent."""
        self.go_away()
        self.assertTrue(self.scheduler.away)
        self.assertEqual((self.turn.names, self.scheduler.held), (["p0"], 3))
        self.pass_time(0.9)
        self.assertEqual(self.turn.names, ["p0"])

    def test_a_whole_round_first(self) -> None:
        """Turn is not away before a whole round has failed."""
        self.scheduler = self.make_scheduler(max_retries=3)
        self.turn.answer = lambda request: AWAY
        self.send("a")
        while not self.scheduler.away:
            self.pass_time(0.25)
        self.assertEqual(self.turn.names, ["a"] * 4)

    def test_pauses(self) -> None:
        """One that waits for its next try is told with the moment of that, in a round and between two."""
        self.scheduler = self.make_scheduler(max_retries=3)
        answers = iter([BROKEN, BROKEN, OK])
        self.turn.answer = lambda request: next(answers)
        self.send("a")
        for sent in (1, 2):
            while len(self.turn.names) == sent and not self.scheduler.pauses:
                self.pass_time(0.001)
            if len(self.turn.names) > sent:
                continue  # a pause may be drawn as none at all
            [until] = self.scheduler.pauses.values()
            self.pass_time(until - self.clock.seconds() + 0.001)
            self.assertEqual(self.turn.names, ["a"] * (sent + 1))
        self.assertEqual(self.scheduler.pauses, {})

    def test_another_probe_each_time(self) -> None:
        """Probes come 1 s doubling to 60 s apart, another request each time, newcomers first."""
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
        self.turn.answer = lambda request: None
        self.pass_time(300)
        self.assertEqual(self.turn.running, 1)

    def test_nothing_is_parked(self) -> None:
        """However long Turn is away, nothing is parked."""
        requests = self.go_away()
        self.pass_time(1100)
        self.assertEqual([self.result(request) for request in requests], [None] * 3)

    def test_back(self) -> None:
        """When a probe is accepted all go on: two at a time, then three, up to all."""
        requests = self.go_away(count=20)
        self.turn.answer = lambda request: None
        self.pass_time(1.1)
        self.assertEqual(self.turn.running, 1)
        for running in range(2, 8):
            self.turn.finish(next(iter(self.turn.hanging)))
            self.assertEqual((self.turn.running, self.scheduler.away), (running, False))
        while self.turn.hanging:
            self.turn.finish(next(iter(self.turn.hanging)))
        self.assertEqual([self.result(request) for request in requests], [Result.DELIVERED] * 20)

    def test_an_early_answer_ends_it(self) -> None:
        """One that was under way before, and is accepted, shows that Turn is back."""
        self.turn.answer = lambda request: None if request.name == "early" else AWAY
        early = self.send("early")
        other = self.send("a")
        self.assertTrue(self.scheduler.away)
        self.turn.answer = lambda request: OK
        self.turn.finish(early)
        self.assertFalse(self.scheduler.away)
        self.assertIs(self.result(other), Result.DELIVERED)

    def test_any_answer_ends_it(self) -> None:
        """A probe that is refused, throttled or failed shows that Turn is back."""
        for answer in (BAD, throttle(5.0), BROKEN):
            with case(answer=answer):
                self.scheduler = self.make_scheduler(max_retries=1)
                self.turn.posts.clear()
                self.turn.answer = lambda request: AWAY
                self.send("a")
                self.send("b")
                self.pass_time(3)
                self.assertTrue(self.scheduler.away)
                self.turn.answer = lambda request, answer=answer: answer  # type: ignore[misc]
                probes = len(self.turn.posts)
                while len(self.turn.posts) == probes:
                    self.assertEqual(self.lines("Turn is back"), [])
                    self.pass_time(0.25)
                self.assertEqual(len(self.lines("Turn is back")), 1)
                self.stop(0)
                self.clock.advance(0)
                self.events.clear()

    def test_held_classes_do_not_end_it(self) -> None:
        """A probe that is not let in does not end it, and makes it a misconfiguration."""
        self.go_away()
        self.turn.answer = lambda request: NOT_US
        self.pass_time(1.1)
        self.assertTrue(self.scheduler.away and self.scheduler.misconfigured)
        self.turn.answer = lambda request: AWAY
        self.pass_time(3)
        self.assertTrue(self.scheduler.away and not self.scheduler.misconfigured)

    def test_throttled_probe(self) -> None:
        """No probe is sent while Turn wants no requests."""
        self.go_away(FakeAnswer(503, wait=100.0))
        self.pass_time(99.5)
        self.assertEqual(self.turn.names, ["p0"])
        self.pass_time(1)
        self.assertEqual(self.turn.names, ["p0", "p1"])

    def test_nobody_to_probe_with(self) -> None:
        """If nobody is held, the next one that comes is the probe, at once."""
        (request,) = self.go_away(count=1)
        request.lose()
        self.pass_time(100)
        self.assertEqual(len(self.turn.posts), 1)
        self.turn.answer = lambda request: OK
        self.assertIs(self.result(self.send("new")), Result.DELIVERED)
        self.assertFalse(self.scheduler.away)

    def test_log(self) -> None:
        """The log has a line when Turn goes, one a minute, and one when it is back."""
        self.go_away(count=20)
        self.pass_time(200)
        self.turn.answer = lambda request: OK
        self.pass_time(120)
        self.assertEqual(
            [event["log_format"][:9] for event in self.events if event["log_level"].name != "debug"],
            ["Turn is a", *["Turn has "] * 4, "Turn is b"],
        )
        self.assertEqual(self.events[0]["what"], "connect")

    def test_another_probe_after_a_reconnect(self) -> None:
        """What failed as a probe before the broker's connection was lost comes last after it, too."""
        requests = self.go_away()
        self.pass_time(1.1)
        self.assertEqual(self.turn.names, ["p0", "p1"])
        for request in requests:
            request.lose()
        for request in requests:
            self.deliver(request.again())
        self.pass_time(7)
        self.assertEqual(self.turn.names, ["p0", "p1", "p2", "p0"])

    def test_log_amid_traffic(self) -> None:
        """Those whose round began before Turn went, and saw others accepted, add no lines of their own."""
        self.scheduler = self.make_scheduler(max_retries=1)
        self.turn.answer = lambda request: OK if request.name == "good" else AWAY
        held = [self.send(f"p{number}") for number in range(20)]
        self.send("good")
        self.turn.answer = lambda request: AWAY
        self.pass_time(50)
        self.assertEqual(self.scheduler.held, len(held))
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
        self.scheduler = self.make_scheduler(max_retries=3)
        self.go_away(NOT_US)
        self.pass_time(0.9)
        self.assertEqual(self.turn.names, ["p0"])


class FailingTests(SchedulerTestCase):
    """Turn answers with errors of its own."""

    def trickle(self, seconds: float) -> None:
        """Somebody else's message each second."""
        for number in range(int(seconds)):
            self.send(f"good {self.clock.seconds()} {number}")
            self.pass_time(1.0)

    def test_one_that_fails(self) -> None:
        """One that fails for three rounds while others are accepted is parked, for a replay."""
        self.turn.answer = lambda request: BROKEN if request.name == "bad" else OK
        bad = self.send("bad")
        while self.turn.names.count("bad") < 12:
            self.assertIsNone(self.result(bad))
            self.trickle(1)
        self.assertIs(self.result(bad), Result.PARKED)
        dead_letter = bad.parkings[0]
        self.assertEqual(
            (dead_letter.verdict, dead_letter.code, dead_letter.attempts, dead_letter.last_status),
            (Verdict.FAILED, "temporary", 12, 500),
        )

    def test_random_failures(self) -> None:
        """Where 30 % of all tries fail, at random, nothing is parked."""
        rng = random.Random(3)
        self.turn.answer = lambda request: BROKEN if rng.random() < 0.3 else OK
        requests = []
        for number in range(1000):
            requests.append(self.send(str(number)))
            self.pass_time(0.1, step=0.1)
        self.pass_time(300)
        self.assertEqual({self.result(request) for request in requests}, {Result.DELIVERED})

    def test_all_fail(self) -> None:
        """A Turn that fails on everything fills no failures queue, and makes few log lines."""
        self.turn.answer = lambda request: BROKEN
        requests = [self.send(str(number)) for number in range(20)]
        self.pass_time(1100)
        self.assertEqual([self.result(request) for request in requests], [None] * 20)
        self.assertLess(len([event for event in self.events if event["log_level"].name != "debug"]), 40)
        self.assertLess(len(self.turn.posts), 1100)
        self.turn.answer = lambda request: OK
        self.pass_time(90)
        self.assertEqual([self.result(request) for request in requests], [Result.DELIVERED] * 20)

    def test_accepted_before_the_round(self) -> None:
        """What was accepted before its round began does not count."""
        self.send("good")
        self.turn.answer = lambda request: BROKEN
        bad = self.send("bad")
        self.pass_time(30)
        self.assertIsNone(self.result(bad))

    def test_status_not_found(self) -> None:
        """A 404 on a status is its own failure; on a message it is a wrong URL."""
        self.turn.answer = lambda request: OK if request.name.startswith("good") else FakeAnswer(404)
        status = self.send("status", kind="status")
        self.trickle(90)
        self.assertIs(self.result(status), Result.PARKED)
        self.send("message")
        self.assertTrue(self.scheduler.misconfigured)


class PoisonTests(SchedulerTestCase):
    """One message on which Turn always hangs."""

    def trickle(self, seconds: float) -> None:
        """Somebody else's message each second."""
        for _ in range(int(seconds)):
            self.send(f"other {len(self.results)}")
            self.pass_time(1.0)

    def test_three_rounds(self) -> None:
        """It is held alone, and parked after three rounds, while the others are delivered."""
        self.turn.answer = lambda request: FakeAnswer(504) if request.name == "bad" else OK
        bad, behind = self.send("bad", "person"), self.send("behind", "person")
        self.trickle(100)
        self.assertEqual(self.turn.names.count("bad"), 12)
        self.assertEqual((self.result(bad), self.result(behind)), (Result.PARKED, Result.DELIVERED))
        self.assertEqual((bad.parkings[0].code, bad.parkings[0].last_status), ("temporary", 504))
        others = {self.result(request) for request in self.results if request.name.startswith("other")}
        self.assertEqual(others, {Result.DELIVERED})
        self.assertFalse(self.scheduler.away)
        lines = [(line["message_id"], line["seconds"]) for line in self.lines("is held for")]
        self.assertEqual(lines, [("bad", 2.0)])  # the first time may be the beginning of an outage

    def test_rounds_over_reconnects(self) -> None:
        """Rounds count on when its delivery is lost, or goes back after 20 minutes, and comes again."""
        for comes_back in ("lost", "requeued"):
            with case(comes_back=comes_back):
                self.scheduler = self.make_scheduler(max_retries=0)
                self.turn.answer = lambda request: None if request.name == "bad" else OK
                bad = self.request("bad", "person")
                for failed_rounds in (1, 2, 3):
                    bad.received -= 1199.5 if comes_back == "requeued" else 0.0
                    self.deliver(bad)
                    self.send(f"other {len(self.results)}")
                    self.turn.finish(bad, FakeAnswer(504))
                    if failed_rounds < 3:
                        self.assertIsNone(self.result(bad))
                        if comes_back == "lost":
                            bad.lose()
                        self.pass_time(0.5)
                        self.assertIs(self.result(bad), Result.LOST if comes_back == "lost" else Result.REQUEUE)
                        bad = bad.again()
                self.assertIs(self.result(bad), Result.PARKED)
                self.assertEqual(bad.parkings[0].attempts, 3)
                replayed = self.send("bad", "person")
                self.send(f"other {len(self.results)}")
                self.turn.finish(replayed, FakeAnswer(504))
                self.assertIsNone(self.result(replayed), "its rounds begin anew")
                self.stop(0)
                self.clock.advance(0)

    def test_away_with_a_window_full_of_one_line(self) -> None:
        """While Turn is away that parks nobody, and afterwards all is delivered in order, each once."""
        self.turn.answer = lambda request: AWAY
        line = [self.send(f"m{number}", "person") for number in range(20)]
        self.pass_time(300)
        self.assertEqual([self.result(request) for request in line], [None] * 20)
        self.turn.answer = lambda request: OK
        self.pass_time(61)
        self.assertEqual(self.turn.accepted, line)
        self.assertEqual({self.result(request) for request in line}, {Result.DELIVERED})

    def test_rounds_of_one_try(self) -> None:
        """So it is where a round is one try, and others are accepted only between its rounds; its next ones go on."""
        for apart in (0.5, 1.0, 30.0):
            with case(apart=apart):
                self.scheduler = self.make_scheduler(max_retries=0)
                self.turn.answer = lambda request: FakeAnswer(504) if request.name == "bad" else OK
                bad, behind = self.send("bad", "person"), self.send("behind", "person")
                for _ in range(20):
                    other = self.send(f"other {len(self.results)}")
                    self.pass_time(apart)
                    if self.result(bad) is not None:
                        break
                self.pass_time(2)
                self.assertEqual((self.result(bad), self.result(behind)), (Result.PARKED, Result.DELIVERED))
                self.assertIs(self.result(other), Result.DELIVERED)
                self.stop(0)
                self.clock.advance(0)

    def test_alone(self) -> None:
        """If it is the only one Turn seems away; the next one that comes shows that it is not."""
        self.turn.answer = lambda request: FakeAnswer(504) if request.name == "bad" else OK
        self.send("bad")
        self.pass_time(60)
        self.assertTrue(self.scheduler.away)
        good = self.send("good")
        while self.result(good) is None:
            self.assertTrue(self.scheduler.away)
            self.pass_time(1)
        self.assertIs(self.result(good), Result.DELIVERED)
        self.assertFalse(self.scheduler.away)
        self.assertLess(self.clock.seconds() - START, 120)


class ThrottledTests(SchedulerTestCase):
    """Too many requests."""

    def test_nothing_is_sent(self) -> None:
        """While told to wait nothing is sent, messages go before statuses then, and no try counts."""
        self.turn.answer = lambda request: throttle(30.0)
        first = self.send("first")
        self.turn.answer = lambda request: OK
        self.send("status", kind="status")
        message = self.send("message")
        self.assertEqual(self.scheduler.throttled_until, START + 30)
        # They wait for the rate limit, which is nothing that anybody has to see to.
        self.assertEqual((self.scheduler.waiting, self.scheduler.held), (3, 0))
        self.pass_time(29.9)
        self.assertEqual(self.turn.names, ["first"])
        self.pass_time(0.2)
        self.assertEqual(self.turn.names, ["first", "first", "message", "status"])
        self.assertEqual((self.result(first), self.result(message)), (Result.DELIVERED, Result.DELIVERED))
        self.assertIsNone(self.scheduler.throttled_until)

    def test_storm(self) -> None:
        """With a limit of 60 requests a minute nothing is parked or lost, and no request is sent
        while told to wait."""
        window: list[float] = []
        told = [0.0]

        def answer(request: FakeRequest) -> FakeAnswer:
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
        requests = [self.send(str(number), kind=("status", "message")[number % 2]) for number in range(400)]
        self.pass_time(600)
        self.assertEqual({self.result(request) for request in requests}, {Result.DELIVERED})
        self.assertEqual([event for event in self.events if event["log_level"].name != "debug"], [])

    def test_buckets(self) -> None:
        """A status whose rate limit bucket is exhausted delays no message, which falls into another one."""
        text, general = FakeAnswer(200, bucket="text"), FakeAnswer(429, wait=16.0, bucket="general")
        self.turn.answer = lambda request: text if request.kind == "message" else general
        self.send("first")
        self.send("status", kind="status")
        message = self.send("message")
        self.assertIs(self.result(message), Result.DELIVERED)
        self.pass_time(15)
        self.assertEqual(self.turn.names, ["first", "status", "message"])

    def test_accepted_that_is_none(self) -> None:
        """A 2xx with errors is a refusal, with an error 429 a wait, with a web page a misconfiguration."""
        says = {"a": BodyMeaning.ERRORS, "b": BodyMeaning.WEB_PAGE}
        self.turn.answer = lambda request: FakeAnswer(200, meaning=says.get(request.name, BodyMeaning.NOTHING))
        a, b = self.send("a"), self.send("b")
        self.assertEqual((self.result(a), self.result(b)), (Result.PARKED, None))
        self.assertIn("status 200 with a list of errors", a.parkings[0].reason)
        self.assertTrue(self.scheduler.misconfigured)
        self.turn.answer = lambda request: FakeAnswer(200, wait=5.0, meaning=BodyMeaning.TOO_MANY)
        self.pass_time(1.5)
        self.assertEqual(self.scheduler.throttled_until, START + 6.0)

    def test_never_counts(self) -> None:
        """However often one is throttled, it is neither parked nor held."""
        self.turn.answer = lambda request: throttle()
        request = self.send("a")
        self.pass_time(1000)
        self.assertIsNone(self.result(request))
        self.assertFalse(self.scheduler.away)
        self.assertLess(len(self.turn.posts), 30)


class ParkingTests(SchedulerTestCase):
    """Parking, also where it fails."""

    def test_until_it_works(self) -> None:
        """Parking that fails is tried again after 1 s, doubling to 60 s, until it works."""
        request = self.request("a")
        request.parking = lambda: fail(OSError("broker away"))
        self.park(request, MALFORMED)
        self.pass_time(200)
        times = [round(time - START) for time in request.park_tries]
        self.assertEqual(times, [0, 1, 3, 7, 15, 31, 63, 123, 183])
        self.assertIsNone(self.result(request))
        request.parking = lambda: None
        self.pass_time(60)
        self.assertEqual((self.result(request), request.parkings), (Result.PARKED, [MALFORMED]))
        self.assertEqual(len(self.lines("could not be parked")), 9)

    def test_those_behind_wait(self) -> None:
        """While one is being parked the next of that person waits, because it may be replayed."""
        a = self.request("a", "person")
        parked: Deferred[None] = Deferred()
        a.parking = lambda: parked
        self.turn.answer = lambda request: BAD if request.name == "a" else OK
        self.deliver(a)
        b = self.send("b", "person")
        self.assertEqual((self.result(a), self.turn.names), (None, ["a"]))
        parked.callback(None)
        self.assertEqual((self.result(a), self.result(b)), (Result.PARKED, Result.DELIVERED))

    def test_twenty_minutes(self) -> None:
        """One that cannot be parked goes back to its queue after 20 minutes."""
        request = self.request("a")
        request.parking = lambda: fail(OSError("broker away"))
        self.park(request, MALFORMED)
        self.pass_time(1199)
        self.assertIsNone(self.result(request))
        self.pass_time(2)
        self.assertIs(self.result(request), Result.REQUEUE)

    def test_lost_meanwhile(self) -> None:
        """One whose delivery is lost between two tries is lost at once, during a try after it."""
        between, during = self.request("a"), self.request("b")
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
            self.park(self.request(f"id {number}"), MALFORMED)
        lines = self.lines("is parked")
        self.assertEqual(len(lines), 30)
        self.assertEqual((lines[0]["message_id"], lines[0]["log_level"].name), ("id 0", "warn"))
        self.pass_time(61)
        self.park(self.request("later"), MALFORMED)
        self.assertEqual(self.lines("were left out")[0]["count"], 170)


class LostTests(SchedulerTestCase):
    """The connection that brought them is gone."""

    def test_those_that_wait(self) -> None:
        """All that only wait are lost at once, and none of them is sent any more."""
        self.turn.answer = lambda request: None if request.name == "a" else throttle(1000.0)
        a, b = self.send("a", "person"), self.send("b", "person")
        c, d = self.send("c", "another"), self.send("d", "another")
        for request in (b, c, d):
            with case(request=request):
                request.lose()
                self.assertIs(self.result(request), Result.LOST)
        self.assertIsNone(self.result(a))
        self.pass_time(1100)
        self.assertEqual(self.turn.names, ["a", "c"])

    def test_the_next_does_not_overtake(self) -> None:
        """When a person's are lost one after another, none of them is sent in between."""
        self.turn.answer = lambda request: AWAY if request.name == "a" else OK
        a, b, c = (self.send(name, "person") for name in "abc")
        for request in (a, b, c):
            request.lose()
        self.pass_time(30)
        self.assertEqual(self.turn.names, ["a"])
        self.assertEqual([self.result(request) for request in (a, b, c)], [Result.LOST] * 3)

    def test_one_alone(self) -> None:
        """When only one is lost, the next of that person goes on."""
        self.turn.answer = lambda request: AWAY if request.name == "a" else OK
        a, b = self.send("a", "person"), self.send("b", "person")
        a.lose()
        self.pass_time(0.25)
        self.assertIs(self.result(b), Result.DELIVERED)

    def test_while_posting_and_accepted(self) -> None:
        """A POST under way is finished, and the copy behind it is acknowledged without sending."""
        self.turn.answer = lambda request: None
        request = self.send("a", "person")
        request.lose()
        copy = self.deliver(request.again())
        self.assertEqual((self.result(request), self.turn.names), (None, ["a"]))
        self.turn.finish(request)
        self.pass_time(0.25)
        self.assertEqual((self.result(request), self.result(copy)), (Result.LOST, Result.DELIVERED))
        self.assertEqual((self.turn.names, copy.prepared), (["a"], 0))

    def test_while_posting_and_failed(self) -> None:
        """One that failed after it was lost is not tried again; the copy is."""
        self.turn.answer = lambda request: None
        request = self.send("a", "person")
        request.lose()
        copy = self.deliver(request.again())
        self.turn.finish(request, BAD)
        self.pass_time(0.25)
        self.turn.finish(copy)
        self.assertEqual((self.result(request), self.result(copy)), (Result.LOST, Result.DELIVERED))
        self.assertEqual((self.turn.names, request.parkings), (["a", "a"], []))

    def test_while_preparing(self) -> None:
        """One that is lost while it is prepared is not sent."""
        request = self.request("a")
        waiting: Deferred[None] = Deferred()
        request.preparing = lambda: waiting
        self.deliver(request)
        request.lose()
        self.assertEqual((self.result(request), self.turn.posts), (Result.LOST, []))

    def test_within_its_own_call(self) -> None:
        """One that is lost within its own prepare or post ends as lost."""
        in_prepare, in_post = self.request("a"), self.request("b")
        in_prepare.preparing = lambda: in_prepare.lose()

        def answer(request: FakeRequest) -> FakeAnswer:
            request.lose()
            return OK

        self.turn.answer = answer
        self.deliver(in_prepare)
        self.deliver(in_post)
        self.assertEqual((self.result(in_prepare), self.result(in_post)), (Result.LOST, Result.LOST))
        self.assertEqual(self.turn.names, ["b"])

    def test_probe(self) -> None:
        """A probe that is lost while it is under way leaves its place to another."""
        self.scheduler = self.make_scheduler(max_retries=0)
        self.turn.answer = lambda request: AWAY
        a, b = self.send("a"), self.send("b")
        self.turn.answer = lambda request: None
        self.pass_time(1.1)
        (probe,) = self.turn.hanging
        probe.lose()
        self.turn.finish(probe, AWAY)
        self.pass_time(3)
        self.assertEqual(self.turn.names, ["a", "b", "a"])
        self.assertEqual((self.result(a), self.result(b)), (None, Result.LOST))


class RedeliveredTests(SchedulerTestCase):
    """Delivered again."""

    def test_already_accepted(self) -> None:
        """One that Turn has accepted is delivered without being sent again."""
        request = self.send("a")
        copy = self.deliver(request.again())
        self.assertEqual((self.result(copy), self.turn.names), (Result.DELIVERED, ["a"]))

    def test_not_accepted(self) -> None:
        """One that was not accepted is sent."""
        self.turn.answer = lambda request: BAD
        request = self.send("a")
        self.turn.answer = lambda request: OK
        self.deliver(request.again())
        self.assertEqual(self.turn.names, ["a", "a"])

    def test_same_id_other_body(self) -> None:
        """The same id with another body is another message."""
        request = self.send("a")
        copy = request.again()
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
        self.turn.answer = lambda request: None
        request = self.send("a", "person")
        copy = self.deliver(request.again())
        self.pass_time(10)
        self.assertEqual((self.result(copy), self.turn.names), (None, ["a"]))
        self.turn.finish(request)
        self.assertEqual((self.result(copy), self.turn.names), (Result.DELIVERED, ["a"]))

    def test_long_line_of_copies(self) -> None:
        """A thousand copies in one line need no deep stack."""
        requests = [self.send(str(number), "person") for number in range(1000)]
        self.turn.answer = lambda request: None
        first = self.send("first", "person")
        copies = [self.deliver(request.again()) for request in requests]
        self.turn.finish(first)
        self.assertEqual({self.result(copy) for copy in copies}, {Result.DELIVERED})


class TwentyMinutesTests(SchedulerTestCase):
    """The longest stay."""

    def test_with_those_behind(self) -> None:
        """After 20 minutes one goes back with that person's later ones, in order and unsent;
        others stay."""
        self.turn.answer = lambda request: AWAY
        a = self.send("a", "person")
        self.pass_time(600)
        b, c = self.send("b", "person"), self.send("c", "person")
        other = self.send("other")
        self.pass_time(599)
        self.assertIsNone(self.result(a))
        self.pass_time(2)
        self.assertEqual(self.ended, [a, b, c])
        self.assertEqual({self.result(request) for request in self.ended}, {Result.REQUEUE})
        self.assertIsNone(self.result(other))
        self.assertNotIn("b", self.turn.names)

    def test_counts_from_the_delivery(self) -> None:
        """The time counts from the delivery, not from when the scheduler saw it."""
        self.turn.answer = lambda request: throttle(600.0)
        self.send("first")
        request = self.send("a", received=START - 1190)
        self.pass_time(11)
        self.assertIs(self.result(request), Result.REQUEUE)

    def test_in_line(self) -> None:
        """It counts also for one that only waits in line."""
        self.turn.answer = lambda request: throttle(600.0)
        first, second = self.send("a", "person"), self.send("b", "person", received=START - 1000)
        third = self.send("c", "person")
        self.pass_time(201)
        self.assertEqual(self.ended, [second, third])
        self.assertIsNone(self.result(first))

    def test_running_post(self) -> None:
        """A POST that is running may finish: accepted, it is delivered, and the next goes on."""
        self.turn.answer = lambda request: None
        a, b = self.send("a", "person", received=START - 1199), self.send("b", "person")
        self.pass_time(5)
        self.assertIsNone(self.result(a))
        self.turn.finish(a)
        self.assertEqual((self.result(a), self.turn.names), (Result.DELIVERED, ["a", "b"]))
        self.assertIsNone(self.result(b))

    def test_running_post_fails(self) -> None:
        """If it then fails it goes back with those behind it, without another try."""
        self.turn.answer = lambda request: None
        a, b = self.send("a", "person", received=START - 1199), self.send("b", "person")
        self.pass_time(5)
        self.turn.finish(a, AWAY)
        self.assertEqual(self.ended, [a, b])
        self.assertEqual((self.result(a), self.turn.names), (Result.REQUEUE, ["a"]))

    def test_running_post_that_never_ends(self) -> None:
        """One that hangs for longer than any POST should is given up, before 30 minutes are over."""
        self.turn.answer = lambda request: None
        a, b = self.send("a", "person"), self.send("b", "person", received=START + 1300)
        self.pass_time(1499)
        self.assertIsNone(self.result(a))
        self.pass_time(2)
        self.assertEqual((self.ended, self.turn.running), ([a, b], 0))

    def test_preparing(self) -> None:
        """One whose preparation never ends goes back too."""
        request = self.request("a")
        waiting: Deferred[None] = Deferred()
        request.preparing = lambda: waiting
        self.deliver(request)
        self.pass_time(1201, step=50)
        self.assertEqual((self.result(request), self.turn.posts), (Result.REQUEUE, []))

    def test_page_that_hangs_comes_again(self) -> None:
        """A page that was given up is not known as shown: when its key comes again it is published again."""
        answered: list[str] = []

        def answering(name: str, answer: Deferred[None]) -> Deferred[None]:
            answered.append(name)
            return answer

        request = self.request("a", result=Result.PAGE, answering=lambda: answering("first", Deferred()))
        self.deliver(request)
        self.pass_time(1520, step=10)
        self.assertIs(self.result(request), Result.REQUEUE)
        again = request.again()
        again.result = Result.PAGE
        again.answering = lambda: answering("again", succeed(None))
        self.deliver(again)
        self.assertEqual((self.result(again), answered), (Result.PAGE, ["first", "again"]))

    def test_one_on_its_way(self) -> None:
        """One that was on its way to us when its line went back goes back too, behind them."""
        self.turn.answer = lambda request: AWAY
        a = self.send("a", "person")
        self.pass_time(1201, step=1)
        self.assertIs(self.result(a), Result.REQUEUE)
        late = self.send("late", "person")
        self.assertIs(self.result(late), Result.REQUEUE)
        copy, late_copy = self.deliver(a.again()), self.deliver(late.again())
        new = self.send("new", "person")
        self.turn.answer = lambda request: OK
        self.pass_time(61)
        self.assertEqual(self.ended, [a, late, copy, late_copy, new])
        self.assertIs(self.result(new), Result.DELIVERED)

    def test_redelivered_on_its_way(self) -> None:
        """That holds after a restart of the broker too, when everything is flagged redelivered."""
        self.turn.answer = lambda request: AWAY
        a, b = self.send("a", "person", redelivered=True), self.send("b", "person", redelivered=True)
        self.pass_time(1201, step=1)
        late = self.send("late", "person", redelivered=True)
        first = self.deliver(a.again())
        new = self.send("new", "person", redelivered=True)
        second = self.deliver(b.again())
        newer = self.send("newer", "person", redelivered=True)
        self.assertEqual(self.ended, [a, b, late, new, newer])
        rest = [second, *(self.deliver(request.again()) for request in (late, new, newer))]
        self.turn.answer = lambda request: OK
        self.pass_time(61)
        self.assertEqual(self.ended[5:], [first, *rest])
        self.assertEqual({self.result(request) for request in rest}, {Result.DELIVERED})

    def test_line_that_another_worker_got(self) -> None:
        """One that was sent back once is not sent back again: its line may have gone elsewhere."""
        self.turn.answer = lambda request: AWAY
        self.send("a", "person")
        self.pass_time(1201, step=1)
        late = self.send("late", "person")
        again = self.deliver(late.again())
        self.assertIs(self.result(late), Result.REQUEUE)
        self.turn.answer = lambda request: OK
        self.pass_time(61)
        self.assertIs(self.result(again), Result.DELIVERED)

    def test_line_that_does_not_come_back(self) -> None:
        """After five seconds nobody waits for it."""
        self.turn.answer = lambda request: AWAY
        self.send("a", "person")
        self.pass_time(1201, step=1)
        self.pass_time(5)
        self.turn.answer = lambda request: OK
        new = self.send("new", "person")
        self.pass_time(61)
        self.assertIs(self.result(new), Result.DELIVERED)

    def test_one_timer_for_all(self) -> None:
        """All that wait share one timer, and it stops when there is nothing to watch."""
        self.turn.answer = lambda request: None
        requests = [self.send(str(number)) for number in range(50)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for request in requests:
            self.turn.finish(request)
        self.pass_time(1201, step=100)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StopTests(SchedulerTestCase):
    """Stopping."""

    def test_what_waits_and_what_runs(self) -> None:
        """What only waits goes back at once in order; POSTs finish, and then it has stopped."""
        self.turn.answer = lambda request: {"a": None, "c": throttle(60.0)}.get(request.name, OK)
        a, b = self.send("a", "person"), self.send("b", "person")
        c, d = self.send("c", "another"), self.send("d", "another")
        stopped = self.stop(10.0)
        self.assertEqual(self.ended, [b, c, d])
        self.assertEqual({self.result(request) for request in self.ended}, {Result.REQUEUE})
        self.pass_time(5)
        self.assertNoResult(stopped)
        self.turn.finish(a)
        self.successResultOf(stopped)
        self.assertEqual((self.result(a), self.turn.names), (Result.DELIVERED, ["a", "c"]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def answered_here(self, name: str) -> tuple[FakeRequest, Deferred[None]]:
        """A request whose page is being published until the Deferred fires."""
        request, page = self.request(name), Deferred[None]()

        def prepare() -> None:
            request.result = Result.PAGE

        request.preparing, request.answering = prepare, lambda: page
        self.deliver(request)
        return request, page

    def test_page_under_way(self) -> None:
        """A page that is being published is finished, so that no other worker shows it again."""
        request, page = self.answered_here("a")
        stopped = self.stop(10.0)
        self.pass_time(5)
        self.assertNoResult(stopped)
        page.callback(None)
        self.successResultOf(stopped)
        self.assertEqual((self.result(request), self.turn.names), (Result.PAGE, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_page_that_hangs(self) -> None:
        """One that the broker does not confirm goes back after the timeout; one that fails is parked, or goes back."""
        request, page = self.answered_here("a")
        failing, error = self.answered_here("b")
        stopped = self.stop(10.0)
        error.errback(ZeroDivisionError("our bug"))
        self.assertIs(self.result(failing), Result.REQUEUE)
        self.pass_time(10.1)
        self.successResultOf(stopped)
        self.assertIs(self.result(request), Result.REQUEUE)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nothing_to_do(self) -> None:
        """With nothing under way it stops at once."""
        self.send("a")
        self.successResultOf(self.stop(10.0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_turn_that_hangs(self) -> None:
        """POSTs that don't end go back in order after the timeout, and are given up."""
        self.turn.answer = lambda request: None
        requests = [self.send(name) for name in "abc"]
        stopped = self.stop(10.0)
        self.pass_time(9.9)
        self.assertEqual(self.ended, [])
        self.pass_time(0.2)
        self.successResultOf(stopped)
        self.assertEqual(self.ended, requests)
        self.assertEqual({self.result(request) for request in requests}, {Result.REQUEUE})
        self.assertEqual(self.turn.running, 0)

    def test_post_that_cannot_be_cancelled(self) -> None:
        """A POST that goes on after it was given up changes nothing when it ends."""
        ending: Deferred[None] = Deferred(lambda _: None)

        class Stubborn(FakeRequest):
            async def post(self) -> FakeAnswer:
                try:
                    await Deferred()
                except Exception:
                    await ending
                raise ZeroDivisionError("too late to matter")

        request = self.deliver(Stubborn(self.turn, "a"))
        self.successResultOf(self.stop_now())
        self.assertIs(self.result(request), Result.REQUEUE)
        ending.callback(None)
        self.assertEqual(self.result(request), Result.REQUEUE)

    def stop_now(self) -> Deferred[None]:
        stopped = self.stop(0.0)
        self.clock.advance(0.0)
        return stopped

    def test_no_more_tries(self) -> None:
        """A POST that fails while stopping goes back, neither tried again nor parked."""
        for answer in (AWAY, BROKEN, BAD, throttle(5.0), NOT_US):
            with case(answer=answer):
                self.scheduler = self.make_scheduler()
                self.turn.answer = lambda request: None
                request = self.send("a")
                stopped = self.stop(10.0)
                self.turn.finish(request, answer)
                self.successResultOf(stopped)
                self.assertEqual((self.result(request), request.parkings), (Result.REQUEUE, []))
                self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_publishes(self) -> None:
        """A parking under way may finish; one that waits for its next try goes back."""
        running, waiting = self.request("a"), self.request("b")
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
        request = self.request("a")
        parked: Deferred[None] = Deferred()
        request.parking = lambda: parked
        self.park(request, MALFORMED)
        stopped = self.stop(10.0)
        parked.errback(OSError("broker away"))
        self.successResultOf(stopped)
        self.assertIs(self.result(request), Result.REQUEUE)

    def test_preparing(self) -> None:
        """One that is being prepared goes back at once, and its preparation is cancelled."""
        cancelled: list[object] = []
        waiting: Deferred[None] = Deferred(cancelled.append)
        request = self.request("a")
        request.preparing = lambda: waiting
        self.deliver(request)
        self.successResultOf(self.stop(10.0))
        self.assertEqual((self.result(request), cancelled), (Result.REQUEUE, [waiting]))

    def test_held(self) -> None:
        """What is held while Turn is away, or alone, goes back at once; no probe is left."""
        self.turn.answer = lambda request: NOT_US if request.name == "a" else OK
        self.send("good")
        held = self.send("a")
        self.assertTrue(self.scheduler.away)
        self.successResultOf(self.stop(10.0))
        self.assertIs(self.result(held), Result.REQUEUE)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_after_the_stop(self) -> None:
        """What comes after the stop goes back at once, unsent, also what should be parked."""
        self.successResultOf(self.stop(10.0))
        a, b = self.send("a"), self.park(self.request("b"), MALFORMED)
        self.assertEqual((self.result(a), self.result(b)), (Result.REQUEUE, Result.REQUEUE))
        self.assertEqual((self.turn.posts, b.park_tries), ([], []))

    def test_twice(self) -> None:
        """Stopping twice is stopping once: both end together."""
        self.turn.answer = lambda request: None
        request = self.send("a")
        first, second = self.stop(10.0), self.stop(20.0)
        self.turn.finish(request)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StrandedTests(SchedulerTestCase):
    """This package itself fails."""

    def test_nothing_is_lost(self) -> None:
        """A request on which the policy itself fails goes back with its line after 20 minutes."""

        class Odd(FakeRequest):
            @property
            def expires(self) -> Optional[float]:
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
