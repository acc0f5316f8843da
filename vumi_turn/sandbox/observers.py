"""The worker and its broker, with all that passes shown in the traffic log."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from ..broker.interface import (
    Broker,
    BrokerState,
    Consumer,
    Delivery,
    Handler,
    Outcome,
    Publisher,
    QueueCounts,
    QueueLock,
    StateObserver,
)
from ..channel.worker import TurnChannelsApi
from ..timing.timeouts import deferred_of
from ..turn.client import TurnClient, TurnResponse
from ..turn.payloads import MESSAGES_PATH, STATUSES_PATH
from ..vumi.worker import BaseWorker
from .traffic import TrafficLog
from .turn_simulator.webhook_client import plain_headers

#: Called with kind, id and status of each request that was answered, or was not (None).
Posted = Callable[[str, str, Optional[int]], None]


class ObservedBroker(Broker):
    """
    A broker that shows in the traffic log what passes through it.

    :param broker: the one that does the work.
    :param traffic: where it is shown.
    :param who: whose messages these are, for the traffic.
    """

    def __init__(self, broker: Broker, traffic: TrafficLog, who: str) -> None:
        self._broker = broker
        self._traffic = traffic
        self._who = who

    @property
    def state(self) -> BrokerState:  # type: ignore[override]
        return self._broker.state

    def on_state(self, observer: StateObserver) -> None:
        self._broker.on_state(observer)

    @property
    def reason(self) -> str:  # type: ignore[override]
        return self._broker.reason

    @property
    def reconnects(self) -> int:  # type: ignore[override]
        return self._broker.reconnects

    @property
    def heartbeat(self) -> float:  # type: ignore[override]
        return self._broker.heartbeat

    def start(self) -> None:
        self._broker.start()

    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        return self._broker.stop(timeout)

    def consume(self, queue: str, handler: Handler, prefetch: int, *, single_active: bool = False) -> Consumer:
        async def observed(delivery: Delivery) -> Outcome:
            self._traffic.amqp("deliver", self._who, queue, delivery.body, redelivered=delivery.redelivered)
            outcome = await handler(delivery)
            if not delivery.lost:
                self._traffic.amqp(outcome.value, self._who, queue, delivery.body)
            return outcome

        return self._broker.consume(queue, observed, prefetch, single_active=single_active)

    def publisher(self, routing_key: str, *, single_active: bool = False) -> Publisher:
        publisher = self._broker.publisher(routing_key, single_active=single_active)
        return _ObservedPublisher(publisher, routing_key, self._traffic, self._who)

    def scope(self, name: str) -> ObservedBroker:
        return ObservedBroker(self._broker.scope(name), self._traffic, self._who)

    def lock(self, queue: str) -> QueueLock:
        return self._broker.lock(queue)

    async def counts(self, queue: str) -> Optional[QueueCounts]:
        return await self._broker.counts(queue)

    def heard_since(self, moment: float) -> bool:
        return self._broker.heard_since(moment)

    async def probe(self) -> bool:
        return await self._broker.probe()

    def transient_publisher(self, exchange: str, routing_key: str) -> Publisher:
        return self._broker.transient_publisher(exchange, routing_key)


class _ObservedPublisher(Publisher):
    def __init__(self, publisher: Publisher, routing_key: str, traffic: TrafficLog, who: str) -> None:
        self._publisher = publisher
        self._routing_key = routing_key
        self._traffic = traffic
        self._who = who

    def publish(self, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> Deferred[None]:
        self._traffic.amqp("publish", self._who, self._routing_key, body)
        return self._publisher.publish(body, headers).addErrback(self._refused, body)

    def _refused(self, failure: Failure, body: bytes) -> Failure:
        self._traffic.amqp("refused", self._who, self._routing_key, body, reason=failure.getErrorMessage())
        return failure


class Announced(BaseWorker[Any]):
    """
    A worker that says when it is there.

    :ivar ready: called when it is set up.
    """

    ready: Callable[[], None] = staticmethod(lambda: None)

    async def setup_worker(self) -> None:
        pending = deferred_of(super().setup_worker())
        if pending is not None:
            await pending
        self.ready()


class ObservedChannel(TurnChannelsApi):
    """
    A worker of a channel as it is. The simulated Turn shows both ends of what
    passes between them; with the real one that is done here.

    :ivar traffic: where to show it; None leaves that to the simulated Turn.
    :ivar posted: is told of each POST to Turn.
    """

    traffic: Optional[TrafficLog] = None
    posted: Posted = staticmethod(lambda kind, name, status: None)

    def make_turn_client(self) -> TurnClient:
        client = super().make_turn_client()
        if self.traffic is None:
            return client
        return _ObservedTurn(client, self.traffic, self.posted)  # type: ignore[return-value]

    async def listen(self, endpoint: Any, factory: Any) -> IListeningPort:
        if self.traffic is not None:
            _show_requests(factory, self.traffic)
        return await super().listen(endpoint, factory)

    def health_components(self) -> dict[str, dict[str, Any]]:
        return super().health_components() if self._is_set_up else {}

    def counts(self) -> dict[str, Any]:
        """What it has in hand; nothing before it is set up."""
        if not self._is_set_up:
            return {}
        scheduler = self.channel.scheduler
        return {
            "waiting": scheduler.waiting,
            "in_flight": scheduler.in_flight,
            "held": scheduler.held,
            "remembered": self.cache.size,
        }

    @property
    def next_try(self) -> Optional[float]:
        """When Turn is asked again, by the worker's clock; None while nothing waits for that."""
        if not self._is_set_up:
            return None
        scheduler = self.channel.scheduler
        if scheduler.next_probe is not None:
            return scheduler.next_probe
        return scheduler.throttled_until or min(scheduler.pauses.values(), default=None)

    @property
    def pauses(self) -> dict[str, float]:
        """The messages that wait for their next try, by id, and until when, by the worker's clock."""
        return self.channel.scheduler.pauses if self._is_set_up else {}


