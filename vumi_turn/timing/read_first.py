"""A timeout that lets what has arrived be read before it ends anything."""

from __future__ import annotations

from typing import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class ReadFirstTimeout:
    """
    A timeout of something that arrives from a socket.

    A process that stood still for a while, with its machine or alone, finds its
    timeouts over and what arrived meanwhile not read: Twisted's reactors look
    at their timers first. So the reactor reads once more before the call is made.

    :param clock: the reactor, or a clock.
    :param seconds: how long to wait; less than 0 counts as 0.
    :param expired: called once when the time is over and nothing has stopped the timeout.
    """

    __slots__ = ("_clock", "_expired", "_call")

    def __init__(self, clock: IReactorTime, seconds: float, expired: Callable[[], object]) -> None:
        self._clock = clock
        self._expired = expired
        self._call: IDelayedCall = clock.callLater(max(seconds, 0.0), self._over)

    def stop(self) -> None:
        """What was waited for is there, or does not matter any more."""
        if self._call.active():
            self._call.cancel()

    def _over(self) -> None:
        # A call that is added now is made only after the reactor has read.
        self._call = self._clock.callLater(0, self._expired)
