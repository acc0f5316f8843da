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
    :ivar reason: a sentence that a person can act on; no address, no content. It is logged.
    :ivar attempts: how often it was sent.
    :ivar last_status: the last HTTP status it got, if it got one.
    :ivar words: Turn's own words in its last answer, masked; they are kept and never logged.
    """

    verdict: Enum
    code: str
    reason: str
    attempts: int = 0
    last_status: Optional[int] = None
    words: str = ""

    @property
    def full_reason(self) -> str:
        """The reason with Turn's own words, for the failure message."""
        return f"{self.reason} Turn says: {self.words}" if self.words else self.reason
