"""What becomes of a request of Turn's: a message of its own, or a part of one."""

from __future__ import annotations

from typing import Optional, Union

from ..caches import CacheUnavailable, MessageCache
from ..conversation.answers import AnswerState, InputAnswers
from ..conversation.conversations import IN_SESSION, Conversations
from ..conversation.joining import Part
from ..conversation.rendering import Rendered
from ..conversation.replies import NewMessages, outbound_message
from ..conversation.sessions import Sessions
from ..http.errors import ApiError
from ..monitoring.metrics import ChannelMetrics
from ..turn.payloads import OutboundRequest
from ..vumi.messages import TransportUserMessage
from .outgoing import Outgoing, OutgoingMessages, rendered, turn_of


class Answering:
    """
    Builds the messages that Turn asks for.

    :param cache: knows people's last messages.
    :param sessions: know what a request answers.
    :param answers: know how inputs were answered.
    :param conversations: compose what people see.
    :param outgoing: tells the time of messages.
    :param new_messages: what messages that answer none have.
    :param joins: whether messages are held to be joined.
    :param metrics: count.
    """

    def __init__(
        self,
        cache: MessageCache,
        sessions: Sessions,
        answers: InputAnswers,
        conversations: Conversations,
        outgoing: OutgoingMessages,
        new_messages: NewMessages,
        joins: bool,
        metrics: ChannelMetrics,
    ) -> None:
        self._cache = cache
        self._sessions = sessions
        self._answers = answers
        self._conversations = conversations
        self._outgoing = outgoing
        self._new_messages = new_messages
        self._joins = joins
        self._metrics = metrics

    async def build(self, request: OutboundRequest, message_id: str) -> Union[Outgoing, Part]:
        """
        The message that Turn asks for: a reply where there is something to
        reply to, because a USSD session lives from that, else a new message;
        or a part of one, where others may answer the same input.

        :param request: what Turn POSTed.
        :param message_id: the id that Turn will be told.
        :raises ApiUsageError: a part of it is missing or of the wrong kind, or
            ``reply_to`` is another person's message.
        :raises UnsupportedMessageType: it has no text that could be sent.
        :raises MessageNotFound: ``reply_to`` is unknown or expired.
        :raises CacheUnavailableError: what would know it cannot be asked now.
        """
        text = rendered(request)
        original = await self._latest_input(await self._sessions.original_of(request))
        self._note_reduced(text)
        in_session = original is not None and original.session_event in IN_SESSION
        waits = request.waiting_for_user_input
        late = False
        if original is not None and in_session:
            state = await self._begin_answer(original.message_id, message_id, waits)
            if state is AnswerState.JOINING:
                return Part(message_id, original.bare(), turn_of(request), request.content, waits)
            late = state in (AnswerState.CLOSED, AnswerState.ANSWERED)
            if late:
                self._metrics.answers_late(1)
        shown = self._conversations.compose([text], waits=waits, in_session=in_session, goes_on=waits or late)
        message = outbound_message(
            request,
            original,
            self._new_messages,
            text=shown.text,
            session_event=shown.session_event,
            message_id=message_id,
            timestamp=self._outgoing.now(),
        )
        return Outgoing(message, shown, original.message_id if original is not None and in_session else None)

    async def joins_held(self, request: OutboundRequest) -> bool:
        """Whether parts are held for the input that a request answers."""
        try:
            original = await self._latest_input(await self._sessions.original_of(request))
            if original is None or original.session_event not in IN_SESSION:
                return False
            return await self._answers.state_of(original.message_id) is AnswerState.JOINING
        except (ApiError, CacheUnavailable):
            return False

    async def _latest_input(self, original: Optional[TransportUserMessage]) -> Optional[TransportUserMessage]:
        """An input that a page has answered stands for the latest input of its session."""
        if original is None or original.session_event not in IN_SESSION:
            return original
        try:
            if not await self._answers.shows_page(original.message_id):
                return original
            if await self._cache.is_in_latest_session(original.from_addr, original.message_id) is False:
                return original
            last = await self._cache.get_last_inbound(original.from_addr)
        except CacheUnavailable:
            return original
        goes_on = last is not None and last.session_event == TransportUserMessage.SESSION_RESUME
        return last if goes_on else original

    async def _begin_answer(self, input_id: str, message_id: str, waits: bool) -> AnswerState:
        """
        Note that an input of a session is being answered.

        :return: ``joining`` where the message is a part.
        """
        if not self._joins:
            return await self._answered_before(input_id, message_id)
        try:
            if waits:
                return await self._answers.begin_waiting(input_id, message_id)
            state = await self._answers.begin_part(input_id, message_id)
        except CacheUnavailable:
            # Other workers may hold parts: what all of them put into the queue keeps its order there.
            return AnswerState.NONE if waits and self._cache.alone else AnswerState.JOINING
        return AnswerState.JOINING if state is AnswerState.NONE else state

    async def _answered_before(self, input_id: str, message_id: str) -> AnswerState:
        """How an input was answered, where nothing is held to be joined."""
        try:
            state = await self._answers.state_for(input_id, message_id)
        except CacheUnavailable:
            return AnswerState.NONE
        return AnswerState.NONE if state is AnswerState.JOINING else state

    def _note_reduced(self, text: Rendered) -> None:
        if text.by_content:
            self._metrics.reduced(text.type, "content")
        if text.lost_media:
            self._metrics.reduced(text.type, "medium")
