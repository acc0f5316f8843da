"""
Connectors: the queues that belong to one name, with messages instead of bytes.

The names and the endpoints are legacy vumi's (vumi/connectors.py).
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence

from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ..broker.interface import Broker, BrokerUnavailable, Consumer, Delivery, Publisher
from ..timing.timeouts import Timeouts
from .intake import IgnoreMessage, Intake, MessageHandler, NoHandler, OnError, OnMalformed
from .messages import TransportEvent, TransportUserMessage
from .messages.base import DEFAULT_ENDPOINT_NAME
from .middleware import BaseMiddleware, MiddlewareStack, Step, apply

__all__ = [
    "BaseConnector",
    "IgnoreMessage",
    "NoHandler",
    "ReceiveInboundConnector",
    "ReceiveOutboundConnector",
]


def _person(message: TransportUserMessage) -> Any:
    return message.from_addr


def _recipient(message: TransportUserMessage) -> Any:
    return message.to_addr


def _sent_message(event: TransportEvent) -> Any:
    return event.user_message_id


class BaseConnector:
    """
    What the connectors have in common. They are made paused.

    :param name: the connector's name, in lower case.
    :param broker: where its queues are.
    :param prefetch: how many messages of each queue may be in hand at a time.
    :param middlewares: see each message; they are set up already.
    :param clock: bounds the wait for middlewares.
    :param on_malformed: says what becomes of what is no message.
    :param on_error: says what becomes of a message on which a middleware or
        a handler has failed.
    """

    def __init__(
        self,
        name: str,
        broker: Broker,
        *,
        prefetch: int,
        middlewares: Sequence[BaseMiddleware],
        clock: IReactorTime,
        on_malformed: OnMalformed,
        on_error: OnError,
    ) -> None:
        if name != name.lower():
            raise ValueError(f"a connector's name must be in lower case, {name!r} is not")
        self.name = name
        self.clock = clock
        self._on_malformed = on_malformed
        self._on_error = on_error
        self.stack = MiddlewareStack(middlewares)
        self._broker = broker
        self._prefetch = prefetch
        self._intakes: dict[str, Intake] = {}
        self._consumers: dict[str, Consumer] = {}
        self._publishers: dict[str, Publisher] = {}
        self._publishing = Timeouts(clock)
        self._stopped = False
        self._set_up()

    def _set_up(self) -> None:
        raise NotImplementedError("a connector says which of its queues it consumes")

    def pause(self) -> None:
        """Take no new messages; those in hand are finished."""
        for consumer in self._consumers.values():
            consumer.pause()

    def unpause(self) -> None:
        """Take messages, unless :meth:`stop_consuming` was called."""
        if not self._stopped:
            for consumer in self._consumers.values():
                consumer.unpause()

    @property
    def paused(self) -> bool:
        """True while no new messages are taken."""
        return all(consumer.paused for consumer in self._consumers.values())

    def allow_more(self, kind: str, count: int) -> None:
        """
        Let the queue of ``kind`` deliver more than the prefetch, because that many of its messages in
        hand cannot move; see :meth:`vumi_turn.broker.interface.Consumer.allow_more`.

        :param kind: ``inbound``, ``event`` or ``outbound``.
        :param count: how many messages cannot move now.
        :raises KeyError: this connector does not consume that queue.
        """
        self._consumers[kind].allow_more(count)

    def stop_consuming(self) -> None:
        """
        Take no new messages any more, and put those back whose handler was
        not called yet. Publishing goes on.
        """
        self._stopped = True
        self.pause()
        for intake in self._intakes.values():
            intake.stop()

    def teardown(self) -> None:
        """Stop consuming, and fail what waits for a middleware to be published."""
        self.stop_consuming()
        self._publishing.end(lambda: BrokerUnavailable("the worker is stopping"))

    def _consume(self, kind: str, read: Callable[[bytes, Delivery], Any], key_of: Callable[[Any], Any]) -> None:
        intake = Intake(
            self.name,
            kind,
            read,
            key_of,
            steps=self.stack.steps("consume", kind),
            clock=self.clock,
            on_malformed=self._on_malformed,
            on_error=self._on_error,
        )
        self._intakes[kind] = intake
        self._consumers[kind] = self._broker.consume(f"{self.name}.{kind}", intake.take, self._prefetch)

    def _publish_to(self, kind: str) -> None:
        self._publishers[kind] = self._broker.publisher(f"{self.name}.{kind}")

    def _publish(self, kind: str, message: Any, endpoint_name: Optional[str]) -> Deferred[Any]:
        steps = self.stack.steps("publish", kind)
        try:
            if endpoint_name is not None:
                message = message.with_endpoint(endpoint_name)
            if not steps:
                return self._publishers[kind].publish(message.to_json()).addCallback(lambda _: message)
        except Exception:  # the caller gets it in one way only: by the Deferred
            return fail(Failure())
        return ensureDeferred(self._publish_through(steps, kind, message))

    async def _publish_through(self, steps: Sequence[Step], kind: str, message: Any) -> Any:
        message = await apply(steps, message, self.name, self._publishing, self.clock)
        await self._publishers[kind].publish(message.to_json())
        return message

    def _set_handler(self, kind: str, handler: MessageHandler, endpoint_name: Optional[str]) -> None:
        self._intakes[kind].handlers[endpoint_name or DEFAULT_ENDPOINT_NAME] = handler


class ReceiveInboundConnector(BaseConnector):
    """An application's side: people's messages and events come in, messages go out."""

    def _set_up(self) -> None:
        self._publish_to("outbound")
        self._consume("inbound", TransportUserMessage.from_json, _person)
        self._consume("event", TransportEvent.from_json, _sent_message)

    def set_inbound_handler(self, handler: MessageHandler, endpoint_name: Optional[str] = None) -> None:
        """
        Say who takes people's messages.

        :param handler: called with each message, which knows its ``delivery``.
        :param endpoint_name: those of this endpoint only; None is ``default``.
        """
        self._set_handler("inbound", handler, endpoint_name)

    def set_default_inbound_handler(self, handler: MessageHandler) -> None:
        """Say who takes people's messages of the endpoints without a handler of their own."""
        self._intakes["inbound"].default_handler = handler

    def set_event_handler(self, handler: MessageHandler, endpoint_name: Optional[str] = None) -> None:
        """Say who takes events; parameters as for :meth:`set_inbound_handler`."""
        self._set_handler("event", handler, endpoint_name)

    def set_default_event_handler(self, handler: MessageHandler) -> None:
        """Say who takes events of the endpoints without a handler of their own."""
        self._intakes["event"].default_handler = handler

    def publish_outbound(
        self, message: TransportUserMessage, endpoint_name: Optional[str] = None
    ) -> Deferred[TransportUserMessage]:
        """
        Publish a message to a person.

        :param message: it passes the middlewares first.
        :param endpoint_name: sent by this endpoint; None leaves the message's.
        :return: fires with the message as it was published, when the broker
            has confirmed it. It may not be cancelled: a caller that stops
            waiting leaves it alone.
        :raises BrokerError: (through the Deferred) the broker has not taken
            it; a middleware's exception comes through too.
        """
        return self._publish("outbound", message, endpoint_name)


