"""
The message cache in Redis, shared by workers and kept across their restarts.

What this worker has seen lately is in its memory as well. That makes most
look-ups free, and while Redis is away a worker that is alone goes on. What
could not be written is written when Redis is back.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, Optional
from uuid import uuid4

from twisted.internet.interfaces import IReactorTime

from ..vumi.messages import TransportUserMessage
from .addresses import person_of
from .config import read_cache_config
from .documents import DocumentStore, Kind, Lifetime
from .interface import CacheUnavailable, MessageCache
from .keyed_lock import KeyedLock
from .person import NO_SESSION, Arrival, Person, ended, is_open
from .redis_backlog import Backlog, merged
from .redis_config import RedisCacheConfig
from .redis_connection import RedisAway
from .redis_documents import RedisDocuments
from .redis_people import RedisPeople
from .redis_sent import RedisSent
from .redis_shared import Connection, SharedRedis
from .requests_memory import MemoryRequestStore
from .requests_redis import RedisRequestStore
from .shared import ProcessCaches
from .tables import Tables, lean


class RedisMessageCache(MessageCache):
    """
    Keeps messages in Redis: for several workers, and across restarts.

    :param config: the options, see :class:`~.redis_config.RedisCacheConfig`.
    :param reactor: connects, and measures timeouts.
    :param process: what the caches of this process share; its own where it is not given.
    :param now: the wall clock, in Unix seconds.
    :param connector: whose messages they are; part of each key, where it is given.
    :param connection: instead of one to ``url``; for tests.
    :param worker_id: this worker's name among those that share the cache.
    :raises ConfigErrors: an option is wrong, or txredisapi is not installed.
    """

    CONFIG_CLASS = RedisCacheConfig

    def __init__(
        self,
        config: Mapping[str, Any],
        reactor: Any,
        process: Optional[ProcessCaches] = None,
        now: Callable[[], float] = time.time,
        connector: str = "",
        connection: Optional[Connection] = None,
        worker_id: Optional[str] = None,
    ) -> None:
        options = read_cache_config(self.CONFIG_CLASS, config)
        process = process or ProcessCaches()
        self._prefix = prefix = f"{options.key_prefix}{connector}:" if connector else options.key_prefix
        self._now = now
        self._bounds = process.bounds
        self._connector = connector
        timeout, outbound_timeout = _milliseconds(options.timeout), _milliseconds(options.outbound_timeout)
        self._tables = tables = Tables(reactor, options, process.bounds)
        self._shared = SharedRedis(
            connection or process.redis(options.url, reactor),
            reactor,
            prefix,
            worker_id or uuid4().hex,
            self._catch_up,
            connector,
        )
        self._people = RedisPeople(self._shared, tables, prefix, timeout)
        self._sent = RedisSent(self._shared, tables, prefix, outbound_timeout)
        self._documents = RedisDocuments(
            self._shared,
            tables,
            prefix,
            {Lifetime.TIMEOUT: timeout, Lifetime.OUTBOUND_TIMEOUT: outbound_timeout},
            self._missed_document,
        )
        self._locks = KeyedLock()
        self._request_stores: list[RedisRequestStore] = []
        writes = {
            "person": self._people.write_person,
            "record": self._people.write_record,
            "recipient": self._sent.write_recipient,
            "final": self._sent.write_final,
            "document": self._write_document,
        }
        self._backlog = Backlog(writes, 4 * options.max_messages, process.bounds.backlog)

    # -- what it is ---------------------------------------------------------------

    @property
    def healthy(self) -> bool:
        """False while Redis is away, does not write, or is still being told what happened meanwhile."""
        return self._shared.settled

    @property
    def trouble(self) -> str:
        """Why it is not healthy."""
        return self._shared.trouble

    @property
    def size(self) -> int:
        """Messages in this worker's memory."""
        return self._tables.size

    @property
    def replaced_keys(self) -> int:
        """See :attr:`MessageCache.replaced_keys`."""
        return self._shared.replaced

    @property
    def alone(self) -> bool:
        """See :attr:`MessageCache.alone`."""
        return self._shared.alone

    @property
    def documents(self) -> DocumentStore:
        """In Redis too."""
        return self._documents

    def request_store(self, clock: IReactorTime, repeat_window: float) -> RedisRequestStore:
        """See :meth:`MessageCache.request_store`; shared by the workers as the messages are."""
        memory = MemoryRequestStore(
            clock,
            repeat_window,
            self._tables.last_id,
            open_bound=self._bounds.open_requests,
            answered_bound=self._bounds.answered_requests,
        )
        store = RedisRequestStore(
            clock,
            self._shared,
            memory,
            self._prefix,
            self._people.key_of,
            self._shared.worker_id,
            repeat_window,
            connector=self._connector,
            bound=self._bounds.answered_ids,
        )
        self._request_stores.append(store)
        return store

    async def start(self) -> None:
        """Connect; a Redis that is away is waited for half a second only."""
        await self._shared.start()

    async def stop(self) -> None:
        """Close the connection, and forget what is in memory."""
        for store in self._request_stores:
            store.stop()
        await self._shared.stop()
        self._backlog.clear()
        self._tables.clear()

    # -- messages from people -------------------------------------------------------

    async def add_inbound(self, message: TransportUserMessage, *, first: bool = True) -> None:
        """See :meth:`MessageCache.add_inbound`; a Redis that is away is told later."""
        kept, person = lean(message), person_of(message.from_addr)
        arrival = Arrival.FIRST if first else Arrival.AGAIN
        seen = int(self._now() * 1_000_000)
        async with self._locks.hold(person):
            if person and self._shared.ready:
                try:
                    await self._people.hear(person, kept, arrival, seen)
                    return
                except RedisAway:
                    pass
            if self._tables.hear(person, kept, arrival, seen):
                await self._missed("record", kept.message_id)
                if person:
                    await self._missed("person", person)

    async def get_inbound(self, message_id: str) -> Optional[TransportUserMessage]:
        """See :meth:`MessageCache.get_inbound`. A message never changes, so memory is asked first."""
        record = self._tables.records.get(message_id)
        if record is not None:
            return record.message
        try:
            record = await self._people.record(message_id)
        except RedisAway:
            raise CacheUnavailable("Redis is away") from None
        if record is None and not self._shared.alone and not self._shared.settled:
            raise CacheUnavailable("another worker may still have to write it")
        return None if record is None else record.message

    async def get_last_inbound(self, address: Optional[str]) -> Optional[TransportUserMessage]:
        """
        See :meth:`MessageCache.get_last_inbound`. Another worker may know a
        later one. While Redis is away, what this one knows has to do if it is
        alone; else nothing is known, once it is clear that Redis stays away.
        """
        key = person_of(address)
        if not key:
            return None
        person = await self._latest(key)
        return await self.get_inbound(person.message_id) if person is not None and person.open else None

    async def _latest(self, key: str) -> Optional[Person]:
        mine = self._tables.people.get(key)
        shared: Optional[Person] = None
        asked = self._shared.ready
        if asked:
            try:
                shared = await self._people.person(key)
            except RedisAway:
                asked = False
        if self._shared.must_wait:
            raise CacheUnavailable("another worker may know a later message")
        if asked:
            return merged(mine, shared)
        return mine if self._shared.alone else None

    async def is_in_latest_session(self, address: Optional[str], message_id: str) -> Optional[bool]:
        """See :meth:`MessageCache.is_in_latest_session`."""
        key = person_of(address)
        person = await self._latest(key) if key else None
        token = await self._session_of(message_id)
        return None if person is None or token == NO_SESSION else is_open(person, token)

    async def close_session(self, address: Optional[str], message_id: str) -> None:
        """See :meth:`MessageCache.close_session`; a Redis that is away is told later."""
        person = person_of(address)
        async with self._locks.hold(person):
            token = await self._session_of(message_id)
            if not person or token == NO_SESSION:
                return
            if self._shared.ready:
                try:
                    await self._people.update(person, lambda known: known and ended(known, token))
                    return
                except RedisAway:
                    pass
            mine = self._tables.people.get(person)
            if mine is not None:
                self._tables.people.set(person, ended(mine, token))
                await self._missed("person", person)

    async def _session_of(self, message_id: str) -> str:
        record = self._tables.records.get(message_id)
        if record is None:
            try:
                record = await self._people.record(message_id)
            except RedisAway:
                pass
        return NO_SESSION if record is None else record.token

    # -- messages of ours -----------------------------------------------------------

    async def add_outbound(self, message: TransportUserMessage) -> None:
        """See :meth:`MessageCache.add_outbound`; a Redis that is away is told later."""
        if message.to_addr:
            self._tables.recipients.set(message.message_id, message.to_addr)
            await self._missed("recipient", message.message_id)

    async def get_recipient(self, message_id: str) -> Optional[str]:
        """See :meth:`MessageCache.get_recipient`."""
        recipient = self._tables.recipients.get(message_id)
        return await self._sent.recipient(message_id) if recipient is None else recipient

    async def advance_status(self, message_id: str, final: bool) -> bool:
        """See :meth:`MessageCache.advance_status`."""
        if final:
            self._tables.finals.set(message_id, True)
            await self._missed("final", message_id)
            return True
        return self._tables.finals.get(message_id) is None and not await self._sent.is_final(message_id)

    # -- what Redis has not been told --------------------------------------------------

    async def _missed(self, kind: str, key: str) -> None:
        """Write an entry of memory: now, or when Redis is back."""
        if self._shared.ready:
            await self._backlog.write_now(kind, key)
        else:
            self._backlog.add(kind, key)

    def _missed_document(self, kind: Kind, key: str) -> None:
        self._backlog.add("document", f"{kind.lifetime.value}:{kind.name}:{key}")

    async def _catch_up(self, restarted: bool) -> None:
        """
        Write what Redis has not been told.

        :param restarted: it may have lost what it had: it is told everything.
        :raises RedisAway: it has gone again; what is left is kept.
        """
        if restarted:
            for kind, table in (
                ("final", self._tables.finals),
                ("recipient", self._tables.recipients),
                ("record", self._tables.records),
                ("person", self._tables.people),
            ):
                for key in table.keys():
                    self._backlog.add(kind, key)
            if self._shared.alone:  # another worker may know a later one
                for document_kind, key in self._tables.document_names():
                    self._missed_document(document_kind, key)
        await self._backlog.write()

    async def _write_document(self, name: str) -> None:
        lifetime, kind_name, key = name.split(":", 2)
        kind = Kind(kind_name, Lifetime(lifetime))
        await self._documents.write(kind, {key: self._tables.document(kind, key)})


def _milliseconds(seconds: float) -> int:
    return int(1000 * seconds) or 1
