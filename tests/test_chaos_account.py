"""The account of a chaos run: each wrong that it has to find, and what it has to forgive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.integration.chaos.account import Account, account_for
from tests.integration.chaos.ledger import (
    ACCEPTED,
    BROKER,
    CUT,
    LIED,
    MESSAGE,
    NOTHING,
    POISON,
    REFUSED,
    STATUS,
    TO_TURN,
    TURN,
    WORKER,
    Asked,
    Attempt,
    Death,
    Found,
    Ledger,
    Parked,
    Said,
    Seen,
)
from tests.integration.chaos.plan import PROCESS_FAULTS, TURN_FAULTS, plan_of

TIMEOUT, PREFETCH = 1.5, 20


@dataclass
class FakeRequest:
    """What an account asks a request of the server."""

    ended: Optional[float]


class AccountCase(SynchronousTestCase):
    """A ledger to fill, and what the account says of it."""

    def setUp(self) -> None:
        self.ledger = Ledger()

    def say(self, key: str, line: str = "person", expect: str = TO_TURN, kind: str = MESSAGE) -> Said:
        return self.ledger.say(kind, key, line, expect)

    def take(self, key: str, began: float, fate: str = ACCEPTED, ended: Optional[float] = None) -> None:
        request = FakeRequest(began + 0.01 if ended is None else ended)
        self.ledger.see(Seen(self.ledger.said[key].kind, key, fate, began, request))

    def die(self, who: str, began: float, how: str = "SIGKILL", back: Optional[float] = None) -> None:
        self.ledger.deaths.append(Death(who, how, began, began + 0.1, back or began + 3))

    def account(self) -> Account:
        return account_for(self.ledger, TIMEOUT, PREFETCH)

    def right(self) -> Account:
        account = self.account()
        self.assertEqual(account.wrongs, [])
        return account

    def wrong(self, *sentences: str) -> None:
        self.assertEqual(self.account().wrongs, list(sentences))


class PlacesTests(AccountCase):
    def test_places(self) -> None:
        """Delivered, parked, queued, nothing to send and never confirmed are all the places there are."""
        for key in ("delivered", "parked"):
            self.say(key)
        self.say("queued", "stuck", POISON)
        self.say("empty close", expect=NOTHING)
        self.say("uncertain").certain = False
        self.take("delivered", 1.0)
        self.ledger.parked.append(Parked(MESSAGE, "parked", "temporary", 500, 2.0))
        self.ledger.queued.add("queued")
        counts = self.right().counts["messages to Turn"]
        self.assertEqual(
            {name: number for name, number in counts.items() if number},
            {
                "said": 5,
                "delivered": 1,
                "parked": 1,
                "queued": 1,
                "nothing to send": 1,
                "never confirmed": 1,
            },
        )

    def test_unaccounted(self) -> None:
        """What was confirmed and is nowhere is unaccounted for."""
        self.say("there")
        self.take("there", 1.0)
        self.say("gone")
        self.say("gone status", kind=STATUS)
        self.wrong(
            "1 messages to Turn are unaccounted for: gone",
            "1 statuses to Turn are unaccounted for: gone status",
        )

    def test_left(self) -> None:
        """Without faults only one that Turn never takes may stay in the queue, with those behind it."""
        self.say("poison", "stuck", POISON)
        self.say("behind", "stuck")
        self.say("left", "person")
        self.ledger.queued.update(("poison", "behind", "left"))
        self.wrong("1 messages to Turn were left in the queue without faults: left")

    def test_not_said(self) -> None:
        """Turn must not get what nobody said."""
        self.say("said")
        self.take("said", 1.0)
        self.ledger.see(Seen(MESSAGE, "made up", ACCEPTED, 2.0, FakeRequest(2.1)))
        self.wrong("1 requests for what nobody said: made up")

    def test_tracebacks(self) -> None:
        """A traceback in the worker's log is wrong."""
        self.ledger.tracebacks.append("builtins.KeyError: 'x'")
        self.wrong("1 tracebacks in the worker's log: builtins.KeyError: 'x'")


