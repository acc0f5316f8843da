"""Which agent is used, and which parser: decided here and nowhere else."""

from __future__ import annotations

from typing import Any, Optional, Protocol

from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from .agent import KeptAgent
from .endpoints import TLS, Endpoints, Route
from .parsing import ParserFactory
from .proxy import ProxySettings

#: Seconds after which an idle connection is closed: less than the 60 and 75
#: after which load balancers and nginx close theirs, so that it is mostly us.
IDLE_TIMEOUT = 30.0

MAX_IDLE_PER_HOST = 20


class ClosableAgent(Protocol):
    """An ``IAgent`` whose idle connections can be closed."""

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Optional[Headers] = None,
        bodyProducer: Optional[IBodyProducer] = None,
    ) -> Deferred[IResponse]:
        """See ``IAgent``."""

    def close(self) -> Deferred[None]:
        """Close idle connections; fires when they are closed."""


def parser_factory(kind: Optional[str] = None) -> ParserFactory:
    """
    :param kind: ``httptools`` or ``pure``; by default httptools where it is
        installed.
    :raises ImportError: httptools is asked for, and is not installed.
    """
    if kind not in (None, "httptools", "pure"):
        raise ValueError(f"there is no parser {kind!r}")
    if kind != "pure":
        try:
            from .httptools_parser import HttptoolsParser

            return HttptoolsParser
        except ImportError:
            if kind is not None:
                raise
    # One of the two is used, so the other is not loaded.
    from .pure_parser import PureParser

    return PureParser


def make_agent(
    reactor: Any,
    tls: TLS,
    *,
    kind: str = "fast",
    parser: Optional[str] = None,
    proxies: Optional[ProxySettings] = None,
    idle_timeout: float = IDLE_TIMEOUT,
    max_idle_per_host: int = MAX_IDLE_PER_HOST,
    undecoded: bool = False,
) -> ClosableAgent:
    """
    An agent for ``treq.client.HTTPClient``.

    :param reactor: connects, and tells the time.
    :param tls: makes what verifies a host's certificate.
    :param kind: ``fast`` is ours, ``twisted`` is twisted.web's.
    :param parser: see :func:`parser_factory`; for ours only.
    :param proxies: none by default; :meth:`ProxySettings.from_environment`.
    :param idle_timeout: seconds after which an idle connection is closed.
    :param max_idle_per_host: how many idle connections are kept for a server.
    :param undecoded: whether bodies are left compressed, if they are.
    """
    endpoints = Endpoints(reactor, tls, proxies)
    if kind == "twisted":
        pool = HTTPConnectionPool(reactor)
        pool.maxPersistentPerHost = max_idle_per_host
        # An int, by its type only.
        pool.cachedConnectionTimeout = idle_timeout  # type: ignore[assignment]
        return TwistedAgent(reactor, endpoints, pool, undecoded)
    if kind != "fast":
        raise ValueError(f"there is no agent {kind!r}")
    return KeptAgent(
        reactor,
        endpoints,
        parser_factory(parser),
        idle_timeout=idle_timeout,
        max_idle_per_host=max_idle_per_host,
        undecoded=undecoded,
    )


@implementer(IAgent)
class TwistedAgent:
    """twisted.web's own agents, behind the same interface."""

    def __init__(self, reactor: Any, endpoints: Endpoints, pool: HTTPConnectionPool, undecoded: bool) -> None:
        self._reactor = reactor
        self._endpoints = endpoints
        self._pool = pool
        self._undecoded = undecoded
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, pool)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Optional[Headers] = None,
        bodyProducer: Optional[IBodyProducer] = None,
    ) -> Deferred[IResponse]:
        route = self._endpoints.route(uri)
        if route.proxy is None:
            answered: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        else:
            answered = self._through_proxy(route, method, headers, bodyProducer)
        return answered.addCallback(_undecoded) if self._undecoded else answered

    def close(self) -> Deferred[None]:
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _through_proxy(
        self, route: Route, method: bytes, headers: Optional[Headers], producer: Optional[IBodyProducer]
    ) -> Deferred[IResponse]:
        assert route.proxy is not None
        given = Headers(dict(headers.getAllRawHeaders())) if headers is not None else Headers()
        if not given.hasHeader(b"Host"):
            given.setRawHeaders(b"Host", [route.host])
        if route.proxy.authorization is not None:
            given.setRawHeaders(b"Proxy-Authorization", [route.proxy.authorization])
        agent = ProxyAgent(route.endpoint, self._reactor, self._pool)
        answered: Deferred[IResponse] = agent.request(method, route.target, given, producer)
        return answered


def _undecoded(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"Content-Encoding")
    return response
