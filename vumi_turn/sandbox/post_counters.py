"""Counts of what became of the worker's POSTs."""

from __future__ import annotations

from typing import Optional

from .recent import Recent


class PostCounters:
    """
    :ivar posted: POSTs to Turn.
    :ivar accepted: those that Turn answered 2xx.
    :ivar retried: those of something that was POSTed before, in vain.
    :ivar recovered: what was accepted in the end, after having failed.
    """

    def __init__(self) -> None:
        self.posted = self.accepted = self.retried = self.recovered = 0
        self._failed: Recent[bool] = Recent(10_000)

    def count(self, kind: str, name: str, status: Optional[int]) -> None:
        """A POST of a kind, of something with this id, was answered, or was not (None)."""
        key = f"{kind} {name}"
        self.posted += 1
        before = self._failed.pop(key) is not None
        self.retried += before
        if status is not None and 200 <= status < 300:
            self.accepted += 1
            self.recovered += before
        else:
            self._failed.put(key, True)

    def clear(self) -> None:
        """Count from nothing."""
        self.__init__()  # type: ignore[misc]

    def to_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {
            "posted": self.posted,
            "accepted": self.accepted,
            "retried": self.retried,
            "recovered": self.recovered,
        }
