"""
One connection of the bounded server.

twisted.web reads a whole request before a resource sees it, so the limits have
to be here: a body that is too large is refused by its length, or while it is
counted; a request has to have arrived within a time, however busily its client
sends.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Optional, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from .errors import ApiError, ApiUsageError, BodyTooLarge, ServerBusy, UnsupportedMediaType
from .lazy_timeout import LazyTimeout
from .responses import BoundedRequest
from .twisted_web import OpenChannel

#: Seconds in which a whole request has to arrive.
ARRIVAL_TIME = 20.0
#: Seconds for which a connection may be idle: longer than load balancers keep
#: theirs (Google's 600, Amazon's 60), so that none is closed under a request.
IDLE_TIME = 620.0
#: Seconds after an answer in which a reset says that it was not read.
RESET_TIME = 5.0
#: Seconds for which what a refused client still sends is thrown away, so that
#: it gets to read the answer.
LINGER_TIME = 2.0
#: Bytes of it, beyond which the connection is cut all the same.
LINGER_SIZE = 32 * 1024 * 1024
#: Seconds that a connection beyond the number allowed has for its headers.
BEYOND_LIMIT_TIME = 5.0
#: Bytes of a Content-Length's line that is read as a number.
LENGTH_LINE = 40

_LENGTH = re.compile(rb"(?i)content-length:[ \t]*[0-9]+[ \t]*")


class ConnectionLimit(Protocol):
    """What a connection asks of its site."""

    reactor: IReactorTime
    max_request_size: int
    observe: Callable[[ApiError], None]
    leaving: bool

    def waits(self, channel: BoundedChannel) -> None:
        """A connection is new, has had its answer, or a request begins to arrive on it."""

    def waits_no_more(self, channel: BoundedChannel) -> None:
        """A connection's request has arrived."""

    def gone(self, channel: BoundedChannel) -> None:
        """A connection has been closed."""

    def hold(self, size: int) -> bool:
        """Count bytes that are held for requests; False where there are too many already."""

    def release(self, size: int) -> None:
        """Count them off."""


@implementer(IHalfCloseableProtocol)
class BoundedChannel(OpenChannel):
    """
    A connection.

    It is *waiting* while no whole request has arrived: those that have waited
    for long may be closed. One beyond the number allowed is answered 503.

    :ivar client_has_closed: the client has closed its side, or both.
    """

    totalHeadersSize = 16384
    maxHeaders = 100

    site: ConnectionLimit

    def __init__(self) -> None:
        super().__init__()
        self._arriving = False
        self._answering = False
        self._refused = False
        self._thrown_away = 0
        self._turn: Optional[IDelayedCall] = None
        self._held = 0
        self._huge = False
        self._on_reset: Optional[tuple[float, Callable[[], None]]] = None
        self._host: Any = None
        self._peer: Any = None
        self.is_beyond_limit = False
        self.client_has_closed = False

    def connectionMade(self) -> None:
        self._timeout = LazyTimeout(self.site.reactor, self.timeoutConnection)
        super().connectionMade()
        if self.is_beyond_limit:
            self.setTimeout(BEYOND_LIMIT_TIME)
        else:
            self.site.waits(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._turn is not None:
            self._turn.cancel()
        self.site.gone(self)
        self._release()
        if self._on_reset is not None and not reason.check(ConnectionDone):
            until, callback = self._on_reset
            if self.site.reactor.seconds() < until:
                callback()
        super().connectionLost(reason)
        self._timeout.stop()

    def readConnectionLost(self) -> None:
        """
        The client has closed its side. It may have closed both, which cannot
        be told apart before something is written: what it has asked for whole
        is answered, and then the connection is closed.
        """
        self.client_has_closed = True
        self._close_if_done()

    def getHost(self) -> Any:
        """Our address; it stays the same, and asking for it is a system call."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def getPeer(self) -> Any:
        """The client's address."""
        if self._peer is None:
            self._peer = super().getPeer()
        return self._peer

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
        if not self._arriving and not self._answering and not self.is_beyond_limit:
            self._arriving = True
            self.setTimeout(ARRIVAL_TIME)
            self.site.waits(self)

    def lineReceived(self, line: bytes) -> None:
        if not self._refused:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse_malformed()

    def headerReceived(self, line: bytes) -> bool:
        """Python converts no number of thousands of digits; such a body is too large without that."""
        if len(line) > LENGTH_LINE and _LENGTH.fullmatch(line) is not None:
            self._huge = True
            return True
        accepted: bool = super().headerReceived(line)
        return accepted

    def allHeadersReceived(self) -> None:
        """Refuse what cannot be taken before the client is asked for its body."""
        request = self.requests[-1]
        error = self._refusal_of(request)
        if error is None:
            super().allHeadersReceived()
        else:
            request.gotLength(0)
            self.refuse(request, error)

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Where another process takes the next connections the client is told to make one."""
        persistent: bool = super().checkPersistence(request, version)
        if self.site.leaving:
            request.responseHeaders.setRawHeaders(b"connection", [b"close"])
            return False
        return persistent

    def _refusal_of(self, request: BoundedRequest) -> Optional[ApiError]:
        if self.is_beyond_limit:
            return ServerBusy()
        if self._huge or (self.length is not None and self.length > self.site.max_request_size):
            return BodyTooLarge()
        for encoding in request.requestHeaders.getRawHeaders(b"content-encoding", ()):
            if encoding.strip().lower() not in (b"", b"identity"):
                return UnsupportedMediaType()
        return None

    def hold(self, request: BoundedRequest, size: int) -> bool:
        """
        Take so many more bytes of a request into memory.

        :return: False if the request has been refused instead.
        """
        if self._held + size > self.site.max_request_size:
            self.refuse(request, BodyTooLarge())
        elif not self.site.hold(size):
            self.refuse(request, ServerBusy())
        else:
            self._held += size
            return True
        return False

    def _release(self) -> None:
        self.site.release(self._held)
        self._held = 0

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
        self._release()
        self.site.waits(self)
        self.paused = True
        super().requestDone(request)
        self.paused = False
        if self.persistent and self.has_unread:
            self._wait_for_turn()
        self._close_if_done()

    def _wait_for_turn(self) -> None:
        """
        A client may send many requests at once. Each waits until the reactor
        has seen to everybody else, and until the answers before it are read.
        """
        self.paused = True
        self.pause_reading()
        self._begins_to_arrive()
        if not self.client_reads_slowly and self._turn is None:
            self._turn = self.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self.client_reads_slowly:
            return
        self.paused = False
        self.resume_reading()
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
        self._release()
        self.persistent = False
        self.leave_reading()
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

    def setTimeout(self, period: Optional[float]) -> Optional[float]:
        """As Twisted's, at a lower cost. Gives the period before."""
        before: Optional[float] = self.timeOut
        self.timeOut = period
        self._timeout.set(period)
        return before

    def resetTimeout(self) -> None:
        """Twisted's older releases let each line prolong a request's time."""

    def timeoutConnection(self) -> None:
        """Too slow, or idle: what has not arrived by now is not waited for."""
        self.transport.abortConnection()

    def refuse_malformed(self) -> None:
        """What is not HTTP, or has too many headers."""
        if self._refused:
            return
        self._refused = True
        error = ApiUsageError("the request is not HTTP/1.1 as this server takes it")
        body = error.to_json()
        self.leave_reading()
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
