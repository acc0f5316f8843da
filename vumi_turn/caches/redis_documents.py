"""Documents in Redis, and in this worker's memory for when it is alone and Redis is away."""

from __future__ import annotations

from typing import Callable, Mapping, Optional

from .documents import Change, Document, DocumentStore, Kind, Lifetime, Result
from .interface import CacheUnavailable
from .redis_connection import RedisAway, ScriptFailed
from .redis_format import GET, PUT, REPLACE, decode_document, encode_document
from .redis_shared import SharedRedis
from .tables import Tables

#: How often a change is tried again because somebody else's came first: each
#: time somebody has got further.
TRIES = 1000


class RedisDocuments(DocumentStore):
    """
    :param shared: Redis.
    :param tables: this worker's memory.
    :param prefix: comes before each key.
    :param timeouts: milliseconds for each lifetime.
    :param missed: is told of each document that has to be written later.
    """

    def __init__(
        self,
        shared: SharedRedis,
        tables: Tables,
        prefix: str,
        timeouts: Mapping[Lifetime, int],
        missed: Callable[[Kind, str], None],
    ) -> None:
        self._shared = shared
        self._tables = tables
        self._prefix = prefix
        self._timeouts = timeouts
        self._missed = missed

    async def get(self, kind: Kind, key: str) -> Optional[Document]:
        """See :meth:`DocumentStore.get`."""
        if self._shared.ready:
            try:
                value = await self._shared.run(GET, (self._key(kind, key),))
            except RedisAway:
                pass
            else:
                return self._decoded(value)
        mine = self._tables.document(kind, key)
        if mine is None or not kind.written_once:
            self._check_alone()
        return mine

    async def put(self, kind: Kind, documents: Mapping[str, Optional[Document]]) -> None:
        """See :meth:`DocumentStore.put`."""
        if self._shared.ready:
            try:
                await self.write(kind, documents)
            except RedisAway:
                pass
            else:
                self._tables.set_documents(kind, documents)
                return
        if not kind.written_once:
            self._check_alone()
        self._keep(kind, documents)

    async def update(self, kind: Kind, key: str, change: Callable[[Optional[Document]], Change[Result]]) -> Result:
        """See :meth:`DocumentStore.update`."""
        if self._shared.ready:
            try:
                return await self._update(kind, key, change)
            except RedisAway:
                pass
        if not kind.written_once:
            self._check_alone()
        after = change(self._tables.document(kind, key))
        self._keep(kind, {key: after.document})
        return after.result

    async def write(self, kind: Kind, documents: Mapping[str, Optional[Document]]) -> None:
        """
        Write to Redis only.

        :raises RedisAway: they were not written, or that is not known.
        """
        keys = [self._key(kind, key) for key in documents]
        values = [encode_document(document) for document in documents.values()]
        await self._shared.run(PUT, keys, (self._timeouts[kind.lifetime], *values))

    async def _update(self, kind: Kind, key: str, change: Callable[[Optional[Document]], Change[Result]]) -> Result:
        before = self._tables.document(kind, key)
        expected = encode_document(before)
        for _ in range(TRIES):
            after = change(before)
            arguments = (expected, encode_document(after.document), self._timeouts[kind.lifetime])
            answer = await self._shared.run(REPLACE, (self._key(kind, key),), arguments)
            if answer is None:
                self._tables.set_documents(kind, {key: after.document})
                return after.result
            expected = answer[0]
            before = self._decoded(expected)
        raise ScriptFailed("somebody else's change always came first")

    def _keep(self, kind: Kind, documents: Mapping[str, Optional[Document]]) -> None:
        """This worker is alone, or nobody else writes it: Redis is told later."""
        self._tables.set_documents(kind, documents)
        for key in documents:
            self._missed(kind, key)

    def _check_alone(self) -> None:
        if not self._shared.alone:
            raise CacheUnavailable("Redis is away")

    def _decoded(self, value: Optional[bytes]) -> Optional[Document]:
        if not value:
            return None
        document = decode_document(value)
        if document is None:
            self._shared.note_unreadable()
        return document

    def _key(self, kind: Kind, key: str) -> str:
        return f"{self._prefix}document:{kind.name}:{key}"
