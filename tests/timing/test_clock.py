"""A monotonic clock for intervals, the wall clock for timestamps."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.timing.clock import measure_monotonically, wall_clock_of


class BareReactor(ReactorBase):
    """A reactor's timers, without a socket."""

    def installWaker(self) -> None:
        pass


class ClockCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.wall = self.monotonic = 1_700_000_000.0
        # twisted.python.runtime has a reference of its own to time.time.
        self.patch(BareReactor, "seconds", staticmethod(lambda: self.wall))
        self.patch(time, "monotonic", lambda: self.monotonic)
        self.reactor: Any = BareReactor()
        self.called: list[str] = []

    def pass_time(self, seconds: float, set_by: float = 0.0) -> None:
        """Time passes, and somebody sets the wall clock."""
        self.monotonic += seconds
        self.wall += seconds + set_by
        self.reactor.runUntilCurrent()


class MonotonicTests(ClockCase):
    def test_clock_set_back(self) -> None:
        """A timer fires when its time has passed, though the clock was set back; without this it does not."""
        for measure, called in ((lambda reactor: None, []), (measure_monotonically, ["late"])):
            with case(measure=measure, called=called):
                self.setUp()
                measure(self.reactor)
                self.reactor.callLater(5, self.called.append, "late")
                self.pass_time(4, set_by=-3600)
                self.assertEqual(self.called, [])
                self.pass_time(1)
                self.assertEqual(self.called, called)

    def test_clock_set_forward(self) -> None:
        """Nor does a timer fire early when the clock is set forward."""
        measure_monotonically(self.reactor)
        self.reactor.callLater(60, self.called.append, "early")
        self.pass_time(1, set_by=3600)
        self.assertEqual(self.called, [])

    def test_twice(self) -> None:
        """Doing it twice is doing it once."""
        measure_monotonically(self.reactor)
        self.reactor.callLater(1, self.called.append, "x")
        measure_monotonically(self.reactor)
        self.pass_time(1)
        self.assertEqual(self.called, ["x"])

    def test_in_use(self) -> None:
        """A reactor that is in use keeps its clock, and the log says so."""
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.reactor.callLater(1, self.called.append, "x")
        measure_monotonically(self.reactor)
        self.assertIsNot(self.reactor.seconds, time.monotonic)
        self.assertEqual(len(events), 1)


class WallClockTests(ClockCase):
    def test_of_a_reactor(self) -> None:
        """Beside a reactor it is the system's clock."""
        measure_monotonically(self.reactor)
        self.assertIs(wall_clock_of(self.reactor), time.time)

    def test_of_a_test(self) -> None:
        """A test's clock stands for both."""
        clock = Clock()
        clock.advance(5)
        self.assertEqual(wall_clock_of(clock)(), 5)
