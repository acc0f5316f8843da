"""Several messages for one input: parts in their queue, held, and published as one."""

from __future__ import annotations

from typing import Awaitable, Callable, Sequence

from twisted.internet.interfaces import IReactorTime

from ..broker.interface import Broker, Delivery, Outcome
from ..caches import CacheUnavailable, MessageCache
from ..conversation.answers import InputAnswers
from ..conversation.errors import MalformedPart, UnsupportedType
from ..conversation.joining import Joiner, Part
from ..conversation.rendering import render
from ..monitoring.recorder import DeliveryRecorder
from ..vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage
from .outgoing import OutgoingMessages
from .parts_queue import PartsQueue

#: Parks what cannot be read in the queue of parts.
Park = Callable[[Delivery, MalformedMessage], Awaitable[Outcome]]
#: Tells Turn what became of a message.
Report = Callable[[TransportEvent], Awaitable[Outcome]]


class HeldParts:
    """
    The parts of one channel's messages; a :class:`~vumi_turn.conversation.joining.JoinedFlow`.

    :param broker: the channel's.
    :param connector: the connector's name.
    :param window: seconds for which parts are held.
    :param cache: knows which sessions are open, and what was joined.
    :param answers: know how inputs were answered.
    :param outgoing: publishes joined messages.
    :param recorder: keeps what happens.
    :param clock: measures windows.
    :param park: parks what is no part.
    :param report: tells Turn that a part was not shown.
    """

    def __init__(
        self,
        broker: Broker,
        connector: str,
        window: float,
        cache: MessageCache,
        answers: InputAnswers,
        outgoing: OutgoingMessages,
        recorder: DeliveryRecorder,
        clock: IReactorTime,
        park: Park,
        report: Report,
    ) -> None:
        self._connector = connector
        self._cache = cache
        self._outgoing = outgoing
        self._recorder = recorder
        self._report = report
        self._queue = PartsQueue(broker, connector, self._take, park)
        self._joiner = Joiner(clock, window, cache.documents, answers, self, connector)

    def start(self) -> None:
        """Take parts, if no other worker does."""
        self._queue.unpause()

    async def drain(self, timeout: float) -> None:
        """Let windows run out, for so many seconds at most; POSTs that join are still taken."""
        await self._joiner.drain(timeout)

    def stop(self) -> None:
        """Take no more, and give back what is left: in this order, or it would come again at once."""
        self._queue.pause()
        self._joiner.give_back()

    async def put(self, part: Part) -> None:
        """
        Put a part into the queue; returns when the broker has it.

        :raises BrokerError: the broker has not taken it.
        """
        await self._queue.put(part)
        self._recorder.trace.add(part.id, "held to be joined")

    async def is_published(self, message_id: str) -> bool:
        """Whether a part was published, in a joined message: then Turn's repeat is not to be shown again."""
        return await self._joiner.is_published(message_id)

    async def _take(self, part: Part, delivery: Delivery) -> Outcome:
        try:
            render(part.turn, part.content)
        except (MalformedPart, UnsupportedType) as error:
            raise MalformedMessage(error.details) from None
        return await self._joiner.take(part, delivery)

    # -- JoinedFlow ------------------------------------------------------------------

    async def publish_joined(self, parts: Sequence[Part], message_id: str, goes_on: bool) -> None:
        """See :class:`~vumi_turn.conversation.joining.JoinedFlow`."""
        await self._outgoing.publish_joined(parts, message_id, goes_on)

    async def session_goes_on(self, original: TransportUserMessage) -> bool:
        """See :class:`~vumi_turn.conversation.joining.JoinedFlow`."""
        try:
            known = await self._cache.is_in_latest_session(original.from_addr, original.message_id)
        except CacheUnavailable:
            return True
        return known is not False

    def late(self, count: int) -> None:
        """See :class:`~vumi_turn.conversation.joining.JoinedFlow`."""
        self._recorder.metrics.answers_late(count)

    async def fail_part(self, part: Part, delivery: Delivery) -> Outcome:
        """See :class:`~vumi_turn.conversation.joining.JoinedFlow`."""
        self._recorder.metrics.part_failed()
        event = TransportEvent(
            user_message_id=part.id,
            event_type="nack",
            event_id=f"not-shown-{part.id}",  # the same when the part comes again
            nack_reason="the session was over",
            timestamp=self._outgoing.now(),
        )
        of_event = Delivery(
            f"{self._connector}.event", event.to_json(), redelivered=delivery.redelivered, received=delivery.received
        )
        delivery.on_lost(of_event.lose)
        return await self._report(event.replace(delivery=of_event))
