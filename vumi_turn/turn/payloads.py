"""
What we say to Turn and what Turn says to us, as pure functions.

Source: Turn's documentation of the Channels API (whatsapp.turn.io/docs,
"Channels API"), which Turn declares unstable. Its paths, its words for what
became of a message and its formats are in this module and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Mapping, Optional

from ..http.errors import ApiUsageError, JsonDecodeError
from ..vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage
from ..vumi.messages.encoding import kind_of
from .json_body import AmbiguousObject, decode_body

#: Below ``turn_api_url``: people's messages, and what became of ours.
MESSAGES_PATH = "/messages"
STATUSES_PATH = "/statuses"

#: Turn's words for (event_type, delivery_status) of vumi's events.
STATUS_OF_EVENT: Mapping[tuple[str, Optional[str]], str] = {
    ("ack", None): "sent",
    ("delivery_report", "pending"): "sent",
    ("delivery_report", "delivered"): "delivered",
    ("delivery_report", "failed"): "failed",
    ("nack", None): "failed",
}

#: The text of a message that has none, where not even the address it came to is known.
NO_TEXT = "-"

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)


def message_payload(message: TransportUserMessage, empty_message_body: Optional[str] = None) -> dict[str, Any]:
    """
    A person's message for ``POST {turn_api_url}/messages``.

    Turn refuses an empty text, but a USSD session begins with one. NUL
    characters, which no text of Turn's can hold, are left out of everything.

    :param empty_message_body: the text of a message that has none; the address
        that it came to where this is not given.
    :raises MalformedMessage: it has no ``from_addr``: Turn knows people by
        their address, so it can never be told of this message.
    """
    person = _for_turn(message.from_addr or "")
    if not person:
        raise MalformedMessage("from_addr is missing or empty: a person's message needs it")
    name = message.helper_metadata.get("contact_name")
    if not isinstance(name, str) or not name.strip():
        name = person
    body = words_of(message) or empty_message_body or _said(message.to_addr) or NO_TEXT
    return {
        "contact": {"id": person, "profile": {"name": _for_turn(name) or person}},
        "message": {
            "type": "text",
            "text": {"body": body},
            "from": person,
            "id": _for_turn(message.message_id),
            "timestamp": unix_seconds(message.timestamp),
        },
    }


def words_of(message: TransportUserMessage) -> str:
    """What a person has said, as Turn is told it; empty where that is nothing, or blanks only."""
    return _said(message.content)


def _said(text: Optional[str]) -> str:
    said = _for_turn(text or "")
    return said if said.strip() else ""


def status_payload(event: TransportEvent, recipient_id: Optional[str]) -> dict[str, Any]:
    """
    What became of a message of ours, for ``POST {turn_api_url}/statuses``.

    :param recipient_id: whom we sent that message to; left out where it is not known.
    """
    status = {
        "id": _for_turn(event.user_message_id),
        "status": status_of(event),
        "timestamp": unix_seconds(event.timestamp),
    }
    if recipient_id:
        status["recipient_id"] = _for_turn(recipient_id)
    return {"status": status}


def status_of(event: TransportEvent) -> str:
    """Turn's word for what an event says."""
    detail = event.delivery_status if event.event_type == "delivery_report" else None
    return STATUS_OF_EVENT[event.event_type, detail]


