"""
One channel of Turn's: its parts, and its three flows.

A person's message goes to Turn (:meth:`Channel.deliver_message`), what became
of our messages goes to Turn as statuses (:meth:`Channel.deliver_status`), and
what Turn POSTs goes to the connector (:meth:`Channel.build_outbound`,
:meth:`Channel.publish_outbound`).
"""

from __future__ import annotations

import random
from datetime import datetime, timezone
from typing import Any, Mapping, Optional
from uuid import uuid4

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..broker.interface import Broker, BrokerError, Delivery, Outcome
from ..caches import MessageCache
from ..conversation.replies import NewMessages, outbound_message
from ..conversation.sessions import Sessions
from ..delivery import DeliveryScheduler, Result
from ..failures.dead_letter import PERMANENT, TEMPORARY, DeadLetter
from ..failures.headers import is_replay
from ..failures.queue import FAILURES, FailureQueue
from ..monitoring.metrics import NOTHING_TO_SEND
from ..monitoring.recorder import DeliveryRecorder
from ..outbound.publisher import OutboundPublisher
from ..timing.clock import wall_clock_of
from ..turn.payloads import OutboundRequest, message_payload
from ..turn.verdicts import MESSAGE, STATUS, Verdict
from ..turn.webhook import Webhook
from ..vumi.connectors import ReceiveInboundConnector
from ..vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage, generate_id
from ..vumi.messages.base import DEFAULT_ENDPOINT_NAME
from .config import TurnChannelsApiConfig
from .deliveries import (
    MessageDelivery,
    QueuedRequest,
    StatusDelivery,
    TurnApi,
    UndeliverableRequest,
    delivery_of,
)
from .window import ConnectorWindow

log = Logger()

#: How a delivery ends for the broker. A lost one cannot be settled any more:
#: the broker delivers it again whatever we say.
OUTCOME_OF_RESULT = {
    Result.DELIVERED: Outcome.ACK,
    Result.PARKED: Outcome.ACK,
    Result.REQUEUE: Outcome.REQUEUE,
    Result.LOST: Outcome.REQUEUE,
}


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
    ) -> None:
        self._config = config
        self._connector = connector
        self._turn = turn
        self._cache = cache
        self._recorder = recorder
        metrics = self._metrics = recorder.metrics
        self._clock = clock
        self._wall = wall_clock_of(clock)
        self._sessions = Sessions(cache, metrics.status_without_recipient)
        self._new_messages = NewMessages(
            config.default_from_addr,
            config.connector_name,
            config.transport_type,
            _fields_of(config.send_to),
        )
        self._failures = FailureQueue(broker.publisher(f"{config.connector_name}.{FAILURES}"), clock)
        self.scheduler = DeliveryScheduler(
            clock,
            rng,
            max_retries=config.max_retries,
            retry_delay_base=config.retry_delay_base,
            retry_delay_exponent=config.retry_delay_exponent,
            prefetch=config.amqp_prefetch_count,
            max_deliveries=config.max_deliveries,
            observer=recorder,
            window=ConnectorWindow(connector),
        )
        self.publisher = OutboundPublisher(
            clock,
            flow=self,
            retryable=(BrokerError,),
            store=cache.request_store(clock, config.repeat_window),
            new_id=generate_id,
            request_timeout=config.request_timeout,
            publish_timeout=config.publish_timeout,
        )
        self.webhook = Webhook(
            secret=config.turn_hmac_secret,
            handler=self.publisher,
            clock=clock,
            api_path=config.vumi_api_path,
            max_request_size=config.max_request_size,
            observe=metrics.outbound,
        )

    async def stop(self, timeout: float) -> None:
        """
        Take no new POSTs, give back what only waits, and let what is under way
        end.

        :param timeout: seconds for what is under way.
        """
        self.publisher.stop()
        finishing = [self.scheduler.stop(timeout), self.publisher.drain(timeout)]
        await gatherResults([ensureDeferred(part) for part in finishing], consumeErrors=True)

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
        recorded = self._cache.add_inbound(message, first=not (delivery.redelivered or is_replay(delivery)))
        self._recorder.message_consumed(message.message_id, message.from_addr, delivery.redelivered)
        request = MessageDelivery(message, payload, recorded, self._turn, self._failures, self._expiry_of(message))
        try:
            return await self._deliver(request)
        finally:
            request.close()

    async def end_session(self, message: TransportUserMessage) -> Outcome:
        """
        The network, or the person, has ended a session: Turn hears of it only
        if something was said.

        :param message: its ``session_event`` is ``close``.
        :return: what becomes of its delivery.
        """
        if message.content:
            return await self.deliver_message(message)
        delivery = delivery_of(message)
        await self._cache.add_inbound(message, first=not (delivery.redelivered or is_replay(delivery)))
        self._metrics.consumed(MESSAGE)
        self._metrics.settled(MESSAGE, NOTHING_TO_SEND)
        return Outcome.ACK

    # -- from the network to Turn: what became of our messages ---------------

    async def deliver_status(self, event: TransportEvent) -> Outcome:
        """
        Tell Turn what the network says of one of our messages.

        :param event: from the connector's ``event`` queue.
        :return: what becomes of its delivery.
        """
        self._recorder.event_consumed(event.user_message_id, STATUS, event.delivery_status or event.event_type)
        return await self._deliver(StatusDelivery(event, self._recipient_of, self._turn, self._failures))

    async def _recipient_of(self, message_id: str) -> Optional[str]:
        """Whom a message of ours went to, once Turn has been told its id."""
        await self.publisher.written(message_id)
        return await self._sessions.recipient_of(message_id)

    # -- from Turn to a person ----------------------------------------------

    async def build_outbound(self, request: OutboundRequest, message_id: str) -> TransportUserMessage:
        """
        The message that Turn asks for: a reply where there is something to
        reply to, because a USSD session lives from that, else a new message.

        :param request: what Turn POSTed.
        :param message_id: the id that Turn will be told.
        :raises MessageNotFound: ``reply_to`` is unknown or expired.
        :raises ApiUsageError: ``reply_to`` is another person's message.
        :raises CacheUnavailableError: what would know it cannot be asked now.
        """
        now = datetime.fromtimestamp(self._wall(), timezone.utc)
        original = await self._sessions.original_of(request)
        self._recorder.outbound_accepted(message_id, request.to)
        return outbound_message(request, original, self._new_messages, message_id=message_id, timestamp=now)

    async def publish_outbound(self, message: TransportUserMessage) -> None:
        """
        Publish a message to the connector; returns once the broker has it.

        The cache knows it before the network does, because the network's ack
        may overtake the broker's confirmation.

        :raises BrokerError: the broker has not taken it.
        """
        await self._cache.add_outbound(message)
        started = self._clock.seconds()
        await self._connector.publish_outbound(message)
        self._recorder.outbound_published(message.message_id, self._clock.seconds() - started)
        await self._sessions.end(message)

    # -- what cannot be delivered ---------------------------------------------

    async def park_malformed(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        """Park what is not a vumi message."""
        return await self._park(delivery, Verdict.MALFORMED, PERMANENT, f"Not a vumi message: {error}")

    async def park_failed(self, delivery: Delivery, failure: Failure) -> Outcome:
        """Park a message on which our own code, or a middleware's, has failed."""
        error_id = uuid4().hex
        log.failure(
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


def _fields_of(send_to: Mapping[str, Any]) -> Mapping[str, Any]:
    """What ``send_to`` says of messages that answer none; what is no mapping is refused by the worker."""
    fields = send_to.get(DEFAULT_ENDPOINT_NAME)
    return fields if isinstance(fields, Mapping) else {}
