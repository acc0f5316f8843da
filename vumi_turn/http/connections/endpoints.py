"""The way to each server: TCP or TLS, straight or through a proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Hashable, Optional

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from .proxy import DEFAULT_PORTS, Proxy, ProxySettings, bracketed
from .requests import checked_uri
from .tunnel import TunnelEndpoint

#: Makes what verifies the certificate of a host (a name in ASCII, or an address).
TLS = Callable[[str], IOpenSSLClientConnectionCreator]

#: Routes and endpoints that are remembered: there are as many as URLs.
MAX_REMEMBERED = 1000


@dataclass(frozen=True)
class Route:
    """
    How a URL is asked for.

    :ivar server: connections of the same server can stand in for each other.
    :ivar target: what the request line says.
    :ivar host: what ``Host`` says.
    :ivar proxy: the one that is to forward the request itself, and so reads
        its headers; one that only carries a tunnel is none of the request's.
    """

    server: Hashable
    endpoint: IStreamClientEndpoint
    target: bytes
    host: bytes
    proxy: Optional[Proxy] = None


@implementer(IAgentEndpointFactory)
class Endpoints:
    """
    :param reactor: connects, and tells the time.
    :param tls: for HTTPS servers, and proxies that speak TLS.
    :param proxies: none by default.
    """

    def __init__(self, reactor: Any, tls: TLS, proxies: Optional[ProxySettings] = None) -> None:
        self._reactor = reactor
        self._tls = tls
        self._proxies = proxies if proxies is not None else ProxySettings({})
        self._endpoints: dict[Hashable, IStreamClientEndpoint] = {}
        self._routes: dict[bytes, Route] = {}

    def route(self, uri: bytes) -> Route:
        """
        :param uri: absolute, in ASCII.
        :raises ValueError: it is no URI.
        :raises SchemeNotSupported: it is neither http nor https.
        """
        route = self._routes.get(uri)
        if route is None:
            if len(self._routes) >= MAX_REMEMBERED:
                self._routes.clear()
            route = self._routes[uri] = self._new_route(uri)
        return route

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """For twisted.web's agent. Where a proxy is to forward requests, this is the way to the proxy."""
        return self._way(*_server_of(uri))[1]

    def _new_route(self, uri: bytes) -> Route:
        parsed = URI.fromBytes(checked_uri(uri))
        scheme, host, port = _server_of(parsed)
        server, endpoint, proxy = self._way(scheme, host, port)
        name = bracketed(host).encode("ascii")
        value = name if port == DEFAULT_PORTS[scheme] else b"%b:%d" % (name, port)
        target = parsed.originForm
        if proxy is not None:
            target = b"http://%b%b" % (value, target)
        return Route(server, endpoint, target, value, proxy)

    def _way(self, scheme: str, host: str, port: int) -> tuple[Hashable, IStreamClientEndpoint, Optional[Proxy]]:
        proxy = self._proxies.proxy_for(scheme, host, port)
        if proxy is not None and scheme == "http":
            server: Hashable = proxy
            return server, self._kept(server, lambda: self._to_proxy(proxy)), proxy
        server = (scheme, host, port)
        return server, self._kept(server, lambda: self._to_server(scheme, host, port, proxy)), None

    def _kept(self, server: Hashable, make: Callable[[], IStreamClientEndpoint]) -> IStreamClientEndpoint:
        endpoint = self._endpoints.get(server)
        if endpoint is None:
            if len(self._endpoints) >= MAX_REMEMBERED:
                self._endpoints.clear()
            endpoint = self._endpoints[server] = make()
        return endpoint

    def _to_server(self, scheme: str, host: str, port: int, proxy: Optional[Proxy]) -> IStreamClientEndpoint:
        if proxy is None:
            return self._direct(scheme, host, port)
        tunnel = TunnelEndpoint(self._reactor, self._to_proxy(proxy), host, port, proxy.authorization)
        return self._over_tls(host, tunnel)

    def _to_proxy(self, proxy: Proxy) -> IStreamClientEndpoint:
        return self._direct(proxy.scheme, proxy.host, proxy.port)

    def _direct(self, scheme: str, host: str, port: int) -> IStreamClientEndpoint:
        endpoint = HostnameEndpoint(self._reactor, host, port)
        return self._over_tls(host, endpoint) if scheme == "https" else endpoint

    def _over_tls(self, host: str, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        wrapped: IStreamClientEndpoint = wrapClientTLS(self._tls(host), endpoint)
        return wrapped


def _server_of(uri: URI) -> tuple[str, str, int]:
    scheme = uri.scheme.decode("ascii")
    if scheme not in DEFAULT_PORTS:
        raise SchemeNotSupported(f"Unsupported scheme: {scheme!r}")
    if b"@" in uri.netloc:
        raise ValueError("credentials do not belong into a URL")
    if not uri.host:
        raise ValueError("a URL without a host")
    return scheme, uri.host.decode("ascii").lower(), uri.port
