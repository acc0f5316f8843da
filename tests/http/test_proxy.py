"""HTTP proxies: which one is used, and the ways through it."""

from __future__ import annotations

from typing import Any, Optional
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from tests.cases import case
from tests.http.connections_case import AgentCase, ServerTransport
from tests.http.test_agent import OK
from vumi_turn.http.connections import ProxyConfigurationError, ProxyRefused, ProxySettings, proxy_shown
from vumi_turn.http.connections.proxy import Proxy, proxy_of
from vumi_turn.http.connections.tunnel import MAX_ANSWER, TunnelEndpoint


class SettingsTests(SynchronousTestCase):
    def shown(self, url: str, **environment: str) -> Optional[str]:
        return proxy_shown(url, environment)

    def test_by_scheme(self) -> None:
        """Each scheme has its proxy; ALL_PROXY is for those without; without any there is none."""
        url = "https://whatsapp.turn.io/v1"
        self.assertIsNone(self.shown(url))
        self.assertIsNone(self.shown(url, HTTP_PROXY="http://p:1"))
        self.assertEqual(self.shown(url, HTTPS_PROXY="http://p:1", HTTP_PROXY="http://q:2"), "http://p:1")
        self.assertEqual(self.shown("http://x/", HTTPS_PROXY="http://p:1", HTTP_PROXY="http://q:2"), "http://q:2")
        self.assertEqual(self.shown(url, ALL_PROXY="http://p:1"), "http://p:1")
        self.assertEqual(self.shown(url, ALL_PROXY="http://p:1", HTTPS_PROXY="http://q:2"), "http://q:2")

    def test_lower_case_first(self) -> None:
        """The lower-case name comes first, and undoes the other where it is empty."""
        self.assertEqual(self.shown("https://x/", HTTPS_PROXY="http://p:1", https_proxy="http://q:2"), "http://q:2")
        self.assertIsNone(self.shown("https://x/", HTTPS_PROXY="http://p:1", https_proxy=""))
        self.assertIsNone(self.shown("https://x/", HTTPS_PROXY="http://p:1", no_proxy="x", NO_PROXY="y"))

    def test_cgi(self) -> None:
        """In a CGI program HTTP_PROXY comes from whoever asks, and counts for nothing."""
        self.assertIsNone(self.shown("http://x/", HTTP_PROXY="http://p:1", REQUEST_METHOD="GET"))
        self.assertEqual(self.shown("http://x/", http_proxy="http://p:1", REQUEST_METHOD="GET"), "http://p:1")

    def test_forms(self) -> None:
        """A value may leave out the scheme and the port; credentials are decoded, and shown to nobody."""
        for value, shown in (
            ("proxy.example", "http://proxy.example:80"),
            ("proxy.example:3128", "http://proxy.example:3128"),
            (" http://proxy.example:3128/ ", "http://proxy.example:3128"),
            ("https://proxy.example", "https://proxy.example:443"),
            ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
            ("http://user:marker@proxy.example:3128", "http://proxy.example:3128"),
        ):
            with case(value=value, shown=shown):
                self.assertEqual(self.shown("https://x/", HTTPS_PROXY=value), shown)
        proxy = proxy_of("HTTPS_PROXY", "http://us%40er:p%3Ass@proxy.example")
        self.assertEqual(proxy.authorization, b"Basic dXNAZXI6cDpzcw==")
        self.assertNotIn("dXNA", repr(proxy))

    def test_refused(self) -> None:
        """What cannot be a proxy is an error that names the variable, without its value."""
        for value in ("socks5://marker:1", "http://", "http://marker:port", "http://a/marker", "http://a:99999/marker"):
            with case(value=value):
                with self.assertRaises(ProxyConfigurationError) as caught:
                    self.shown("https://x/", HTTPS_PROXY=value)
                self.assertTrue(str(caught.exception).startswith("HTTPS_PROXY"))
                self.assertNotIn("marker", str(caught.exception))

    def test_exceptions(self) -> None:
        """NO_PROXY names hosts with their subdomains, addresses and networks, each with or without a port."""
        for entries, url, proxied in (
            ("*", "https://turn.io/", False),
            ("turn.io", "https://turn.io/", False),
            ("turn.io", "https://whatsapp.turn.io/", False),
            ("turn.io", "https://return.io/", True),
            ("TURN.io.", "https://Whatsapp.Turn.IO/", False),
            (".turn.io", "https://turn.io/", False),
            ("*.turn.io", "https://whatsapp.turn.io/", False),
            ("whatsapp.turn.io", "https://turn.io/", True),
            ("a, turn.io ,b", "https://turn.io/", False),
            ("a turn.io", "https://turn.io/", False),
            ("turn.io:443", "https://turn.io/", False),
            ("turn.io:8443", "https://turn.io/", True),
            ("turn.io:8443", "https://turn.io:8443/", False),
            ("10.0.0.1", "https://10.0.0.1/", False),
            ("10.0.0.1", "https://10.0.0.11/", True),
            ("10.0.0.1:443", "https://10.0.0.1/", False),
            ("10.0.0.1:1", "https://10.0.0.1/", True),
            ("10.0.0.0/8", "https://10.9.9.9/", False),
            ("10.0.0.0/8", "https://11.0.0.1/", True),
            ("10.0.0.0/8", "https://ten.example/", True),
            ("10.1.2.3/8", "https://10.9.9.9/", False),
            ("2001:db8::/32", "https://[2001:db8::1]/", False),
            ("::1", "https://[::1]/", False),
            ("[::1]:443", "https://[::1]/", False),
            ("[::1]:1", "https://[::1]/", True),
            ("::1", "https://127.0.0.1/", True),
            ("", "https://turn.io/", True),
            (",", "https://turn.io/", True),
            (".", "https://turn.io/", True),
            ("10.0.0.0/99", "https://10.0.0.1/", True),
        ):
            with case(entries=entries, url=url, proxied=proxied):
                shown = self.shown(url, HTTPS_PROXY="http://p:1", NO_PROXY=entries)
                self.assertEqual(shown is not None, proxied, (entries, url))


class TunnelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.inner: list[Any] = []

    def build(self) -> Protocol:
        class Inner(Protocol):
            data = b""
            reason: Any = None

            def dataReceived(self, data: bytes) -> None:
                self.data += data

            def connectionLost(self, reason: Any = None) -> None:
                self.reason = reason

        self.inner.append(Inner())
        inner: Protocol = self.inner[-1]
        return inner

    def open(self, authorization: Optional[bytes] = None, host: str = "turn.example") -> Deferred[IProtocol]:
        proxy = TCP4ClientEndpoint(self.reactor, "192.0.2.9", 3128)
        endpoint = TunnelEndpoint(self.reactor, proxy, host, 443, authorization, timeout=5)
        opening = endpoint.connect(Factory.forProtocol(self.build))
        factory: Any = self.reactor.tcpClients.pop(0)[2]
        protocol = factory.buildProtocol(None)
        self.transport = ServerTransport(self.reactor)
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        return opening

    def refused(self, opening: Deferred[IProtocol]) -> str:
        failure = self.failureResultOf(opening, ProxyRefused)
        self.assertIsInstance(failure.value, ConnectError)
        self.assertTrue(self.transport.gone)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return str(failure.value)

    def test_open(self) -> None:
        """The proxy is asked for the server, with its credentials; after its yes all bytes are the server's."""
        opening = self.open(b"Basic abc")
        self.assertEqual(
            self.transport.value(),
            b"CONNECT turn.example:443 HTTP/1.1\r\nHost: turn.example:443\r\nProxy-Authorization: Basic abc\r\n\r\n",
        )
        for byte in b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connection established\r\nX: y\r\n\r":
            self.transport.protocol.dataReceived(bytes([byte]))
        self.assertNoResult(opening)
        self.transport.protocol.dataReceived(b"\nfirst")
        self.assertIs(self.successResultOf(opening), self.inner[0])
        self.transport.protocol.dataReceived(b" second")
        self.assertEqual(self.inner[0].data, b"first second")
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.transport.go(ConnectionDone())
        self.assertIsNotNone(self.inner[0].reason)

    def test_plain(self) -> None:
        """Without credentials none are sent; an IPv6 address has its brackets."""
        opening = self.open(host="2001:db8::1")
        asked = b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"
        self.assertEqual(self.transport.value(), asked)
        opening.cancel()
        self.failureResultOf(opening)

    def test_refused(self) -> None:
        """Any other answer is a failure to connect that says what was answered, and no more."""
        for answer, words in (
            (b"HTTP/1.1 407 Proxy Authentication Required\r\nX: marker\r\n\r\n", "407"),
            (b"HTTP/1.1 403 marker\r\n\r\n", "403"),
            (b"HTTP/1.1 302 Found\r\n\r\n", "302"),
            (b"marker\r\n\r\n", "no HTTP"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP"),
            (b"x" * (MAX_ANSWER + 1), "no HTTP"),
        ):
            with case(answer=answer, words=words):
                opening = self.open(b"Basic marker")
                self.transport.protocol.dataReceived(answer)
                told = self.refused(opening)
                self.assertIn(words, told)
                self.assertNotIn("marker", told)
        self.assertEqual(self.inner, [])

    def test_closed(self) -> None:
        """A proxy that hangs up has refused; a connection that breaks is told as it is."""
        opening = self.open()
        self.transport.go(ConnectionDone())
        self.assertIn("closed", self.refused(opening))
        opening = self.open()
        self.transport.go(ConnectionLost())
        self.failureResultOf(opening, ConnectionLost)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_silent(self) -> None:
        """A proxy that does not answer is waited for only so long."""
        opening = self.open()
        self.reactor.advance(4)
        self.assertNoResult(opening)
        self.reactor.advance(1)
        self.assertIn("did not answer", self.refused(opening))

    def test_cancelled(self) -> None:
        """Who does not want the tunnel any more closes the connection to the proxy."""
        opening = self.open()
        opening.cancel()
        self.failureResultOf(opening)
        self.assertTrue(self.transport.gone)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ForwardingTests(AgentCase):
    """http:// through a proxy: it is asked for the whole URL."""

    options = {"proxies": ProxySettings({"http": proxy_of("HTTP_PROXY", "http://u:p@proxy.example:3128")}, "near")}

    def sent(self, uri: bytes) -> tuple[str, list[bytes]]:
        _, reader = self.exchange(OK, uri=uri)
        self.assertTrue(reader.done)
        lines = self.transports[-1].value().partition(b"\r\n\r\n")[0].split(b"\r\n")
        return lines[0].decode(), sorted(line for line in lines[1:] if not line.lower().startswith(b"connection"))

    def test_forwarded(self) -> None:
        """The request line says the whole URL, Host the server's, and the proxy has its credentials."""
        line, headers = self.sent(b"http://turn.example:8080/a?b=c")
        self.assertEqual(line, "POST http://turn.example:8080/a?b=c HTTP/1.1")
        self.assertEqual(
            headers, [b"Content-Length: 2", b"Host: turn.example:8080", b"Proxy-Authorization: Basic dTpw"]
        )

    def test_not_forwarded(self) -> None:
        """Whom NO_PROXY names sees no credentials of the proxy's."""
        line, headers = self.sent(b"http://near/a")
        self.assertEqual((line, headers), ("POST /a HTTP/1.1", [b"Content-Length: 2", b"Host: near"]))

    def test_shared(self) -> None:
        """Connections to the proxy serve every server behind it."""
        self.exchange(OK, uri=b"http://one.example/")
        self.exchange(OK, uri=b"http://two.example/")
        self.assertEqual(len(self.transports), 1)


class TwistedForwardingTests(ForwardingTests):
    kind = "twisted"


class TunnelledTests(AgentCase):
    """https:// through a proxy: TLS begins within the tunnel."""

    options = {"proxies": ProxySettings({"https": Proxy("http", "proxy.example", 3128)})}

    def tls(self, host: str) -> Any:
        self.assertEqual(host, urlsplit("https://turn.example").hostname)

        class Refusing:
            def clientConnectionForTLS(self, protocol: Any) -> Any:
                raise RuntimeError("TLS begins")

        creator = Refusing()
        directlyProvides(creator, IOpenSSLClientConnectionCreator)
        return creator

    def test_tunnel(self) -> None:
        """The proxy is asked to connect, and TLS begins for the server's own name after its yes."""
        asked = self.ask(uri=b"https://turn.example/")
        self.assertEqual(self.reactor.tcpClients[0][1], 3128)
        self.connect()
        self.assertEqual(self.transports[0].value().split(b"\r\n")[0], b"CONNECT turn.example:443 HTTP/1.1")
        with self.assertRaises(RuntimeError):
            self.receive(b"HTTP/1.1 200 OK\r\n\r\n")
        # As the reactor does after such an error.
        self.transports[0].go(ConnectionLost())
        self.failureResultOf(asked, ConnectionLost)

    def test_refused(self) -> None:
        """A proxy that refuses is a failure to connect."""
        asked = self.ask(uri=b"https://turn.example/")
        self.connect()
        self.receive(b"HTTP/1.1 403 No\r\n\r\n")
        self.failureResultOf(asked, ConnectError)


class TwistedTunnelledTests(TunnelledTests):
    kind = "twisted"
