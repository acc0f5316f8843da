"""People and their messages in Redis, changed so that no worker's change is lost."""

from __future__ import annotations

from typing import Any, Callable, Optional

from ..vumi.messages import TransportUserMessage
from .addresses import person_of
from .person import Arrival, Person, heard
from .redis_backlog import merged
from .redis_connection import ScriptFailed
from .redis_documents import TRIES
from .redis_format import (
    ADD_INBOUND,
    GET,
    GET_PERSON,
    KEEP,
    PUT_NEW,
    REPLACE,
    decode_person,
    decode_record,
    encode_person,
    encode_record,
)
from .redis_shared import SharedRedis
from .tables import Record, Tables, is_known

Text = Any  # str, or the bytes that Redis has answered


class RedisPeople:
    """
    Every method but those for memory raises RedisAway where Redis was not
    asked, or its answer is not known. What is learned is kept in memory.

    :param shared: Redis.
    :param tables: this worker's memory. It is what a change starts from: it is
        right as a rule, and where it is not Redis says what is.
    :param prefix: comes before each key.
    :param timeout: milliseconds for which people and messages are kept.
    """

    def __init__(self, shared: SharedRedis, tables: Tables, prefix: str, timeout: int) -> None:
        self._shared = shared
        self._tables = tables
        self._prefix = prefix
        self._timeout = timeout

    async def hear(self, person: str, message: TransportUserMessage, arrival: Arrival, seen: int) -> None:
        """
        Add a message; see :meth:`.tables.Tables.hear`.

        :param person: its sender, not empty.
        """
        record, before = self._tables.records.get(message.message_id), self._tables.people.get(person)
        there: Text = "" if record is None else "there"
        expected: Text = encode_person(before)
        keys = (self._record_key(message.message_id), self._person_key(person), self._shared.workers_key)
        for _ in range(TRIES):
            if before is not None and record is not None and is_known(record, message, arrival):
                if arrival is Arrival.AGAIN:
                    values = (encode_record(record), encode_person(before))
                    await self._shared.run(KEEP, keys[:2], (self._timeout, *values))
                self._keep(person, before, record)
                return
            after, token = heard(before, message, arrival, seen)
            added = Record(message, token)
            arguments = (there, expected, encode_record(added), encode_person(after), self._timeout)
            answer = await self._shared.run(ADD_INBOUND, keys, arguments)
            if not isinstance(answer, list):
                self._keep(person, after, added)
                self._shared.count_workers(answer)
                return
            there, expected = answer
            record, before = self._record_of(there), self._person_of(expected)
        raise ScriptFailed("somebody else's message always came first")

    async def update(self, person: str, change: Callable[[Optional[Person]], Optional[Person]]) -> None:
        """
        Change what is known of a person.

        :param change: may be called several times.
        """
        before = self._tables.people.get(person)
        expected: Text = encode_person(before)
        for _ in range(TRIES):
            after = change(before)
            arguments = (expected, encode_person(after), self._timeout)
            answer = await self._shared.run(REPLACE, (self._person_key(person),), arguments)
            if answer is None:
                self._keep(person, after, None)
                return
            (expected,) = answer
            before = self._person_of(expected)
        raise ScriptFailed("somebody else's change always came first")

    async def person(self, person: str) -> Optional[Person]:
        """
        What all workers know of a person. Redis also has to write something: if
        it would refuse the others' writes, it says so.
        """
        key, arguments = self._shared.probe
        keys = (self._person_key(person), key, self._shared.workers_key)
        found, workers = await self._shared.run(GET_PERSON, keys, arguments)
        self._shared.count_workers(workers)
        return self._person_of(found)

    async def record(self, message_id: str) -> Optional[Record]:
        """A message."""
        return self._record_of(await self._shared.run(GET, (self._record_key(message_id),)))

    async def write_person(self, person: str) -> None:
        """Write what memory knows of a person, together with what Redis knows by now."""
        mine = self._tables.people.get(person)
        if mine is not None:
            await self.update(person, lambda shared: merged(mine, shared))

    async def write_record(self, message_id: str) -> None:
        """Write a message that memory has, if Redis does not have it."""
        record = self._tables.records.get(message_id)
        if record is not None:
            await self._shared.run(PUT_NEW, (self._record_key(message_id),), (self._timeout, encode_record(record)))

    def key_of(self, address: str) -> str:
        """The key of the person with an address; its value begins with their last message's id."""
        return self._person_key(person_of(address))

    def _keep(self, person: str, known: Optional[Person], record: Optional[Record]) -> None:
        if known is not None:
            self._tables.people.set(person, known)
        if record is not None:
            self._tables.records.set(record.message.message_id, record)

    def _record_key(self, message_id: str) -> str:
        return f"{self._prefix}in:{message_id}"

    def _person_key(self, person: str) -> str:
        return f"{self._prefix}person:{person}"

    def _record_of(self, value: Optional[bytes]) -> Optional[Record]:
        record = decode_record(value) if value else None
        if value and record is None:
            self._shared.note_unreadable()
        return record

    def _person_of(self, value: Optional[bytes]) -> Optional[Person]:
        person = decode_person(value) if value else None
        if value and person is None:
            self._shared.note_unreadable()
        return person
