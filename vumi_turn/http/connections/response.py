"""A response, and what its reader may do to the connection that it comes on."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Optional

from twisted.internet.interfaces import IProtocol, IPushProducer, ITransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IClientRequest, IResponse
from zope.interface import implementer

from .parsing import Head

if TYPE_CHECKING:
    from .connection import KeptConnection

#: How a body ends well; its traceback would say nothing.
DONE = Failure(ResponseDone("Response body fully received"))


@implementer(IClientRequest)
class SentRequest:
    """What a response says of its request."""

    __slots__ = ("absoluteURI", "headers", "method")

    def __init__(self, method: bytes, uri: bytes, headers: Headers) -> None:
        self.method = method
        self.absoluteURI = uri
        self.headers = headers


class Delivery(Enum):
    """Where a body is."""

    #: It has no reader yet; what has come is kept.
    WAITING = auto()
    #: Its reader gets it as it comes.
    READING = auto()
    #: Its reader has been told of its end.
    OVER = auto()


@implementer(IPushProducer, ITransport)
class BodyTransport:
    """
    The transport of a body's reader: it holds the connection only until the
    body's end, so that nobody stops what serves somebody else by then.
    """

    # LineReceiver asks.
    disconnecting = False

    def __init__(self, connection: KeptConnection) -> None:
        self._connection: Optional[KeptConnection] = connection

    def release(self) -> None:
        """The body has ended."""
        self._connection = None

    def pauseProducing(self) -> None:
        if self._connection is not None:
            self._connection.pause()

    def resumeProducing(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    def stopProducing(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    abortConnection = loseConnection = stopProducing

    def write(self, data: bytes) -> None:
        raise NotImplementedError("a response's reader cannot write")

    def writeSequence(self, data: Any) -> None:
        raise NotImplementedError("a response's reader cannot write")

    def getPeer(self) -> Any:
        raise NotImplementedError("a response's reader is not told the peer")

    def getHost(self) -> Any:
        raise NotImplementedError("a response's reader is not told the host")


@implementer(IResponse)
class Response:
    """
    See ``twisted.web.iweb.IResponse``.

    :ivar complete: whether all of it has come.
    """

    def __init__(self, head: Head, request: IClientRequest, connection: KeptConnection) -> None:
        self.version = head.version
        self.code = head.code
        self.phrase = head.phrase
        self.values = head.values
        self.length = head.length
        self.request = request
        self.previousResponse: Optional[IResponse] = None
        self.complete = False
        self._connection = connection
        self._state = Delivery.WAITING
        self._kept: list[bytes] = []
        self._end: Optional[Failure] = None
        self._reader: Any = None
        self._transport: Optional[BodyTransport] = None
        self._headers: Optional[Headers] = None

    @property
    def headers(self) -> Headers:
        """See ``IResponse``; made when somebody asks."""
        if self._headers is None:
            self._headers = self.values.as_headers()
        return self._headers

    def setPreviousResponse(self, response: IResponse) -> None:
        self.previousResponse = response

    def deliverBody(self, protocol: IProtocol) -> None:
        """
        :raises RuntimeError: for a body that has a reader.
        """
        if self._state is not Delivery.WAITING:
            raise RuntimeError("deliverBody was called twice")
        self._state = Delivery.READING
        self._reader = protocol
        self._transport = BodyTransport(self._connection)
        if self._end is not None:
            self._transport.release()
        protocol.makeConnection(self._transport)
        kept, self._kept = self._kept, []
        for data in kept:
            protocol.dataReceived(data)
        if self._end is not None:
            self._finish()
        else:
            self._connection.resume()

    def take_whole(self) -> Optional[bytes]:
        """
        The body, where all of it has come and nobody has read it; None else.
        It is as if it had been delivered: without a reader, its transport and
        a Deferred for its end.
        """
        if self._state is not Delivery.WAITING or not self.complete:
            return None
        self._state = Delivery.OVER
        kept, self._kept = self._kept, []
        return kept[0] if len(kept) == 1 else b"".join(kept)

    # -- called by the connection

    @property
    def waiting(self) -> bool:
        """Whether the body has no reader yet."""
        return self._state is Delivery.WAITING

    def receive(self, data: bytes) -> None:
        """A part of the body."""
        if self._state is Delivery.READING:
            self._reader.dataReceived(data)
        else:
            self._kept.append(data)

    def end(self, reason: Failure = DONE) -> None:
        """The body has ended: well, or for this reason."""
        self._end = reason
        self.complete = reason is DONE
        if self._transport is not None:
            self._transport.release()
        if self._state is Delivery.READING:
            self._finish()

    def _finish(self) -> None:
        self._state = Delivery.OVER
        reader, self._reader = self._reader, None
        reader.connectionLost(self._end)


def values_of(response: IResponse) -> Any:
    """What has ``getRawHeaders`` for a response's headers; for one of this agent's at no cost."""
    return response.values if isinstance(response, Response) else response.headers


def whole_body(response: IResponse) -> Optional[bytes]:
    """The body of a response of this agent's, where it is all there; None where it has to be read (``deliverBody``)."""
    return response.take_whole() if isinstance(response, Response) else None
