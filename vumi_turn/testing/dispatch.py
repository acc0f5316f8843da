"""Messages that are made and put into a queue at once, as by legacy vumi's MessageDispatchHelper."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred

from ..vumi.messages import TransportEvent, TransportUserMessage
from .messages import MessageHelper
from .worker import WorkerHelper


class MessageDispatchHelper:
    """
    Each method takes what the method of the same name without ``dispatch`` takes.

    :param msg_helper: makes the messages.
    :param worker_helper: puts them into queues.
    """

    def __init__(self, msg_helper: MessageHelper, worker_helper: WorkerHelper) -> None:
        self.msg_helper = msg_helper
        self.worker_helper = worker_helper

    def setup(self) -> None:
        """There is nothing to set up."""

    def cleanup(self) -> Any:
        """There is nothing to clean up."""

    def make_dispatch_inbound(
        self, content: Optional[str], connector_name: Optional[str] = None, **fields: Any
    ) -> Deferred[TransportUserMessage]:
        """
        Let a person's message come.

        :param fields: see :meth:`.MessageHelper.make_inbound`.
        :return: see :meth:`.WorkerHelper.dispatch_inbound`.
        """
        message = self.msg_helper.make_inbound(content, **fields)
        return self.worker_helper.dispatch_inbound(message, connector_name)

    def make_dispatch_outbound(
        self, content: Optional[str], connector_name: Optional[str] = None, **fields: Any
    ) -> Deferred[TransportUserMessage]:
        """Let a message to a person come to a transport."""
        message = self.msg_helper.make_outbound(content, **fields)
        return self.worker_helper.dispatch_outbound(message, connector_name)

    def make_dispatch_ack(
        self, msg: Optional[TransportUserMessage] = None, connector_name: Optional[str] = None, **fields: Any
    ) -> Deferred[TransportEvent]:
        """Let an ack come."""
        return self.worker_helper.dispatch_event(self.msg_helper.make_ack(msg, **fields), connector_name)

    def make_dispatch_nack(
        self, msg: Optional[TransportUserMessage] = None, connector_name: Optional[str] = None, **fields: Any
    ) -> Deferred[TransportEvent]:
        """Let a nack come."""
        return self.worker_helper.dispatch_event(self.msg_helper.make_nack(msg, **fields), connector_name)

    def make_dispatch_delivery_report(
        self, msg: Optional[TransportUserMessage] = None, connector_name: Optional[str] = None, **fields: Any
    ) -> Deferred[TransportEvent]:
        """Let a delivery report come."""
        return self.worker_helper.dispatch_event(self.msg_helper.make_delivery_report(msg, **fields), connector_name)

    def make_dispatch_reply(
        self, msg: TransportUserMessage, content: Optional[str], connector_name: Optional[str] = None, **fields: Any
    ) -> Deferred[TransportUserMessage]:
        """Let the answer to a message come to a transport."""
        return self.worker_helper.dispatch_outbound(self.msg_helper.make_reply(msg, content, **fields), connector_name)
