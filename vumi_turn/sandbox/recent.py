"""Memory that does not grow for ever."""

from __future__ import annotations

from typing import Generic, Optional, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """
    A mapping that forgets the oldest entries when there are too many.

    :param limit: how many it keeps.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[str, V] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Optional[V]:
        """The value of a key, None where it is not known, or no longer."""
        return self._values.get(key)

    def put(self, key: str, value: V) -> V:
        """Remember a value, as the newest; returns it."""
        self._values.pop(key, None)
        self._values[key] = value
        while len(self._values) > self._limit:
            del self._values[next(iter(self._values))]
        return value

    def pop(self, key: str) -> Optional[V]:
        """Forget a key; returns what it had."""
        return self._values.pop(key, None)

    def values(self) -> list[V]:
        """All values, the oldest first."""
        return list(self._values.values())

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
