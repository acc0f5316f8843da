"""What is not there now, and may be there later."""

from __future__ import annotations


class TemporarilyUnavailable(Exception):
    """Something outside the program cannot be reached; the same call may work later."""
