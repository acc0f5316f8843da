"""A parser in Python alone, as strict as the one on httptools."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Optional

from .parsing import MAX_HEAD, Head, ParseError, Receiver

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
STATUS_LINE = re.compile(rb"HTTP/([0-9]\.[0-9]) ([0-9]{3})(?: (.*))?", re.DOTALL)
NAME = re.compile(TOKEN)
#: What no value holds: all controls but the tab.
CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
#: A chunk's size, and extensions, which mean nothing here.
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
#: Bytes of a line that begins a chunk.
MAX_CHUNK_LINE = 8192


class State(Enum):
    """What comes next."""

    HEAD = auto()
    #: So many bytes: a body of a known length.
    LENGTH = auto()
    #: The line with a chunk's size.
    CHUNK_SIZE = auto()
    CHUNK = auto()
    #: The line end after a chunk.
    CHUNK_END = auto()
    TRAILER = auto()
    UNTIL_CLOSED = auto()
    ENDED = auto()


class PureParser:
    """See :class:`~.parsing.ResponseParser`."""

    def __init__(self, receiver: Receiver) -> None:
        self.surplus = False
        self._receiver = receiver
        self._state = State.ENDED
        self._steps = {
            State.HEAD: self._head,
            State.LENGTH: self._length,
            State.CHUNK_SIZE: self._chunk_size,
            State.CHUNK: self._chunk,
            State.CHUNK_END: self._chunk_end,
            State.TRAILER: self._trailer,
            State.UNTIL_CLOSED: self._until_closed,
        }

    def start(self, method: bytes) -> None:
        self._method = method
        self._state = State.HEAD
        self._kept = b""
        self._left = 0
        self._seen = 0
        self._looked = False

    def feed(self, data: bytes) -> None:
        if self._state is State.HEAD:
            self._seen += len(data)
        if self._state is not State.ENDED and self._kept:
            data = self._kept + data
            self._kept = b""
        rest: Optional[bytes] = data
        while rest and self._state is not State.ENDED:
            rest = self._steps[self._state](rest)
        if rest and self._state is State.ENDED:
            self.surplus = True
        if self._state is State.HEAD and self._seen > MAX_HEAD:
            raise ParseError("too many headers")

    def ends_with_connection(self) -> bool:
        return self._state is State.UNTIL_CLOSED

    # -- each takes what came and returns what is left of it; None waits for more

    def _head(self, data: bytes) -> Optional[bytes]:
        data = data.lstrip(b"\r\n")
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._first_look(data)
            self._kept = data
            return None
        version, code, phrase, lines = self._lines(data[:end])
        head = Head(version, code, phrase, lines, self._method)
        rest = data[end + 4 :]
        if head.code == 101:
            raise ParseError("an upgrade that nobody asked for")
        if head.informational:
            return rest
        self._receiver.head_received(head)
        if head.chunked:
            self._state = State.CHUNK_SIZE
        elif not head.has_body or head.length == 0:
            self._end()
        elif isinstance(head.length, int):
            self._left = head.length
            self._state = State.LENGTH
        else:
            self._state = State.UNTIL_CLOSED
        return rest

    def _first_look(self, data: bytes) -> None:
        """What is not HTTP from its first line on is not waited for."""
        first, found, _ = data.partition(b"\n")
        if found and not self._looked:
            status_of(first[:-1] if first.endswith(b"\r") else first + found)
            self._looked = True
        elif not found and data[:5] != b"HTTP/"[: len(data)]:
            raise ParseError("no status line")

    @staticmethod
    def _lines(data: bytes) -> tuple[bytes, int, bytes, list[tuple[bytes, bytes]]]:
        """The version, code and phrase, and the headers."""
        first, *rest = data.split(b"\r\n")
        return *status_of(first), headers_of(rest)

    def _length(self, data: bytes) -> Optional[bytes]:
        body = data[: self._left]
        self._left -= len(body)
        self._receiver.body_received(body)
        if not self._left:
            self._end()
        return data[len(body) :]

    def _until_closed(self, data: bytes) -> Optional[bytes]:
        self._receiver.body_received(data)
        return None

    def _chunk_size(self, data: bytes) -> Optional[bytes]:
        line, found, rest = data.partition(b"\r\n")
        if not found:
            if len(data) > MAX_CHUNK_LINE or b"\n" in data:
                raise ParseError("a chunk without a size")
            self._kept = data
            return None
        size = CHUNK.fullmatch(line)
        if size is None:
            raise ParseError("a chunk without a size")
        self._left = int(size[1], 16)
        self._state = State.CHUNK if self._left else State.TRAILER
        return rest

    def _chunk(self, data: bytes) -> Optional[bytes]:
        body = data[: self._left]
        self._left -= len(body)
        self._receiver.body_received(body)
        if not self._left:
            self._state = State.CHUNK_END
        return data[len(body) :]

    def _chunk_end(self, data: bytes) -> Optional[bytes]:
        if data[:2] == b"\r\n":
            self._state = State.CHUNK_SIZE
            return data[2:]
        if data != b"\r":
            raise ParseError("a chunk that is longer than it says")
        self._kept = data
        return None

    def _trailer(self, data: bytes) -> Optional[bytes]:
        if data[:2] == b"\r\n":
            self._end()
            return data[2:]
        line, found, rest = data.partition(b"\r\n")
        if len(line) > MAX_HEAD:
            raise ParseError("too many trailers")
        if not found:
            self._kept = data
            return None
        headers_of([line])
        self._left += len(line)
        if self._left > MAX_HEAD:
            raise ParseError("too many trailers")
        return rest

    def _end(self) -> None:
        self._state = State.ENDED
        self._receiver.end_received()


def status_of(line: bytes) -> tuple[bytes, int, bytes]:
    """
    :return: version, code and phrase.
    :raises ParseError: for a line that is no status line.
    """
    status = STATUS_LINE.fullmatch(line)
    if status is None or b"\r" in line or b"\n" in line:
        raise ParseError("no status line")
    return status[1], int(status[2]), status[3] or b""


def headers_of(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """
    :raises ParseError: for a line that is no header.
    """
    found = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or NAME.fullmatch(name) is None or CONTROLS.search(value) is not None:
            raise ParseError("a line that is no header")
        found.append((name, value.strip(b" \t")))
    return found
