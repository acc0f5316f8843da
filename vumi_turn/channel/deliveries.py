"""
What the delivery policy carries: a person's message, or a status of one of
ours, with how it is posted to Turn and how it is parked.

Each request owns what it prepares. The policy may prepare a request more than
once (before its turn, and again in its turn); it is done once.
"""

from __future__ import annotations

import hashlib
from typing import Any, Callable, Coroutine, Mapping, Optional, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..broker.interface import Delivery
from ..caches import person_of
from ..delivery import DeliveryRequest
from ..failures.dead_letter import DeadLetter
from ..failures.queue import FailureQueue
from ..timing.shared_result import SharedResult
from ..turn.payloads import status_payload
from ..turn.verdicts import MESSAGE, STATUS, TurnResponse
from ..vumi.messages import TransportEvent, TransportUserMessage

log = Logger()

#: The queue that each kind comes from, without the connector's name.
QUEUE_OF_KIND = {MESSAGE: "inbound", STATUS: "event"}

#: Bytes of an identity.
IDENTITY_SIZE = 16


class TurnApi(Protocol):
    """What a channel asks of its HTTP client; :class:`~vumi_turn.turn.client.TurnClient` is one."""

    async def post_message(self, payload: dict[str, Any]) -> TurnResponse:
        """POST a person's message once. Trouble of the network does not raise."""

    async def post_status(self, payload: dict[str, Any]) -> TurnResponse:
        """POST a status once. Trouble of the network does not raise."""


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
    :param payload: the body for Turn.
    :param recorded: writes the message into the cache. It starts here, in
        queue order, because the person's last message is what Turn's next
        answer is a reply to.
    :param turn: where it is posted.
    :param failures: where it is parked.
    :param expires: after which it is of no use, in the clock's seconds, or None.
    """

    kind = MESSAGE

    def __init__(
        self,
        message: TransportUserMessage,
        payload: dict[str, Any],
        recorded: Coroutine[Deferred[Any], Any, Any],
        turn: TurnApi,
        failures: FailureQueue,
        expires: Optional[float],
    ) -> None:
        delivery = delivery_of(message)
        super().__init__(delivery, failures)
        self.name = message.message_id
        self.key = person_of(message.from_addr)
        self.identity = identity_of(message.message_id, delivery.body)
        self.expires = expires
        self._payload = payload
        self._recorded = SharedResult(recorded)
        self._turn = turn

    async def prepare(self) -> None:
        await self._recorded.get()

    async def post(self) -> TurnResponse:
        return await self._turn.post_message(self._payload)

    def close(self) -> None:
        """The request is settled: log a failure of the cache that nobody has asked for."""
        failure = self._recorded.unseen_failure
        if failure is not None:
            log.failure("Recording {message_id} in the message cache failed", failure, message_id=self.name)


class StatusDelivery(QueuedRequest):
    """
    What the network says of a message of ours.

    :param event: from the connector's ``event`` queue.
    :param look_up: waits until Turn knows the message's id, and gives whom the
        message went to; None where nobody knows.
    :param turn: where it is posted.
    :param failures: where it is parked.
    """

    kind = STATUS

    def __init__(
        self,
        event: TransportEvent,
        look_up: Callable[[str], Coroutine[Deferred[Any], Any, Optional[str]]],
        turn: TurnApi,
        failures: FailureQueue,
    ) -> None:
        super().__init__(delivery_of(event), failures)
        self.name = self.key = event.user_message_id
        self.identity = identity_of(event.event_id)
        self._person = self.key
        self._event = event
        self._look_up = look_up
        self._turn = turn
        self._payload: Optional[Mapping[str, Any]] = None

    @property
    def person(self) -> str:
        return self._person

    async def prepare(self) -> None:
        if self._payload is None:
            recipient = await self._look_up(self._event.user_message_id)
            if recipient is not None:
                self._person = person_of(recipient)
            self._payload = status_payload(self._event, recipient)

    async def post(self) -> TurnResponse:
        assert self._payload is not None, "a status is prepared before it is posted"
        return await self._turn.post_status(dict(self._payload))


class UndeliverableRequest(QueuedRequest):
    """What can only be parked: no vumi message, or one that our own code failed on."""

    def __init__(self, delivery: Delivery, failures: FailureQueue) -> None:
        super().__init__(delivery, failures)
        self.kind = MESSAGE if delivery.queue.endswith(".inbound") else STATUS
        self.name = f"a message from {delivery.queue}"
        self.key = ""
        self.identity = identity_of("", delivery.body)

    async def prepare(self) -> None:
        raise AssertionError("it is parked, and never posted")

    async def post(self) -> TurnResponse:
        raise AssertionError("it is parked, and never posted")
