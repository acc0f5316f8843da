"""
A bound that several collections share.

A process may carry any number of channels, and each of them remembers things.
What all of them remember together is bounded, and shared out fairly.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Hashable, Iterator, Optional, Protocol, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

#: Entries that make room for a new one, where the bound has become smaller: so that it is
#: reached again, and no addition takes long.
AT_ONCE = 2


class Bounded(Protocol):
    """A collection that tells its :class:`Bound` what is added and removed."""

    @property
    def held(self) -> int:
        """How many entries there are."""

    def drop_oldest(self) -> None:
        """Forget the entry that was added first."""


class Bound:
    """
    How many entries some collections may have together.

    The bound is that of the collection with the largest one. Beyond it the
    oldest entry of the fullest collection makes room, so that a busy channel
    does not push out what a quiet one knows.

    :ivar total: how many entries there are.
    """

    def __init__(self) -> None:
        self.total = 0
        self._limits: dict[Bounded, int] = {}
        self._limit = 0

    def join(self, member: Bounded, limit: int) -> None:
        """A collection counts from now on; its own bound is ``limit``."""
        self._limits[member] = limit
        self._limit = max(self._limits.values())
        self.total += member.held

    def leave(self, member: Bounded) -> None:
        """A collection counts no more."""
        if self._limits.pop(member, None) is not None:
            self._limit = max(self._limits.values(), default=0)
            self.total -= member.held

    def added(self, member: Bounded) -> None:
        """A collection has one entry more: make room."""
        limit = self._limits.get(member)
        if limit is None:
            return  # it has left
        self.total += 1
        if member.held > limit:
            member.drop_oldest()
        for _ in range(AT_ONCE):
            if self.total > self._limit:
                max(self._limits, key=_held).drop_oldest()

    def removed(self, member: Bounded) -> None:
        """A collection has one entry less."""
        if member in self._limits:
            self.total -= 1


def _held(member: Bounded) -> int:
    return member.held


class BoundedEntries(Generic[Key, Value]):
    """
    Entries of bounded number, the one that makes room first of all.

    :param limit: how many there may be.
    :param bound: how many there may be in several such collections together.
    """

    __slots__ = ("_entries", "_bound", "__weakref__")

    def __init__(self, limit: int, bound: Optional[Bound] = None) -> None:
        self._entries: OrderedDict[Key, Value] = OrderedDict()
        self._bound = bound or Bound()
        self._bound.join(self, limit)

    @property
    def held(self) -> int:
        """See :class:`Bounded`."""
        return len(self._entries)

    def drop_oldest(self) -> None:
        """See :class:`Bounded`."""
        self._entries.popitem(last=False)
        self._bound.removed(self)

    def clear(self) -> None:
        """Forget all, and count no more."""
        self._bound.leave(self)
        self._entries.clear()

    def _place_last(self, key: Key, value: Value) -> None:
        """Set an entry, as the one that makes room last of all."""
        entries = self._entries
        if key in entries:
            entries[key] = value
            entries.move_to_end(key)
        else:
            entries[key] = value
            self._bound.added(self)


class BoundedDict(BoundedEntries[Key, Value]):
    """
    A mapping of bounded size, in the order in which its entries were set.

    :param limit: how many entries there may be; the oldest one makes room.
    :param bound: how many there may be in several mappings together.
    """

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Key]:
        """The keys, the oldest first."""
        return iter(self._entries)

    def __getitem__(self, key: Key) -> Value:
        return self._entries[key]

    def get(self, key: Key) -> Optional[Value]:
        """The entry's value, or None."""
        return self._entries.get(key)

    def set(self, key: Key, value: Value) -> None:
        """Set an entry, as the latest one."""
        self._place_last(key, value)

    def pop(self, key: Key) -> Optional[Value]:
        """Forget an entry, if there is one; its value."""
        if key not in self._entries:
            return None
        value = self._entries.pop(key)
        self._bound.removed(self)
        return value
