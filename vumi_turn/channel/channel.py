"""
One channel of Turn's: its parts, and its three flows.

A person's message goes to Turn (:meth:`Channel.deliver_message`), what became
of our messages goes to Turn as statuses (:meth:`Channel.deliver_status`), and
what Turn POSTs goes to the connector (:meth:`Channel.build_outbound`,
:meth:`Channel.publish_outbound`).
"""

from __future__ import annotations

import random
from typing import Any, Mapping, Optional, Sequence, Union
from uuid import uuid4

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..broker.interface import Broker, BrokerError, Delivery, Outcome
from ..caches import CacheUnavailable, MessageCache
from ..conversation.answers import AnswerState, InputAnswers
from ..conversation.conversations import IN_SESSION, Conversations, Meaning, PageTurned
from ..conversation.joining import TURN_IDS, Joiner, Part
from ..conversation.menus import ANSWERS, Choice
from ..conversation.rendering import Rendered
from ..conversation.replies import NewMessages, outbound_message
from ..conversation.screen_options import ScreenOptions
from ..conversation.sessions import Sessions
from ..delivery import DeliveryScheduler, Result
from ..failures.dead_letter import PERMANENT, TEMPORARY, DeadLetter
from ..failures.queue import FAILURES, FailureQueue
from ..monitoring.metrics import NOTHING_TO_SEND
from ..monitoring.recorder import DeliveryRecorder
from ..outbound.publisher import OutboundPublisher
from ..timing.clock import wall_clock_of
from ..turn import client as turn_client
from ..turn.payloads import OutboundRequest, message_payload, status_of, status_payload
from ..turn.verdicts import MESSAGE, STATUS, TurnResponse, Verdict
from ..turn.webhook import Webhook
from ..vumi.connectors import ReceiveInboundConnector
from ..vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage, generate_id
from ..vumi.messages.base import DEFAULT_ENDPOINT_NAME
from .config import TurnChannelsApiConfig, screen_of
from .deliveries import (
    MessageDelivery,
    QueuedRequest,
    StatusDelivery,
    TurnApi,
    UndeliverableRequest,
    choice_of,
    delivery_of,
    is_first,
)
from .outgoing import Outgoing, OutgoingMessages, rendered, turn_of
from .parts_queue import PartsQueue
from .standby import Standby
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
        self._answers = InputAnswers(cache.documents)
        self._conversations = Conversations(cache.documents, clock, _screen_of(config), generate_id, metrics)
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
        self._new_messages = NewMessages(
            config.default_from_addr,
            config.connector_name,
            config.transport_type,
            _fields_of(config.send_to),
        )
        #: Decides whether this worker consumes; None where it always does.
        self.standby: Optional[Standby] = None
        if config.standby:
            self.standby = Standby(broker, config.connector_name, clock, connector.unpause, connector.pause)
        self._parts = PartsQueue(broker, config.connector_name, self._take_part, self._park_part)
        self._joiner = Joiner(clock, config.join_window, cache.documents, self._answers, self)
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

    def start(self) -> None:
        """Take parts of messages from their queue, and wait for the lock where there is one."""
        self._parts.unpause()
        if self.standby is not None:
            self.standby.start()

    async def stop(self, timeout: float) -> None:
        """
        Take no new POSTs, give back what only waits, and let what is under way
        end; parts that are held are published when their window ends.

        :param timeout: seconds for what is under way.
        """
        self.publisher.stop()
        finishing = [self.scheduler.stop(timeout), self.publisher.drain(timeout), self._joiner.stop(timeout)]
        await gatherResults([ensureDeferred(part) for part in finishing], consumeErrors=True)
        self._parts.pause()
        if self.standby is not None:
            await self.standby.stop()

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
            message, payload, self._record(message), self, self._failures, self._expiry_of(message)
        )
        try:
            return await self._deliver(request)
        finally:
            request.close()

    async def _record(self, message: TransportUserMessage) -> Meaning:
        """Write a message into the cache; what it means."""
        first = is_first(message)
        await self._cache.add_inbound(message, first=first)
        chosen = choice_of(message)
        return chosen or await self._conversations.read_input(message, first)

    async def post_message(self, payload: dict[str, Any]) -> TurnResponse:
        """See :class:`~.deliveries.MessageFlow`."""
        if self.standby is not None and not await self.standby.may_post():
            return TAKEN_OVER
        return await self._turn.post_message(payload)

    def with_choice(self, payload: dict[str, Any], choice: Choice) -> dict[str, Any]:
        """See :class:`~.deliveries.MessageFlow`."""
        kept = {key: value for key, value in payload["message"].items() if key not in ("type", "text")}
        return {**payload, "message": {**kept, **ANSWERS[self._config.answer_as](choice)}}

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
        if message.content:
            return await self.deliver_message(message)
        await self._record(message)
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
        return await self._deliver(StatusDelivery(event, self, self._failures))

    async def post_status(self, payload: dict[str, Any]) -> TurnResponse:
        """See :class:`~.deliveries.StatusFlow`."""
        if self.standby is not None and not await self.standby.may_post():
            return TAKEN_OVER
        return await self._turn.post_status(payload)

    async def statuses_of(self, event: TransportEvent) -> list[dict[str, Any]]:
        """
        The statuses that an event is for Turn, once Turn has been told the
        message's id: one; none where it is no news, or the message was a page;
        several where the message was joined of several.
        """
        message_id = event.user_message_id
        await self.publisher.written(message_id)
        if not await self._sessions.is_news(message_id, status_of(event)):
            self._metrics.status_backwards()
            return []
        ids = await self._turn_ids_of(message_id)
        if not ids:
            return []
        recipient = await self._sessions.recipient_of(message_id)
        return [status_payload(event.replace(user_message_id=turn_id), recipient) for turn_id in ids]

    async def _turn_ids_of(self, message_id: str) -> list[str]:
        try:
            ids = await self._cache.documents.get(TURN_IDS, message_id)
        except CacheUnavailable:
            ids = None
        return [message_id] if ids is None else ids

    # -- from Turn to a person ----------------------------------------------

    async def build_outbound(self, request: OutboundRequest, message_id: str) -> Union[Outgoing, Part]:
        """
        The message that Turn asks for: a reply where there is something to
        reply to, because a USSD session lives from that, else a new message;
        or a part of one, where others may answer the same input.

        :param request: what Turn POSTed.
        :param message_id: the id that Turn will be told.
        :raises ApiUsageError: a part of it is missing or of the wrong kind, or
            ``reply_to`` is another person's message.
        :raises UnsupportedMessageType: it has no text that could be sent.
        :raises MessageNotFound: ``reply_to`` is unknown or expired.
        :raises CacheUnavailableError: what would know it cannot be asked now.
        """
        text = rendered(request)
        self._note_reduced(text)
        original = await self._latest_input(await self._sessions.original_of(request))
        self._recorder.outbound_accepted(message_id, request.to)
        in_session = original is not None and original.session_event in IN_SESSION
        waits = request.waiting_for_user_input
        late = False
        if original is not None and in_session:
            state = await self._begin_answer(original.message_id, waits)
            if state is AnswerState.JOINING:
                return Part(message_id, original.bare(), turn_of(request), request.content, waits)
            late = state in (AnswerState.CLOSED, AnswerState.ANSWERED)
            if late:
                self._metrics.answers_late(1)
        shown = self._conversations.compose([text], waits=waits, in_session=in_session)
        message = outbound_message(
            request,
            original,
            self._new_messages,
            text=shown.text,
            session_event=TransportUserMessage.SESSION_RESUME if late else shown.session_event,
            message_id=message_id,
            timestamp=self._outgoing.now(),
        )
        return Outgoing(message, shown, original.message_id if original is not None and in_session else None)

    async def _latest_input(self, original: Optional[TransportUserMessage]) -> Optional[TransportUserMessage]:
        """An input that a page has answered stands for the latest input of its session."""
        if original is None or original.session_event not in IN_SESSION:
            return original
        try:
            if not await self._answers.shows_page(original.message_id):
                return original
            last = await self._cache.get_last_inbound(original.from_addr)
        except CacheUnavailable:
            return original
        goes_on = last is not None and last.session_event == TransportUserMessage.SESSION_RESUME
        return last if goes_on else original

    async def _begin_answer(self, input_id: str, waits: bool) -> AnswerState:
        """
        Note that an input of a session is being answered.

        :return: ``joining`` where the message is a part.
        """
        if not self._config.join_window:
            return AnswerState.NONE
        try:
            if waits:
                return await self._answers.begin_waiting(input_id)
            state = await self._answers.begin_part(input_id)
        except CacheUnavailable:
            # Other workers may hold parts: what all of them put into the queue keeps its order there.
            return AnswerState.NONE if waits and self._cache.alone else AnswerState.JOINING
        return AnswerState.JOINING if state is AnswerState.NONE else state

    def _note_reduced(self, text: Rendered) -> None:
        if text.by_content:
            self._metrics.reduced(text.type, "content")
        if text.lost_media:
            self._metrics.reduced(text.type, "medium")

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
            self._recorder.trace.add(outgoing.id, "held to be joined")

    # -- several messages for one input: JoinedFlow -----------------------------

    async def _take_part(self, part: Part, delivery: Delivery) -> Outcome:
        return await self._joiner.take(part, delivery)

    async def _park_part(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        return await self._park(delivery, Verdict.MALFORMED, PERMANENT, f"Not a part of a message: {error}")

    async def publish_joined(self, parts: Sequence[Part], message_id: str, waits: bool) -> None:
        """See :class:`~vumi_turn.conversation.joining.JoinedFlow`."""
        await self._outgoing.publish_joined(parts, message_id, waits)

    async def session_goes_on(self, original: TransportUserMessage) -> bool:
        """See :class:`~vumi_turn.conversation.joining.JoinedFlow`."""
        return await self._outgoing.session_goes_on(original)

    def late(self, count: int) -> None:
        """See :class:`~vumi_turn.conversation.joining.JoinedFlow`."""
        self._metrics.answers_late(count)

    async def fail_part(self, part: Part, delivery: Delivery) -> Outcome:
        """Tell Turn that a part was not shown, because its session was over."""
        self._metrics.part_failed()
        event = TransportEvent(
            user_message_id=part.id,
            event_type="nack",
            nack_reason="the session was over",
            timestamp=self._outgoing.now(),
        )
        body = event.to_json()
        of_event = Delivery(f"{self._config.connector_name}.event", body, received=self._clock.seconds())
        delivery.on_lost(of_event.lose)
        return await self.deliver_status(event.replace(delivery=of_event))

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
