"""
What every parser of responses does alike: the interface, and the rules about
a response's head. Source of the rules: RFC 9112, sections 4 to 7.

Strict where a lenient reading would let two programs on the way see different
messages.
"""

from __future__ import annotations

from typing import Callable, Optional, Protocol, Union

from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH

#: Bytes that may come before a head is complete, with all 1xx before it, and
#: bytes of a chunked body's trailer.
MAX_HEAD = 65536

#: Digits of a length that is believed.
MAX_DIGITS = 18

NO_CONTENT, NOT_MODIFIED = 204, 304

#: They speak of the connection, not of what is answered: as with twisted.web
#: they are not among a response's headers.
CONNECTION_HEADERS = frozenset(
    (
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    )
)

#: ``HTTP/1.0`` and ``HTTP/1.1`` are understood.
VERSIONS = {b"1.0": (b"HTTP", 1, 0), b"1.1": (b"HTTP", 1, 1)}


class ParseError(Exception):
    """
    What came is not HTTP. It is among the reasons of a ``ResponseFailed``, as
    twisted.web's own (private) class of this name is; its text never holds
    what came.
    """


class Receiver(Protocol):
    """Who is told what came. None of these may call the parser."""

    def head_received(self, head: Head) -> None:
        """The head of the response; what is informational is left out."""

    def body_received(self, data: bytes) -> None:
        """A part of the body, decoded from its chunks."""

    def end_received(self) -> None:
        """The response is complete."""


class ResponseParser(Protocol):
    """
    Parses the responses of one connection, one after the other.

    :ivar surplus: whether more came than the response that was asked for.
    """

    surplus: bool

    def start(self, method: bytes) -> None:
        """
        Expect a response.

        :param method: of the request: a response to ``HEAD`` has no body.
        """

    def feed(self, data: bytes) -> None:
        """
        Tell the receiver what is in these bytes.

        :raises ParseError: this is not HTTP. Nothing may be fed after it.
        """

    def ends_with_connection(self) -> bool:
        """Whether the connection's end is the body's end."""


#: Makes a parser for a receiver.
ParserFactory = Callable[[Receiver], ResponseParser]


class HeaderValues:
    """
    The headers of a response as they came. twisted.web's ``Headers`` are made
    of them only if somebody asks for these: they normalise each name twice,
    and Turn's answers are asked for a few values.
    """

    __slots__ = ("lines", "_values")

    def __init__(self) -> None:
        self.lines: list[tuple[bytes, bytes]] = []
        self._values: dict[bytes, list[bytes]] = {}

    def add(self, name: bytes, lowered: bytes, value: bytes) -> None:
        """Add a header; ``lowered`` is its name in lower case."""
        self.lines.append((name, value))
        values = self._values.get(lowered)
        if values is None:
            self._values[lowered] = [value]
        else:
            values.append(value)

    def drop(self, lowered: bytes) -> None:
        """Leave a header out, by its name in lower case."""
        if self._values.pop(lowered, None) is not None:
            self.lines = [line for line in self.lines if line[0].lower() != lowered]

    def getRawHeaders(self, name: bytes) -> Optional[list[bytes]]:
        """As ``Headers`` do."""
        return self._values.get(name.lower())

    def as_headers(self) -> Headers:
        """All of them in twisted.web's form."""
        headers = Headers()
        for name, value in self.lines:
            headers.addRawHeader(name, value)
        return headers


class Head:
    """
    :ivar version: as in twisted.web, such as ``(b"HTTP", 1, 1)``.
    :ivar values: the headers of the content; the connection's are left out.
    :ivar length: bytes of the body, or ``UNKNOWN_LENGTH``.
    :ivar chunked: whether the body comes in chunks.
    :ivar has_body: whether a body can come at all.
    :ivar keep: whether the server will take another request.
    """

    __slots__ = ("chunked", "code", "has_body", "keep", "length", "phrase", "values", "version")

    def __init__(
        self, version: bytes, code: int, phrase: bytes, lines: list[tuple[bytes, bytes]], method: bytes
    ) -> None:
        """
        :param lines: all headers, with names as they came.
        :raises ParseError: for a head that says where its body ends in no way or in two.
        """
        known = VERSIONS.get(version)
        if known is None:
            raise ParseError("a version of HTTP that is not understood")
        if code < 100:
            raise ParseError("a status code below 100")
        self.version, self.code, self.phrase = known, code, phrase
        self.values = values = HeaderValues()
        length: Optional[int] = None
        self.chunked = False
        self.keep = known[2] == 1
        # A response to HEAD says the length that GET's would have.
        without = method == b"HEAD"
        for name, value in lines:
            lowered = name.lower()
            if lowered not in CONNECTION_HEADERS:
                values.add(name, lowered, value)
            elif lowered == b"content-length":
                if length is not None:
                    raise ParseError("Content-Length twice")
                length = length_of(value)
                if without:
                    values.add(name, lowered, value)
            elif lowered == b"transfer-encoding":
                if self.chunked or value.lower() != b"chunked":
                    raise ParseError("a transfer encoding that is not understood")
                self.chunked = True
            elif lowered == b"connection":
                self.keep = _keeps(value, self.keep)
        if length is not None and self.chunked:
            raise ParseError("Content-Length and Transfer-Encoding")
        self.has_body = not (without or code == NO_CONTENT or code == NOT_MODIFIED or code < 200)
        self._bound(length)

    def _bound(self, length: Optional[int]) -> None:
        if not self.has_body:
            self.length: Union[int, str] = 0
            self.chunked = False
        elif length is not None:
            self.length = length
        else:
            self.length = UNKNOWN_LENGTH
            # Such a body ends with its connection.
            self.keep = self.keep and self.chunked

    @property
    def headers(self) -> Headers:
        """The same in twisted.web's form."""
        return self.values.as_headers()

    @property
    def informational(self) -> bool:
        """Whether another head follows this one."""
        return self.code < 200


def length_of(value: bytes) -> int:
    """
    :raises ParseError: for what is not digits only, or too many of them.
    """
    if not value.isdigit() or len(value) > MAX_DIGITS:
        raise ParseError("a Content-Length that is no number")
    return int(value)


def _keeps(value: bytes, before: bool) -> bool:
    """Whether a connection is kept, by one ``Connection`` header."""
    tokens = [token.strip() for token in value.lower().split(b",")]
    if b"close" in tokens:
        return False
    return before or b"keep-alive" in tokens
