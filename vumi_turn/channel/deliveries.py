"""
What the delivery policy carries: a person's message, or a status of one of
ours, with how it is posted to Turn and how it is parked.

Each request owns what it prepares. The policy may prepare a request more than
once (before its turn, and again in its turn); it is done once.
"""

from __future__ import annotations

import hashlib
from typing import Any, Callable, Coroutine, Optional, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..broker.interface import Delivery
from ..caches import person_of
from ..conversation.conversations import InputArrival, Meaning, PageTurned
from ..conversation.errors import UnreadableValue
from ..conversation.menus import Choice
from ..delivery import AcceptedIdentities, DeliveryRequest, Result
from ..failures.dead_letter import DeadLetter
from ..failures.headers import choice_in, is_replay
from ..failures.queue import FailureQueue
from ..timing.shared_result import SharedResult
from ..turn.verdicts import MESSAGE, STATUS, TurnResponse, Verdict, classify
from ..vumi.messages import TransportEvent, TransportUserMessage

log = Logger()

#: The queue that each kind comes from, without the connector's name.
QUEUE_OF_KIND = {MESSAGE: "inbound", STATUS: "event"}

#: What Turn answers about one status, and not about all that it could be sent.
OF_ONE_STATUS = frozenset({Verdict.REFUSED, Verdict.FAILED})

#: Bytes of an identity.
IDENTITY_SIZE = 16


class TurnApi(Protocol):
    """What a channel asks of its HTTP client; :class:`~vumi_turn.turn.client.TurnClient` is one."""

    async def post_message(self, payload: dict[str, Any]) -> TurnResponse:
        """POST a person's message once. Trouble of the network does not raise."""

    async def post_status(self, payload: dict[str, Any]) -> TurnResponse:
        """POST a status once. Trouble of the network does not raise."""


class MessageFlow(Protocol):
    """What becomes of a person's message."""

    async def post_message(self, payload: dict[str, Any]) -> TurnResponse:
        """See :class:`TurnApi`."""

    def with_choice(self, payload: dict[str, Any], choice: Choice) -> dict[str, Any]:
        """The body for Turn with a choice in place of what was typed."""

    async def show_page(self, message: TransportUserMessage, page: PageTurned) -> None:
        """Show the page that a message asks for; returns when the broker has it."""


class StatusFlow(Protocol):
    """What becomes of an event."""

    async def post_status(self, payload: dict[str, Any]) -> TurnResponse:
        """See :class:`TurnApi`."""

    async def statuses_of(self, event: TransportEvent) -> list[dict[str, Any]]:
        """The bodies for Turn; none where it has nothing to hear of."""


def identity_of(message_id: str, body: bytes = b"") -> bytes:
    """
    What recognises a message that is delivered again.

    :param message_id: the vumi message's or event's id.
    :param body: the delivery's bytes, where the id alone is not enough: a
        transport may use one id for two messages.
    :return: :data:`IDENTITY_SIZE` bytes; a digest, not for secrets.
    """
    name = message_id.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(b"%d:%b%b" % (len(name), name, body), digest_size=IDENTITY_SIZE).digest()


def delivery_of(message: TransportUserMessage | TransportEvent) -> Delivery:
    """The broker's delivery that a consumed message came by."""
    assert message.delivery is not None, "a consumed message knows its delivery"
    return message.delivery


def is_first(message: TransportUserMessage) -> bool:
    """Whether a message is delivered for the first time: neither again by the broker, nor as a replay."""
    delivery = delivery_of(message)
    return not delivery.redelivered and not is_replay(delivery)


def arrival_of(message: TransportUserMessage) -> InputArrival:
    """How an input came: it means what it meant when it was first consumed."""
    delivery = delivery_of(message)
    if is_replay(delivery):
        return InputArrival.REPLAYED
    return InputArrival.AGAIN if delivery.redelivered else InputArrival.FIRST


def choice_of(message: TransportUserMessage) -> Optional[Choice]:
    """What the person chose when the message was first consumed, where it was parked and replayed since."""
    delivery = delivery_of(message)
    if not is_replay(delivery):
        return None
    try:
        return Choice.from_json(choice_in(delivery.headers))
    except UnreadableValue:
        return None


class QueuedRequest(DeliveryRequest):
    """
    A request that came from a queue.

    :param delivery: what the broker gave.
    :param failures: where it is parked.
    """

    def __init__(self, delivery: Delivery, failures: FailureQueue) -> None:
        self.redelivered = delivery.redelivered
        self.delivery_count = delivery.delivery_count
        self.received = delivery.received
        self.expires: Optional[float] = None
        self._delivery = delivery
        self._failures = failures

    @property
    def lost(self) -> bool:
        return self._delivery.lost

    def on_lost(self, callback: Callable[[], None]) -> None:
        self._delivery.on_lost(callback)

    async def park(self, parking: DeadLetter) -> None:
        await self._failures.park(self._delivery.body, QUEUE_OF_KIND[self.kind], parking)


