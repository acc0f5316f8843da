"""What all tests of a class share: trial has no fixtures of classes."""

from __future__ import annotations

import atexit
from typing import Callable, Generic, Optional, Protocol, TypeVar


class Closeable(Protocol):
    """Something that leaves nothing behind once it is closed."""

    def close(self) -> None:
        """End what was started."""


RigT = TypeVar("RigT", bound=Closeable)


class SharedRig(Generic[RigT]):
    """At most one rig, made for a class by its first test, and closed by another class's or at the end."""

    def __init__(self) -> None:
        self._rig: Optional[RigT] = None
        self._owner: Optional[type] = None
        atexit.register(self.close)

    def of(self, owner: type, make: Callable[[], RigT]) -> RigT:
        """
        The rig of a class of tests.

        :param make: makes it, where this class has none yet.
        """
        if self._rig is None or self._owner is not owner:
            self.close()
            self._rig, self._owner = make(), owner
        return self._rig

    def close(self) -> None:
        """Close what there is."""
        rig, self._rig, self._owner = self._rig, None, None
        if rig is not None:
            rig.close()
