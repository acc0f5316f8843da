"""Server-sent events, and who may ask for anything at all."""

from __future__ import annotations

import json
from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.sandbox.http import MemoryHttp
from vumi_turn.sandbox.events import KEEP_ALIVE, MAX_BEHIND, MAX_STREAMS, EventStreams
from vumi_turn.sandbox.poster import WEBHOOK_TIMEOUT, NoAnswer, Poster
from vumi_turn.sandbox.web import as_json, is_loopback, json_app
from vumi_turn.sandbox.wire import Wire


class FakeRequest:
    """What a stream needs of a request."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.written: list[bytes] = []
        self.aborted = False
        self.producer: Any = None
        self.transport = self
        self._finished: list[Deferred[None]] = []

    def setHeader(self, name: str, value: str) -> None:
        self.headers[name] = value

    def notifyFinish(self) -> Deferred[None]:
        self._finished.append(Deferred())
        return self._finished[-1]

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abortConnection(self) -> None:
        self.aborted = True

    def leave(self) -> None:
        """The page goes away."""
        for finished in self._finished:
            finished.errback(ConnectionDone())


class StreamTests(SynchronousTestCase):
    """Pages that listen."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.streams = EventStreams(self.wire, self.clock)

    def open(self) -> FakeRequest:
        request = FakeRequest()
        self.streams.open(request)
        return request

    def test_event(self) -> None:
        """An event has its name, and its details as JSON on one line."""
        request = self.open()
        self.assertEqual(request.headers["Content-Type"], "text/event-stream")
        self.wire.say("journey", {"text": "two\nlines"})
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
        self.wire.say("journey", {})
        self.assertEqual((len(request.written), self.clock.getDelayedCalls()), (before, []))

    def test_slow_page(self) -> None:
        """What a slow page cannot take waits for it; one that is too far behind is cut off."""
        request = self.open()
        request.producer.pauseProducing()
        before = len(request.written)
        for number in range(MAX_BEHIND):
            self.wire.say("wire", {"number": number})
        self.assertEqual((len(request.written), request.aborted), (before, False))
        request.producer.resumeProducing()
        self.assertEqual(len(request.written), before + MAX_BEHIND)
        self.assertIn(b'"number": 0', request.written[before])
        request.producer.pauseProducing()
        for number in range(MAX_BEHIND + 1):
            self.wire.say("wire", {"number": number})
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


class GuardTests(SynchronousTestCase):
    """A page of another site has no say here."""

    def ask(self, host: str, bound: str) -> int:
        app = json_app()

        @app.route("/")
        def root(request: Any) -> bytes:
            return as_json(request, {})

        http = MemoryHttp(self, app, bound)
        return http.call("GET", "/", headers={"Host": host})[0]

    def test_names_of_this_machine(self) -> None:
        """On a loopback address it answers to this machine's own names only; elsewhere to any."""
        for host, status in (
            ("127.0.0.1:8010", 200),
            ("localhost:8010", 200),
            ("[::1]:8010", 200),
            ("127.0.0.2", 200),
            ("evil.example", 403),
            ("127.0.0.1.evil.example:8010", 403),
            ("[", 403),
        ):
            self.assertEqual(self.ask(host, "127.0.0.1"), status, host)
        self.assertEqual(self.ask("box.example:8010", "0.0.0.0"), 200)

    def test_loopback(self) -> None:
        """Which addresses are reached from this machine only."""
        self.assertTrue(all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.9.9.9"))))
        self.assertFalse(any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com", ""))))


class PosterTests(SynchronousTestCase):
    """The simulated Turn's own requests."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.poster = Poster(self.reactor)

    def post(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.poster.post("http://127.0.0.1:8011/messages", {}, b"{}"))

    def fails(self, end: Callable[[], Any], words: str) -> None:
        asked = self.post()
        self.assertNoResult(asked)
        end()
        self.assertIn(words, str(self.failureResultOf(asked, NoAnswer).value))

    def test_in_vain(self) -> None:
        """A channel that does not answer in time, or does not listen, has given no answer; that is said."""
        self.fails(lambda: self.reactor.advance(WEBHOOK_TIMEOUT), "no answer")

    def test_stop(self) -> None:
        """What is under way ends when it stops."""
        self.fails(self.poster.close, "stopping")
        self.assertEqual([call for call in self.reactor.getDelayedCalls() if call.active()], [])
