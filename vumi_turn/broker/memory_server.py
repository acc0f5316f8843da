"""What brokers in memory are connected to: queues, their consumers and locks, and the turns of a clock."""

from __future__ import annotations

import heapq
from typing import Any, Callable, Mapping, Optional

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .interface import Delivery, QueueCounts
from .memory_consumer import MemoryConsumer, Message

#: Seconds until a requeued message is delivered again: a handler that always
#: requeues must not stop the clock.
REDELIVERY_DELAY = 0.001


class MemoryServer:
    """
    The queues that several :class:`~vumi_turn.broker.memory.MemoryBroker` share, as connections share a RabbitMQ.

    :param clock: the reactor, or a test's clock.
    :ivar locks: who holds the lock of each name.
    :ivar message_limit: the largest body that is taken, in bytes; None for any.
    :ivar full: the names of the queues that take no message (``reject-publish``).
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.locks: dict[str, object] = {}
        self.message_limit: Optional[int] = None
        self.full: set[str] = set()
        self._queues: dict[str, list[Message]] = {}  # heaps of what can be delivered
        self._single_active: set[str] = set()
        self._consuming: list[MemoryConsumer] = []  # in the order in which they began
        self._connections: list[Callable[[], None]] = []
        self._last_position = 0
        self._last_tag = 0
        self._next_turn: Optional[IDelayedCall] = None

    # Queues

    def declare(self, name: str, single_active: bool) -> None:
        """Make a queue, if it is not there."""
        if name not in self._queues and single_active:
            self._single_active.add(name)
        self._queues.setdefault(name, [])

    def push(
        self, name: str, body: bytes, headers: Optional[Mapping[str, Any]] = None, redelivered: bool = False
    ) -> None:
        """Put a message at the end of a queue."""
        self._last_position += 1
        message = Message(self._last_position, body, dict(headers or {}), redelivered)
        heapq.heappush(self._queues.setdefault(name, []), message)
        self.schedule()

    def requeue(self, name: str, message: Message) -> None:
        """Put a message back at its position."""
        message.redelivered = True
        heapq.heappush(self._queues.setdefault(name, []), message)
        self.schedule(REDELIVERY_DELAY)

    def ready(self, name: str) -> list[Message]:
        """The messages of a queue that can be delivered, in no order."""
        return list(self._queues.get(name, ()))

    def counts(self, name: str) -> Optional[QueueCounts]:
        """The numbers of ready messages and of consumers; None if there is no such queue."""
        if name not in self._queues:
            return None
        return QueueCounts(len(self._queues[name]), len(self._consumers_of(name)))

    def delete(self, name: str) -> None:
        """Delete a queue and what it holds ready."""
        self._queues.pop(name, None)
        self._single_active.discard(name)

    # Consumers

    def begin(self, consumer: MemoryConsumer) -> None:
        """A consumer begins to take deliveries."""
        if consumer not in self._consuming:
            self._consuming.append(consumer)
        self.schedule()

    def end(self, consumer: MemoryConsumer) -> None:
        """A consumer takes no more deliveries."""
        if consumer in self._consuming:
            self._consuming.remove(consumer)
            self.schedule()  # another one may be the active consumer now

    def _consumers_of(self, name: str) -> list[MemoryConsumer]:
        return [each for each in self._consuming if each.queue == name]

    # Turns of the clock

    def connected(self, confirm: Callable[[], None]) -> None:
        """A connection is there; ``confirm`` is called in each turn, after what can be delivered was delivered."""
        if confirm not in self._connections:
            self._connections.append(confirm)
        self.schedule()

    def disconnected(self, confirm: Callable[[], None]) -> None:
        """A connection is gone; without any there are no turns."""
        if confirm in self._connections:
            self._connections.remove(confirm)
        if not self._connections and self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None

    def schedule(self, delay: float = 0.0) -> None:
        """Have a turn after ``delay`` seconds, or earlier."""
        if not self._connections:
            return
        if self._next_turn is None:
            self._next_turn = self.clock.callLater(delay, self._turn)
        elif self._next_turn.getTime() > self.clock.seconds() + delay:
            self._next_turn.reset(delay)

    def _turn(self) -> None:
        self._next_turn = None
        # As with RabbitMQ, a delivery often overtakes the confirmation of its publish.
        for _ in range(sum(map(len, self._queues.values()))):
            if not self._deliver_one():
                break
        for confirm in list(self._connections):
            confirm()

    def _deliver_one(self) -> bool:
        able = [each for each in self._consuming if self._queues.get(each.queue) and self._may_take(each)]
        if not able:
            return False
        consumer = min(able, key=lambda each: len(each.unsettled))
        message = heapq.heappop(self._queues[consumer.queue])
        self._last_tag += 1
        delivery = Delivery(
            consumer.queue,
            message.body,
            message.redelivered,
            message.headers,
            self.clock.seconds(),
            self._last_tag,
        )
        consumer.deliver(delivery, message)
        return True

    def _may_take(self, consumer: MemoryConsumer) -> bool:
        if not consumer.has_room:
            return False
        return consumer.queue not in self._single_active or self._consumers_of(consumer.queue)[0] is consumer
