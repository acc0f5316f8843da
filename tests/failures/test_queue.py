"""Parked messages: what is kept of the original."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.failures.queue import body_of, original_of
from vumi_turn.vumi.messages import FailureMessage


def through_the_queue(body: bytes) -> bytes:
    """The bytes to replay of a body that was parked, written and read again."""
    failure = FailureMessage(message=original_of(body), failure_code="permanent", reason="x")
    return body_of(FailureMessage.from_json(failure.to_json()).message)


class OriginalTests(SynchronousTestCase):
    """Whatever came from a queue can be parked and replayed."""

    def test_object(self) -> None:
        """A JSON object is kept as an object and replayed with the same values."""
        body = '{"content": "é 😀", "cut": "\\ud83d", "n": [1, 2.5, null, true]}'.encode()
        self.assertEqual(original_of(body), json.loads(body))
        self.assertEqual(json.loads(through_the_queue(body)), json.loads(body))

    def test_utf_8(self) -> None:
        """A failure message is UTF-8, so that it is hardly larger than what it holds; lone surrogates are escapes."""
        body = json.dumps({"content": "你" * 1000 + "\ud83d"}, ensure_ascii=False).encode("utf-8", "backslashreplace")
        failure = FailureMessage(message=original_of(body), failure_code="permanent", reason="é").to_json()
        self.assertLess(len(failure), len(body) + 300)
        self.assertEqual(json.loads(failure.decode("utf-8"))["message"], json.loads(body))
        self.assertEqual(len(through_the_queue(body)), len(json.dumps({"content": ""}, separators=(",", ":"))) + 3006)
        self.assertEqual(json.loads(through_the_queue(body)), json.loads(body))

    def test_no_object(self) -> None:
        """What is no JSON object is kept as text and replayed byte for byte."""
        for body in (b"", b"hello", b"[]", b"null", b'"x"', b"\xff\xfe{}", '"é"'.encode()):
            self.assertIsInstance(original_of(body), str)
            self.assertEqual(through_the_queue(body), body)

    def test_object_that_cannot_be_written(self) -> None:
        """An object that could be read but not written again is kept as text, so that parking never fails."""
        for body in (
            b'{"a": 1e999}',
            b'{"a": NaN}',
            b'{"a": ' + b"9" * 100_000 + b"}",
            *(b'{"a":' + b"[" * depth + b"]" * depth + b"}" for depth in (99, 900, 960, 980, 20_000)),
        ):
            self.assertEqual(through_the_queue(body), body)

    def test_deepest_object(self) -> None:
        """An object as deep as a message may be, less the one level of its envelope, stays an object."""
        body = b'{"a":' + b"[" * 98 + b"]" * 98 + b"}"
        self.assertIsInstance(original_of(body), dict)
        self.assertEqual(json.loads(through_the_queue(body)), json.loads(body))

    @given(st.binary())
    @settings(max_examples=100, deadline=None)
    def test_any_bytes(self, body: bytes) -> None:
        """Any bytes can be parked, and mean the same when they are replayed."""
        replayed = through_the_queue(body)
        self.assertTrue(replayed == body or json.loads(replayed) == json.loads(body))
