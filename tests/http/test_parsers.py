"""Parsers of responses: the same rules for each, and the same answers from both."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Optional, Union
from unittest import SkipTest
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import UNKNOWN_LENGTH

from tests.cases import case
from vumi_turn.http.connections.factory import parser_factory
from vumi_turn.http.connections.parsing import MAX_HEAD, Head, ParseError, ResponseParser
from vumi_turn.http.connections.pure_parser import PureParser


class Heard:
    """A receiver that keeps what it is told, and what went wrong."""

    def __init__(self, kind: str, method: bytes = b"POST") -> None:
        self.head: Optional[Head] = None
        self.body = b""
        self.ended = False
        self.error = False
        self.parser: ResponseParser = parser_factory(kind)(self)
        self.parser.start(method)

    def head_received(self, head: Head) -> None:
        assert self.head is None
        self.head = head

    def body_received(self, data: bytes) -> None:
        assert self.head is not None and not self.ended
        self.body += data

    def end_received(self) -> None:
        assert not self.ended
        self.ended = True

    def feed(self, *pieces: bytes) -> Heard:
        """Until it goes wrong."""
        for piece in pieces:
            try:
                if not self.error:
                    self.parser.feed(piece)
            except ParseError:
                self.error = True
        return self

    def summary(self) -> tuple[Any, ...]:
        """All of it, to be compared."""
        head = self.head
        shown = head and (
            head.version, head.code, head.phrase, head.length, head.keep, sorted(head.headers.getAllRawHeaders())
        )  # fmt: skip
        until_closed = not self.error and self.parser.ends_with_connection()
        return shown, self.body, self.ended, self.error, until_closed, not self.error and self.parser.surplus


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

#: Answers that are understood: body, and whether the connection is kept (None: it ends with the body).
GOOD: list[tuple[bytes, bytes, Optional[bool]]] = [
    (OK + b"Content-Length: 2\r\n\r\n{}", b"{}", True),
    (OK + b"content-length:2\r\nX:\r\n\r\n{}", b"{}", True),
    (OK + b"Content-Length: 0\r\n\r\n", b"", True),
    (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", b"{}", True),
    (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}", b"{}", False),
    (OK + b"Content-Length: 2\r\nConnection: x, Close\r\n\r\n{}", b"{}", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\n{}", b"{}", True),
    (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", b"{}", True),
    (CHUNKED.upper() + b"1;a=b;c\r\n{\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n", b"{0123456789", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", b"", True),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}", b"{}", True),
    (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3 + OK + b"Content-Length: 2\r\n\r\n{}", b"{}", True),
    (OK + b"\r\nsome of it", b"some of it", None),
    (OK + b"X: caf\xc3\xa9\tb\r\nContent-Length: 1\r\n\r\nx", b"x", True),
]

#: What is no HTTP, or is two things at once.
BAD = [
    b"marker\r\n\r\n",
    b"HTTP/1.1 marker OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"http/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    OK + b"marker\r\n\r\n",
    OK + b"Content-Length : 2\r\n\r\n{}",
    OK + b": 2\r\n\r\n{}",
    OK + b"X: a\r\n b\r\n\r\n",
    OK + b"X: a\x00b\r\n\r\n",
    OK + b"X: a\rb\r\n\r\n",
    OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    OK + b"Content-Length: 2, 2\r\n\r\n{}",
    OK + b"Content-Length: +2\r\n\r\n{}",
    OK + b"Content-Length: -2\r\n\r\n{}",
    OK + b"Content-Length: 0x2\r\n\r\n{}",
    OK + b"Content-Length:\r\n\r\n{}",
    OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: gzip\r\n\r\n",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    OK + b"X: y\r\n" * (MAX_HEAD // 6 + 1),
    b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_HEAD // 25 + 1),
]

#: Chunks that are none; the head is good.
BAD_CHUNKS = [
    b"x\r\n", b"0x2\r\n{}\r\n", b"-2\r\n{}\r\n", b"2 \r\n{}\r\n", b"\r\n", b"2\r\n{}}\r\n", b"2\n{}\n",
    b"f" * 17 + b"\r\n", b"0\r\nmarker\r\n\r\n", b"0\r\n" + b"X: y\r\n" * (2 * MAX_HEAD // 3),
]  # fmt: skip


class ParserCase(SynchronousTestCase):
    """Tests of one parser, where it is installed."""

    kind = ""

    def setUp(self) -> None:
        try:
            parser_factory(self.kind)
        except ImportError:
            raise SkipTest("httptools is not installed: pip install httptools") from None

    def heard(self, *pieces: bytes, method: bytes = b"POST") -> Heard:
        return Heard(self.kind, method).feed(*pieces)


if TYPE_CHECKING:
    Contract = ParserCase
else:
    Contract = object


class ParserContract(Contract):
    """What holds for every parser."""

    def test_good(self) -> None:
        """Each way to say where a body ends is understood."""
        for text, body, keep in GOOD:
            with case(text=text, body=body, keep=keep):
                heard = self.heard(text)
                assert heard.head is not None, text
                self.assertEqual((heard.error, heard.body, heard.parser.surplus), (False, body, False))
                self.assertEqual(heard.ended, keep is not None)
                self.assertEqual(heard.parser.ends_with_connection(), keep is None)
                self.assertEqual(heard.head.keep, bool(keep))

    def test_in_pieces(self) -> None:
        """Where the segments end makes no difference."""
        for text, _, _ in GOOD:
            with case(text=text):
                whole = self.heard(text).summary()
                for size in (1, 2, 3, 7, 20):
                    with case(size=size):
                        pieces = [text[start : start + size] for start in range(0, len(text), size)]
                        self.assertEqual(self.heard(*pieces).summary(), whole, (text, size))

    def test_head(self) -> None:
        """A head has version, code and phrase, and the headers that are the content's."""
        head = self.heard(
            b"HTTP/1.1 404 Not  here\r\nX-Two: one\r\nx-two:  two \t\r\nKeep-Alive: 5\r\nContent-Length: 7\r\n\r\n"
        ).head
        assert head is not None
        self.assertEqual((head.version, head.code, head.phrase), ((b"HTTP", 1, 1), 404, b"Not  here"))
        self.assertEqual(head.headers.getRawHeaders(b"X-Two"), [b"one", b"two"])
        self.assertEqual(dict(head.headers.getAllRawHeaders()).keys(), {b"X-Two"})
        self.assertEqual(head.length, 7)

    def test_length(self) -> None:
        """A length is known, or said to be unknown."""
        lengths: list[tuple[bytes, Union[int, str]]] = [
            (OK + b"\r\n", UNKNOWN_LENGTH),
            (OK + b"Transfer-Encoding: chunked\r\n\r\n", UNKNOWN_LENGTH),
            (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 0),
        ]
        for text, length in lengths:
            with case(text=text, length=length):
                head = self.heard(text).head
                assert head is not None
                self.assertEqual(head.length, length)

    def test_bad(self) -> None:
        """What is not HTTP, or says two things, is refused before anybody is told of it."""
        for text in BAD:
            with case(text=text):
                for pieces in ([text], [text[start : start + 5] for start in range(0, len(text), 5)]):
                    with case(pieces=pieces):
                        heard = self.heard(*pieces)
                        self.assertTrue(heard.error, text[:80])
                        self.assertIsNone(heard.head, text[:80])

    def test_bad_chunks(self) -> None:
        """A chunk that is none ends the body in an error, after the head."""
        for chunks in BAD_CHUNKS:
            with case(chunks=chunks):
                heard = self.heard(OK + b"Transfer-Encoding: chunked\r\n\r\n", chunks)
                self.assertTrue(heard.error, chunks[:40])
                self.assertIsNotNone(heard.head, chunks[:40])
                self.assertFalse(heard.ended, chunks[:40])

    def test_not_quoted(self) -> None:
        """An error does not say what came."""
        for text in (b"marker\r\n\r\n", OK + b"X: marker\x00\r\n\r\n", OK + b"Content-Length: marker\r\n\r\n"):
            with case(text=text):
                with self.assertRaises(ParseError) as caught:
                    parser = parser_factory(self.kind)(Heard(self.kind))
                    parser.start(b"POST")
                    parser.feed(text)
                self.assertNotIn("marker", repr(caught.exception))

    def test_surplus(self) -> None:
        """More than one answer is noticed, and changes nothing in the first."""
        for extra in (b"x", b"\x00", OK + b"Content-Length: 2\r\n\r\n{}"):
            with case(extra=extra):
                for text in (OK + b"Content-Length: 2\r\n\r\n{}", CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"):
                    with case(text=text):
                        for pieces in ([text + extra], [text, extra]):
                            with case(pieces=pieces):
                                heard = self.heard(*pieces)
                                self.assertEqual((heard.body, heard.ended, heard.error), (b"{}", True, False))
                                self.assertTrue(heard.parser.surplus)

    def test_head_request(self) -> None:
        """An answer to HEAD has the length of GET's, and no body."""
        heard = self.heard(OK + b"Content-Length: 5\r\n\r\n", method=b"HEAD")
        assert heard.head is not None
        self.assertEqual((heard.ended, heard.head.length, heard.head.keep), (True, 0, True))
        self.assertEqual(heard.head.headers.getRawHeaders(b"Content-Length"), [b"5"])
        self.assertFalse(heard.parser.surplus)

    def test_one_after_another(self) -> None:
        """One parser serves all responses of a connection, with each kind of body before it."""
        for first, method in (
            (OK + b"Content-Length: 2\r\n\r\n{}", b"POST"),
            (CHUNKED + b"2\r\n{}\r\n0\r\nX: y\r\n\r\n", b"POST"),
            (OK + b"Content-Length: 5\r\n\r\n", b"HEAD"),
            (b"HTTP/1.1 204 No\r\n\r\n", b"POST"),
            (b"HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n", b"GET"),
        ):
            with case(first=first, method=method):
                heard = self.heard(first, method=method)
                self.assertTrue(heard.ended)
                heard.head, heard.body, heard.ended = None, b"", False
                heard.parser.start(b"POST")
                heard.feed(OK + b"X-Second: y\r\nContent-Length: 3\r\n\r\nabc")
                head: Any = heard.head
                self.assertEqual((heard.body, heard.ended, heard.parser.surplus), (b"abc", True, False))
                self.assertEqual(dict(head.headers.getAllRawHeaders()), {b"X-Second": [b"y"]})

    def test_large(self) -> None:
        """A body has no bound here; its reader sets one."""
        body = b"x" * (3 * MAX_HEAD)
        heard = self.heard(OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self.assertEqual((heard.body, heard.ended), (body, True))


class PureParserTests(ParserContract, ParserCase):
    kind = "pure"


class HttptoolsParserTests(ParserContract, ParserCase):
    kind = "httptools"


#: Pieces from which answers are made that are nearly right.
PARTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.0 404 ", b"HTTP/1.1 204 No", b"HTTP/1.1 100 C", b"HTTP/1.1 101 S", b"HTTP/1.1 304",
        b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"Content-Length: 2", b"Content-Length: 0", b"Content-Length: 02",
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Connection: close", b"Connection: keep-alive",
        b"X: y", b"X:", b":", b" ", b"\t", b"{}", b"2\r\n{}\r\n", b"0\r\n\r\n", b"2", b"0", b"00", b"f", b";a=b", b";",
        b"\x00", b"\x7f", b"\xff", b'"', b"Upgrade: x",
    ]
)  # fmt: skip


