"""POSTs of the simulated Turn to a channel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

import treq
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.web.client import Agent, HTTPConnectionPool

from ...http.connections import BytesProducer
from ...timing.timeouts import Timeouts

#: Turn wants a whole answer within this many seconds.
WEBHOOK_TIMEOUT = 5.0

#: What is kept of an answer's body, in bytes.
MAX_ANSWER = 65536


class NoAnswer(Exception):
    """There was no whole answer; the text says why."""


@dataclass(frozen=True)
class ChannelAnswer:
    """What a channel answered."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class WebhookClient:
    """
    :param reactor: connects, and tells the time.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waits = Timeouts(reactor)
        self._pool = HTTPConnectionPool(reactor)
        # treq's own body producer writes by the global reactor's turns, and there may be another one.
        agent = Agent(reactor, connectTimeout=WEBHOOK_TIMEOUT, pool=self._pool)
        self._http = HTTPClient(agent, data_to_body_producer=BytesProducer)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> ChannelAnswer:
        """
        :raises NoAnswer: within :data:`WEBHOOK_TIMEOUT`.
        """
        late = NoAnswer(f"no answer within {WEBHOOK_TIMEOUT:g} s")
        try:
            return await self._waits.bound(
                ensureDeferred(self._post(url, headers, body)), WEBHOOK_TIMEOUT, lambda: late
            )
        except NoAnswer:
            raise
        except Exception as error:  # whatever the network does, it is no answer
            raise NoAnswer(f"no answer ({type(error).__name__})") from None

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> ChannelAnswer:
        response = await self._http.post(url, data=body, headers=dict(headers), allow_redirects=False)
        parts: list[bytes] = []

        def keep(data: bytes) -> None:
            if sum(map(len, parts)) < MAX_ANSWER:
                parts.append(data)

        await treq.collect(response, keep)
        return ChannelAnswer(response.code, b"".join(parts)[:MAX_ANSWER], plain_headers(response.headers))

    def close(self) -> Deferred[None]:
        """End what is under way, and close idle connections."""
        self._waits.end(lambda: NoAnswer("the simulated Turn is stopping"))
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed


def plain_headers(headers: Any) -> dict[str, str]:
    """Twisted's headers, the last of each name; treq leaves empty ones behind."""
    return {
        name.decode("ascii", "replace"): values[-1].decode("utf-8", "replace")
        for name, values in headers.getAllRawHeaders()
        if values[-1]
    }