class OrderTests(AccountCase):
    def test_out_of_order(self) -> None:
        """A first delivery before an earlier one of the same person is out of order; of another is not."""
        for key, line in (("a1", "a"), ("a2", "a"), ("b1", "b")):
            self.say(key, line)
        for when, key in enumerate(("b1", "a2", "a1")):
            self.take(key, when)
        self.wrong("1 messages to Turn overtook an earlier one: a2")

    def test_repeats_have_no_order(self) -> None:
        """The second delivery of an earlier one may come after a later one."""
        self.say("a1")
        self.say("a2")
        self.take("a1", 1.0, LIED)
        self.take("a2", 2.0)
        self.take("a1", 3.0)
        self.assertEqual(self.right().counts["messages to Turn"]["pairs in order"], 1)


class RepeatsTests(AccountCase):
    def twice(self, first: float = 10.0, again: float = 20.0, fate: str = ACCEPTED) -> None:
        self.say("a")
        self.take("a", first, fate)
        self.take("a", again)

    def refused(self) -> None:
        self.wrong("1 messages to Turn were delivered twice without a reason: a")

    def test_without_a_reason(self) -> None:
        """Twice without any trouble is wrong."""
        self.twice()
        self.refused()

    def test_unheard(self) -> None:
        """After a lie, a cut, an answer that came late or never, it is right."""
        for fate, ended in ((LIED, None), (CUT, None), (ACCEPTED, 11.4)):
            with case(fate=fate, ended=ended):
                self.setUp()
                self.say("a")
                self.take("a", 10.0, fate, ended)
                self.take("a", 20.0)
                self.assertEqual(self.right().counts["messages to Turn"]["repeated after a lie or a cut"], 1)

    def joined(self, second: float) -> None:
        """A status of two joined messages: Turn has the first at 10 and at 20, and the other at ``second``."""
        for marker, name in (("asking 1", "m1"), ("asking 2", "m2")):
            asked = Asked(marker, b"")
            asked.attempts.append(Attempt(1.0, 1.1, 200, name))
            self.ledger.asked.append(asked)
            self.ledger.found[f"p {marker}"] = Found(f"p {marker}", "m1", marker, 2.0)
        self.say("m1 sent", "m1", kind=STATUS)
        self.take("m1 sent", 10.0)
        self.ledger.see(Seen(STATUS, "m2 sent", ACCEPTED, second, FakeRequest(second + 0.01)))
        self.take("m1 sent", 20.0)

    def test_joined_at_a_kill(self) -> None:
        """Statuses of joined messages are acknowledged together: a kill before the last repeats the first."""
        self.joined(second=21.0)
        self.die(WORKER, 15.0)
        self.assertEqual(self.right().counts["statuses to Turn"]["repeated after a kill"], 1)

    def test_joined_before_a_kill(self) -> None:
        """Once Turn had all of them, a kill is no reason."""
        self.joined(second=11.0)
        self.die(WORKER, 15.0)
        self.wrong("1 statuses to Turn were delivered twice without a reason: m1 sent")

    def test_joined_without_a_kill(self) -> None:
        """Nor is it one to have waited for the others."""
        self.joined(second=21.0)
        self.wrong("1 statuses to Turn were delivered twice without a reason: m1 sent")

    def test_cut_by_a_refusal(self) -> None:
        """Turn that goes away may cut an answer off; long before, it did not."""
        self.twice()
        self.die(TURN, 10.5)
        self.right()
        self.ledger.deaths[0] = Death(TURN, "cut", 15.0, 15.1)
        self.refused()

    def test_in_flight_at_a_kill(self) -> None:
        """What was in flight when the worker was killed may come again; what was long acknowledged may not."""
        self.twice()
        self.die(WORKER, 10.5)
        self.assertEqual(self.right().counts["messages to Turn"]["repeated after a kill"], 1)
        self.ledger.deaths.clear()
        self.die(WORKER, 15.0)
        self.refused()

    def test_stopped(self) -> None:
        """A worker that is stopped, not killed, sends nothing twice."""
        self.twice()
        self.die(WORKER, 10.5, how="SIGTERM")
        self.refused()

    def test_no_broker(self) -> None:
        """Without a broker a worker's acknowledgements die with it, whatever ends it."""
        self.twice()
        self.die(BROKER, 9.0, back=14.0)
        self.refused()  # the worker that lives remembers
        self.die(WORKER, 15.0, how="SIGTERM")
        self.right()

    def test_too_many(self) -> None:
        """One kill explains no more repeats than were in flight."""
        for number in range(PREFETCH + 1):
            self.say(f"a{number}", f"person {number}")
            self.take(f"a{number}", 10.0)
            self.take(f"a{number}", 20.0)
        self.die(WORKER, 10.5)
        self.wrong("21 messages to Turn were repeated after one kill, with 20 in flight")


