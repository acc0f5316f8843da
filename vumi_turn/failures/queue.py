"""
The dead letter queue ``<connector>.turn_failures``: what Turn does not take is parked there.

A parked message is a failure message in legacy vumi's own form, so that
legacy tools can read it, and it holds the original whole, so that it can be
replayed.
"""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import Any, Optional, Union

from twisted.internet.interfaces import IReactorTime

from ..broker.interface import MessageTooLarge, Publisher
from ..timing.clock import wall_clock_of
from ..vumi.messages import FailureMessage, format_vumi_date
from ..vumi.messages.encoding import MAX_DEPTH, encode_object_utf8, is_deep
from .dead_letter import DeadLetter
from .headers import headers_of

#: What follows the connector's name in the failures queue's name. It is not
#: ``failures``: that one belongs to legacy transports.
FAILURES = "turn_failures"


def original_of(body: bytes) -> Union[dict[str, Any], str]:
    """
    What a failure message carries of the message that failed.

    :param body: the bytes as they came from the queue.
    :return: the JSON object, or the text where the body is not a JSON object,
        or one that could not be written again as it is (it is nested too
        deep, or a number in it is too large). Bytes that are not UTF-8 become
        lone surrogates, so that :func:`body_of` gives back the same bytes.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and not is_deep(value, MAX_DEPTH - 1):
        return value
    return body.decode("utf-8", "surrogateescape")


def body_of(original: Union[dict[str, Any], str]) -> bytes:
    """The bytes to publish again for what :func:`original_of` gave."""
    if isinstance(original, str):
        return original.encode("utf-8", "surrogateescape")
    return encode_object_utf8(original)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number


class FailureQueue:
    """
    Publishes failure messages.

    :param publisher: publishes to the failures queue.
    :param clock: says when a message failed.
    """

    def __init__(self, publisher: Publisher, clock: IReactorTime) -> None:
        self._publisher = publisher
        self._wall = wall_clock_of(clock)

    async def park(
        self, body: bytes, queue: str, dead_letter: DeadLetter, choice: Optional[dict[str, Any]] = None
    ) -> None:
        """
        Keep a message, and return once the broker has confirmed it. One whose
        failure message is larger than the broker takes is parked as it came,
        with the rest in its headers.

        :param body: the message's bytes as they came.
        :param queue: ``inbound`` or ``event``: where it came from, and where
            a replay puts it back.
        :param dead_letter: why.
        :param choice: what the person chose from a menu; a replay uses it again.
        :raises vumi_turn.broker.interface.BrokerError: if the broker did not take it.
        """
        now = datetime.fromtimestamp(self._wall(), timezone.utc)
        turn: dict[str, Any] = {
            "queue": queue,
            "attempts": dead_letter.attempts,
            "last_status": dead_letter.last_status,
            "failed_at": format_vumi_date(now),
        }
        if choice is not None:
            turn["choice"] = choice
        failure = FailureMessage(
            message=original_of(body),
            failure_code=dead_letter.code,
            reason=dead_letter.full_reason,
            timestamp=now,
            helper_metadata={"turn": turn},
        )
        try:
            await self._publisher.publish(failure.to_json())
        except MessageTooLarge:
            headers = headers_of(queue, dead_letter, format_vumi_date(now))
            await self._publisher.publish(body, headers=headers)
