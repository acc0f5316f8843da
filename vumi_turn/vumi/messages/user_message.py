"""
vumi's messages: what people say, what becomes of what we say, and failures.

Reading is tolerant, because the senders are many and old; writing is exact:
every key that the format has is written. The format is legacy vumi's
(``vumi/message.py`` and ``vumi/transports/failures.py`` of vumi 0.6).

Messages are values: ``replace`` makes a changed one. Their metadata may be
shared between them, so nobody changes it in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, Mapping, Optional

from ...broker.interface import Delivery
from .base import (
    RoutedMessage,
    check_choice,
    check_envelope,
    check_id,
    check_metadata,
    check_name,
    check_object,
    check_text,
    generate_id,
    now,
    or_empty,
    read_timestamp,
    rest_of,
    set_utc,
    text_of,
)
from .encoding import MalformedMessage, format_vumi_date, parse_vumi_date, shorten
from .events import FailureMessage, TransportEvent

__all__ = [
    "FailureMessage",
    "MalformedMessage",
    "TransportEvent",
    "TransportUserMessage",
    "format_vumi_date",
    "generate_id",
    "parse_vumi_date",
]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TransportUserMessage(RoutedMessage):
    """
    A message from a person or to one.

    The addresses may be None: a message that was made to be sent has no
    ``from_addr`` yet, and one to a group has no ``to_addr``.

    :raises MalformedMessage: a value is of the wrong type.
    """

    message_type: ClassVar[str] = "user_message"
    KEYS: ClassVar[frozenset[str]] = frozenset(
        "message_type message_version message_id timestamp to_addr from_addr in_reply_to session_event"
        " content transport_name transport_type transport_metadata helper_metadata routing_metadata group"
        " provider to_addr_type from_addr_type".split()
    )
    REQUIRED: ClassVar[frozenset[str]] = frozenset(
        "message_id timestamp to_addr from_addr content transport_name transport_type".split()
    )

    SESSION_NONE: ClassVar[None] = None
    SESSION_NEW: ClassVar[str] = "new"
    SESSION_RESUME: ClassVar[str] = "resume"
    SESSION_CLOSE: ClassVar[str] = "close"
    SESSION_EVENTS: ClassVar[tuple[Optional[str], ...]] = (None, "new", "resume", "close")

    to_addr: Optional[str]
    from_addr: Optional[str]
    transport_name: Optional[str]
    transport_type: Optional[str]
    content: Optional[str] = None
    session_event: Optional[str] = None
    in_reply_to: Optional[str] = None
    message_id: str = field(default_factory=generate_id)
    timestamp: datetime = field(default_factory=now)
    transport_metadata: dict[str, Any] = field(default_factory=dict)
    helper_metadata: dict[str, Any] = field(default_factory=dict)
    routing_metadata: dict[str, Any] = field(default_factory=dict)
    group: Any = None
    provider: Any = None
    to_addr_type: Any = None
    from_addr_type: Any = None
    extra: dict[str, Any] = field(default_factory=dict)
    delivery: Optional[Delivery] = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_id("message_id", self.message_id)
        for name in ("to_addr", "from_addr", "in_reply_to"):
            check_name(name, getattr(self, name))
        for name in ("content", "transport_name", "transport_type"):
            check_text(name, getattr(self, name))
        check_choice("session_event", self.session_event, self.SESSION_EVENTS)
        check_object("transport_metadata", self.transport_metadata)
        check_metadata(self.helper_metadata, self.routing_metadata)
        set_utc(self)

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any], delivery: Optional[Delivery] = None) -> TransportUserMessage:
        """
        See :meth:`Message.from_dict`. May be missing: what older senders leave
        out, and ``in_reply_to``, ``session_event`` and ``transport_metadata``.
        An integer in an address, an id or the content becomes its decimal text.
        """
        check_envelope(cls, payload)
        get = payload.get
        return cls(
            to_addr=text_of(payload["to_addr"]),
            from_addr=text_of(payload["from_addr"]),
            transport_name=payload["transport_name"],
            transport_type=payload["transport_type"],
            content=text_of(payload["content"]),
            session_event=get("session_event"),
            in_reply_to=text_of(get("in_reply_to")),
            message_id=text_of(payload["message_id"]),
            timestamp=read_timestamp(payload["timestamp"]),
            transport_metadata=or_empty(get("transport_metadata")),
            helper_metadata=or_empty(get("helper_metadata")),
            routing_metadata=or_empty(get("routing_metadata")),
            group=text_of(get("group")),
            provider=text_of(get("provider")),
            to_addr_type=get("to_addr_type"),
            from_addr_type=get("from_addr_type"),
            extra=rest_of(payload, cls.KEYS),
            delivery=delivery,
        )

    def to_dict(self) -> dict[str, Any]:
        """See :meth:`Message.to_dict`."""
        return {
            **self.extra,
            "message_type": self.message_type,
            "message_version": self.message_version,
            "message_id": self.message_id,
            "timestamp": format_vumi_date(self.timestamp),
            "to_addr": self.to_addr,
            "from_addr": self.from_addr,
            "in_reply_to": self.in_reply_to,
            "session_event": self.session_event,
            "content": self.content,
            "transport_name": self.transport_name,
            "transport_type": self.transport_type,
            "transport_metadata": self.transport_metadata,
            "helper_metadata": self.helper_metadata,
            "routing_metadata": self.routing_metadata,
            "group": self.group,
            "provider": self.provider,
            "to_addr_type": self.to_addr_type,
            "from_addr_type": self.from_addr_type,
        }

    def user(self) -> str:
        """The person whose message it is, as legacy vumi calls ``from_addr``; empty where there is none."""
        return self.from_addr or ""

    @classmethod
    def send(cls, to_addr: Optional[str], content: Optional[str], **fields: Any) -> TransportUserMessage:
        """
        A new message that answers none.

        :param fields: any other field; the sender and the transport are None
            where they are not given, for those on the way to fill in.
        """
        values = {"from_addr": None, "transport_name": None, "transport_type": None, **fields}
        return cls(to_addr=to_addr, content=content, **values)

    def reply(
        self,
        content: Optional[str],
        session_event: Optional[str] = None,
        message_id: Optional[str] = None,
        timestamp: Optional[datetime] = None,
    ) -> TransportUserMessage:
        """
        The answer to this message, which goes to its sender over the same
        transport and endpoint.

        :param message_id: a new one where it is None.
        :param timestamp: now where it is None.
        """
        return TransportUserMessage(
            to_addr=self.from_addr,
            from_addr=self.to_addr,
            in_reply_to=self.message_id,
            content=content,
            session_event=session_event,
            message_id=generate_id() if message_id is None else message_id,
            timestamp=now() if timestamp is None else timestamp,
            group=self.group,
            provider=self.provider,
            transport_name=self.transport_name,
            transport_type=self.transport_type,
            transport_metadata=self.transport_metadata,
            helper_metadata=dict(self.helper_metadata),
            routing_metadata={"endpoint_name": self.endpoint_name},
        )

    def bare(self) -> TransportUserMessage:
        """
        What a reply needs of this message: not the content, nor what a sender
        added, nor the delivery, which holds the whole body. Every consumed
        message is remembered so: nothing is checked a second time.
        """
        bare = object.__new__(TransportUserMessage)
        for name in _KEPT:
            object.__setattr__(bare, name, getattr(self, name))
        for name, value in (("content", None), ("extra", {}), ("delivery", None)):
            object.__setattr__(bare, name, value)
        return bare

    def __hash__(self) -> int:
        return hash(self.message_id)

    def __repr__(self) -> str:
        return f"<TransportUserMessage {shorten(self.message_id)} session_event={self.session_event}>"


_KEPT = [each.name for each in fields(TransportUserMessage) if each.name not in ("content", "extra", "delivery")]
