"""
What a channel asks of the message cache: which message a request of Turn's
answers, which session a message of ours ends, whom a message of ours went to,
and whether a status of it is still news.
"""

from __future__ import annotations

from typing import Callable, Optional

from twisted.logger import Logger

from ..caches import CacheUnavailable, MessageCache, person_of
from ..http.errors import ApiUsageError
from ..timing.named_log import named
from ..turn.errors import CacheUnavailableError, MessageNotFound
from ..turn.payloads import OutboundRequest
from ..vumi.messages import TransportUserMessage

log = Logger()


class Sessions:
    """
    The conversations that the cache knows.

    :param cache: knows them.
    :param without_recipient: is called for each status whose recipient the
        cache does not know.
    """

    def __init__(self, cache: MessageCache, without_recipient: Callable[[], None], connector: str = "") -> None:
        self._log = named(log, connector)
        self._cache = cache
        self._without_recipient = without_recipient

    async def original_of(self, request: OutboundRequest) -> Optional[TransportUserMessage]:
        """
        The inbound message that a request answers.

        :return: None if it answers none.
        :raises MessageNotFound: ``reply_to`` is unknown or expired.
        :raises ApiUsageError: ``reply_to`` is another person's message.
        :raises CacheUnavailableError: what would know cannot be asked now.
        """
        try:
            if request.reply_to is None:
                return await self._cache.get_last_inbound(request.to)
            original = await self._cache.get_inbound(request.reply_to)
        except CacheUnavailable:
            raise CacheUnavailableError() from None
        if original is None:
            raise MessageNotFound("reply_to names a message that is not known, or no longer")
        if person_of(original.from_addr) != person_of(request.to):
            raise ApiUsageError("reply_to names a message from another person than to")
        return original

    async def end(self, message: TransportUserMessage) -> None:
        """
        Note that the broker has a message of ours. If it closes a session, the
        one is meant that the message which it answers is in, and no later one.

        A boundary: nothing is raised, because the broker has the message, which
        must not be published again for this.
        """
        if message.session_event != TransportUserMessage.SESSION_CLOSE or message.in_reply_to is None:
            return
        try:
            await self._cache.close_session(message.to_addr, message.in_reply_to)
        except Exception:
            self._log.failure("The session that {message_id} closes stays open", message_id=message.message_id)

    async def recipient_of(self, message_id: str) -> Optional[str]:
        """Whom we sent a message to; None, and counted, where the cache does not say."""
        try:
            recipient = await self._cache.get_recipient(message_id)
        except CacheUnavailable:
            recipient = None
        if recipient is None:
            self._without_recipient()
        return recipient

    async def is_news(self, message_id: str, status: str) -> bool:
        """
        Note a status of a message of ours before it is sent to Turn.

        :param status: Turn's word.
        :return: False where it would go backwards: ``sent`` after
            ``delivered`` or ``failed``. It is not to be sent then.
        """
        try:
            return await self._cache.advance_status(message_id, final=status != "sent")
        except CacheUnavailable:
            return True
