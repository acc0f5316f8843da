"""Parked messages: what is kept of the original."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.broker.interface import Delivery, MessageTooLarge, Outcome
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.failures.dead_letter import DeadLetter
from vumi_turn.failures.parked import Parked, read_parked
from vumi_turn.failures.queue import FailureQueue, body_of, original_of
from vumi_turn.turn.verdicts import Verdict
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
            with case(body=body):
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
            with case(body=body):
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


class ParkingTests(SynchronousTestCase):
    """What is published to the failures queue."""

    LETTER = DeadLetter(Verdict.REFUSED, "permanent", "Turn refused it.", attempts=1, last_status=400)

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.broker = MemoryBroker(self.clock)
        self.broker.start()
        self.queue = FailureQueue(self.broker.publisher("c.turn_failures"), self.clock)

    def park(self, body: bytes) -> Deferred[None]:
        done = Deferred.fromCoroutine(self.queue.park(body, "event", self.LETTER))
        self.clock.advance(0)
        self.clock.advance(0)
        return done

    def parked(self) -> Parked:
        """The one that is parked."""
        seen: list[Parked] = []

        async def take(delivery: Delivery) -> Outcome:
            seen.append(read_parked(delivery))
            return Outcome.ACK

        self.broker.consume("c.turn_failures", take, 10).unpause()
        self.clock.advance(0)
        (found,) = seen
        return found

    def test_too_large(self) -> None:
        """Where the failure message is larger than the broker takes, the original bytes are parked."""
        body = b'{"event_id": "e1", "content": "' + b"x" * 500 + b'"}'
        self.broker.server.message_limit = len(body)
        self.successResultOf(self.park(body))
        self.assertEqual(self.broker.queue_contents("c.turn_failures"), [body])
        found = self.parked()
        self.assertEqual((found.raw, found.id, found.queue, found.code), (body, "e1", "event", "permanent"))
        self.assertEqual((found.reason, found.attempts, found.last_status), ("Turn refused it.", 1, 400))
        assert found.when is not None
        self.assertEqual(found.when.timestamp(), 1_700_000_000)

    def test_small(self) -> None:
        """What fits is a failure message."""
        self.successResultOf(self.park(b"{}"))
        (body,) = self.broker.queue_contents("c.turn_failures")
        self.assertEqual(json.loads(body)["message_type"], "failure_message")
        self.assertIsNone(self.parked().raw)

    def test_far_too_large(self) -> None:
        """Where not even the original fits, that is told."""
        self.broker.server.message_limit = 10
        self.failureResultOf(self.park(b"x" * 11), MessageTooLarge)
