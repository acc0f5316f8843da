"""What changes, told to pages that are open."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.web.server import Request

from ..http.server_sent_events import EventStreams, Subscriber
from .queue_counts import LOOKED_AT, QueueCounters
from .views import ChannelViews

log = Logger()

#: Seconds between two looks at the channels, while a page is open.
LOOK = 1.0


class LiveUpdates:
    """
    Looks at the channels while somebody listens, and tells what has changed:
    an event ``channels`` with those that are different and the names of those
    that have gone, and an event ``parked`` with the name of a channel of which
    another list of what is parked is there.

    :param views: the channels.
    :param counters: the queues' numbers, which are kept up to date meanwhile.
    :param clock: for the looks.
    """

    def __init__(self, views: ChannelViews, counters: QueueCounters, clock: IReactorTime) -> None:
        self._views = views
        self._counters = counters
        self._clock = clock
        self._subscribers: list[Subscriber] = []
        self._shown: dict[str, dict[str, Any]] = {}
        self._call: Optional[IDelayedCall] = None
        self._streams = EventStreams(self._subscribe, clock)

    def open(self, request: Request) -> Deferred[None]:
        """Begin a stream of events; fires when it has ended."""
        return self._streams.open(request)

    def stop(self) -> None:
        """End all streams."""
        self._streams.stop()

    def parked(self, connector: str) -> None:
        """Another list of what a channel has parked is there."""
        self._tell("parked", {"connector": connector})

    def _subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        self._subscribers.append(subscriber)
        if self._call is None:
            self._shown = {}
            self._call = self._clock.callLater(LOOK, self._look)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)
            if not self._subscribers and self._call is not None:
                self._call.cancel()
                self._call = None

        return unsubscribe

    def _look(self) -> None:
        self._call = self._clock.callLater(LOOK, self._look)
        Deferred.fromCoroutine(self._counters.refresh(LOOKED_AT)).addErrback(
            lambda failure: log.failure("Asking for the queues' numbers failed", failure)
        )
        now = {snapshot.connector: snapshot.to_dict() for snapshot in self._views.snapshots()}
        changed = [channel for name, channel in now.items() if channel != self._shown.get(name)]
        gone = [name for name in self._shown if name not in now]
        self._shown = now
        if changed or gone:
            self._tell("channels", {"channels": changed, "gone": gone})

    def _tell(self, name: str, details: Mapping[str, Any]) -> None:
        for subscriber in list(self._subscribers):
            subscriber(name, details)
