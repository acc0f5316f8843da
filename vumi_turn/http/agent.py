"""
The parts below treq that make a POST to always the same server cheap: one kept
endpoint, a pool, URLs that are encoded once, and no cookies, redirects or
compression. What an answer holds is counted and dropped: Turn's answers may
quote what they were asked.
"""

from __future__ import annotations

from http.cookiejar import CookieJar
from typing import Any, Mapping, Optional

from hyperlink import EncodedURL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IConsumer, IStreamClientEndpoint, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IClientRequest, IResponse
from zope.interface import implementer

from .tls import VerifiedHost

#: Seconds after which an idle connection is closed: less than the 60 and 75
#: after which load balancers and nginx close theirs, so that it is mostly us.
IDLE_TIMEOUT = 30

#: How much of an answer's body is read before its connection is closed.
MAX_BODY = 65536

DEFAULT_PORTS = {"http": 80, "https": 443}


class PreparedURL(EncodedURL):
    """A URL that treq may encode as often as it likes: it has been done."""

    _text: str

    @classmethod
    def of(cls, text: str) -> PreparedURL:
        """
        :param text: an http(s) URL; its host name may have any letters.
        """
        given = EncodedURL.from_text(text)
        # An IPv6 address is no name that could be encoded.
        encoded = given.to_uri() if ":" not in given.host else _rest_encoded(given)
        url: Any = cls.from_text(encoded.to_text())
        url._text = EncodedURL.to_text(url)
        prepared: PreparedURL = url
        return prepared

    def to_uri(self) -> PreparedURL:
        return self

    def to_text(self, with_password: bool = False) -> str:
        return self._text

    def replace(self, *changes: Any, **named: Any) -> EncodedURL:
        """What is changed is not prepared any more."""
        return EncodedURL.from_text(self._text).replace(*changes, **named)


def _rest_encoded(url: EncodedURL) -> EncodedURL:
    return url.replace(host="").to_uri().replace(host=url.host)


class NoCookies(CookieJar):
    """Keeps none and sends none."""

    def add_cookie_header(self, request: Any) -> None:
        """Send none."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Keep none."""


class PreparedHeaders(Headers):
    """
    Headers that are the same in every request, and are encoded once.

    :ivar lines: as they are written.
    """

    def __init__(self, headers: Mapping[bytes, list[bytes]]) -> None:
        super().__init__(headers)
        self.lines = lines_of(self)

    def copy(self) -> Headers:
        """Themselves: nothing changes them."""
        return self

    def addRawHeader(self, name: Any, value: Any) -> None:
        """Nothing is added: treq would ask for compression, for a body that nobody reads."""


def lines_of(headers: Headers) -> bytes:
    """Headers as they are written, with a line end after each."""
    return b"".join(b"%b: %b\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values)


@implementer(IBodyProducer)
class BytesProducer:
    """A body that is all there."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self.body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to resume."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


@implementer(IClientRequest)
class WholeRequest:
    """
    A request that is written at once: what twisted.web's connection asks of
    its own requests, and no more.
    """

    #: The connection is kept.
    persistent = True

    def __init__(self, method: bytes, uri: bytes, headers: Headers, written: bytes) -> None:
        self.method = method
        self.absoluteURI = uri
        self.headers = headers
        self._written = written

    def writeTo(self, transport: ITransport) -> Deferred[None]:
        """Write it."""
        transport.write(self._written)
        return succeed(None)

    def stopWriting(self) -> None:
        """It has been written."""


@implementer(IAgent)
class LeanAgent:
    """
    An agent for one server, which sends whole bodies.

    :param reactor: connects, and tells the time.
    :param url: any URL of that server.
    :param pool_size: how many idle connections are kept.
    :param trust: authorities other than the system's, for HTTPS.
    """

    def __init__(self, reactor: Any, url: PreparedURL, pool_size: int, trust: Any = None) -> None:
        self._endpoint = endpoint_of(reactor, url, trust)
        self._host = host_header(url)
        self._targets: dict[bytes, bytes] = {}
        self.pool = HTTPConnectionPool(reactor)
        self.pool.maxPersistentPerHost = pool_size
        self.pool.cachedConnectionTimeout = IDLE_TIMEOUT
        # A POST is sent again by those who decide on retries, or not at all.
        self.pool.retryAutomatically = False

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Optional[Headers] = None,
        bodyProducer: Optional[IBodyProducer] = None,
    ) -> Deferred[IResponse]:
        assert headers is not None and isinstance(bodyProducer, BytesProducer)
        if isinstance(headers, PreparedHeaders):
            lines = headers.lines
        else:
            headers.removeHeader(b"Accept-Encoding")
            if not headers.hasHeader(b"Host"):
                headers.setRawHeaders(b"Host", [self._host])
            lines = lines_of(headers)
        written = b"%b %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (
            method,
            self._target_of(uri),
            lines,
            bodyProducer.length,
            bodyProducer.body,
        )
        request = WholeRequest(method, uri, headers, written)
        connected: Any = self.pool.getConnection(b"the server", self._endpoint)
        return connected.addCallback(_request, request)

    def _target_of(self, uri: bytes) -> bytes:
        """What a request line says for a URL."""
        target = self._targets.get(uri)
        if target is None:
            target = self._targets[uri] = URI.fromBytes(uri).originForm
        return target


def _request(connection: Any, request: WholeRequest) -> Deferred[IResponse]:
    return connection.request(request).addCallback(_as_it_is)


def _as_it_is(response: IResponse) -> IResponse:
    """Keep treq from decompressing a body that nobody wants."""
    response.headers.removeHeader(b"Content-Encoding")
    return response


def endpoint_of(reactor: Any, url: PreparedURL, trust: Any = None) -> IStreamClientEndpoint:
    """The endpoint of a URL's server; for HTTPS it verifies the certificate."""
    host = HostnameEndpoint(reactor, url.host, port_of(url))
    if url.scheme != "https":
        return host
    endpoint: IStreamClientEndpoint = wrapClientTLS(VerifiedHost(url.host, trust), host)
    return endpoint


def port_of(url: EncodedURL) -> int:
    """A URL's port, also where it does not say it."""
    port: int = url.port or DEFAULT_PORTS[url.scheme]
    return port


def host_header(url: EncodedURL) -> bytes:
    """What ``Host`` says for a URL."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    if port_of(url) == DEFAULT_PORTS[url.scheme]:
        return host.encode("ascii")
    return f"{host}:{port_of(url)}".encode("ascii")


class _Drain(Protocol):
    """Counts a body, until there is too much of it."""

    def __init__(self, limit: int) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._hang_up())
        self._left = limit

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0 and not self.done.called:
            self.done.callback(None)
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(None)
        else:
            self.done.errback(reason)

    def _hang_up(self) -> None:
        if self.transport is not None:
            # Not loseConnection: over TLS that would wait for the other side.
            self.transport.stopProducing()  # type: ignore[attr-defined]


def drain(response: IResponse, limit: int = MAX_BODY) -> Deferred[None]:
    """
    Read a response's body to its end, so that its connection can be used
    again. Nothing of it is kept.

    :param limit: bytes, after which the connection is closed.
    :return: fires at the end or at the limit; fails where the body is cut.
        Cancelling it closes the connection.
    """
    drain = _Drain(limit)
    response.deliverBody(drain)
    return drain.done
