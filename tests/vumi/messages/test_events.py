"""Events and failure messages."""

from __future__ import annotations

import json
from typing import Any

from tests.cases import case
from tests.vumi.messages.samples import EVENT, FAILURE, WHEN, MalformedCase, event, without
from vumi_turn.vumi.messages import FailureMessage, TransportEvent


class EventTests(MalformedCase):
    """Events."""

    message_class = TransportEvent
    payload = EVENT

    def test_every_field(self) -> None:
        """Each key of the JSON becomes the attribute of its name, and is written back."""
        found = event(transport_name="phone_network")
        for key in without(EVENT, "timestamp"):
            with case(key=key):
                self.assertEqual(getattr(found, key), EVENT[key])
        self.assertEqual((found.timestamp, found.extra), (WHEN, {"transport_name": "phone_network"}))
        self.assertEqual(found.to_dict(), {**EVENT, "transport_name": "phone_network"})

    def test_integers(self) -> None:
        """An integer in an id is its decimal text."""
        for key in ("user_message_id", "event_id", "sent_message_id"):
            with case(key=key):
                self.assertEqual(event(**{key: 42})[key], "42")

    def test_ack_without_a_providers_id(self) -> None:
        """An ack is read with or without a sent_message_id: ours is enough."""
        for payload in (without(EVENT, "sent_message_id"), {**EVENT, "sent_message_id": None}):
            with case(payload=payload):
                found = TransportEvent.from_dict(payload)
                self.assertEqual((found.user_message_id, found.sent_message_id), ("0f" * 16, None))
        self.assertEqual(event(sent_message_id=12345).sent_message_id, "12345")

    def test_left_out(self) -> None:
        """What older senders leave out of an event is filled in."""
        found = TransportEvent.from_dict(without(EVENT, "helper_metadata", "routing_metadata", "transport_metadata"))
        self.assertEqual((found.helper_metadata, found.routing_metadata, found.transport_metadata), ({}, {}, {}))

    def test_nack_without_a_reason(self) -> None:
        """A nack is read also without a reason."""
        found = TransportEvent.from_dict(without({**EVENT, "event_type": "nack"}, "sent_message_id"))
        self.assertEqual((found.event_type, found.nack_reason), ("nack", None))

    def test_keys_of_each_type(self) -> None:
        """Each type of event is written with the key that belongs to it."""
        for event_type, key, value in (
            ("ack", "sent_message_id", "provider-1"),
            ("nack", "nack_reason", "no route"),
            ("delivery_report", "delivery_status", "pending"),
        ):
            with case(event_type=event_type, key=key, value=value):
                fields: dict[str, Any] = {key: value}
                found = TransportEvent(user_message_id="0f" * 16, event_type=event_type, **fields)
                self.assertEqual({"sent_message_id", "nack_reason", "delivery_status"} & found.to_dict().keys(), {key})

    def test_missing_event_id(self) -> None:
        """An event without an id gets one that is its own, and the same whenever it comes."""
        payload = without(EVENT, "event_id")
        ids = [
            TransportEvent.from_dict(payload).event_id,
            TransportEvent.from_dict(dict(reversed(payload.items()))).event_id,
            TransportEvent.from_dict({**payload, "event_id": None}).event_id,
            TransportEvent.from_dict({**payload, "user_message_id": "1f" * 16}).event_id,
        ]
        self.assertRegex(ids[0], r"\A[0-9a-f]{32}\Z")
        self.assertEqual(ids[0], ids[1])
        self.assertNotIn(ids[3], ids[:3])

    def test_refusals(self) -> None:
        """An event that is of no known type, or about no message, is refused."""
        for key, value, sentence in (
            ("event_type", "read", "event_type must be one of ack, nack, delivery_report; it is 'read'"),
            ("event_type", None, "event_type must be one of ack, nack, delivery_report; it is null"),
            ("event_type", [], "event_type must be one of ack, nack, delivery_report; it is a list"),
            ("user_message_id", None, "user_message_id must be text, not null"),
            ("user_message_id", 5.5, "user_message_id must be text, not a number"),
            ("user_message_id", True, "user_message_id must be text, not a boolean"),
            ("user_message_id", "", "user_message_id is empty"),
            ("event_id", 5.5, "event_id must be text, not a number"),
            ("timestamp", None, "timestamp must be text, not null"),
            ("helper_metadata", [], "helper_metadata must be an object, not a list"),
            ("transport_metadata", "", "transport_metadata must be an object, not a string"),
            ("message_type", "user_message", "message_type must be event, not 'user_message'"),
        ):
            with case(key=key, value=value, sentence=sentence):
                self.assertEqual(self.refusal_of(key, value), sentence)
        for key in ("event_type", "user_message_id", "timestamp", "message_version"):
            with case(key=key):
                self.assertEqual(self.refusal_without(key), f"{key} is missing")

    def test_delivery_status(self) -> None:
        """A delivery report says something that we know."""
        expected = "delivery_status must be one of pending, failed, delivered; it is "
        report = {**EVENT, "event_type": "delivery_report"}
        for value, shown in (("read", "'read'"), (None, "null"), ({}, "an object")):
            with case(value=value, shown=shown):
                body = json.dumps({**report, "delivery_status": value}).encode()
                self.assertEqual(self.refusal(body), expected + shown)
        self.assertEqual(self.refusal(json.dumps(report).encode()), expected + "null")


class FailureMessageTests(MalformedCase):
    """Failure messages."""

    message_class = FailureMessage
    payload = FAILURE

    def test_round_trip(self) -> None:
        """A failure message is read and written with every key, its original being an object or text."""
        for original in ({"message_id": "0f" * 16, "timestamp": "2021-08-07 12:34:56"}, "not json \udcff"):
            with case(original=original):
                payload = {**FAILURE, "message": original}
                found = FailureMessage.from_json(json.dumps(payload).encode())
                self.assertEqual((found.message, found.timestamp), (original, WHEN))
                self.assertEqual(json.loads(found.to_json()), payload)

    def test_refusals(self) -> None:
        """What is no failure message is refused, and the field named."""
        for key, value, sentence in (
            ("message", None, "message must be an object or text, not null"),
            ("failure_code", "odd", "failure_code must be one of permanent, temporary; it is 'odd'"),
            ("reason", None, "reason must be text, not null"),
            ("helper_metadata", 5, "helper_metadata must be an object, not a number"),
            ("message_type", "event", "message_type must be failure_message, not 'event'"),
        ):
            with case(key=key, value=value, sentence=sentence):
                self.assertEqual(self.refusal_of(key, value), sentence)
        for key in ("message", "failure_code", "reason", "timestamp"):
            with case(key=key):
                self.assertEqual(self.refusal_without(key), f"{key} is missing")
