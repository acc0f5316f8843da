"""The consumers of the broker in memory, and the messages that they hold."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from .interface import Delivery, Handler, Outcome
from .settling import SettlingConsumer


class Message:
    """A message and its position in its queue, which it gets back when it is requeued."""

    __slots__ = ("position", "body", "headers", "redelivered")

    def __init__(self, position: int, body: bytes, headers: Mapping[str, Any]) -> None:
        self.position = position
        self.body = body
        self.headers = headers
        self.redelivered = False

    def __lt__(self, other: Message) -> bool:
        return self.position < other.position


class MemoryConsumer(SettlingConsumer):
    """
    What :meth:`vumi_turn.broker.memory.MemoryBroker.consume` gives.

    :param requeue: puts a message back at its position in the queue.
    :param wake: called when the consumer may be able to take another delivery.
    :ivar held: the messages of the unsettled deliveries, by tag.
    """

    def __init__(
        self,
        queue: str,
        handler: Handler,
        prefetch: int,
        requeue: Callable[[str, Message], None],
        wake: Callable[[], None],
    ) -> None:
        super().__init__(queue, handler)
        self.held: dict[int, Message] = {}
        self._prefetch = prefetch
        self._requeue = requeue
        self._wake = wake
        self._paused = True

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        self._paused = True

    def unpause(self) -> None:
        self._paused = False
        self._wake()

    @property
    def able(self) -> bool:
        """True while it takes another delivery."""
        return not self._paused and len(self.unsettled) < self._prefetch

    def deliver(self, delivery: Delivery, message: Message) -> None:
        """Give a message to the handler; for the broker only."""
        self.held[delivery.tag] = message
        self._handle(delivery)

    def detach(self) -> list[Delivery]:
        """Put all unsettled messages back; the caller marks the deliveries as lost. For the broker only."""
        for message in self.held.values():
            self._requeue(self.queue, message)
        return self.forget()

    def forget(self) -> list[Delivery]:
        """Drop all unsettled messages, because their queue is deleted; for the broker only."""
        self.held.clear()
        return self._take_unsettled()

    def _settled(self, delivery: Delivery, outcome: Outcome) -> None:
        message = self.held.pop(delivery.tag)
        if outcome is Outcome.ACK:
            self._wake()
        else:
            self._requeue(self.queue, message)
