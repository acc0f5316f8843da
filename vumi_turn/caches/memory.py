"""The message cache in this process's memory."""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, Optional

from twisted.internet.interfaces import IReactorTime

from ..vumi.messages import TransportUserMessage
from .addresses import person_of
from .config import read_cache_config
from .documents import Change, Document, DocumentStore, Kind, Result
from .interface import MessageCache
from .person import Arrival, ended, is_open
from .requests_memory import MemoryRequestStore
from .shared import ProcessCaches
from .tables import Tables, lean


class MemoryMessageCache(MessageCache):
    """
    Keeps messages in memory: for one worker, until it is restarted.

    :param config: the options, see :class:`.config.CacheConfig`.
    :param clock: measures timeouts.
    :param process: what the caches of this process share; its own where it is not given.
    :param now: the wall clock, in Unix seconds.
    :param connector: whose messages they are; each cache in memory has its own.
    :raises ConfigErrors: an option is wrong.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        clock: IReactorTime,
        process: Optional[ProcessCaches] = None,
        now: Callable[[], float] = time.time,
        connector: str = "",
    ) -> None:
        options = read_cache_config(self.CONFIG_CLASS, config)
        self._tables = Tables(clock, options, None if process is None else process.bounds)
        self._documents = MemoryDocuments(self._tables)
        self._now = now
        self._process = process or ProcessCaches()
        self._request_stores: list[MemoryRequestStore] = []

    async def start(self) -> None:
        """There is nothing to make ready."""

    async def stop(self) -> None:
        """Forget all."""
        for store in self._request_stores:
            store.clear()
        self._tables.clear()

    @property
    def healthy(self) -> bool:
        """Always: there is nothing that could be away."""
        return True

    @property
    def size(self) -> int:
        """Inbound and outbound messages that are remembered."""
        return self._tables.size

    @property
    def documents(self) -> DocumentStore:
        """In memory too."""
        return self._documents

    def request_store(self, clock: IReactorTime, repeat_window: float) -> MemoryRequestStore:
        """See :meth:`MessageCache.request_store`."""
        bounds = self._process.bounds
        store = MemoryRequestStore(
            clock,
            repeat_window,
            self._tables.last_id,
            open_bound=bounds.open_requests,
            answered_bound=bounds.answered_requests,
        )
        self._request_stores.append(store)
        return store

    async def add_inbound(self, message: TransportUserMessage, *, first: bool = True) -> None:
        """See :meth:`MessageCache.add_inbound`."""
        arrival = Arrival.FIRST if first else Arrival.AGAIN
        self._tables.hear(person_of(message.from_addr), lean(message), arrival, int(self._now() * 1_000_000))

    async def get_inbound(self, message_id: str) -> Optional[TransportUserMessage]:
        """See :meth:`MessageCache.get_inbound`; always available."""
        record = self._tables.records.get(message_id)
        return None if record is None else record.message

    async def get_last_inbound(self, address: Optional[str]) -> Optional[TransportUserMessage]:
        """See :meth:`MessageCache.get_last_inbound`; always available."""
        person = self._tables.people.get(person_of(address))
        return await self.get_inbound(person.message_id) if person is not None and person.open else None

    async def is_in_latest_session(self, address: Optional[str], message_id: str) -> Optional[bool]:
        """See :meth:`MessageCache.is_in_latest_session`; always available."""
        person, record = self._tables.people.get(person_of(address)), self._tables.records.get(message_id)
        return None if person is None or record is None else is_open(person, record.token)

    async def close_session(self, address: Optional[str], message_id: str) -> None:
        """See :meth:`MessageCache.close_session`."""
        key = person_of(address)
        person, record = self._tables.people.get(key), self._tables.records.get(message_id)
        if person is not None and record is not None:
            self._tables.people.set(key, ended(person, record.token))

    async def add_outbound(self, message: TransportUserMessage) -> None:
        """See :meth:`MessageCache.add_outbound`."""
        if message.to_addr:
            self._tables.recipients.set(message.message_id, message.to_addr)

    async def get_recipient(self, message_id: str) -> Optional[str]:
        """See :meth:`MessageCache.get_recipient`."""
        return self._tables.recipients.get(message_id)

    async def advance_status(self, message_id: str, final: bool) -> bool:
        """See :meth:`MessageCache.advance_status`."""
        if final:
            self._tables.finals.set(message_id, True)
            return True
        return self._tables.finals.get(message_id) is None


class MemoryDocuments(DocumentStore):
    """
    Documents in a worker's tables.

    :param tables: where they are.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def get(self, kind: Kind, key: str) -> Optional[Document]:
        """See :meth:`DocumentStore.get`; always available."""
        return self._tables.document(kind, key)

    async def put(self, kind: Kind, documents: Mapping[str, Optional[Document]]) -> None:
        """See :meth:`DocumentStore.put`; always available."""
        self._tables.set_documents(kind, documents)

    async def update(self, kind: Kind, key: str, change: Callable[[Optional[Document]], Change[Result]]) -> Result:
        """See :meth:`DocumentStore.update`; always available."""
        before = self._tables.document(kind, key)
        after = change(before)
        if after.document != before:
            self._tables.set_documents(kind, {key: after.document})
        return after.result
