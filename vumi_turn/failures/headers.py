"""The AMQP headers of ours: what marks a replay, and why a message is parked as it came."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..broker.interface import Delivery
from ..vumi.parking import ATTEMPTS, CODE, FAILED_AT, LAST_STATUS, OURS, QUEUE, REASON
from .dead_letter import DeadLetter

__all__ = [
    "ATTEMPTS",
    "CODE",
    "FAILED_AT",
    "LAST_STATUS",
    "QUEUE",
    "REASON",
    "REPLAY",
    "headers_of",
    "is_replay",
    "ours",
]

#: True on a message that was parked and is put back into its queue: it was
#: delivered before, however new its delivery is.
REPLAY = OURS + "replay"


def is_replay(delivery: Delivery) -> bool:
    """Whether a delivery was parked before, and replayed."""
    return bool(delivery.headers.get(REPLAY))


def headers_of(queue: str, dead_letter: DeadLetter, failed_at: str) -> dict[str, Any]:
    """
    What a failure message would say, for a message that is parked as it came.

    :param queue: ``inbound`` or ``event``.
    :param failed_at: a date as in vumi's messages.
    """
    headers: dict[str, Any] = {
        QUEUE: queue,
        CODE: dead_letter.code,
        REASON: dead_letter.reason,
        ATTEMPTS: dead_letter.attempts,
        FAILED_AT: failed_at,
    }
    if dead_letter.last_status is not None:
        headers[LAST_STATUS] = dead_letter.last_status
    return headers


def ours(headers: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    """Those of a message's headers that are ours, to publish it again with."""
    return {name: value for name, value in (headers or {}).items() if name.startswith(OURS)}
