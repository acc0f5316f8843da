"""Heartbeats of one connection, in both directions."""

from __future__ import annotations

from typing import Any, Callable


class HeartbeatMonitor:
    """
    Sends a sign of life twice in each interval, and notices when the other side
    has sent nothing for two intervals.

    :param interval: seconds, as agreed with the broker.
    :param beat: sends a heartbeat.
    :param dead: called once when the other side has gone silent.
    """

    def __init__(self, clock: Any, interval: float, beat: Callable[[], None], dead: Callable[[], None]) -> None:
        self._clock = clock
        self._interval = interval
        self._beat = beat
        self._dead = dead
        self._silent = 0
        self._call = clock.callLater(interval / 2, self._tick)

    def heard(self) -> None:
        """Something has arrived."""
        self._silent = 0

    def stop(self) -> None:
        """Send and watch no more."""
        if self._call.active():
            self._call.cancel()

    def _tick(self) -> None:
        self._silent += 1
        if self._silent > 4:
            self._dead()
            return
        self._beat()
        self._call = self._clock.callLater(self._interval / 2, self._tick)
