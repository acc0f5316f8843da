"""
Tables whose entries expire.

Entries stand in the order in which they will expire, so that every operation
takes the same short time however full a table is: those whose time is over are
taken from the front, a few with each operation. There is no timer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Iterator, Optional, TypeVar

from twisted.internet.interfaces import IReactorTime

from ..timing.shared_bound import Bound

#: How many expired entries one operation removes at most: more than one, so
#: that they become fewer; few, so that no operation is slow after an idle hour.
SWEEP = 8

Value = TypeVar("Value")


class ExpiringTable(Generic[Value]):
    """
    A mapping whose entries live for the same time and whose size is bounded.

    :param clock: tells the time.
    :param timeout: seconds that an entry lives after it was last set.
    :param limit: how many entries there may be; the oldest one makes room.
    :param bound: how many there may be in several tables together.
    """

    __slots__ = ("_clock", "_timeout", "_entries", "_bound", "__weakref__")

    def __init__(self, clock: IReactorTime, timeout: float, limit: int, bound: Optional[Bound] = None) -> None:
        self._clock = clock
        self._timeout = timeout
        self._entries: OrderedDict[str, tuple[float, Value]] = OrderedDict()
        self._bound = bound or Bound()
        self._bound.join(self, limit)

    @property
    def held(self) -> int:
        """How many entries there are, those included whose time is over."""
        return len(self._entries)

    def set(self, key: str, value: Value) -> None:
        """Set an entry; its time starts anew."""
        now = self._clock.seconds()
        entries = self._entries
        if key in entries:
            entries.move_to_end(key)
            entries[key] = (now + self._timeout, value)
        else:
            entries[key] = (now + self._timeout, value)
            self._bound.added(self)
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

    def drop_oldest(self) -> None:
        """Forget the entry that was set longest ago."""
        self._entries.popitem(last=False)
        self._bound.removed(self)

    def clear(self) -> None:
        """Forget all, and count no more."""
        self._bound.leave(self)
        self._entries.clear()

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
