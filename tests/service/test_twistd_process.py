"""How the process ends where a worker cannot start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

from twisted.internet.task import Clock

from tests.cases import case
from tests.service.case import OptionsCase
from vumi_turn.service.twistd_process import TwistdProcess, end_with_failure


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

    def test_process(self) -> None:
        """A failed start leaves no file with the process's id, and twistd's parent hears of it; a good one too."""
        for finish, said, left in (("failed", b"1 the start failed", False), ("started", b"0", True)):
            with case(finish=finish, said=said, left=left):
                read, write = os.pipe()
                path = Path(self.file("twistd.pid", "123"))
                twistd: dict[str, Any] = {"statusPipe": write, "pidfile": str(path)}
                process = TwistdProcess(twistd)
                process.starting()
                self.assertIsNone(twistd["statusPipe"])
                getattr(process, finish)()
                self.assertEqual(os.read(read, 100), said)
                self.assertEqual(os.read(read, 100), b"")
                self.assertEqual(path.exists(), left)
                os.close(read)

    def test_no_daemon(self) -> None:
        """Without a daemon nobody waits; without a file there is none to remove."""
        for options in (None, {"pidfile": ""}, {"pidfile": str(self.folder / "gone.pid"), "statusPipe": None}):
            process = TwistdProcess(options)
            process.starting()
            process.started()
            process.failed()
