"""A time-out that is set several times for each request and is hardly ever reached."""

from __future__ import annotations

from typing import Callable, Optional

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class LazyTimeout:
    """
    Notes when time is over. Twisted's ``TimeoutMixin`` makes a timer and
    cancels it for each request; here one timer, which may come too early and
    then waits for the rest, stays.

    :param clock: the reactor, or a clock.
    :param reached: called once the time is over.
    """

    __slots__ = ("_clock", "_reached", "_at", "_timer")

    def __init__(self, clock: IReactorTime, reached: Callable[[], None]) -> None:
        self._clock = clock
        self._reached = reached
        self._at: Optional[float] = None
        self._timer: Optional[IDelayedCall] = None

    def set(self, period: Optional[float]) -> None:
        """
        :param period: seconds from now; None is no time-out.
        """
        if period is None:
            self._at = None
            return
        at = self._at = self._clock.seconds() + period
        if self._timer is not None and self._timer.getTime() > at:
            self.stop()
            self._at = at
        if self._timer is None:
            self._timer = self._clock.callLater(period, self._look)

    def stop(self) -> None:
        """Leave no timer."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._at is None:
            return
        left = self._at - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._look)
        else:
            self._at = None
            self._reached()
