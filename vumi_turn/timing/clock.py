"""
Two clocks: a monotonic one for intervals, the wall clock for timestamps.

A reactor's ``seconds()`` is for intervals: timeouts, deadlines, ages. It may
count from any moment, so that it says nothing of the time of day. What somebody
reads as a moment (a message's timestamp, a date in a header, a page's entries)
is the wall clock's.
"""

from __future__ import annotations

import time
from typing import Any, Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.logger import Logger

log = Logger()

#: Gives Unix seconds. Somebody may set it, forwards or back.
WallClock = Callable[[], float]


def wall_clock_of(clock: IReactorTime) -> WallClock:
    """
    The wall clock beside a clock for intervals.

    :param clock: the reactor; or a :class:`~twisted.internet.task.Clock` of a
        test, which then stands for both.
    """
    return clock.seconds if isinstance(clock, Clock) else time.time


def measure_monotonically(reactor: Any) -> None:
    """
    Let a reactor measure time by the monotonic clock.

    By itself Twisted's measures by ``time.time``: a clock that is set back stops
    every timer for as long. Call this before anything else uses the reactor.

    Where something has called ``callLater`` before, the reactor keeps its clock,
    and the log says so: that call waits for a moment of the other clock.

    :param reactor: Twisted's global one, before its first ``callLater``.
    """
    if reactor.seconds is time.monotonic:
        return
    if reactor.getDelayedCalls():
        log.warn("The reactor is in use already: it measures time by the wall clock, and waits while that is set back")
        return
    reactor.seconds = time.monotonic
