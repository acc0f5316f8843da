"""
Messages on their way to people: composed, remembered and published, one by
one, as pages, or several as one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Optional, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..broker.interface import BrokerError
from ..caches import CacheUnavailable, MessageCache
from ..conversation.answers import InputAnswers
from ..conversation.conversations import Conversations, PageTurned, Shown
from ..conversation.errors import MalformedPart, UnsupportedType
from ..conversation.joined_notes import TURN_IDS
from ..conversation.joining import Part
from ..conversation.rendering import Rendered, render
from ..conversation.sessions import Sessions
from ..http.errors import ApiUsageError
from ..monitoring.recorder import DeliveryRecorder
from ..timing.backoff import Backoff
from ..turn.errors import UnsupportedMessageType
from ..turn.payloads import OutboundRequest
from ..vumi.connectors import ReceiveInboundConnector
from ..vumi.messages import TransportUserMessage


@dataclass(frozen=True)
class Outgoing:
    """
    A message that is ready to be published.

    :ivar message: for the connector.
    :ivar shown: what it shows; None where nothing has to be remembered of it.
    :ivar input_id: the input of a session that it answers, else None.
    """

    message: TransportUserMessage
    shown: Optional[Shown] = field(default=None, repr=False)
    input_id: Optional[str] = None


def rendered(request: OutboundRequest) -> Rendered:
    """
    What a request of Turn's says, as text and choices.

    :raises ApiUsageError: a part that is used is missing or of the wrong kind.
    :raises UnsupportedMessageType: it has no text that could be sent.
    """
    if request.text is not None:
        return Rendered("text", (request.text,), by_content=False, lost_media=False)
    try:
        return render(request.turn, request.content)
    except MalformedPart as error:
        raise ApiUsageError(error.details) from None
    except UnsupportedType as error:
        raise UnsupportedMessageType(error.details) from None


def turn_of(request: OutboundRequest) -> dict[str, Any]:
    """The message as Turn means it, to be rendered later."""
    return dict(request.turn) if request.text is None else {"type": "text", "text": {"body": request.text}}


class OutgoingMessages:
    """
    Publishes messages to people.

    :param connector: publishes them.
    :param cache: is told of each before it is published, because the
        network's ack may overtake the broker's confirmation.
    :param conversations: composes them, and remembers what people see.
    :param answers: how inputs were answered.
    :param sessions: which sessions are open.
    :param recorder: keeps what happens.
    :param clock: measures the waits.
    :param wall_time: Unix seconds, for timestamps.
    """

    def __init__(
        self,
        connector: ReceiveInboundConnector,
        cache: MessageCache,
        conversations: Conversations,
        answers: InputAnswers,
        sessions: Sessions,
        recorder: DeliveryRecorder,
        clock: IReactorTime,
        wall_time: Callable[[], float],
    ) -> None:
        self._connector = connector
        self._cache = cache
        self._conversations = conversations
        self._answers = answers
        self._sessions = sessions
        self._recorder = recorder
        self._metrics = recorder.metrics
        self._trace = recorder.trace
        self._clock = clock
        self._wall_time = wall_time

    def now(self) -> datetime:
        """The time, for a message's stamp."""
        return datetime.fromtimestamp(self._wall_time(), timezone.utc)

    async def publish(self, outgoing: Outgoing) -> None:
        """
        Publish one message; returns once the broker has it.

        :raises BrokerError: the broker has not taken it.
        """
        message = outgoing.message
        await self._cache.add_outbound(message)
        if outgoing.shown is not None:
            await self._remember(outgoing.shown, message, outgoing.input_id)
        started = self._clock.seconds()
        await self._connector.publish_outbound(message)
        self._recorder.outbound_published(message.message_id, self._clock.seconds() - started)
        if outgoing.shown is not None and outgoing.shown.pages is not None:
            self._trace.add(message.message_id, "paged", {"pages": len(outgoing.shown.pages.texts)})
        await self._sessions.end(message)

    async def _remember(self, shown: Shown, message: TransportUserMessage, input_id: Optional[str]) -> None:
        try:
            await self._conversations.note_shown(message.to_addr, shown)
            if input_id is not None and message.session_event == TransportUserMessage.SESSION_RESUME:
                await self._answers.answered(input_id, message.message_id, page=shown.pages is not None)
        except CacheUnavailable:
            self._metrics.choice("not_remembered")

    # -- pages ----------------------------------------------------------------------

    async def publish_page(self, asked_by: TransportUserMessage, page: PageTurned) -> None:
        """
        Show the page that an input asked for; tries until the broker has it.
        Turn hears nothing of it, neither of the input nor of its statuses.

        :raises BrokerError: the broker has not taken it, and the input's delivery is lost.
        """
        ended = TransportUserMessage.SESSION_CLOSE if page.ends_session else TransportUserMessage.SESSION_RESUME
        reply = asked_by.reply(page.text, session_event=ended, message_id=page.message_id, timestamp=self.now())
        try:
            await self._cache.documents.put(TURN_IDS, {page.message_id: []})
            await self._answers.answered(asked_by.message_id, page.message_id, page=True)
        except CacheUnavailable:
            pass  # Turn may be told of a message that it does not know
        backoff = Backoff()
        while True:
            try:
                await self.publish(Outgoing(reply))
                break
            except BrokerError:
                if not _is_lost(asked_by):
                    await deferLater(self._clock, backoff.next())
                if _is_lost(asked_by):
                    raise  # whoever gets the input next shows the same page
        self._trace.add(asked_by.message_id, "paged", {"id": page.message_id})

    # -- several messages as one: vumi_turn.conversation.joining.JoinedFlow ------------

    async def publish_joined(self, parts: Sequence[Part], message_id: str, goes_on: bool) -> None:
        """See :class:`~vumi_turn.conversation.joining.JoinedFlow`."""
        original = parts[0].original
        texts = [render(part.turn, part.content) for part in parts]
        waits = any(part.waits for part in parts)
        shown = self._conversations.compose(texts, waits=waits, in_session=True, goes_on=goes_on)
        message = original.reply(
            shown.text, session_event=shown.session_event, message_id=message_id, timestamp=self.now()
        )
        await self.publish(Outgoing(message, shown, original.message_id))
        for part in parts:
            self._trace.add(part.id, "joined", {"into": message_id, "parts": len(parts)})
        self._metrics.parts_joined(len(parts))


def _is_lost(message: TransportUserMessage) -> bool:
    return message.delivery is not None and message.delivery.lost
