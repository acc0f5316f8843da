"""How long RabbitMQ may take for an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import Client


class CallTimeout:
    """
    A time limit on one answer, which gives the connection up: txamqp cannot
    forget a call, and would take a late answer for that to the next one.

    While RabbitMQ blocks us it cannot answer, and the limit does not run.

    :param seconds: how long the answer may take.
    :param what: what is to be answered, for the log.
    """

    def __init__(self, client: Client, seconds: float, what: str) -> None:
        self._client = client
        self._seconds = seconds
        self._what = what
        self._call = client.clock.callLater(seconds, self._over)

    def stop(self) -> None:
        """The answer is there."""
        if self._call.active():
            self._call.cancel()

    def _over(self) -> None:
        if self._client.blocked:
            self._call = self._client.clock.callLater(self._seconds, self._over)
        else:
            self._client.give_up(f"RabbitMQ did not answer {self._what} within {self._seconds:g} s")
