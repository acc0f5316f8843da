"""Publishing a failure message, and the AMQP headers that stand for one where it would be too large."""

from __future__ import annotations

from typing import Any, Mapping

from ..broker.interface import MessageTooLarge, Publisher
from .messages import FailureMessage

#: What our headers begin with.
OURS = "x-vumi-turn-"

#: The queue that a parked message came from: ``inbound``, ``event`` or ``outbound``.
#: These headers are on messages that are too large for a failure message.
QUEUE = OURS + "queue"
CODE = OURS + "code"
REASON = OURS + "reason"
ATTEMPTS = OURS + "attempts"
LAST_STATUS = OURS + "last-status"
FAILED_AT = OURS + "failed-at"


async def park(publisher: Publisher, failure: FailureMessage, body: bytes, headers: Mapping[str, Any]) -> None:
    """
    Keep a message, and return once the broker has confirmed it. One whose
    failure message is larger than the broker takes is parked as it came,
    with the rest in its headers.

    :param publisher: publishes to the failures queue.
    :param failure: the message, and why it failed.
    :param body: the message's bytes as they came.
    :param headers: what the failure message says.
    :raises vumi_turn.broker.interface.BrokerError: the broker did not take it.
    """
    try:
        await publisher.publish(failure.to_json())
    except MessageTooLarge:
        await publisher.publish(body, headers=headers)
