"""A route of klein's without klein's routing: what a client sees is the same."""

from __future__ import annotations

from typing import Any

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request, Site

from tests.cases import case
from tests.http.case import Client, request
from vumi_turn.http.direct import DirectRoute


class DirectCase(SynchronousTestCase):
    """One application, asked in both ways."""

    def setUp(self) -> None:
        self.waiting: list[Deferred[bytes]] = []
        self.at_once = True
        self.direct_calls = self.cancelled = 0
        self.clumsy = False
        app = Klein()
        app.route("/messages", methods=["POST"])(self.messages)
        app.route("/other", methods=["GET"])(lambda request: b"other")
        klein: Any = app.resource()

        async def counted(request: Request) -> bytes:
            self.direct_calls += 1
            return await self.messages(request)

        self.ways = {"klein": klein, "direct": DirectRoute(klein, b"POST", b"/messages", counted)}

    async def messages(self, request: Request) -> bytes:
        request.setResponseCode(201)
        request.setHeader(b"Content-Length", b"2")
        answer: Deferred[bytes] = succeed(b"{}") if self.at_once else Deferred()
        self.waiting.append(answer)
        try:
            return await answer
        except CancelledError:
            self.cancelled += 1
            if self.clumsy:
                raise KeyError("marker") from None
            raise

    def client(self, way: str) -> Client:
        site: Any = Site(self.ways[way], reactor=Clock())
        return Client(site)

    def asked(self, way: str, **asked: Any) -> bytes:
        client = self.client(way)
        client.send(request(**asked))
        lines = client.transport.value().split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.startswith(b"Date:"))

    def test_same(self) -> None:
        """The answer is klein's to the byte, on the route and on every other."""
        for method, path in (
            ("POST", "/messages"), ("POST", "/messages?a=b"), ("POST", "/%6dessages"), ("POST", "/messages/"),
            ("GET", "/messages"), ("GET", "/other"), ("POST", "/other"), ("GET", "/nowhere"), ("HEAD", "/other"),
        ):  # fmt: skip
            with case(method=method, path=path):
                klein, direct = (self.asked(way, method=method, path=path) for way in ("klein", "direct"))
                self.assertEqual(direct, klein, (method, path))
        self.assertEqual(self.direct_calls, 2)

    def test_later(self) -> None:
        """An answer that comes later is written then."""
        self.at_once = False
        client = self.client("direct")
        client.send(request(body=b"x"))
        self.assertTrue(client.silent())
        self.waiting[0].callback(b"{}")
        self.assertEqual((client.response().status, len(self.waiting)), (201, 1))

    def test_client_goes(self) -> None:
        """A handler whose client has gone is cancelled, and nothing is written or logged."""
        self.at_once = False
        client = self.client("direct")
        client.send(request(body=b"x"))
        client.leave()
        self.assertEqual(self.cancelled, 1)
        self.assertEqual((client.transport.value(), self.flushLoggedErrors()), (b"", []))

    def test_goes_and_fails(self) -> None:
        """What fails after that is in the log."""
        self.at_once = False
        client = self.client("direct")
        client.send(request(body=b"x"))
        self.clumsy = True
        client.leave()
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_bug(self) -> None:
        """An exception that a handler lets out is logged, and answered with 500, without its text."""
        self.at_once = False
        client = self.client("direct")
        client.send(request(body=b"x"))
        self.waiting[0].errback(KeyError("marker"))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertTrue(client.transport.value().startswith(b"HTTP/1.1 500 "))
        self.assertNotIn(b"marker", client.transport.value())
