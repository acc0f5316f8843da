"""
Applications: what a vumi developer derives from.

The names are legacy vumi's (vumi/application/base.py). Methods may be
``async def``; those that handle a message may say what becomes of its
delivery, and acknowledge it by returning nothing.
"""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from typing import Any, Collection, Optional

from twisted.internet.defer import Deferred

from ..configuration.fields import ConfigErrors
from ..timing.clock import wall_clock_of
from ..timing.timeouts import deferred_of
from .config import ApplicationConfig
from .connectors import ReceiveInboundConnector
from .messages import TransportEvent, TransportUserMessage
from .messages.base import DEFAULT_ENDPOINT_NAME
from .worker import BaseWorker, ConfigT, DuplicateConnectorError, log

__all__ = [
    "ApplicationConfig",
    "ApplicationWorker",
    "BaseWorker",
    "DuplicateConnectorError",
    "InvalidEndpoint",
]

#: A key of ``send_to`` that is no field of the message: which connector it goes by.
CONNECTOR = "connector"


#: What a reply takes from the message that it answers, and nobody may change.
OF_THE_ORIGINAL = (
    "to_addr",
    "from_addr",
    "group",
    "in_reply_to",
    "provider",
    "transport_name",
    "transport_type",
    "transport_metadata",
)


class InvalidEndpoint(Exception):
    """An application wanted to send by an endpoint that it may not use."""


