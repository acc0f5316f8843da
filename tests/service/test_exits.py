"""How the process ends where a worker cannot start."""

from __future__ import annotations

import os
from typing import Callable

from twisted.internet.task import Clock

from tests.service.case import OptionsCase
from vumi_turn.service.exits import end_with_failure


class FakeReactor(Clock):
    """A reactor that only notes that it is stopped, and what is to happen after that."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0
        self.triggers: list[tuple[str, str, Callable[[], None]]] = []

    def stop(self) -> None:
        self.stops += 1

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], None]) -> None:
        self.triggers.append((phase, event, call))


class EndTests(OptionsCase):
    def test_end_with_failure(self) -> None:
        """A worker that cannot start stops the reactor in its next turn; the process then ends with status 1."""
        clock = FakeReactor()
        statuses: list[int] = []
        self.patch(os, "_exit", statuses.append)
        end_with_failure(clock)
        self.assertEqual((clock.stops, statuses), (0, []))
        clock.advance(0)
        self.assertEqual((clock.stops, statuses), (1, []))
        ((phase, event, call),) = clock.triggers
        self.assertEqual((phase, event), ("after", "shutdown"))
        call()
        self.assertEqual(statuses, [1])
