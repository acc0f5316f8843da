"""
Tables whose entries expire.

Entries stand in the order in which they will expire, so that every operation
takes the same short time however full a table is: those whose time is over are
taken from the front, a few with each operation. There is no timer.
"""

from __future__ import annotations

from typing import Iterator, Optional, TypeVar

from twisted.internet.interfaces import IReactorTime

from ..timing.shared_bound import Bound, BoundedEntries

#: How many expired entries one operation removes at most: more than one, so
#: that they become fewer; few, so that no operation is slow after an idle hour.
SWEEP = 8

Value = TypeVar("Value")


class ExpiringTable(BoundedEntries[str, tuple[float, Value]]):
    """
    A mapping whose entries live for the same time and whose size is bounded.

    :param clock: tells the time.
    :param timeout: seconds that an entry lives after it was last set.
    :param limit: how many entries there may be; the oldest one makes room.
    :param bound: how many there may be in several tables together.
    """

    __slots__ = ("_clock", "_timeout")

    def __init__(self, clock: IReactorTime, timeout: float, limit: int, bound: Optional[Bound] = None) -> None:
        self._clock = clock
        self._timeout = timeout
        super().__init__(limit, bound)

    def set(self, key: str, value: Value) -> None:
        """Set an entry; its time starts anew."""
        now = self._clock.seconds()
        entries = self._entries
        self._place_last(key, (now + self._timeout, value))
        if entries and entries[next(iter(entries))][0] <= now:
            self._sweep(now, SWEEP)

    def get(self, key: str) -> Optional[Value]:
        """The entry's value, or None if there is none or its time is over."""
        now = self._clock.seconds()
        self._sweep(now, SWEEP)
        entry = self._entries.get(key)
        if entry is None or entry[0] <= now:
            return None
        return entry[1]

    def remove(self, key: str) -> None:
        """Forget an entry, if there is one."""
        if self._entries.pop(key, None) is not None:
            self._bound.removed(self)

    def keys(self) -> Iterator[str]:
        """The keys that there are now, the latest first."""
        return iter(list(reversed(self._entries)))

    def __len__(self) -> int:
        """How many entries there are; those whose time is over are removed first."""
        self._sweep(self._clock.seconds(), len(self._entries))
        return len(self._entries)

    def _sweep(self, now: float, most: int) -> None:
        entries = self._entries
        for _ in range(most):
            if not entries:
                return
            if entries[next(iter(entries))][0] > now:
                return
            self.drop_oldest()
