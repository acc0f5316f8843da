"""
The gate that every request to Turn passes.
"""

from __future__ import annotations

import random
from typing import Any, Optional

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.fakes import START, FakeRequest, FakeTurn
from vumi_turn.delivery.admission import AdmissionControl, Ticket
from vumi_turn.delivery.observer import BlockedTasks
from vumi_turn.delivery.task import DeliveryTask


class AdmissionTestCase(SynchronousTestCase):
    """A gate, and those who want to pass it."""

    full = 4

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.turn = FakeTurn(self.clock)
        self.admission = AdmissionControl(self.clock, self.full)
        self.passed: list[str] = []
        self.tickets: dict[str, tuple[str, Ticket]] = {}

    def tearDown(self) -> None:
        self.admission.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def come(self, name: str, kind: str = "message") -> Deferred[Any]:
        """Somebody comes to the gate; whoever has passed is in ``passed``."""
        if self.admission.open:
            self._admitted(self.admission.ticket(kind), name, kind)
            return Deferred()
        task = DeliveryTask(FakeRequest(self.turn, name, kind=kind), BlockedTasks(self.clock, None))
        return self.admission.wait(task).addCallback(self._admitted, name, kind)

    def _admitted(self, ticket: Ticket, name: str, kind: str) -> Ticket:
        self.passed.append(name)
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
        """Nobody waits at an open gate, however many come."""
        for number in range(50):
            self.come(str(number))
        self.assertEqual(len(self.passed), 50)
        self.assertIsNone(self.admission.until)

    def test_nobody_passes_while_told_to_wait(self) -> None:
        """Nobody passes until the time that Turn told is over."""
        self.close(10.0)
        self.come("a")
        self.clock.advance(9.99)
        self.assertEqual((self.passed, self.admission.until), ([], START + 10))
        self.clock.advance(0.02)
        self.assertEqual((self.passed, self.admission.until), (["a"], None))

    def test_longest_wait_counts(self) -> None:
        """Of several waits the one that ends last counts."""
        self.close(10.0)
        self.close(30.0)
        self.close(5.0)
        self.come("a")
        self.clock.advance(29.9)
        self.assertEqual(self.passed, [])
        self.clock.advance(0.2)
        self.assertEqual(self.passed, ["a"])

    def test_at_most_ten_minutes(self) -> None:
        """No wait is longer than ten minutes, whatever Turn says."""
        self.close(1e9)
        self.come("a")
        self.clock.advance(600.1)
        self.assertEqual(self.passed, ["a"])

    def test_messages_before_statuses(self) -> None:
        """Messages pass before statuses, and each of them in the order in which they came."""
        self.close(1.0)
        for name in ("s1", "m1", "s2", "m2"):
            self.come(name, "status" if name[0] == "s" else "message")
        self.clock.advance(1.1)
        for name in ("m1", "m2", "s1"):
            self.assertEqual(self.passed[-1], name)
            self.answer(name, accepted=False)
        self.assertEqual(self.passed, ["m1", "m2", "s1", "s2"])

    def test_one_that_gives_up(self) -> None:
        """One that stops waiting is passed over."""
        self.close(1.0)
        waiting = self.come("a")
        self.come("b")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.clock.advance(1.1)
        self.assertEqual(self.passed, ["b"])

    def test_backs_off(self) -> None:
        """Where Turn does not say how long, the waits double from 1 s to 60 s."""
        self.come("a")
        for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
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
        self.assertEqual(self.passed, ["a"])
        self.assertAlmostEqual(self.admission.remaining("message"), 7)

    def test_stopped(self) -> None:
        """After the stop nobody passes, and no wait begins."""
        self.close(1.0)
        self.come("a")
        self.admission.stop()
        self.close(5.0)
        self.admission.admit()
        self.assertEqual((self.passed, self.clock.getDelayedCalls()), ([], []))


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
        self.assertEqual(self.passed, ["0"])
        self.answer("0", accepted=False)
        self.assertEqual(self.passed, ["0", "1"])

    def test_each_accepted_allows_one_more(self) -> None:
        """After n accepted ones n + 1 are under way at a time; at the full number it opens."""
        self.reopened(20)
        self.answer("0")
        self.assertEqual(len(self.tickets), 2)
        self.answer("1")
        self.assertEqual(len(self.tickets), 3)
        self.assertFalse(self.admission.open)
        self.answer("2")
        self.assertEqual(len(self.passed), 20)
        self.assertTrue(self.admission.open)

    def test_told_again(self) -> None:
        """If Turn says to wait again, it begins with one again."""
        self.reopened(10)
        self.answer("0")
        self.answer("1", accepted=False, throttled=True, wait=3.0)
        self.assertEqual(self.passed, ["0", "1", "2"])
        self.answer("2")
        self.clock.advance(3.1)
        self.assertEqual(self.passed, ["0", "1", "2", "3"])

    def test_late_answers_allow_nothing(self) -> None:
        """What was under way before the gate closed says nothing of how it is now."""
        for number in range(3):
            self.come(f"early {number}")
        self.reopened(5)
        for number in range(3):
            self.answer(f"early {number}")
        self.assertEqual([name for name in self.passed if name[0] != "e"], ["0"])

    def test_newcomers(self) -> None:
        """Whoever comes while not all are allowed passes if there is room, else waits."""
        self.reopened(0)
        self.come("a")
        self.come("b")
        self.assertEqual(self.passed, ["a"])

    def test_answers_at_once(self) -> None:
        """A thousand that wait, and are answered while they are let go, need no deep stack."""

        def answered(ticket: Ticket) -> None:
            self.admission.answered("message", ticket)
            self.admission.admit()

        self.close(1.0)
        for number in range(1000):
            self.come(str(number)).addCallback(answered)
        self.clock.advance(1.1)
        self.assertEqual(len(self.passed), 1000)


