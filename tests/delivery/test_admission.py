"""
Which request may be sent now.
"""

from __future__ import annotations

import random
from typing import Any, Optional

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.delivery.fakes import START, FakeRequest, FakeTurn
from vumi_turn.delivery.admission import MOST_BUCKETS, AdmissionControl, Ticket
from vumi_turn.delivery.observer import BlockedTasks
from vumi_turn.delivery.task import DeliveryTask


class AdmissionTestCase(SynchronousTestCase):
    """An admission control, and those who wait."""

    full = 4

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.turn = FakeTurn(self.clock)
        self.admission = AdmissionControl(self.clock, self.full)
        self.admitted: list[str] = []
        self.tickets: dict[str, tuple[str, Ticket]] = {}

    def tearDown(self) -> None:
        self.admission.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def come(self, name: str, kind: str = "message") -> Deferred[Any]:
        """A request comes; whoever has passed is in ``passed``."""
        if self.admission.open:
            self._admitted(self.admission.ticket(kind), name, kind)
            return Deferred()
        task = DeliveryTask(FakeRequest(self.turn, name, kind=kind), BlockedTasks(self.clock, None))
        return self.admission.wait(task).addCallback(self._admitted, name, kind)

    def _admitted(self, ticket: Ticket, name: str, kind: str) -> Ticket:
        self.admitted.append(name)
        self.tickets[name] = kind, ticket
        return ticket

    def answer(
        self,
        name: str,
        accepted: bool = True,
        throttled: bool = False,
        wait: Optional[float] = None,
        bucket: Optional[str] = None,
    ) -> None:
        """The request of one that was admitted is answered."""
        kind, ticket = self.tickets.pop(name)
        self.admission.answered(kind, ticket, accepted=accepted, throttled=throttled, wait=wait, bucket=bucket)
        self.admission.admit()

    def close(self, seconds: float) -> None:
        """Turn says that it wants no requests for so long."""
        self.admission.answered("message", self.admission.ticket("message"), wait=seconds)


class ThrottleTests(AdmissionTestCase):
    """Turn says to wait."""

    def test_open(self) -> None:
        """Nobody waits while all goes well, however many come."""
        for number in range(50):
            self.come(str(number))
        self.assertEqual(len(self.admitted), 50)
        self.assertIsNone(self.admission.until)

    def test_nobody_goes_while_told_to_wait(self) -> None:
        """Nobody goes until the time that Turn told is over."""
        self.close(10.0)
        self.come("a")
        self.clock.advance(9.99)
        self.assertEqual((self.admitted, self.admission.until), ([], START + 10))
        self.clock.advance(0.02)
        self.assertEqual((self.admitted, self.admission.until), (["a"], None))

    def test_longest_wait_counts(self) -> None:
        """Of several waits the one that ends last counts."""
        self.close(10.0)
        self.close(30.0)
        self.close(5.0)
        self.come("a")
        self.clock.advance(29.9)
        self.assertEqual(self.admitted, [])
        self.clock.advance(0.2)
        self.assertEqual(self.admitted, ["a"])

    def test_at_most_ten_minutes(self) -> None:
        """No wait is longer than ten minutes, whatever Turn says."""
        self.close(1e9)
        self.come("a")
        self.clock.advance(600.1)
        self.assertEqual(self.admitted, ["a"])

    def test_messages_before_statuses(self) -> None:
        """Messages go before statuses, and each of them in the order in which they came."""
        self.close(1.0)
        for name in ("s1", "m1", "s2", "m2"):
            self.come(name, "status" if name[0] == "s" else "message")
        self.clock.advance(1.1)
        for name in ("m1", "m2", "s1"):
            with case(name=name):
                self.assertEqual(self.admitted[-1], name)
                self.answer(name, accepted=False)
        self.assertEqual(self.admitted, ["m1", "m2", "s1", "s2"])

    def test_one_that_gives_up(self) -> None:
        """One that stops waiting is passed over."""
        self.close(1.0)
        waiting = self.come("a")
        self.come("b")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.clock.advance(1.1)
        self.assertEqual(self.admitted, ["b"])

    def test_backs_off(self) -> None:
        """Where Turn does not say how long, the waits double from 1 s to 60 s."""
        self.come("a")
        for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
            with case(seconds=seconds):
                self.answer("a", accepted=False, throttled=True)
                self.assertAlmostEqual(self.admission.remaining("message"), seconds)
                self.come("a")
                self.clock.advance(seconds + 0.1)
        self.answer("a")
        self.come("b")
        self.answer("b", accepted=False, throttled=True)
        self.assertAlmostEqual(self.admission.remaining("message"), 1)

    def test_one_burst_backs_off_once(self) -> None:
        """Many requests that were on their way and are told the same make one wait."""
        for number in range(10):
            self.come(str(number))
        for number in range(10):
            self.answer(str(number), accepted=False, throttled=True)
        self.assertAlmostEqual(self.admission.remaining("message"), 1)
        self.come("a")
        self.clock.advance(1.1)
        self.answer("a", accepted=False, throttled=True)
        self.assertAlmostEqual(self.admission.remaining("message"), 2)

    def test_wait_of_nothing(self) -> None:
        """A 429 that says to wait for 0 seconds backs off as one that says nothing."""
        self.come("a")
        self.answer("a", accepted=False, throttled=True, wait=0.0)
        self.assertAlmostEqual(self.admission.remaining("message"), 1)

    def test_accepted_with_a_wait(self) -> None:
        """A wait counts on any answer, because it may say that this was the last one allowed."""
        self.come("a")
        self.answer("a", wait=7.0)
        self.come("b")
        self.assertEqual(self.admitted, ["a"])
        self.assertAlmostEqual(self.admission.remaining("message"), 7)

    def test_stopped(self) -> None:
        """After the stop nobody goes, and no wait begins."""
        self.close(1.0)
        self.come("a")
        self.admission.stop()
        self.close(5.0)
        self.admission.admit()
        self.assertEqual((self.admitted, self.clock.getDelayedCalls()), ([], []))


