"""How many messages each queue has, asked of the broker only while somebody wants to know."""

from __future__ import annotations

from typing import Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..broker.interface import BrokerError
from ..failures.queue import FAILURES
from ..timing.timeouts import Timeouts
from .views import ChannelView, ChannelViews

log = Logger()

#: The queues of a connector, by the part of their names after the connector's.
QUEUES = ("inbound", "event", "outbound", FAILURES, "turn_joining")

#: Seconds that what was asked is good for, while somebody looks at it.
LOOKED_AT = 3.0

#: The same for what asks by itself: Prometheus.
SCRAPED = 15.0

#: With so many channels, and more, the broker is asked more rarely, in proportion.
MANY = 20

#: Seconds that who asks waits for the broker; then what was known before has to do.
PATIENCE = 2.0


class QueueCounters:
    """
    The numbers of all channels' queues.

    :param views: the channels.
    :param clock: what their age is measured by.
    """

    def __init__(self, views: ChannelViews, clock: IReactorTime) -> None:
        self._views = views
        self._clock = clock
        self._timeouts = Timeouts(clock)
        self._counts: dict[str, dict[str, int]] = {}
        self._asked = float("-inf")
        self._asking: Optional[Deferred[None]] = None

    def of(self, connector: str) -> Mapping[str, int]:
        """What is known of a channel's queues: how many messages are ready in each that exists."""
        return self._counts.get(connector, {})

    def correct(self, connector: str, queue: str, messages: int) -> None:
        """Somebody has counted a queue's messages himself."""
        self._counts.setdefault(connector, {})[queue] = messages

    def forget(self, connector: str) -> None:
        """A channel has gone."""
        self._counts.pop(connector, None)

    async def refresh(self, good_for: float) -> None:
        """
        Ask the broker anew, if what is known is older.

        :param good_for: seconds. With more than :data:`MANY` channels it is more.
        """
        channels = sum(1 for _ in self._views)
        if self._asking is None:
            if self._clock.seconds() - self._asked < good_for * max(1.0, channels / MANY):
                return
            asking = Deferred.fromCoroutine(self._ask())
            if asking.called:
                return
            self._asking = asking
        waiting: Deferred[None] = Deferred()
        self._asking.addBoth(lambda result: None if waiting.called else waiting.callback(None))
        try:
            await self._timeouts.bound(waiting, PATIENCE, lambda: TimeoutError())
        except TimeoutError:
            pass

    async def _ask(self) -> None:
        try:
            for view in self._views:
                await self._ask_for(view)
        except Exception:  # a boundary: nobody waits for what this raises
            log.failure("Asking for the queues' numbers failed")
        finally:
            self._asked = self._clock.seconds()
            self._asking = None

    async def _ask_for(self, view: ChannelView) -> None:
        known = self._counts.get(view.connector, {})
        found: dict[str, int] = {}
        for queue in QUEUES:
            try:
                counts = await view.broker.counts(f"{view.connector}.{queue}")
            except BrokerError:
                return  # what was known before is the best that there is
            if counts is None:
                continue
            # Whoever reads what is parked holds all of it for as long.
            read = queue == FAILURES and counts.consumers and queue in known
            found[queue] = known[queue] if read else counts.messages
        self._counts[view.connector] = found
