"""A scope of the broker in memory: consumers, unconfirmed publishes and a state of its own."""

from __future__ import annotations

import abc
from collections import deque
from functools import partial
from typing import Any, Callable, Mapping, Optional

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from .errors import BrokerUnavailable, ConnectionLost, MessageTooLarge, Nacked
from .interface import MAX_UNCONFIRMED, Broker, Consumer, Handler, Publisher, QueueCounts, QueueLock
from .memory_consumer import MemoryConsumer
from .memory_server import MemoryServer
from .states import BrokerState, StateCell, StateObserver

log = Logger()


class MemoryConnection(abc.ABC):
    """
    What scopes in memory share.

    :ivar server: where the queues are.
    :ivar scopes: who uses the connection.
    :ivar losses: how often it was lost.
    :ivar last_heard: when the server last sent something, in the clock's seconds.
    :ivar locks: the locks that were made on it.
    """

    server: MemoryServer
    scopes: list[MemoryScope]
    losses: int
    last_heard: float
    locks: list[MemoryLock]

    @abc.abstractmethod
    def connection_state(self) -> BrokerState:
        """Whether the connection is there, and takes messages."""

    @abc.abstractmethod
    def take_nack(self) -> bool:
        """Whether the next publish is to be refused; asked once for each."""

    @abc.abstractmethod
    def keep_transient(self, exchange: str, routing_key: str, body: bytes) -> None:
        """Show a message that nobody has to keep."""


class MemoryScope(Broker):
    """
    What :meth:`vumi_turn.broker.memory.MemoryBroker.scope` gives.

    :param connection: what it shares.
    """

    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection
        self._state = StateCell()
        self._consumers: list[MemoryConsumer] = []
        self._unconfirmed: deque[tuple[Deferred[None], Optional[Exception]]] = deque()
        self._started = self._stopped = False

    @property
    def state(self) -> BrokerState:  # type: ignore[override]
        return self._state.current

    @property
    def reconnects(self) -> int:  # type: ignore[override]
        return self._connection.losses

    def on_state(self, observer: StateObserver) -> None:
        self._state.observe(observer)

    def start(self) -> None:
        self._started, self._stopped = True, False
        if self not in self._connection.scopes:
            self._connection.scopes.append(self)
        self.refresh()

    def consume(self, queue: str, handler: Handler, prefetch: int, *, single_active: bool = False) -> Consumer:
        server = self._connection.server
        server.declare(queue, single_active)
        consumer = MemoryConsumer(queue, handler, prefetch, server)
        self._consumers.append(consumer)
        if self._is_open:
            consumer.attach()
        return consumer

    def publisher(self, routing_key: str, *, single_active: bool = False) -> Publisher:
        self._connection.server.declare(routing_key, single_active)
        return _MemoryPublisher(partial(self._publish, routing_key))

    def transient_publisher(self, exchange: str, routing_key: str) -> Publisher:
        return _MemoryPublisher(partial(self._publish_transient, exchange, routing_key))

    def scope(self, name: str) -> MemoryScope:
        return MemoryScope(self._connection)

    def lock(self, queue: str) -> QueueLock:
        return MemoryLock(queue, self._connection)

    async def counts(self, queue: str) -> Optional[QueueCounts]:
        if not _is_open(self._connection.connection_state()):
            raise BrokerUnavailable("there is no connection")
        return self._connection.server.counts(queue)

    def heard_since(self, moment: float) -> bool:
        return self._is_open and self._connection.last_heard > moment

    async def probe(self) -> bool:
        return _is_open(self._connection.connection_state())

    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        self._stopped = True
        self._state.change(BrokerState.CLOSED)
        self.lose()
        self._consumers.clear()
        if self in self._connection.scopes:
            self._connection.scopes.remove(self)
        return succeed(None)

    # For the connection

    def refresh(self) -> None:
        """Take over the connection's state."""
        if not self._started or self._stopped:
            return
        was_open = self._is_open
        state = self._connection.connection_state()
        if _is_open(state) and not was_open:
            for consumer in self._consumers:
                consumer.attach()
        self._state.change(state)

    def lose(self) -> None:
        """The connection is lost. All unsettled messages are back in their queues before anybody is told."""
        lost = [delivery for consumer in self._consumers for delivery in consumer.detach()]
        unconfirmed, self._unconfirmed = self._unconfirmed, deque()
        for delivery in lost:
            delivery.lose()
        for done, _ in unconfirmed:
            done.errback(ConnectionLost("the connection was lost before the broker confirmed"))

    def confirm(self) -> None:
        """Tell what became of each publish so far."""
        for _ in range(len(self._unconfirmed)):
            if not self._unconfirmed:
                break  # a callback lost the connection
            done, refusal = self._unconfirmed.popleft()
            if refusal is None:
                done.callback(None)
            else:
                done.errback(refusal)

    def held_of(self, queue: str) -> list[MemoryConsumer]:
        """The consumers of a queue."""
        return [each for each in self._consumers if each.queue == queue]

    # Publishing

    @property
    def _is_open(self) -> bool:
        return _is_open(self.state)

    def _publish(self, routing_key: str, body: bytes, headers: Optional[Mapping[str, Any]]) -> Deferred[None]:
        server = self._connection.server
        if self.state is not BrokerState.CONNECTED:
            return fail(BrokerUnavailable(f"the broker is {self.state}"))
        if len(self._unconfirmed) >= MAX_UNCONFIRMED:
            return fail(BrokerUnavailable(f"{MAX_UNCONFIRMED} messages wait for the broker's confirmation"))
        refusal: Optional[Exception] = None
        if server.message_limit is not None and len(body) > server.message_limit:
            refusal = MessageTooLarge(server.message_limit)
        elif self._connection.take_nack() or routing_key in server.full:
            refusal = Nacked("the broker could not take the message")
        else:
            server.push(routing_key, body, headers)
        done: Deferred[None] = Deferred()
        self._unconfirmed.append((done, refusal))
        server.schedule()
        return done

    def _publish_transient(
        self, exchange: str, routing_key: str, body: bytes, headers: Optional[Mapping[str, Any]]
    ) -> Deferred[None]:
        if self.state is not BrokerState.CONNECTED:
            return fail(BrokerUnavailable(f"the broker is {self.state}"))
        self._connection.keep_transient(exchange, routing_key, body)
        return succeed(None)


