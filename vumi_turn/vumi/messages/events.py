"""
Messages about messages: what became of one of ours, and what could not be
handed over. Use them by :mod:`vumi_turn.vumi.messages.user_message`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Mapping, Optional, Union

from ...broker.interface import Delivery
from .base import (
    Message,
    RoutedMessage,
    check_choice,
    check_envelope,
    check_id,
    check_metadata,
    check_object,
    generate_id,
    now,
    or_empty,
    read_timestamp,
    rest_of,
    set_utc,
    text_of,
)
from .encoding import MalformedMessage, encode_object_utf8, format_vumi_date, kind_of, shorten


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TransportEvent(RoutedMessage):
    """
    What became of a message of ours.

    :ivar user_message_id: our message's id; nothing else links the two.
    :ivar sent_message_id: the provider's id, of whatever type; not even every
        ack has one.
    :raises MalformedMessage: a value is of the wrong type.
    """

    message_type: ClassVar[str] = "event"
    KEYS: ClassVar[frozenset[str]] = frozenset(
        "message_type message_version event_id user_message_id event_type sent_message_id nack_reason"
        " delivery_status timestamp helper_metadata routing_metadata transport_metadata".split()
    )
    REQUIRED: ClassVar[frozenset[str]] = frozenset({"user_message_id", "event_type", "timestamp"})

    EVENT_TYPES: ClassVar[tuple[str, ...]] = ("ack", "nack", "delivery_report")
    DELIVERY_STATUSES: ClassVar[tuple[str, ...]] = ("pending", "failed", "delivered")

    user_message_id: str
    event_type: str
    event_id: str = field(default_factory=generate_id)
    sent_message_id: Any = None
    nack_reason: Any = None
    delivery_status: Optional[str] = None
    timestamp: datetime = field(default_factory=now)
    helper_metadata: dict[str, Any] = field(default_factory=dict)
    routing_metadata: dict[str, Any] = field(default_factory=dict)
    transport_metadata: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    delivery: Optional[Delivery] = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_id("user_message_id", self.user_message_id)
        check_id("event_id", self.event_id)
        check_choice("event_type", self.event_type, self.EVENT_TYPES)
        if self.event_type == "delivery_report":
            check_choice("delivery_status", self.delivery_status, self.DELIVERY_STATUSES)
        check_object("transport_metadata", self.transport_metadata)
        check_metadata(self.helper_metadata, self.routing_metadata)
        set_utc(self)

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any], delivery: Optional[Delivery] = None) -> TransportEvent:
        """
        See :meth:`Message.from_dict`. An event without an ``event_id`` gets
        one made of what it says, so that it is the same when it comes again.
        An integer in an id becomes its decimal text.
        """
        check_envelope(cls, payload)
        get = payload.get
        event_id = text_of(get("event_id"))
        return cls(
            user_message_id=text_of(payload["user_message_id"]),
            event_type=payload["event_type"],
            event_id=_event_id_of(payload) if event_id is None else event_id,
            sent_message_id=text_of(get("sent_message_id")),
            nack_reason=get("nack_reason"),
            delivery_status=get("delivery_status"),
            timestamp=read_timestamp(payload["timestamp"]),
            helper_metadata=or_empty(get("helper_metadata")),
            routing_metadata=or_empty(get("routing_metadata")),
            transport_metadata=or_empty(get("transport_metadata")),
            extra=rest_of(payload, cls.KEYS),
            delivery=delivery,
        )

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Message.to_dict`; of ``sent_message_id``, ``nack_reason`` and
        ``delivery_status`` those that the event's type has, and what is set."""
        payload = {
            **self.extra,
            "message_type": self.message_type,
            "message_version": self.message_version,
            "event_id": self.event_id,
            "timestamp": format_vumi_date(self.timestamp),
            "user_message_id": self.user_message_id,
            "event_type": self.event_type,
            "helper_metadata": self.helper_metadata,
            "routing_metadata": self.routing_metadata,
            "transport_metadata": self.transport_metadata,
        }
        if self.event_type == "ack" or self.sent_message_id is not None:
            payload["sent_message_id"] = self.sent_message_id
        if self.event_type == "nack" or self.nack_reason is not None:
            payload["nack_reason"] = self.nack_reason
        if self.event_type == "delivery_report" or self.delivery_status is not None:
            payload["delivery_status"] = self.delivery_status
        return payload

    def __hash__(self) -> int:
        return hash(self.event_id)

    def __repr__(self) -> str:
        return (
            f"<TransportEvent {shorten(self.event_id)} {self.event_type}"
            f" of {shorten(self.user_message_id)} delivery_status={self.delivery_status}>"
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FailureMessage(Message):
    """
    A message that could not be handed over, and why.

    :ivar message: the original: its JSON object, or its text where it is none.
    :ivar failure_code: ``permanent`` or ``temporary``.
    :ivar reason: one sentence that a person can act on.
    :raises MalformedMessage: a value is of the wrong type.
    """

    message_type: ClassVar[str] = "failure_message"
    KEYS: ClassVar[frozenset[str]] = frozenset(
        "message_type message_version timestamp helper_metadata message failure_code reason".split()
    )
    REQUIRED: ClassVar[frozenset[str]] = frozenset({"message", "failure_code", "reason", "timestamp"})

    PERMANENT: ClassVar[str] = "permanent"
    TEMPORARY: ClassVar[str] = "temporary"

    message: Union[dict[str, Any], str]
    failure_code: str
    reason: str
    timestamp: datetime = field(default_factory=now)
    helper_metadata: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    delivery: Optional[Delivery] = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.message, (dict, str)):
            raise MalformedMessage(f"message must be an object or text, not {kind_of(self.message)}")
        check_choice("failure_code", self.failure_code, (self.PERMANENT, self.TEMPORARY))
        if not isinstance(self.reason, str):
            raise MalformedMessage(f"reason must be text, not {kind_of(self.reason)}")
        check_object("helper_metadata", self.helper_metadata)
        set_utc(self)

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any], delivery: Optional[Delivery] = None) -> FailureMessage:
        """See :meth:`Message.from_dict`."""
        check_envelope(cls, payload)
        return cls(
            message=payload["message"],
            failure_code=payload["failure_code"],
            reason=payload["reason"],
            timestamp=read_timestamp(payload["timestamp"]),
            helper_metadata=or_empty(payload.get("helper_metadata")),
            extra=rest_of(payload, cls.KEYS),
            delivery=delivery,
        )

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Message.to_dict`."""
        return {
            **self.extra,
            "message_type": self.message_type,
            "message_version": self.message_version,
            "timestamp": format_vumi_date(self.timestamp),
            "helper_metadata": self.helper_metadata,
            "message": self.message,
            "failure_code": self.failure_code,
            "reason": self.reason,
        }

    def to_json(self) -> bytes:
        """As UTF-8, so that it is hardly larger than the message in it; see :meth:`Message.to_json`."""
        return encode_object_utf8(self.to_dict())

    def __hash__(self) -> int:
        return hash((self.timestamp, self.reason))

    def __repr__(self) -> str:
        return f"<FailureMessage {self.failure_code}>"


def _event_id_of(payload: Mapping[str, Any]) -> str:
    """An id for an event without one: the same whenever the same event comes."""
    text = json.dumps(payload, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()
