"""What is parked, for those who look after a process: read, listed, replayed and dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Awaitable, Callable, Collection, Optional

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..broker.interface import Broker, BrokerState, BrokerUnavailable, Outcome
from ..failures.parked import Parked
from ..failures.queue import FAILURES
from ..failures.reader import FailuresQueueReader
from ..timing.clock import wall_clock_of
from .parked_rows import ParkedFilter, ParkedRow, row_of
from .queue_counts import QueueCounters
from .trace import PersonHash
from .views import ChannelView, ChannelViews

log = Logger()

#: Parked messages that are listed, at the most, of all channels together.
MOST_LISTED = 20_000

#: What was read is read anew after so many seconds, where the queue's number has changed ...
READ_AGAIN = 5.0
#: ... and after so many times as long as reading it took.
READ_AGAIN_TIMES = 10

#: Seconds after which what nobody looks at is forgotten.
FORGET = 900.0

#: Seconds for the AMQP channels that a queue is read by to be there.
CONNECT_TIMEOUT = 10.0


@dataclass
class _Listing:
    """What was read of one channel's queue."""

    rows: list[ParkedRow]
    read_at: float
    took: float
    count: int


class ParkedMessages:
    """
    The failures queues of a process's channels.

    They are read only while somebody looks: to see what is behind the first
    messages of a queue all of it has to be taken, and put back.

    :param views: the channels.
    :param counters: say how many are parked.
    :param person_hash: hashes people's addresses.
    :param clock: for the waits.
    :param content: whether what people wrote is shown.
    :param changed: called with the name of a channel of which another list is there.
    """

    def __init__(
        self,
        views: ChannelViews,
        counters: QueueCounters,
        person_hash: PersonHash,
        clock: IReactorTime,
        *,
        content: bool = False,
        changed: Callable[[str], None] = lambda connector: None,
    ) -> None:
        self.content = content
        self.changed = changed
        self.reading: set[str] = set()
        self.errors: dict[str, str] = {}
        self._views = views
        self._counters = counters
        self._person_hash = person_hash
        self._clock = clock
        self._wall = wall_clock_of(clock)
        self._listings: dict[str, _Listing] = {}
        self._lock = DeferredLock()
        self._stopped = False
        self._jobs: set[Deferred[Any]] = set()
        self._looked = clock.seconds()

    # -- what is there -----------------------------------------------------------

    def rows(self, wanted: ParkedFilter) -> list[ParkedRow]:
        """What is meant of that which was read, the latest first."""
        self._looked = self._clock.seconds()
        now = self._wall()
        found = [row for each in self._listings.values() for row in each.rows if wanted.matches(row, now)]
        found.sort(key=lambda row: row.when or 0.0, reverse=True)
        return found

    def stale(self, connector: Optional[str]) -> list[str]:
        """The channels (of one, or of all) whose queue should be read, or read again."""
        found = []
        for view in self._views:
            name = view.connector
            if connector not in (None, name) or name in self.reading:
                continue
            listing, now = self._listings.get(name), self._counters.of(name).get(FAILURES, 0)
            if listing is None:
                if now:
                    found.append(name)
            elif now != listing.count:
                again = max(READ_AGAIN, READ_AGAIN_TIMES * listing.took)
                if not now or self._clock.seconds() - listing.read_at >= again:
                    found.append(name)
        return found

    def forget_old(self) -> None:
        """Forget what nobody has looked at for long, and what is of channels that have gone."""
        if self._clock.seconds() - self._looked > FORGET:
            self._listings.clear()
        for name in [name for name in self._listings if name not in self._views]:
            del self._listings[name]

    # -- what is done ------------------------------------------------------------

    def read(self, connectors: Collection[str]) -> Deferred[None]:
        """Read the failures queues of some channels. What goes wrong is in ``errors``; it does not fail."""
        return self._job(self._read_all(list(connectors)))

    def replay(self, wanted: ParkedFilter) -> Deferred[dict[str, int]]:
        """
        Put what is meant back into the queues that it came from.

        :return: how many were ``done``, and how many ``left`` because they
            don't say where they came from.
        :raises vumi_turn.broker.interface.BrokerError: the broker has not taken one; it is still parked.
        :raises vumi_turn.failures.reader.QueueInUse: somebody else reads the queue.
        """

        async def replay(reader: FailuresQueueReader, parked: Parked) -> bool:
            if parked.queue is None:
                return False
            await reader.replay(parked)
            return True

        return self._job(self._change(wanted, replay, "replayed"))

    def drop(self, wanted: ParkedFilter) -> Deferred[dict[str, int]]:
        """Throw away what is meant; see :meth:`replay`."""

        async def drop(reader: FailuresQueueReader, parked: Parked) -> bool:
            return not parked.delivery.lost

        return self._job(self._change(wanted, drop, "dropped"))

    def stop(self) -> None:
        """End what is under way: what it has in hand goes back to its queue."""
        self._stopped = True
        for job in list(self._jobs):
            job.cancel()

    def _job(self, work: Awaitable[Any]) -> Deferred[Any]:
        """It goes on when nobody waits for it any more: a browser that has gone must not leave it half done."""
        job: Deferred[Any] = Deferred.fromCoroutine(work)  # type: ignore[arg-type]
        waiting: Deferred[Any] = Deferred()
        self._jobs.add(job)

        def done(result: Any) -> None:
            self._jobs.discard(job)
            if not waiting.called:
                waiting.callback(result)

        job.addBoth(done)
        return waiting

    async def _read_all(self, connectors: list[str]) -> None:
        self.reading.update(connectors)
        for name in connectors:
            try:
                await self._locked(self._read, name)
                self.errors.pop(name, None)
            except Exception as error:  # a boundary: one queue that cannot be read must not hide the others
                log.failure("Reading what {connector} has parked failed", connector=name)
                self.errors[name] = f"{type(error).__name__}: what is parked cannot be read now"
            finally:
                self.reading.discard(name)
                self.changed(name)

    async def _locked(self, work: Callable[..., Awaitable[None]], *given: Any) -> None:
        """One at a time: each takes a whole queue into memory."""
        await self._lock.acquire()
        try:
            if not self._stopped:
                await work(*given)
        finally:
            self._lock.release()

    async def _read(self, name: str) -> None:
        view = self._views.get(name)
        if view is None:
            return
        started = self._clock.seconds()
        room = MOST_LISTED - sum(len(each.rows) for other, each in self._listings.items() if other != name)
        rows: list[ParkedRow] = []

        def keep(parked: Parked) -> Optional[ParkedRow]:
            return row_of(name, parked, self._person_hash, self.content) if len(rows) < room else None

        async def show(row: ParkedRow) -> Outcome:
            rows.append(row)
            return Outcome.REQUEUE

        _, count = await self._with_reader(view, lambda reader: reader.work(keep, show))
        now = self._clock.seconds()
        self._listings[name] = _Listing(rows[:room], now, now - started, count)
        self._counters.correct(name, FAILURES, count)

    async def _change(
        self, wanted: ParkedFilter, act: Callable[[FailuresQueueReader, Parked], Awaitable[bool]], what: str
    ) -> dict[str, int]:
        total = {"done": 0, "left": 0}
        for view in list(self._views):
            if wanted.connector in (None, view.connector):
                await self._locked(self._change_one, view, wanted, act, what, total)
        return total

    async def _change_one(
        self,
        view: ChannelView,
        wanted: ParkedFilter,
        act: Callable[[FailuresQueueReader, Parked], Awaitable[bool]],
        what: str,
        total: dict[str, int],
    ) -> None:
        name, now = view.connector, self._wall()
        done: set[str] = set()

        def keep(parked: Parked) -> Optional[Parked]:
            return parked if wanted.matches(row_of(name, parked, self._person_hash, self.content), now) else None

        async def work(reader: FailuresQueueReader) -> tuple[int, int]:
            async def treat(parked: Parked) -> Outcome:
                if not await act(reader, parked):
                    total["left"] += 1
                    return Outcome.REQUEUE
                done.add(parked.digest)
                total["done"] += 1
                return Outcome.ACK

            return await reader.work(keep, treat)

        try:
            await self._with_reader(view, work)
        finally:
            if done:
                log.info(
                    "{count} parked messages were {what} by the operator", count=len(done), what=what, connector=name
                )
                self._remove(name, done)
                self.changed(name)

    def _remove(self, name: str, digests: set[str]) -> None:
        listing = self._listings.get(name)
        if listing is not None:
            rows = [row for row in listing.rows if row.digest not in digests]
            listing.count -= len(listing.rows) - len(rows)
            listing.rows = rows
            self._counters.correct(name, FAILURES, listing.count)

    # -- the queue ---------------------------------------------------------------

    async def _with_reader(
        self, view: ChannelView, work: Callable[[FailuresQueueReader], Awaitable[tuple[int, int]]]
    ) -> tuple[int, int]:
        """Work with a queue on AMQP channels of its own, which are closed at the end."""
        name = view.connector
        broker = view.broker.scope(f"{name}, what is parked")
        broker.start()
        try:
            for queue in (FAILURES, "inbound", "event"):
                broker.publisher(f"{name}.{queue}")
            await self._connected(broker)
            return await work(FailuresQueueReader(broker, name, self._clock))
        finally:
            await broker.stop(CONNECT_TIMEOUT)

    async def _connected(self, broker: Broker) -> None:
        deadline = self._clock.seconds() + CONNECT_TIMEOUT
        while broker.state not in (BrokerState.CONNECTED, BrokerState.BLOCKED):
            if self._clock.seconds() > deadline:
                raise BrokerUnavailable("there is no usable connection to RabbitMQ")
            await deferLater(self._clock, 0.05)
