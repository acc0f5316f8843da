"""
One channel of Turn's: its parts, and its three flows.

A person's message goes to Turn (:meth:`Channel.deliver_message`), what became
of our messages goes to Turn as statuses (:meth:`Channel.deliver_status`), and
what Turn POSTs goes to the connector (:meth:`Channel.build_outbound`,
:meth:`Channel.publish_outbound`).
"""

from __future__ import annotations

import random
from typing import Any, Mapping, Optional, Union
from uuid import uuid4

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..broker.interface import Broker, BrokerError, Delivery, Outcome
from ..caches import MessageCache
from ..conversation.answers import InputAnswers
from ..conversation.conversations import Conversations, PageTurned
from ..conversation.joining import Part
from ..conversation.menus import ANSWERS, Choice
from ..conversation.replies import NewMessages
from ..conversation.screen_options import ScreenOptions
from ..conversation.sessions import Sessions
from ..delivery import AcceptedIdentities, DeliveryScheduler, Result
from ..failures.dead_letter import PERMANENT, TEMPORARY, DeadLetter
from ..failures.queue import FAILURES, FailureQueue
from ..monitoring.recorder import DeliveryRecorder
from ..outbound.publisher import OutboundPublisher
from ..timing.clock import wall_clock_of
from ..timing.named_log import named
from ..turn import client as turn_client
from ..turn.payloads import OutboundRequest, message_payload, words_of
from ..turn.verdicts import STATUS, TurnResponse, Verdict
from ..turn.webhook import Webhook
from ..vumi.connectors import ReceiveInboundConnector
from ..vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage, generate_id
from ..vumi.messages.base import DEFAULT_ENDPOINT_NAME
from .answering import Answering
from .config import TurnChannelsApiConfig, screen_of
from .deliveries import (
    MessageDelivery,
    QueuedRequest,
    StatusDelivery,
    TurnApi,
    UndeliverableRequest,
    delivery_of,
)
from .held_parts import HeldParts
from .inputs import Inputs
from .outgoing import Outgoing, OutgoingMessages
from .process_bounds import ProcessBounds
from .standby import Standby
from .statuses import Statuses
from .window import ConnectorWindow

log = Logger()

#: How a delivery ends for the broker. A lost one cannot be settled any more:
#: the broker delivers it again whatever we say.
OUTCOME_OF_RESULT = {
    Result.DELIVERED: Outcome.ACK,
    Result.PARKED: Outcome.ACK,
    Result.PAGE: Outcome.ACK,
    Result.NOTHING: Outcome.ACK,
    Result.REQUEUE: Outcome.REQUEUE,
    Result.LOST: Outcome.REQUEUE,
}


#: In place of an answer, where another worker consumes the connector now: the
#: message's delivery is lost, and that worker sends it.
TAKEN_OVER: TurnResponse = turn_client.TurnResponse(None, "lost", detail="another worker has taken over")


