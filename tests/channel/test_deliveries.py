"""Requests: what a consumed message or event brings along for the delivery policy."""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
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
from vumi_turn.conversation.conversations import Meaning, PageTurned
from vumi_turn.conversation.menus import Choice
from vumi_turn.conversation.parts import ChoiceKind
from vumi_turn.delivery import AcceptedIdentities, Result
from vumi_turn.failures.dead_letter import DeadLetter
from vumi_turn.failures.queue import FailureQueue
from vumi_turn.turn.client import TurnResponse
from vumi_turn.turn.verdicts import MESSAGE, STATUS, Verdict
from vumi_turn.vumi.messages import TransportEvent, TransportUserMessage

DEAD_LETTER = DeadLetter(Verdict.FAILED, "temporary", "Turn failed on it.", attempts=4, last_status=500)

MESSAGE_ID = "0123456789abcdef0123456789abcdef"


CHOICE = Choice(1, ChoiceKind.BUTTON, "a", "Yes")


class FakeFlow:
    """Records what is POSTed and shown; answers 200, or what the test has put in ``answers``."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.pages: list[PageTurned] = []
        self.answers: list[Any] = []
        self.statuses: Any = None
        self.asked = 0

    async def post_message(self, payload: dict[str, Any]) -> Any:
        self.posted.append((MESSAGE, payload))
        return OK

    async def post_status(self, payload: dict[str, Any]) -> Any:
        self.posted.append((STATUS, payload))
        return self.answers.pop(0) if self.answers else OK

    def with_choice(self, payload: dict[str, Any], choice: Choice) -> dict[str, Any]:
        return {**payload, "chosen": choice.title}

    async def show_page(self, message: TransportUserMessage, page: PageTurned) -> None:
        self.pages.append(page)

    async def statuses_of(self, event: TransportEvent) -> list[dict[str, Any]]:
        self.asked += 1
        found: list[dict[str, Any]] = await self.statuses()
        return found


class RequestCase(SynchronousTestCase):
    """Requests, with the broker, the cache and Turn in the test's hands."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.broker = FakeBroker()
        self.failures = FailureQueue(self.broker.publisher("c.turn_failures"), self.clock)
        self.flow = FakeFlow()
        self.accepted = AcceptedIdentities()
        self.recorded: Deferred[Meaning] = Deferred()
        self.records = 0

    def delivery(self, queue: str, body: bytes, redelivered: bool = True) -> Delivery:
        headers = {"x-delivery-count": 3}
        return Delivery(f"c.{queue}", body, redelivered=redelivered, headers=headers, received=START - 5)

    async def record(self) -> Meaning:
        self.records += 1
        return await self.recorded

    def message(self, expires: Optional[float] = None, body: bytes = b'{"a": 1}') -> MessageDelivery:
        message = TransportUserMessage.send("8864", "Hello", from_addr="+266 12", message_id=MESSAGE_ID)
        message = message.replace(delivery=self.delivery("inbound", body))
        return MessageDelivery(message, {"the": "payload"}, self.record(), self.flow, self.failures, expires)

    def status(self, event_id: str = "e1", redelivered: bool = True) -> StatusDelivery:
        event = TransportEvent(user_message_id="m7", event_type="ack", sent_message_id="7", event_id=event_id)
        event = event.replace(delivery=self.delivery("event", b'{"a": 1}', redelivered))
        return StatusDelivery(event, self.flow, self.failures, self.accepted)

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
        """The payload is posted as a message, in the queue of the person without the plus sign."""
        request = self.message()
        self.assertIs(self.run_now(request.post()), OK)
        self.assertEqual(self.flow.posted, [(MESSAGE, {"the": "payload"})])
        self.assertEqual((request.name, request.key), (MESSAGE_ID, "266 12"))

    def test_choice(self) -> None:
        """A choice takes the place of what was typed, also where the message is parked."""
        request = self.message()
        self.recorded.callback(CHOICE)
        self.run_now(request.prepare())
        self.run_now(request.post())
        self.assertEqual(self.flow.posted, [(MESSAGE, {"the": "payload", "chosen": "Yes"})])
        self.run_now(request.park(DEAD_LETTER))
        parked = json.loads(self.broker.publishers["c.turn_failures"].bodies[-1])
        self.assertEqual(parked["helper_metadata"]["turn"]["choice"], CHOICE.to_json())

    def test_page(self) -> None:
        """An input that asks for a page is answered with it, and not sent to Turn."""
        request = self.message()
        page = PageTurned("the page", "p1", False)
        self.recorded.callback(page)
        self.run_now(request.prepare())
        self.run_now(request.answer())
        self.assertEqual((self.flow.pages, request.result), ([page], Result.PAGE))


