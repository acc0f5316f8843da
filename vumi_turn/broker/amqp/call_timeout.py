"""A timeout for one call to RabbitMQ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from .client import Client

#: Seconds after which a call has timed out although data keeps arriving: on a slow
#: link the answer may be behind megabytes of messages, but it is behind them only.
MAX_CALL = 300.0


class CallTimeout:
    """
    A timeout of one call. It counts from the last byte that arrived, because
    an answer may be queued behind large messages on a slow link, and expires
    in any case after :data:`MAX_CALL`.

    While RabbitMQ blocks the connection it does not answer, and no timeout expires.

    :param client: the connection.
    :param seconds: how long nothing may arrive.
    :param expired: called once when the call has timed out.
    """

    def __init__(self, client: Client, seconds: float, expired: Callable[[], None]) -> None:
        self._client = client
        self._seconds = seconds
        self._expired = expired
        self._started = client.clock.seconds()
        self._timer = client.clock.callLater(seconds, self._check)

    def stop(self) -> None:
        """Cancel the timeout: the answer has arrived, or does not matter any more."""
        if self._timer.active():
            self._timer.cancel()

    def _check(self) -> None:
        now = self._client.clock.seconds()
        remaining = max(self._started, self._client.last_received) + self._seconds - now
        if self._client.blocked:
            remaining = self._seconds
        elif now - self._started >= MAX_CALL:
            remaining = 0.0
        if remaining > 1e-6:
            self._timer = self._client.clock.callLater(remaining, self._check)
        else:
            self._expired()
