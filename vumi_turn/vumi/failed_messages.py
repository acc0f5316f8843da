"""What becomes of the messages on which an application fails: tried again with backoff, then parked."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from datetime import datetime, timezone
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..broker.interface import Broker, BrokerError, Delivery, MessageTooLarge, Outcome
from ..timing.backoff import FIRST_DELAY, LONGEST_DELAY
from ..timing.clock import wall_clock_of
from ..timing.limited_log import RateLimitedLogger
from ..timing.unavailable import TemporarilyUnavailable
from . import parking
from .messages import FailureMessage, MalformedMessage, format_vumi_date, generate_id
from .messages.originals import original_of
from .parking import park

log = Logger()

#: What follows the connector's name in the name of the queue that they are parked in.
FAILURES_OF_APPLICATION = "failures_of_application"

#: Seconds before a message goes back whose handler was refused by the broker, or that is parked nowhere.
REQUEUE_DELAY = 5.0

#: Maximum messages whose failures are counted, and exceptions whose tracebacks are known.
MAX_COUNTED, MAX_KNOWN = 10_000, 100

#: Seconds after which an exception from the same line gets a traceback again.
TRACEBACK_INTERVAL = 600.0


class FailedMessages:
    """
    Counts how often a worker has failed on each message. Other workers of the
    same connector count for themselves.

    :param broker: where they are parked.
    :param clock: measures intervals, and says when a message was parked.
    :param sleep: waits so many seconds, or until the worker stops.
    :param most: after so many failures a message is parked; 0 is never.
    """

    def __init__(
        self, broker: Broker, clock: IReactorTime, sleep: Callable[[float], Deferred[None]], most: int
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._wall = wall_clock_of(clock)
        self._sleep = sleep
        self._most = most
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._known: OrderedDict[tuple[type[BaseException], str], float] = OrderedDict()
        self._lines = RateLimitedLogger(log, clock)

    async def failed(self, delivery: Delivery, failure: Failure) -> Outcome:
        """
        A handler or a middleware failed. That the broker did not take what was
        published, or that Redis is away, is not the message's fault, and is not counted.
        """
        error_id = generate_id()
        if failure.check(BrokerError, TemporarilyUnavailable) and not failure.check(MessageTooLarge):
            self._lines.error(
                "Handling a message from {queue} failed; it goes back: {reason} (error {error_id})",
                queue=delivery.queue,
                reason=str(failure.value) or _described(failure),
                error_id=error_id,
            )
            return await self._requeue_after(REQUEUE_DELAY)
        count = self._count(delivery)
        reason = f"the application failed on it: {_described(failure)}"
        self._tell(delivery, failure, count, error_id)
        if self._most and count >= self._most:
            return await self._park(delivery, FailureMessage.TEMPORARY, f"{reason} (error {error_id})", count)
        return await self._requeue_after(_delay_after(count))

    async def malformed(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        """It is not a vumi message: parked at once, because another try can not be better."""
        error_id = generate_id()
        self._lines.error(
            "What came from {queue} is not a vumi message ({reason}); it {goes} (error {error_id})",
            queue=delivery.queue,
            reason=str(error),
            goes="is parked" if self._most else "goes back",
            error_id=error_id,
        )
        if self._most:
            return await self._park(delivery, FailureMessage.PERMANENT, f"it is not a vumi message: {error}", 0)
        return await self._requeue_after(REQUEUE_DELAY)

    def _tell(self, delivery: Delivery, failure: Failure, count: int, error_id: str) -> None:
        """A traceback for what is new; a line for what is known."""
        ends = bool(self._most) and count >= self._most
        goes = f"it is parked in {_parked_in(delivery)[0]}" if ends else "it goes back"
        fields: dict[str, Any] = {"queue": delivery.queue, "goes": goes, "count": count, "error_id": error_id}
        if self._is_new(failure):
            log.failure("Handling a message from {queue} failed; {goes} (error {error_id})", failure, **fields)
            return
        self._lines.error(
            "Handling a message from {queue} failed for the {count}. time ({reason}); {goes} (error {error_id})",
            reason=_described(failure),
            **fields,
        )

    def _is_new(self, failure: Failure) -> bool:
        key = (failure.type or Exception, _place(failure))
        now = self._clock.seconds()
        told = self._known.get(key)
        if told is not None and now - told < TRACEBACK_INTERVAL:
            return False
        self._known[key] = now
        self._known.move_to_end(key)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return True

    def _count(self, delivery: Delivery) -> int:
        key = _key_of(delivery)
        count = self._counts[key] = self._counts.get(key, 0) + 1
        self._counts.move_to_end(key)
        if len(self._counts) > MAX_COUNTED:
            self._counts.popitem(last=False)
        return count

    async def _park(self, delivery: Delivery, code: str, reason: str, attempts: int) -> Outcome:
        queue, kind = _parked_in(delivery)
        now = datetime.fromtimestamp(self._wall(), timezone.utc)
        failed_at = format_vumi_date(now)
        turn = {"queue": kind, "attempts": attempts, "last_status": None, "failed_at": failed_at}
        failure = FailureMessage(
            message=original_of(delivery.body),
            failure_code=code,
            reason=reason,
            timestamp=now,
            helper_metadata={"turn": turn},
        )
        headers: dict[str, Any] = {
            parking.QUEUE: kind,
            parking.CODE: code,
            parking.REASON: reason,
            parking.ATTEMPTS: attempts,
            parking.FAILED_AT: failed_at,
        }
        try:
            await park(self._broker.publisher(queue), failure, delivery.body, headers)
        except BrokerError as error:
            self._lines.error(
                "A message could not be parked in {queue} and goes back: {reason}", queue=queue, reason=str(error)
            )
            return await self._requeue_after(_delay_after(attempts))
        self._counts.pop(_key_of(delivery), None)
        return Outcome.ACK

    async def _requeue_after(self, seconds: float) -> Outcome:
        await self._sleep(seconds)
        return Outcome.REQUEUE


def _parked_in(delivery: Delivery) -> tuple[str, str]:
    """The queue that a message is parked in, and which one of its connector it came from."""
    connector, _, kind = delivery.queue.rpartition(".")
    return f"{connector}.{FAILURES_OF_APPLICATION}", kind


def _key_of(delivery: Delivery) -> bytes:
    """The same each time that a message comes; a redelivery has the same bytes."""
    return hashlib.blake2b(delivery.queue.encode("utf-8") + b"\0" + delivery.body, digest_size=16).digest()


def _delay_after(failures: int) -> float:
    return min(FIRST_DELAY * 2.0 ** min(max(failures - 1, 0), 10), LONGEST_DELAY)


def _place(failure: Failure) -> str:
    """Where an exception was raised: file and line; empty where that is not known."""
    trace = getattr(failure.value, "__traceback__", None)
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"


def _described(failure: Failure) -> str:
    """An exception without its text, which may hold what a person wrote."""
    name: Optional[str] = getattr(failure.type, "__name__", None)
    place = _place(failure)
    return f"{name or 'an exception'} in {place}" if place else name or "an exception"
