"""
The private names of twisted.web that :mod:`vumi_turn.http.twisted_web` stands
on. A failure here means: this Twisted does something else under one of them,
and that module has to learn it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel, HTTPFactory
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from vumi_turn.http.twisted_web import OpenChannel

WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Waiting(Resource):
    """Answers nothing by itself."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Request] = []

    def render(self, request: Request) -> Any:
        self.seen.append(request)
        return NOT_DONE_YET


class Channel(OpenChannel):
    """Notes what it is told."""

    malformed = 0
    site: Site

    def refuse_malformed(self) -> None:
        self.malformed += 1

    def lineReceived(self, line: bytes) -> None:
        if not self.malformed:
            super().lineReceived(line)


class ChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.resource = Waiting()
        site = Site(self.resource, reactor=Clock())
        self.transport = StringTransport()
        self.channel = Channel()
        self.channel.site = site
        self.channel.factory = site
        self.channel.requestFactory = site.requestFactory
        self.channel.timeOut = None
        self.channel.makeConnection(self.transport)

    def test_names(self) -> None:
        """twisted.web has the name that is overridden."""
        self.assertTrue(callable(getattr(HTTPChannel, "_respondToBadRequestAndDisconnect", None)))

    def test_malformed(self) -> None:
        """``_respondToBadRequestAndDisconnect`` is called for what is not HTTP."""
        self.channel.dataReceived(b"nonsense\r\n\r\n")
        self.assertGreater(self.channel.malformed, 0)

    def test_too_many_headers(self) -> None:
        """So it is for too many headers."""
        self.channel.maxHeaders = 2
        self.channel.dataReceived(b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n")
        self.assertGreater(self.channel.malformed, 0)

    def test_buffer(self) -> None:
        """``_buffer`` holds what has come of the next line, after a request was answered."""
        self.channel.dataReceived(WHOLE)
        self.assertFalse(self.channel.has_unread)
        self.channel.dataReceived(b"GET /ne")
        self.resource.seen[0].finish()
        self.assertTrue(self.channel.has_unread)
        self.assertEqual(self.channel._buffer, b"GET /ne")

    def test_network_producer(self) -> None:
        """``_networkProducer`` pauses and resumes the transport until it is unregistered."""
        self.channel.pause_reading()
        self.assertEqual(self.transport.producerState, "paused")
        self.channel.resume_reading()
        self.assertEqual(self.transport.producerState, "producing")
        self.assertTrue(hasattr(self.channel._networkProducer, "unregisterProducer"))
        self.channel.leave_reading()

    def test_waiting_for_transport(self) -> None:
        """``_waitingForTransport`` is True between the transport's pause and its resume."""
        self.assertFalse(self.channel.client_reads_slowly)
        self.channel.pauseProducing()
        self.assertTrue(self.channel.client_reads_slowly)
        self.channel.resumeProducing()
        self.assertFalse(self.channel.client_reads_slowly)

    def test_one_segment(self) -> None:
        """A response's head waits for its body, and both are written as one piece."""
        pieces: list[bytes] = []
        self.transport.write = pieces.append  # type: ignore[method-assign]
        self.channel.dataReceived(WHOLE)
        self.channel.writeHeaders(b"HTTP/1.1", b"200", b"OK", Headers({b"X-Two": [b"1", b"2"]}))
        self.assertEqual(pieces, [])
        self.channel.write(b"body")
        self.assertEqual(pieces, [b"HTTP/1.1 200 OK\r\nX-Two: 1\r\nX-Two: 2\r\n\r\nbody"])
        self.channel.writeSequence([b"mo", b"re"])
        self.assertEqual(pieces[1:], [b"more"])

    def test_factory(self) -> None:
        """A factory's ``protocol`` may be a channel itself, which then knows its site."""

        class Made(Site):
            protocol = Channel  # type: ignore[assignment]

        site = Made(self.resource, reactor=Clock())
        made: Any = HTTPFactory.buildProtocol(site, None)
        self.assertIsInstance(made, Channel)
        self.assertIs(made.factory, site)

    def test_not_silently(self) -> None:
        """What has to be overridden says so where it is not."""
        with self.assertRaises(NotImplementedError):
            OpenChannel().refuse_malformed()
