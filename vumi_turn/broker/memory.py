"""
A broker in this process: for the sandbox, and for tests that use no server.

It implements :mod:`vumi_turn.broker.interface` and behaves as RabbitMQ does there.
What it holds is gone with the process.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from .memory_scope import MemoryConnection, MemoryLock, MemoryScope
from .memory_server import MemoryServer
from .states import BrokerState


class MemoryBroker(MemoryScope, MemoryConnection):
    """
    A connection to queues in memory, and a scope of its own on it. Deliveries and
    confirmations come with the clock's next turn, never inside the call that caused them.

    A stopped broker may be started again: the queues are as they were, the
    consumers are gone.

    :param clock: the reactor, or a test's clock.
    :param server: the queues, where several brokers share them; as a rule the broker has its own.
    """

    def __init__(self, clock: IReactorTime, server: Optional[MemoryServer] = None) -> None:
        self.server = server or MemoryServer(clock)
        self.scopes: list[MemoryScope] = []
        self.locks: list[MemoryLock] = []
        self.losses = 0
        self.last_heard = clock.seconds()
        #: The last messages of transient publishers: exchange, routing key, body.
        self.transient: deque[tuple[str, str, bytes]] = deque(maxlen=100)
        self._clock = clock
        self._nacks = 0
        self._reachable = True
        self._blocked = False
        self._closed = False
        super().__init__(self)

    def start(self) -> None:
        self._closed = False
        self._started = True
        self._connect()
        super().start()

    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        self._closed = True
        done = super().stop(timeout)
        self._refresh()
        self._lose()
        return done

    # What tests and the sandbox do to the broker

    def another(self) -> MemoryBroker:
        """Another connection to the same queues, not started yet."""
        return MemoryBroker(self._clock, self.server)

    def queue_contents(self, name: str) -> list[bytes]:
        """The bodies that a queue holds, in its order, with those that were delivered here and not settled yet."""
        messages = self.server.ready(name)
        for scope in self._all_scopes():
            for consumer in scope.held_of(name):
                messages.extend(consumer.held.values())
        return [message.body for message in sorted(messages)]

    def push(
        self, queue: str, body: bytes, headers: Optional[Mapping[str, Any]] = None, redelivered: bool = False
    ) -> None:
        """
        Put a message into a queue, as another program would.

        :param redelivered: whether the message is said to have been delivered before.
        """
        self.server.push(queue, body, headers, redelivered)

    def delete_queue(self, name: str) -> None:
        """Delete a queue with all it holds. Whoever consumes from it or publishes to it makes a new one."""
        self.server.delete(name)
        for scope in self._all_scopes():
            for consumer in scope.held_of(name):
                consumer.forget()

    def go_away(self) -> None:
        """Lose the connection, and get no other one before :meth:`come_back`."""
        self._reachable = False
        if any(scope.state in (BrokerState.CONNECTED, BrokerState.BLOCKED) for scope in self._all_scopes()):
            self.losses += 1
        self._refresh()
        self._lose()

    def come_back(self) -> None:
        """Be connected again."""
        self._reachable = True
        self._connect()
        self._refresh()

    def block(self) -> None:
        """Take no more messages, as RabbitMQ does when memory or disk run out."""
        self._blocked = True
        self._refresh()

    def unblock(self) -> None:
        """Take messages again."""
        self._blocked = False
        self._refresh()

    def nack_next(self, count: int = 1) -> None:
        """Refuse the next ``count`` publishes."""
        self._nacks = count

    # What the scopes ask

    def connection_state(self) -> BrokerState:
        if self._closed:
            return BrokerState.CLOSED
        if not self._started or not self._reachable:
            return BrokerState.CONNECTING
        return BrokerState.BLOCKED if self._blocked else BrokerState.CONNECTED

    def take_nack(self) -> bool:
        if not self._nacks:
            return False
        self._nacks -= 1
        return True

    def keep_transient(self, exchange: str, routing_key: str, body: bytes) -> None:
        self.transient.append((exchange, routing_key, body))

    def _connect(self) -> None:
        if self._started and self._reachable and not self._closed:
            self.server.connected(self._confirm)

    def _all_scopes(self) -> list[MemoryScope]:
        return list(self.scopes)

    def _refresh(self) -> None:
        for scope in self._all_scopes():
            scope.refresh()

    def _lose(self) -> None:
        self.server.disconnected(self._confirm)
        for scope in self._all_scopes():
            scope.lose()
        locks, self.locks = self.locks, []
        for lock in locks:
            lock.lose()

    def _confirm(self) -> None:
        if self.connection_state() in (BrokerState.CONNECTED, BrokerState.BLOCKED):
            self.last_heard = self._clock.seconds()
        for scope in self._all_scopes():
            scope.confirm()
