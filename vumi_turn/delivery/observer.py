"""
Counting, which must never change what is counted.
"""

from __future__ import annotations

from typing import Optional

from twisted.logger import Logger

from .request import Observer

log = Logger()


class ErrorIsolatingObserver:
    """An observer, if there is one, whose own trouble is no trouble of the parcels'."""

    def __init__(self, observer: Optional[Observer]) -> None:
        self._observer = observer

    def tried(self, kind: str, verdict_name: str, seconds: float) -> None:
        if self._observer is not None:
            try:
                self._observer.tried(kind, verdict_name, seconds)
            except Exception:  # a boundary: whoever counts must not change what is counted
                log.failure("Counting a try failed")

    def settled(self, kind: str, result_name: str) -> None:
        if self._observer is not None:
            try:
                self._observer.settled(kind, result_name)
            except Exception:  # a boundary, as above
                log.failure("Counting a result failed")
