"""POSTs to Turn, on connections in memory."""

from __future__ import annotations

import gzip
import json
from email.utils import formatdate
from typing import Any, Optional

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    NoRouteError,
    TCPTimedOutError,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, ResponseNeverReceived
from twisted.web.http_headers import Headers

from tests.cases import case
from tests.http.case import Transport
from tests.http.resolving import ResolvingReactor
from vumi_turn.http.connections import IDLE_TIMEOUT, BytesProducer, PreparedHeaders, make_agent
from vumi_turn.http.tls import CertificateRefused, VerifiedHost
from vumi_turn.http.urls import PreparedURL, host_header
from vumi_turn.turn.client import CLOSE_TIMEOUT, TurnClient, TurnResponse, answer_for_failure
from vumi_turn.turn.rate_limit import wait_told
from vumi_turn.turn.response_body import MAX_BODY
from vumi_turn.turn.verdicts import BodyMeaning

#: 10 s after this moment Turn will take requests again.
NOW = 1_700_000_000.0
DATE = formatdate(NOW, usegmt=True)

PAYLOAD = {"message": {"text": {"body": "Dumela \u263a"}, "from": "+26612345678"}}


class ClientTransport(Transport):
    """A connection that ends, as a real one does, not inside the call that wants it."""

    def __init__(self, reactor: MemoryReactorClock) -> None:
        super().__init__()
        self._reactor = reactor

    def loseConnection(self) -> None:
        self._reactor.callLater(0, self.go, ConnectionDone())


