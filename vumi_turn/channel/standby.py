"""
One consumes, the others wait: of several workers on a connector.

=========  ==================================  =========  =============================
state      what happens                        next       then
=========  ==================================  =========  =============================
waiting    nobody consumes, the lock is ours   active     consume
waiting    somebody consumes, or has the lock  waiting    look again in a second
active     the lock's connection is lost       waiting    look again
active     the reactor stood still             suspended  start no POST, ask the broker
suspended  the broker answers                  active     POSTs go on
suspended  the connection is gone              waiting    look again
=========  ==================================  =========  =============================
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Callable, Mapping, Optional

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..broker.interface import Broker, BrokerError
from ..configuration.fields import ConfigBool, ConfigError
from ..timing.named_log import named

log = Logger()

#: What follows the connector's name in the lock's name.
STANDBY = "turn_standby"

#: Seconds between two looks whether somebody consumes.
LOOK = 1.0

#: Seconds between two looks at the clock, which show that the reactor stood still.
TICK = 0.5

#: Seconds between heartbeats, unless the user gives another number: a worker
#: that is frozen loses its connection, and so the lock, after three of them.
HEARTBEAT = 3

#: Seconds for which the reactor may stand still before a POST has to be asked for; with
#: a shorter heartbeat as long as that, because the broker may give up the lock soon after.
STOOD_STILL = float(HEARTBEAT)


def preferred_heartbeat(config: Mapping[str, Any]) -> Optional[float]:
    """
    :param config: a worker's options, as they were read.
    :return: :data:`HEARTBEAT` for one that stands by, else None.
    """
    try:
        stands_by = ConfigBool("", default=False).clean(config.get("standby", False))
    except ConfigError:
        return None  # the worker says what is wrong with it
    return float(HEARTBEAT) if stands_by else None


class StandbyState(Enum):
    """See the table above."""

    WAITING = "waiting"
    ACTIVE = "active"
    SUSPENDED = "suspended"


class Standby:
    """
    Decides whether this worker consumes a connector.

    :param broker: the channel's.
    :param connector: the connector's name.
    :param clock: measures the waits; it must be monotonic.
    :param unpause: begins to consume.
    :param pause: ends that.
    :ivar state: changed here only.
    """

    def __init__(
        self,
        broker: Broker,
        connector: str,
        clock: IReactorTime,
        unpause: Callable[[], object],
        pause: Callable[[], object],
    ) -> None:
        self.state = StandbyState.WAITING
        self._broker = broker
        self._connector = connector
        self._log = named(log, connector)
        self._clock = clock
        self._unpause = unpause
        self._pause = pause
        self._lock = broker.lock(f"{connector}.{STANDBY}")
        self._lock.on_lost(self._lost)
        self._ended: Optional[Deferred[None]] = None
        self._resumed: list[Deferred[bool]] = []
        self._last_tick = 0.0
        self._tick_call: Optional[IDelayedCall] = None
        self._running: Optional[Deferred[None]] = None

    def start(self) -> None:
        """Wait for the lock, and consume as long as it is held."""
        self._last_tick = self._clock.seconds()
        self._tick_call = self._clock.callLater(TICK, self._tick)
        self._running = ensureDeferred(self._run())
        self._running.addErrback(self._broken)

    async def stop(self) -> None:
        """Give the lock back: another worker goes on at once."""
        if self._tick_call is not None:
            self._tick_call.cancel()
            self._tick_call = None
        if self._running is not None:
            self._running.cancel()
        self._resume(False)
        try:
            await self._lock.release()
        except BrokerError:
            pass  # it is gone with its connection

    async def may_post(self) -> bool:
        """
        Ask before each POST.

        :return: False where the connection, and with it the lock, is gone:
            another worker delivers the message.
        """
        stood_still = self._check_clock()
        if self.state is not StandbyState.SUSPENDED:
            return not stood_still or self.state is StandbyState.ACTIVE
        resumed: Deferred[bool] = Deferred(self._resumed.remove)
        self._resumed.append(resumed)
        return await resumed

    # -- waiting and consuming ----------------------------------------------------

    async def _run(self) -> None:
        while True:
            if await self._try():
                ended: Deferred[None] = Deferred()
                self._ended = ended
                self._unpause()
                self._log.info("This worker consumes now")
                await ended
                self._pause()
                self._log.warn("This worker has lost the lock, and waits")
            await deferLater(self._clock, LOOK)

    async def _try(self) -> bool:
        try:
            counts = await self._broker.counts(f"{self._connector}.inbound")
            if counts is not None and counts.consumers:
                return False
            if not await self._lock.acquire():
                return False
        except BrokerError:
            return False
        self.state = StandbyState.ACTIVE
        return True

    def _lost(self) -> None:
        self.state = StandbyState.WAITING
        self._resume(False)
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.callback(None)

    def _broken(self, failure: Failure) -> None:
        if self._tick_call is not None:
            self._log.failure("Standing by failed; this worker does not consume any more", failure)

    # -- a reactor that stood still --------------------------------------------------

    def _tick(self) -> None:
        self._tick_call = self._clock.callLater(TICK, self._tick)
        self._check_clock()

    def _check_clock(self) -> bool:
        """Suspend POSTs if the reactor stood still; whether it did."""
        now = self._clock.seconds()
        allowed = min(STOOD_STILL, self._broker.heartbeat or STOOD_STILL)
        stood_still = now - self._last_tick > allowed
        self._last_tick = now
        if stood_still and self.state is StandbyState.ACTIVE:
            self.state = StandbyState.SUSPENDED
            ensureDeferred(self._ask()).addErrback(self._broken)
            return True
        return False

    async def _ask(self) -> None:
        answered = await self._broker.probe()
        if self.state is StandbyState.SUSPENDED:
            self.state = StandbyState.ACTIVE if answered else StandbyState.WAITING
        self._resume(answered)

    def _resume(self, may_post: bool) -> None:
        resumed, self._resumed = self._resumed, []
        for each in resumed:
            each.callback(may_post)
