"""
Replaces the wall clock of the process that calls it; imports nothing of the tests.

:mod:`tests.integration.wall_clock` starts such processes and sets their clock.
"""

from __future__ import annotations

import datetime
import os
import time
from typing import Any, Callable, Optional

#: Names the file in which the clock's offset stands, in seconds.
OFFSET_FILE = "VUMI_TURN_TEST_CLOCK_OFFSET"


def replace_wall_clock() -> None:
    """In the process: let ``time`` and ``datetime`` tell the time that the file has."""
    file = os.environ[OFFSET_FILE]
    machine, machine_ns = time.time, time.time_ns

    def offset() -> float:
        with open(file) as opened:
            return float(opened.read())

    def of_now(convert: Callable[[float], time.struct_time]) -> Callable[[Optional[float]], time.struct_time]:
        def converted(seconds: Optional[float] = None) -> time.struct_time:
            return convert(time.time() if seconds is None else seconds)

        return converted

    replacements: dict[str, Callable[..., Any]] = {
        "time": lambda: machine() + offset(),
        "time_ns": lambda: machine_ns() + int(offset() * 1e9),
        "gmtime": of_now(time.gmtime),
        "localtime": of_now(time.localtime),
    }
    for name, replacement in replacements.items():
        setattr(time, name, replacement)
    setattr(datetime, "datetime", _SetDatetime)  # noqa: B010  # mypy takes no assignment to a class


class _AnyDatetime(type):
    """What C code makes is of the original class."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _SetDatetime.__bases__[0])


class _SetDatetime(datetime.datetime, metaclass=_AnyDatetime):
    """``datetime`` whose now is that of ``time.time``."""

    @classmethod
    def now(cls, tz: Optional[datetime.tzinfo] = None) -> _SetDatetime:
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> _SetDatetime:
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)