class RampOfOneTests(AdmissionTestCase):
    """With one request at a time."""

    full = 1

    def test_opens_after_one(self) -> None:
        """It opens when the first request was accepted, not before."""
        self.close(1.0)
        self.clock.advance(1.1)
        self.come("a")
        self.assertFalse(self.admission.open)
        self.answer("a")
        self.assertTrue(self.admission.open)


class ShutTests(AdmissionTestCase):
    """Turn is away."""

    def test_only_whom_one_lets(self) -> None:
        """While it is shut just those pass who are let, and afterwards one goes first."""
        self.admission.suspend()
        for name in ("a", "b", "c", "d"):
            self.come(name)
        self.assertEqual(self.passed, [])
        self.admission.admit_one(self.admission.waiting()[0])
        self.answer("a", accepted=False)
        self.assertEqual(self.passed, ["a"])
        self.admission.resume()
        self.admission.admit()
        self.assertEqual(self.passed, ["a", "b"])

    def test_who_waits(self) -> None:
        """Those that wait are listed messages first."""
        self.admission.suspend()
        self.come("status", "status")
        self.come("message")
        self.assertEqual([task.request.name for task in self.admission.waiting()], ["message", "status"])

    def test_throttled_while_shut(self) -> None:
        """When a wait ends while it is shut, it stays shut."""
        self.admission.suspend()
        self.close(1.0)
        self.come("a")
        self.clock.advance(2.0)
        self.assertEqual(self.passed, [])


class SimulationTests(AdmissionTestCase):
    """Random storms."""

    def test_never_too_many(self) -> None:
        """In random storms nobody passes while told to wait, at most the allowed number is
        under way after it, and everybody passes in the end."""
        for seed in range(40):
            rng = random.Random(seed)
            self.setUp()
            came, early, allowed = 0, set(), 0
            for _ in range(400):
                before, was_told = len(self.passed), self.admission.until
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
                    self.assertEqual(len(self.passed), before)
                if not self.admission.open:
                    self.assertLessEqual(len(set(self.tickets) - early), max(allowed, 1))
            for _ in range(2000):
                if len(self.passed) == came:
                    break
                self.clock.advance(1.0)
                for name in list(self.tickets):
                    self.answer(name)
            self.assertEqual(len(set(self.passed)), came)
            self.tearDown()