class ClientCase(SynchronousTestCase):
    """A client, and the connections that it makes."""

    url = "http://turn.example:8080/v1/numbers/1"

    def setUp(self) -> None:
        self.reactor = ResolvingReactor()
        self.reactor.advance(NOW)
        self.transports: list[ClientTransport] = []
        self.client = self.make(self.url)
        self.addCleanup(self.nothing_is_left)

    def make(self, url: str) -> TurnClient:
        return TurnClient(self.reactor, url, "a-token", message_timeout=10, status_timeout=4, pool_size=3)

    def nothing_is_left(self) -> None:
        closing = Deferred.fromCoroutine(self.client.close())
        self.reactor.advance(CLOSE_TIMEOUT)
        self.successResultOf(closing)
        for transport in self.transports:
            transport.go(ConnectionDone())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def post(self, kind: str = "message", payload: Any = None) -> Deferred[TurnResponse]:
        method = self.client.post_message if kind == "message" else self.client.post_status
        return Deferred.fromCoroutine(method(PAYLOAD if payload is None else payload))

    def connect(self) -> ClientTransport:
        """Let the oldest attempt to connect succeed."""
        _, _, factory, _, _ = self.reactor.tcpClients.pop(0)
        protocol = factory.buildProtocol(None)
        transport = ClientTransport(self.reactor)
        transport.protocol = protocol
        assert protocol is not None
        protocol.makeConnection(transport)
        self.transports.append(transport)
        return transport

    def answer(
        self,
        status: int = 200,
        headers: Optional[dict[str, str]] = None,
        body: bytes = b"{}",
        transport: Optional[ClientTransport] = None,
        length: Optional[int] = None,
    ) -> None:
        """Write an answer to the last connection, or to another one."""
        transport = transport or self.transports[-1]
        lines = [f"HTTP/1.1 {status} marker phrase"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines.append(f"Content-Length: {len(body) if length is None else length}")
        transport.protocol.dataReceived("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def exchange(self, status: int = 200, headers: Optional[dict[str, str]] = None) -> TurnResponse:
        """A whole POST, answered with this."""
        posted = self.post()
        if self.reactor.tcpClients:
            self.connect()
        self.answer(status, headers)
        return self.successResultOf(posted)


class RequestTests(ClientCase):
    def sent(self) -> tuple[str, dict[str, list[str]], bytes]:
        """The request line, headers and body on the last connection."""
        head, _, body = self.transports[-1].value().partition(b"\r\n\r\n")
        line, *rest = head.decode("ascii").split("\r\n")
        headers: dict[str, list[str]] = {}
        for header in rest:
            name, value = header.split(": ", 1)
            headers.setdefault(name.lower(), []).append(value)
        return line, headers, body

    def test_message(self) -> None:
        """A message is POSTed to /messages as compact JSON, with the token."""
        self.post()
        self.connect()
        line, headers, body = self.sent()
        self.assertEqual(line, "POST /v1/numbers/1/messages HTTP/1.1")
        self.assertEqual(headers["host"], ["turn.example:8080"])
        self.assertEqual(headers["authorization"], ["Bearer a-token"])
        self.assertEqual(headers["content-type"], ["application/json"])
        self.assertEqual(headers["content-length"], [str(len(body))])
        self.assertEqual(json.loads(body), PAYLOAD)
        self.assertEqual(body, json.dumps(PAYLOAD, separators=(",", ":")).encode("ascii"))
        self.answer()

    def test_status(self) -> None:
        """A status is POSTed to /statuses, also where the URL ends in a slash."""
        self.client = self.make(self.url + "/")
        self.post("status", {"status": {}})
        self.connect()
        self.assertEqual(self.sent()[0], "POST /v1/numbers/1/statuses HTTP/1.1")
        self.answer()

    def test_nothing_more(self) -> None:
        """No compression is asked for, no cookie is sent back, and nothing of Twisted's is named."""
        self.exchange(200, {"Set-Cookie": "session=marker; Path=/"})
        self.transports[-1].clear()
        self.post()
        _, headers, _ = self.sent()
        asked = {"host", "authorization", "content-type", "accept", "user-agent", "content-length"}
        self.assertEqual(set(headers) - {"connection"}, asked)
        self.assertEqual(headers["user-agent"], ["vumi_turn"])
        self.assertNotIn("cookie", headers)
        self.assertNotIn("accept-encoding", headers)
        self.answer()

    def test_nothing_is_smuggled(self) -> None:
        """What is no part of a URL is encoded, and a line break in the token begins no header."""
        self.client = TurnClient(
            self.reactor,
            "http://turn.example/\u00e4 b",
            "a\r\nX-Other: b",
            message_timeout=10,
            status_timeout=4,
            pool_size=3,
        )
        self.post()
        self.connect()
        line, headers, _ = self.sent()
        self.assertEqual(line, "POST /%C3%A4%20b/messages HTTP/1.1")
        self.assertEqual(headers["authorization"], ["Bearer a X-Other: b"])
        self.assertNotIn("x-other", headers)
        self.answer()

    def test_as_twisted_writes_it(self) -> None:
        """A request is, to the byte, what twisted.web's own agent writes for the same headers and body."""
        headers = {b"Host": [b"turn.example"], b"X-Two": [b"one", b"two"], b"Accept": [b"*/*"]}
        url = PreparedURL.of("http://turn.example/a%20path?q=1")
        written = []
        ours = make_agent(self.reactor, VerifiedHost, max_idle_per_host=1)
        for agent in (ours, Agent(self.reactor)):
            with case(agent=agent):
                asked = agent.request(
                    b"POST", url.to_text().encode("ascii"), PreparedHeaders(headers), BytesProducer(b"the body")
                )
                self.connect()
                written.append(self.transports[-1].value())
                self.answer()
                self.assertEqual(self.successResultOf(asked).code, 200)
        ours.close()
        lean, own = (sorted(text.split(b"\r\n")) for text in written)
        self.assertEqual(lean, [line for line in own if line != b"Connection: close"])

    def test_hosts(self) -> None:
        """The Host header has a port only where it is another one, and brackets where it is IPv6."""
        for url, host in (
            ("https://whatsapp.turn.io/v1", b"whatsapp.turn.io"),
            ("https://whatsapp.turn.io:443/v1", b"whatsapp.turn.io"),
            ("https://whatsapp.turn.io:80/v1", b"whatsapp.turn.io:80"),
            ("http://[::1]:8080", b"[::1]:8080"),
            ("http://\u00e4.example", b"xn--4ca.example"),
        ):
            with case(url=url, host=host):
                self.assertEqual(host_header(PreparedURL.of(url)), host)

    def test_large(self) -> None:
        """A message of 100 kB is sent whole."""
        payload = {"text": "x" * 100_000}
        posted = self.post(payload=payload)
        self.connect()
        self.assertEqual(json.loads(self.sent()[2]), payload)
        self.answer()
        self.assertEqual(self.successResultOf(posted).status, 200)


class AnswerTests(ClientCase):
    def test_statuses(self) -> None:
        """Any status is an answer, in the standard's words and not in Turn's."""
        for status, detail in ((200, "OK"), (404, "Not Found"), (503, "Service Unavailable"), (799, "")):
            with case(status=status, detail=detail):
                self.assertEqual(self.exchange(status), TurnResponse(status, None, None, detail))

    def test_redirect(self) -> None:
        """A redirect is not followed: it is a status."""
        for status in (301, 302, 307, 308):
            with case(status=status):
                answer = self.exchange(status, {"Location": "http://elsewhere.example/"})
                self.assertEqual(answer.status, status)
        self.assertEqual(self.reactor.tcpClients, [])

    def test_whole_body(self) -> None:
        """There is no answer before the body has come, and none of it is in the answer."""
        posted = self.post()
        self.connect()
        self.answer(body=b"marker", length=10)
        self.assertNoResult(posted)
        self.transports[-1].protocol.dataReceived(b"more")
        answer = self.successResultOf(posted)
        self.assertEqual(answer.status, 200)
        self.assertNotIn("marker", repr(answer))

    def test_no_body(self) -> None:
        """An answer without a body is one."""
        posted = self.post()
        self.connect()
        self.transports[-1].protocol.dataReceived(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertEqual(self.successResultOf(posted).status, 204)

    def test_endless_body(self) -> None:
        """Of a body that is too long the rest is not read: the status stands, and the connection is closed."""
        posted = self.post()
        transport = self.connect()
        self.answer(body=b"x" * MAX_BODY, length=10**9)
        self.assertNoResult(posted)
        transport.protocol.dataReceived(b"x")
        self.assertEqual(self.successResultOf(posted).status, 200)
        self.assertTrue(transport.gone)

    def test_late_body(self) -> None:
        """A body that has not come when the time is over changes nothing: the status stands."""
        for status in (200, 400, 503):
            with case(status=status):
                posted = self.post()
                transport = self.connect()
                self.answer(status, body=b'{"errors": [', length=20)
                self.reactor.advance(10)
                answer = self.successResultOf(posted)
                self.assertEqual((answer.status, answer.error, answer.meaning), (status, None, BodyMeaning.NOTHING))
                self.assertTrue(transport.gone or transport.producerState == "stopped")

    def test_closed_while_reading(self) -> None:
        """So it is where the client is closed, or the connection lost, while the body is read."""
        for reason in (ConnectionDone(), ConnectionLost(), SSL.Error([("SSL routines", "", "bad record mac")])):
            with case(reason=reason):
                posted = self.post()
                transport = self.connect()
                self.answer(body=b"{", length=20)
                transport.go(reason)
                self.assertEqual(self.successResultOf(posted).status, 200)
        posted = self.post()
        self.connect()
        self.answer(body=b"{", length=20)
        closing = Deferred.fromCoroutine(self.client.close())
        self.assertEqual(self.successResultOf(posted).status, 200)
        self.reactor.advance(CLOSE_TIMEOUT)
        self.successResultOf(closing)

    def test_broken_chunks(self) -> None:
        """A body whose chunks are none changes nothing either."""
        for rest in (b"xx\r\n", b"5\r\nab", b"2\r\n{}junk", b"-1\r\n", b"2;" + b"e" * 20000, b"2\r\n{}\r\n0\r\n"):
            with case(rest=rest):
                posted = self.post()
                transport = self.connect()
                transport.protocol.dataReceived(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                transport.protocol.dataReceived(rest)
                transport.go(ConnectionDone())
                self.reactor.advance(0)
                self.assertEqual(self.successResultOf(posted).status, 200)

    def test_meaning(self) -> None:
        """What the body of a 2xx says is in the answer, with the bucket, and a wait as if it had been a 429."""
        posted = self.post()
        self.connect()
        headers = {"Date": DATE, "Retry-After": "7", "X-Ratelimit-Bucket": "text"}
        self.answer(headers=headers, body=b'{"errors": [{"code": 429}]}')
        answer = self.successResultOf(posted)
        self.assertEqual(
            (answer.status, answer.meaning, answer.wait, answer.bucket), (200, BodyMeaning.TOO_MANY, 7.0, "text")
        )
        self.assertIsNone(self.exchange(200, {"Retry-After": "7"}).wait)

    def test_words(self) -> None:
        """The words of an answer that is no plain yes are kept masked, in no repr; those of a yes are not."""
        for status, kept in ((400, "marker: *** said *** with ***"), (200, "")):
            with case(status=status, kept=kept):
                posted = self.post()
                if self.reactor.tcpClients:
                    self.connect()
                self.answer(status, body="marker: +26612345678 said Dumela \u263a with a-token".encode())
                answer = self.successResultOf(posted)
                self.assertEqual(answer.words, kept)
                self.assertNotIn("marker", repr(answer))

    def test_compressed_bomb(self) -> None:
        """A body is not decompressed: a small one stays small, and its connection is kept."""
        posted = self.post()
        transport = self.connect()
        self.answer(headers={"Content-Encoding": "gzip"}, body=gzip.compress(bytes(100 * MAX_BODY)))
        self.assertEqual(self.successResultOf(posted).status, 200)
        self.assertEqual(transport.producerState, "producing")

    def test_until_closed(self) -> None:
        """A body whose length nobody said ends with the connection."""
        posted = self.post()
        transport = self.connect()
        transport.protocol.dataReceived(b"HTTP/1.1 200 OK\r\n\r\nsome of it")
        self.assertNoResult(posted)
        transport.go(ConnectionDone())
        self.assertEqual(self.successResultOf(posted).status, 200)


class TroubleTests(ClientCase):
    def fail_to_connect(self, reason: Exception) -> TurnResponse:
        posted = self.post()
        _, _, factory, _, _ = self.reactor.tcpClients.pop(0)
        connector: Any = None
        factory.clientConnectionFailed(connector, Failure(reason))
        self.reactor.advance(1)
        return self.successResultOf(posted)

    def test_no_connection(self) -> None:
        """A server that cannot be reached is ``connect``."""
        for reason in (ConnectionRefusedError(), TCPTimedOutError(), NoRouteError()):
            with case(reason=reason):
                answer = self.fail_to_connect(reason)
                self.assertEqual((answer.status, answer.error), (None, "connect"))
                self.assertIn(type(reason).__name__, answer.detail)

    def test_no_name(self) -> None:
        """A host name that is not found is ``dns``."""
        self.reactor.nameResolver.known = False
        answer = self.successResultOf(self.post())
        self.assertEqual((answer.status, answer.error), (None, "dns"))

    def test_lost(self) -> None:
        """A connection that ends before the answer's headers are there is ``lost``."""
        for part in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n"):
            with case(part=part):
                for reason in (ConnectionDone(), ConnectionLost()):
                    with case(reason=reason):
                        posted = self.post()
                        transport = self.connect()
                        if part:
                            transport.protocol.dataReceived(part)
                        transport.go(reason)
                        answer = self.successResultOf(posted)
                        self.assertEqual((answer.status, answer.error), (None, "lost"), (part, reason))

    def test_no_http(self) -> None:
        """An answer that is no HTTP is ``lost``, and its text is told to nobody."""
        for junk in (b"marker\r\n\r\n", b"HTTP/1.1 marker OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nmarker\r\n\r\n"):
            with case(junk=junk):
                posted = self.post()
                transport = self.connect()
                transport.protocol.dataReceived(junk)
                transport.go(ConnectionDone())
                answer = self.successResultOf(posted)
                self.assertEqual((answer.status, answer.error), (None, "lost"))
                self.assertNotIn("marker", answer.detail)

    def test_timeout(self) -> None:
        """The whole POST has its time: to connect, and for the headers."""

        def connecting() -> None:
            pass

        def waiting() -> None:
            self.connect()

        for kind, seconds in (("message", 10), ("status", 4)):
            with case(kind=kind, seconds=seconds):
                for stage in (connecting, waiting):
                    with case(stage=stage):
                        posted = self.post(kind)
                        self.reactor.advance(seconds - 1)
                        stage()
                        self.assertNoResult(posted)
                        self.reactor.advance(1)
                        answer = self.successResultOf(posted)
                        self.assertEqual((answer.status, answer.error), (None, "timeout"), (kind, stage))
                        self.assertIn(f"{seconds} s", answer.detail)
                        self.reactor.tcpClients.clear()
        for transport in self.transports:
            with case(transport=transport):
                self.assertTrue(transport.gone or transport.producerState == "stopped")

    def test_answer_lay_unread(self) -> None:
        """What has arrived when the time is over is read: the process may have stood still."""
        posted = self.post()
        self.connect()
        self.reactor.callLater(10, self.answer)
        self.reactor.advance(10)
        self.assertEqual(self.successResultOf(posted).status, 200)
        self.nothing_is_left()

    def test_late_answer(self) -> None:
        """What comes after a timeout is nobody's answer."""
        posted = self.post()
        self.connect()
        self.reactor.advance(10)
        self.assertEqual(self.successResultOf(posted).error, "timeout")
        self.assertTrue(self.transports[0].gone)
        self.assertEqual(self.exchange(201).status, 201)
        self.assertEqual(len(self.transports), 2)

    def test_tls(self) -> None:
        """TLS trouble is ``tls``, with what is wrong; the reasons of twisted.web are looked into."""
        refused = Failure(CertificateRefused("the certificate has expired"))
        protocol = Failure(SSL.Error([("SSL routines", "", "wrong version number")]))
        for failure, detail in (
            (refused, "the certificate has expired"),
            (protocol, "TLS failed: wrong version number"),
            (Failure(SSL.Error()), "TLS failed: no reason given"),
        ):
            with case(failure=failure, detail=detail):
                answer = answer_for_failure(ResponseNeverReceived([failure]))
                self.assertEqual(answer, TurnResponse(None, "tls", None, detail))

    def test_tls_cut(self) -> None:
        """A connection that ends within TLS is ``lost`` as any other."""
        for error in (SSL.SysCallError(-1, "Unexpected EOF"), SSL.ZeroReturnError()):
            with case(error=error):
                self.assertEqual(answer_for_failure(ResponseNeverReceived([Failure(error)])).error, "lost")

    def test_a_bug(self) -> None:
        """What is no trouble of the network's is not taken for one."""
        self.failureResultOf(self.post(payload={"x": object()}), TypeError)


class PoolTests(ClientCase):
    def test_kept(self) -> None:
        """One connection serves one POST after another."""
        for _ in range(5):
            self.assertEqual(self.exchange().status, 200)
        self.assertEqual(len(self.transports), 1)

    def test_side_by_side(self) -> None:
        """POSTs at the same time have connections of their own, and as many as the pool's size are kept."""
        posted = [self.post() for _ in range(5)]
        for _ in range(5):
            self.connect()
        for transport in self.transports:
            self.answer(transport=transport)
        for each in posted:
            with case(each=each):
                self.assertEqual(self.successResultOf(each).status, 200)
        self.reactor.advance(0)
        self.assertEqual(sum(transport.gone for transport in self.transports), 2)
        again = [self.post() for _ in range(3)]
        self.assertEqual(self.reactor.tcpClients, [])
        for transport in self.transports[2:]:
            self.answer(transport=transport)
        for each in again:
            with case(each=each):
                self.assertEqual(self.successResultOf(each).status, 200)

    def test_closed_while_idle(self) -> None:
        """A connection that the server has closed meanwhile is not used."""
        self.exchange()
        self.transports[0].go(ConnectionDone())
        self.assertEqual(self.exchange().status, 200)
        self.assertEqual(len(self.transports), 2)

    def test_closed_in_that_moment(self) -> None:
        """A POST on a connection that is closed under it is ``lost``, and is not sent again by the pool."""
        self.exchange()
        posted = self.post()
        self.transports[0].go(ConnectionDone())
        self.assertEqual(self.successResultOf(posted).error, "lost")
        self.assertEqual(self.reactor.tcpClients, [])

    def test_idle_connections_end(self) -> None:
        """A connection that is idle for long is closed by us."""
        self.exchange()
        self.reactor.advance(IDLE_TIMEOUT - 1)
        self.assertFalse(self.transports[0].gone)
        self.reactor.pump([1, 0])
        self.assertTrue(self.transports[0].gone)

    def test_close(self) -> None:
        """Closing ends idle connections, and POSTs that are under way as ``lost``."""
        self.exchange()
        first = self.post()
        second = self.post()
        self.connect()
        third = self.post()
        self.answer(transport=self.transports[0])
        self.assertEqual(self.successResultOf(first).status, 200)
        closing = Deferred.fromCoroutine(self.client.close())
        self.reactor.advance(0)
        self.successResultOf(closing)
        self.assertEqual(self.successResultOf(second).error, "lost")
        self.assertEqual(self.successResultOf(third).error, "lost")
        self.assertTrue(all(transport.gone for transport in self.transports))

    def test_close_is_bounded(self) -> None:
        """A connection that won't end holds nobody up."""
        self.exchange()
        self.transports[0].loseConnection = lambda: None  # type: ignore[method-assign]
        closing = Deferred.fromCoroutine(self.client.close())
        self.assertNoResult(closing)
        self.reactor.advance(CLOSE_TIMEOUT)
        self.successResultOf(closing)


class WaitTests(ClientCase):
    def told(self, status: int, headers: dict[str, str], date: Optional[str] = DATE) -> Optional[float]:
        values = {**headers, **({"Date": date} if date is not None else {})}
        wait = wait_told(status, Headers({name: [value] for name, value in values.items()}), NOW + 5)
        return wait

    def test_seconds(self) -> None:
        """Retry-After in seconds is waited for."""
        self.assertEqual(self.told(429, {"Retry-After": "7"}), 7.0)
        self.assertEqual(self.told(429, {"Retry-After": " 1.5 "}), 1.5)

    def test_date(self) -> None:
        """Retry-After as a date is compared with the answer's own Date, not with our clock."""
        self.assertEqual(self.told(429, {"Retry-After": formatdate(NOW + 30, usegmt=True)}), 30.0)

    def test_forms_of_dates(self) -> None:
        """All three forms of HTTP's dates are GMT, also the one that does not say so."""
        for date in ("Tue, 14 Nov 2023 22:13:30 GMT", "Tuesday, 14-Nov-23 22:13:30 GMT", "Tue Nov 14 22:13:30 2023"):
            with case(date=date):
                self.assertEqual(self.told(429, {"Retry-After": date}), 10.0)

    def test_reset(self) -> None:
        """Without Retry-After X-Ratelimit-Reset counts, from the answer's Date."""
        reset = {"X-Ratelimit-Reset": str(NOW + 12.25)}
        self.assertEqual(self.told(429, reset), 12.25)
        self.assertEqual(self.told(429, {"Retry-After": "3", **reset}), 3.0)

    def test_no_date(self) -> None:
        """Where an answer has no Date, or none that can be read, our clock has to do."""
        for date in (None, "yesterday", "Mon, 99 Nov 2026 99:99:99 GMT"):
            with case(date=date):
                self.assertEqual(self.told(429, {"X-Ratelimit-Reset": str(NOW + 12)}, date), 7.0)

    def test_nothing_left(self) -> None:
        """Any answer that says that nothing is left says when there is more."""
        for status in (200, 400, 503):
            with case(status=status):
                headers = {"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": str(NOW + 4)}
                self.assertEqual(self.told(status, headers), 4.0)

    def test_something_left(self) -> None:
        """Otherwise the reset means nothing, and Retry-After only counts in a 429."""
        for headers in (
            {"X-Ratelimit-Remaining": "1", "X-Ratelimit-Reset": str(NOW + 4)},
            {"X-Ratelimit-Reset": str(NOW + 4)},
            {"Retry-After": "30"},
        ):
            with case(headers=headers):
                self.assertIsNone(self.told(200, headers))
                self.assertIsNone(self.told(503, headers))

    def test_too_long(self) -> None:
        """Nobody is believed for more than 10 minutes."""
        self.assertEqual(self.told(429, {"Retry-After": "86400"}), 600.0)
        self.assertEqual(self.told(429, {"Retry-After": "9" * 400}), 600.0)
        self.assertEqual(self.told(429, {"X-Ratelimit-Reset": str(NOW + 1e6)}), 600.0)

    def test_over(self) -> None:
        """A moment that is over is nothing to wait for."""
        self.assertIsNone(self.told(429, {"Retry-After": "0"}))
        self.assertIsNone(self.told(429, {"Retry-After": formatdate(NOW - 30, usegmt=True)}))
        self.assertIsNone(self.told(429, {"X-Ratelimit-Reset": str(NOW - 1)}))

    def test_junk(self) -> None:
        """What cannot be understood was not said."""
        for junk in ("", "soon", "-5", "nan", "inf", "1e3", "0x10", "\u0665", "5 minutes", "Tue, 32 Foo"):
            with case(junk=junk):
                for name in ("Retry-After", "X-Ratelimit-Reset"):
                    with case(name=name):
                        self.assertIsNone(self.told(429, {name: junk}), (name, junk))
                headers = {"X-Ratelimit-Remaining": junk, "X-Ratelimit-Reset": str(NOW + 4)}
                self.assertIsNone(self.told(200, headers))
        self.assertEqual(self.told(429, {"Retry-After": "soon", "X-Ratelimit-Reset": str(NOW + 4)}), 4.0)

    def test_in_an_answer(self) -> None:
        """An answer carries the wait, and the limits that were told last are kept for the metrics."""
        self.assertIsNone(self.client.rate_limit_remaining)
        headers = {"Date": DATE, "X-Ratelimit-Remaining": "41", "X-Ratelimit-Limit": "60"}
        self.assertIsNone(self.exchange(200, headers).wait)
        self.assertEqual((self.client.rate_limit, self.client.rate_limit_remaining), (60, 41))
        answer = self.exchange(429, {"Date": DATE, "Retry-After": "9", "X-Ratelimit-Remaining": "0"})
        self.assertEqual(answer, TurnResponse(429, None, 9.0, "Too Many Requests"))
        self.exchange(200)
        self.assertEqual((self.client.rate_limit, self.client.rate_limit_remaining), (60, 0))
