"""A document store in a dict, which can be away."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, Optional

from vumi_turn.caches import CacheUnavailable
from vumi_turn.caches.documents import Change, Document, DocumentStore, Kind, Result


class FakeDocuments(DocumentStore):
    """
    :ivar away: every call fails.
    :ivar stored: the documents by kind and key, as JSON.
    """

    def __init__(self) -> None:
        self.away = False
        self.stored: dict[tuple[str, str], str] = {}

    def _check(self) -> None:
        if self.away:
            raise CacheUnavailable("away")

    async def get(self, kind: Kind, key: str) -> Optional[Document]:
        self._check()
        found = self.stored.get((kind.name, key))
        return None if found is None else json.loads(found)

    async def put(self, kind: Kind, documents: Mapping[str, Optional[Document]]) -> None:
        self._check()
        for key, document in documents.items():
            self._set(kind, key, document)

    async def update(self, kind: Kind, key: str, change: Callable[[Optional[Document]], Change[Result]]) -> Result:
        self._check()
        found = self.stored.get((kind.name, key))
        changed = change(None if found is None else json.loads(found))
        self._set(kind, key, changed.document)
        return changed.result

    def _set(self, kind: Kind, key: str, document: Any) -> None:
        if document is None:
            self.stored.pop((kind.name, key), None)
        else:
            self.stored[kind.name, key] = json.dumps(document)