class BucketTests(AdmissionTestCase):
    """Turn's rate limit buckets."""

    def learn(self) -> None:
        """Turn names the buckets of both kinds."""
        for kind, bucket in (("message", "text"), ("status", "general")):
            self.come(kind, kind)
            self.answer(kind, bucket=bucket)
        self.admitted.clear()

    def test_own_limits(self) -> None:
        """Where Turn limits one bucket requests of others go on, and only that one begins again with one."""
        self.learn()
        self.come("s", "status")
        self.answer("s", accepted=False, throttled=True, wait=16.0, bucket="general")
        for name in ("s1", "s2"):
            self.come(name, "status")
        for name in ("m1", "m2"):
            self.come(name)
        self.assertEqual(self.admitted, ["s", "m1", "m2"])
        self.assertEqual(self.admission.until, START + 16)
        self.assertEqual([self.admission.remaining(kind) for kind in ("message", "status")], [0.0, 16.0])
        self.clock.advance(16.1)
        self.assertEqual(self.admitted, ["s", "m1", "m2", "s1"])
        self.answer("s1", bucket="general")
        self.assertEqual(self.admitted, ["s", "m1", "m2", "s1", "s2"])

    def test_exhausted(self) -> None:
        """An accepted request that was the last of its bucket makes that one wait."""
        self.learn()
        self.come("s", "status")
        self.answer("s", wait=16.0, bucket="general")
        self.come("m")
        self.come("s1", "status")
        self.assertEqual(self.admitted, ["s", "m"])

    def test_no_bucket_named(self) -> None:
        """A limit without a bucket's name holds for all."""
        self.learn()
        self.come("s", "status")
        self.answer("s", accepted=False, throttled=True, wait=16.0)
        self.come("m")
        self.assertEqual(self.admitted, ["s"])
        self.clock.advance(16.1)
        self.assertEqual(self.admitted, ["s", "m"])

    def test_first_time(self) -> None:
        """A bucket that is named for the first time by the 429 itself is the one that waits."""
        self.come("s", "status")
        self.answer("s", accepted=False, throttled=True, bucket="general")
        self.come("m")
        self.come("s1", "status")
        self.assertEqual(self.admitted, ["s", "m"])
        self.clock.advance(1.1)
        self.assertEqual(self.admitted, ["s", "m", "s1"])

    def test_own_backoff(self) -> None:
        """Where Turn does not say how long, each bucket has waits of its own."""
        self.learn()
        for seconds in (1, 2, 4):
            with case(seconds=seconds):
                self.come("s", "status")
                self.answer("s", accepted=False, throttled=True, bucket="general")
                self.assertAlmostEqual(self.admission.remaining("status"), seconds)
                self.clock.advance(seconds + 0.1)
        self.come("m")
        self.answer("m", accepted=False, throttled=True, bucket="text")
        self.assertAlmostEqual(self.admission.remaining("message"), 1)

    def test_moves_to_another_bucket(self) -> None:
        """A kind falls into the bucket that Turn named for it last."""
        self.learn()
        self.come("m")
        self.answer("m", bucket="media")
        self.come("s", "status")
        self.answer("s", wait=9.0, bucket="text")
        self.come("m1")
        self.assertEqual(self.admitted, ["m", "s", "m1"])

    def test_many_names(self) -> None:
        """Of more names than there can be buckets the rest stand for the whole channel."""
        for number in range(MOST_BUCKETS):
            self.come("m")
            self.answer("m", bucket=str(number))
        self.come("m")
        self.answer("m", wait=5.0, bucket="one more")
        self.assertEqual(self.admission.remaining("status"), 5.0)

    def test_outage_is_the_channels(self) -> None:
        """After an outage one request goes first, of whatever bucket."""
        self.learn()
        self.admission.suspend()
        self.come("s1", "status")
        self.come("m1")
        self.come("m2")
        self.admission.resume()
        self.admission.admit()
        self.assertEqual(self.admitted, ["m1"])