class StatusDeliveryTests(RequestCase):
    def test_person(self) -> None:
        """Whose status it is is known once the recipient is, as an address with or without a plus."""
        for recipient, person in (({"recipient_id": "+266 12"}, self.message().key), ({}, "m7")):

            async def statuses(found: dict[str, Any] = recipient) -> list[dict[str, Any]]:
                return [{"status": found}]

            self.flow.statuses = statuses
            status = self.status()
            self.assertEqual(status.person, "m7")
            self.run_now(status.prepare())
            self.assertEqual(status.person, person)

    def test_looked_up_once(self) -> None:
        """What is to be sent is looked up once, and again if that failed."""

        async def statuses() -> list[dict[str, Any]]:
            if self.flow.asked == 1:
                raise ZeroDivisionError("marker")
            return [{"status": {"id": 1}}]

        self.flow.statuses = statuses
        request = self.status()
        self.failureResultOf(Deferred.fromCoroutine(request.prepare()), ZeroDivisionError)
        self.run_now(request.prepare())
        self.run_now(request.prepare())
        self.assertEqual((self.flow.asked, request.result), (2, None))
        self.run_now(request.post())
        self.assertEqual(self.flow.posted, [(STATUS, {"status": {"id": 1}})])

    def test_several(self) -> None:
        """A joined message has several statuses; what Turn has taken is not sent again."""

        async def statuses() -> list[dict[str, Any]]:
            return [{"status": {"id": number}} for number in range(3)]

        self.flow.statuses = statuses
        request = self.status()
        self.run_now(request.prepare())
        refused = TurnResponse(status=503, error=None, wait=None, detail="")
        self.flow.answers = [OK, refused]
        self.assertIs(self.run_now(request.post()), refused)
        self.assertIs(self.run_now(request.post()), OK)
        self.assertEqual([payload["status"]["id"] for _, payload in self.flow.posted], [0, 1, 1, 2])

    def test_several_again(self) -> None:
        """An event that comes again goes on with the first of its statuses that Turn does not have."""

        async def statuses() -> list[dict[str, Any]]:
            return [{"status": {"id": f"m{number}"}} for number in range(3)]

        def posted_by(request: StatusDelivery) -> list[str]:
            self.flow.posted.clear()
            self.run_now(request.prepare())
            self.run_now(request.post())
            return [payload["status"]["id"] for _, payload in self.flow.posted]

        self.flow.statuses = statuses
        refused = TurnResponse(status=503, error=None, wait=None, detail="")
        self.flow.answers = [OK, refused]
        self.assertEqual(posted_by(self.status(redelivered=False)), ["m0", "m1"])
        self.flow.answers = [refused]
        self.assertEqual(posted_by(self.status()), ["m1"])
        self.assertEqual(posted_by(self.status()), ["m1", "m2"])
        self.assertEqual(posted_by(self.status()), ["m2"], "whether Turn has all of them is not known here")
        self.assertEqual(posted_by(self.status("e2")), ["m0", "m1", "m2"], "another event")
        self.assertEqual(posted_by(self.status("e3", redelivered=False)), ["m0", "m1", "m2"], "a first delivery")

    def test_one_of_several_that_turn_does_not_take(self) -> None:
        """A status that Turn refuses, or fails on, keeps the others of the same event from nothing."""

        async def statuses() -> list[dict[str, Any]]:
            return [{"status": {"id": f"m{number}"}} for number in range(3)]

        def posted_by(request: StatusDelivery) -> tuple[list[str], Any]:
            self.flow.posted.clear()
            self.run_now(request.prepare())
            answer = self.run_now(request.post())
            return [payload["status"]["id"] for _, payload in self.flow.posted], answer.status

        self.flow.statuses = statuses
        for number, status in enumerate((400, 500, 404)):
            with case(status=status):
                bad = TurnResponse(status=status, error=None, wait=None, detail="")
                away = TurnResponse(status=503, error=None, wait=None, detail="")
                request = self.status(f"e{number}", redelivered=False)
                self.flow.answers = [bad, away]
                self.assertEqual(posted_by(request), (["m0", "m1"], 503))
                self.flow.answers = [OK, OK, bad]
                self.assertEqual(posted_by(request), (["m1", "m2", "m0"], status))
                self.assertEqual(posted_by(self.status(f"e{number}")), (["m0"], 200), "replayed")
        for number, answers in enumerate(((400, 500), (500, 400))):
            with case(answers=answers):
                self.flow.answers = [TurnResponse(status=status) for status in answers]
                request = self.status(f"f{number}", redelivered=False)
                self.assertEqual(posted_by(request), (["m0", "m1", "m2"], 500), "not refused for good")

    def test_nothing(self) -> None:
        """Where Turn has nothing to hear of, nothing is sent."""

        async def statuses() -> list[dict[str, Any]]:
            return []

        self.flow.statuses = statuses
        request = self.status()
        self.run_now(request.prepare())
        self.assertIs(request.result, Result.NOTHING)
