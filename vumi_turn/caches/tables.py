"""What a worker holds of the cache in its own memory."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, NamedTuple, Optional

from twisted.internet.interfaces import IReactorTime

from ..timing.shared_bound import Bound
from ..vumi.messages import TransportUserMessage
from .addresses import person_of
from .config import CacheConfig
from .documents import Document, Kind, Lifetime
from .expiring import ExpiringTable
from .person import Arrival, Person, heard, stamp_of

#: The metadata of most messages; one object for all of them.
_NO_METADATA: dict[str, Any] = {}
_DEFAULT_ROUTING = {"endpoint_name": "default"}


class Record(NamedTuple):
    """
    An inbound message.

    :ivar message: without its content.
    :ivar token: of the session it is in, see :mod:`.person`.
    """

    message: TransportUserMessage
    token: str


@dataclass(frozen=True)
class Bounds:
    """Bounds that the caches of one process share: one for each thing of which they keep many."""

    inbound: Bound = field(default_factory=Bound)
    people: Bound = field(default_factory=Bound)
    outbound: Bound = field(default_factory=Bound)
    finals: Bound = field(default_factory=Bound)
    documents: Bound = field(default_factory=Bound)
    open_requests: Bound = field(default_factory=Bound)
    answered_requests: Bound = field(default_factory=Bound)
    answered_ids: Bound = field(default_factory=Bound)
    backlog: Bound = field(default_factory=Bound)


class Tables:
    """
    The tables.

    :param clock: tells the time.
    :param options: their sizes and timeouts.
    :param bounds: shared with other caches of the process.
    """

    def __init__(self, clock: IReactorTime, options: CacheConfig, bounds: Optional[Bounds] = None) -> None:
        limit, short, long = options.max_messages, options.timeout, options.outbound_timeout
        bounds = bounds or Bounds()
        self.records: ExpiringTable[Record] = ExpiringTable(clock, short, limit, bounds.inbound)
        self.people: ExpiringTable[Person] = ExpiringTable(clock, short, limit, bounds.people)
        self.recipients: ExpiringTable[str] = ExpiringTable(clock, long, limit, bounds.outbound)
        self.finals: ExpiringTable[bool] = ExpiringTable(clock, long, limit, bounds.finals)
        self._documents = {
            Lifetime.TIMEOUT: ExpiringTable[Document](clock, short, limit, bounds.documents),
            Lifetime.OUTBOUND_TIMEOUT: ExpiringTable[Document](clock, long, limit, bounds.documents),
        }

    @property
    def size(self) -> int:
        """Inbound and outbound messages."""
        return len(self.records) + len(self.recipients)

    def clear(self) -> None:
        """Forget all."""
        self.records.clear()
        self.people.clear()
        self.recipients.clear()
        self.finals.clear()
        for table in self._documents.values():
            table.clear()

    def hear(self, person: str, message: TransportUserMessage, arrival: Arrival, seen: int) -> bool:
        """
        Add a message.

        :param person: its sender; empty for nobody.
        :return: False if it was known.
        """
        known = self.records.get(message.message_id)
        before = self.people.get(person) if person else None
        if known is not None and is_known(known, message, arrival) and (before is not None or not person):
            # For as long again: Turn is about to hear of it once more, and may answer.
            self.records.set(message.message_id, known)
            if before is not None:
                self.people.set(person, before)
            return False
        after, token = heard(before, message, arrival, seen)
        self.records.set(message.message_id, Record(message, token))
        if person and after is not None:
            self.people.set(person, after)
        return True

    def last_id(self, address: str) -> Optional[str]:
        """The id of a person's last message, also if its session is closed."""
        person = self.people.get(person_of(address))
        return None if person is None else person.message_id

    def document(self, kind: Kind, key: str) -> Optional[Document]:
        """A document, or None."""
        return self._documents[kind.lifetime].get(f"{kind.name}:{key}")

    def document_names(self) -> Iterator[tuple[Kind, str]]:
        """The kind and key of each document."""
        for lifetime, table in self._documents.items():
            for name in table.keys():
                kind, _, key = name.partition(":")
                yield Kind(kind, lifetime), key

    def set_documents(self, kind: Kind, documents: Mapping[str, Optional[Document]]) -> None:
        """Write documents; None removes one."""
        table = self._documents[kind.lifetime]
        for key, document in documents.items():
            if document is None:
                table.remove(f"{kind.name}:{key}")
            else:
                table.set(f"{kind.name}:{key}", document)


def is_known(record: Optional[Record], message: TransportUserMessage, arrival: Arrival) -> bool:
    """
    Whether a message is the recorded one that comes again, flagged or not. A
    transport may use one id for two messages: the second has another timestamp.
    """
    if record is None:
        return False
    return arrival is Arrival.AGAIN or stamp_of(record.message) == stamp_of(message)


def lean(message: TransportUserMessage) -> TransportUserMessage:
    """
    What a cache keeps of a message: what a reply needs, without the content,
    and with the parts that most messages have in common once in memory.
    """
    bare = message.bare()
    put = object.__setattr__
    for name, value in (
        ("transport_metadata", message.transport_metadata),
        ("helper_metadata", message.helper_metadata),
    ):
        put(bare, name, {sys.intern(key): value[key] for key in value} if value else _NO_METADATA)
    if message.routing_metadata == _DEFAULT_ROUTING:
        put(bare, "routing_metadata", _DEFAULT_ROUTING)
    for name, text in (
        ("to_addr", message.to_addr),
        ("transport_name", message.transport_name),
        ("transport_type", message.transport_type),
        ("provider", message.provider),
    ):
        if type(text) is str:
            put(bare, name, sys.intern(text))
    return bare
