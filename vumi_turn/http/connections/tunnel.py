"""The way through an HTTP proxy to an HTTPS server: CONNECT (RFC 9110, 9.3.6)."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from .proxy import bracketed

#: Seconds for a proxy to open a tunnel, once it is connected.
TUNNEL_TIMEOUT = 30.0

#: Bytes of a proxy's answer to CONNECT.
MAX_ANSWER = 16384


class ProxyRefused(ConnectError):
    """The proxy opened no tunnel; the text says what it answered."""

    def __init__(self, why: str) -> None:
        super().__init__(string=why)
        self.why = why

    def __str__(self) -> str:
        return self.why


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """
    Connects to a server through a proxy (RFC 9110, 9.3.6); TLS can be laid
    around it as around any endpoint.

    :param reactor: tells the time.
    :param proxy_endpoint: connects to the proxy.
    :param host: of the server, which the proxy looks up; ASCII.
    :param authorization: for ``Proxy-Authorization``.
    :param timeout: seconds for the proxy's answer.
    """

    def __init__(
        self,
        reactor: Any,
        proxy_endpoint: IStreamClientEndpoint,
        host: str,
        port: int,
        authorization: Optional[bytes] = None,
        timeout: float = TUNNEL_TIMEOUT,
    ) -> None:
        server = f"{bracketed(host)}:{port}".encode("ascii")
        credentials = b"Proxy-Authorization: %b\r\n" % authorization if authorization is not None else b""
        self._asked = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (server, server, credentials)
        self._reactor = reactor
        self._proxy = proxy_endpoint
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        :return: fires with the protocol once the tunnel is there; fails with
            :class:`ProxyRefused` or as the way to the proxy does.
        """
        opening = Factory.forProtocol(lambda: _Tunnel(self._reactor, self._asked, protocolFactory, self._timeout))
        connecting: Deferred[Any] = self._proxy.connect(opening)
        return connecting.addCallback(lambda tunnel: tunnel.opened)


class _Tunnel(Protocol):
    """Asks the proxy, and then stands between the transport and the real protocol."""

    def __init__(self, reactor: Any, asked: bytes, factory: IProtocolFactory, timeout: float) -> None:
        self.opened: Deferred[IProtocol] = Deferred(self._cancelled)
        self._reactor = reactor
        self._asked = asked
        self._factory = factory
        self._timeout = timeout
        self._answer = b""
        self._inner: Any = None
        self._timer: Any = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._timer = self._reactor.callLater(self._timeout, self._refuse, "the proxy did not answer CONNECT")
        self.transport.write(self._asked)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self.opened.called:
            return
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if not end:
            if len(self._answer) > MAX_ANSWER:
                self._refuse("the proxy's answer to CONNECT is no HTTP")
            return
        status = _status_of(head)
        if status is None:
            self._refuse("the proxy's answer to CONNECT is no HTTP")
        elif 100 <= status < 200:
            self._answer = b""
            self.dataReceived(rest)
        elif 200 <= status < 300:
            self._open(rest)
        elif status == 407:
            self._refuse("the proxy wants other credentials (407)")
        else:
            self._refuse(f"the proxy refused to connect ({status})")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif reason.check(ConnectionDone):
            self._refuse("the proxy closed the connection")
        else:
            self._fail(reason)

    def _open(self, rest: bytes) -> None:
        assert self.transport is not None
        self._timer.cancel()
        inner: Any = self._factory.buildProtocol(self.transport.getPeer())
        if inner is None:
            self._refuse("no protocol was built")
            return
        self._answer = b""
        inner.makeConnection(self.transport)
        self._inner = inner
        self.opened.callback(inner)
        if rest:
            inner.dataReceived(rest)

    def _refuse(self, why: str) -> None:
        self._fail(Failure(ProxyRefused(why)))

    def _fail(self, reason: Failure) -> None:
        if self._timer.active():
            self._timer.cancel()
        if not self.opened.called:
            self.opened.errback(reason)
            self.transport.abortConnection()  # type: ignore[union-attr]

    def _cancelled(self, _: object) -> None:
        if self._timer.active():
            self._timer.cancel()
        self.transport.abortConnection()  # type: ignore[union-attr]


def _status_of(head: bytes) -> Optional[int]:
    version, _, rest = head.partition(b"\r\n")[0].partition(b" ")
    code = rest[:3]
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not code.isdigit() or rest[3:4] not in (b"", b" "):
        return None
    return int(code) if len(code) == 3 else None
