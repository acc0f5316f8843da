"""Server-sent events."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.http.server_sent_events import KEEP_ALIVE, MAX_BEHIND, MAX_STREAMS, EventStreams, Subscriber


class FakeRequest:
    """What a stream needs of a request."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.written: list[bytes] = []
        self.aborted = False
        self.producer: Any = None
        self.transport = self
        self.channel: Any = self
        self._finished: list[Deferred[None]] = []

    def setHeader(self, name: str, value: str) -> None:
        self.headers[name] = value

    def notifyFinish(self) -> Deferred[None]:
        self._finished.append(Deferred())
        return self._finished[-1]

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        # As twisted.web's request, which has no channel any more when its connection has gone.
        assert self.channel is not None, "there is no connection"
        self.producer = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abortConnection(self) -> None:
        self.aborted = True

    def leave(self) -> None:
        """The page goes away."""
        self.channel = None
        for finished in self._finished:
            finished.errback(ConnectionDone())


class StreamTests(SynchronousTestCase):
    """Pages that listen."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.subscribers: list[Subscriber] = []
        self.streams = EventStreams(self.subscribe, self.clock)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        self.subscribers.append(subscriber)
        return lambda: self.subscribers.remove(subscriber) if subscriber in self.subscribers else None

    def say(self, name: str, details: Mapping[str, Any]) -> None:
        for subscriber in list(self.subscribers):
            subscriber(name, details)

    def open(self) -> FakeRequest:
        request = FakeRequest()
        self.streams.open(request)
        return request

    def test_event(self) -> None:
        """An event has its name, and its details as JSON on one line."""
        request = self.open()
        self.assertEqual(request.headers["Content-Type"], "text/event-stream")
        self.say("journey", {"text": "two\nlines"})
        name, data, *rest = request.written[-1].split(b"\n")
        self.assertEqual((name, rest), (b"event: journey", [b"", b""]))
        self.assertEqual(json.loads(data[len(b"data: ") :]), {"text": "two\nlines"})
        self.streams.stop()

    def test_kept_alive(self) -> None:
        """A quiet stream says now and then that it lives."""
        request = self.open()
        before = len(request.written)
        self.clock.advance(KEEP_ALIVE)
        self.assertEqual(request.written[before:], [b": still here\n\n"])
        self.streams.stop()

    def test_gone(self) -> None:
        """To a page that is gone nothing is written, and no timer is left."""
        request = self.open()
        request.leave()
        before = len(request.written)
        self.say("journey", {})
        self.assertEqual((len(request.written), self.clock.getDelayedCalls()), (before, []))

    def test_slow_page(self) -> None:
        """What a slow page cannot take waits for it; one that is too far behind is cut off."""
        request = self.open()
        request.producer.pauseProducing()
        before = len(request.written)
        for number in range(MAX_BEHIND):
            self.say("traffic", {"number": number})
        self.assertEqual((len(request.written), request.aborted), (before, False))
        request.producer.resumeProducing()
        self.assertEqual(len(request.written), before + MAX_BEHIND)
        self.assertIn(b'"number": 0', request.written[before])
        request.producer.pauseProducing()
        for number in range(MAX_BEHIND + 1):
            self.say("traffic", {"number": number})
        self.assertTrue(request.aborted)
        request.leave()

    def test_too_many(self) -> None:
        """The oldest stream ends where there are too many."""
        first = FakeRequest()
        ended = self.streams.open(first)
        for _ in range(MAX_STREAMS - 1):
            self.open()
        self.assertNoResult(ended)
        self.open()
        self.successResultOf(ended)
        self.streams.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
