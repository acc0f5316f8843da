"""
One cache's use of a Redis that it shares with other workers.

It is ``ready`` while Redis answers, writes, and has been told all that this
worker took while it did not.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Optional, Protocol, Sequence

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..timing.limited_log import RateLimitedLogger
from ..timing.named_log import named
from .redis_connection import ANSWER_TIMEOUT, RedisAway, RedisListener, ScriptFailed, WriteRefused, observer_of
from .redis_format import HEARTBEAT, LEAVE, REMOVE, RUN_ID
from .redis_members import Members

log = Logger()

#: Seconds between two heartbeats; between two after an outage, until all have
#: been heard; and until a Redis that refuses to write is tried again.
BEAT = 3.0
BEAT_SETTLING = 0.5
RETRY = 0.5
#: Milliseconds without a heartbeat after which a worker is taken to be gone.
GONE = 12_000
#: Seconds of an outage in which Turn is asked to repeat what depends on the
#: other workers. A fail-over is over by then.
PATIENCE = 30.0


class Connection(Protocol):
    """What is needed of a connection; :class:`~.redis_connection.RedisConnection` is one."""

    @property
    def up(self) -> bool:
        """Whether Redis answers."""

    @property
    def trouble(self) -> str:
        """Why it does not; empty while it does."""

    async def start(self, listener: RedisListener) -> None:
        """Connect, without waiting long."""

    async def stop(self, listener: RedisListener) -> None:
        """Connect no more."""

    async def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script, or raise RedisAway within half a second."""


