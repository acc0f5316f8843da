"""Requests: what a consumed message or event brings along for the delivery policy."""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.fakes import OK, START
from tests.fakes import FakeBroker
from vumi_turn.broker.interface import Delivery
from vumi_turn.channel.deliveries import (
    IDENTITY_SIZE,
    MessageDelivery,
    QueuedRequest,
    StatusDelivery,
    UndeliverableRequest,
    identity_of,
)
from vumi_turn.failures.dead_letter import DeadLetter
from vumi_turn.failures.queue import FailureQueue
from vumi_turn.turn.verdicts import MESSAGE, STATUS, TurnResponse, Verdict
from vumi_turn.vumi.messages import TransportEvent, TransportUserMessage

DEAD_LETTER = DeadLetter(Verdict.FAILED, "temporary", "Turn failed on it.", attempts=4, last_status=500)

MESSAGE_ID = "0123456789abcdef0123456789abcdef"


class FakeTurn:
    """Records what is POSTed, and accepts it."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []

    async def post_message(self, payload: dict[str, Any]) -> TurnResponse:
        self.posted.append((MESSAGE, payload))
        return OK

    async def post_status(self, payload: dict[str, Any]) -> TurnResponse:
        self.posted.append((STATUS, payload))
        return OK


class RequestCase(SynchronousTestCase):
    """Requests, with the broker, the cache and Turn in the test's hands."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.broker = FakeBroker()
        self.failures = FailureQueue(self.broker.publisher("c.turn_failures"), self.clock)
        self.turn = FakeTurn()
        self.recorded: Deferred[None] = Deferred()
        self.records = 0

    def delivery(self, queue: str, body: bytes) -> Delivery:
        return Delivery(f"c.{queue}", body, redelivered=True, headers={"x-delivery-count": 3}, received=START - 5)

    async def record(self) -> None:
        self.records += 1
        await self.recorded

    def message(self, expires: Optional[float] = None, body: bytes = b'{"a": 1}') -> MessageDelivery:
        message = TransportUserMessage.send("8864", "Hello", from_addr="+266 12", message_id=MESSAGE_ID)
        message = message.replace(delivery=self.delivery("inbound", body))
        return MessageDelivery(message, {"the": "payload"}, self.record(), self.turn, self.failures, expires)

    def status(self, look_up: Any = None) -> StatusDelivery:
        event = TransportEvent(user_message_id="m7", event_type="ack", sent_message_id="7", event_id="e1")
        event = event.replace(delivery=self.delivery("event", b'{"a": 1}'))

        async def nobody(message_id: str) -> Optional[str]:
            return None

        return StatusDelivery(event, look_up or nobody, self.turn, self.failures)

    def run_now(self, coroutine: Any) -> Any:
        """The result of what need not wait."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))


class QueuedRequestTests(RequestCase):
    """What every request knows of its delivery, and how it is parked."""

    def requests(self) -> list[QueuedRequest]:
        undeliverable = UndeliverableRequest(self.delivery("event", b"x"), self.failures)
        return [self.message(), self.status(), undeliverable]

    def test_what_the_delivery_says(self) -> None:
        """It knows of its delivery when that came, and how often it had come before."""
        for request in self.requests():
            self.assertEqual(
                (request.redelivered, request.delivery_count, request.received, request.expires),
                (True, 3, START - 5, None),
            )
        self.assertEqual(self.message(expires=START + 60).expires, START + 60)

    def test_lost(self) -> None:
        """It is lost when its delivery is, and whoever wants to know is told once, also later."""
        delivery = self.delivery("inbound", b"x")
        request = UndeliverableRequest(delivery, self.failures)
        told: list[str] = []
        request.on_lost(lambda: told.append("before"))
        self.assertEqual((request.lost, told), (False, []))
        delivery.lose()
        request.on_lost(lambda: told.append("after"))
        self.assertEqual((request.lost, told), (True, ["before", "after"]))

    def test_park(self) -> None:
        """It is parked whole, with why, when, and the queue of its kind."""
        for request, queue in ((self.message(), "inbound"), (self.status(), "event")):
            self.run_now(request.park(DEAD_LETTER))
            parked = json.loads(self.broker.publishers["c.turn_failures"].bodies[-1])
            self.assertEqual((parked["message"], parked["failure_code"]), ({"a": 1}, "temporary"))
            self.assertEqual(parked["reason"], "Turn failed on it.")
            self.assertEqual(
                parked["helper_metadata"]["turn"],
                {"queue": queue, "attempts": 4, "last_status": 500, "failed_at": "2021-08-07 14:14:38.000000"},
            )

    def test_parked_when_confirmed(self) -> None:
        """It is parked once the broker has confirmed it, and not before."""
        self.broker.confirms = False
        done = Deferred.fromCoroutine(self.message().park(DEAD_LETTER))
        self.assertNoResult(done)
        self.broker.publishers["c.turn_failures"].pending[0].callback(None)
        self.assertIsNone(self.successResultOf(done))

    def test_not_confirmed(self) -> None:
        """What the broker has not taken is not parked."""
        self.broker.confirms = False
        done = Deferred.fromCoroutine(self.message().park(DEAD_LETTER))
        self.broker.publishers["c.turn_failures"].pending[0].errback(ZeroDivisionError())
        self.failureResultOf(done, ZeroDivisionError)

    def test_identity(self) -> None:
        """Messages are told apart by id and body, statuses by the event's id."""
        identities = {identity_of(*each) for each in (("a", b""), ("a", b"b"), ("ab", b""), ("", b"ab"), ("b", b"a"))}
        self.assertEqual({len(identity) for identity in identities}, {IDENTITY_SIZE})
        self.assertEqual(len(identities), 5)
        self.assertEqual(self.message().identity, self.message().identity)
        self.assertNotEqual(self.message().identity, self.message(body=b"{}").identity)
        self.assertEqual(self.status().identity, identity_of("e1"))

    def test_undeliverable(self) -> None:
        """What can only be parked is of the kind of its queue, and is never posted."""
        request = UndeliverableRequest(self.delivery("event", b"x"), self.failures)
        self.assertEqual((request.kind, request.name), (STATUS, "a message from c.event"))
        self.failureResultOf(Deferred.fromCoroutine(request.post()), AssertionError)


