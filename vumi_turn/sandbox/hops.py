"""A message's story: what it is, how it stands, and each hop that it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

#: How many hops of one message are remembered.
MAX_HOPS = 40


@dataclass(frozen=True)
class Outcome:
    """
    How a message stands.

    :ivar tone: ``good``, ``warn``, ``bad``, ``info`` or ``idle``.
    :ivar reason: why, where there is more to say.
    """

    text: str
    tone: str
    reason: Optional[str] = None

    @property
    def is_open(self) -> bool:
        """Whether nothing is known yet but that it came or goes."""
        return self.text in ("in the queue", "on its way to the worker")


@dataclass
class Hop:
    """
    One step of a message; the same step again, in vain, is the same hop.

    :ivar name: tells which hop a later line belongs to.
    :ivar source: ``network``, ``broker``, ``worker``, ``turn`` or ``parked``.
    :ivar target: the same, or ``nobody``.
    :ivar what: what passes.
    :ivar at: when it began, in Unix seconds.
    :ivar last_at: when its last repeat began.
    :ivar began: the same by the monotonic clock.
    :ivar count: how often it was done.
    :ivar result: how it ended; None while it has not.
    :ivar seconds: how long its last repeat took.
    :ivar lines: numbers of the traffic log's lines that it was made of.
    """

    name: str
    source: str
    target: str
    what: str
    at: float
    last_at: float
    began: float
    count: int = 1
    result: Optional[str] = None
    tone: str = "info"
    detail: Optional[str] = None
    seconds: Optional[float] = None
    lines: list[int] = field(default_factory=list)

    def close(self, result: str, tone: str, line: Mapping[str, Any]) -> None:
        """It has ended, which a line tells."""
        self.result, self.tone = result, tone
        self.seconds = round(line["clock"] - self.began, 4)
        self.lines.append(line["number"])

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "source": self.source,
            "target": self.target,
            "what": self.what,
            "at": self.at,
            "last_at": self.last_at,
            "count": self.count,
            "result": self.result,
            "tone": self.tone,
            "detail": self.detail,
            "seconds": self.seconds,
            "lines": self.lines[-20:],
        }


@dataclass
class Message:
    """
    One message and its hops.

    :ivar key: its id, or where it has none yet a name of our own.
    :ivar began: when it began, by the monotonic clock; ``ended`` likewise.
    :ivar direction: ``in`` from a person, ``out`` to a person.
    :ivar text: what was said; of an outbound one, what Turn gave as its content.
    :ivar shown: what went to the phone, of an outbound one.
    :ivar said_to_turn: what Turn was told, of an inbound one: a choice's title for its number.
    :ivar tries: how often it was POSTed.
    :ivar answered: whether a message to the person was published that answers it.
    :ivar request: the body of Turn's POST, of an outbound one.
    """

    number: int
    key: str
    id: Optional[str]
    at: float
    began: float
    direction: str
    person: str
    service: str
    text: Optional[str]
    transport: Optional[str]
    session: Optional[str]
    shown: Optional[str] = None
    said_to_turn: Optional[str] = None
    tries: int = 0
    ended: Optional[float] = None
    outcome: Outcome = Outcome("in the queue", "info")
    request: Any = None
    answered: bool = False
    hops: list[Hop] = field(default_factory=list)

    def last_hop(self, name: str) -> Optional[Hop]:
        """The latest hop of a name."""
        return next((hop for hop in reversed(self.hops) if hop.name == name), None)

    def open_hop(
        self, name: str, source: str, target: str, what: str, line: Mapping[str, Any], detail: Optional[str] = None
    ) -> Hop:
        """A hop begins; the one before is repeated where it was the same and ended badly."""
        last = self.hops[-1] if self.hops else None
        if last is not None and last.name == name and last.tone == "bad":
            last.count, last.last_at, last.began = last.count + 1, line["at"], line["clock"]
            last.result, last.tone = None, "info"
            last.lines.append(line["number"])
            return last
        hop = Hop(
            name, source, target, what, line["at"], line["at"], line["clock"], detail=detail, lines=[line["number"]]
        )
        self.hops.append(hop)
        del self.hops[:-MAX_HOPS]
        return hop

    def add_hop(
        self,
        name: str,
        source: str,
        target: str,
        what: str,
        line: Mapping[str, Any],
        detail: Optional[str] = None,
        tone: str = "good",
    ) -> None:
        """A hop that has no end of its own."""
        hop = self.open_hop(name, source, target, what, line, detail)
        hop.result, hop.tone = "", tone

    def close_hop(self, name: str, result: str, tone: str, clock: float) -> None:
        """The latest hop of a name has ended."""
        hop = self.last_hop(name)
        if hop is not None:
            hop.result, hop.tone, hop.seconds = result, tone, round(clock - hop.began, 4)

    def join(self, other: Message) -> None:
        """Take over the hops and the outcome of what turned out to be the same message."""
        self.hops = sorted([*self.hops, *other.hops], key=lambda hop: hop.at)[-MAX_HOPS:]
        self.shown, self.transport = other.shown or other.text, other.transport
        self.session, self.outcome, self.ended = other.session, other.outcome, other.ended

    def to_dict(self) -> dict[str, Any]:
        """As JSON; ``seconds`` is from its beginning until Turn, or the network, had it."""
        ended = self.ended
        if ended is None and self.direction == "out" and self.outcome.text in ("sent", "delivered"):
            ended = next((hop.began for hop in self.hops if hop.name.startswith("publish network event")), None)
        return {
            "number": self.number,
            "key": self.key,
            "id": self.id,
            "at": self.at,
            "direction": self.direction,
            "person": self.person,
            "service": self.service,
            "text": self.text,
            "shown": self.shown if self.shown != self.text else None,
            "said_to_turn": self.said_to_turn if self.said_to_turn != self.text else None,
            "transport": self.transport,
            "session": self.session,
            "tries": self.tries,
            "seconds": None if ended is None else round(ended - self.began, 4),
            "outcome": {"text": self.outcome.text, "tone": self.outcome.tone, "reason": self.outcome.reason},
            "hops": [hop.to_dict() for hop in self.hops],
        }


def same_address(one: str, other: str) -> bool:
    """Whether two addresses are one person's: a leading + makes no difference."""
    return one.removeprefix("+") == other.removeprefix("+")
