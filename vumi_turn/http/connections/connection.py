"""
One connection to a server, for one request after another.

===========  ==============================  ==========================================
state        event                           next
===========  ==============================  ==========================================
IDLE         send                            WAITING: the request is written
IDLE         anything received, or the end   CLOSED: nobody asked for it
WAITING      the head of a response          READING: the request's Deferred fires
WAITING      the end, not HTTP, a cancel     CLOSED: the Deferred fails
READING      the end of the response         IDLE, or CLOSED where it is not kept
READING      the end of the connection       CLOSED: the body fails, unless that is its end
any          abort                           CLOSED
===========  ==============================  ==========================================

What fails, fails with twisted.web's classes: ``ResponseNeverReceived`` where
nothing of a response came, else ``ResponseFailed``, each with its reasons.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Callable, Optional

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from .parsing import Head, ParseError, ParserFactory
from .response import Response, SentRequest
from .writing import write_at_once


class State(Enum):
    """See the table above."""

    IDLE = auto()
    WAITING = auto()
    READING = auto()
    CLOSED = auto()


class KeptConnection(Protocol):
    """
    :param make_parser: makes the parser of what the server sends.
    :param became_idle: called each time that another request can be sent.
    :param closed: called once, when none can be sent any more.
    :param undecoded: whether ``Content-Encoding`` is left out of responses.
    :ivar lost: whether the connection has ended.
    :ivar used: whether a request has been sent before the present one.
    :ivar idle_since: for whoever keeps it.
    """

    def __init__(
        self,
        make_parser: ParserFactory,
        became_idle: Callable[[KeptConnection], None],
        closed: Callable[[KeptConnection], None],
        undecoded: bool = False,
    ) -> None:
        self.state = State.IDLE
        self.used = False
        self.idle_since = 0.0
        self._parser = make_parser(self)
        self._became_idle = became_idle
        self._closed = closed
        self._answered: Optional[Deferred[IResponse]] = None
        self._request: Optional[SentRequest] = None
        self._response: Optional[Response] = None
        self._head_to_tell: Optional[Deferred[IResponse]] = None
        self._body: list[bytes] = []
        self._ended = False
        self._received = False
        self._paused = False
        self._keep = True
        self._undecoded = undecoded
        self.lost = False

    def send(self, request: SentRequest, written: bytes, keep: bool = True) -> Deferred[IResponse]:
        """
        Send a request.

        :param written: all of it, head and body: it goes out as one piece.
        :param keep: whether the server was not asked to close.
        :return: fires with the response once its head is there, with its body
            still to come. Cancelling it closes the connection.
        """
        if self.state is not State.IDLE:
            answered: Deferred[IResponse] = Deferred()
            answered.errback(Failure(ResponseNeverReceived([Failure(ConnectionDone())])))
            return answered
        self.state = State.WAITING
        self._request = request
        self._received = self._ended = False
        self._keep = keep
        self._parser.start(request.method)
        self._answered = answered = Deferred(self._cancelled)
        write_at_once(self.transport, written)
        return answered

    def abort(self) -> None:
        """Close it at once, whatever is under way."""
        if self.transport is not None and not self.lost:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close it, in the way of its transport."""
        if self.transport is not None and not self.lost:
            self.transport.loseConnection()

    def pause(self) -> None:
        """Receive nothing."""
        if not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pauseProducing()  # type: ignore[attr-defined]

    def resume(self) -> None:
        """Receive again."""
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[attr-defined]

    # -- the transport

    def dataReceived(self, data: bytes) -> None:
        if self.state is State.IDLE:
            # Whatever it is, it answers nothing: a time-out in words, mostly.
            self._retire()
            self.abort()
            return
        if self.state is State.CLOSED:
            return
        self._received = True
        try:
            self._parser.feed(data)
        except ParseError:
            self._fail(Failure())
            self.abort()
            return
        self._tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        if self.state is State.READING and self._parser.ends_with_connection():
            self._end_with(Failure(PotentialDataLoss()))
        elif self.state in (State.WAITING, State.READING):
            self._fail(reason)
        else:
            self._retire()

    # -- the parser: it is not called from within these, and nobody else either

    def head_received(self, head: Head) -> None:
        assert self._request is not None
        self._keep = self._keep and head.keep
        if self._undecoded:
            head.values.drop(b"content-encoding")
        self._response = Response(head, self._request, self)
        self._head_to_tell = self._answered
        self._answered = None
        self.state = State.READING

    def body_received(self, data: bytes) -> None:
        self._body.append(data)

    def end_received(self) -> None:
        self._ended = True

    # -- what came is told

    def _tell(self) -> None:
        """
        Tell what the parser found. The connection is free for others before
        its response is told, so that whoever sends again at once finds it.
        """
        response = self._response
        if response is None:
            return
        body, self._body = self._body, []
        for data in body:
            response.receive(data)
        answered, self._head_to_tell = self._head_to_tell, None
        if self._ended and self._response is response:
            self._finished()
            response.end()
        if answered is not None:
            answered.callback(response)
        if response.waiting and self._response is response:
            # Its reader has not come yet, and what is kept has a bound.
            self.pause()

    def _finished(self) -> None:
        """The response is whole."""
        self._response = self._request = None
        if self._keep and not self._parser.surplus:
            self.state = State.IDLE
            self.used = True
            self.resume()
            self._became_idle(self)
        else:
            self._retire()
            self.close()

    def _end_with(self, reason: Failure) -> None:
        """The body ends as the connection does."""
        response, self._response = self._response, None
        self._retire()
        if response is not None:
            response.end(reason)

    def _fail(self, reason: Failure) -> None:
        """What is under way fails."""
        answered, self._answered = self._answered, None
        to_tell, self._head_to_tell = self._head_to_tell, None
        response, self._response = self._response, None
        body, self._body = self._body, []
        self._retire()
        if answered is not None:
            kind = ResponseFailed if self._received else ResponseNeverReceived
            answered.errback(Failure(kind([reason])))
        elif response is not None:
            for data in body:
                response.receive(data)
            response.end(Failure(ResponseFailed([reason], response)))
            if to_tell is not None:
                # The head was good.
                to_tell.callback(response)

    def _cancelled(self, _: object) -> None:
        """The request is not waited for any more."""
        self._fail(Failure(CancelledError()))
        self.abort()

    def _retire(self) -> None:
        """No request can be sent any more."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._closed(self)
