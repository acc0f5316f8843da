"""How a request is written: all of it at once, and nothing that its parts could smuggle in."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.client import RequestGenerationFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
URI = re.compile(rb"[\x21-\x7e]+")
FORBIDDEN = re.compile(rb"[\x00\r\n]")

#: They are the agent's own.
FRAMING = (b"Content-Length", b"Transfer-Encoding")

#: Methods whose requests say the length of their body also where there is none.
WITH_BODY = (b"POST", b"PUT", b"PATCH")

#: Bytes of a request's body, which is gathered before it is sent.
MAX_REQUEST_BODY = 16 * 1024 * 1024


class BodyTooLarge(Exception):
    """The body of a request is larger than this agent sends."""


class WrongBodyLength(Exception):
    """A body producer wrote more or less than its length says."""


class PreparedHeaders(Headers):
    """
    Headers that are the same in every request, and are encoded once.

    :ivar lines: as they are written.
    :ivar names_host: whether ``Host`` is one of them.
    """

    def __init__(self, headers: Mapping[bytes, list[bytes]]) -> None:
        super().__init__(headers)
        self.lines = lines_of(self)
        self.names_host = self.hasHeader(b"Host")
        if self.hasHeader(b"Connection"):
            raise ValueError("prepared headers are for connections that are kept")

    def copy(self) -> Headers:
        """Themselves: nothing changes them."""
        return self

    def addRawHeader(self, name: Any, value: Any) -> None:
        """Nothing is added: treq would ask for compression, for a body that nobody reads."""


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


def lines_of(headers: Headers) -> bytes:
    """
    Headers as they are written, with a line end after each.

    :raises ValueError: for a name or value that would begin another line, or
        for those that say where the body ends: the agent says it.
    """
    for name in FRAMING:
        if headers.hasHeader(name):
            raise ValueError(f"the agent writes {name.decode()} itself")
    lines = []
    for name, values in headers.getAllRawHeaders():
        if METHOD.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no name of a header")
        for value in values:
            if FORBIDDEN.search(value) is not None:
                # Not the value: it may be a secret.
                raise ValueError(f"the header {name!r} holds a line end or NUL")
            lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


def closes(headers: Headers) -> bool:
    """Whether a request asks the server to close its connection."""
    values = headers.getRawHeaders(b"Connection", [])
    return b"close" in b",".join(values).lower().replace(b" ", b"").split(b",")


def checked_method(method: bytes) -> bytes:
    """
    :raises ValueError: for what is no method.
    """
    if METHOD.fullmatch(method) is None:
        raise ValueError(f"{method!r} is no method of HTTP")
    return method


def checked_uri(uri: bytes) -> bytes:
    """
    :raises ValueError: for what cannot stand in a request line.
    """
    if URI.fullmatch(uri) is None:
        raise ValueError(f"{uri!r} is no URI")
    return uri


def length_line(method: bytes, body: Optional[bytes]) -> bytes:
    """The line that says the length of a body, None where there is none."""
    if body is None and method not in WITH_BODY:
        return b""
    return b"Content-Length: %d\r\n" % len(body or b"")


class _Gatherer:
    """
    The consumer of a body; it keeps all of it.

    :param limit: bytes of it at most.
    """

    def __init__(self, producer: IBodyProducer, limit: int) -> None:
        self.body: list[bytes] = []
        self.too_large = False
        self._producer = producer
        self._left = limit

    def write(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self.body.append(data)
        elif not self.too_large:
            self.too_large = True
            self._producer.stopProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        raise RuntimeError("the body has its producer")

    def unregisterProducer(self) -> None:
        """Nothing is registered."""


async def gathered(producer: IBodyProducer, limit: int = MAX_REQUEST_BODY) -> bytes:
    """
    All of a body.

    :param limit: bytes of it at most.
    :raises RequestGenerationFailed: it could not be produced, or is larger, or
        is not as long as its producer says.
    """
    consumer: Any = _Gatherer(producer, limit)
    known = producer.length is not UNKNOWN_LENGTH
    if known and producer.length > limit:
        raise RequestGenerationFailed([Failure(BodyTooLarge(f"over {limit} bytes"))])
    # A producer that is stopped need not fire what it returned.
    producing: Deferred[Any] = producer.startProducing(consumer)
    try:
        if not consumer.too_large:
            await producing
    except Exception:
        raise RequestGenerationFailed([Failure()]) from None
    if consumer.too_large:
        raise RequestGenerationFailed([Failure(BodyTooLarge(f"over {limit} bytes"))])
    body = b"".join(consumer.body)
    if known and len(body) != producer.length:
        raise RequestGenerationFailed([Failure(WrongBodyLength(f"{len(body)} bytes, not {producer.length}"))])
    return body
