"""How the simulated Turn behaves, now and in the requests to come."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import ClassVar, Iterable, Optional

from ..faults import MAX_DELAY, check_choice, check_number, check_whole


@dataclass(frozen=True)
class TurnFaults:
    """
    How Turn behaves.

    :ivar mode: ``up``; ``down`` cuts each connection; ``hang`` never answers;
        ``error`` answers ``status``; ``throttle`` answers 429 with
        ``retry_after``; ``lost_answer`` takes what it got and then cuts.
    :ivar delay: seconds before each answer.
    :ivar status: what ``error`` answers.
    :ivar retry_after: seconds that ``throttle`` tells to wait.
    :ivar times: for how many requests; None is until it is changed.
    :ivar only: ``message`` or ``status``: the other kind has no fault;
        None is both.
    """

    mode: str = "up"
    delay: float = 0.0
    status: int = 500
    retry_after: int = 10
    times: Optional[int] = None
    only: Optional[str] = None

    MODES: ClassVar[tuple[str, ...]] = ("up", "down", "hang", "error", "throttle", "lost_answer")

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, self.MODES)
        check_number("delay", self.delay, 0, MAX_DELAY)
        check_whole("status", self.status, 300, 599)
        check_whole("retry_after", self.retry_after, 0, 600)
        if self.times is not None:
            check_whole("times", self.times, 1, 1_000_000)
        if self.only is not None:
            check_choice("only", self.only, ("message", "status"))


class FaultPlan:
    """
    Turn's faults of now, and of the requests to come.

    :ivar now: what holds when nothing is scripted.
    """

    def __init__(self) -> None:
        self.now = TurnFaults()
        self._script: deque[TurnFaults] = deque()

    def set(self, faults: TurnFaults) -> None:
        """Behave like this from now on, and forget what was scripted."""
        self.now = faults
        self._script.clear()

    def script(self, faults: Iterable[TurnFaults]) -> None:
        """Behave like these one after another, each for its ``times`` (or one) requests, and no fault then."""
        self.now = TurnFaults()
        self._script = deque(one if one.times else replace(one, times=1) for one in faults)

    def next(self, kind: str) -> TurnFaults:
        """The faults of a request of a kind, which counts as one of its ``times``."""
        if self._script:
            faults = self._script[0]
            if not _concerns(faults, kind):
                return TurnFaults()
            rest = _after_one(faults)
            if rest is None:
                self._script.popleft()
            else:
                self._script[0] = rest
            return faults
        faults = self.now
        if not _concerns(faults, kind):
            return TurnFaults()
        if faults.times is not None:
            self.now = _after_one(faults) or TurnFaults()
        return faults

    def to_list(self) -> list[TurnFaults]:
        """The faults that are scripted and still to come."""
        return list(self._script)


def _concerns(faults: TurnFaults, kind: str) -> bool:
    return faults.only is None or faults.only == kind


def _after_one(faults: TurnFaults) -> Optional[TurnFaults]:
    """The same faults with one time less; None when that was the last."""
    assert faults.times is not None
    return replace(faults, times=faults.times - 1) if faults.times > 1 else None
