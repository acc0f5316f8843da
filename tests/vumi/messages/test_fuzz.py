"""What queues may bring: any bytes are a message that can be used in every way, or malformed."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.vumi.messages.samples import EVENT, FAILURE, USER_MESSAGE
from vumi_turn.caches.tables import lean as stripped
from vumi_turn.turn.payloads import message_payload, status_payload
from vumi_turn.vumi.messages import FailureMessage, MalformedMessage, TransportEvent, TransportUserMessage

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["", "new", "close", "ack", "nack", "delivered", "20110921", "\ud800", "\x00", "2021-08-07 12:34:56"]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def changed(sample: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The sample with other values for some fields, some left out, and some that nobody knows."""
    keys = st.sampled_from([*sorted(sample), "unknown"])
    return st.tuples(st.dictionaries(keys, JSON, max_size=4), st.sets(keys, max_size=3)).map(
        lambda pair: {key: value for key, value in {**sample, **pair[0]}.items() if key not in pair[1]}
    )


@st.composite
def damaged(draw: Any, sample: dict[str, Any]) -> bytes:
    """The sample's bytes, some of them others or missing."""
    body = bytearray(json.dumps(sample).encode())
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(body) - 1))
        body[place : place + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=2) | st.sampled_from([b'"', b"{", b"\\u"])
        )
    return bytes(body)


def bodies(sample: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """What may come instead of a message."""
    return changed(sample).map(lambda value: json.dumps(value).encode()) | damaged(sample) | st.binary(max_size=30)


class FuzzTests(SynchronousTestCase):
    @settings(max_examples=120)
    @given(bodies(USER_MESSAGE))
    def test_user_messages(self, body: bytes) -> None:
        """One that is read can be written, remembered, answered and sent to Turn."""
        try:
            message = TransportUserMessage.from_json(body)
            self.assertEqual(TransportUserMessage.from_json(message.to_json()), message)
            self.assertEqual(TransportUserMessage.from_json(stripped(message).to_json()), stripped(message))
            message.reply("Hi", session_event="close").to_json()
            json.dumps(message_payload(message)).encode("utf-8")
        except MalformedMessage as error:
            self.assertLess(len(str(error)), 500)

    @settings(max_examples=80)
    @given(bodies(EVENT))
    def test_events(self, body: bytes) -> None:
        """One that is read can be written, and is a status."""
        try:
            event = TransportEvent.from_json(body)
            self.assertEqual(TransportEvent.from_json(event.to_json()), event)
            json.dumps(status_payload(event, "+26612345678")).encode("utf-8")
        except MalformedMessage as error:
            self.assertLess(len(str(error)), 500)

    @settings(max_examples=100)
    @given(bodies(FAILURE))
    def test_failure_messages(self, body: bytes) -> None:
        """One that is read can be written."""
        try:
            failure = FailureMessage.from_json(body)
            self.assertEqual(FailureMessage.from_json(failure.to_json()), failure)
        except MalformedMessage as error:
            self.assertLess(len(str(error)), 500)
