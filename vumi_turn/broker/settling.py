"""What both brokers' consumers do with a delivery between its arrival and its settlement."""

from __future__ import annotations

import abc
from functools import partial
from types import CoroutineType

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..timing.running import Running
from .interface import MAX_ADDITIONAL, Consumer, Delivery, Handler, Outcome

log = Logger()


def additional_window(count: int, prefetch: int) -> int:
    """
    How many deliveries beyond the prefetch are taken; see :meth:`Consumer.allow_more`.

    :param count: how many deliveries cannot move.
    :return: the next multiple of the prefetch, bounded.
    """
    return min(-(-max(count, 0) // prefetch) * prefetch, MAX_ADDITIONAL)


class SettlingConsumer(Consumer):
    """
    Gives deliveries to the handler and settles each one once.

    :param queue: the queue's name.
    :param handler: gets each delivery.
    :ivar unsettled: the deliveries that the handler has not decided on, by tag.
    """

    def __init__(self, queue: str, handler: Handler) -> None:
        self.queue = queue
        self.unsettled: dict[int, Delivery] = {}
        self._handler = handler

    @abc.abstractmethod
    def _settled(self, delivery: Delivery, outcome: Outcome) -> None:
        """Tell the broker what becomes of a delivery; called once for each that was not lost."""

    def _handle(self, delivery: Delivery) -> None:
        """Call the handler. Where it fails, that is logged and the message requeued."""
        self.unsettled[delivery.tag] = delivery
        try:
            outcome = self._handler(delivery)
        except Exception:  # the boundary of one delivery
            self._failed(Failure(), delivery)
            return
        done, failed = partial(self._settle, delivery=delivery), partial(self._failed, delivery=delivery)
        if isinstance(outcome, CoroutineType):
            Running(outcome, done, failed)
        else:
            ensureDeferred(outcome).addCallbacks(done, failed)  # type: ignore[arg-type]

    def _take_unsettled(self) -> list[Delivery]:
        """Forget all unsettled deliveries; their handlers' outcomes change nothing any more."""
        unsettled, self.unsettled = self.unsettled, {}
        return list(unsettled.values())

    def _settle(self, outcome: Outcome, delivery: Delivery) -> None:
        # The tag alone does not do: another connection's delivery may have the same one.
        if self.unsettled.get(delivery.tag) is not delivery:
            return
        del self.unsettled[delivery.tag]
        delivery.settle()
        try:
            self._settled(delivery, outcome)
        except Exception:  # the boundary of one delivery
            log.failure("A delivery could not be settled")

    def _failed(self, failure: Failure, delivery: Delivery) -> None:
        log.failure("The handler of {queue} failed; its message is requeued", failure, queue=self.queue)
        self._settle(Outcome.REQUEUE, delivery)
