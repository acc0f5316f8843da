"""
Turn's formats, as strictly as a test wants them.

They are those of Turn's Channels API documentation,
https://whatsapp.turn.io/docs/api/channel_api.
"""

from __future__ import annotations

from typing import Any, Optional

from ...caches import person_of

STATUSES = ("sent", "delivered", "read", "failed")

#: Turn's limit for the text of one message, in characters.
MAX_TEXT = 4096


class Invalid(Exception):
    """What was POSTed is not what the Channels API takes; the text says why."""


def check_message(payload: Any) -> dict[str, Any]:
    """
    :return: the ``message`` object of a valid payload.
    :raises Invalid: naming the field that is wrong.
    """
    _object(payload, "the body", ("contact", "message"))
    contact = _object(payload.get("contact"), "contact", ("id", "profile"))
    _string(contact.get("id"), "contact.id")
    _string(_object(contact.get("profile"), "contact.profile", ("name",)).get("name"), "contact.profile.name")
    message = _object(payload.get("message"), "message", ("type", "text", "from", "id", "timestamp"))
    if message.get("type") != "text":
        raise Invalid("message.type must be text")
    text = _string(_object(message.get("text"), "message.text", ("body",)).get("body"), "message.text.body")
    if len(text) > MAX_TEXT:
        raise Invalid(f"message.text.body must not have more than {MAX_TEXT} characters")
    _string(message.get("from"), "message.from")
    _string(message.get("id"), "message.id")
    _timestamp(message.get("timestamp"), "message.timestamp")
    if message["from"] != contact["id"]:
        raise Invalid("message.from must be contact.id")
    return message


def check_status(payload: Any) -> dict[str, Any]:
    """
    :return: the ``status`` object of a valid payload.
    :raises Invalid: naming the field that is wrong.
    """
    _object(payload, "the body", ("status",))
    status = _object(payload.get("status"), "status", ("id", "status", "timestamp", "recipient_id"))
    _string(status.get("id"), "status.id")
    if status.get("status") not in STATUSES:
        raise Invalid(f"status.status must be one of {', '.join(STATUSES)}")
    _timestamp(status.get("timestamp"), "status.timestamp")
    if "recipient_id" in status:
        _string(status["recipient_id"], "status.recipient_id")
    return status


def outbound_payload(to: str, text: str, reply_to: Optional[str], waiting: bool) -> dict[str, Any]:
    """What Turn POSTs to a channel for a text message."""
    return {
        "to": to,
        "from": None,
        "reply_to": reply_to,
        "content": text,
        "context": None,
        "block": None,
        "resources": None,
        "evaluated_resources": None,
        "turn": {"type": "text", "text": {"body": text}},
        "waiting_for_user_input": waiting,
    }


def same_person(one: str, other: str) -> bool:
    """Whether two addresses are one person's: a leading + makes no difference."""
    return person_of(one) == person_of(other)


def _string(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{name} must be a string")
    if not value:
        raise Invalid(f"{name} must not be empty")
    return value


def _object(value: Any, name: str, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{name} must be an object")
    for key in value:
        if key not in allowed:
            raise Invalid(f"{name}.{key} is not known")
    return value


def _timestamp(value: Any, name: str) -> str:
    text = _string(value, name)
    if not (text.isascii() and text.isdigit()):
        raise Invalid(f"{name} must be a string of Unix seconds")
    return text