def _is_open(state: BrokerState) -> bool:
    """Whether messages are delivered."""
    return state in (BrokerState.CONNECTED, BrokerState.BLOCKED)


class MemoryLock(QueueLock):
    """What :meth:`MemoryScope.lock` gives."""

    def __init__(self, queue: str, connection: MemoryConnection) -> None:
        self._queue = queue
        self._connection = connection
        self._observers: list[Callable[[], None]] = []

    @property
    def held(self) -> bool:
        return self in self._connection.locks

    async def acquire(self) -> bool:
        if not _is_open(self._connection.connection_state()):
            raise BrokerUnavailable("there is no connection")
        locks = self._connection.server.locks
        if locks.setdefault(self._queue, self._connection) is not self._connection:
            return False
        if not self.held:
            self._connection.locks.append(self)
        return True

    async def release(self) -> None:
        if self.held:
            self._connection.locks.remove(self)
            del self._connection.server.locks[self._queue]

    def on_lost(self, callback: Callable[[], None]) -> None:
        self._observers.append(callback)

    def lose(self) -> None:
        """The connection is gone, and was taken out of ``locks`` before; for the broker only."""
        self._connection.server.locks.pop(self._queue, None)
        for observer in list(self._observers):
            try:
                observer()
            except Exception:  # one observer must not keep the others from being told
                log.failure("An observer of the lock {queue} failed", queue=self._queue)


class _MemoryPublisher(Publisher):
    """
    What :meth:`MemoryScope.publisher` gives.

    :param publish: does it.
    """

    def __init__(self, publish: Callable[[bytes, Optional[Mapping[str, Any]]], Deferred[None]]) -> None:
        self._publish = publish

    def publish(self, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> Deferred[None]:
        return self._publish(body, headers)
