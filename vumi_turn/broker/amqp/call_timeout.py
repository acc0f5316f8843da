"""A timeout for one call to RabbitMQ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from ...timing.read_first import ReadFirstTimeout

if TYPE_CHECKING:
    from .client import Client

#: Seconds after which a call has timed out although data keeps arriving: on a slow
#: link the answer may be behind megabytes of messages, but it is behind them only.
MAX_CALL = 300.0

#: Seconds without a byte after which the connection is quiet: the answer is not behind other data then.
QUIET = 1.0


class CallTimeout:
    """
    A timeout of one call. Only the time counts in which the connection is quiet,
    because an answer may be queued behind large messages on a slow link. What
    comes now and then, for other channels, does not put it off. It expires in
    any case after :data:`MAX_CALL`.

    While RabbitMQ blocks the connection it does not answer, and no timeout expires.

    :param client: the connection.
    :param seconds: how long the connection may be quiet.
    :param expired: called once when the call has timed out.
    """

    def __init__(self, client: Client, seconds: float, expired: Callable[[], None]) -> None:
        self._client = client
        self._seconds = seconds
        self._expired = expired
        self._started = self._looked = client.clock.seconds()
        self._quiet = 0.0
        self._timer = ReadFirstTimeout(client.clock, min(seconds, QUIET), self._check)

    def stop(self) -> None:
        """Cancel the timeout: the answer has arrived, or does not matter any more."""
        self._timer.stop()

    def _check(self) -> None:
        now = self._client.clock.seconds()
        since = max(self._looked, self._client.last_received)
        if self._client.blocked:
            self._quiet, self._looked = 0.0, now
        elif now - self._client.last_received >= min(QUIET, self._seconds) - 1e-6:
            self._quiet += now - since
            self._looked = now
        remaining = self._seconds - self._quiet
        if not self._client.blocked and (remaining <= 1e-6 or now - self._started >= MAX_CALL):
            self._expired()
        else:
            self._timer = ReadFirstTimeout(self._client.clock, min(max(remaining, 0.05), QUIET), self._check)
