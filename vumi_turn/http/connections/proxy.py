"""
HTTP proxies, as ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and
``NO_PROXY`` name them, and the way through one to an HTTPS server.

There is no standard for these variables. Where curl, Python's urllib and httpx
agree it is as they do: lower-case names come before upper-case ones, an empty
value is none, a value without a scheme means ``http://``.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Mapping, Optional, Union
from urllib.parse import unquote, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

DEFAULT_PORTS = {"http": 80, "https": 443}

#: Seconds for a proxy to open a tunnel, once it is connected.
TUNNEL_TIMEOUT = 30.0

#: Bytes of a proxy's answer to CONNECT.
MAX_ANSWER = 16384


class ProxyConfigurationError(ValueError):
    """A proxy variable cannot be used; the text names it, and shows no credentials."""


class ProxyRefused(ConnectError):
    """The proxy opened no tunnel; the text says what it answered."""

    def __init__(self, why: str) -> None:
        super().__init__(string=why)
        self.why = why

    def __str__(self) -> str:
        return self.why


@dataclass(frozen=True)
class Proxy:
    """
    :ivar scheme: how the proxy itself is spoken to, ``http`` or ``https``.
    :ivar authorization: the value of ``Proxy-Authorization``, if it wants one.
    """

    scheme: str
    host: str
    port: int
    authorization: Optional[bytes] = field(default=None, repr=False)

    def shown(self) -> str:
        """Its URL, without credentials."""
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


class ProxySettings:
    """
    Which proxy serves which URL.

    :param proxies: by the scheme of the URL that is asked for.
    :param exceptions: a value of ``NO_PROXY``: separated by commas or blanks,
        ``*``, a host name (its subdomains too, with or without a leading dot or
        ``*.``), an IP address, or a network such as ``10.0.0.0/8``; each but the
        network with ``:port`` if only that port is meant.
    """

    def __init__(self, proxies: Mapping[str, Proxy], exceptions: str = "") -> None:
        self._proxies = dict(proxies)
        self._exceptions = [NoProxy.of(entry) for entry in exceptions.replace(",", " ").split()]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ProxySettings:
        """
        :raises ProxyConfigurationError: naming the variable.
        """
        proxies: dict[str, Proxy] = {}
        for scheme in DEFAULT_PORTS:
            for name in (f"{scheme}_proxy", "all_proxy"):
                found = _value_of(environment, name)
                if found is not None:
                    proxies[scheme] = proxy_of(*found)
                    break
        exceptions = _value_of(environment, "no_proxy")
        return cls(proxies, exceptions[1] if exceptions is not None else "")

    def proxy_for(self, scheme: str, host: str, port: int) -> Optional[Proxy]:
        """
        :param host: without brackets.
        :return: None where the server is spoken to directly.
        """
        proxy = self._proxies.get(scheme)
        if proxy is None or any(exception.holds(host, port) for exception in self._exceptions):
            return None
        return proxy


def proxy_shown(url: str, environment: Mapping[str, str]) -> Optional[str]:
    """
    Which proxy is used for a URL, for people.

    :param url: an absolute http(s) URL.
    :return: the proxy's URL without credentials, None where there is none.
    :raises ProxyConfigurationError: naming the variable.
    """
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    proxy = ProxySettings.from_environment(environment).proxy_for(parts.scheme, parts.hostname or "", port)
    return proxy.shown() if proxy is not None else None


def _value_of(environment: Mapping[str, str], name: str) -> Optional[tuple[str, str]]:
    """The variable that counts, and its value; the lower-case one may be empty to undo the other."""
    for variable in (name, name.upper()):
        # A CGI program's HTTP_PROXY is the request's header "Proxy" (httpoxy).
        if variable in environment and not (variable == "HTTP_PROXY" and "REQUEST_METHOD" in environment):
            value = environment[variable].strip()
            return (variable, value) if value else None
    return None


def proxy_of(variable: str, value: str) -> Proxy:
    """
    :param variable: where the value stands, for the error.
    :param value: such as ``http://user:password@proxy.example:3128``.
    :raises ProxyConfigurationError: for what is no proxy's URL, or one of a kind that is not supported.
    """
    text = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ProxyConfigurationError(f"{variable} is not a proxy's URL, such as http://proxy.example:3128") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ProxyConfigurationError(f"{variable}: a proxy of the kind {parts.scheme}:// is not supported")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ProxyConfigurationError(f"{variable} is not a proxy's URL, such as http://proxy.example:3128")
    return Proxy(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme], _authorization_of(parts))


def _authorization_of(parts: Any) -> Optional[bytes]:
    if parts.username is None and parts.password is None:
        return None
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return b"Basic " + base64.b64encode(credentials.encode("utf-8"))


Address = Union[IPv4Address, IPv6Address]


@dataclass(frozen=True)
class NoProxy:
    """
    One entry of ``NO_PROXY``.

    :ivar name: a host name, lower case; ``*`` is every host; empty for a network.
    :ivar network: of addresses; a single one too.
    :ivar port: None is any.
    """

    name: str
    network: Optional[Union[IPv4Network, IPv6Network]] = None
    port: Optional[int] = None

    @classmethod
    def of(cls, entry: str) -> NoProxy:
        """What cannot be understood matches no host, as everywhere."""
        try:
            return cls("", ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            pass
        host, colon, digits = entry.rpartition(":")
        port = int(digits) if colon and digits.isascii() and digits.isdigit() and len(digits) < 6 else None
        if port is None:
            host = entry
        address = _address_of(host.strip("[]"))
        if address is not None:
            return cls("", ip_network(address), port)
        name = host.lower().rstrip(".")
        return cls(name if name == "*" else name.removeprefix("*").lstrip("."), None, port)

    def holds(self, host: str, port: int) -> bool:
        """Whether it means this server."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            address = _address_of(host)
            return address is not None and address.version == self.network.version and address in self.network
        name = host.lower().rstrip(".")
        return self.name == "*" or (self.name != "" and (name == self.name or name.endswith("." + self.name)))


def _address_of(host: str) -> Optional[Address]:
    try:
        return ip_address(host)
    except ValueError:
        return None


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


# -- CONNECT ------------------------------------------------------------------


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
