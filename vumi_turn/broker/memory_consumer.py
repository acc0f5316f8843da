"""The consumers of the broker in memory, and the messages that they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from .interface import Delivery, Handler, Outcome
from .settling import SettlingConsumer, additional_window

if TYPE_CHECKING:
    from .memory_server import MemoryServer


class Message:
    """A message and its position in its queue, which it gets back when it is requeued."""

    __slots__ = ("position", "body", "headers", "redelivered")

    def __init__(self, position: int, body: bytes, headers: Mapping[str, Any], redelivered: bool) -> None:
        self.position = position
        self.body = body
        self.headers = headers
        self.redelivered = redelivered

    def __lt__(self, other: Message) -> bool:
        return self.position < other.position


class MemoryConsumer(SettlingConsumer):
    """
    What :meth:`vumi_turn.broker.memory.MemoryBroker.consume` gives.

    :param server: where the queue is.
    :ivar held: the messages of the unsettled deliveries, by tag.
    """

    def __init__(self, queue: str, handler: Handler, prefetch: int, server: MemoryServer) -> None:
        super().__init__(queue, handler)
        self.held: dict[int, Message] = {}
        self._prefetch = prefetch
        self._additional = 0
        self._server = server
        self._paused = True
        self._connected = False

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        self._paused = True
        self._server.end(self)

    def unpause(self) -> None:
        self._paused = False
        if self._connected:
            self._server.begin(self)

    def allow_more(self, count: int) -> None:
        self._additional = additional_window(count, self._prefetch)
        if self._connected:
            self._server.schedule()

    @property
    def has_room(self) -> bool:
        """True while it may hold another delivery."""
        return len(self.unsettled) < self._prefetch + self._additional

    def attach(self) -> None:
        """There is a connection; for the broker only."""
        self._connected = True
        if not self._paused:
            self._server.begin(self)

    def detach(self) -> list[Delivery]:
        """
        The connection is gone: put all unsettled messages back. For the broker only.

        :return: the deliveries, which the caller marks as lost.
        """
        self._connected = False
        self._server.end(self)
        for message in self.held.values():
            self._server.requeue(self.queue, message)
        return self.forget()

    def forget(self) -> list[Delivery]:
        """Drop all unsettled messages, because their queue is deleted; for the broker only."""
        self.held.clear()
        return self._take_unsettled()

    def deliver(self, delivery: Delivery, message: Message) -> None:
        """Give a message to the handler; for the broker only."""
        self.held[delivery.tag] = message
        self._handle(delivery)

    def _settled(self, delivery: Delivery, outcome: Outcome) -> None:
        message = self.held.pop(delivery.tag)
        if outcome is Outcome.ACK:
            self._server.schedule()
        else:
            self._server.requeue(self.queue, message)
