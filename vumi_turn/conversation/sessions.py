"""
What the bridge asks of the message cache, also while that is away: which
message a request of Turn's answers, which session a message of ours ends, and
whom it went to.
"""

from __future__ import annotations

from typing import Callable, Optional

from twisted.logger import Logger

from ..caches import CacheUnavailable, MessageCache, person_of
from ..http.errors import ApiUsageError
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

    def __init__(self, cache: MessageCache, without_recipient: Callable[[], None]) -> None:
        self._cache = cache
        self._without_recipient = without_recipient

    async def original_of(self, request: OutboundRequest) -> Optional[TransportUserMessage]:
        """
        The inbound message that a request answers.

        :return: None if it answers none.
        :raises MessageNotFound: ``reply_to`` is unknown or expired.
        :raises ApiUsageError: ``reply_to`` is another person's message.
        :raises CacheUnavailableError: the cache that would know is away.
        """
        if request.reply_to is None:
            return await self._last_of(request.to)
        try:
            original = await self._cache.get_inbound(request.reply_to)
        except CacheUnavailable:
            raise CacheUnavailableError(
                "the message cache is away, so reply_to cannot be looked up; try again later"
            ) from None
        if original is None:
            raise MessageNotFound("reply_to names a message that is not known, or no longer")
        if person_of(original.from_addr) != person_of(request.to):
            raise ApiUsageError("reply_to names a message from another person than to")
        return original

    async def ended_by(self, message: TransportUserMessage) -> Optional[TransportUserMessage]:
        """
        The person's last message in the session that a message of ours ends.

        :return: None where it ends none. It may have been built long ago, if
            the broker has failed since: a session that was opened after that
            is another one, and Turn's answer to it must still find it.
        """
        if message.session_event != TransportUserMessage.SESSION_CLOSE or message.in_reply_to is None:
            return None
        last = await self._last_of(message.to_addr)
        if last is None or last.message_id == message.in_reply_to:
            return last
        return last if last.session_event == TransportUserMessage.SESSION_RESUME else None

    async def end(self, message: TransportUserMessage, last: TransportUserMessage) -> None:
        """
        Note that a message of ours has ended a session. A boundary: nothing is
        raised, because the broker has the message, which must not be published
        again for this.

        :param last: what :meth:`ended_by` gave.
        """
        try:
            await self._cache.close_session(message.to_addr, last.message_id)
        except Exception:
            log.failure("The session that {message_id} closes stays open", message_id=message.message_id)

    async def recipient_of(self, message_id: str) -> Optional[str]:
        """Whom we sent a message to; None, and counted, where the cache does not say."""
        try:
            recipient = await self._cache.get_recipient(message_id)
        except CacheUnavailable:
            recipient = None
        if recipient is None:
            self._without_recipient()
        return recipient

    async def _last_of(self, address: Optional[str]) -> Optional[TransportUserMessage]:
        """
        The last message of a person whose session is open. With the cache
        away a reply goes unlinked rather than not at all.
        """
        try:
            return await self._cache.get_last_inbound(address)
        except CacheUnavailable:
            return None
