"""A broker that does what a test says, at the moment that the test says it."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from twisted.internet.defer import Deferred, ensureDeferred, succeed

from vumi_turn.broker.interface import (
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
from vumi_turn.vumi.messages import TransportEvent, TransportUserMessage


class FakeConsumer(Consumer):
    """A consumer that gets what :meth:`FakeBroker.deliver` gives it."""

    def __init__(self, handler: Handler, prefetch: int, single_active: bool = False) -> None:
        self.handler = handler
        self.prefetch = prefetch
        self.single_active = single_active
        self._paused = True
        self.additional = 0

    def pause(self) -> None:
        self._paused = True

    def unpause(self) -> None:
        self._paused = False

    @property
    def paused(self) -> bool:
        return self._paused

    def allow_more(self, count: int) -> None:
        self.additional = count


class FakePublisher(Publisher):
    """A publisher that keeps what it is given."""

    def __init__(self, broker: FakeBroker, single_active: bool = False) -> None:
        self.single_active = single_active
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, Any]] = []
        self.pending: list[Deferred[None]] = []
        self._broker = broker

    def publish(self, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> Deferred[None]:
        self.bodies.append(body)
        self.headers.append(headers or {})
        if self._broker.confirms:
            return succeed(None)
        self.pending.append(Deferred())
        return self.pending[-1]


class FakeBroker(Broker):
    """
    Delivers inside :meth:`deliver`, with no regard to prefetch or pausing, and
    confirms at once while :attr:`confirms` is True.
    """

    def __init__(self) -> None:
        self.state = BrokerState.CONNECTED
        self.confirms = True
        self.consumers: dict[str, FakeConsumer] = {}
        self.publishers: dict[str, FakePublisher] = {}
        self.calls: list[str] = []
        self.stop_result: Deferred[None] = succeed(None)

    def start(self) -> None:
        self.calls.append("start")

    def on_state(self, observer: StateObserver) -> None:
        """No state is told."""

    def consume(self, queue: str, handler: Handler, prefetch: int, *, single_active: bool = False) -> FakeConsumer:
        self.consumers[queue] = FakeConsumer(handler, prefetch, single_active)
        return self.consumers[queue]

    def publisher(self, routing_key: str, *, single_active: bool = False) -> FakePublisher:
        return self.publishers.setdefault(routing_key, FakePublisher(self, single_active))

    def transient_publisher(self, exchange: str, routing_key: str) -> FakePublisher:
        return self.publishers.setdefault(f"{exchange}/{routing_key}", FakePublisher(self))

    def scope(self, name: str) -> FakeBroker:
        return self

    def lock(self, queue: str) -> QueueLock:
        raise NotImplementedError("this broker has no locks")

    async def counts(self, queue: str) -> Optional[QueueCounts]:
        return None

    def heard_since(self, moment: float) -> bool:
        return True

    async def probe(self) -> bool:
        return True

    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        self.calls.append(f"stop {timeout}")
        self.state = BrokerState.CLOSED
        return self.stop_result

    def deliver(self, queue: str, body: bytes, **attributes: Any) -> tuple[Delivery, Deferred[Outcome]]:
        """Give a body to the queue's handler: the delivery, and what becomes of it."""
        delivery = Delivery(queue, body, **attributes)
        handling: Any = self.consumers[queue].handler(delivery)
        outcome: Deferred[Outcome] = ensureDeferred(handling)
        return delivery, outcome


def user_message(message_id: str = "m1", **fields: Any) -> TransportUserMessage:
    """A person's message; fields that differ in life differ here."""
    values: dict[str, Any] = {
        "message_id": message_id,
        "from_addr": "+27820000001",
        "to_addr": "*120*1#",
        "transport_name": "ussd_transport",
        "transport_type": "ussd",
        "content": f"words of {message_id}",
        **fields,
    }
    return TransportUserMessage(**values)


def event(user_message_id: str = "o1", **fields: Any) -> TransportEvent:
    """An ack, unless ``fields`` say something else."""
    values = {
        "user_message_id": user_message_id,
        "event_type": "ack",
        "sent_message_id": "provider-9",
        **fields,
    }
    return TransportEvent(**values)
