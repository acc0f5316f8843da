"""The bridge's three flows, from queue to Turn and back, in memory."""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.channels_api import TurnChannelsApi
from vumi_turn.turn.client import Answer
from vumi_turn.turn.errors import ApiUsageError, BrokerUnavailableError, MessageNotFound
from vumi_turn.turn.payloads import OutboundRequest
from vumi_turn.vumi.memory_broker import MemoryBroker
from vumi_turn.vumi.message import FailureMessage, TransportEvent, TransportUserMessage

log = Logger()

CONFIG = {
    "connector_name": "c",
    "http_bind": "127.0.0.1:8080",
    "turn_api_url": "https://turn.example/v1/numbers/1",
    "default_from_addr": "8864",
    "auth_token": "a-token",
    "turn_hmac_secret": "a-secret",
    "max_retries": 0,
}

OK = Answer(status=200, error=None, wait=None, detail="")


class FakeTurn:
    """Records what is POSTed; answers 200, or what the test has put in ``answers``."""

    rate_limit = rate_limit_remaining = None

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.answers: list[Any] = []

    async def post_message(self, payload: dict[str, Any]) -> Answer:
        self.messages.append(payload)
        return await self._answer()

    async def post_status(self, payload: dict[str, Any]) -> Answer:
        self.statuses.append(payload)
        return await self._answer()

    async def _answer(self) -> Answer:
        answer = self.answers.pop(0) if self.answers else OK
        return await answer if isinstance(answer, Deferred) else answer

    async def close(self) -> None:
        pass


class Worker(TurnChannelsApi):
    """The bridge with a fake Turn."""

    def make_turn_client(self) -> Any:
        self.fake_turn = FakeTurn()
        return self.fake_turn


def inbound(**fields: Any) -> TransportUserMessage:
    """A person's SMS."""
    values = {
        "to_addr": "8864",
        "from_addr": "+26612345678",
        "content": "Hello",
        "transport_name": "c",
        "transport_type": "sms",
        "transport_metadata": {"session": "s1"},
        "message_id": "0123456789abcdef0123456789abcdef",
    }
    values.update(fields)
    return TransportUserMessage.send(values.pop("to_addr"), values.pop("content"), **values)


def request(**fields: Any) -> OutboundRequest:
    """What Turn POSTs."""
    values: dict[str, Any] = {
        "to": "+26612345678",
        "from_addr": None,
        "reply_to": None,
        "content": "Hi",
        "waiting_for_user_input": False,
    }
    values.update(fields)
    return OutboundRequest(**values)