class ParkingTests(AccountCase):
    def park(self, *moments: float, code: str = "temporary", status: int = 500) -> None:
        for moment in moments:
            self.ledger.parked.append(Parked(MESSAGE, "a", code, status, moment))

    def test_throttled(self) -> None:
        """Nothing is parked for a 429."""
        self.say("a")
        self.park(1.0, status=429)
        self.wrong("1 messages to Turn were parked for a 429: a")

    def test_for_good(self) -> None:
        """Only what Turn refuses is parked as permanent."""
        self.say("a", expect=REFUSED)
        self.park(1.0, code="permanent", status=400)
        self.right()
        self.ledger.said["a"].expect = TO_TURN
        self.wrong("1 messages to Turn were parked for good without being refused: a")

    def test_twice(self) -> None:
        """Twice in the failures queue only over somebody's death."""
        self.say("a")
        self.park(10.0, 20.0)
        self.wrong("1 messages to Turn were parked twice without a kill: a")
        self.die(BROKER, 12.0)
        self.right()

    def test_delivered_too(self) -> None:
        """What is delivered is parked too only after a lie or a cut, or over somebody's death."""
        self.say("a")
        self.say("b")
        self.park(10.0)
        self.take("b", 10.5)
        self.take("a", 20.0)
        self.wrong("1 messages to Turn were delivered and parked without a reason: a")
        self.die(BROKER, 12.0)
        # Its place in the order it had lost when it was parked.
        self.assertEqual(self.right().counts["messages to Turn"]["delivered and parked"], 1)
        self.ledger.deaths.clear()
        self.ledger.seen[-1].fate = LIED
        self.right()


