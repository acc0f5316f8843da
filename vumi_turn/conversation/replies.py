"""The outbound message that a request of Turn's becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Mapping, Optional

from ..configuration.fields import ConfigErrors
from ..turn.payloads import OutboundRequest
from ..vumi.messages import MalformedMessage, TransportUserMessage

#: What each message has of its own, and ``connector``, which is no field of a
#: message: ``send_to`` says nothing about these.
OF_EACH_MESSAGE = frozenset(
    "message_type message_version message_id timestamp to_addr content in_reply_to session_event connector".split()
)


@dataclass(frozen=True)
class NewMessages:
    """
    What messages are like that answer none.

    :ivar from_addr: their sender, where Turn names none.
    :ivar transport_name: the transport that they are for.
    :ivar transport_type: its type.
    :ivar fields: fields that are always these, in place of the above and of
        what Turn names: ``default`` of the option ``send_to``.
    :raises ConfigErrors: one of the fields is of the wrong type.
    """

    from_addr: str
    transport_name: str
    transport_type: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self.message("address", "content", None)
        except MalformedMessage as error:
            raise ConfigErrors([f"send_to default: {error}"]) from None

    def message(self, to_addr: str, content: str, from_addr: Optional[str], **own: Any) -> TransportUserMessage:
        """
        A new message.

        :param from_addr: the sender that Turn names, if it names one.
        :param own: its ``message_id``, ``timestamp`` and ``session_event``.
        """
        fields: dict[str, Any] = {
            "from_addr": from_addr or self.from_addr,
            "transport_name": self.transport_name,
            "transport_type": self.transport_type,
        }
        extra: dict[str, Any] = {}
        for name, value in self.fields.items():
            if name in TransportUserMessage.KEYS:
                fields[name] = value
            else:
                extra[name] = value
        for name in OF_EACH_MESSAGE:
            fields.pop(name, None)
            extra.pop(name, None)
        return TransportUserMessage.send(to_addr, content, extra=extra, **fields, **own)


def outbound_message(
    request: OutboundRequest,
    original: Optional[TransportUserMessage],
    new: NewMessages,
    *,
    text: str,
    session_event: str,
    message_id: str,
    timestamp: datetime,
) -> TransportUserMessage:
    """
    A reply where there is something to reply to, because a USSD session lives
    from that; else a new message.

    :param request: what Turn POSTed.
    :param original: the message that it answers, or None.
    :param new: what it is like if it answers none.
    :param text: what the person is shown.
    :param session_event: ``resume`` or ``close``.
    :param message_id: its id.
    :param timestamp: when it is made.
    """
    if original is not None:
        return original.reply(text, session_event=session_event, message_id=message_id, timestamp=timestamp)
    return new.message(
        request.to,
        text,
        request.from_addr,
        message_id=message_id,
        timestamp=timestamp,
        session_event=session_event,
    )