class BridgeCase(SynchronousTestCase):
    """A started worker on a broker in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.broker = MemoryBroker(self.reactor)
        self.worker = self.start()
        self.turn = self.worker.fake_turn

    def start(self, **options: Any) -> Worker:
        worker = Worker({**CONFIG, **options}, broker=self.broker, reactor=self.reactor)
        worker.startService()
        self.addCleanup(self.stop, worker)
        self.turns()
        return worker

    def stop(self, worker: Worker) -> None:
        stopped = worker.stopService()
        for _ in range(100):
            if stopped.called:
                break
            self.reactor.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def turns(self, count: int = 10) -> None:
        """Let the broker deliver and confirm."""
        for _ in range(count):
            self.reactor.advance(0)

    def push(self, queue: str, message: Any) -> None:
        body = message if isinstance(message, bytes) else message.to_json()
        self.broker.push(f"c.{queue}", body)
        self.turns()

    def queue(self, name: str) -> list[bytes]:
        return self.broker.queue_contents(f"c.{name}")

    def parked(self) -> list[FailureMessage]:
        return [FailureMessage.from_json(body) for body in self.queue("turn_failures")]

    def outbound(self, outbound_request: OutboundRequest, message_id: str = "m1") -> TransportUserMessage:
        """Build and publish, as the webhook does."""
        message = self.successResultOf(
            Deferred.fromCoroutine(self.worker.build_outbound(outbound_request, message_id))
        )
        published = Deferred.fromCoroutine(self.worker.publish_outbound(message))
        self.turns()
        self.successResultOf(published)
        return message


class InboundTests(BridgeCase):
    def test_delivered(self) -> None:
        """A person's message is POSTed to Turn and then acknowledged."""
        self.push("inbound", inbound())
        self.assertEqual(len(self.turn.messages), 1)
        self.assertEqual(self.turn.messages[0]["message"]["text"], {"body": "Hello"})
        self.assertEqual(self.turn.messages[0]["message"]["id"], "0123456789abcdef0123456789abcdef")
        self.assertEqual(self.queue("inbound"), [])

    def test_acknowledged_after_the_answer(self) -> None:
        """As long as Turn has not answered, the message is still the broker's."""
        answer: Deferred[Answer] = Deferred()
        self.turn.answers = [answer]
        self.push("inbound", inbound())
        self.assertEqual(len(self.queue("inbound")), 1)
        answer.callback(OK)
        self.turns()
        self.assertEqual(self.queue("inbound"), [])

    def test_known_before_turn_answers(self) -> None:
        """Turn may answer a message inside the POST that brings it."""
        answer: Deferred[Answer] = Deferred()
        self.turn.answers = [answer]
        message = inbound()
        self.push("inbound", message)
        reply = self.outbound(request(reply_to=message.message_id))
        self.assertEqual(reply.in_reply_to, message.message_id)
        answer.callback(OK)

    def test_empty_text(self) -> None:
        """A USSD session that starts without content is forwarded with the address that was dialled."""
        self.push("inbound", inbound(content=None, session_event="new", to_addr="*120*8864#"))
        self.assertEqual(self.turn.messages[0]["message"]["text"], {"body": "*120*8864#"})

    def test_empty_close(self) -> None:
        """The end of a session without a word is not for Turn, but no reply goes to that session any more."""
        self.push("inbound", inbound(session_event="new"))
        self.push("inbound", inbound(message_id="b" * 32, content=None, session_event="close"))
        self.assertEqual(len(self.turn.messages), 1)
        self.assertEqual(self.queue("inbound"), [])
        self.assertIsNone(self.outbound(request()).in_reply_to)

    def test_close_with_content(self) -> None:
        """What a person says while ending a session is forwarded."""
        self.push("inbound", inbound(content="bye", session_event="close"))
        self.assertEqual(self.turn.messages[0]["message"]["text"], {"body": "bye"})

    def test_refused_is_parked(self) -> None:
        """A message that Turn refuses is parked whole, with the reason, and acknowledged."""
        self.turn.answers = [Answer(status=400, error=None, wait=None, detail="")]
        message = inbound()
        self.push("inbound", message)
        (failure,) = self.parked()
        self.assertEqual(failure.failure_code, "permanent")
        self.assertEqual(failure.message, message.to_dict())
        turn = failure.helper_metadata["turn"]
        self.assertEqual((turn["queue"], turn["attempts"], turn["last_status"]), ("inbound", 1, 400))
        self.assertEqual(self.queue("inbound"), [])

    def test_junk_is_parked(self) -> None:
        """What is no vumi message is parked as its text, and the next one is delivered."""
        junk = [b"not JSON", b"[]", b"{}", b"null", b"\xff\xfe"]
        for body in junk:
            self.push("inbound", body)
        self.push("inbound", inbound())
        self.assertEqual(len(self.parked()), len(junk))
        self.assertEqual([f.failure_code for f in self.parked()], ["permanent"] * len(junk))
        self.assertEqual(self.parked()[4].message, "\udcff\udcfe")
        self.assertEqual(len(self.turn.messages), 1)

    def test_nobody(self) -> None:
        """A message that came from no address is parked: Turn could not say whose it is."""
        self.push("inbound", inbound(from_addr=None))
        self.assertEqual(self.turn.messages, [])
        self.assertIn("from_addr", self.parked()[0].reason)

    def test_stale_session(self) -> None:
        """With max_message_age an old message of a session is parked, an old SMS is delivered."""
        self.stop(self.worker)
        self.broker = MemoryBroker(self.reactor)
        self.worker = self.start(max_message_age=60)
        self.reactor.advance(2_000_000_000)  # long after the messages were made
        self.push("inbound", inbound(session_event="resume"))
        self.push("inbound", inbound(message_id="b" * 32))
        self.assertEqual(len(self.parked()), 1)
        self.assertEqual(len(self.worker.fake_turn.messages), 1)


