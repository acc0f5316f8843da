"""
The failures queue of one connector: what is parked there, read, replayed and
settled one by one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Awaitable, Callable, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..broker.interface import Broker, BrokerError, Delivery, Outcome
from ..vumi.messages import FailureMessage, MalformedMessage
from .queue import FAILURES, body_of

#: What has not come for this many seconds does not come: somebody else has it.
QUIET = 5.0

#: Between two looks at what has come, in seconds.
LOOK = 0.1

#: How many parked messages are read at a time: AMQP's largest prefetch.
MOST = 65535


@dataclass(frozen=True)
class Parked:
    """
    One parked message.

    :ivar id: the original's ``message_id`` or ``event_id``; where it has none,
        a digest of the parked bytes.
    :ivar queue: ``inbound`` or ``event``; None where the failure message does
        not say, so that it cannot be replayed.
    """

    id: str
    queue: Optional[str]
    code: str
    reason: str
    when: Optional[datetime]
    original: Any
    delivery: Delivery


def read_parked(delivery: Delivery) -> Parked:
    """What a delivery from a failures queue holds; junk is shown as such, never an error."""
    digest = "digest-" + hashlib.blake2b(delivery.body, digest_size=8).hexdigest()
    try:
        failure = FailureMessage.from_json(delivery.body)
    except MalformedMessage as error:
        text = delivery.body.decode("utf-8", "backslashreplace")
        return Parked(digest, None, "unreadable", f"Not a failure message: {error}", None, text, delivery)
    turn = failure.helper_metadata.get("turn")
    queue = turn.get("queue") if isinstance(turn, dict) else None
    original = failure.message
    ids = [original.get("event_id"), original.get("message_id")] if isinstance(original, dict) else []
    named = next((name for name in ids if isinstance(name, str) and name), digest)
    return Parked(
        named,
        queue if queue in ("inbound", "event") else None,
        failure.failure_code,
        failure.reason,
        failure.timestamp,
        original,
        delivery,
    )


class DeliveriesLost(BrokerError):
    """The connection to the broker was lost in the middle: what was not dealt with is still parked."""


class FailuresQueueReader:
    """
    Works through one connector's failures queue.

    :param broker: a started broker.
    :param connector: the connector's name.
    :param clock: for the waits.
    :param waiting: how many messages wait in the queue.
    """

    def __init__(self, broker: Broker, connector: str, clock: IReactorTime, waiting: int) -> None:
        self._broker = broker
        self._connector = connector
        self._clock = clock
        self._waiting = waiting

    async def work(self, treat: Callable[[Parked], Awaitable[Outcome]], limit: int = 0) -> int:
        """
        Show each parked message to ``treat``, oldest first, and settle it as
        that says: ACK takes it out of the queue, REQUEUE leaves it there. What
        is parked meanwhile, a replay that failed again say, is left alone.

        :param limit: how many to read at the most; 0 is as many as there are, up to :data:`MOST`.
        :return: how many were read.
        :raises vumi_turn.broker.interface.BrokerError: if the broker did not take a
            replay, or has gone meanwhile.
        """
        most = min(limit or self._waiting, self._waiting, MOST)
        if not most:
            return 0
        found = await self._read(most)
        for parked, settled in found:
            if parked.delivery.lost:
                raise DeliveriesLost("the connection was lost")
            outcome = await treat(parked)
            if outcome is Outcome.ACK and parked.delivery.lost:
                raise DeliveriesLost(f"the connection was lost after {parked.id} was dealt with")
            settled.callback(outcome)
        return len(found)

    async def _read(self, most: int) -> list[tuple[Parked, Deferred[Outcome]]]:
        """So many of the oldest, unsettled; fewer if the others don't come."""
        found: list[tuple[Parked, Deferred[Outcome]]] = []
        last_seen = self._clock.seconds()

        async def take(delivery: Delivery) -> Outcome:
            nonlocal last_seen
            last_seen = self._clock.seconds()
            settled: Deferred[Outcome] = Deferred()
            found.append((read_parked(delivery), settled))
            return await settled

        consumer = self._broker.consume(f"{self._connector}.{FAILURES}", take, prefetch=most)
        consumer.unpause()
        while len(found) < most and self._clock.seconds() - last_seen < QUIET:
            await deferLater(self._clock, LOOK)
            # Those of a connection that is gone come again on the next one.
            found = [each for each in found if not each[0].delivery.lost]
        consumer.pause()
        return found

    async def replay(self, parked: Parked) -> None:
        """Publish the original to the queue it came from; returns once the broker has it."""
        await self._broker.publisher(f"{self._connector}.{parked.queue}").publish(body_of(parked.original))
