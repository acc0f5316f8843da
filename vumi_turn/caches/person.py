"""
What a cache knows of one person: their last message, and their latest session.

A value, and the rules by which a message changes it. Both caches use them, so
that one worker and many decide alike.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import NamedTuple, Optional

from ..vumi.messages import TransportUserMessage
from .session_marks import Marks, common, marks_of, told_apart

#: The token of a message that is in no session, an SMS say.
NO_SESSION = ""


class Arrival(Enum):
    """
    How a message came.

    FIRST: delivered for the first time. It is the latest, whatever its timestamp says.
    LATE: the same, but this cache is told of it only now. What was consumed after it is later.
    AGAIN: redelivered, or replayed. Only its timestamp says where it belongs.
    """

    FIRST = "first"
    LATE = "late"
    AGAIN = "again"


class Person(NamedTuple):
    """
    One person.

    :ivar message_id: of their last message.
    :ivar token: of the session which that message is in; :data:`NO_SESSION` for none.
    :ivar stamp: its timestamp in microseconds, but not later than ``seen``: a
        transport's clock may be ahead.
    :ivar seen: when it was consumed, in microseconds of the worker's wall clock.
    :ivar session: the token of their latest session; :data:`NO_SESSION` for none.
    :ivar marks: what that session's messages have in common.
    :ivar closed: whether that session has ended.
    """

    message_id: str
    token: str
    stamp: int
    seen: int
    session: str
    marks: Marks
    closed: bool

    @property
    def open(self) -> bool:
        """Whether a message to this person is a reply to their last one."""
        return not (self.closed and self.token == self.session)


def token_of(message_id: str) -> str:
    """The token of a session that begins with this message: 16 hex digits."""
    return hashlib.blake2b(message_id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def stamp_of(message: TransportUserMessage) -> int:
    """A message's timestamp in microseconds."""
    return int(message.timestamp.timestamp()) * 1_000_000 + message.timestamp.microsecond


def heard(
    person: Optional[Person], message: TransportUserMessage, arrival: Arrival, seen: int
) -> tuple[Optional[Person], str]:
    """
    A person's message that the cache did not know.

    :param person: what is known of its sender.
    :param message: the message.
    :param arrival: how it came.
    :param seen: when it was consumed, in microseconds of the worker's wall clock.
    :return: what is known of the sender now, and the token of the session
        which the message is in.
    """
    event = message.session_event
    marks = marks_of(message.transport_metadata) if event is not None else {}
    token = _session_of(person, message, arrival, marks)
    stamp = min(stamp_of(message), seen)
    closes = event == TransportUserMessage.SESSION_CLOSE
    if person is not None:
        if not _is_latest(person, arrival, stamp, seen):
            return person, token
        if event is None:
            return person._replace(message_id=message.message_id, token=token, stamp=stamp, seen=seen), token
        if token == person.session:
            if closes and person.token != person.session:
                return person._replace(closed=True), token
            if person.closed and not closes:  # it came again: what has ended stays so
                return person, token
            marks = common(person.marks, marks)
        elif closes:  # a session that ends before it is known is not opened by its end
            return person, token
    return Person(message.message_id, token, stamp, seen, token, marks, closes), token


def ended(person: Person, token: str) -> Person:
    """
    A person once a session has been ended by us.

    :param token: of the session; another one than their latest changes nothing.
    """
    if token == NO_SESSION or token != person.session or person.closed:
        return person
    return person._replace(closed=True)


def is_open(person: Person, token: str) -> bool:
    """Whether a session is a person's latest one, and has not ended."""
    return token == person.session and not person.closed


def _session_of(person: Optional[Person], message: TransportUserMessage, arrival: Arrival, marks: Marks) -> str:
    """The token of the session that a message is in, or begins."""
    event = message.session_event
    if event is None:
        return NO_SESSION
    if person is not None and person.session and event != TransportUserMessage.SESSION_NEW:
        closes = event == TransportUserMessage.SESSION_CLOSE
        reopens = person.closed and not closes and arrival is not Arrival.AGAIN
        if not reopens and not told_apart(person.marks, marks, named_only=not closes):
            return person.session
    return token_of(message.message_id)


def _is_latest(person: Person, arrival: Arrival, stamp: int, seen: int) -> bool:
    if arrival is Arrival.FIRST:
        return True
    if arrival is Arrival.LATE:
        return seen >= person.seen
    return stamp > person.stamp or (stamp == person.stamp and person.open)