class MessageDeliveryTests(RequestCase):
    def test_recorded_once(self) -> None:
        """The cache is written at once and once, however often the request is prepared."""
        request = self.message()
        self.assertEqual(self.records, 1)
        first, second = (Deferred.fromCoroutine(request.prepare()) for _ in range(2))
        self.assertNoResult(first)
        self.recorded.callback(None)
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (None, None))
        self.run_now(request.prepare())
        self.assertEqual(self.records, 1)

    def test_cancelled(self) -> None:
        """Who stops waiting for the cache does not stop the cache."""
        request = self.message()
        first, second = (Deferred.fromCoroutine(request.prepare()) for _ in range(2))
        first.cancel()
        self.failureResultOf(first)
        self.recorded.callback(None)
        self.assertIsNone(self.successResultOf(second))

    def test_failure_for_each(self) -> None:
        """A message that the cache failed on is never sent as though it had not."""
        request = self.message()
        self.recorded.errback(ZeroDivisionError("marker"))
        for _ in range(2):
            self.failureResultOf(Deferred.fromCoroutine(request.prepare()), ZeroDivisionError)
        request.close()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_failure_that_nobody_asks_for(self) -> None:
        """A redelivered message that Turn has needs no cache: its failure is logged, and nothing is left unhandled."""
        request = self.message()
        self.recorded.errback(ZeroDivisionError("marker"))
        request.close()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_post(self) -> None:
        """The payload is posted as a message, in the line of the person without the plus sign."""
        request = self.message()
        self.assertIs(self.run_now(request.post()), OK)
        self.assertEqual(self.turn.posted, [(MESSAGE, {"the": "payload"})])
        self.assertEqual((request.name, request.key), (MESSAGE_ID, "266 12"))


class StatusDeliveryTests(RequestCase):
    def test_person(self) -> None:
        """Whose status it is is known once the recipient is, as an address with or without a plus."""

        async def somebody(message_id: str) -> Optional[str]:
            return "+266 12"

        known, unknown = self.status(somebody), self.status()
        for status in (known, unknown):
            self.assertEqual(status.person, "m7")
            self.run_now(status.prepare())
        self.assertEqual((known.person, unknown.person), (self.message().key, "m7"))

    def test_recipient(self) -> None:
        """Whom the message went to is looked up once, and again if that failed."""
        asked: list[str] = []

        async def look_up(message_id: str) -> Optional[str]:
            asked.append(message_id)
            if len(asked) == 1:
                raise ZeroDivisionError("marker")
            return "+26612"

        request = self.status(look_up)
        self.failureResultOf(Deferred.fromCoroutine(request.prepare()), ZeroDivisionError)
        self.run_now(request.prepare())
        self.run_now(request.prepare())
        self.assertEqual(asked, ["m7", "m7"])
        self.run_now(request.post())
        ((kind, payload),) = self.turn.posted
        status = payload["status"]
        self.assertEqual((kind, status["id"], status["recipient_id"]), (STATUS, "m7", "+26612"))
