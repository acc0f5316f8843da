"""Samples of vumi's messages, as JSON holds them, and what tests of reading them share."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage

GOLDEN = Path(__file__).parent / "golden"
WHEN = datetime(2021, 8, 7, 12, 34, 56, 789012, tzinfo=timezone.utc)

USER_MESSAGE: dict[str, Any] = {
    "message_type": "user_message",
    "message_version": "20110921",
    "message_id": "0f" * 16,
    "timestamp": "2021-08-07 12:34:56.789012",
    "to_addr": "*120*8864#",
    "from_addr": "+26612345678",
    "in_reply_to": "1e" * 16,
    "session_event": "resume",
    "content": "Hello",
    "transport_name": "phone_network",
    "transport_type": "ussd",
    "transport_metadata": {"session_id": "s-1"},
    "helper_metadata": {"contact_name": "Thabo"},
    "routing_metadata": {"endpoint_name": "ussd_line"},
    "group": "a group",
    "provider": "a provider",
    "to_addr_type": "a to type",
    "from_addr_type": "a from type",
}

EVENT: dict[str, Any] = {
    "message_type": "event",
    "message_version": "20110921",
    "event_id": "e1" * 16,
    "timestamp": "2021-08-07 12:34:56.789012",
    "user_message_id": "0f" * 16,
    "event_type": "ack",
    "sent_message_id": "provider-1",
    "helper_metadata": {},
    "routing_metadata": {},
    "transport_metadata": {},
}

FAILURE: dict[str, Any] = {
    "message_type": "failure_message",
    "message_version": "20110921",
    "timestamp": "2021-08-07 12:34:56.789012",
    "helper_metadata": {"turn": {"queue": "inbound"}},
    "message": {"message_id": "0f" * 16},
    "failure_code": "permanent",
    "reason": "Turn refused it",
}


def user_message(**changes: Any) -> TransportUserMessage:
    return TransportUserMessage.from_dict({**USER_MESSAGE, **changes})


def event(**changes: Any) -> TransportEvent:
    return TransportEvent.from_dict({**EVENT, **changes})


def without(payload: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in payload.items() if key not in keys}


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


class MalformedCase(SynchronousTestCase):
    """What the tests of refusals share."""

    message_class: Any = TransportUserMessage
    payload = USER_MESSAGE

    def refusal(self, body: bytes) -> str:
        """The sentence with which a body is refused."""
        return str(self.assertRaises(MalformedMessage, self.message_class.from_json, body))

    def refusal_of(self, key: str, value: Any) -> str:
        return self.refusal(json.dumps({**self.payload, key: value}).encode())

    def refusal_without(self, key: str) -> str:
        return self.refusal(json.dumps(without(self.payload, key)).encode())