class ApplicationWorker(BaseWorker[ConfigT]):
    """
    An application: takes people's messages and events from one connector, and
    sends messages by it.

    Most applications override :meth:`consume_user_message` and call
    :meth:`reply_to` there. A message on which a handler raises is tried again
    with backoff, and parked after ``max_failures`` times; see :meth:`~BaseWorker.failed`.

    :cvar ALLOWED_ENDPOINTS: the endpoints for :meth:`send_to`; None allows all.
    :cvar UNPAUSE_CONNECTORS: whether messages are taken as soon as the set-up
        is done; else the application calls ``unpause_connectors``.
    """

    ALLOWED_ENDPOINTS: Optional[Collection[str]] = frozenset([DEFAULT_ENDPOINT_NAME])
    UNPAUSE_CONNECTORS = True

    @property
    def transport_name(self) -> str:
        """The connector's name, as legacy vumi calls it."""
        return self.config.connector_name

    # -- what an application overrides ------------------------------------------

    def setup_application(self) -> Any:
        """Get ready; messages come after this."""

    def teardown_application(self) -> Any:
        """Undo what :meth:`setup_application` did; no new messages come any more."""

    def consume_user_message(self, message: TransportUserMessage) -> Any:
        """Take a person's message."""

    def new_session(self, message: TransportUserMessage) -> Any:
        """Take the first message of a session; as it is, like any other."""
        return self.consume_user_message(message)

    def close_session(self, message: TransportUserMessage) -> Any:
        """Take notice that a session has ended. It cannot be replied to."""

    def consume_ack(self, event: TransportEvent) -> Any:
        """Take notice that the network has taken a message of ours."""

    def consume_nack(self, event: TransportEvent) -> Any:
        """Take notice that the network has refused a message of ours."""

    def consume_delivery_report(self, event: TransportEvent) -> Any:
        """Take what the network says about a message of ours."""

    def consume_unknown_event(self, event: TransportEvent) -> Any:
        """Take an event of a type that has no method of its own."""
        log.warn("Event {event_id} has an unknown type", event_id=event.event_id)

    # -- what an application calls -------------------------------------------------

    def reply_to(
        self,
        original: TransportUserMessage,
        content: Optional[str],
        continue_session: bool = True,
        **fields: Any,
    ) -> Deferred[TransportUserMessage]:
        """
        Answer a person's message.

        :param original: what is answered.
        :param content: the answer.
        :param continue_session: False ends the session.
        :param fields: ``session_event``, ``message_id``, ``helper_metadata``
            and the like; keys that messages don't have are sent too.
        :return: fires with the answer when the broker has it.
        :raises TypeError: one of ``fields`` is the original's to say (:data:`OF_THE_ORIGINAL`).
        :raises BrokerError: (through the Deferred) the broker has not taken it.
        """
        reply = self._reply(original, content, continue_session, fields)
        return self._publish_message(reply, endpoint_name=original.endpoint_name)

    def reply_to_group(
        self,
        original: TransportUserMessage,
        content: Optional[str],
        continue_session: bool = True,
        **fields: Any,
    ) -> Deferred[TransportUserMessage]:
        """As :meth:`reply_to`, to everybody in the message's group, if it has one."""
        reply = self._reply(original, content, continue_session, fields)
        if original.group is not None:
            reply = reply.replace(to_addr=None)
        return self._publish_message(reply, endpoint_name=original.endpoint_name)

    def send_to(
        self, to_addr: str, content: Optional[str], endpoint: Optional[str] = None, **fields: Any
    ) -> Deferred[TransportUserMessage]:
        """
        Send a message that answers none.

        :param to_addr: whom to.
        :param content: what.
        :param endpoint: by which endpoint; None is ``default``. What
            ``send_to`` of the configuration has under its name is put into
            the message.
        :param fields: other fields, over the configured ones.
        :return: fires with the message when the broker has it.
        :raises InvalidEndpoint: the endpoint is not in :attr:`ALLOWED_ENDPOINTS`.
        :raises BrokerError: (through the Deferred) the broker has not taken it.
        """
        endpoint = endpoint or DEFAULT_ENDPOINT_NAME
        self.check_endpoint(self.ALLOWED_ENDPOINTS, endpoint)
        values = {
            "transport_name": self.transport_name,
            "timestamp": self._now(),
            **copy.deepcopy(self._send_to.get(endpoint) or {}),
            **fields,
        }
        connector_name = values.pop(CONNECTOR, None)
        message = TransportUserMessage.send(to_addr, content, **_with_extra(values))
        return self._publish_message(message, endpoint, connector_name)

    @staticmethod
    def check_endpoint(allowed_endpoints: Optional[Collection[str]], endpoint: Optional[str]) -> None:
        """
        :param allowed_endpoints: None allows all.
        :param endpoint: None is ``default``.
        :raises InvalidEndpoint: ``endpoint`` is not allowed.
        """
        name = endpoint or DEFAULT_ENDPOINT_NAME
        if allowed_endpoints is not None and name not in allowed_endpoints:
            raise InvalidEndpoint(f"endpoint {name!r} is not one of {', '.join(sorted(allowed_endpoints))}")

    def _reply(
        self,
        original: TransportUserMessage,
        content: Optional[str],
        continue_session: bool,
        fields: dict[str, Any],
    ) -> TransportUserMessage:
        for name in OF_THE_ORIGINAL:
            if name in fields:
                raise TypeError(f"{name!r} may not be overridden: a reply has it from the message that it answers")
        session_event = None if continue_session else TransportUserMessage.SESSION_CLOSE
        reply = original.reply(content, session_event, timestamp=self._now())
        return reply.replace(**_with_extra(fields)) if fields else reply

    def _publish_message(
        self,
        message: TransportUserMessage,
        endpoint_name: Optional[str] = None,
        connector_name: Optional[str] = None,
    ) -> Deferred[TransportUserMessage]:
        connector: ReceiveInboundConnector = self.connectors[connector_name or self.transport_name]
        return connector.publish_outbound(message, endpoint_name=endpoint_name)

    @property
    def _send_to(self) -> dict[str, Any]:
        return self.config.send_to or {}

    def _now(self) -> datetime:
        return datetime.fromtimestamp(wall_clock_of(self.reactor)(), timezone.utc)

    # -- how messages come to it ---------------------------------------------------

    async def setup_connectors(self) -> None:
        """
        Set up the connector, with this application as what takes the
        messages of every endpoint that is given no handler of its own.
        """
        connector = await self.setup_ri_connector(self.transport_name)
        connector.set_default_inbound_handler(self.dispatch_user_message)
        connector.set_default_event_handler(self.dispatch_event)

    async def setup_worker(self) -> None:
        """Set up the application, and take messages."""
        pending = deferred_of(self.setup_application())
        if pending is not None:
            await pending
        self._check_send_to()
        if self.UNPAUSE_CONNECTORS:
            await self.unpause_connectors()

    async def teardown_worker(self) -> None:
        """Take no more messages, and take the application down."""
        await self.pause_connectors()
        pending = deferred_of(self.teardown_application())
        if pending is not None:
            await pending

    def dispatch_user_message(self, message: TransportUserMessage) -> Any:
        """Give a person's message to the method for it."""
        if message.session_event == TransportUserMessage.SESSION_NEW:
            return self.new_session(message)
        if message.session_event == TransportUserMessage.SESSION_CLOSE:
            return self.close_session(message)
        return self.consume_user_message(message)

    def dispatch_event(self, event: TransportEvent) -> Any:
        """Give an event to the method for it."""
        handlers = {
            "ack": self.consume_ack,
            "nack": self.consume_nack,
            "delivery_report": self.consume_delivery_report,
        }
        return handlers.get(event.event_type, self.consume_unknown_event)(event)

    def _check_send_to(self) -> None:
        """Find what would fail only at the first message: all of it at once."""
        errors: list[str] = []
        for endpoint, values in self._send_to.items():
            if values is not None and not isinstance(values, dict):
                errors.append(f"send_to {endpoint} must be a mapping of fields, not {type(values).__name__}")
                continue
            connector = (values or {}).get(CONNECTOR)
            if connector is not None and connector not in self.connectors:
                known = ", ".join(sorted(self.connectors))
                errors.append(f"send_to {endpoint}: connector must be one of {known}, not {connector!r}")
        if errors:
            raise ConfigErrors(errors)


def _with_extra(values: dict[str, Any]) -> dict[str, Any]:
    """What the message has no field for goes beside its fields, as in legacy vumi."""
    extra = {key: value for key, value in values.items() if key not in TransportUserMessage.KEYS}
    if not extra:
        return values
    return {**{key: value for key, value in values.items() if key not in extra}, "extra": extra}
