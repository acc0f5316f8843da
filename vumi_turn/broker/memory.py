"""
A broker in this process: for the sandbox, and for tests that use no server.

It implements :mod:`vumi_turn.broker.interface` and behaves as RabbitMQ does there.
What it holds is gone with the process.
"""

from __future__ import annotations

import heapq
from collections import deque
from functools import partial
from typing import Any, Callable, Mapping, Optional

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .interface import (
    MAX_UNCONFIRMED,
    Broker,
    BrokerState,
    BrokerUnavailable,
    ConnectionLost,
    Consumer,
    Delivery,
    Handler,
    Nacked,
    Publisher,
    StateCell,
    StateObserver,
)
from .memory_consumer import MemoryConsumer, Message

#: Seconds until a requeued message is delivered again: a handler that always
#: requeues must not stop the clock.
REDELIVERY_DELAY = 0.001


class MemoryBroker(Broker):
    """
    Queues in memory. Deliveries and confirmations come with the clock's next
    turn, never inside the call that caused them.

    A stopped broker may be started again: the queues are as they were, the
    consumers are gone.

    :param clock: the reactor, or a test's clock.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._queues: dict[str, list[Message]] = {}  # heaps of what can be delivered
        self._consumers: list[MemoryConsumer] = []
        self._unconfirmed: deque[tuple[Deferred[None], Optional[Exception]]] = deque()
        self._state = StateCell()
        self._last_position = 0
        self._last_tag = 0
        self._nacks = 0
        self._started = self._stopped = False
        self._reachable = True
        self._blocked = False
        self._next_turn: Optional[IDelayedCall] = None
        self.reconnects = 0
        #: The last messages of transient publishers: exchange, routing key, body.
        self.transient: deque[tuple[str, str, bytes]] = deque(maxlen=100)

    # The interface

    @property
    def state(self) -> BrokerState:  # type: ignore[override]
        return self._state.current

    def on_state(self, observer: StateObserver) -> None:
        self._state.observe(observer)

    def start(self) -> None:
        self._started, self._stopped = True, False
        self._changed()
        self._schedule()

    def consume(self, queue: str, handler: Handler, prefetch: int) -> Consumer:
        self._queues.setdefault(queue, [])
        consumer = MemoryConsumer(queue, handler, prefetch, self._requeue, self._schedule)
        self._consumers.append(consumer)
        return consumer

    def publisher(self, routing_key: str) -> Publisher:
        self._queues.setdefault(routing_key, [])
        return _MemoryPublisher(partial(self._publish, routing_key))

    def transient_publisher(self, exchange: str, routing_key: str) -> Publisher:
        return _MemoryPublisher(partial(self._publish_transient, exchange, routing_key))

    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        self._stopped = True
        self._changed()
        self._lose_connection()
        self._consumers.clear()
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        return succeed(None)

    # What tests and the sandbox do to the broker

    def queue_contents(self, name: str) -> list[bytes]:
        """The bodies that a queue holds, in its order, with those that are delivered and not settled yet."""
        messages = list(self._queues.get(name, ()))
        for consumer in self._consumers:
            if consumer.queue == name:
                messages.extend(consumer.held.values())
        return [message.body for message in sorted(messages)]

    def push(self, queue: str, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> None:
        """Put a message into a queue, as another program would."""
        self._last_position += 1
        heap = self._queues.setdefault(queue, [])
        heapq.heappush(heap, Message(self._last_position, body, headers or {}))
        self._schedule()

    def delete_queue(self, name: str) -> None:
        """Delete a queue with all it holds. Whoever consumes from it or publishes to it makes a new one."""
        self._queues.pop(name, None)
        for consumer in self._consumers:
            if consumer.queue == name:
                consumer.forget()

    def go_away(self) -> None:
        """Lose the connection, and get no other one before :meth:`come_back`."""
        self._reachable = False
        if self._is_open:
            self.reconnects += 1
        self._changed()
        self._lose_connection()

    def come_back(self) -> None:
        """Be connected again."""
        self._reachable = True
        self._changed()
        self._schedule()

    def block(self) -> None:
        """Take no more messages, as RabbitMQ does when memory or disk run out."""
        self._blocked = True
        self._changed()

    def unblock(self) -> None:
        """Take messages again."""
        self._blocked = False
        self._changed()

    def nack_next(self, count: int = 1) -> None:
        """Refuse the next ``count`` publishes."""
        self._nacks = count

    # Publishing

    def _publish(self, routing_key: str, body: bytes) -> Deferred[None]:
        if self.state is not BrokerState.CONNECTED:
            return fail(BrokerUnavailable(f"the broker is {self.state}"))
        if len(self._unconfirmed) >= MAX_UNCONFIRMED:
            return fail(BrokerUnavailable(f"{MAX_UNCONFIRMED} messages wait for the broker's confirmation"))
        refusal: Optional[Exception] = None
        if self._nacks:
            self._nacks -= 1
            refusal = Nacked("the broker could not take the message")
        else:
            self.push(routing_key, body)
        done: Deferred[None] = Deferred()
        self._unconfirmed.append((done, refusal))
        self._schedule()
        return done

    def _publish_transient(self, exchange: str, routing_key: str, body: bytes) -> Deferred[None]:
        if self.state is not BrokerState.CONNECTED:
            return fail(BrokerUnavailable(f"the broker is {self.state}"))
        self.transient.append((exchange, routing_key, body))
        return succeed(None)

    def _requeue(self, queue: str, message: Message) -> None:
        message.redelivered = True
        heapq.heappush(self._queues.setdefault(queue, []), message)
        self._schedule(REDELIVERY_DELAY)

    # The state

    @property
    def _is_open(self) -> bool:
        """True while messages are delivered."""
        return self.state in (BrokerState.CONNECTED, BrokerState.BLOCKED)

    def _changed(self) -> None:
        if self._stopped:
            self._state.change(BrokerState.CLOSED)
        elif not self._started or not self._reachable:
            self._state.change(BrokerState.CONNECTING)
        else:
            self._state.change(BrokerState.BLOCKED if self._blocked else BrokerState.CONNECTED)

    def _lose_connection(self) -> None:
        """All unsettled messages are back in their queues before anybody hears of it."""
        lost = [delivery for consumer in self._consumers for delivery in consumer.detach()]
        unconfirmed, self._unconfirmed = self._unconfirmed, deque()
        for delivery in lost:
            delivery.lose()
        for done, _ in unconfirmed:
            done.errback(ConnectionLost("the connection was lost before the broker confirmed"))

    # Turns

    def _schedule(self, delay: float = 0.0) -> None:
        if not self._is_open:
            return
        if self._next_turn is None:
            self._next_turn = self._clock.callLater(delay, self._turn)
        elif self._next_turn.getTime() > self._clock.seconds() + delay:
            self._next_turn.reset(delay)

    def _turn(self) -> None:
        self._next_turn = None
        # As with RabbitMQ, a delivery often overtakes the confirmation of its publish.
        for _ in range(sum(map(len, self._queues.values()))):
            if not self._deliver_one():
                break
        for _ in range(len(self._unconfirmed)):
            if not self._unconfirmed:
                break  # a callback lost the connection
            done, refusal = self._unconfirmed.popleft()
            if refusal is None:
                done.callback(None)
            else:
                done.errback(refusal)

    def _deliver_one(self) -> bool:
        if not self._is_open:
            return False
        able = [each for each in self._consumers if each.able and self._queues.get(each.queue)]
        if not able:
            return False
        consumer = min(able, key=lambda each: len(each.unsettled))
        message = heapq.heappop(self._queues[consumer.queue])
        self._last_tag += 1
        delivery = Delivery(
            consumer.queue,
            message.body,
            message.redelivered,
            message.headers.get("x-delivery-count", 0),
            self._clock.seconds(),
            self._last_tag,
        )
        consumer.deliver(delivery, message)
        return True


class _MemoryPublisher(Publisher):
    """
    What :meth:`MemoryBroker.publisher` gives.

    :param publish: does it.
    """

    def __init__(self, publish: Callable[[bytes], Deferred[None]]) -> None:
        self._publish = publish

    def publish(self, body: bytes) -> Deferred[None]:
        return self._publish(body)
