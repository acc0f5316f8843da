"""
The dead letter queue ``<connector>.turn_failures``: what Turn does not take is parked there.

A parked message is a failure message in legacy vumi's own form, so that
legacy tools can read it, and it holds the original whole, so that it can be
replayed.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Optional

from twisted.internet.interfaces import IReactorTime

from ..broker.interface import Publisher
from ..timing.clock import wall_clock_of
from ..vumi.messages import FailureMessage, format_vumi_date
from ..vumi.messages.originals import body_of, original_of
from ..vumi.parking import park
from .dead_letter import DeadLetter
from .headers import headers_of

__all__ = ["FAILURES", "FailureQueue", "body_of", "original_of"]

#: What follows the connector's name in the failures queue's name. It is not
#: ``failures``: that one belongs to legacy transports.
FAILURES = "turn_failures"


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
        headers = headers_of(queue, dead_letter, format_vumi_date(now), choice)
        await park(self._publisher, failure, body, headers)
