"""The bridge's three flows, from queue to Turn and back, in memory."""

from __future__ import annotations

import errno
import json
import re
from typing import Any, Optional
from unittest import mock

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogEvent, Logger, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.http.case import Client
from tests.http.case import request as web_request
from tests.http.resolving import ResolvingReactor
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.caches import CacheUnavailable
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.channel.outgoing import Outgoing
from vumi_turn.channel.worker import TurnChannelsApi
from vumi_turn.http.errors import ApiUsageError
from vumi_turn.turn.client import TurnResponse
from vumi_turn.turn.errors import CacheUnavailableError, MessageNotFound
from vumi_turn.turn.payloads import OutboundRequest
from vumi_turn.vumi.messages import FailureMessage, TransportEvent, TransportUserMessage
from vumi_turn.vumi.middleware import BaseMiddleware

log = Logger()

CONFIG = {
    "connector_name": "c",
    "http_bind": "127.0.0.1:8080",
    "turn_api_url": "https://turn.example/v1/numbers/1",
    "default_from_addr": "8864",
    "auth_token": "a-token",
    "turn_hmac_secret": "a-secret",
    "max_retries": 0,
    "join_window": 0,
}

OK = TurnResponse(status=200, error=None, wait=None, detail="")


class FakeTurn:
    """Records what is POSTed; answers 200, or what the test has put in ``answers``."""

    rate_limit = rate_limit_remaining = None

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.answers: list[Any] = []

    async def post_message(self, payload: dict[str, Any]) -> TurnResponse:
        self.messages.append(payload)
        return await self._answer()

    async def post_status(self, payload: dict[str, Any]) -> TurnResponse:
        self.statuses.append(payload)
        return await self._answer()

    async def _answer(self) -> TurnResponse:
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
    values: dict[str, Any] = {
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
        "text": "Hi",
        "waiting_for_user_input": False,
    }
    values.update(fields)
    return OutboundRequest(**values)


