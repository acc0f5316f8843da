"""The helper for tests of whole channels."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.testing import ChannelHelper, TurnFaults, VumiTestCase
from vumi_turn.testing.reactor import ReactorInMemory
from vumi_turn.vumi.messages import FailureMessage

THANDI = "+41791234567"


class ChannelCase(VumiTestCase):
    def start(self, config: Any = None, **given: Any) -> ChannelHelper:
        """A helper with its channel."""
        helper = self.add_helper(ChannelHelper(**given))
        self.successResultOf(helper.get_channel(config))
        return helper


def _content_of(failure: FailureMessage) -> Any:
    original: Any = failure.message
    return original["content"]


class ToTurnTests(ChannelCase):
    async def test_strict(self) -> None:
        """What comes to Turn is a POST of the Channels API, which the simulated Turn has judged."""
        helper = self.start()
        message = await helper.make_dispatch_inbound("Hello")
        [posted] = helper.get_turn_requests("message")
        self.assertEqual((posted["id"], posted["text"]["body"]), (message.message_id, "Hello"))
        [record] = helper.turn.api.records
        self.assertEqual((record.status, record.kind), (200, "message"))

    async def test_wrong_token(self) -> None:
        """Turn refuses another token: nothing comes through, nothing is parked, and it is tried again."""
        helper = self.start({"auth_token": "another"})
        await helper.make_dispatch_inbound("Hello")
        await helper.advance(5)
        self.assertEqual((helper.get_conversation(), helper.get_parked()), ([], []))
        self.assertEqual({record.status for record in helper.turn.api.records}, {401})
        self.assertGreater(len(helper.turn.api.records), 1)

    async def test_retries(self) -> None:
        """Faults that are given one by one are those of one request each; the message comes once."""
        helper = self.start()
        helper.set_turn_faults(TurnFaults(mode="down"), TurnFaults(mode="error", status=503), TurnFaults(mode="hang"))
        await helper.make_dispatch_inbound("Hello")
        await helper.advance(120)
        self.assertEqual([record.status for record in helper.turn.api.records], [None, 503, None, 200])
        self.assertEqual([entry.text for entry in helper.get_conversation()], ["Hello"])

    async def test_rate_limit(self) -> None:
        """Turn's rate limit is kept by the channel: the third of two a minute comes a minute later."""
        helper = self.start(calls=2)
        for number in range(3):
            await helper.make_dispatch_inbound(f"{number}", from_addr=f"+2661234567{number}")
        self.assertEqual(len(helper.turn.conversations()), 2)
        await helper.advance(61)
        self.assertEqual(len(helper.turn.conversations()), 3)

    async def test_parked(self) -> None:
        """What Turn refuses is parked with the original message."""
        helper = self.start()
        helper.set_turn_faults(TurnFaults(mode="error", status=422, only="message"))
        await helper.make_dispatch_inbound("Take this")
        [failure] = helper.get_parked()
        self.assertEqual(_content_of(failure), "Take this")
        self.assertIn("422", failure.reason)


class FromTurnTests(ChannelCase):
    async def test_session(self) -> None:
        """An answer that waits keeps the person's USSD session open, the next one ends it; it is signed."""
        helper = self.start(transport_type="ussd")
        await helper.make_dispatch_inbound(None, session_event="new")
        await helper.turn_sends("Your name?", waiting=True)
        await helper.make_dispatch_inbound("Thandi", session_event="resume")
        await helper.turn_sends("Hello Thandi!")
        await helper.advance(1)  # join_window: it waits for what may follow
        found = [(message.content, message.session_event) for message in helper.get_dispatched_outbound()]
        self.assertEqual(found, [("Your name?", "resume"), ("Hello Thandi!", "close")])

    async def test_statuses(self) -> None:
        """Statuses come to the line of the conversation that they are about."""
        helper = self.start()
        entry = await helper.turn_sends("Hello")
        [message] = helper.get_dispatched_outbound()
        self.assertEqual((message.to_addr, message.from_addr, message.message_id), (THANDI, "9292", entry.id))
        await helper.make_dispatch_nack(message)
        [status] = helper.get_turn_requests("status")
        self.assertEqual((status["status"], status["recipient_id"]), ("failed", THANDI))
        self.assertEqual((entry.statuses, entry.error), (["failed"], None))

    async def test_refused(self) -> None:
        """An answer to a message that nobody knows says why the channel did not take it."""
        helper = self.start()
        entry = await helper.turn_sends("Hello", reply_to="unknown")
        self.assertIn("404", entry.error or "")
        self.assertEqual(helper.get_dispatched_outbound(), [])

    async def test_repeats(self) -> None:
        """Without a broker Turn is answered 503 and repeats, which takes time; the message goes out once."""
        helper = self.add_helper(ChannelHelper())
        worker_broker: Any = self.successResultOf(helper.get_channel()).broker
        worker_broker.go_away()
        sent = helper.turn_sends("Hello", repeats=True)
        helper.advance(5)
        self.assertNoResult(sent)
        worker_broker.come_back()
        helper.advance(30)
        self.assertEqual((await sent).error, None)
        self.assertEqual([each.content for each in helper.get_dispatched_outbound()], ["Hello"])

    async def test_answers_inside(self) -> None:
        """Turn may answer before it has answered the channel."""
        helper = self.start()
        answers: list[Deferred[Any]] = []
        helper.turn.on_message = lambda address, message, said: answers.append(helper.turn_sends(f"You said {said}"))
        await helper.make_dispatch_inbound("Hello")
        self.assertEqual([each.content for each in helper.get_dispatched_outbound()], ["You said Hello"])
        self.assertEqual(self.successResultOf(answers[0]).id, helper.get_dispatched_outbound()[0].message_id)

    async def test_path(self) -> None:
        """Turn POSTs to the channel's own path."""
        helper = self.start({"vumi_api_path": "/ussd/1"})
        self.assertEqual((await helper.turn_sends("Hello")).error, None)


