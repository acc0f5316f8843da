"""
Order: parcels with the same key stand in a line, and go one after another.
"""

from __future__ import annotations

import enum
from collections import deque
from types import CoroutineType
from typing import Any, Coroutine, Optional, cast

from twisted.internet.defer import Deferred

from .request import DeliveryRequest, Result


class State(enum.Enum):
    """Where a journey is."""

    IN_LINE = "in line"
    PREPARING = "preparing"
    #: Between tries, or at the gate.
    WAITING = "waiting"
    #: Between tries of parking.
    UNPARKED = "unparked"
    HELD = "held"
    POSTING = "posting"
    PARKING = "parking"


#: What is under way in these is let to finish.
BUSY = frozenset({State.POSTING, State.PARKING})


class DeliveryTask:
    """
    One parcel's way to its result.

    :ivar outcome: fires with the result.
    :ivar deadline: when it goes back to its queue, in the clock's seconds.
    :ivar over: it has its result; whatever still runs for it matters no more.
    :ivar recalled: it goes back to its queue as soon as what is under way has ended.
    :ivar mark: how many parcels Turn had accepted when this round began.
    :ivar failed: when Turn last did not take it, as a growing number; 0 if that never was.
    :ivar overtaken: Turn took the one behind it just after this one had failed.
    :ivar standing_in: it is tried though it is not its turn.
    :ivar next_tried: fires when the POST of the one behind it has ended; None while there is none.
    """

    __slots__ = (
        "parcel",
        "outcome",
        "deadline",
        "state",
        "over",
        "recalled",
        "mark",
        "failed",
        "overtaken",
        "standing_in",
        "next_tried",
        "_coroutine",
        "_task",
    )

    def __init__(self, parcel: DeliveryRequest, deadline: float) -> None:
        self.parcel = parcel
        self.outcome: Deferred[Result] = Deferred()
        self.deadline = deadline
        self.state = State.IN_LINE
        self.over = False
        self.recalled = False
        self.mark = 0
        self.failed = 0
        self.overtaken = False
        self.standing_in = False
        self.next_tried: Optional[Deferred[None]] = None
        self._coroutine: Optional[CoroutineType[Any, Any, None]] = None
        self._task: Optional[Deferred[None]] = None

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start what takes the parcel along; it must not raise."""
        self._coroutine = cast("CoroutineType[Any, Any, None]", coroutine)
        self._task = Deferred.fromCoroutine(coroutine)

    def go_on(self) -> None:
        """The one behind it is not being tried any more."""
        tried, self.next_tried = self.next_tried, None
        if tried is not None:
            tried.callback(None)

    def end(self) -> None:
        """Give up what it waits for, unless it is that which ends it."""
        if self._task is not None and self._coroutine is not None and not self._coroutine.cr_running:
            self._task.cancel()

    @property
    def busy(self) -> bool:
        """Something is under way that should be let to finish."""
        return self.state in BUSY

    @property
    def interrupted(self) -> Optional[Result]:
        """The result it has to end with now, whatever it still wanted to do."""
        if self.parcel.lost or self.over:
            return Result.LOST
        if self.recalled:
            return Result.REQUEUE
        return None


class KeyedQueues:
    """The lines; a line exists while somebody stands in it."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], deque[DeliveryTask]] = {}

    def enter(self, journey: DeliveryTask) -> bool:
        """Go to the end of the line. True if that is its head, so that it is its turn."""
        parcel = journey.parcel
        key = (parcel.kind, parcel.key)
        line = self._lines.get(key)
        if line is None:
            self._lines[key] = deque((journey,))
            return True
        line.append(journey)
        return False

    def leave(self, journey: DeliveryTask) -> Optional[DeliveryTask]:
        """Leave the line. Gives the next one if it is now its turn."""
        parcel = journey.parcel
        key = (parcel.kind, parcel.key)
        line = self._lines.get(key)
        if line is None or journey not in line:
            return None
        if line[0] is not journey:
            line.remove(journey)
            return None
        line.popleft()
        if line:
            return line[0]
        del self._lines[key]
        return None

    def cut(self, journey: DeliveryTask) -> list[DeliveryTask]:
        """Take it, and all who stand behind it, out of the line; in line order."""
        parcel = journey.parcel
        key = (parcel.kind, parcel.key)
        line = self._lines.get(key)
        if line is None or journey not in line:
            return [journey]
        cut: list[DeliveryTask] = []
        while not cut or cut[-1] is not journey:
            cut.append(line.pop())
        if not line:
            del self._lines[key]
        return cut[::-1]

    def after(self, journey: DeliveryTask) -> Optional[DeliveryTask]:
        """The one behind the head of a line; None where this is not the head, or alone."""
        line = self._lines.get((journey.parcel.kind, journey.parcel.key))
        return line[1] if line is not None and len(line) > 1 and line[0] is journey else None

    def is_head(self, journey: DeliveryTask) -> bool:
        """Whether it is its turn."""
        line = self._lines.get((journey.parcel.kind, journey.parcel.key))
        return line is not None and line[0] is journey

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._lines

    def __len__(self) -> int:
        return len(self._lines)