class SameTests(SynchronousTestCase):
    @settings(max_examples=1000, deadline=None)
    @given(st.lists(PARTS, max_size=14), st.sampled_from([b"POST", b"HEAD"]), st.booleans())
    def test_same(self, parts: list[bytes], method: bytes, well_begun: bool) -> None:
        """Both parsers take an answer for the same, or both refuse it."""
        try:
            parser_factory("httptools")
        except ImportError:
            raise SkipTest("httptools is not installed: pip install httptools") from None
        text = (OK if well_begun else b"") + b"".join(parts)
        ours, theirs = (Heard(kind, method).feed(text).summary() for kind in ("pure", "httptools"))
        if ours[3] or theirs[3]:
            # When an error is noticed is the parser's own affair, as long as nothing wrong was told before.
            ours_waits, theirs_waits = not ours[3] and not ours[2], not theirs[3] and not theirs[2]
            self.assertTrue(ours[3] and theirs[3] or ours_waits or theirs_waits, (text, ours, theirs))
        else:
            self.assertEqual(ours, theirs, text)


class FactoryTests(SynchronousTestCase):
    def test_fallback(self) -> None:
        """Without httptools the parser is the one in Python; asked for by name it has to be there."""
        ours = "vumi_turn.http.connections.httptools_parser"
        without = {name: module for name, module in sys.modules.items() if name not in ("httptools", ours)}
        changed = patch.dict(sys.modules, {**without, "httptools": None}, clear=True)
        changed.start()
        self.addCleanup(changed.stop)
        self.assertIs(parser_factory(), PureParser)
        with self.assertRaises(ImportError):
            parser_factory("httptools")

    def test_unknown(self) -> None:
        """A parser that does not exist is an error."""
        with self.assertRaises(ValueError):
            parser_factory("regex")
