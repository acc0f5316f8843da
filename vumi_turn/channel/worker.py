"""
The bridge between a vumi connector and Turn's Channels API.

Three flows, each a straight line: a person's message goes to Turn
(:meth:`TurnChannelsApi.consume_user_message`), what became of our messages
goes to Turn as statuses (:meth:`TurnChannelsApi.consume_event_of_ours`), and
Turn's POSTs become outbound messages (:meth:`TurnChannelsApi.build_outbound`,
:meth:`TurnChannelsApi.publish_outbound`).
"""

from __future__ import annotations

import random
from datetime import datetime, timezone
from typing import Any, Optional
from uuid import uuid4

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..broker.interface import BrokerError, Delivery, Outcome
from ..caches import MessageCache
from ..caches import normalise_address as person_of
from ..conversation.sessions import Sessions
from ..delivery import DeliveryScheduler, Result
from ..failures.dead_letter import PERMANENT, TEMPORARY, DeadLetter
from ..failures.queue import FAILURES, FailureQueue
from ..http.server import BoundedSite
from ..monitoring.health import Health, management_resource, watch_worker
from ..monitoring.metrics import NOTHING_TO_SEND, Metrics
from ..turn.client import TurnClient, TurnResponse
from ..turn.payloads import OutboundRequest, message_payload, status_payload
from ..turn.verdicts import MESSAGE, STATUS, Verdict
from ..turn.webhook import Webhook
from ..vumi.application import ApplicationWorker
from ..vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage, generate_id
from .config import TurnChannelsApiConfig
from .deliveries import QueueDelivery, digest_of

log = Logger()

#: How a delivery ends for the broker. A lost one cannot be settled any more:
#: the broker delivers it again whatever we say.
OUTCOME_OF_RESULT = {
    Result.DELIVERED: Outcome.ACK,
    Result.PARKED: Outcome.ACK,
    Result.REQUEUE: Outcome.REQUEUE,
    Result.LOST: Outcome.REQUEUE,
}


