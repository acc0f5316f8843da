"""Heartbeats of one connection, in both directions."""

from __future__ import annotations

from typing import Any, Callable


class HeartbeatMonitor:
    """
    Sends a heartbeat twice in each interval, and reports when nothing has
    arrived for two intervals (AMQP 0-9-1 specification, section 4.2.7).

    :param clock: the reactor's clock.
    :param interval: seconds, as agreed with the broker.
    :param send: sends a heartbeat.
    :param timed_out: called once when nothing has arrived for two intervals.
    """

    def __init__(self, clock: Any, interval: float, send: Callable[[], None], timed_out: Callable[[], None]) -> None:
        self._clock = clock
        self._interval = interval
        self._send = send
        self._timed_out = timed_out
        self._ticks_without_data = 0
        self._call = clock.callLater(interval / 2, self._tick)

    def heard(self) -> None:
        """Note that data has arrived."""
        self._ticks_without_data = 0

    def stop(self) -> None:
        """Stop sending and checking."""
        if self._call.active():
            self._call.cancel()

    def _tick(self) -> None:
        self._ticks_without_data += 1
        if self._ticks_without_data > 4:
            self._timed_out()
            return
        self._send()
        self._call = self._clock.callLater(self._interval / 2, self._tick)
