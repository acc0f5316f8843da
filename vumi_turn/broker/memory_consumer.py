"""The consumers of the broker in memory, and the messages that they have in hand."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from .interface import Consumer, Delivery, Handler, Outcome

log = Logger()


class Message:
    """A message and its place in its queue, which it gets back when it is requeued."""

    __slots__ = ("position", "body", "headers", "redelivered")

    def __init__(self, position: int, body: bytes, headers: Mapping[str, Any]) -> None:
        self.position = position
        self.body = body
        self.headers = headers
        self.redelivered = False

    def __lt__(self, other: Message) -> bool:
        return self.position < other.position


class MemoryConsumer(Consumer):
    """
    What :meth:`vumi_turn.broker.memory.MemoryBroker.consume` gives.

    :param requeue: puts a message back where it was.
    :param wake: says that the consumer may be able to take more.
    :ivar unsettled: what the handler has not decided on yet.
    """

    def __init__(
        self,
        queue: str,
        handler: Handler,
        prefetch: int,
        requeue: Callable[[str, Message], None],
        wake: Callable[[], None],
    ) -> None:
        self.queue = queue
        self.unsettled: dict[Delivery, Message] = {}
        self._handler = handler
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
        self.unsettled[delivery] = message
        try:
            outcome: Deferred[Outcome] = ensureDeferred(self._handler(delivery))  # type: ignore[arg-type]
        except Exception:  # a handler must not raise; if it does, that is one delivery's trouble
            self._failed(Failure(), delivery)
            return
        outcome.addCallbacks(self._settle, self._failed, callbackArgs=(delivery,), errbackArgs=(delivery,)).addErrback(
            _not_settled
        )

    def detach(self) -> list[Delivery]:
        """Give back what is unsettled, to tell who watches; for the broker only."""
        unsettled, self.unsettled = self.unsettled, {}
        for message in unsettled.values():
            self._requeue(self.queue, message)
        return list(unsettled)

    def _settle(self, outcome: Outcome, delivery: Delivery) -> None:
        message = self.unsettled.pop(delivery, None)
        if message is None:
            return  # lost, or its queue is deleted
        delivery.settle()
        if outcome is Outcome.ACK:
            self._wake()
        else:
            self._requeue(self.queue, message)

    def _failed(self, failure: Failure, delivery: Delivery) -> None:
        log.failure("The handler of {queue} failed; its message is requeued", failure, queue=self.queue)
        self._settle(Outcome.REQUEUE, delivery)


def _not_settled(failure: Failure) -> None:
    log.failure("A delivery could not be settled", failure)
