"""
Turn's formats, as strictly as a test wants them.

They are those of Turn's Channels API documentation,
https://whatsapp.turn.io/docs/api/channel_api; messages with buttons, lists and
pictures have the shapes of WhatsApp's Cloud API, with which Turn says that it
is aligned.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from ...caches import person_of

STATUSES = ("sent", "delivered", "read", "failed")

#: Turn's limit for the text of one message, in characters.
MAX_TEXT = 4096

#: WhatsApp's limits: buttons of a message, rows of a list, characters of each and of a row's description.
MAX_BUTTONS, MAX_ROWS = 3, 10
MAX_BUTTON_TITLE, MAX_ROW_TITLE, MAX_DESCRIPTION = 20, 24, 72

REPLIES = ("button_reply", "list_reply")


class Invalid(Exception):
    """What was POSTed is not what the Channels API takes; the text says why."""


# -- what a channel POSTs ---------------------------------------------------------


def check_message(payload: Any) -> dict[str, Any]:
    """
    :return: the ``message`` object of a valid payload.
    :raises Invalid: naming the field that is wrong.
    """
    _object(payload, "the body", ("contact", "message"))
    contact = _object(payload.get("contact"), "contact", ("id", "profile"))
    _string(contact.get("id"), "contact.id")
    _string(_object(contact.get("profile"), "contact.profile", ("name",)).get("name"), "contact.profile.name")
    message = payload.get("message")
    kind = message.get("type") if isinstance(message, dict) else None
    if isinstance(message, dict) and kind not in ("text", "interactive"):
        raise Invalid("message.type must be text or interactive")
    message = _object(message, "message", ("type", str(kind), "from", "id", "timestamp"))
    if kind == "text":
        _check_text(message)
    else:
        _check_interactive(message)
    _string(message.get("from"), "message.from")
    _string(message.get("id"), "message.id")
    _timestamp(message.get("timestamp"), "message.timestamp")
    if message["from"] != contact["id"]:
        raise Invalid("message.from must be contact.id")
    return message


def _check_text(message: dict[str, Any]) -> None:
    text = _string(_object(message.get("text"), "message.text", ("body",)).get("body"), "message.text.body")
    if not text.strip():
        raise Invalid("message.text.body must not be blank")
    if len(text) > MAX_TEXT:
        raise Invalid(f"message.text.body must not have more than {MAX_TEXT} characters")


def _check_interactive(message: dict[str, Any]) -> None:
    """Source: WhatsApp Cloud API, webhooks, messages of type interactive."""
    name = "message.interactive"
    interactive = message.get("interactive")
    kind = interactive.get("type") if isinstance(interactive, dict) else None
    if isinstance(interactive, dict) and kind not in REPLIES:
        raise Invalid(f"{name}.type must be one of {', '.join(REPLIES)}")
    interactive = _object(interactive, name, ("type", str(kind)))
    allowed = ("id", "title", "description") if kind == "list_reply" else ("id", "title")
    reply = _object(interactive.get(str(kind)), f"{name}.{kind}", allowed)
    for key in ("id", "title"):
        _string(reply.get(key), f"{name}.{kind}.{key}")


def said_in(message: Mapping[str, Any]) -> str:
    """What a person said in a valid message: the text, or the title of what was chosen."""
    if message["type"] == "text":
        return str(message["text"]["body"])
    interactive = message["interactive"]
    return str(interactive[interactive["type"]]["title"])


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


def check_new_channel(payload: Any) -> dict[str, Any]:
    """
    :return: the body of a request for a new channel.
    :raises Invalid: naming the field that is wrong.
    """
    body = _object(payload, "the body", ("backend_type", "number_type", "from_addr", "name", "endpoint"))
    for key, value in (("backend_type", "channel"), ("number_type", "channel_http_api")):
        if body.get(key) != value:
            raise Invalid(f"{key} must be {value}")
    for key in ("from_addr", "name", "endpoint"):
        _string(body.get(key), key)
    if not body["endpoint"].startswith(("http://", "https://")):
        raise Invalid("endpoint must be a URL")
    return body


# -- what Turn POSTs ----------------------------------------------------------------


def outbound_payload(
    to: str, turn: Mapping[str, Any], content: Optional[str], reply_to: Optional[str], waiting: bool
) -> dict[str, Any]:
    """What Turn POSTs to a channel for a message."""
    return {
        "to": to,
        "from": None,
        "reply_to": reply_to,
        "content": content,
        "context": None,
        "block": None,
        "resources": None,
        "evaluated_resources": None,
        "turn": turn,
        "waiting_for_user_input": waiting,
    }


def text_message(text: str) -> dict[str, Any]:
    """A text."""
    return {"type": "text", "text": {"body": text}}


def buttons(body: str, titles: Sequence[str]) -> dict[str, Any]:
    """A message with buttons; WhatsApp allows three, of 20 characters."""
    assert len(titles) <= MAX_BUTTONS and all(len(title) <= MAX_BUTTON_TITLE for title in titles), titles
    replies = [{"type": "reply", "reply": {"id": _slug(title), "title": title}} for title in titles]
    return {
        "type": "interactive",
        "interactive": {"type": "button", "body": {"text": body}, "action": {"buttons": replies}},
    }


def list_of(body: str, button: str, sections: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, Any]:
    """A message with a list: sections of rows, each a title and a description."""
    rows = [row for section in sections.values() for row in section]
    assert len(rows) <= MAX_ROWS and all(len(title) <= MAX_ROW_TITLE for title, _ in rows), rows
    assert all(len(description) <= MAX_DESCRIPTION for _, description in rows), rows
    made = [
        {
            "title": title,
            "rows": [{"id": _slug(row), "title": row, "description": description} for row, description in section],
        }
        for title, section in sections.items()
    ]
    return {
        "type": "interactive",
        "interactive": {"type": "list", "body": {"text": body}, "action": {"button": button, "sections": made}},
    }


def image(link: str, caption: str) -> dict[str, Any]:
    """A picture, with words below it."""
    return {"type": "image", "image": {"link": link, "caption": caption}}


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


# -- addresses -----------------------------------------------------------------------


def same_person(one: str, other: str) -> bool:
    """Whether two addresses are one person's: a leading + makes no difference."""
    return person_of(one) == person_of(other)


# -- the kinds of JSON values ---------------------------------------------------------


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
