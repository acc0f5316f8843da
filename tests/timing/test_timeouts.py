"""Waits that have a bound, and end all at once when a worker stops."""

from __future__ import annotations

from typing import Any, Generator

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.timing.timeouts import Timeouts, deferred_of


class TooLate(Exception):
    """It took too long."""


class Stopped(Exception):
    """The owner has stopped."""


class WaitsCase(SynchronousTestCase):
    """After each test no delayed call is left."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.waits = Timeouts(self.clock)

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def bound(self, awaited: Deferred[Any], seconds: float = 5) -> Deferred[Any]:
        return self.waits.bound(awaited, seconds, TooLate)


class BoundTests(WaitsCase):
    def test_in_time(self) -> None:
        """What comes in time comes through, a failure as well, and the timer is gone."""
        good: Deferred[int] = Deferred()
        bad: Deferred[int] = Deferred()
        waits = [self.bound(one) for one in (good, bad)]
        self.clock.advance(4.9)
        good.callback(7)
        bad.errback(ZeroDivisionError())
        self.assertEqual(self.successResultOf(waits[0]), 7)
        self.failureResultOf(waits[1], ZeroDivisionError)

    def test_there_already(self) -> None:
        """What is there already comes through at once."""
        self.assertEqual(self.successResultOf(self.bound(succeed(7))), 7)
        self.failureResultOf(self.bound(fail(ZeroDivisionError())), ZeroDivisionError)

    def test_there_but_waiting(self) -> None:
        """What has fired but waits for something itself is waited for."""
        inner: Deferred[int] = Deferred()
        wait = self.bound(succeed(None).addCallback(lambda _: inner))
        self.assertNoResult(wait)
        inner.callback(7)
        self.assertEqual(self.successResultOf(wait), 7)

    def test_too_late(self) -> None:
        """At the bound the wait fails with what was said, and what was waited for is cancelled."""
        cancelled: list[Any] = []
        awaited: Deferred[int] = Deferred(cancelled.append)
        wait = self.bound(awaited)
        self.clock.advance(4.9)
        self.assertNoResult(wait)
        self.clock.advance(0.1)
        self.failureResultOf(wait, TooLate)
        self.assertEqual(cancelled, [awaited])

    def test_no_time(self) -> None:
        """A bound that is over already still lets the reactor turn once."""
        wait = self.bound(Deferred(), -1)
        self.assertNoResult(wait)
        self.clock.advance(0)
        self.failureResultOf(wait, TooLate)

    def test_after_the_bound(self) -> None:
        """What does not let itself be cancelled and comes later is nobody's concern, be it value or failure."""

        async def stubborn(later: Deferred[int]) -> int:
            try:
                return await Deferred()
            except CancelledError:
                return await later

        for late in (succeed(7), fail(ZeroDivisionError())):
            later: Deferred[int] = Deferred()
            wait = self.bound(ensureDeferred(stubborn(later)))
            self.clock.advance(5)
            self.failureResultOf(wait, TooLate)
            late.chainDeferred(later)

    def test_cancelled(self) -> None:
        """Cancelling a wait cancels what is waited for."""
        awaited: Deferred[None] = Deferred()
        wait = self.bound(awaited)
        wait.cancel()
        self.failureResultOf(wait, CancelledError)
        self.assertTrue(awaited.called)


class SleepTests(WaitsCase):
    def test_sleep(self) -> None:
        """A sleep ends after its time."""
        rest = self.waits.sleep(5)
        self.clock.advance(4.9)
        self.assertNoResult(rest)
        self.clock.advance(0.1)
        self.assertIsNone(self.successResultOf(rest))

    def test_end(self) -> None:
        """At the end a sleep is over at once, and a new one does not begin."""
        rest = self.waits.sleep(5)
        self.waits.end(Stopped)
        self.assertIsNone(self.successResultOf(rest))
        self.assertIsNone(self.successResultOf(self.waits.sleep(5)))


class EndTests(WaitsCase):
    def test_end(self) -> None:
        """The end fails the waits of now and those to come, and cancels what they waited for."""
        first: Deferred[None] = Deferred()
        second: Deferred[None] = Deferred()
        waiting = self.bound(first)
        self.waits.end(Stopped)
        self.failureResultOf(waiting, Stopped)
        self.failureResultOf(self.bound(second), Stopped)
        self.assertEqual((first.called, second.called), (True, True))

    def test_there_already(self) -> None:
        """What is there already comes through after the end too."""
        self.waits.end(Stopped)
        self.assertEqual(self.successResultOf(self.bound(succeed(7))), 7)

    def test_waits_within(self) -> None:
        """Whoever begins another wait when his own is ended has it ended as well."""
        outcomes: list[Any] = []

        def again(failure: Any) -> Deferred[None]:
            outcomes.append(failure.type)
            return self.bound(Deferred())

        wait = self.bound(Deferred()).addErrback(again)
        self.waits.end(Stopped)
        self.failureResultOf(wait, Stopped)
        self.assertEqual(outcomes, [Stopped])


class DeferredOfTests(WaitsCase):
    def test_values(self) -> None:
        """A value is nothing to wait for, whatever it is."""
        values: list[object] = [None, 0, "text", [], object(), iter("x")]
        for value in values:
            with case(value=value):
                self.assertIsNone(deferred_of(value))

    def test_deferred(self) -> None:
        """A Deferred is the one that was given."""
        given: Deferred[int] = Deferred()
        self.assertIs(deferred_of(given), given)

    def test_coroutine(self) -> None:
        """A coroutine is started."""
        steps: list[str] = []

        async def walk() -> int:
            steps.append("started")
            return 7

        found = deferred_of(walk())
        self.assertEqual(steps, ["started"])
        assert found is not None
        self.assertEqual(self.successResultOf(found), 7)

    def test_other_awaitables(self) -> None:
        """So is whatever else can be awaited."""

        class Awaitable:
            def __await__(self) -> Generator[Any, Any, int]:
                return (yield from succeed(7))

        found = deferred_of(Awaitable())
        assert found is not None
        self.assertEqual(self.successResultOf(found), 7)
