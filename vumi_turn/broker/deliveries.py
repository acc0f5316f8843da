"""A message from a queue, and what may become of it."""

from __future__ import annotations

import enum
from typing import Any, Awaitable, Callable, Mapping, Optional

from twisted.logger import Logger

log = Logger()


class Outcome(enum.Enum):
    """What a handler wants to become of a delivery."""

    ACK = "ack"
    REQUEUE = "requeue"


class Delivery:
    """
    One message from a queue, until it is settled.

    :ivar queue: the name of the queue it came from.
    :ivar body: the message's bytes.
    :ivar redelivered: True if the broker has delivered it before.
    :ivar headers: its AMQP headers: texts, numbers, bytes, booleans, None,
        datetimes, Decimals, and lists and dicts of these.
    :ivar received: when it arrived, in the clock's seconds.
    :ivar lost: True once its connection is gone: it can no longer be settled,
        and the broker will deliver it again.
    :ivar tag: the broker's number for it.
    """

    __slots__ = ("queue", "body", "redelivered", "received", "lost", "tag", "_headers", "_observers")

    def __init__(
        self,
        queue: str,
        body: bytes,
        redelivered: bool = False,
        headers: Optional[Mapping[str, Any]] = None,
        received: float = 0.0,
        tag: int = 0,
    ) -> None:
        self.queue = queue
        self.body = body
        self.redelivered = redelivered
        self.received = received
        self.tag = tag
        self.lost = False
        self._headers = headers
        self._observers: list[Callable[[], None]] = []

    @property
    def headers(self) -> Mapping[str, Any]:
        """See the class."""
        return self._headers or {}

    @property
    def delivery_count(self) -> int:
        """
        How often it was returned to a quorum queue (the header ``x-delivery-count``), 0 on
        other queues. Without :attr:`redelivered` the header came from another queue, from
        which the message was moved (by a shovel, for example), and counts nothing here.
        """
        if not self.redelivered:
            return 0
        count = self.headers.get("x-delivery-count", 0)
        return count if isinstance(count, int) and count > 0 else 0

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once when the delivery's connection is gone."""
        if self.lost:
            callback()
        else:
            self._observers.append(callback)

    def lose(self) -> None:
        """
        Mark as lost and tell the observers; for brokers only. An observer's
        exception is logged, so that the other deliveries are told too.
        """
        if self.lost:
            return
        self.lost = True
        observers, self._observers = self._observers, []
        for observer in observers:
            try:
                observer()
            except Exception:  # one delivery's observer must not keep the others from being told
                log.failure("An observer of a lost delivery of {queue} failed", queue=self.queue)

    def settle(self) -> None:
        """
        Forget the observers; for brokers only. An observer usually refers to
        what refers to the delivery: without this each message would stay in
        memory until the next run of the garbage collector.
        """
        self._observers = []


#: Takes a delivery and says, now or later, what becomes of it. It is called in
#: queue order, and its synchronous part has run before the next delivery's.
#: It must not raise: an exception is logged, and the delivery is requeued.
Handler = Callable[[Delivery], Awaitable[Outcome]]
