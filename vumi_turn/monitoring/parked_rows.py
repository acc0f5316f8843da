"""One parked message as a page lists it, and which of them are meant."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Mapping, Optional

from ..failures.parked import Parked
from .trace import PersonHash

#: Characters of a message that are shown, where messages are shown at all.
MOST_CONTENT = 500

#: Reasons that go on with words of what was parked.
QUOTING = ("Not a vumi message", "Not a failure message")

#: What separates our reason from Turn's own words: see DeadLetter.full_reason.
_TURN_SAYS = " Turn says: "


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """
    One parked message.

    :ivar connector: whose failures queue it is in.
    :ivar id: its ``message_id`` or ``event_id``.
    :ivar digest: tells it from others with the same id.
    :ivar queue: ``inbound`` or ``event``; None where it cannot be replayed.
    :ivar code: ``permanent``, ``temporary`` or ``unreadable``.
    :ivar reason: why it was parked.
    :ivar words: Turn's own words, masked.
    :ivar when: Unix seconds.
    :ivar attempts: how often it was sent.
    :ivar last_status: Turn's last HTTP status.
    :ivar person: the hash of the person's address.
    :ivar content: what the person wrote; None where that is not shown.
    """

    connector: str
    id: str
    digest: str
    queue: Optional[str]
    code: str
    reason: str
    words: str
    when: Optional[float]
    attempts: Optional[int]
    last_status: Optional[int]
    person: Optional[str]
    content: Optional[str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ParkedFilter:
    """
    Which parked messages are meant: those for which everything that is given here holds.

    :ivar connector: of this channel; None is any.
    :ivar ids: with one of these ids.
    :ivar digests: with one of these digests.
    :ivar reason: a text that their reason, or Turn's words, contain, in any letter case.
    :ivar person: the hash of the person's address.
    :ivar older_than: seconds since they were parked, at least.
    :ivar newer_than: seconds since they were parked, at most.
    :ivar status: the last HTTP status of Turn's; 0 for none.
    """

    connector: Optional[str] = None
    ids: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()
    reason: Optional[str] = None
    person: Optional[str] = None
    older_than: Optional[float] = None
    newer_than: Optional[float] = None
    status: Optional[int] = None

    @property
    def chooses(self) -> bool:
        """Whether it says more than a channel."""
        return replace(self, connector=None) != ParkedFilter()

    def matches(self, row: ParkedRow, now: float) -> bool:
        """
        :param now: Unix seconds.
        :return: whether a row is meant. One that does not say what is asked for is not.
        """
        age = None if row.when is None else now - row.when
        return (
            (self.connector is None or self.connector == row.connector)
            and (not self.ids or row.id in self.ids)
            and (not self.digests or row.digest in self.digests)
            and (self.reason is None or self.reason.casefold() in f"{row.reason} {row.words}".casefold())
            and (self.person is None or self.person == row.person)
            and (self.older_than is None or (age is not None and age >= self.older_than))
            and (self.newer_than is None or (age is not None and age <= self.newer_than))
            and (self.status is None or self.status == (row.last_status or 0))
        )


def row_of(connector: str, parked: Parked, person_hash: PersonHash, content: bool) -> ParkedRow:
    """
    :param connector: whose failures queue it is in.
    :param person_hash: hashes the person's address.
    :param content: whether what people wrote is shown.
    """
    reason, _, words = parked.reason.partition(_TURN_SAYS)
    person = parked.person
    return ParkedRow(
        connector,
        parked.id,
        parked.digest,
        parked.queue,
        parked.code,
        reason if content else _without_quotes(reason),
        words,
        None if parked.when is None else parked.when.timestamp(),
        parked.attempts,
        parked.last_status,
        None if person is None else person_hash.of(person),
        _content_of(parked.original) if content else None,
    )


def _without_quotes(reason: str) -> str:
    """A reason without what it quotes of a message that is none."""
    start, separator, _ = reason.partition(": ")
    return f"{start}; vumi_turn_failures list says why" if separator and start in QUOTING else reason


def _content_of(original: Any) -> str:
    """What a person wrote; all of it where it is no message."""
    if isinstance(original, Mapping):
        content = original.get("content")
        return "" if content is None else str(content)[:MOST_CONTENT]
    return str(original)[:MOST_CONTENT].encode("utf-8", "replace").decode("utf-8")
