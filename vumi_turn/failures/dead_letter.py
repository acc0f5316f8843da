"""Why a message is kept in the failures queue."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional

#: A replay can work only once something has been mended.
PERMANENT = "permanent"
#: A replay may simply work.
TEMPORARY = "temporary"


@dataclass(frozen=True)
class DeadLetter:
    """
    Why a message is parked.

    :ivar verdict: the class of what happened.
    :ivar code: ``permanent`` or ``temporary``: whether a replay can work.
    :ivar reason: a sentence that a person can act on; no address, no content.
    :ivar attempts: how often it was sent.
    :ivar last_status: the last HTTP status it got, if it got one.
    """

    verdict: Enum
    code: str
    reason: str
    attempts: int = 0
    last_status: Optional[int] = None
