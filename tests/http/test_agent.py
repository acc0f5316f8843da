"""
An agent on kept connections: the same rules with each parser, and with
twisted.web's own agent where they are its too.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

from treq.client import HTTPClient
from treq.content import content
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectingCancelledError, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock, Cooperator
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http_headers
from twisted.web.client import FileBodyProducer, RequestGenerationFailed, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from zope.interface.verify import verifyObject

from tests.cases import case
from tests.http.connections_case import URL, AgentCase
from vumi_turn.http.connections import PreparedHeaders, make_agent, parser_factory
from vumi_turn.http.connections.requests import BodyTooLarge, WrongBodyLength, gathered

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

if TYPE_CHECKING:
    Contract = AgentCase
else:
    Contract = object


class AgentContract(Contract):
    """
    What a caller of either agent may count on.

    :cvar refuses_header_names: it takes no name that would begin another line.
    """

    refuses_header_names = True

    def test_interfaces(self) -> None:
        """An agent is an IAgent, and what it answers an IResponse."""
        verifyObject(IAgent, self.agent)
        response, _ = self.exchange(OK)
        verifyObject(IResponse, response)

    def test_response(self) -> None:
        """A response has version, code, phrase, headers, length and its request."""
        response, reader = self.exchange(b"HTTP/1.1 201 Made it\r\nX-A: b\r\nContent-Length: 2\r\n\r\n{}")
        self.assertEqual(tuple(response.version), (b"HTTP", 1, 1))
        self.assertEqual((response.code, response.phrase, response.length), (201, b"Made it", 2))
        self.assertEqual(dict(response.headers.getAllRawHeaders()), {b"X-A": [b"b"]})
        self.assertEqual((response.request.method, response.request.absoluteURI), (b"POST", URL))
        self.assertIsNone(response.previousResponse)
        self.assertEqual((reader.data, reader.done), (b"{}", True))

    def test_bodies(self) -> None:
        """Each way to say where a body ends works, and the connection serves again."""
        for answer, body in (
            (OK, b"{}"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
            (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}"),
        ):
            with case(answer=answer, body=body):
                _, reader = self.exchange(answer)
                self.assertEqual((reader.data, reader.done), (body, True))
                self.assertEqual(len(self.transports), 1)

    def test_head(self) -> None:
        """An answer to HEAD has no body, and its connection serves again."""
        for _ in range(2):
            response, reader = self.exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", method=b"HEAD", body=None)
            self.assertEqual((reader.data, reader.done, response.length), (b"", True, 0))
        self.assertEqual(len(self.transports), 1)

    def test_until_closed(self) -> None:
        """A body that only the connection's end ends may have lost something."""
        response, reader = self.exchange(b"HTTP/1.1 200 OK\r\n\r\nsome")
        self.assertIs(response.length, UNKNOWN_LENGTH)
        self.assertIsNone(reader.reason)
        self.transports[0].go(ConnectionDone())
        assert reader.reason is not None
        self.assertEqual((reader.data, reader.reason.type), (b"some", PotentialDataLoss))

    def test_closed_by_request(self) -> None:
        """Where the server closes, the next request has a new connection."""
        for close in (b"Connection: close\r\n", b"connection: Foo, CLOSE\r\n"):
            with case(close=close):
                if self.kind == "twisted" and b"CLOSE" in close:
                    continue  # It reads one spelling only.
                count = len(self.transports)
                self.exchange(b"HTTP/1.1 200 OK\r\n" + close + b"Content-Length: 2\r\n\r\n{}")
                self.reactor.advance(0)
                self.assertTrue(self.transports[-1].gone)
                self.exchange(OK)
                self.assertEqual(len(self.transports), count + 2)
                self.transports[-1].go(ConnectionDone())

    def test_never_received(self) -> None:
        """A connection that ends without a byte of an answer fails the request as twisted.web does."""
        for reason in (ConnectionDone(), ConnectionLost()):
            with case(reason=reason):
                asked = self.ask()
                self.connect().go(reason)
                failure = self.failureResultOf(asked, ResponseNeverReceived)
                self.assertIs(failure.value.reasons[0].value, reason)

    def test_failed(self) -> None:
        """A connection that ends within the head fails the request."""
        asked = self.ask()
        self.connect()
        self.receive(b"HTTP/1.1 200 OK\r\nX: ")
        self.transports[0].go(ConnectionDone())
        failure = self.failureResultOf(asked, ResponseFailed)
        self.assertNotIsInstance(failure.value, ResponseNeverReceived)

    def test_cut_body(self) -> None:
        """A body that is cut has an answer, and fails its reader."""
        for head, cut in ((b"Content-Length: 10", b"half"), (b"Transfer-Encoding: chunked", b"4\r\nhalf\r\n")):
            with case(head=head, cut=cut):
                response, reader = self.exchange(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (head, cut))
                self.transports[-1].go(ConnectionLost())
                assert reader.reason is not None
                self.assertEqual((response.code, reader.data), (200, b"half"))
                self.assertIsNotNone(reader.reason.check(ResponseFailed))

    def test_no_http(self) -> None:
        """What is no HTTP fails the request, and its connection is closed."""
        for junk in (b"marker\r\n\r\n", b"HTTP/1.1 marker OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nmarker\r\n\r\n"):
            with case(junk=junk):
                asked = self.ask()
                transport = self.connect()
                self.receive(junk)
                self.reactor.advance(0)
                self.failureResultOf(asked, ResponseFailed)
                self.assertTrue(transport.gone)

    def test_bad_chunk(self) -> None:
        """A head stands, whatever becomes of its body."""
        response, reader = self.exchange(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nmarker\r\n")
        self.reactor.advance(0)
        assert reader.reason is not None
        self.assertEqual(response.code, 200)
        self.assertIsNotNone(reader.reason.check(ResponseFailed))
        self.assertTrue(self.transports[0].gone)

    def test_late_reader(self) -> None:
        """A body waits for its reader; a large one is not received before."""
        asked = self.ask()
        transport = self.connect()
        self.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        response = self.successResultOf(asked)
        self.assertEqual(transport.producerState, "paused")
        reader = self.read(response)
        self.assertEqual((transport.producerState, reader.data), ("producing", b"ab"))
        self.receive(b"cd")
        self.assertEqual((reader.data, reader.done), (b"abcd", True))

    def test_one_reader(self) -> None:
        """A body is delivered once."""
        response, _ = self.exchange(OK)
        with self.assertRaises(RuntimeError):
            self.read(response)

    def test_reader_stops(self) -> None:
        """A reader that has enough ends the connection; after the body's end it ends nobody else's."""
        response, reader = self.exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
        transport: Any = reader.transport
        transport.stopProducing()
        self.assertTrue(self.transports[0].gone or self.transports[0].producerState == "stopped")
        self.transports[0].go(ConnectionDone())
        _, reader = self.exchange(OK)
        transport = reader.transport
        transport.stopProducing()
        self.assertEqual((self.transports[1].gone, self.transports[1].producerState), (False, "producing"))

    def test_cancel(self) -> None:
        """A cancelled request ends, with its connection or its attempt to connect."""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, ConnectingCancelledError, CancelledError)
        self.reactor.tcpClients.clear()
        asked = self.ask()
        transport = self.connect()
        asked.cancel()
        self.failureResultOf(asked, ResponseNeverReceived)
        self.assertTrue(transport.gone)

    def test_no_connection(self) -> None:
        """A failure to connect is told as it is."""
        asked = self.ask()
        factory: Any = self.reactor.tcpClients.pop(0)[2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.reactor.advance(1)
        self.failureResultOf(asked, ConnectionRefusedError)

    def test_scheme(self) -> None:
        """Only http and https can be asked for."""
        try:
            self.failureResultOf(self.ask(uri=b"ftp://turn.example/"), SchemeNotSupported)
        except SchemeNotSupported:
            pass
        self.assertEqual(self.reactor.tcpClients, [])

    def test_nothing_is_smuggled(self) -> None:
        """What would begin another line of the request is refused, or is one line."""
        for method, uri in ((b"GET x", URL), (b"G\r\nX:", URL), (b"GET", URL + b" x"), (b"GET", URL + b"\r\nX: y")):
            with case(method=method, uri=uri):
                with self.assertRaises(ValueError):
                    self.ask(method, uri, body=None)
        if self.refuses_header_names:
            with self.assertRaises(ValueError):
                self.ask(headers={b"X\r\nY": [b"z"]})
        self.exchange(OK, headers={b"X": [b"a\r\nY: b"]})
        self.assertNotIn(b"\r\nY:", self.transports[-1].value())

    def test_repeated(self) -> None:
        """On a kept connection that ends unanswered only what is idempotent and has no body is sent again."""
        for method, body, again in (
            (b"GET", None, True), (b"HEAD", None, True), (b"POST", b"{}", False), (b"POST", None, False),
            (b"PUT", b"{}", False), (b"GET", b"{}", False),
        ):  # fmt: skip
            with case(method=method, body=body, again=again):
                self.exchange(OK)
                asked = self.ask(method, body=body)
                self.transports[-1].go(ConnectionDone())
                if again:
                    self.connect()
                    self.receive(b"HTTP/1.1 204 No\r\n\r\n")
                    self.assertEqual(self.successResultOf(asked).code, 204)
                else:
                    self.failureResultOf(asked, ResponseNeverReceived)
                self.assertEqual(self.reactor.tcpClients, [])
                self.transports[-1].go(ConnectionDone())

    def test_not_repeated(self) -> None:
        """Nothing is sent again on a new connection, nor after a byte of an answer."""
        asked = self.ask(b"GET", body=None)
        self.connect().go(ConnectionDone())
        self.failureResultOf(asked, ResponseNeverReceived)
        self.exchange(OK)
        asked = self.ask(b"GET", body=None)
        self.receive(b"HTTP/1.1 ")
        self.transports[-1].go(ConnectionDone())
        self.failureResultOf(asked, ResponseFailed)
        self.assertEqual(self.reactor.tcpClients, [])

    def test_idle(self) -> None:
        """An idle connection is closed after its time, counted from its last use."""
        self.exchange(OK)
        self.reactor.advance(20)
        self.exchange(OK)
        self.assertEqual(len(self.transports), 1)
        self.reactor.advance(29)
        self.assertFalse(self.transports[0].gone)
        self.reactor.pump([1, 0])
        self.assertTrue(self.transports[0].gone)

    def test_idle_at_most(self) -> None:
        """So many idle connections are kept for a server as are allowed, and others' are not theirs."""
        self.agent = self.make(max_idle_per_host=2)
        asked = [self.ask() for _ in range(3)] + [self.ask(uri=b"http://other.example/")]
        for _ in asked:
            self.connect()
        for transport in list(self.transports):
            self.receive(OK, transport)
        for each in asked:
            self.read(self.successResultOf(each))
        self.reactor.advance(0)
        self.assertEqual([transport.gone for transport in self.transports].count(True), 1)
        self.assertFalse(self.transports[3].gone)

    def test_spoken_to_while_idle(self) -> None:
        """An idle connection on which something comes serves nobody any more."""
        self.exchange(OK)
        self.receive(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        self.reactor.advance(0)
        self.assertTrue(self.transports[0].gone)
        self.exchange(OK)
        self.assertEqual(len(self.transports), 2)

    def test_close(self) -> None:
        """Closing ends what is idle."""
        self.exchange(OK)
        closing = self.agent.close()
        self.assertNoResult(closing)
        self.reactor.advance(0)
        self.successResultOf(closing)
        self.assertTrue(self.transports[0].gone)

    def test_under_treq(self) -> None:
        """treq stands on it with its own body producer, and reads the answer."""
        cooperator = Cooperator(scheduler=lambda call: self.reactor.callLater(0, call))
        client = HTTPClient(
            self.agent, data_to_body_producer=lambda data: FileBodyProducer(BytesIO(data), cooperator=cooperator)
        )
        asked = client.post(URL.decode(), json={"a": 1}, reactor=self.reactor)
        self.reactor.pump([0] * 5)
        self.connect()
        self.reactor.pump([0] * 5)
        head, _, body = self.transports[0].value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"POST /v1/messages HTTP/1.1\r\n"))
        self.assertEqual(body, b'{"a":1}')
        self.receive(OK)
        self.assertEqual(self.successResultOf(content(self.successResultOf(asked))), b"{}")

    def test_compressed(self) -> None:
        """Who wants bodies as they are is not told how they are compressed."""
        self.agent = self.make(undecoded=True)
        response, _ = self.exchange(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")
        self.assertFalse(response.headers.hasHeader(b"Content-Encoding"))


class OnPureParserTests(AgentContract, AgentCase):
    pass


class OnHttptoolsTests(AgentContract, AgentCase):
    parser = "httptools"

    def setUp(self) -> None:
        try:
            parser_factory("httptools")
        except ImportError:
            raise SkipTest("httptools is not installed: pip install httptools") from None
        super().setUp()


class TwistedAgentTests(AgentContract, AgentCase):
    kind = "twisted"
    refuses_header_names = hasattr(http_headers, "InvalidHeaderName")  # Twisted 24.7 does not yet


class OwnTests(AgentCase):
    """What is ours alone."""

    def test_one_piece(self) -> None:
        """A request is written as one piece, on a new and on a kept connection."""
        self.exchange(OK)
        self.exchange(OK)
        first, second = self.transports[0].writes
        self.assertEqual(first, second)
        self.assertEqual(
            first,
            b"POST /v1/messages HTTP/1.1\r\nHost: turn.example:8080\r\nContent-Length: 2\r\n\r\n{}",
        )

    def test_cancelled(self) -> None:
        """What is cancelled is not sent again, and says so."""
        self.exchange(OK)
        asked = self.ask(b"GET", body=None)
        asked.cancel()
        failure = self.failureResultOf(asked, ResponseNeverReceived)
        self.assertIsNotNone(failure.value.reasons[0].check(CancelledError))
        self.assertEqual(self.reactor.tcpClients, [])

    def test_prepared(self) -> None:
        """Prepared headers are written as they are, and nothing is added to them."""
        headers = PreparedHeaders({b"Host": [b"other"], b"X": [b"y"]})
        headers.addRawHeader(b"Accept-Encoding", b"gzip")
        self.asked.append(self.agent.request(b"GET", URL, headers.copy()))
        self.assertEqual(self.connect().value(), b"GET /v1/messages HTTP/1.1\r\nHost: other\r\nX: y\r\n\r\n")

    def test_framing_is_ours(self) -> None:
        """Who says where the body ends is the agent."""
        for name in (b"Content-Length", b"transfer-encoding"):
            with case(name=name):
                with self.assertRaises(ValueError):
                    self.ask(headers={name: [b"1"]})

    def test_no_credentials(self) -> None:
        """A URL with credentials or without a host is refused."""
        for uri in (b"http://a:marker@turn.example/", b"http:///x"):
            with case(uri=uri):
                with self.assertRaises(ValueError) as caught:
                    self.failureResultOf(self.ask(uri=uri)).raiseException()
                self.assertNotIn("marker", str(caught.exception))

    def test_hosts(self) -> None:
        """Host has a port only where it is another one, and brackets where it is IPv6."""
        for uri, host in (
            (b"http://turn.example/", b"turn.example"),
            (b"http://turn.example:80/", b"turn.example"),
            (b"http://[::1]:8080/", b"[::1]:8080"),
            (b"http://[::1]/", b"[::1]"),
        ):
            with case(uri=uri, host=host):
                self.assertEqual(self.agent._endpoints.route(uri).host, host)

    def test_asked_to_close(self) -> None:
        """A request that asks the server to close has a connection of its own."""
        self.exchange(OK, headers={b"Connection": [b"close"]})
        self.reactor.advance(0)
        self.assertTrue(self.transports[0].gone)

    def test_surplus(self) -> None:
        """A connection on which more came than was asked for is not used again."""
        _, reader = self.exchange(OK + b"HTTP/1.1 200 OK\r\n")
        self.assertTrue(reader.done)
        self.reactor.advance(0)
        self.assertTrue(self.transports[0].gone)

    def test_upgrade(self) -> None:
        """An upgrade that nobody asked for is no answer."""
        asked = self.ask()
        self.connect()
        self.receive(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
        self.failureResultOf(asked, ResponseFailed)

    def test_latest_first(self) -> None:
        """The connection that was used last is used next, so that the others may end."""
        asked = [self.ask() for _ in range(2)]
        for _ in asked:
            self.connect()
        for transport in (self.transports[1], self.transports[0]):
            self.receive(OK, transport)
        for each in asked:
            self.read(self.successResultOf(each))
        self.ask()
        self.assertEqual([len(transport.writes) for transport in self.transports], [2, 1])

    def test_again_from_the_answer(self) -> None:
        """Who sends the next request from within an answer finds its connection free."""
        asked = self.ask()
        self.connect()
        again: list[Deferred[IResponse]] = []
        asked.addCallback(lambda response: again.append(self.ask()))
        self.receive(OK)
        self.assertEqual((len(again), self.reactor.tcpClients, len(self.transports[0].writes)), (1, [], 2))

    def test_close_while_busy(self) -> None:
        """After closing, a connection is kept by nobody once its answer is there."""
        asked = self.ask()
        self.connect()
        self.successResultOf(self.agent.close())
        self.receive(OK)
        self.read(self.successResultOf(asked))
        self.reactor.advance(0)
        self.assertTrue(self.transports[0].gone)

    def test_kinds(self) -> None:
        """An agent that does not exist is an error."""
        with self.assertRaises(ValueError):
            make_agent(self.reactor, self.tls, kind="slow")


class Producer:
    """Writes what it is told to, whatever its length says."""

    def __init__(self, length: Any, *pieces: bytes) -> None:
        self.length = length
        self.pieces = pieces
        self.stopped = False

    def startProducing(self, consumer: Any) -> Deferred[None]:
        for piece in self.pieces:
            consumer.write(piece)
        return Deferred() if self.stopped else succeed(None)

    def stopProducing(self) -> None:
        self.stopped = True


class BodyTests(SynchronousTestCase):
    def gathered(self, producer: Any) -> Deferred[bytes]:
        return Deferred.fromCoroutine(gathered(producer, 10))

    def test_gathered(self) -> None:
        """A body is gathered, of a known or an unknown length."""
        for length in (4, UNKNOWN_LENGTH):
            with case(length=length):
                self.assertEqual(self.successResultOf(self.gathered(Producer(length, b"ab", b"cd"))), b"abcd")

    def test_wrong_length(self) -> None:
        """A producer that writes more or less than it said fails the request."""
        for length in (3, 5):
            with case(length=length):
                failure = self.failureResultOf(self.gathered(Producer(length, b"ab", b"cd")), RequestGenerationFailed)
                self.assertIsNotNone(failure.value.reasons[0].check(WrongBodyLength))

    def test_too_large(self) -> None:
        """A body over the limit fails the request, and its producer is stopped."""
        for length in (11, UNKNOWN_LENGTH):
            with case(length=length):
                producer = Producer(length, b"abcdef", b"abcdef")
                failure = self.failureResultOf(self.gathered(producer), RequestGenerationFailed)
                self.assertIsNotNone(failure.value.reasons[0].check(BodyTooLarge))
                self.assertEqual(producer.stopped, length is UNKNOWN_LENGTH)

    def test_failing(self) -> None:
        """A body that cannot be produced fails the request with the reason."""

        class Broken(BytesIO):
            def read(self, *_: Any) -> bytes:
                raise OSError("no")

        clock = Clock()
        cooperator = Cooperator(scheduler=lambda call: clock.callLater(0, call))
        producing = FileBodyProducer(Broken(), cooperator=cooperator)
        gathering = self.gathered(producing)
        clock.advance(0)
        failure = self.failureResultOf(gathering, RequestGenerationFailed)
        self.assertIsNotNone(failure.value.reasons[0].check(OSError))