class EventTests(BridgeCase):
    def test_linked_by_user_message_id(self) -> None:
        """A status names our message's id, whatever the provider's id is, and whom the message went to."""
        message = self.outbound(request(), message_id="m1")
        self.push("event", TransportEvent(user_message_id="m1", event_type="ack", sent_message_id="p9"))
        status = self.turn.statuses[0]["status"]
        self.assertEqual((status["id"], status["status"]), ("m1", "sent"))
        self.assertEqual(status["recipient_id"], message.to_addr)
        self.assertEqual(self.queue("event"), [])

    def test_unknown_message(self) -> None:
        """A status of a message that the cache does not know goes without a recipient."""
        self.push("event", TransportEvent(user_message_id="gone", event_type="nack", nack_reason="no"))
        status = self.turn.statuses[0]["status"]
        self.assertEqual((status["id"], status["status"]), ("gone", "failed"))
        self.assertNotIn("recipient_id", status)

    def test_junk_is_parked(self) -> None:
        """What is no event is parked as one that came from the event queue."""
        self.push("event", b"{}")
        self.assertEqual(self.parked()[0].helper_metadata["turn"]["queue"], "event")


class OutboundTests(BridgeCase):
    def refused(self, outbound_request: OutboundRequest, error: type[Exception]) -> Exception:
        building = Deferred.fromCoroutine(self.worker.build_outbound(outbound_request, "m1"))
        return self.failureResultOf(building, error).value

    def published(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.queue("outbound")]

    def test_new_message(self) -> None:
        """Without anything to reply to it is a new message from the default sender."""
        self.outbound(request())
        (sent,) = self.published()
        self.assertEqual((sent["to_addr"], sent["from_addr"], sent["content"]), ("+26612345678", "8864", "Hi"))
        self.assertEqual((sent["transport_name"], sent["transport_type"]), ("c", "sms"))
        self.assertEqual((sent["message_id"], sent["in_reply_to"]), ("m1", None))
        self.assertEqual(sent["session_event"], "close")

    def test_from(self) -> None:
        """Turn may say who sends a new message."""
        self.assertEqual(self.outbound(request(from_addr="9999")).from_addr, "9999")

    def test_reply_to_the_last(self) -> None:
        """It answers the person's last message, on the transport and in the session of that."""
        message = inbound(session_event="new", transport_type="ussd", to_addr="*120#")
        self.push("inbound", message)
        sent = self.outbound(request(to="26612345678", waiting_for_user_input=True, from_addr="9999"))
        self.assertEqual((sent.in_reply_to, sent.from_addr), (message.message_id, "*120#"))
        self.assertEqual((sent.transport_type, sent.transport_metadata), ("ussd", {"session": "s1"}))
        self.assertEqual(sent.session_event, "resume")

    def test_close_ends_the_session(self) -> None:
        """After a confirmed close the next message to the person is a new one."""
        self.push("inbound", inbound(session_event="new"))
        self.assertIsNotNone(self.outbound(request()).in_reply_to)
        self.assertIsNone(self.outbound(request(), message_id="m2").in_reply_to)

    def test_close_that_the_cache_fails_on(self) -> None:
        """What the broker has confirmed is published, whatever the cache then does."""
        self.push("inbound", inbound(session_event="new"))

        async def fail(*args: Any) -> None:
            raise ZeroDivisionError("a cache's bug")

        self.worker.cache.close_session = fail  # type: ignore[method-assign]
        self.outbound(request())
        self.assertEqual(len(self.published()), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_unknown_reply_to(self) -> None:
        """A reply to what is not known, or no longer, is 404."""
        self.refused(request(reply_to="nothing"), MessageNotFound)

    def test_reply_to_another_person(self) -> None:
        """A reply goes to the person whose message it answers."""
        message = inbound()
        self.push("inbound", message)
        error = self.refused(request(to="+999", reply_to=message.message_id), ApiUsageError)
        self.assertIn("reply_to", str(error))

    def test_cache_away(self) -> None:
        """With the cache away a reply_to is 503, and what names none goes out unlinked."""
        from vumi_turn.caches import CacheUnavailable

        async def away(*args: Any) -> Optional[TransportUserMessage]:
            raise CacheUnavailable("away")

        self.worker.cache.get_inbound = away  # type: ignore[method-assign]
        self.worker.cache.get_last_inbound = away  # type: ignore[method-assign]
        self.refused(request(reply_to="x"), BrokerUnavailableError)
        self.assertIsNone(self.outbound(request()).in_reply_to)
