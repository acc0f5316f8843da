"""How the simulated phone network behaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..faults import MAX_DELAY, check_choice, check_number


@dataclass(frozen=True)
class NetworkFaults:
    """
    How the phone network behaves towards messages to people.

    :ivar mode: ``up``; ``nack`` refuses each message; ``fail`` takes it and
        reports that it was not delivered; ``late`` delivers after ``delay``.
    :ivar delay: seconds, for ``late``.
    """

    mode: str = "up"
    delay: float = 10.0

    MODES: ClassVar[tuple[str, ...]] = ("up", "nack", "fail", "late")

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, self.MODES)
        check_number("delay", self.delay, 0, MAX_DELAY)