class StartTests(ChannelCase):
    def test_wrong_options(self) -> None:
        """Wrong options are said as at a real start."""
        helper = self.add_helper(ChannelHelper())
        failure = self.failureResultOf(helper.get_channel({"max_retries": "many", "default_from_addr": ""}))
        self.assertIsInstance(failure.value, ConfigErrors)

    async def test_ends(self) -> None:
        """After the test nothing is scheduled, and nothing listens."""
        helper = ChannelHelper()
        helper.setup()
        await helper.get_channel()
        helper.set_turn_faults(TurnFaults(mode="hang"))
        await helper.make_dispatch_inbound("Hello")
        helper.turn_sends("Hello", repeats=True)
        await helper.cleanup()
        self.assertEqual([call for call in helper.clock.getDelayedCalls() if call.active()], [])
        self.assertFalse(helper.clock.is_listening)


class Echo(Protocol):
    """Says again what it hears, and hangs up after a full stop."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)
        if data.endswith(b"."):
            self.transport.loseConnection()


class Client(Protocol):
    """Says something, and remembers what it hears, and its end."""

    transport: Any

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.ended = False

    def connectionMade(self) -> None:
        self.transport.write(b"Hello.")

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.ended = True


class ClientFactory(Factory):
    """Makes one client, and remembers why it could not connect."""

    def __init__(self) -> None:
        self.client = Client()
        self.failure: Any = None

    def startedConnecting(self, connector: Any) -> None:
        """It begins."""

    def buildProtocol(self, address: Any) -> Client:
        return self.client

    def clientConnectionFailed(self, connector: Any, failure: Any) -> None:
        self.failure = failure


class ReactorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = ReactorInMemory()
        self.factory = ClientFactory()

    def test_connects(self) -> None:
        """What connects to what listens speaks with it; nothing happens inside the call."""
        port = self.reactor.listenTCP(0, Factory.forProtocol(Echo))
        self.reactor.connectTCP("127.0.0.1", port.getHost().port, self.factory)
        self.assertIsNone(self.factory.client.transport)
        self.reactor.advance(0)
        self.assertTrue(self.reactor.flush())
        self.assertEqual((self.factory.client.heard, self.factory.client.ended), ([b"Hello."], True))
        self.assertFalse(self.reactor.flush())

    def test_refused(self) -> None:
        """Where nobody listens, or not any more, it is refused."""
        port = self.reactor.listenTCP(8080, Factory.forProtocol(Echo))
        port.stopListening()
        self.reactor.connectTCP("127.0.0.1", 8080, self.factory)
        self.reactor.advance(0)
        self.assertTrue(self.factory.failure.check(ConnectionRefusedError))

    def test_given_up(self) -> None:
        """Who has given up is not connected."""
        self.reactor.listenTCP(8080, Factory.forProtocol(Echo))
        self.reactor.connectTCP("127.0.0.1", 8080, self.factory).stopConnecting()
        self.reactor.advance(0)
        self.assertEqual((self.factory.client.transport, self.factory.failure), (None, None))