class TurnChannelsApi(ApplicationWorker):
    """
    Connects a vumi connector to Turn's Channels API.

    People's messages and the events of our own messages are taken from the
    connector's queues and POSTed to Turn; what Turn POSTs to us is published
    to the connector.
    """

    CONFIG_CLASS = TurnChannelsApiConfig

    # -- set-up and stopping ------------------------------------------------

    async def setup_application(self) -> None:
        """
        Build the parts, and listen: POSTs are answered from the start, with
        503 until the broker is there.
        """
        self._build_parts()
        try:
            await self.cache.start()
            await self._listen()
        except BaseException:
            # A start that fails is not torn down, and the cache's connection mends itself for ever.
            await self.cache.stop()
            raise

    def _build_parts(self) -> None:
        clock = self.reactor
        config = self.config = self.get_static_config()
        self.metrics = Metrics()
        self.cache: MessageCache = config.message_cache_class(config.message_cache_config, clock)
        self.sessions = Sessions(self.cache, self.metrics.status_without_recipient)
        self.failures = FailureQueue(self.broker.publisher(f"{config.connector_name}.{FAILURES}"), clock)
        self.turn = self.make_turn_client()
        self.courier = DeliveryScheduler(
            clock,
            random.Random(),
            max_retries=config.max_retries,
            retry_delay_base=config.retry_delay_base,
            retry_delay_exponent=config.retry_delay_exponent,
            prefetch=config.amqp_prefetch_count,
            observer=self.metrics,
        )
        self.webhook = Webhook(
            secret=config.turn_hmac_secret,
            build=self.build_outbound,
            publish=self.publish_outbound,
            retryable=(BrokerError,),
            clock=clock,
            api_path=config.vumi_api_path,
            request_timeout=config.request_timeout,
            publish_timeout=config.publish_timeout,
            max_request_size=config.max_request_size,
            new_id=generate_id,
            observe=self.metrics.outbound,
        )
        self.health = Health(self.broker, self.courier, self.cache)
        watch_worker(
            self.metrics,
            clock,
            broker=self.broker,
            courier=self.courier,
            cache=self.cache,
            turn=self.turn,
        )

    async def _listen(self) -> None:
        """Listen on ``http_bind``, and for whoever watches us there or on ``management_bind``."""
        management = management_resource(self.health, self.metrics)
        beside = {}
        if self.config.management_bind is None:
            beside = {b"/health": management, b"/metrics": management}
        else:
            site = BoundedSite(management, self.reactor, self.config.max_request_size)
            await self.listen(self.config.management_bind, site)
        await self.listen(self.config.http_bind, self.webhook.site(beside))

    def make_turn_client(self) -> TurnClient:
        """What POSTs to Turn; the place to put another one."""
        config = self.config
        return TurnClient(
            self.reactor,
            config.turn_api_url,
            config.auth_token,
            message_timeout=config.mo_message_url_timeout,
            status_timeout=config.event_url_timeout,
            pool_size=2 * config.amqp_prefetch_count,
        )

    def health_components(self) -> dict[str, dict[str, Any]]:
        """As ``/health`` shows them."""
        components: dict[str, dict[str, Any]] = self.health.report()[1]["components"]
        return components

    async def teardown_application(self) -> None:
        """
        Let what is under way end, for up to ``shutdown_timeout``; what only
        waits has gone back to its queue before.
        """
        timeout = self.config.shutdown_timeout
        self.health.stopping = True
        self.webhook.stop()
        finishing = [self.courier.stop(timeout), self.webhook.drain(timeout)]
        await gatherResults([ensureDeferred(part) for part in finishing], consumeErrors=True)
        await self.turn.close()
        await self.cache.stop()

    # -- from a person to Turn ----------------------------------------------

    async def consume_user_message(self, message: TransportUserMessage) -> Outcome:
        """
        Hand a person's message to Turn.

        The cache knows the message before Turn does, because Turn may answer
        before it has answered us.

        :param message: from the connector's ``inbound`` queue.
        :return: what becomes of its delivery.
        """
        delivery = _delivery_of(message)
        try:
            payload = message_payload(message, self.config.empty_message_body)
        except MalformedMessage as error:
            return await self.malformed(delivery, error)
        remembered = ensureDeferred(self.cache.add_inbound(message, delivery.redelivered))

        async def remember() -> None:
            await remembered

        async def post() -> TurnResponse:
            return await self.turn.post_message(payload)

        return await self._deliver(
            QueueDelivery(
                MESSAGE,
                delivery,
                self.failures,
                name=message.message_id,
                key=person_of(message.from_addr),
                identity=(message.message_id, digest_of(delivery.body)),
                prepare=remember,
                post=post,
                expires=self._expiry_of(message),
            )
        )

    async def close_session(self, message: TransportUserMessage) -> Outcome:
        """
        The network, or the person, has ended a session: Turn hears of it only
        if something was said.
        """
        if message.content:
            return await self.consume_user_message(message)
        await self.cache.add_inbound(message, _delivery_of(message).redelivered)
        self.metrics.consumed(MESSAGE)
        self.metrics.settled(MESSAGE, NOTHING_TO_SEND)
        return Outcome.ACK

    # -- from the network to Turn: what became of our messages ---------------

    async def consume_ack(self, event: TransportEvent) -> Outcome:
        """Tell Turn that the network has taken one of our messages."""
        return await self._consume_status(event)

    async def consume_nack(self, event: TransportEvent) -> Outcome:
        """Tell Turn that the network has refused one of our messages."""
        return await self._consume_status(event)

    async def consume_delivery_report(self, event: TransportEvent) -> Outcome:
        """Tell Turn what the network reports of one of our messages."""
        return await self._consume_status(event)

    async def _consume_status(self, event: TransportEvent) -> Outcome:
        message_id = event.user_message_id
        recipient: Optional[str] = None

        async def find_recipient() -> None:
            nonlocal recipient
            await self.webhook.written(message_id)
            recipient = await self.sessions.recipient_of(message_id)

        async def post() -> TurnResponse:
            return await self.turn.post_status(status_payload(event, recipient))

        delivery = _delivery_of(event)
        return await self._deliver(
            QueueDelivery(
                STATUS,
                delivery,
                self.failures,
                name=message_id,
                key=message_id,
                identity=event.event_id,
                prepare=find_recipient,
                post=post,
            )
        )

    # -- from Turn to a person ----------------------------------------------

    async def build_outbound(self, request: OutboundRequest, message_id: str) -> TransportUserMessage:
        """
        The message that Turn asks for: a reply where there is something to
        reply to, because a USSD session lives from that, else a new message.

        :param request: what Turn POSTed.
        :param message_id: the id that Turn will be told.
        :raises MessageNotFound: ``reply_to`` is unknown or expired.
        :raises ApiUsageError: ``reply_to`` is another person's message.
        :raises BrokerUnavailableError: the cache that would know is away.
        """
        session_event = (
            TransportUserMessage.SESSION_RESUME
            if request.waiting_for_user_input
            else TransportUserMessage.SESSION_CLOSE
        )
        now = datetime.fromtimestamp(self.reactor.seconds(), timezone.utc)
        original = await self.sessions.original_of(request)
        if original is not None:
            return original.reply(request.content, session_event=session_event, message_id=message_id, timestamp=now)
        return TransportUserMessage.send(
            request.to,
            request.content,
            from_addr=request.from_addr or self.config.default_from_addr,
            session_event=session_event,
            transport_name=self.config.connector_name,
            transport_type=self.config.transport_type,
            message_id=message_id,
            timestamp=now,
        )

    async def publish_outbound(self, message: TransportUserMessage) -> None:
        """
        Publish a message to the connector; returns once the broker has it.

        The cache knows it before the network does, because the network's ack
        may overtake the broker's confirmation.

        :raises BrokerError: the broker has not taken it.
        """
        await self.cache.add_outbound(message)
        ended = await self.sessions.ended_by(message)
        started = self.reactor.seconds()
        await self.connectors[self.config.connector_name].publish_outbound(message)
        self.metrics.confirmed(self.reactor.seconds() - started)
        if ended is not None:
            await self.sessions.end(message, ended)

    # -- what the flows stand on ---------------------------------------------

    async def malformed(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        """Park what is not a vumi message."""
        return await self._park(delivery, Verdict.MALFORMED, PERMANENT, f"Not a vumi message: {error}")

    async def failed(self, delivery: Delivery, message: object, failure: Failure) -> Outcome:
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

    async def _deliver(self, parcel: QueueDelivery) -> Outcome:
        self.metrics.consumed(parcel.kind)
        result = await self.courier.deliver(parcel)
        if result is Result.DELIVERED:
            self.metrics.queue_to_turn(parcel.kind, self.reactor.seconds() - parcel.received)
        return OUTCOME_OF_RESULT[result]

    async def _park(self, delivery: Delivery, verdict: Verdict, code: str, reason: str) -> Outcome:
        kind = MESSAGE if delivery.queue.endswith(".inbound") else STATUS
        self.metrics.consumed(kind)
        parcel = QueueDelivery(
            kind, delivery, self.failures, name=f"a message from {delivery.queue}", key="", identity=None
        )
        parking = DeadLetter(verdict=verdict, code=code, reason=reason, attempts=0, last_status=None)
        return OUTCOME_OF_RESULT[await self.courier.park(parcel, parking)]

    def _expiry_of(self, message: TransportUserMessage) -> Optional[float]:
        """When a message is too old to be of use: only in a session, only where it is configured."""
        if self.config.max_message_age is None or message.session_event is None:
            return None
        return message.timestamp.timestamp() + self.config.max_message_age


def _delivery_of(message: TransportUserMessage | TransportEvent) -> Delivery:
    assert message.delivery is not None, "a consumed message knows its delivery"
    return message.delivery
