"""One parked message as it is read from the failures queue, and which of them are meant."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Collection, Optional

from ..broker.interface import Delivery
from ..vumi.messages import FailureMessage, MalformedMessage, parse_vumi_date
from ..vumi.messages.base import text_of
from . import headers
from .queue import original_of

#: Where a replay can put a message.
QUEUES = ("inbound", "event", "outbound")


@dataclass(frozen=True)
class Parked:
    """
    One parked message.

    :ivar id: the original's ``message_id`` or ``event_id``; where it has none,
        a digest of the parked bytes.
    :ivar digest: of the parked bytes.
    :ivar queue: ``inbound``, ``event`` or ``outbound``; None where the failure message does
        not say, so that it cannot be replayed.
    :ivar code: ``permanent`` or ``temporary``; ``unreadable`` where it is no failure message.
    :ivar reason: why it was parked.
    :ivar when: when it was parked.
    :ivar original: the JSON object, or the text where it was none.
    :ivar delivery: settles it.
    :ivar attempts: how often it was sent to Turn; None where that is not known.
    :ivar last_status: the last HTTP status of Turn's.
    :ivar raw: the original's bytes, where it was parked as it came.
    :ivar choice: what the person chose from a menu; a replay uses it again.
    """

    id: str
    digest: str
    queue: Optional[str]
    code: str
    reason: str
    when: Optional[datetime]
    original: Any
    delivery: Delivery
    attempts: Optional[int] = None
    last_status: Optional[int] = None
    raw: Optional[bytes] = None
    choice: Optional[dict[str, Any]] = field(default=None, repr=False)

    @property
    def person(self) -> Optional[str]:
        """The address of the person whose message it is; None for events, and where there is none."""
        found = text_of(self.original.get("from_addr")) if isinstance(self.original, dict) else None
        return found if isinstance(found, str) else None


def read_parked(delivery: Delivery) -> Parked:
    """What a delivery from a failures queue holds; junk is shown as such, never an error."""
    digest = "digest-" + hashlib.blake2b(delivery.body, digest_size=8).hexdigest()
    if isinstance(delivery.headers.get(headers.QUEUE), str):
        return _read_raw(delivery, digest)
    try:
        failure = FailureMessage.from_json(delivery.body)
    except MalformedMessage as error:
        text = delivery.body.decode("utf-8", "backslashreplace")
        return Parked(digest, digest, None, "unreadable", f"Not a failure message: {error}", None, text, delivery)
    turn = failure.helper_metadata.get("turn")
    turn = turn if isinstance(turn, dict) else {}
    queue = turn.get("queue")
    return Parked(
        _id_of(failure.message, digest),
        digest,
        queue if queue in QUEUES else None,
        failure.failure_code,
        failure.reason,
        failure.timestamp,
        failure.message,
        delivery,
        _number(turn.get("attempts")),
        _number(turn.get("last_status")),
        choice=turn["choice"] if isinstance(turn.get("choice"), dict) else None,
    )


def _read_raw(delivery: Delivery, digest: str) -> Parked:
    """A message that was parked as it came, because its failure message would have been too large."""
    found = delivery.headers
    original = original_of(delivery.body)
    queue = found[headers.QUEUE]
    try:
        when = parse_vumi_date(str(found.get(headers.FAILED_AT)))
    except ValueError:
        when = None
    return Parked(
        _id_of(original, digest),
        digest,
        queue if queue in QUEUES else None,
        str(found.get(headers.CODE, FailureMessage.PERMANENT)),
        str(found.get(headers.REASON, "")),
        when,
        original,
        delivery,
        _number(found.get(headers.ATTEMPTS)),
        _number(found.get(headers.LAST_STATUS)),
        delivery.body,
        headers.choice_in(found),
    )


def _id_of(original: Any, digest: str) -> str:
    ids = [text_of(original.get(key)) for key in ("event_id", "message_id")] if isinstance(original, dict) else []
    return next((name for name in ids if isinstance(name, str) and name), digest)


def _number(value: object) -> Optional[int]:
    return value if type(value) is int else None


@dataclass(frozen=True)
class Selection:
    """
    Which parked messages are meant: those for which everything that is given here holds.

    :ivar ids: their ids; empty is any.
    :ivar reason: a text that their reason contains, upper and lower case alike.
    :ivar person: the address of the person, with or without a leading ``+``.
    :ivar older_than: seconds since they were parked, at least.
    :ivar newer_than: seconds since they were parked, at most.
    :ivar status: the last HTTP status of Turn's; 0 for none.
    """

    ids: Collection[str] = ()
    reason: Optional[str] = None
    person: Optional[str] = None
    older_than: Optional[float] = None
    newer_than: Optional[float] = None
    status: Optional[int] = None

    def matches(self, parked: Parked, now: float) -> bool:
        """
        :param now: Unix seconds.
        :return: whether it is meant. One that does not say what is asked for is not.
        """
        age = None if parked.when is None else now - parked.when.timestamp()
        return (
            (not self.ids or parked.id in self.ids)
            and (self.reason is None or self.reason.casefold() in parked.reason.casefold())
            and (self.person is None or _bare(self.person) == _bare(parked.person))
            and (self.older_than is None or (age is not None and age >= self.older_than))
            and (self.newer_than is None or (age is not None and age <= self.newer_than))
            and (self.status is None or self.status == (parked.last_status or 0))
        )


def _bare(address: Optional[str]) -> Optional[str]:
    return None if address is None else address.strip().removeprefix("+")
