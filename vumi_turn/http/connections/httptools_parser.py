"""A parser on httptools, which is llhttp, the C parser of Node.js."""

from __future__ import annotations

from typing import Optional

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from .parsing import MAX_HEAD, Head, ParseError, Receiver


class HttptoolsParser:
    """
    See :class:`~.parsing.ResponseParser`. The rules of
    :class:`~.parsing.Head` are applied to what llhttp lets through.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.surplus = False
        self._receiver = receiver
        self._parser: Optional[HttpResponseParser] = None
        self._method = b""
        self._begin()

    def start(self, method: bytes) -> None:
        self._method = method
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self._head: Optional[Head] = None
        self._lines: list[tuple[bytes, bytes]] = []
        self._phrase = b""
        self._head_bytes = self._trailer_bytes = 0
        self._ended = False

    def feed(self, data: bytes) -> None:
        parser = self._expecting()
        if parser is None:
            self.surplus = True
            return
        if self._head is None:
            self._head_bytes += len(data)
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._parser = None
            if self._ended:
                # It came after the response, which is whole.
                self.surplus = True
                return
            context = error.__context__
            raise context if isinstance(context, ParseError) else ParseError(type(error).__name__) from None
        if self._head is None and self._head_bytes > MAX_HEAD:
            raise ParseError("too many headers")

    def _expecting(self) -> Optional[HttpResponseParser]:
        """What parses the response that is not complete yet."""
        return None if self._ended else self._parser

    def ends_with_connection(self) -> bool:
        head = self._head
        return head is not None and head.has_body and not (head.chunked or isinstance(head.length, int))

    # -- called by httptools

    def on_message_begin(self) -> None:
        if self._ended:
            self.surplus = True

    def on_status(self, data: bytes) -> None:
        # It comes in the pieces of the segments.
        self._phrase += data

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is None:
            self._lines.append((name, value.rstrip(b" \t")))
        elif not self._ended:
            # A trailer: nobody reads it.
            self._trailer_bytes += len(name) + len(value) + 4
            if self._trailer_bytes > MAX_HEAD:
                raise ParseError("too many trailers")

    def on_headers_complete(self) -> None:
        if self._ended:
            return
        assert self._parser is not None
        version = self._parser.get_http_version().encode("ascii")
        head = Head(version, self._parser.get_status_code(), self._phrase, self._lines, self._method)
        if head.code == 101:
            raise ParseError("an upgrade that nobody asked for")
        if head.informational:
            self._lines = []
            self._phrase = b""
            return
        self._head = head
        self._receiver.head_received(head)
        if self._method == b"HEAD":
            # llhttp does not know, and waits for a body.
            self._end()
            self._parser = None

    def on_body(self, data: bytes) -> None:
        if self._ended:
            self.surplus = True
        else:
            self._receiver.body_received(data)

    def on_message_complete(self) -> None:
        if self._head is not None and not self._ended:
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._receiver.end_received()
