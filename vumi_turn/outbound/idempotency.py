"""
What we remember of Turn's requests, so that the same request sent twice is one
message.

Turn repeats a request that it got no 200 for. The same signed body is the same
message, with the same id, until a 200 for it has been written to Turn; after
that it is a new message, because people do say the same thing twice.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any, Optional

from twisted.internet.defer import Deferred

from ..http.errors import ApiError
from ..vumi.messages import TransportUserMessage

MAX_BODIES = 10_000
MAX_AGE = 3600.0


class Stage(enum.Enum):
    """How far a message of Turn's has come."""

    #: It is being built, which may need the message cache.
    BUILDING = "building"
    #: The broker has not said yet whether it has the message.
    PUBLISHING = "publishing"
    #: The broker has not taken it, or it could not be built: the next repeat
    #: tries again.
    REFUSED = "refused"
    #: The broker has it; no 200 has been written.
    CONFIRMED = "confirmed"


class Pending:
    """
    One message of Turn's, until its 200 is written.

    :ivar key: the body's signature.
    :ivar message_id: the id that Turn is told.
    :ivar since: when its first request came.
    :ivar message: what is published; None before it is built and after it is confirmed.
    :ivar error: why it was refused the last time.
    :ivar waiters: one for each request that waits for the broker.
    """

    __slots__ = ("key", "message_id", "since", "stage", "message", "error", "waiters", "_watchers")

    def __init__(self, key: bytes, message_id: str, since: float) -> None:
        self.key = key
        self.message_id = message_id
        self.since = since
        self.stage = Stage.BUILDING
        self.message: Optional[TransportUserMessage] = None
        self.error: Optional[ApiError] = None
        self.waiters: list[Any] = []
        self._watchers: list[Deferred[None]] = []

    def written(self) -> Deferred[None]:
        """Fires when this message is forgotten: as a rule when its 200 has been written."""
        watcher: Deferred[None] = Deferred(self._unwatch)
        self._watchers.append(watcher)
        return watcher

    def tell_watchers(self) -> None:
        """Fire what :meth:`written` gave."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(None)

    def _unwatch(self, watcher: Deferred[None]) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)


class IdempotencyStore:
    """
    The messages of Turn's for which no 200 has been written, found by their
    body's signature and by their id.

    :param clock: ages are measured by it; it needs no timer.
    :param max_bodies: beyond this many the oldest is forgotten.
    :param max_age: seconds after which one is forgotten.
    """

    def __init__(self, clock: Any, max_bodies: int = MAX_BODIES, max_age: float = MAX_AGE) -> None:
        self._clock = clock
        self._max_bodies = max_bodies
        self._max_age = max_age
        self._by_key: OrderedDict[bytes, Pending] = OrderedDict()
        self._by_id: dict[str, Pending] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, key: bytes) -> Optional[Pending]:
        """The message with this body, if it still waits for its 200."""
        self._forget_old()
        return self._by_key.get(key)

    def find_id(self, message_id: str) -> Optional[Pending]:
        """The message with this id, if it still waits for its 200."""
        self._forget_old()
        return self._by_id.get(message_id)

    def add(self, key: bytes, message_id: str) -> Pending:
        """Remember a message whose first request has just come."""
        while len(self._by_key) >= self._max_bodies:
            self.forget(next(iter(self._by_key.values())))
        pending = Pending(key, message_id, self._clock.seconds())
        self._by_key[key] = self._by_id[message_id] = pending
        return pending

    def forget(self, pending: Pending) -> None:
        """The same body is a new message from now on; nothing happens where it is forgotten already."""
        if self._by_key.get(pending.key) is pending:
            del self._by_key[pending.key], self._by_id[pending.message_id]
        pending.tell_watchers()

    def _forget_old(self) -> None:
        limit = self._clock.seconds() - self._max_age
        while self._by_key:
            oldest = next(iter(self._by_key.values()))
            if oldest.since > limit:
                break
            self.forget(oldest)
