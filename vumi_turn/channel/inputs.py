"""People's inputs: written into the message cache, and read."""

from __future__ import annotations

from ..caches import CacheUnavailable, MessageCache
from ..conversation.conversations import Conversations, InputArrival, Meaning
from ..vumi.messages import TransportUserMessage
from .deliveries import arrival_of, choice_of, is_first


class Inputs:
    """
    Records what people send, and says what they mean.

    :param cache: knows people's last messages.
    :param conversations: know what people see.
    """

    def __init__(self, cache: MessageCache, conversations: Conversations) -> None:
        self._cache = cache
        self._conversations = conversations

    async def record(self, message: TransportUserMessage) -> Meaning:
        """
        Write a message into the cache, before Turn hears of it.

        :param message: as it was consumed.
        :return: what it means.
        """
        arrival = arrival_of(message)
        if arrival is InputArrival.AGAIN and await self._was_recorded(message):
            arrival = InputArrival.CONSUMED
        await self._cache.add_inbound(message, first=is_first(message))
        choice = choice_of(message)
        if choice is not None:
            return choice
        return await self._conversations.read_input(message, arrival, await self._ends_session(message))

    async def _was_recorded(self, message: TransportUserMessage) -> bool:
        """Whether it is known to have been consumed: one that the broker delivers again may not have come so far."""
        try:
            return await self._cache.get_inbound(message.message_id) is not None
        except CacheUnavailable:
            return False

    async def _ends_session(self, message: TransportUserMessage) -> bool:
        """Whether a close has ended the session that the person is in; one that comes late belongs to another."""
        if message.session_event != TransportUserMessage.SESSION_CLOSE:
            return False
        try:
            return await self._cache.get_last_inbound(message.from_addr) is None
        except CacheUnavailable:
            return True
