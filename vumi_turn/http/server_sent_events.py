"""Server-sent events, for pages that are slower than what happens."""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Callable, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

#: A comment goes to a listening page this often, in seconds, so that nobody
#: between takes the connection for a dead one.
KEEP_ALIVE = 15.0

#: A page that is more events behind is cut off. It connects again, and is
#: given all there is.
MAX_BEHIND = 1000

#: How many pages may listen at a time.
MAX_STREAMS = 50

#: Called with the name and the details (JSON values) of an event.
Subscriber = Callable[[str, Mapping[str, Any]], None]

#: Adds a subscriber; returns how to remove it.
Subscribe = Callable[[Subscriber], Callable[[], None]]


@implementer(IPushProducer)
class EventStream:
    """
    One page that listens.

    :param request: its request.
    :param subscribe: gives it the events.
    :param clock: for :data:`KEEP_ALIVE`.
    """

    def __init__(self, request: Any, subscribe: Subscribe, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock
        self._behind: deque[bytes] = deque()
        self._paused = False
        self._call: Optional[IDelayedCall] = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._subscribe = subscribe
        self.done: Deferred[None] = Deferred()

    def start(self) -> None:
        """Send the first bytes, and whatever happens from now on."""
        self._request.setHeader("Content-Type", "text/event-stream")
        self._request.setHeader("Cache-Control", "no-store")
        self._request.notifyFinish().addBoth(lambda _: self._gone())
        self._request.registerProducer(self, True)
        self._write(b": welcome\n\n")
        self._unsubscribe = self._subscribe(self._send)
        self._keep_alive()

    def stop(self) -> None:
        """End the stream from our side."""
        self._gone()
        if not self.done.called:
            self.done.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._behind and not self._paused:
            self._request.write(self._behind.popleft())

    def stopProducing(self) -> None:
        self._gone()

    def _send(self, name: str, details: Mapping[str, Any]) -> None:
        data = json.dumps(details).encode("ascii")
        self._write(b"event: " + name.encode("ascii") + b"\ndata: " + data + b"\n\n")

    def _write(self, data: bytes) -> None:
        if not self._paused:
            self._request.write(data)
        elif len(self._behind) < MAX_BEHIND:
            self._behind.append(data)
        else:
            self._request.transport.abortConnection()

    def _keep_alive(self) -> None:
        self._call = self._clock.callLater(KEEP_ALIVE, self._keep_alive)
        self._write(b": still here\n\n")

    def _gone(self) -> None:
        self._unsubscribe()
        self._behind.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None
            if self._request.channel is not None:  # else the connection has gone, and knows no producer any more
                self._request.unregisterProducer()


class EventStreams:
    """
    All pages that listen.

    :param subscribe: gives them the events.
    :param clock: for their timers.
    """

    def __init__(self, subscribe: Subscribe, clock: IReactorTime) -> None:
        self._subscribe = subscribe
        self._clock = clock
        self._streams: deque[EventStream] = deque()

    def open(self, request: Any) -> Deferred[None]:
        """Begin a stream; fires when it has ended. The oldest makes room."""
        while len(self._streams) >= MAX_STREAMS:
            self._streams.popleft().stop()
        stream = EventStream(request, self._subscribe, self._clock)
        self._streams.append(stream)
        request.notifyFinish().addBoth(lambda _: self._forget(stream))
        stream.start()
        return stream.done

    def stop(self) -> None:
        """End them all."""
        for stream in list(self._streams):
            stream.stop()

    def _forget(self, stream: EventStream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