class BridgeCase(SynchronousTestCase):
    """A started worker on a broker in memory."""

    def setUp(self) -> None:
        self.reactor = ResolvingReactor()
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
        outgoing = self.successResultOf(
            Deferred.fromCoroutine(self.worker.channel.build_outbound(outbound_request, message_id))
        )
        published = Deferred.fromCoroutine(self.worker.channel.publish_outbound(outgoing))
        self.turns()
        self.successResultOf(published)
        assert isinstance(outgoing, Outgoing)
        return outgoing.message


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
        answer: Deferred[TurnResponse] = Deferred()
        self.turn.answers = [answer]
        self.push("inbound", inbound())
        self.assertEqual(len(self.queue("inbound")), 1)
        answer.callback(OK)
        self.turns()
        self.assertEqual(self.queue("inbound"), [])

    def test_known_before_turn_answers(self) -> None:
        """Turn may answer a message inside the POST that brings it."""
        answer: Deferred[TurnResponse] = Deferred()
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
        for number, content in enumerate((None, " ", "\0")):
            self.push("inbound", inbound(message_id=f"{number:032x}", content=content, session_event="close"))
        self.assertEqual(len(self.turn.messages), 1)
        self.assertEqual(self.queue("inbound"), [])
        self.assertIsNone(self.outbound(request()).in_reply_to)

    def test_close_that_the_cache_fails_on(self) -> None:
        """It is parked, and counted as one message."""

        async def fail(*args: Any, **kwargs: Any) -> None:
            raise ZeroDivisionError("a cache's bug")

        self.worker.cache.add_inbound = fail  # type: ignore[method-assign]
        self.push("inbound", inbound(content=None, session_event="close"))
        self.assertEqual(len(self.parked()), 1)
        assert self.worker.host is not None
        self.assertIn(
            b'vumi_turn_consumed_total{connector="c",kind="message"} 1.0', self.worker.host.management.metrics.render()
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_close_with_content(self) -> None:
        """What a person says while ending a session is forwarded."""
        self.push("inbound", inbound(content="bye", session_event="close"))
        self.assertEqual(self.turn.messages[0]["message"]["text"], {"body": "bye"})

    def test_refused_is_parked(self) -> None:
        """A message that Turn refuses is parked whole, with the reason, and acknowledged."""
        self.turn.answers = [TurnResponse(status=400, error=None, wait=None, detail="")]
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

    def test_one_person_delays_nobody(self) -> None:
        """What waits behind its own person's message does not use up the prefetch."""
        hanging: Deferred[TurnResponse] = Deferred()
        self.turn.answers = [hanging]
        for number in range(50):
            self.push("inbound", inbound(message_id=f"{number:032}"))
        self.push("inbound", inbound(from_addr="+26622222222"))
        self.assertEqual([m["message"]["from"] for m in self.turn.messages], ["+26612345678", "+26622222222"])
        hanging.callback(OK)
        self.turns()
        self.assertEqual(len(self.turn.messages), 51)


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

    def test_cache_away_for_a_status(self) -> None:
        """With the cache away a status goes without its recipient."""

        async def away(*args: Any) -> Optional[str]:
            raise CacheUnavailable("away")

        self.worker.cache.get_recipient = away  # type: ignore[method-assign, assignment]
        self.push("event", TransportEvent(user_message_id="m1", event_type="ack", sent_message_id="p9"))
        self.assertNotIn("recipient_id", self.turn.statuses[0]["status"])
        self.assertEqual(self.queue("event"), [])

    def test_junk_is_parked(self) -> None:
        """What is no event is parked as one that came from the event queue."""
        self.push("event", b"{}")
        self.assertEqual(self.parked()[0].helper_metadata["turn"]["queue"], "event")


class OutboundTests(BridgeCase):
    def refused(self, outbound_request: OutboundRequest, error: type[Exception]) -> Any:
        building = Deferred.fromCoroutine(self.worker.channel.build_outbound(outbound_request, "m1"))
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

    def test_close_leaves_a_session_opened_meanwhile(self) -> None:
        """What is published late, after a failure of the broker's, ends the session it answers and no newer one."""
        self.push("inbound", inbound(session_event="new"))
        built = Deferred.fromCoroutine(self.worker.channel.build_outbound(request(), "m1"))
        self.push("inbound", inbound(message_id="b" * 32, session_event="new"))
        published = Deferred.fromCoroutine(self.worker.channel.publish_outbound(self.successResultOf(built)))
        self.turns()
        self.successResultOf(published)
        self.assertEqual(self.outbound(request(), message_id="m2").in_reply_to, "b" * 32)

    def test_close_that_answers_none_ends_none(self) -> None:
        """A message that answers none leaves the session that was opened before it was published."""
        built = Deferred.fromCoroutine(self.worker.channel.build_outbound(request(), "m1"))
        self.push("inbound", inbound(session_event="new"))
        published = Deferred.fromCoroutine(self.worker.channel.publish_outbound(self.successResultOf(built)))
        self.turns()
        self.successResultOf(published)
        self.assertIsNotNone(self.outbound(request(), message_id="m2").in_reply_to)

    def test_close_that_answers_an_earlier_message(self) -> None:
        """The session ends too where an earlier message of it is the one that is answered."""
        first = inbound(session_event="new")
        self.push("inbound", first)
        self.push("inbound", inbound(message_id="b" * 32, session_event="resume"))
        self.outbound(request(reply_to=first.message_id))
        self.assertIsNone(self.outbound(request(), message_id="m2").in_reply_to)

    def test_close_that_the_cache_fails_on(self) -> None:
        """What the broker has confirmed is published, whatever the cache then does."""
        self.push("inbound", inbound(session_event="new"))

        async def fail(*args: Any, **kwargs: Any) -> None:
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
        """What the cache cannot say now is 503, so that Turn asks again: the named message and the last one."""

        async def away(*args: Any) -> Optional[TransportUserMessage]:
            raise CacheUnavailable("away")

        self.worker.cache.get_inbound = away  # type: ignore[method-assign, assignment]
        self.worker.cache.get_last_inbound = away  # type: ignore[method-assign, assignment]
        for asked in (request(reply_to="x"), request()):
            error = self.refused(asked, CacheUnavailableError)
            self.assertEqual((error.status, error.title), (503, "BrokerUnavailable"))
            self.assertIn("Retry-After", error.headers)


class BrokenMiddleware(BaseMiddleware):
    """Fails on what it is given."""

    def handle_inbound(self, message: Any, connector_name: str) -> Any:
        raise ZeroDivisionError("marker")

    def handle_event(self, event: Any, connector_name: str) -> Any:
        raise ZeroDivisionError("marker")


class OwnTroubleTests(BridgeCase):
    """What becomes of messages on which this side fails."""

    def setUp(self) -> None:
        super().setUp()
        self.stop(self.worker)
        self.broker = MemoryBroker(self.reactor)
        self.worker = self.start(middleware=[{"broken": f"{__name__}.BrokenMiddleware"}])
        self.turn = self.worker.fake_turn

    def test_parked(self) -> None:
        """A message or event on which a middleware fails is parked as it came; the log has the same id."""
        lines: list[str] = []

        def observe(event: LogEvent) -> None:
            if "log_failure" in event:
                lines.append(formatEvent(event))

        observer: Any = observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        message = inbound()
        event = TransportEvent(user_message_id="m1", event_type="ack", sent_message_id="p9")
        self.push("inbound", message)
        self.push("event", event)
        self.assertEqual((self.turn.messages, self.turn.statuses), ([], []))
        self.assertEqual((self.queue("inbound"), self.queue("event")), ([], []))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        for parked, original, queue, line in zip(
            self.parked(), (message, event), ("inbound", "event"), lines, strict=True
        ):
            self.assertEqual(parked.message, json.loads(original.to_json()))
            self.assertEqual((parked.failure_code, parked.helper_metadata["turn"]["queue"]), ("temporary", queue))
            (error_id,) = re.findall("[0-9a-f]{32}", parked.reason)
            self.assertIn(error_id, line)
            self.assertIn(f"c.{queue}", line)
            self.assertNotIn("marker", parked.reason)

    def test_health(self) -> None:
        """It is no trouble of the broker's, of Turn's or of the cache's."""
        self.push("inbound", inbound())
        report = self.worker.report_health()
        self.assertEqual((report["health"], set(report["components"])), ("ok", {"amqp", "turn", "cache", "parking"}))
        self.flushLoggedErrors(ZeroDivisionError)


class ListeningTests(BridgeCase):
    """Where the worker listens, and for what."""

    def statuses(self, port: int) -> dict[str, int]:
        """What each path is answered at a port."""
        site: Any
        (site,) = [server[1] for server in self.reactor.tcpServers if server[0] == port]
        found = {}
        for path in ("/health", "/metrics", "/messages", "/x"):
            client = Client(site)
            client.send(web_request("GET", path))
            found[path] = client.response().status
            client.leave()
        return found

    def test_one_address(self) -> None:
        """``/health`` and ``/metrics`` are beside ``/messages``."""
        self.assertEqual([(server[0], server[3]) for server in self.reactor.tcpServers], [(8080, "127.0.0.1")])
        self.assertEqual(self.statuses(8080), {"/health": 200, "/metrics": 200, "/messages": 405, "/x": 404})

    def test_two_addresses(self) -> None:
        """With ``management_bind`` they have an address of their own, and leave the other."""
        self.stop(self.worker)
        self.reactor.tcpServers.clear()
        self.broker = MemoryBroker(self.reactor)
        self.worker = self.start(management_bind="127.0.0.2:9000")
        self.assertEqual(
            sorted((server[0], server[3]) for server in self.reactor.tcpServers),
            [(8080, "127.0.0.1"), (9000, "127.0.0.2")],
        )
        self.assertEqual(self.statuses(8080), {"/health": 404, "/metrics": 404, "/messages": 405, "/x": 404})
        self.assertEqual(self.statuses(9000), {"/health": 200, "/metrics": 200, "/messages": 404, "/x": 404})


class SlowCache(MemoryMessageCache):
    """Notes when it is let go."""

    ready = succeed(None)
    stopped = 0

    async def start(self) -> None:
        await self.ready

    async def stop(self) -> None:
        type(self).stopped += 1


class BrokenStartTests(SynchronousTestCase):
    """A start that fails, or is broken off, leaves no connection of the cache's behind."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.patch(SlowCache, "stopped", 0)
        self.ended: list[None] = []

    def start(self) -> Worker:
        worker = Worker(
            {**CONFIG, "message_cache_class": SlowCache},
            broker=MemoryBroker(self.reactor),
            reactor=self.reactor,
            fatal=lambda: self.ended.append(None),
        )
        worker.startService()
        return worker

    def test_port_taken(self) -> None:
        """The port is another program's."""
        error = CannotListenError("127.0.0.1", 8080, OSError(errno.EADDRINUSE, "in use"))
        self.patch(self.reactor, "listenTCP", mock.Mock(side_effect=error))
        worker = self.start()
        self.assertEqual((len(self.ended), SlowCache.stopped), (1, 1))
        self.successResultOf(worker.stopService())

    def test_stopped_meanwhile(self) -> None:
        """The worker is stopped while the cache gets ready."""
        self.patch(SlowCache, "ready", Deferred())
        worker = self.start()
        self.assertEqual(SlowCache.stopped, 0)
        self.successResultOf(worker.stopService())
        self.assertEqual((len(self.ended), SlowCache.stopped), (0, 1))


class ClientTests(BridgeCase):
    def start(self, **options: Any) -> Any:
        return super().start(turn_api_url="http://turn.example:4000/v1/numbers/1", **options)

    def test_turn_client(self) -> None:
        """What POSTs to Turn goes to the configured URL with the configured token."""
        client = TurnChannelsApi.make_turn_client(self.worker)
        done = Deferred.fromCoroutine(client.post_message({"x": 1}))
        ((_, port, factory, *_),) = self.reactor.tcpClients
        self.assertEqual(port, 4000)
        transport = StringTransport()
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 4000))
        protocol.makeConnection(transport)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        lines = [line.lower() for line in head.split(b"\r\n")]
        self.assertEqual(lines[0], b"post /v1/numbers/1/messages http/1.1")
        self.assertIn(b"authorization: bearer a-token", lines)
        self.assertIn(b"host: turn.example:4000", lines)
        self.assertEqual(body, b'{"x":1}')
        done.cancel()
        self.assertEqual(self.successResultOf(done).error, "lost")
