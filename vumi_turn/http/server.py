"""
A bounded HTTP server: what it takes from each client is limited in size and in
time, and whatever goes wrong is answered in JSON.

twisted.web reads a whole request before a resource sees it, so the limits have
to be here: a body that is too large is refused by its length, or while it is
counted; a request has to have arrived within a time, however busily its client
sends; and idle connections make room for new ones.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site
from zope.interface import implementer

from .errors import ApiError, ApiUsageError, BodyTooLarge
from .responses import BoundedRequest

log = Logger()

#: Seconds in which a whole request has to arrive.
ARRIVAL_TIME = 20.0
#: Seconds for which a connection may be idle; proxies close theirs after 60 or so.
IDLE_TIME = 75.0
#: Seconds after an answer in which a reset says that it was not read.
RESET_TIME = 1.0
#: Seconds for which what a refused client still sends is thrown away, so that
#: it gets to read the answer.
LINGER_TIME = 2.0
#: Bytes of it, beyond which the connection is cut all the same.
LINGER_SIZE = 32 * 1024 * 1024
#: How many connections there are at a time; beyond that the one that has been
#: without a whole request for the longest is closed.
MAX_CONNECTIONS = 500


@implementer(IHalfCloseableProtocol)
class BoundedChannel(HTTPChannel):
    """
    A connection.

    It is *waiting* while no whole request has arrived: those that wait are the
    ones that may be closed.

    :ivar client_has_closed: the client has closed its side, or both.
    """

    totalHeadersSize = 16384
    maxHeaders = 100

    site: BoundedSite
    transport: Any
    timeOut: Any
    _buffer: bytes
    _networkProducer: Any
    _waitingForTransport: bool

    def __init__(self) -> None:
        super().__init__()
        self._arriving = False
        self._answering = False
        self._refused = False
        self._thrown_away = 0
        self._turn: Optional[IDelayedCall] = None
        self._on_reset: Optional[tuple[float, Callable[[], None]]] = None
        self.client_has_closed = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.waits(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._turn is not None:
            self._turn.cancel()
        self.site.gone(self)
        if self._on_reset is not None and not reason.check(ConnectionDone):
            until, callback = self._on_reset
            if self.site.reactor.seconds() < until:
                callback()
        super().connectionLost(reason)

    def readConnectionLost(self) -> None:
        """
        The client has closed its side. It may have closed both, which cannot
        be told apart before something is written: what it has asked for whole
        is answered, and then the connection is closed.
        """
        self.client_has_closed = True
        self._close_if_done()

    def writeConnectionLost(self) -> None:
        """Our side has been closed by ourselves."""

    def _close_if_done(self) -> None:
        if self.client_has_closed and not self._answering and self._turn is None and not self._refused:
            self.transport.loseConnection()

    def call_if_reset(self, callback: Callable[[], None]) -> None:
        """
        Call back where the client resets the connection right after an answer
        and before its next request: it has closed it with the answer unread.
        """
        self._on_reset = self.site.reactor.seconds() + RESET_TIME, callback

    def dataReceived(self, data: bytes) -> None:
        """
        The time for a request runs from its first byte, and no further byte
        prolongs it.
        """
        if self._refused:
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_SIZE:
                self.transport.abortConnection()
            return
        self._begins_to_arrive()
        LineReceiver.dataReceived(self, data)

    def _begins_to_arrive(self) -> None:
        if not self._arriving and not self._answering:
            self._arriving = True
            self.setTimeout(ARRIVAL_TIME)

    def lineReceived(self, line: bytes) -> None:
        if not self._refused:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._respondToBadRequestAndDisconnect()

    def allHeadersReceived(self) -> None:
        """Refuse what says itself that it is too large, before the client is asked for it."""
        request = self.requests[-1]
        if self.length is not None and self.length > self.site.max_request_size:
            request.gotLength(self.length)
            self.refuse(request, BodyTooLarge())
        else:
            super().allHeadersReceived()

    def allContentReceived(self) -> None:
        if self._refused:
            return
        self._arriving = False
        self._answering = True
        self._on_reset = None
        self.site.waits_no_more(self)
        # What the connection is given when the answer has been written.
        self.timeOut = IDLE_TIME
        super().allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if not self._refused:
            super().rawDataReceived(data)

    def requestDone(self, request: Request) -> None:
        if self._refused:
            self.requests.remove(request)
            return
        self._answering = False
        self.site.waits(self)
        self.paused = True
        super().requestDone(request)
        self.paused = False
        if self.persistent and self._buffer:
            self._wait_for_turn()
        self._close_if_done()

    def _wait_for_turn(self) -> None:
        """
        A client may send many requests at once. Each waits until the reactor
        has seen to everybody else, and until the answers before it are read.
        """
        self.paused = True
        self._networkProducer.pauseProducing()
        self._begins_to_arrive()
        if not self._waitingForTransport and self._turn is None:
            self._turn = self.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self._waitingForTransport:
            return
        self.paused = False
        self._networkProducer.resumeProducing()
        LineReceiver.dataReceived(self, b"")
        self._close_if_done()

    def resumeProducing(self) -> None:
        """The client has read its answers."""
        super().resumeProducing()
        if self.paused:
            self._wait_for_turn()

    def refuse(self, request: BoundedRequest, error: ApiError) -> None:
        """
        Answer a request that has not arrived yet, and close the connection.
        What still comes is thrown away for a moment: were the connection
        closed with it unread, the client might never see the answer.
        """
        self._refused = True
        self.persistent = False
        self._networkProducer.unregisterProducer()
        request.method, request.path, request.clientproto = b"POST", b"", b"HTTP/1.1"
        request.setHeader(b"Connection", b"close")
        request.answer(error)
        self.site.observe(error)
        self._hang_up()

    def _hang_up(self) -> None:
        self.setTimeout(LINGER_TIME)
        half_close = getattr(self.transport, "loseWriteConnection", None)
        if half_close is None or self.isSecure():
            self.transport.loseConnection()
        else:
            half_close()

    def resetTimeout(self) -> None:
        """Twisted's older releases let each line prolong a request's time."""

    def timeoutConnection(self) -> None:
        """Too slow, or idle: what has not arrived by now is not waited for."""
        self.transport.abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        """What is not HTTP, or has too many headers."""
        if self._refused:
            return
        self._refused = True
        error = ApiUsageError("the request is not HTTP/1.1 as this server takes it")
        body = error.to_json()
        self._networkProducer.unregisterProducer()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        self._hang_up()

    def close(self) -> None:
        """Close a connection that waits."""
        self.transport.abortConnection()

    def close_in_order(self) -> None:
        """Close a connection that waits; an answer that is still on its way gets there."""
        self.transport.loseConnection()

    def close_after_answer(self) -> None:
        """Close a connection when what is being answered has been."""
        self.persistent = False


class BoundedSite(Site):
    """
    :param resource: what answers.
    :param reactor: measures time.
    :param max_request_size: bytes of a body, beyond which it is refused.
    :param max_connections: see :data:`MAX_CONNECTIONS`.
    :param observe: is told the error with which a request was refused before
        it had arrived.
    """

    protocol = BoundedChannel  # type: ignore[assignment]

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        max_request_size: int,
        max_connections: int = MAX_CONNECTIONS,
        observe: Optional[Callable[[ApiError], None]] = None,
    ) -> None:
        super().__init__(resource, BoundedRequest, timeout=IDLE_TIME, reactor=reactor)
        self.max_request_size = max_request_size
        self.observe = observe or (lambda error: None)
        self._max_connections = max_connections
        self._busy: set[BoundedChannel] = set()
        # In the order in which they began to wait.
        self._waiting: dict[BoundedChannel, None] = {}

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._busy) + len(self._waiting)

    def buildProtocol(self, addr: Optional[IAddress]) -> Any:
        if self.connections >= self._max_connections:
            if not self._waiting:
                return None
            oldest = next(iter(self._waiting))
            self.gone(oldest)
            oldest.close()
        return super().buildProtocol(addr)

    def waits(self, channel: BoundedChannel) -> None:
        """A connection is new, or has had its answer."""
        self._busy.discard(channel)
        self._waiting[channel] = None

    def waits_no_more(self, channel: BoundedChannel) -> None:
        """A connection's request has arrived."""
        self._waiting.pop(channel, None)
        self._busy.add(channel)

    def gone(self, channel: BoundedChannel) -> None:
        """A connection has been closed."""
        self._waiting.pop(channel, None)
        self._busy.discard(channel)

    def startFactory(self) -> None:
        """No access log of twisted.web's: it has addresses and queries."""

    def stopFactory(self) -> None:
        """Nothing listens any more: close what is idle now, and the rest after its answer."""
        for channel in list(self._waiting):
            channel.close_in_order()
        for channel in self._busy:
            channel.close_after_answer()

    def log(self, request: Any) -> None:
        log.debug("{method} {path} was answered {code}", method=request.method, path=request.path, code=request.code)

    def acceptableProtocols(self) -> list[bytes]:
        """For TLS endpoints: HTTP/2 would come without these limits."""
        return [b"http/1.1"]


class Paths(Resource):
    """
    One resource beside others that have exact paths of their own.

    :param resource: answers everything else.
    :param others: by path, such as ``b"/health"``.
    """

    isLeaf = True

    def __init__(self, resource: IResource, others: Mapping[bytes, IResource]) -> None:
        super().__init__()
        self._resource: Any = resource
        self._others: dict[bytes, Any] = dict(others)

    def render(self, request: Request) -> Any:
        return self._others.get(request.path, self._resource).render(request)
