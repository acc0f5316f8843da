"""Waiting for what another process does, never longer than has to be."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

T = TypeVar("T")

#: Seconds that something which ought to happen at once may take on a busy machine.
SOON = 20.0


def wait_for(look: Callable[[], T], what: str, timeout: float = SOON) -> T:
    """
    Look until there is something to see.

    :param look: gives something true in the end.
    :param what: for the failure's sentence.
    :param timeout: seconds.
    :return: what ``look`` gave.
    """
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}; last seen: {seen!r}")
        time.sleep(0.01)
