"""Agents on connections in memory."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from tests.http.case import Transport
from tests.http.resolving import ResolvingReactor
from vumi_turn.http.connections import BytesProducer, make_agent

URL = b"http://turn.example:8080/v1/messages"


class ServerTransport(Transport):
    """A connection that ends, as a real one does, not inside the call that wants it."""

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def loseConnection(self) -> None:
        self._reactor.callLater(0, self.go, ConnectionDone())


class Reader(Protocol):
    """Keeps a body, and how it ended."""

    def __init__(self) -> None:
        self.data = b""
        self.reason: Optional[Failure] = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.reason is None
        self.reason = reason

    @property
    def done(self) -> bool:
        """Whether it ended well."""
        return self.reason is not None and self.reason.check(ResponseDone, PotentialDataLoss) is not None


class AgentCase(SynchronousTestCase):
    """An agent, and the connections that it makes."""

    kind = "fast"
    parser: Optional[str] = "pure"
    options: dict[str, Any] = {}

    def setUp(self) -> None:
        self.reactor = ResolvingReactor()
        self.transports: list[ServerTransport] = []
        self.asked: list[Deferred[IResponse]] = []
        self.agent = self.make()
        self.addCleanup(self.nothing_is_left)

    def make(self, **options: Any) -> Any:
        return make_agent(self.reactor, self.tls, kind=self.kind, parser=self.parser, **{**self.options, **options})

    def tls(self, host: str) -> Any:
        raise AssertionError("no TLS here")

    def nothing_is_left(self) -> None:
        closing = self.agent.close()
        self.reactor.advance(0)
        self.successResultOf(closing)
        for transport in self.transports:
            transport.go(ConnectionDone())
        for asked in self.asked:
            # What a test leaves unanswered ends with its connection.
            asked.addErrback(lambda failure: failure.trap(ResponseNeverReceived))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def ask(
        self,
        method: bytes = b"POST",
        uri: bytes = URL,
        headers: Optional[dict[bytes, list[bytes]]] = None,
        body: Optional[bytes] = b"{}",
        producer: Optional[IBodyProducer] = None,
    ) -> Deferred[IResponse]:
        """Send a request; without a body if it is None."""
        if producer is None and body is not None:
            producer = BytesProducer(body)
        asked: Deferred[IResponse] = self.agent.request(method, uri, Headers(headers or {}), producer)
        self.asked.append(asked)
        return asked

    def connect(self) -> ServerTransport:
        """Let the oldest attempt to connect succeed."""
        factory: Any = self.reactor.tcpClients.pop(0)[2]
        protocol = factory.buildProtocol(None)
        transport = ServerTransport(self.reactor)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self.transports.append(transport)
        return transport

    def receive(self, data: bytes, transport: Optional[ServerTransport] = None) -> None:
        """The server sends this, on the last connection or another."""
        (transport or self.transports[-1]).protocol.dataReceived(data)

    def read(self, response: IResponse) -> Reader:
        """Begin to read a body."""
        reader = Reader()
        response.deliverBody(reader)
        return reader

    def exchange(self, answer: bytes, **request: Any) -> tuple[IResponse, Reader]:
        """A whole request with its answer; the connection may end afterwards."""
        asked = self.ask(**request)
        if self.reactor.tcpClients:
            self.connect()
        self.receive(answer)
        response = self.successResultOf(asked)
        return response, self.read(response)
