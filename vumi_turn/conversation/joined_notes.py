"""What the cache notes of messages that are shown as one, so that none is shown twice."""

from __future__ import annotations

from typing import Any, Sequence

from ..caches import CacheUnavailable
from ..caches.documents import Change, DocumentStore, Kind, Lifetime

#: Of a part: the id of the message that it was joined into, and whether that was published.
JOINED = Kind("joined")
#: Of a joined message: the ids that Turn was told.
TURN_IDS = Kind("turn_ids", Lifetime.OUTBOUND_TIMEOUT, written_once=True)


class JoinedNotes:
    """
    The notes. Where the cache cannot be asked, a text may be shown twice after
    a kill rather than not at all.

    :param documents: of the message cache.
    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def of(self, part_id: str) -> dict[str, Any]:
        """
        What is noted of a part.

        :return: ``id``, of the message that it was joined into, and ``published``, if so; empty for an unknown part.
        """
        try:
            note = await self._documents.get(JOINED, part_id)
        except CacheUnavailable:
            note = None
        return note if isinstance(note, dict) else {}

    async def is_published(self, part_id: str) -> bool:
        """Whether it is noted that a part was published."""
        return (await self.of(part_id)).get("published") is True

    async def joined(self, part_ids: Sequence[str], message_id: str) -> None:
        """Note that parts are about to be published as one message."""

        def with_ids(document: Any) -> Change[None]:
            known = document if isinstance(document, list) else []
            return Change([*known, *(name for name in part_ids if name not in known)], None)

        try:
            await self._documents.put(JOINED, {name: {"id": message_id} for name in part_ids})
            await self._documents.update(TURN_IDS, message_id, with_ids)
        except CacheUnavailable:
            pass

    async def published(self, part_ids: Sequence[str], message_id: str) -> None:
        """Note that parts were published as one message: the broker has it."""
        note = {"id": message_id, "published": True}
        try:
            await self._documents.put(JOINED, dict.fromkeys(part_ids, note))
        except CacheUnavailable:
            pass