def observed(worker_class: type[BaseWorker[Any]]) -> type[Announced]:
    """
    The class of a worker in the sandbox.

    :param worker_class: of a channel, or an application of somebody's own.
    """
    bases: tuple[type, ...] = (Announced, worker_class)
    if issubclass(worker_class, TurnChannelsApi):
        bases = (Announced, ObservedChannel, *(() if worker_class is TurnChannelsApi else (worker_class,)))
    made: type[Announced] = type(worker_class.__name__, bases, {"__doc__": worker_class.__doc__})
    return made


class _ObservedTurn:
    """The client of a real Turn."""

    def __init__(self, client: TurnClient, traffic: TrafficLog, posted: Posted) -> None:
        self._client = client
        self._traffic = traffic
        self._posted = posted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def post_message(self, payload: dict[str, Any]) -> TurnResponse:
        return await self._post("message", MESSAGES_PATH, payload, self._client.post_message)

    async def post_status(self, payload: dict[str, Any]) -> TurnResponse:
        return await self._post("status", STATUSES_PATH, payload, self._client.post_status)

    async def _post(
        self, kind: str, path: str, payload: dict[str, Any], post: Callable[[dict[str, Any]], Any]
    ) -> TurnResponse:
        exchange = self._traffic.request("worker", f"POST {path}", json.dumps(payload).encode("ascii"))
        answer: TurnResponse = await post(payload)
        self._posted(kind, exchange.ids[0] if exchange.ids else "?", answer.status)
        self._traffic.response(exchange, answer.status, reason=answer.detail or None)
        return answer


def _show_requests(site: Any, traffic: TrafficLog) -> None:
    """Show in the traffic log what a twisted.web site was asked and has answered."""
    log_request = site.log

    def show(request: Any) -> None:
        log_request(request)
        if request.method == b"POST":
            path = request.path.decode("ascii", "replace")
            headers = plain_headers(request.requestHeaders)
            exchange = traffic.request("turn", f"POST {path}", _body_of(request), headers)
            traffic.response(exchange, request.code, headers=plain_headers(request.responseHeaders))

    site.log = show


def _body_of(request: Any) -> bytes:
    if request.content is None or request.content.closed:
        return b""
    request.content.seek(0)
    body: bytes = request.content.read()
    return body
