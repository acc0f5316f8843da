"""An ``IAgent`` on kept connections, for ``treq.client.HTTPClient`` to stand on."""

from __future__ import annotations

from functools import partial
from typing import Any, Optional

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from .connection import KeptConnection
from .endpoints import Endpoints, Route
from .parsing import ParserFactory
from .pool import IdleConnections
from .requests import (
    BytesProducer,
    PreparedHeaders,
    checked_method,
    closes,
    gathered,
    length_line,
    lines_of,
)
from .response import SentRequest

#: What may be sent again without harm. Source: RFC 9110, 9.2.2; as in
#: twisted.web's pool.
IDEMPOTENT = frozenset((b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"TRACE"))


@implementer(IAgent)
class KeptAgent:
    """
    HTTP/1.1 on connections that are kept, each request written as one piece.

    A server may close a kept connection in the moment in which a request is
    written to it. As twisted.web's pool does, such a request is sent once
    more, on a new connection, if it is idempotent and has no body, nothing of
    a response came, and the connection had served another request before. A
    POST is never sent again: whether it was handled is not known, and those
    who decide on retries are told.

    :param reactor: tells the time.
    :param endpoints: the way to each server.
    :param make_parser: makes the parser of each connection.
    :param idle_timeout: seconds after which an idle connection is closed.
    :param max_idle_per_host: how many idle connections are kept for a server;
        there is no bound on those in use.
    :param undecoded: whether ``Content-Encoding`` is kept from those above, so
        that treq does not decompress.
    """

    def __init__(
        self,
        reactor: Any,
        endpoints: Endpoints,
        make_parser: ParserFactory,
        *,
        idle_timeout: float,
        max_idle_per_host: int,
        undecoded: bool = False,
    ) -> None:
        self._endpoints = endpoints
        self._make_parser = make_parser
        self._undecoded = undecoded
        self._idle = IdleConnections(reactor, idle_timeout, max_idle_per_host)
        self._closing: set[KeptConnection] = set()
        self._all_closed: Optional[Deferred[None]] = None

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Optional[Headers] = None,
        bodyProducer: Optional[IBodyProducer] = None,
    ) -> Deferred[IResponse]:
        """
        :raises ValueError: for a method, URI or header that would begin
            another line of the request.
        :return: fires with the response once its head is there. Cancelling it
            ends the request, and its connection.
        """
        try:
            route = self._endpoints.route(uri)
        except SchemeNotSupported:
            return fail(Failure())
        request = SentRequest(checked_method(method), uri, headers if headers is not None else Headers())
        head, keep = _head_of(request, route)
        if bodyProducer is None:
            return self._send(route, request, head + length_line(method, None) + b"\r\n", keep, method in IDEMPOTENT)
        if type(bodyProducer) is BytesProducer:
            body = bodyProducer.body
            return self._send(route, request, b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body), keep)
        return ensureDeferred(self._gather_and_send(route, request, head, keep, bodyProducer))

    def close(self) -> Deferred[None]:
        """
        Close all idle connections, and from now on each one after its
        response.

        :return: fires when the idle ones are closed: over TLS each waits for
            its server, without a bound.
        """
        closed: Deferred[None] = Deferred()
        self._all_closed = closed
        self._closing = set(self._idle.close())
        self._closing = {connection for connection in self._closing if not connection.lost}
        if not self._closing:
            closed.callback(None)
        return closed

    async def _gather_and_send(
        self, route: Route, request: SentRequest, head: bytes, keep: bool, producer: IBodyProducer
    ) -> IResponse:
        body = await gathered(producer)
        return await self._send(route, request, head + length_line(request.method, body) + b"\r\n" + body, keep)

    def _send(
        self, route: Route, request: SentRequest, written: bytes, keep: bool, repeatable: bool = False
    ) -> Deferred[IResponse]:
        connection = self._idle.take(route.server)
        if connection is None:
            return self._send_on_new(route, request, written, keep)
        answered = connection.send(request, written, keep)
        if repeatable:
            answered.addErrback(self._again, route, request, written, keep)
        return answered

    def _send_on_new(self, route: Route, request: SentRequest, written: bytes, keep: bool) -> Deferred[IResponse]:
        factory = Factory.forProtocol(
            partial(
                KeptConnection,
                self._make_parser,
                partial(self._idle.give, route.server),
                partial(self._lost, route),
                self._undecoded,
            )
        )
        factory.noisy = False
        connecting: Deferred[Any] = route.endpoint.connect(factory)
        return connecting.addCallback(KeptConnection.send, request, written, keep)

    def _again(
        self, failure: Failure, route: Route, request: SentRequest, written: bytes, keep: bool
    ) -> Deferred[IResponse]:
        error: Any = failure.value
        if not isinstance(error, ResponseNeverReceived) or error.reasons[0].check(CancelledError):
            failure.raiseException()
        return self._send_on_new(route, request, written, keep)

    def _lost(self, route: Route, connection: KeptConnection) -> None:
        self._idle.lost(route.server, connection)
        self._closing.discard(connection)
        if self._all_closed is not None and not self._closing and not self._all_closed.called:
            self._all_closed.callback(None)


def _head_of(request: SentRequest, route: Route) -> tuple[bytes, bool]:
    """The request line and the headers, and whether the connection is kept afterwards."""
    headers = request.headers
    keep = True
    if isinstance(headers, PreparedHeaders):
        lines = headers.lines
        if not headers.names_host:
            lines = b"Host: %b\r\n%b" % (route.host, lines)
    else:
        keep = not closes(headers)
        lines = lines_of(headers)
        if not headers.hasHeader(b"Host"):
            lines = b"Host: %b\r\n%b" % (route.host, lines)
    if route.proxy is not None and route.proxy.authorization is not None:
        lines += b"Proxy-Authorization: %b\r\n" % route.proxy.authorization
    return b"%b %b HTTP/1.1\r\n%b" % (request.method, route.target, lines), keep
