"""What integration tests need to find on the machine, and what happens where it is missing."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Iterable, NoReturn
from unittest import SkipTest

#: Set to 1 to make a missing server a failure; ``CI=true`` does so too.
REQUIRE = "VUMI_TURN_REQUIRE_SERVERS"

#: The ports that this process has been given.
_reserved: set[int] = set()


def servers_are_required() -> bool:
    """Whether a missing server is a failure."""
    return os.environ.get("CI", "").lower() == "true" or os.environ.get(REQUIRE) == "1"


def missing(what: str, hint: str) -> NoReturn:
    """
    Skip the test, or fail it where nothing may be missing.

    :param what: what was looked for.
    :param hint: how to get it.
    """
    sentence = f"{what} is not on this machine: {hint}"
    if servers_are_required():
        raise AssertionError(sentence)
    raise SkipTest(sentence)


def find_program(variable: str, candidates: Iterable[str], what: str, hint: str) -> str:
    """
    The path of a program.

    :param variable: the environment variable that names it, first of all.
    :param candidates: paths, or names to look for on PATH.
    """
    named = os.environ.get(variable)
    for candidate in [named] if named else candidates:
        if os.sep in candidate:
            if Path(candidate).is_file():
                return candidate
        else:
            found = shutil.which(candidate)
            if found:
                return found
    missing(what, f"{hint}; or name it in {variable}")


def free_port() -> int:
    """
    A TCP port of 127.0.0.1 that nobody listens on just now, and that no other
    process of tests is given while this one lives: a server that is down for
    a moment finds its port again.

    None of those that the system gives to outgoing connections, for the same reason.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        if not _reserve(port):
            continue
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _reserve(port: int) -> bool:
    """Whether a port is this process's now: a lock of one byte of a file that all processes of tests share."""
    if port in _reserved:
        return False
    try:
        fcntl.lockf(_port_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _reserved.add(port)
    return True


@lru_cache(maxsize=None)
def _port_locks() -> BinaryIO:
    """Open once: a process that closed it would lose all of its locks."""
    return open(Path(tempfile.gettempdir()) / f"vumi_turn_test_ports.{os.getuid()}", "ab")
