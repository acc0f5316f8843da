"""What an event of the network's is for Turn: which of its messages have which status."""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from ..caches import CacheUnavailable
from ..caches.documents import DocumentStore
from ..conversation.joined_notes import TURN_IDS
from ..conversation.sessions import Sessions
from ..monitoring.metrics import ChannelMetrics
from ..turn.payloads import status_of, status_payload
from ..vumi.messages import TransportEvent


class Statuses:
    """
    Makes statuses of events.

    :param sessions: know whom a message went to, and what is news.
    :param documents: know which of Turn's ids a message has.
    :param written: waits until Turn knows an id.
    :param metrics: count.
    """

    def __init__(
        self,
        sessions: Sessions,
        documents: DocumentStore,
        written: Callable[[str], Awaitable[None]],
        metrics: ChannelMetrics,
    ) -> None:
        self._sessions = sessions
        self._documents = documents
        self._written = written
        self._metrics = metrics

    async def of(self, event: TransportEvent) -> list[dict[str, Any]]:
        """
        The statuses that an event is for Turn, once Turn has been told the
        messages' ids: one; none where it is no news, or the message was a page;
        several where the message was joined of several.
        """
        message_id = event.user_message_id
        ids = await self._turn_ids_of(message_id)
        for turn_id in ids:
            await self._written(turn_id)
        if not await self._sessions.is_news(message_id, status_of(event)):
            self._metrics.status_backwards()
            return []
        if not ids:
            return []
        recipient = await self._sessions.recipient_of(message_id)
        return [status_payload(event.replace(user_message_id=turn_id), recipient) for turn_id in ids]

    async def _turn_ids_of(self, message_id: str) -> list[str]:
        try:
            ids = await self._documents.get(TURN_IDS, message_id)
        except CacheUnavailable:
            ids = None
        return [message_id] if ids is None else ids
