"""How the process ends before a worker runs, and after one could not start."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn


def warn(line: str) -> None:
    """Write a warning to the terminal."""
    print("warning:", line, file=sys.stderr)


def stop(*lines: str) -> NoReturn:
    """
    End the process with exit status 1.

    :param lines: why, each for one line of the terminal.
    """
    for line in lines:
        print("vumi_worker:", " ".join(line.split()), file=sys.stderr)
    raise SystemExit(1)


def end_with_failure(reactor: Any, status: int = 1) -> None:
    """Stop the reactor in order, and end the process with an exit status of failure."""

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    reactor.addSystemEventTrigger("after", "shutdown", end)
    # A set-up may fail before the reactor runs; then it is stopped in its first turn.
    reactor.callLater(0, reactor.stop)