def unix_seconds(moment: datetime) -> str:
    """Whole Unix seconds, their fraction cut off."""
    return str((moment - _EPOCH) // _SECOND)


@dataclass(frozen=True, slots=True, repr=False)
class OutboundRequest:
    """
    A message that Turn wants to be sent.

    :ivar to: the person's address, never empty.
    :ivar from_addr: the sender that Turn wants, if it wants a certain one.
    :ivar reply_to: the id of the message it answers, if Turn says so.
    :ivar text: of a text, what the person is sent; None of anything else. It may be empty:
        that is how a session is ended without a word, and whether it can be shown is the
        transport's to say.
    :ivar waiting_for_user_input: the person is expected to answer.
    :ivar turn: the message as Turn means it, ``text`` among its fields or not.
    :ivar content: what Turn says beside it, of any kind; as a rule the text.
    """

    to: str
    from_addr: Optional[str]
    reply_to: Optional[str]
    text: Optional[str]
    waiting_for_user_input: bool
    turn: Mapping[str, Any] = field(default_factory=dict)
    content: object = None

    def __repr__(self) -> str:
        return f"<OutboundRequest waiting_for_user_input={self.waiting_for_user_input}>"


def parse_outbound(body: bytes) -> OutboundRequest:
    """
    Read the body of a POST from Turn.

    ``from`` and ``reply_to`` may be missing, null or empty, which is the same.
    What is not used (``context``, ``block``, ``resources``, …) is not looked
    at, so that Turn may change it.

    :raises JsonDecodeError: it is not UTF-8 or not JSON, nested too deep, or
        has a field that is used twice.
    :raises ApiUsageError: a field is missing or of the wrong type.
    """
    request = decode_body(body, needed=("to", "turn"))
    if not isinstance(request, dict):
        raise ApiUsageError(f"the body must be an object, not {kind_of(request)}")
    to = _address(_required(request, "", "to", str), "to")
    if not to.strip():
        raise ApiUsageError("to must not be empty")
    from_addr = _optional(request, "from", str)
    reply_to = _optional(request, "reply_to", str)
    waiting = _optional(request, "waiting_for_user_input", bool)
    turn = _required(request, "", "turn", dict)
    text = text_of(turn)
    return OutboundRequest(
        to=to,
        from_addr=_address(from_addr, "from") if from_addr else None,
        reply_to=_address(reply_to, "reply_to") if reply_to else None,
        text=text,
        waiting_for_user_input=bool(waiting),
        turn=turn if text is not None else _all_unicode(turn),
        content=_all_unicode(request.get("content")),
    )


def text_of(turn: Mapping[str, Any]) -> Optional[str]:
    """
    The text of a message of Turn's; one without a type that has a text is a text.

    Source: WhatsApp's Cloud API, "Text messages", whose form Turn uses.

    :return: None of a message of another type.
    :raises ApiUsageError: a part is missing or of the wrong kind.
    """
    if "type" in turn or "text" not in turn:
        if _required(turn, "turn.", "type", str) != "text":
            return None
    text = _required(turn, "turn.", "text", dict)
    return _unicode(_required(text, "turn.text.", "body", str))


def _all_unicode(value: Any) -> Any:
    """A JSON value with half of a surrogate pair, wherever there is one, replaced."""
    if isinstance(value, str):
        return _unicode(value)
    if isinstance(value, dict):
        return {_unicode(key): _all_unicode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_all_unicode(item) for item in value]
    return value


# -- fields -------------------------------------------------------------------


_NAMES = {str: "a string", dict: "an object", bool: "a boolean"}


def _required(parent: Mapping[str, Any], path: str, key: str, kind: type) -> Any:
    if key not in parent:
        raise ApiUsageError(f"{path}{key} is missing")
    value = _unambiguous(parent, path, key)
    if not isinstance(value, kind):
        raise ApiUsageError(f"{path}{key} must be {_NAMES[kind]}, not {kind_of(value)}")
    return value


def _optional(parent: Mapping[str, Any], key: str, kind: type) -> Any:
    value = _unambiguous(parent, "", key)
    if value is not None and not isinstance(value, kind):
        raise ApiUsageError(f"{key} must be {_NAMES[kind]} or null, not {kind_of(value)}")
    return value


def _unambiguous(parent: Mapping[str, Any], path: str, key: str) -> Any:
    if isinstance(parent, AmbiguousObject) and key in parent.repeated:
        raise JsonDecodeError(f"the body has {path}{key} twice")
    return parent.get(key)


def _address(value: str, name: str) -> str:
    """An address or an id: what is no Unicode text can never be right."""
    if _is_unicode(value):
        return value
    raise ApiUsageError(f"{name} must be Unicode text; it holds half of a surrogate pair")


def _for_turn(text: str) -> str:
    return _unicode(text.replace("\0", ""))


def _unicode(text: str) -> str:
    """Text with U+FFFD for each half of a surrogate pair: an emoji that somebody cut in two."""
    if _is_unicode(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
