"""
What is kept of each delivery: its numbers, its steps in the trace, and one
line in the log when it is settled.
"""

from __future__ import annotations

from typing import Optional, Union

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..delivery import DeliveryRequest, Result
from ..timing.named_log import named
from ..turn.verdicts import MESSAGE, Verdict
from .metrics import ChannelMetrics
from .rates import RateCounter
from .trace import ChannelTrace
from .views import Rates

log = Logger()


class DeliveryRecorder:
    """
    The observer of one channel's scheduler (:class:`vumi_turn.delivery.DeliveryObserver`).

    :param metrics: the channel's.
    :param trace: the channel's.
    :param clock: what requests were received by.
    """

    def __init__(self, metrics: ChannelMetrics, trace: ChannelTrace, clock: IReactorTime) -> None:
        self.metrics = metrics
        self.trace = trace
        self._clock = clock
        self._log = named(log, metrics.connector)
        self._received = RateCounter(clock)
        self._delivered = RateCounter(clock)
        self._statuses = RateCounter(clock)
        self._published = RateCounter(clock)

    @property
    def rates(self) -> Rates:
        """How much happens, over the last minute."""
        return Rates(
            self._received.per_second,
            self._delivered.per_second,
            self._published.per_second,
            self._statuses.per_second,
        )

    def message_consumed(self, message_id: str, address: Optional[str], redelivered: bool) -> None:
        """A person's message was taken from its queue."""
        self.metrics.consumed(MESSAGE)
        self._received.add()
        step = "delivered again" if redelivered else "received"
        self.trace.begin(message_id, "inbound", MESSAGE, address, step)

    def event_consumed(self, message_id: str, kind: str, event: str) -> None:
        """
        What the network says of a message of ours was taken from its queue.

        :param message_id: of that message.
        :param event: ``ack``, ``nack`` or what was reported.
        """
        self.metrics.consumed(kind)
        self.trace.begin(message_id, "outbound", MESSAGE, None, f"event {event}")

    def outbound_accepted(self, message_id: str, address: str) -> None:
        """Turn wants a message to be sent, and it can be."""
        self.trace.begin(message_id, "outbound", MESSAGE, address, "accepted")

    def outbound_published(self, message_id: str, seconds: float) -> None:
        """
        The broker has confirmed a message of ours.

        :param seconds: how long that took.
        """
        self.metrics.confirmed(seconds)
        self._published.add()
        self.trace.add(message_id, "published", {"ms": round(seconds * 1000)})

    def tried(self, request: DeliveryRequest, verdict: Verdict, what: str, seconds: float, words: str = "") -> None:
        """See :class:`vumi_turn.delivery.DeliveryObserver`."""
        self.metrics.tried(request.kind, verdict.value, seconds)
        request.tries += 1
        detail: dict[str, Union[str, int, float, None]] = {
            "kind": request.kind,
            "verdict": verdict.value,
            "answer": what,
            "ms": round(seconds * 1000),
        }
        if words:
            detail["words"] = words
        self.trace.add(request.name, "tried", detail)

    def settled(self, request: DeliveryRequest, result: Result) -> None:
        """See :class:`vumi_turn.delivery.DeliveryObserver`."""
        seconds = self._clock.seconds() - request.received
        if result is Result.DELIVERED:
            self.metrics.queue_to_turn(request.kind, seconds)
            (self._delivered if request.kind == MESSAGE else self._statuses).add()
        self._settled(request.kind, request.name, result, request.tries, seconds)

    def nothing_to_send(self, message_id: str, received: float) -> None:
        """
        A person's message is settled, and was not for Turn.

        :param received: when it was delivered, in the clock's seconds.
        """
        self._settled(MESSAGE, message_id, Result.NOTHING, 0, self._clock.seconds() - received)

    def _settled(self, kind: str, message_id: str, result: Result, tries: int, seconds: float) -> None:
        self.metrics.settled(kind, result.value)
        milliseconds = round(seconds * 1000)
        self.trace.add(message_id, result.value, {"kind": kind, "tries": tries, "ms": milliseconds})
        self._log.info(
            "{kind} {message_id}: {result} after {tries} tries, {milliseconds} ms",
            kind=kind,
            message_id=message_id,
            result=result.value,
            tries=tries,
            milliseconds=milliseconds,
            log_for_each_message=True,  # see vumi_turn.service.log_limit
        )