class SharedRedis:
    """
    :param connection: to Redis; several caches may use it.
    :param clock: measures intervals.
    :param prefix: comes before each key; the workers with the same one share.
    :param worker_id: this worker's name among them.
    :param catch_up: writes what could not be written; told whether Redis may
        have lost what it had.
    :param connector: named in log lines.
    :ivar connector: that.
    :ivar key_prefix: ``prefix``.
    :ivar ready: see above.
    :ivar worker_id: this worker's name.
    :ivar workers_key: where the workers are listed.
    :ivar replaced: keys that held something else, and were replaced.
    """

    def __init__(
        self,
        connection: Connection,
        clock: IReactorTime,
        prefix: str,
        worker_id: str,
        catch_up: Callable[[bool], Awaitable[None]],
        connector: str = "",
    ) -> None:
        self._log = named(log, connector)
        self.connector, self.key_prefix = connector, prefix
        self._connection = connection
        self._clock = clock
        self.workers_key, self._worker = f"{prefix}workers", f"{prefix}worker:"
        self.worker_id = worker_id
        self._catch_up = catch_up
        self._members = Members(clock)
        self._beats = 0
        self._run_id: Optional[bytes] = None
        self._cycle = 0
        self._first: Deferred[None] = Deferred()
        self._pause: Optional[IDelayedCall] = None
        self._rested: Deferred[None] = Deferred()
        self._away_since: Optional[float] = clock.seconds()
        self._refusal = ""
        self._outage = False
        self._refusals = RateLimitedLogger(self._log, clock, lines=1)
        self._replacements = RateLimitedLogger(self._log, clock, lines=1)
        self.ready = False
        self.replaced = 0

    # -- what callers ask -----------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether Redis can be read."""
        return self._connection.up

    @property
    def alone(self) -> bool:
        """Whether no other worker shares what is there."""
        return self._members.alone

    @property
    def settled(self) -> bool:
        """Ready, and no other worker has something that is still to be written."""
        return self.ready and not self._members.settling

    @property
    def must_wait(self) -> bool:
        """Whether what another worker may know is soon to be had: who asks shall ask again."""
        if self.alone:
            return False
        if self.ready or self._away_since is None:
            return self._members.settling
        return self._clock.seconds() - self._away_since < PATIENCE

    @property
    def trouble(self) -> str:
        """Why it is not settled, in few words; empty where it is."""
        if not self._connection.up:
            return self._connection.trouble
        if self._refusal:
            return f"Redis does not write: {self._refusal}"
        return "" if self.settled else "Redis is back, and is being told what happened meanwhile"

    @property
    def probe(self) -> tuple[str, tuple[Any, ...]]:
        """The key of this worker, and what its heartbeat writes there."""
        return f"{self._worker}{self.worker_id}", (self._beats, GONE)

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any] = ()) -> Any:
        """
        Run a script. Keys that hold something else than ours are replaced.

        :raises RedisAway: it was not run, or that is not known.
        """
        try:
            try:
                return await self._connection.evaluate(script, keys, arguments)
            except ScriptFailed as error:
                self._note_replaced(error)
                await self._connection.evaluate(REMOVE, keys, ())
                return await self._connection.evaluate(script, keys, arguments)
        except WriteRefused as error:
            self._refused(error)
            raise

    def count_workers(self, count: int) -> None:
        """So many workers are on the list: if that is news, see at once who they are."""
        if count != self._members.count and self.ready and self._pause is not None and self._pause.active():
            self._pause.reset(0)

    def note_unreadable(self) -> None:
        """A value was not ours, and is being replaced."""
        self._note_replaced(None)

    # -- start and stop ---------------------------------------------------------

    async def start(self) -> None:
        """Connect, and catch up; what takes longer than half a second goes on by itself."""
        await self._connection.start(self)
        self._outage = self._outage or not self._connection.up
        if self._connection.up and not self._first.called:
            await observer_of(self._first).addTimeout(ANSWER_TIMEOUT, self._clock, lambda result, timeout: None)

    async def stop(self) -> None:
        """Take leave of the other workers, and let go of the connection."""
        self._end_cycle()
        self._started()
        if self._connection.up:
            try:
                keys = (self.workers_key, f"{self._worker}{self.worker_id}")
                await self._connection.evaluate(LEAVE, keys, (self.worker_id,))
            except RedisAway:
                pass  # they notice when no heartbeat comes
        await self._connection.stop(self)

    # -- the connection's listener ------------------------------------------------

    def redis_up(self) -> None:
        """Catch up, and send heartbeats from now on."""
        self._end_cycle()
        ensureDeferred(self._run_cycle(self._cycle)).addErrback(self._cycle_ended)

    def redis_down(self) -> None:
        """Nothing can be written."""
        self._away()
        self._end_cycle()
        self._started()

    # -- catching up, and heartbeats -----------------------------------------------

    async def _run_cycle(self, cycle: int) -> None:
        restarted = await self._restarted()
        while cycle == self._cycle:
            try:
                await self._catch_up(restarted)
                restarted = False
                await self._heartbeat(cycle)
            except (WriteRefused, ScriptFailed) as error:
                self._refused(error)
            self._started()
            if not self.ready:
                delay = RETRY
            else:
                delay = BEAT if self.settled else BEAT_SETTLING
            if cycle == self._cycle:
                await self._sleep(delay)

    async def _restarted(self) -> bool:
        """Whether Redis is another process than last time, whose data may be older."""
        try:
            run_id = await self._connection.evaluate(RUN_ID, (), ())
        except ScriptFailed:
            run_id = None
        before, self._run_id = self._run_id, run_id
        return before is not None and run_id != before

    async def _heartbeat(self, cycle: int) -> None:
        self._beats += 1
        arguments = (self.worker_id, self._beats, GONE, self._worker)
        found = await self.run(HEARTBEAT, (self.workers_key,), arguments) or []
        counts = {name.decode(): int(count) for name, count in zip(found[::2], found[1::2], strict=True)}
        counts.pop(self.worker_id, None)
        if cycle != self._cycle:
            return
        self._members.found(counts, after_outage=self._outage)
        self.ready, self._outage, self._away_since, self._refusal = True, False, None, ""

    async def _sleep(self, seconds: float) -> None:
        rested: Deferred[None] = Deferred()
        self._pause = self._clock.callLater(seconds, rested.callback, None)
        self._rested = rested
        await rested

    def _refused(self, error: RedisAway) -> None:
        """Redis does not write: nothing that it holds of people is up to date from now on."""
        self._refusal = str(error)
        self._away()
        if self._pause is not None and self._pause.active() and self._pause.getTime() > self._clock.seconds() + RETRY:
            self._pause.reset(RETRY)
        self._refusals.error("Redis does not write ({reason}): the cache is as if it were away", reason=str(error))

    def _away(self) -> None:
        self.ready, self._outage = False, True
        if self._away_since is None:
            self._away_since = self._clock.seconds()

    def _started(self) -> None:
        if not self._first.called:
            self._first.callback(None)

    def _end_cycle(self) -> None:
        """The present cycle ends by itself, without a heartbeat more."""
        self._cycle += 1
        pause, self._pause = self._pause, None
        if pause is not None and pause.active():
            pause.cancel()
            self._rested.callback(None)

    def _cycle_ended(self, failure: Failure) -> None:
        self._started()
        if not failure.check(RedisAway):
            self._log.failure("Sharing the message cache has ended", failure)

    # -- what is said -------------------------------------------------------------

    def _note_replaced(self, error: Optional[ScriptFailed]) -> None:
        self.replaced += 1
        reason = "it cannot be read" if error is None else str(error)
        self._replacements.warn("A key in Redis holds something else and is replaced ({reason})", reason=reason)
