"""The AMQP headers of ours: what marks a replay, and why a message is parked as it came."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional

from ..broker.interface import Delivery
from ..vumi.parking import ATTEMPTS, CODE, FAILED_AT, LAST_STATUS, OURS, QUEUE, REASON
from .dead_letter import DeadLetter

__all__ = [
    "ATTEMPTS",
    "CHOICE",
    "CODE",
    "FAILED_AT",
    "LAST_STATUS",
    "QUEUE",
    "REASON",
    "REPLAY",
    "choice_in",
    "headers_of",
    "is_replay",
    "ours",
    "replay_headers",
]

#: True on a message that was parked and is put back into its queue: it was
#: delivered before, however new its delivery is.
REPLAY = OURS + "replay"

#: On a replay, and on what is parked as it came: what the person chose when
#: the message was first consumed, as JSON.
CHOICE = OURS + "choice"


def is_replay(delivery: Delivery) -> bool:
    """Whether a delivery was parked before, and replayed."""
    return bool(delivery.headers.get(REPLAY))


def replay_headers(choice: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    """
    What marks a replay.

    :param choice: what the person chose, where that is known.
    """
    return {REPLAY: True} if choice is None else {REPLAY: True, CHOICE: json.dumps(choice)}


def choice_in(headers: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """The choice in a message's headers; None where there is none."""
    text = headers.get(CHOICE)
    try:
        choice = json.loads(text) if isinstance(text, (str, bytes)) else None
    except (ValueError, RecursionError):
        return None
    return choice if isinstance(choice, dict) else None


def headers_of(
    queue: str, dead_letter: DeadLetter, failed_at: str, choice: Optional[Mapping[str, Any]] = None
) -> dict[str, Any]:
    """
    What a failure message would say, for a message that is parked as it came.

    :param queue: ``inbound`` or ``event``.
    :param failed_at: a date as in vumi's messages.
    :param choice: what the person chose.
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
    if choice is not None:
        headers[CHOICE] = json.dumps(choice)
    return headers


def ours(headers: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    """Those of a message's headers that are ours, to publish it again with."""
    return {name: value for name, value in (headers or {}).items() if name.startswith(OURS)}