class MessageDelivery(QueuedRequest):
    """
    A person's message.

    :param message: from the connector's ``inbound`` queue.
    :param payload: the body for Turn, with what was typed.
    :param recorded: writes the message into the cache, and gives what it
        means. It starts here, in queue order, because the person's last
        message is what Turn's next answer is a reply to.
    :param flow: what the channel does with it.
    :param failures: where it is parked.
    :param expires: after which it is of no use, in the clock's seconds, or None.
    """

    kind = MESSAGE

    def __init__(
        self,
        message: TransportUserMessage,
        payload: dict[str, Any],
        recorded: Coroutine[Deferred[Any], Any, Meaning],
        flow: MessageFlow,
        failures: FailureQueue,
        expires: Optional[float],
    ) -> None:
        delivery = delivery_of(message)
        super().__init__(delivery, failures)
        self.name = message.message_id
        self.key = person_of(message.from_addr)
        self.identity = identity_of(message.message_id, delivery.body)
        self.expires = expires
        self._message = message
        self._payload = payload
        self._recorded = SharedResult(recorded)
        self._flow = flow
        self._choice: Optional[Choice] = None
        self._page: Optional[PageTurned] = None

    async def prepare(self) -> None:
        meaning = await self._recorded.get()
        if isinstance(meaning, Choice):
            self._choice = meaning
            self._payload = self._flow.with_choice(self._payload, meaning)
        elif isinstance(meaning, PageTurned):
            self._page = meaning
            self.result = Result.PAGE

    async def answer(self) -> None:
        assert self._page is not None, "a page is asked for"
        await self._flow.show_page(self._message, self._page)

    async def post(self) -> TurnResponse:
        return await self._flow.post_message(self._payload)

    async def park(self, dead_letter: DeadLetter) -> None:
        choice = None if self._choice is None else self._choice.to_json()
        await self._failures.park(self._delivery.body, QUEUE_OF_KIND[self.kind], dead_letter, choice)

    def close(self) -> None:
        """The request is settled: log a failure of the cache that nobody has asked for."""
        failure = self._recorded.unseen_failure
        if failure is not None:
            log.failure(
                "Recording {message_id} in the message cache failed",
                failure,
                message_id=self.name,
                queue=self._delivery.queue,
            )


class StatusDelivery(QueuedRequest):
    """
    What the network says of a message of ours. A message that several of
    Turn's were joined into has a status for each of these.

    :param event: from the connector's ``event`` queue.
    :param flow: what the channel does with it.
    :param failures: where it is parked.
    :param accepted: remembers which of several statuses Turn has, for when the event comes again.
    """

    kind = STATUS

    def __init__(
        self, event: TransportEvent, flow: StatusFlow, failures: FailureQueue, accepted: AcceptedIdentities
    ) -> None:
        super().__init__(delivery_of(event), failures)
        self.name = self.key = event.user_message_id
        self.identity = identity_of(event.event_id)
        self._person = self.key
        self._event = event
        self._flow = flow
        self._accepted = accepted
        self._payloads: Optional[list[dict[str, Any]]] = None

    @property
    def person(self) -> str:
        return self._person

    async def prepare(self) -> None:
        if self._payloads is None:
            self._payloads = self._open(await self._flow.statuses_of(self._event))
        if not self._payloads:
            self.result = Result.NOTHING
            return
        recipient = self._payloads[0]["status"].get("recipient_id")
        if recipient is not None:
            self._person = person_of(recipient)

    async def post(self) -> TurnResponse:
        assert self._payloads, "a status is prepared before it is posted"
        not_taken: Optional[TurnResponse] = None
        for payload in list(self._payloads):
            response = await self._flow.post_status(payload)
            verdict = classify(STATUS, response)
            if verdict is Verdict.DELIVERED:
                if len(self._payloads) > 1:
                    self._payloads.remove(payload)
                    self._accepted.add(self._identity_in(payload))
            elif verdict in OF_ONE_STATUS:
                # The others are sent all the same, and before it the next time.
                self._payloads.remove(payload)
                self._payloads.append(payload)
                if not_taken is None or verdict is Verdict.FAILED:  # it may be taken yet: not to be parked for good
                    not_taken = response
            else:
                return response
        return not_taken or response

    def _open(self, payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of several that Turn may not have yet; the last of them is the event's own affair."""
        if len(payloads) == 1 or not (self.redelivered or is_replay(self._delivery)):
            return payloads
        return [payload for payload in payloads if self._identity_in(payload) not in self._accepted]

    def _identity_in(self, payload: dict[str, Any]) -> bytes:
        """What recognises one of several statuses."""
        return identity_of(self._event.event_id, str(payload["status"]["id"]).encode("utf-8", "surrogatepass"))


class UndeliverableRequest(QueuedRequest):
    """What can only be parked: no vumi message, or one that our own code failed on."""

    def __init__(self, delivery: Delivery, failures: FailureQueue) -> None:
        super().__init__(delivery, failures)
        self.kind = MESSAGE if delivery.queue.endswith(".inbound") else STATUS
        self.name = f"a message from {delivery.queue}"
        self.key = ""
        self.identity = identity_of("", delivery.body)

    async def park(self, parking: DeadLetter) -> None:
        # Of another queue, that of parts, it says so: then it cannot be replayed.
        await self._failures.park(self._delivery.body, self._delivery.queue.rpartition(".")[2], parking)

    async def prepare(self) -> None:
        raise AssertionError("it is parked, and never posted")

    async def post(self) -> TurnResponse:
        raise AssertionError("it is parked, and never posted")
