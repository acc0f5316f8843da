"""A timeout for one call to RabbitMQ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import Client


class CallTimeout:
    """
    A timeout of one call, which aborts the connection: txamqp cannot forget a
    call, and would take a late answer for that of the next call.

    While RabbitMQ blocks the connection it does not answer, and no timeout expires.

    :param client: the connection.

    :param seconds: how long the answer may take.
    :param what: what is to be answered, for the log.
    """

    def __init__(self, client: Client, seconds: float, what: str) -> None:
        self._client = client
        self._seconds = seconds
        self._what = what
        self._timer = client.clock.callLater(seconds, self._expired)

    def stop(self) -> None:
        """Cancel the timeout: the answer has arrived."""
        if self._timer.active():
            self._timer.cancel()

    def _expired(self) -> None:
        if self._client.blocked:
            self._timer = self._client.clock.callLater(self._seconds, self._expired)
        else:
            self._client.give_up(f"RabbitMQ did not answer {self._what} within {self._seconds:g} s")
