"""What the bodies of the traffic log's lines say, as far as messages are told by it."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional

from .hops import Outcome


def detail(line: Mapping[str, Any]) -> Optional[str]:
    """The word that tells one event from another."""
    body = line.get("body")
    if not isinstance(body, dict) or body.get("message_type") != "event":
        return None
    return str(body.get("delivery_status") or body.get("event_type"))


def reason(body: Any) -> Optional[str]:
    """Why the network has refused a message."""
    return body.get("nack_reason") if isinstance(body, dict) else None


def outcome_of_event(event: Mapping[str, Any]) -> Optional[Outcome]:
    """How a message stands after an event."""
    kind, status = event.get("event_type"), event.get("delivery_status")
    if kind == "nack":
        return Outcome("failed", "bad", event.get("nack_reason"))
    if status == "failed":
        return Outcome("failed", "bad", "the network reports that it was not delivered")
    if status == "delivered":
        return Outcome("delivered", "good")
    return Outcome("sent", "good") if kind == "ack" else None


def details_of(body: Any) -> Optional[str]:
    """What an answer says is wrong."""
    try:
        details = body["errors"][0]["details"]
    except (LookupError, TypeError):
        return None
    return str(details)


def text_of(body: Any) -> Optional[str]:
    """The text of a message as it goes to Turn, or what was chosen."""
    try:
        message = body["message"]
        if message["type"] == "interactive":
            reply = message["interactive"]
            return str(reply[reply["type"]]["title"])
        return str(message["text"]["body"])
    except (LookupError, TypeError):
        return None


def outbound_text(fields: Mapping[str, Any]) -> Optional[str]:
    """The text of a request of Turn's, or the type of what it is."""
    content = fields.get("content")
    if isinstance(content, str):
        return content
    turn = fields.get("turn")
    return f"[{turn.get('type')}]" if isinstance(turn, dict) else None


def id_given(body: Any) -> Optional[str]:
    """The id that the worker's answer gives to a message."""
    try:
        name = body["messages"][0]["id"]
    except (LookupError, TypeError):
        return None
    return name if isinstance(name, str) else None


def person_of_part(body: Mapping[str, Any]) -> str:
    """Whom a part of an answer is for: who sent the input that it answers. Source: ``conversation/joining.py``."""
    try:
        return str(json.loads(body["original"])["from_addr"])
    except (ValueError, LookupError, TypeError):
        return ""
