"""The queue of parts: ``<connector>.turn_joining``."""

from __future__ import annotations

from typing import Awaitable, Callable

from ..broker.interface import Broker, Delivery, Outcome
from ..conversation.joining import Part
from ..vumi.messages import MalformedMessage

#: What follows the connector's name in the queue's name.
JOINING = "turn_joining"

#: How many parts are held at a time: in effect all there are.
PREFETCH = 10_000


class PartsQueue:
    """
    Parts, published by every worker of a connector, and consumed by one of them.

    :param broker: the channel's.
    :param connector: the connector's name.
    :param take: holds a part; what becomes of its delivery. It raises
        MalformedMessage for one that it cannot use.
    :param malformed: says what becomes of what is no part.
    """

    def __init__(
        self,
        broker: Broker,
        connector: str,
        take: Callable[[Part, Delivery], Awaitable[Outcome]],
        malformed: Callable[[Delivery, MalformedMessage], Awaitable[Outcome]],
    ) -> None:
        queue = f"{connector}.{JOINING}"
        self._take = take
        self._malformed = malformed
        self._publisher = broker.publisher(queue, single_active=True)
        self._consumer = broker.consume(queue, self._consume, PREFETCH, single_active=True)

    async def put(self, part: Part) -> None:
        """
        Publish a part; returns when the broker has it.

        :raises BrokerError: the broker has not taken it.
        """
        await self._publisher.publish(part.to_json())

    def unpause(self) -> None:
        """Take parts, if no other worker does."""
        self._consumer.unpause()

    def pause(self) -> None:
        """Take no more parts."""
        self._consumer.pause()

    async def _consume(self, delivery: Delivery) -> Outcome:
        try:
            return await self._take(Part.from_json(delivery.body), delivery)
        except MalformedMessage as error:
            return await self._malformed(delivery, error)