class Channel:
    """
    Connects one vumi connector to one channel of Turn's.

    :param config: the channel's options.
    :param broker: what the failures queue is on.
    :param connector: where messages come from and go to.
    :param turn: posts to Turn.
    :param cache: knows people's last messages, and whom ours went to.
    :param recorder: keeps what happens.
    :param clock: the reactor, or a clock.
    :param rng: draws the waits between tries.
    :param bounds: those of the process.
    """

    def __init__(
        self,
        config: TurnChannelsApiConfig,
        *,
        broker: Broker,
        connector: ReceiveInboundConnector,
        turn: TurnApi,
        cache: MessageCache,
        recorder: DeliveryRecorder,
        clock: Any,
        rng: random.Random,
        bounds: ProcessBounds,
    ) -> None:
        self._config = config
        self._log = named(log, config.connector_name)
        self._connector = connector
        self._turn = turn
        self._cache = cache
        self._recorder = recorder
        metrics = self._metrics = recorder.metrics
        self._clock = clock
        self._wall = wall_clock_of(clock)
        self._sessions = Sessions(cache, metrics.status_without_recipient, config.connector_name)
        self._answers = InputAnswers(cache.documents)
        self._conversations = Conversations(cache.documents, clock, _screen_of(config), generate_id, metrics)
        self._inputs = Inputs(cache, self._conversations)
        self._outgoing = OutgoingMessages(
            connector,
            cache,
            self._conversations,
            self._answers,
            self._sessions,
            recorder,
            clock,
            self._wall,
        )
        new_messages = NewMessages(
            config.default_from_addr,
            config.connector_name,
            config.transport_type,
            _fields_of(config.send_to),
        )
        #: Decides whether this worker consumes; None where it always does.
        self.standby: Optional[Standby] = None
        if config.standby:
            self.standby = Standby(broker, config.connector_name, clock, connector.unpause, connector.pause)
        self._answering = Answering(
            cache,
            self._sessions,
            self._answers,
            self._conversations,
            self._outgoing,
            new_messages,
            config.join_window > 0,
            metrics,
        )
        self._parts = HeldParts(
            broker,
            config.connector_name,
            config.join_window,
            cache,
            self._answers,
            self._outgoing,
            recorder,
            clock,
            self._park_part,
            self.deliver_status,
        )
        self._failures = FailureQueue(broker.publisher(f"{config.connector_name}.{FAILURES}"), clock)
        self._window = ConnectorWindow(connector, bounds.windows)
        self.scheduler = DeliveryScheduler(
            clock,
            rng,
            max_retries=config.max_retries,
            retry_delay_base=config.retry_delay_base,
            retry_delay_exponent=config.retry_delay_exponent,
            prefetch=config.amqp_prefetch_count,
            max_deliveries=config.max_deliveries,
            observer=recorder,
            window=self._window,
            connector=config.connector_name,
            identities=bounds.identities,
        )
        self.publisher = OutboundPublisher(
            clock,
            flow=self,
            retryable=(BrokerError,),
            store=cache.request_store(clock, config.repeat_window),
            new_id=generate_id,
            request_timeout=config.request_timeout,
            publish_timeout=config.publish_timeout,
            connector=config.connector_name,
            unanswered=bounds.unanswered,
        )
        self._accepted_statuses = AcceptedIdentities(bound=bounds.identities)
        self._statuses = Statuses(self._sessions, cache.documents, self.publisher.written, metrics)
        self.webhook = Webhook(
            secret=config.turn_hmac_secret,
            handler=self.publisher,
            clock=clock,
            api_path=config.vumi_api_path,
            max_request_size=config.max_request_size,
            observe=metrics.outbound,
            connector=config.connector_name,
        )

    def start(self) -> None:
        """Take parts of messages from their queue, and wait for the lock where there is one."""
        self._parts.start()
        if self.standby is not None:
            self.standby.start()

    async def stop(self, timeout: float) -> None:
        """
        Take no new POSTs, give back what only waits, and let what is under way
        end; parts that are held are published when their window ends.

        :param timeout: seconds for what is under way.
        """
        self.publisher.stop()
        ends_at = self._clock.seconds() + timeout
        finishing = [self.scheduler.stop(timeout), self._parts.drain(timeout)]
        await gatherResults([ensureDeferred(part) for part in finishing], consumeErrors=True)
        await self.publisher.drain(max(ends_at - self._clock.seconds(), 0.0))
        self._parts.stop()
        if self.standby is not None:
            await self.standby.stop()
        self.forget()

    def forget(self) -> None:
        """Take nothing of the process's bounds any more: the channel has stopped, or never started."""
        self._window.leave()
        self.scheduler.forget()
        self._accepted_statuses.clear()
        self.publisher.forget()

    # -- from a person to Turn ----------------------------------------------

    async def deliver_message(self, message: TransportUserMessage) -> Outcome:
        """
        Hand a person's message to Turn.

        The cache knows the message before Turn does, because Turn may answer
        before it has answered us.

        :param message: from the connector's ``inbound`` queue.
        :return: what becomes of its delivery.
        """
        delivery = delivery_of(message)
        try:
            payload = message_payload(message, self._config.empty_message_body)
        except MalformedMessage as error:
            return await self.park_malformed(delivery, error)
        self._recorder.message_consumed(message.message_id, message.from_addr, delivery.redelivered)
        request = MessageDelivery(
            message, payload, self._inputs.record(message), self, self._failures, self._expiry_of(message)
        )
        try:
            return await self._deliver(request)
        finally:
            request.close()

    async def post_message(self, payload: dict[str, Any]) -> TurnResponse:
        """See :class:`~.deliveries.MessageFlow`."""
        if self.standby is not None and not await self.standby.may_post():
            return TAKEN_OVER
        return await self._turn.post_message(payload)

    def with_choice(self, payload: dict[str, Any], choice: Choice) -> dict[str, Any]:
        """See :class:`~.deliveries.MessageFlow`."""
        message = dict(payload["message"])
        del message["text"]
        message.update(ANSWERS[self._config.answer_as](choice))
        return {**payload, "message": message}

    async def show_page(self, message: TransportUserMessage, page: PageTurned) -> None:
        """See :class:`~.deliveries.MessageFlow`."""
        await self._outgoing.publish_page(message, page)

    async def end_session(self, message: TransportUserMessage) -> Outcome:
        """
        The network, or the person, has ended a session: Turn hears of it only
        if something was said.

        :param message: its ``session_event`` is ``close``.
        :return: what becomes of its delivery.
        """
        if words_of(message):
            return await self.deliver_message(message)
        await self._inputs.record(message)
        delivery = delivery_of(message)
        self._recorder.message_consumed(message.message_id, message.from_addr, delivery.redelivered)
        self._recorder.nothing_to_send(message.message_id, delivery.received)
        return Outcome.ACK

    # -- from the network to Turn: what became of our messages ---------------

    async def deliver_status(self, event: TransportEvent) -> Outcome:
        """
        Tell Turn what the network says of one of our messages.

        :param event: from the connector's ``event`` queue.
        :return: what becomes of its delivery.
        """
        self._recorder.event_consumed(event.user_message_id, STATUS, event.delivery_status or event.event_type)
        return await self._deliver(StatusDelivery(event, self, self._failures, self._accepted_statuses))

    async def post_status(self, payload: dict[str, Any]) -> TurnResponse:
        """See :class:`~.deliveries.StatusFlow`."""
        if self.standby is not None and not await self.standby.may_post():
            return TAKEN_OVER
        return await self._turn.post_status(payload)

    async def statuses_of(self, event: TransportEvent) -> list[dict[str, Any]]:
        """See :class:`~.deliveries.StatusFlow`."""
        return await self._statuses.of(event)

    # -- from Turn to a person ----------------------------------------------

    async def build_outbound(self, request: OutboundRequest, message_id: str) -> Union[Outgoing, Part]:
        """See :class:`~vumi_turn.outbound.publisher.OutboundFlow` and :meth:`.answering.Answering.build`."""
        outgoing = await self._answering.build(request, message_id)
        self._recorder.outbound_accepted(message_id, request.to)
        return outgoing

    async def is_published(self, message_id: str) -> bool:
        """See :class:`~vumi_turn.outbound.publisher.OutboundFlow`."""
        return await self._parts.is_published(message_id)

    async def joins(self, request: OutboundRequest) -> bool:
        """See :class:`~vumi_turn.outbound.publisher.OutboundFlow`."""
        return await self._answering.joins_held(request)

    async def publish_outbound(self, outgoing: Union[Outgoing, Part]) -> None:
        """
        Publish a message to the connector, or put a part into its queue;
        returns once the broker has it.

        :raises BrokerError: the broker has not taken it.
        """
        if isinstance(outgoing, Outgoing):
            await self._outgoing.publish(outgoing)
        else:
            await self._parts.put(outgoing)

    # -- what cannot be delivered ---------------------------------------------

    async def park_malformed(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        """Park what is not a vumi message."""
        return await self._park(delivery, Verdict.MALFORMED, PERMANENT, f"Not a vumi message: {error}")

    async def _park_part(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        """Park what is in the queue of parts and is none."""
        return await self._park(delivery, Verdict.MALFORMED, PERMANENT, f"Not a part of a message: {error}")

    async def park_failed(self, delivery: Delivery, failure: Failure) -> Outcome:
        """Park a message on which our own code, or a middleware's, has failed."""
        error_id = uuid4().hex
        self._log.failure(
            "Handling a message from {queue} failed (error {error_id})",
            failure,
            queue=delivery.queue,
            error_id=error_id,
        )
        reason = f"The worker failed on this message; its log has the error {error_id}."
        return await self._park(delivery, Verdict.ERROR, TEMPORARY, reason)

    async def _park(self, delivery: Delivery, verdict: Verdict, code: str, reason: str) -> Outcome:
        request = UndeliverableRequest(delivery, self._failures)
        self._metrics.consumed(request.kind)
        dead_letter = DeadLetter(verdict=verdict, code=code, reason=reason, attempts=0, last_status=None)
        return OUTCOME_OF_RESULT[await self.scheduler.park(request, dead_letter)]

    # -- what the flows share ---------------------------------------------------

    async def _deliver(self, request: QueuedRequest) -> Outcome:
        return OUTCOME_OF_RESULT[await self.scheduler.deliver(request)]

    def _expiry_of(self, message: TransportUserMessage) -> Optional[float]:
        """When a message is too old to be of use: only in a session, only where it is configured."""
        if self._config.max_message_age is None or message.session_event is None:
            return None
        age = self._wall() - message.timestamp.timestamp()
        return float(self._clock.seconds() + self._config.max_message_age - age)


def _screen_of(config: TurnChannelsApiConfig) -> Optional[ScreenOptions]:
    return screen_of(
        config.screen_size,
        config.page_next_key,
        config.page_next_label,
        config.page_back_key,
        config.page_back_label,
    )


def _fields_of(send_to: Mapping[str, Any]) -> Mapping[str, Any]:
    """What ``send_to`` says of messages that answer none; what is no mapping is refused by the worker."""
    fields = send_to.get(DEFAULT_ENDPOINT_NAME)
    return fields if isinstance(fields, Mapping) else {}