class OutboundTests(AccountCase):
    def ask(self, *statuses: Optional[int], name: str = "id-1") -> Asked:
        asked = Asked("asking 1", b"{}")
        for number, status in enumerate(statuses):
            answer = name if status == 200 else None
            asked.attempts.append(Attempt(10.0 + number, 10.5 + number, status, answer))
        self.ledger.asked.append(asked)
        return asked

    def find(self, *copies: tuple[str, str]) -> None:
        for publish_id, message_id in copies:
            self.ledger.found[publish_id] = Found(publish_id, message_id, "asking 1")

    def test_in_the_queue(self) -> None:
        """What was answered 200 is in the queue."""
        self.ask(503, 200)
        self.find(("p1", "id-1"))
        counts = self.right().counts["messages from Turn"]
        self.assertEqual((counts["answered 200"], counts["requests"], counts["unaccounted"]), (1, 2, 0))

    def test_lost(self) -> None:
        """A 200 whose id no queue holds is lost, though a copy with another id is there."""
        self.ask(503, 200).attempts[0].left = True
        self.find(("p1", "id-0"))
        self.wrong("1 messages from Turn were answered 200 and are in no queue: asking 1 (id-1)")

    def test_joined(self) -> None:
        """What was joined into another message of Turn's is there, and its statuses are nobody's invention."""
        self.ask(200)
        other = Asked("asking 2", b"{}", [Attempt(11.0, 11.5, 200, "id-2")])
        self.ledger.asked.append(other)
        self.find(("p1", "id-1"))
        self.ledger.found["p2"] = Found("p2", "id-1", "asking 2")
        request = FakeRequest(12.0)
        self.ledger.see(Seen(STATUS, "id-2 sent", ACCEPTED, 11.9, request))
        self.assertEqual(self.right().counts["messages from Turn"]["joined into another one"], 1)

    def behind_a_long_text(self, person: str = "her", more: bool = True) -> None:
        """One that is in no queue, after another one to the same person that has a further page."""
        self.ask(200).person = "her"
        self.ledger.found["p2"] = Found("p2", "id-2", "asking 2", 10.6, person, more)
        self.ledger.asked.append(Asked("asking 2", b"{}", [Attempt(9.0, 9.1, 200, "id-2")]))

    def test_behind_a_long_text(self) -> None:
        """On a further page, and the worker that could tell Turn so died: without Redis nobody knows."""
        self.behind_a_long_text()
        self.die(WORKER, 15.0)
        self.assertEqual(self.right().counts["messages from Turn"]["joined into another one"], 1)

    def test_not_behind_a_long_text(self) -> None:
        """The worker is alive, or there is no further page, or it is another person's: it is lost."""
        for dies, person, more in ((False, "her", True), (True, "his", True), (True, "her", False)):
            with case(dies=dies, person=person, more=more):
                self.setUp()
                self.behind_a_long_text(person, more)
                if dies:
                    self.die(WORKER, 15.0)
                self.wrong("1 messages from Turn were answered 200 and are in no queue: asking 1 (id-1)")

    def test_session_over(self) -> None:
        """What was held when its session ended is accounted for where Turn was told that it failed."""
        self.ask(200)
        self.wrong("1 messages from Turn were answered 200 and are in no queue: asking 1 (id-1)")
        self.ledger.see(Seen(STATUS, "id-1 failed", ACCEPTED, 11.9, FakeRequest(12.0)))
        self.assertEqual(self.right().counts["messages from Turn"]["session was over, Turn was told"], 1)

    def test_unanswered(self) -> None:
        """Without faults every request is answered 200 in the end."""
        self.ask(503, None)
        self.wrong("1 messages from Turn never got a 200, also without faults: asking 1")

    def test_same_id_twice(self) -> None:
        """The same id is published twice only over the broker's death."""
        self.ask(503, 200)
        self.find(("p1", "id-1"), ("p2", "id-1"))
        self.wrong("1 messages from Turn were published twice without a reason: asking 1 (the same id)")
        self.die(BROKER, 10.2)
        self.assertEqual(self.right().counts["messages from Turn"]["copies with the same id"], 1)

    def test_another_id(self) -> None:
        """A copy has another id only over the worker's death, or where Turn has hung up."""
        asked = self.ask(None, 200)
        self.find(("p1", "id-0"), ("p2", "id-1"))
        self.wrong("1 messages from Turn were published twice without a reason: asking 1 (another id)")
        asked.attempts[0].left = True
        self.right()
        asked.attempts[0].left = False
        self.die(WORKER, 10.2)
        self.assertEqual(self.right().counts["messages from Turn"]["copies with another id"], 1)

    def test_not_asked_for(self) -> None:
        """Nothing is published that Turn did not ask for."""
        self.find(("p1", "id-1"))
        self.wrong("1 messages were published that Turn never asked for: asking 1")


class PlanTests(SynchronousTestCase):
    def test_seeded(self) -> None:
        """A seed always gives the same plan, and another seed another."""
        self.assertEqual(plan_of(1, 100, 10), plan_of(1, 100, 10))
        self.assertNotEqual(plan_of(1, 100, 10), plan_of(2, 100, 10))

    def test_all_troubles(self) -> None:
        """There is every trouble in a minute with faults, and people say several things in a row."""
        plan = plan_of(3, 3000, 60)
        self.assertEqual({turn_fault.name for turn_fault in plan.turn_faults}, set(TURN_FAULTS))
        self.assertEqual({fault.name for fault in plan.process_faults[:6]}, set(PROCESS_FAULTS))
        self.assertEqual(len(plan.sayings), 3000)
        self.assertGreater(len({saying.person for saying in plan.sayings}), 200)
        self.assertLess(max(saying.at for saying in plan.sayings), 121)