class ReceiveOutboundConnector(BaseConnector):
    """A transport's side: messages to people come in, their messages and events go out."""

    def _set_up(self) -> None:
        self._publish_to("inbound")
        self._publish_to("event")
        self._consume("outbound", TransportUserMessage.from_json, _recipient)
        self._intakes["outbound"].on_ignored = self._refuse

    async def _refuse(self, message: TransportUserMessage, reason: str) -> None:
        """Tell the sender of a message that was ignored; as legacy vumi does."""
        about = message.message_id
        await self.publish_event(TransportEvent(user_message_id=about, event_type="nack", nack_reason=reason))

    def set_outbound_handler(self, handler: MessageHandler, endpoint_name: Optional[str] = None) -> None:
        """Say who takes messages to people, as :meth:`ReceiveInboundConnector.set_inbound_handler`."""
        self._set_handler("outbound", handler, endpoint_name)

    def set_default_outbound_handler(self, handler: MessageHandler) -> None:
        """Say who takes messages of the endpoints without a handler of their own."""
        self._intakes["outbound"].default_handler = handler

    def publish_inbound(
        self, message: TransportUserMessage, endpoint_name: Optional[str] = None
    ) -> Deferred[TransportUserMessage]:
        """Publish a person's message, as :meth:`ReceiveInboundConnector.publish_outbound`."""
        return self._publish("inbound", message, endpoint_name)

    def publish_event(self, event: TransportEvent, endpoint_name: Optional[str] = None) -> Deferred[TransportEvent]:
        """Publish an event, as :meth:`ReceiveInboundConnector.publish_outbound`."""
        return self._publish("event", event, endpoint_name)
