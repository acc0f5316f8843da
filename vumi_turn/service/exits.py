"""What is said on the terminal before a worker runs."""

from __future__ import annotations

import sys
from typing import NoReturn


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
