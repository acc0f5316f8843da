"""What could not be written to Redis, and is written when it is back."""

from __future__ import annotations

from itertools import islice
from typing import Any, Awaitable, Callable, Mapping, Optional

from twisted.internet.defer import DeferredList, ensureDeferred

from ..timing.shared_bound import Bound, BoundedDict
from .person import NO_SESSION, Person
from .redis_connection import RedisAway, ScriptFailed

#: Entries that are written at the same time.
BATCH = 100

#: Writes what a worker's memory holds under a key.
Write = Callable[[str], Awaitable[None]]


class Backlog:
    """
    Names entries of a worker's memory that Redis does not have yet.

    Only names are kept: what is written is what memory then holds, the latest.

    :param writes: how each kind of entry is written.
    :param limit: how many names are kept; the oldest go.
    :param bound: how many all caches of the process keep.
    """

    def __init__(self, writes: Mapping[str, Write], limit: int, bound: Optional[Bound] = None) -> None:
        self._writes = writes
        self._names: BoundedDict[tuple[str, str], None] = BoundedDict(limit, bound)

    def __len__(self) -> int:
        return len(self._names)

    def add(self, kind: str, key: str) -> None:
        """An entry has to be written."""
        if (kind, key) not in self._names:
            self._names.set((kind, key), None)

    def clear(self) -> None:
        """Forget all."""
        self._names.clear()

    async def write_now(self, kind: str, key: str) -> None:
        """Write an entry; one that cannot be written now is kept for later."""
        try:
            await self._write(kind, key)
        except RedisAway:
            pass

    async def write(self) -> None:
        """
        Write until nothing is left.

        :raises RedisAway: Redis has gone again; what is left is kept.
        """
        while len(self._names):
            batch = list(islice(self._names, BATCH))
            for name in batch:
                self._names.pop(name)
            writing = [ensureDeferred(self._write(*name)) for name in batch]
            results: list[tuple[bool, Any]] = await DeferredList(writing, consumeErrors=True)
            for written, failure in results:
                if not written:
                    failure.raiseException()

    async def _write(self, kind: str, key: str) -> None:
        try:
            await self._writes[kind](key)
        except ScriptFailed:
            pass  # it would fail again
        except BaseException:
            self.add(kind, key)
            raise


def merged(mine: Optional[Person], shared: Optional[Person]) -> Optional[Person]:
    """
    One person of whom two workers know something: the later message is the
    last one, and a session that either knows as ended has ended.
    """
    if mine is None or shared is None:
        return mine or shared
    later = mine if mine.seen > shared.seen else shared
    if mine.session == shared.session != NO_SESSION:
        return later._replace(closed=mine.closed or shared.closed)
    return later
