"""What the simulated Turn remembers: requests, and what was said with whom."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

#: How many lines of one conversation are remembered.
MAX_ENTRIES = 200


@dataclass
class Record:
    """
    A request of the channel.

    :ivar status: what it was answered, None while it is not, or where it is not at all.
    :ivar answered: whether that is settled.
    """

    number: int
    at: float
    kind: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: Optional[int] = None
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    answer: bytes = b""
    answered: bool = False


@dataclass
class Entry:
    """
    One line of a conversation.

    :ivar direction: ``inbound`` or ``outbound``; ``note`` for what happened to a session.
    :ivar id: the message's id; None while the channel has not given one.
    :ivar statuses: of an outbound message, in the order in which they came.
    :ivar error: why an outbound message was not taken.
    :ivar sending: whether that may still change, because Turn tries again.
    :ivar tries: how often it was POSTed.
    :ivar turn: an outbound message as it was POSTed: its buttons, list or picture.
    :ivar reason: why an outbound message failed on its way to the person, where that is known.
    """

    direction: str
    id: Optional[str]
    text: str
    at: float
    statuses: list[str] = field(default_factory=list)
    error: Optional[str] = None
    waiting: bool = False
    sending: bool = False
    tries: int = 0
    turn: Optional[Mapping[str, Any]] = None
    reason: Optional[str] = None


@dataclass
class Conversation:
    """What was said with one person."""

    address: str
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=MAX_ENTRIES))
