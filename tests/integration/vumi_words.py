"""Vumi's messages as other programs write them, in plain JSON: nothing here uses our own message classes."""

from __future__ import annotations

import itertools
import time
import uuid
from datetime import datetime, timezone
from typing import Any

_numbers = itertools.count(int(time.time()) % 10_000_000)

SERVICE = "*120*8864#"


def new_id() -> str:
    """An id like vumi's."""
    return uuid.uuid4().hex


def new_person() -> str:
    """An address that no other test uses."""
    return f"+2665{next(_numbers):08}"


def now() -> str:
    """This moment, as vumi writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def inbound(**changes: Any) -> dict[str, Any]:
    """A person's message as a legacy USSD transport sends it."""
    return {
        "message_type": "user_message",
        "message_version": "20110921",
        "message_id": new_id(),
        "timestamp": now(),
        "to_addr": SERVICE,
        "from_addr": new_person(),
        "in_reply_to": None,
        "session_event": "resume",
        "content": "what the person said",
        "transport_name": "ussd_transport",
        "transport_type": "ussd",
        "transport_metadata": {"session_id": "s-17"},
        "helper_metadata": {"tag": {"pool": "p"}},
        "routing_metadata": {"endpoint_name": "default"},
        "group": None,
        "provider": "econet",
        "to_addr_type": None,
        "from_addr_type": "msisdn",
        **changes,
    }


def event(event_type: str, user_message_id: str, **changes: Any) -> dict[str, Any]:
    """What became of our message, as a legacy transport says it."""
    own: dict[str, Any] = {
        "ack": {"sent_message_id": f"provider-{new_id()}"},
        "nack": {"nack_reason": "the network said no"},
        "delivery_report": {"delivery_status": "delivered"},
    }.get(event_type, {})
    return {
        "message_type": "event",
        "message_version": "20110921",
        "event_id": new_id(),
        "event_type": event_type,
        "user_message_id": user_message_id,
        "timestamp": now(),
        "helper_metadata": {},
        "routing_metadata": {"endpoint_name": "default"},
        **own,
        **changes,
    }


def unix_seconds(timestamp: str) -> str:
    """A vumi timestamp as Turn wants it: Unix seconds, the fraction cut off."""
    moment = datetime.strptime(timestamp, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)
    return str(int(moment.timestamp()))
