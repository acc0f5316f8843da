"""
What all of vumi's messages share, and how their fields are checked.

The checks hold for every message, read or made: what cannot be made cannot be
written.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, ClassVar, Mapping, NoReturn, Optional, Sequence, TypeVar, Union
from uuid import uuid4

from ...broker.interface import Delivery
from .encoding import MalformedMessage, as_utc, decode_object, encode_object, kind_of, parse_vumi_date, shorten

#: The only version of messages there ever was.
MESSAGE_VERSION = "20110921"

DEFAULT_ENDPOINT_NAME = "default"

M = TypeVar("M", bound="Message")
R = TypeVar("R", bound="RoutedMessage")


def generate_id() -> str:
    """A new message id or event id: 32 hex digits."""
    return uuid4().hex


def now() -> datetime:
    """The time, for messages that were given none."""
    return datetime.now(timezone.utc)


class Message:
    """
    What all messages share. Fields are attributes; ``message["content"]`` and
    ``message.get("content")`` work too, with keys as in the JSON.
    """

    __slots__ = ()

    message_type: ClassVar[str]
    message_version: ClassVar[str] = MESSAGE_VERSION
    #: The keys of the JSON without which there is no message, apart from the two above.
    REQUIRED: ClassVar[frozenset[str]]
    #: The keys of the JSON that have attributes; all others are in ``extra``.
    KEYS: ClassVar[frozenset[str]]

    extra: dict[str, Any]

    @classmethod
    def from_json(cls: type[M], body: Union[bytes, str], delivery: Optional[Delivery] = None) -> M:
        """
        :param body: JSON as it came from a queue.
        :param delivery: what brought it.
        :raises MalformedMessage: it is not a message of this class.
        """
        return cls.from_dict(decode_object(body), delivery)

    @classmethod
    def from_dict(cls: type[M], payload: Mapping[str, Any], delivery: Optional[Delivery] = None) -> M:
        """
        :param payload: the decoded JSON; it is not changed.
        :param delivery: what brought it.
        :raises MalformedMessage: it is not a message of this class; the text
            names the field.
        """
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The message as JSON's types, with every key of the format."""
        raise NotImplementedError

    def to_json(self) -> bytes:
        """
        The message as ASCII JSON.

        :raises ValueError: something in it (NaN) cannot be written as JSON.
        """
        return encode_object(self.to_dict())

    def replace(self: M, **changes: Any) -> M:
        """The same message with other values for some fields; ``delivery`` stays."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self._field_names()}
        values.update(changes)
        return type(self)(**values)

    @classmethod
    def _field_names(cls) -> tuple[str, ...]:
        return cls.__slots__  # dataclass makes one for each field

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key of the JSON, or ``default`` where there is no such key."""
        if key in self.KEYS:
            return getattr(self, key)
        return self.extra.get(key, default)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key) if key in self.KEYS else self.extra[key]

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        """Legacy vumi's messages could be changed; who comes from there is told what to do."""
        raise TypeError(f"messages cannot be changed: use message.replace({key}=...), which gives another one")

    def __contains__(self, key: object) -> bool:
        return key in self.KEYS or key in self.extra


class RoutedMessage(Message):
    """A message that goes by an endpoint of its connector."""

    __slots__ = ()

    routing_metadata: dict[str, Any]

    @property
    def endpoint_name(self) -> str:
        """The endpoint it came by or goes to."""
        return self.routing_metadata.get("endpoint_name") or DEFAULT_ENDPOINT_NAME

    def get_routing_endpoint(self) -> str:
        """:attr:`endpoint_name`, as legacy vumi calls it."""
        return self.endpoint_name

    def with_endpoint(self: R, name: Optional[str]) -> R:
        """The same message for an endpoint; None is the default one."""
        endpoint = name or DEFAULT_ENDPOINT_NAME
        return self.replace(routing_metadata={**self.routing_metadata, "endpoint_name": endpoint})


# -- reading ------------------------------------------------------------------


def check_envelope(cls: type[Message], payload: Mapping[str, Any]) -> None:
    """Whether ``payload`` says that it is a message of this class, and has what that requires."""
    for key, expected in (("message_type", cls.message_type), ("message_version", cls.message_version)):
        found = payload.get(key)
        if found != expected:
            raise MalformedMessage(
                f"{key} must be {expected}, not {_shown(found)}" if key in payload else f"{key} is missing"
            )
    missing = cls.REQUIRED - payload.keys()
    if missing:
        raise MalformedMessage(f"{', '.join(sorted(missing))} {'is' if len(missing) == 1 else 'are'} missing")


def read_timestamp(value: object) -> datetime:
    """The one field that is a date."""
    if not isinstance(value, str):
        raise MalformedMessage(f"timestamp must be text, not {kind_of(value)}")
    try:
        return parse_vumi_date(value)
    except ValueError as error:
        raise MalformedMessage(f"timestamp: {error}") from None


def text_of(value: Any) -> Any:
    """
    The decimal text of an integer; anything else as it is, for the checks.

    Transports send integers where text is meant: Telegram's (junebug's and
    vumi's) has ``from_addr`` as a JSON number.
    """
    return str(value) if type(value) is int else value


def or_empty(value: Any) -> Any:
    """An empty object for metadata that is missing or null."""
    return {} if value is None else value


def rest_of(payload: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    """The keys that we don't know; they are kept and written back."""
    if payload.keys() <= keys:
        return {}
    return {key: value for key, value in payload.items() if key not in keys}


# -- checking -----------------------------------------------------------------


def check_text(name: str, value: object) -> None:
    """Text or null."""
    if value is not None and not isinstance(value, str):
        raise MalformedMessage(f"{name} must be text or null, not {kind_of(value)}")


def check_name(name: str, value: object) -> None:
    """
    An address or an id, or null. Halves of surrogate pairs are no text that
    could be stored or sent on; in content they can be replaced, here not.
    """
    check_text(name, value)
    if isinstance(value, str) and not value.isascii():
        _check_unicode(name, value)


def check_id(name: str, value: object) -> None:
    """An id that must be there."""
    if not isinstance(value, str):
        raise MalformedMessage(f"{name} must be text, not {kind_of(value)}")
    if not value:
        raise MalformedMessage(f"{name} is empty")
    if not value.isascii():
        _check_unicode(name, value)


def check_choice(name: str, value: object, choices: Sequence[Optional[str]]) -> None:
    """One of a few values."""
    if value not in choices:
        expected = ", ".join("null" if choice is None else choice for choice in choices)
        raise MalformedMessage(f"{name} must be one of {expected}; it is {_shown(value)}")


def check_object(name: str, value: object) -> None:
    """An object."""
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name} must be an object, not {kind_of(value)}")


def check_metadata(helper_metadata: object, routing_metadata: object) -> None:
    """The metadata that every routed message has."""
    check_object("helper_metadata", helper_metadata)
    check_object("routing_metadata", routing_metadata)
    assert isinstance(routing_metadata, dict)
    if routing_metadata:
        check_text("routing_metadata.endpoint_name", routing_metadata.get("endpoint_name"))


def set_utc(message: Any) -> None:
    """Make a new message's timestamp aware and UTC."""
    timestamp = message.timestamp
    if not isinstance(timestamp, datetime):
        raise MalformedMessage(f"timestamp must be a datetime, not {kind_of(timestamp)}")
    if timestamp.tzinfo is not timezone.utc:
        object.__setattr__(message, "timestamp", as_utc(timestamp))


def _check_unicode(name: str, value: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedMessage(f"{name} holds half of a surrogate pair") from None


def _shown(value: object) -> str:
    return shorten(value) if isinstance(value, str) else kind_of(value)
