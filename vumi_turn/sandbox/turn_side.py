"""The simulated Turn in the sandbox: shown in the traffic log, and answering by the built-in journey."""

from __future__ import annotations

from typing import Any, Awaitable, Mapping, Optional, Protocol
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger

from ..timing.timeouts import Timeouts
from .post_counters import PostCounters
from .recent import Recent
from .traffic import Exchange, TrafficLog, ids_of, json_of
from .turn_simulator.journey import Answer, Journey
from .turn_simulator.rate_limit import RateLimit
from .turn_simulator.records import Record
from .turn_simulator.simulator import TurnSimulator
from .turn_simulator.webhook_client import ChannelAnswer, WebhookClient

log = Logger()

#: The journey answers so long after Turn has taken a message, in seconds.
THINKING = 0.05

#: How many requests may be under way.
MAX_OPEN = 1000


class Secrets(Protocol):
    """What a channel and Turn share: a worker's options."""

    auth_token: str
    turn_hmac_secret: str


class TurnSide:
    """
    :param reactor: the reactor.
    :param secrets: the worker's.
    :param webhook: where the worker takes POSTs.
    :param traffic: where all that passes is shown.
    :param counters: counts the worker's POSTs.
    :param journey: answers while ``journey_on``.
    :ivar simulator: the simulated Turn.
    """

    def __init__(
        self,
        reactor: Any,
        secrets: Secrets,
        webhook: str,
        traffic: TrafficLog,
        counters: PostCounters,
        journey: Journey,
    ) -> None:
        self._traffic = traffic
        self._counters = counters
        self._client = WebhookClient(reactor)
        self._waits = Timeouts(reactor)
        self._open: Recent[Exchange] = Recent(MAX_OPEN)
        self._stopping = False
        self._resets = 0
        self.journey = journey
        self.journey_on = True
        self.simulator = TurnSimulator(
            reactor,
            token=secrets.auth_token,
            secret=secrets.turn_hmac_secret,
            webhook=webhook,
            post=self._post,
            limit=RateLimit(reactor),
        )
        self.simulator.on_message = self._journey_answers
        self.simulator.api.on_request = self._show_request

    async def stop(self) -> None:
        """End what is under way."""
        self._stopping = True
        self._waits.end(lambda: CancelledError())
        self.simulator.stop()
        await self._client.close()

    def reset(self) -> None:
        """Forget all conversations and faults; everybody begins the journey anew."""
        self._resets += 1
        self.simulator.reset()
        self.journey.reset()

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> ChannelAnswer:
        """POST to the worker's webhook, and show it."""
        exchange = self._traffic.request("turn", f"POST {urlsplit(url).path}", body, headers)
        answer: Optional[ChannelAnswer] = None
        try:
            answer = await self._client.post(url, headers, body)
            return answer
        finally:
            if answer is None:
                self._traffic.response(exchange, None)
            else:
                self._traffic.response(exchange, answer.status, answer.body, answer.headers)

    def _show_request(self, record: Record) -> None:
        """Show a request of the worker's, when it comes and when it is settled."""
        key = str(record.number)
        if not record.answered:
            where = f"POST /{record.path.rpartition('/')[2]}"
            self._open.put(key, self._traffic.request("worker", where, record.body, record.headers))
            return
        self._counters.count(record.kind, next(iter(ids_of(json_of(record.body))), "?"), record.status)
        exchange = self._open.pop(key)
        if exchange is None:
            return
        if record.status is None:
            self._traffic.response(exchange, None)
        else:
            self._traffic.response(exchange, record.status, record.answer, record.answer_headers)

    def _journey_answers(self, person: str, message: dict[str, Any], said: str) -> None:
        if self.journey_on:
            self._background(self._journey_answer(person, message["id"], said))

    async def _journey_answer(self, person: str, message_id: str, said: str) -> None:
        """Answer, after Turn has answered the POST, as a flow does."""
        resets = self._resets
        await self._waits.sleep(THINKING)
        if resets != self._resets:
            return
        # Whoever dials is sent the code as their first words, by the worker.
        starts = said.startswith("*") and said.endswith("#")
        for answer in self.journey.answers(person, said, starts):
            if not self._stopping:
                await self._say(person, message_id, answer)

    async def _say(self, person: str, message_id: str, answer: Answer) -> None:
        await self.simulator.send(person, answer.text, turn=answer.turn, reply_to=message_id, waiting=answer.waiting)

    def _background(self, awaitable: Awaitable[Any]) -> None:
        done: Deferred[Any] = ensureDeferred(awaitable)  # type: ignore[arg-type]
        done.addErrback(lambda failure: log.failure("The simulated Turn failed", failure))
