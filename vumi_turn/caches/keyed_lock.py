"""One operation at a time for each key."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred


class KeyedLock:
    """
    Locks by name, which exist only while somebody holds them.

    ``async with lock.hold(name):`` waits for whoever holds the same name;
    the waiters come in order.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Deferred[None]]] = {}
        self._released: deque[str] = deque()
        self._handing_on = False

    def hold(self, name: str) -> _Hold:
        """What to enter."""
        return _Hold(self, name)

    async def acquire(self, name: str) -> None:
        """Wait until nobody holds the name; for :class:`_Hold`."""
        queue = self._waiting.get(name)
        if queue is None:
            self._waiting[name] = deque()
            return
        turn: Deferred[None] = Deferred()
        queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn in queue:
                queue.remove(turn)
            raise

    def release(self, name: str) -> None:
        """
        Hand the name on; for :class:`_Hold`. A holder that need not wait
        releases it within its own turn: a loop, and not a call within the
        call, serves any number of them.
        """
        self._released.append(name)
        if self._handing_on:
            return
        self._handing_on = True
        try:
            while self._released:
                free = self._released.popleft()
                queue = self._waiting[free]
                if queue:
                    queue.popleft().callback(None)
                else:
                    del self._waiting[free]
        finally:
            self._handing_on = False


class _Hold:
    __slots__ = ("_lock", "_name")

    def __init__(self, lock: KeyedLock, name: str) -> None:
        self._lock = lock
        self._name = name

    async def __aenter__(self) -> None:
        await self._lock.acquire(self._name)

    async def __aexit__(self, *exception: Any) -> None:
        self._lock.release(self._name)
