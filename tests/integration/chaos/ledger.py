"""What was said, asked, seen and killed in a run: plain records, and no opinion on them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Optional

MESSAGE, STATUS = "message", "status"

#: What is to become of something that was said.
#: A key may turn a page; then Turn hears nothing of it.
TO_TURN, REFUSED, POISON, JUNK, NOTHING, KEY = "to Turn", "refused", "poison", "junk", "nothing", "key"

#: Those that Turn need not hear of.
QUIET = (NOTHING, KEY)

#: What Turn did with a request. It has taken those of :data:`TAKEN`.
ACCEPTED, LIED, CUT, THROTTLED, FAILED, DROPPED, HUNG = (
    "accepted",
    "lied",
    "cut",
    "throttled",
    "failed",
    "dropped",
    "hung",
)
TAKEN = frozenset({ACCEPTED, LIED, CUT})

#: The environment's variable with the seconds after which a worker gives back what it holds.
STAY = "VUMI_TURN_CHAOS_STAY"

WORKER, BROKER, TURN = "worker", "broker", "Turn"


@dataclass
class Said:
    """
    Something that was put into a queue which the worker consumes.

    :ivar key: how Turn, and the failures queue, name it.
    :ivar line: those of the same line have to reach Turn in the order of :attr:`number`.
    :ivar certain: RabbitMQ has confirmed it; else nobody knows whether it is there.
    """

    kind: str
    key: str
    line: str
    number: int
    expect: str
    certain: bool = True
    at: float = 0.0


@dataclass
class Seen:
    """
    One request at Turn.

    :ivar began: when Turn had read it; this and all times are of the monotonic clock.
    :ivar request: the server's own record, which knows when it was answered.
    """

    kind: str
    key: str
    fate: str
    began: float
    request: Any = None

    @property
    def ended(self) -> Optional[float]:
        """When it was answered, None if it was not."""
        ended: Optional[float] = self.request.ended
        return ended


@dataclass
class Attempt:
    """One POST of Turn's: what came of it, and whether Turn hung up by itself."""

    began: float
    ended: float
    status: Optional[int]
    message_id: Optional[str] = None
    left: bool = False


@dataclass
class Asked:
    """What Turn wants to be sent: the same body until it is answered 200."""

    marker: str
    body: bytes
    attempts: list[Attempt] = field(default_factory=list)
    person: str = ""

    @property
    def answer(self) -> Optional[Attempt]:
        """The attempt that was answered 200."""
        return self.attempts[-1] if self.attempts and self.attempts[-1].status == 200 else None


@dataclass(frozen=True)
class Found:
    """
    One text of what lay in the outbound queue: a message may be joined of several.

    :ivar publish_id: of this publish: the same again is only the broker's repeat.
    :ivar person: to whom it goes.
    :ivar more: whether there is a further page.
    """

    publish_id: str
    message_id: str
    marker: str
    at: float = 0.0
    person: str = ""
    more: bool = False


@dataclass(frozen=True)
class Parked:
    """What lay in the failures queue; ``failed_at`` by the monotonic clock."""

    kind: str
    key: str
    code: str
    last_status: Optional[int]
    failed_at: float


@dataclass
class Death:
    """
    A process that was ended, or connections that Turn cut.

    :ivar how: the signal's name.
    :ivar began: when the signal was sent.
    :ivar gone: when the process was gone.
    :ivar back: when it worked again, None if it has not.
    """

    who: str
    how: str
    began: float
    gone: float
    back: Optional[float] = None


class Ledger:
    """Everything of one run. Threads add to it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.said: dict[str, Said] = {}
        self.seen: list[Seen] = []
        self.taken: set[str] = set()
        self.asked: list[Asked] = []
        self.found: dict[str, Found] = {}
        self.parked: list[Parked] = []
        self.queued: set[str] = set()
        self.deaths: list[Death] = []
        self.faults: dict[str, int] = {}
        self.tracebacks: list[str] = []
        self._number = 0

    def say(self, kind: str, key: str, line: str, expect: str) -> Said:
        """Something is about to be published."""
        with self.lock:
            self._number += 1
            said = self.said[key] = Said(kind, key, line, self._number, expect, at=time.monotonic())
            return said

    def see(self, seen: Seen) -> None:
        """Turn has read a request."""
        with self.lock:
            self.seen.append(seen)
            if seen.fate in TAKEN:
                self.taken.add(seen.key)

    def told(self, status: str) -> set[str]:
        """The messages of which Turn has taken this status."""
        return {key.split(" ")[0] for key in self.taken if key.endswith(f" {status}")}

    def count_fault(self, trouble: str) -> None:
        """Count a trouble."""
        with self.lock:
            self.faults[trouble] = self.faults.get(trouble, 0) + 1

    def history(self) -> str:
        """All that happened, a line each, by the seconds since the first of it; for whoever looks for a cause."""
        lines: list[tuple[float, str]] = []
        for seen in list(self.seen):
            lines.append((seen.began, f"{seen.kind} {seen.key}: {seen.fate}, {_for(seen.began, seen.ended)}"))
        for death in self.deaths:
            lines.append((death.began, f"{death.who} {death.how}, {_for(death.began, death.back)}"))
        for parked in self.parked:
            lines.append((parked.failed_at, f"{parked.kind} {parked.key}: parked {parked.code} ({parked.last_status})"))
        for asked in self.asked:
            for attempt in asked.attempts:
                what = f"asked {asked.marker}: {attempt.status} {attempt.message_id or ''}"
                lines.append((attempt.began, f"{what}, {_for(attempt.began, attempt.ended)}"))
        for said in self.said.values():
            lines.append((said.at, f"said {said.number} {said.kind} {said.key} in {said.line}, {said.certain}"))
        for found in self.found.values():
            lines.append((found.at, f"found {found.message_id} {found.marker} as {found.publish_id}"))
        zero = min((when for when, _ in lines), default=0.0)
        return "\n".join(f"{when - zero:9.3f} {line}" for when, line in sorted(lines))


def _for(began: float, ended: Optional[float]) -> str:
    return "unanswered" if ended is None else f"{ended - began:.3f} s"