class RampTests(AdmissionTestCase):
    """One first, and each accepted one allows one more."""

    def reopened(self, waiting: int) -> None:
        self.close(1.0)
        for number in range(waiting):
            self.come(str(number))
        self.clock.advance(1.1)

    def test_one_goes_first(self) -> None:
        """After a wait one request goes, and the next one only when it was answered."""
        self.reopened(5)
        self.assertEqual(self.admitted, ["0"])
        self.answer("0", accepted=False)
        self.assertEqual(self.admitted, ["0", "1"])

    def test_each_accepted_allows_one_more(self) -> None:
        """After n accepted ones n + 1 are under way at a time; at the full number there is no limit."""
        self.reopened(20)
        self.answer("0")
        self.assertEqual(len(self.tickets), 2)
        self.answer("1")
        self.assertEqual(len(self.tickets), 3)
        self.assertFalse(self.admission.open)
        self.answer("2")
        self.assertEqual(len(self.admitted), 20)
        self.assertTrue(self.admission.open)

    def test_told_again(self) -> None:
        """If Turn says to wait again, it begins with one again."""
        self.reopened(10)
        self.answer("0")
        self.answer("1", accepted=False, throttled=True, wait=3.0)
        self.assertEqual(self.admitted, ["0", "1", "2"])
        self.answer("2")
        self.clock.advance(3.1)
        self.assertEqual(self.admitted, ["0", "1", "2", "3"])

    def test_late_answers_allow_nothing(self) -> None:
        """What was under way before the wait says nothing of how it is now."""
        for number in range(3):
            self.come(f"early {number}")
        self.reopened(5)
        for number in range(3):
            self.answer(f"early {number}")
        self.assertEqual([name for name in self.admitted if name[0] != "e"], ["0"])

    def test_newcomers(self) -> None:
        """What comes while not all are allowed goes if there is room, else waits."""
        self.reopened(0)
        self.come("a")
        self.come("b")
        self.assertEqual(self.admitted, ["a"])

    def test_answers_at_once(self) -> None:
        """A thousand that wait, and are answered while they are let go, need no deep stack."""

        def answered(ticket: Ticket) -> None:
            self.admission.answered("message", ticket)
            self.admission.admit()

        self.close(1.0)
        for number in range(1000):
            self.come(str(number)).addCallback(answered)
        self.clock.advance(1.1)
        self.assertEqual(len(self.admitted), 1000)


class RampOfOneTests(AdmissionTestCase):
    """With one request at a time."""

    full = 1

    def test_opens_after_one(self) -> None:
        """There is no limit once the first request was accepted, not before."""
        self.close(1.0)
        self.clock.advance(1.1)
        self.come("a")
        self.assertFalse(self.admission.open)
        self.answer("a")
        self.assertTrue(self.admission.open)


class SuspendTests(AdmissionTestCase):
    """Turn is away."""

    def test_only_whom_one_lets(self) -> None:
        """While it is suspended just those go that are let, and afterwards one goes first."""
        self.admission.suspend()
        for name in ("a", "b", "c", "d"):
            self.come(name)
        self.assertEqual(self.admitted, [])
        self.admission.admit_one(self.admission.waiting()[0])
        self.answer("a", accepted=False)
        self.assertEqual(self.admitted, ["a"])
        self.admission.resume()
        self.admission.admit()
        self.assertEqual(self.admitted, ["a", "b"])

    def test_who_waits(self) -> None:
        """Those that wait are listed messages first."""
        self.admission.suspend()
        self.come("status", "status")
        self.come("message")
        self.assertEqual([task.request.name for task in self.admission.waiting()], ["message", "status"])

    def test_throttled_while_suspended(self) -> None:
        """When a wait ends while it is suspended, it stays suspended."""
        self.admission.suspend()
        self.close(1.0)
        self.come("a")
        self.clock.advance(2.0)
        self.assertEqual(self.admitted, [])


class SimulationTests(AdmissionTestCase):
    """Random storms."""

    def test_never_too_many(self) -> None:
        """In random storms nobody goes while told to wait, at most the allowed number is
        under way after it, and everybody goes in the end."""
        for seed in range(40):
            rng = random.Random(seed)
            self.setUp()
            came, early, allowed = 0, set(), 0
            for _ in range(400):
                before, was_told = len(self.admitted), self.admission.until
                roll = rng.random()
                if roll < 0.4:
                    self.come(str(came), rng.choice(["message", "status"]))
                    came += 1
                elif roll < 0.8 and self.tickets:
                    name = rng.choice(sorted(self.tickets))
                    told = rng.random() < 0.1
                    if told:
                        early |= set(self.tickets)
                        allowed = 1
                    elif name not in early:
                        allowed += 1
                    self.answer(name, accepted=not told, throttled=told, wait=5.0 if told else None)
                else:
                    self.clock.advance(rng.uniform(0, 3))
                    was_told = self.admission.until
                if was_told is not None and self.admission.until is not None:
                    self.assertEqual(len(self.admitted), before)
                if not self.admission.open:
                    self.assertLessEqual(len(set(self.tickets) - early), max(allowed, 1))
            for _ in range(2000):
                if len(self.admitted) == came:
                    break
                self.clock.advance(1.0)
                for name in list(self.tickets):
                    self.answer(name)
            self.assertEqual(len(set(self.admitted)), came)
            self.tearDown()
