"""Messages for tests, as legacy vumi's MessageHelper makes them (vumi/tests/helpers.py)."""

from __future__ import annotations

from typing import Any, Optional

from ..vumi.messages import TransportEvent, TransportUserMessage


class MessageHelper:
    """
    Makes messages. Its parameters are the messages' values where a test gives no others.

    :param transport_name: of all messages.
    :param transport_type: of all messages.
    :param mobile_addr: the person's address.
    :param transport_addr: the address that the person writes to.
    """

    def __init__(
        self,
        transport_name: str = "sphex",
        transport_type: str = "sms",
        mobile_addr: str = "+41791234567",
        transport_addr: str = "9292",
    ) -> None:
        self.transport_name = transport_name
        self.transport_type = transport_type
        self.mobile_addr = mobile_addr
        self.transport_addr = transport_addr

    def setup(self) -> None:
        """There is nothing to set up."""

    def cleanup(self) -> Any:
        """There is nothing to clean up."""

    def make_inbound(
        self, content: Optional[str], from_addr: Optional[str] = None, to_addr: Optional[str] = None, **fields: Any
    ) -> TransportUserMessage:
        """
        A message from a person.

        :param fields: see :meth:`make_user_message`.
        """
        return self.make_user_message(content, from_addr or self.mobile_addr, to_addr or self.transport_addr, **fields)

    def make_outbound(
        self, content: Optional[str], from_addr: Optional[str] = None, to_addr: Optional[str] = None, **fields: Any
    ) -> TransportUserMessage:
        """
        A message to a person.

        :param fields: see :meth:`make_user_message`.
        """
        return self.make_user_message(content, from_addr or self.transport_addr, to_addr or self.mobile_addr, **fields)

    def make_user_message(
        self,
        content: Optional[str],
        from_addr: Optional[str],
        to_addr: Optional[str],
        endpoint: Optional[str] = None,
        **fields: Any,
    ) -> TransportUserMessage:
        """
        A message with these addresses.

        :param endpoint: the endpoint that it comes or goes by.
        :param fields: any other field of :class:`~vumi_turn.vumi.messages.user_message.TransportUserMessage`.
        :raises MalformedMessage: a value is of the wrong type.
        """
        values = {"transport_name": self.transport_name, "transport_type": self.transport_type, **fields}
        message = TransportUserMessage(content=content, from_addr=from_addr, to_addr=to_addr, **values)
        return message if endpoint is None else message.with_endpoint(endpoint)

    def make_event(
        self, event_type: str, user_message_id: str, endpoint: Optional[str] = None, **fields: Any
    ) -> TransportEvent:
        """
        An event of a message.

        :param fields: any other field of :class:`~vumi_turn.vumi.messages.events.TransportEvent`.
        :raises MalformedMessage: a value is of the wrong type.
        """
        event = TransportEvent(event_type=event_type, user_message_id=user_message_id, **fields)
        return event if endpoint is None else event.with_endpoint(endpoint)

    def make_ack(
        self, msg: Optional[TransportUserMessage] = None, sent_message_id: Optional[str] = None, **fields: Any
    ) -> TransportEvent:
        """
        An ack.

        :param msg: of which message; None is a new one.
        :param sent_message_id: the provider's id; None is the message's own.
        """
        about = self._id_of(msg)
        return self.make_event("ack", about, sent_message_id=sent_message_id or about, **fields)

    def make_nack(
        self, msg: Optional[TransportUserMessage] = None, nack_reason: str = "sunspots", **fields: Any
    ) -> TransportEvent:
        """A nack of a message, or of a new one."""
        return self.make_event("nack", self._id_of(msg), nack_reason=nack_reason, **fields)

    def make_delivery_report(
        self, msg: Optional[TransportUserMessage] = None, delivery_status: str = "delivered", **fields: Any
    ) -> TransportEvent:
        """A delivery report of a message, or of a new one."""
        return self.make_event("delivery_report", self._id_of(msg), delivery_status=delivery_status, **fields)

    def make_reply(self, msg: TransportUserMessage, content: Optional[str], **fields: Any) -> TransportUserMessage:
        """An answer to a message, as its ``reply`` makes it."""
        return msg.reply(content, **fields)

    def _id_of(self, msg: Optional[TransportUserMessage]) -> str:
        return (msg or self.make_outbound("for an event")).message_id
