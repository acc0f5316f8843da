"""
Waits that Turn imposes: ``Retry-After`` and its relatives.
"""

from __future__ import annotations

from typing import Callable, Optional

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..timing.backoff import Backoff

#: The longest wait that Turn can impose, in seconds.
LONGEST_WAIT = 600.0


class RateLimiter:
    """
    The waits of one scope: of the channel, or of one of Turn's rate limit buckets.

    :param clock: what waits are measured by.
    :param wait_over: called when a wait is over.
    :ivar until: until when Turn wants no requests, in the clock's seconds, or None.
    """

    def __init__(self, clock: IReactorTime, wait_over: Callable[[], None]) -> None:
        self.until: Optional[float] = None
        self._clock = clock
        self._wait_over = wait_over
        self._backoff = Backoff()
        self._timer: Optional[IDelayedCall] = None
        self._stopped = False

    @property
    def remaining(self) -> float:
        """Seconds for which Turn wants no requests."""
        return 0.0 if self.until is None else max(self.until - self._clock.seconds(), 0.0)

    def backoff(self, advance: bool) -> float:
        """
        The wait after an answer that did not say how long, in seconds.

        :param advance: it answered a request that was sent after the last
            wait; others of the same burst make no longer wait.
        :return: 0 where the present wait stands for that answer too.
        """
        if advance:
            return self._backoff.next()
        return self._backoff.current if self.until is None else 0.0

    def wait(self, seconds: float) -> bool:
        """
        Turn wants no requests for so long. Of several waits the one that ends last counts.

        :return: whether a wait has begun by this that was not there before.
        """
        if self._stopped or seconds <= 0:
            return False
        until = self._clock.seconds() + min(seconds, LONGEST_WAIT)
        if self.until is not None and self.until >= until:
            return False
        begun = self.until is None
        self.until = until
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.callLater(until - self._clock.seconds(), self._over)
        return begun

    def accepted(self) -> None:
        """Turn accepted a request that was sent after the last wait."""
        self._backoff.reset()

    def stop(self) -> None:
        """No wait any more, and no timer is left."""
        self._stopped = True
        self.until = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        self.until = None
        self._wait_over()
