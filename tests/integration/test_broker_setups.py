"""RabbitMQs that are set up in other ways than usual: rights, kinds of queues, limits, slow links."""

from __future__ import annotations

import uuid
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from tests.integration.amqp_lab import Proxy, until
from tests.integration.amqp_peer import AmqpPeer
from tests.integration.rabbitmq import RabbitMQ, parameters, shared_rabbitmq
from vumi_turn.broker.amqp import AmqpBroker, ConnectionParameters
from vumi_turn.broker.amqp.inspector import BrokerInspector
from vumi_turn.broker.interface import BrokerState, Delivery, Outcome

reactor: Any = installed_reactor

VHOST = "/develop"
#: A user whose rights a test chooses.
GUEST = "limited"


class SetupCase(TestCase):
    """A broker, and the node that a test sets up for it."""

    timeout = 180

    def setUp(self) -> None:
        self.node: RabbitMQ = shared_rabbitmq()
        self.name = f"s{uuid.uuid4().hex[:8]}"
        self.queue = f"{self.name}.inbound"
        self.peer = AmqpPeer(self.node.port)
        self.addCleanup(self.peer.close)
        self.brokers: list[AmqpBroker] = []
        self.received: list[Delivery] = []
        self.lines: list[str] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    async def tearDown(self) -> None:  # type: ignore[override]
        for broker in self.brokers:
            await broker.stop(5)

    def observe(self, event: dict[str, Any]) -> None:
        if str(event.get("log_namespace", "")).startswith("vumi_turn.broker.amqp"):
            self.lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    def eval(self, expression: str) -> None:
        self.node.ctl("eval", expression)

    def make(self, **changes: Any) -> AmqpBroker:
        """A broker that consumes the queue, and is started."""
        broker = AmqpBroker(ConnectionParameters(**parameters(self.node, **changes)), reactor)
        self.brokers.append(broker)
        broker.consume(self.queue, self.handle, 20).unpause()
        self.publisher = broker.publisher(self.queue)
        broker.start()
        return broker

    async def handle(self, delivery: Delivery) -> Outcome:
        self.received.append(delivery)
        return Outcome.ACK

    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.received]

    async def connected(self, broker: AmqpBroker, seconds: float = 30) -> None:
        await until(reactor, lambda: broker.state is BrokerState.CONNECTED, seconds, f"connected: {self.lines}")

    async def carries(self, broker: AmqpBroker) -> None:
        """A message goes all the way."""
        await self.connected(broker)
        await self.publisher.publish(b"there")
        await until(reactor, lambda: b"there" in self.bodies())


class RightsTests(SetupCase):
    """A user that may not do everything."""

    def setUp(self) -> None:
        super().setUp()
        self.node.ctl("add_user", GUEST, "secret")
        self.addCleanup(self.node.ctl, "delete_user", GUEST)

    def limited(self, configure: str, write: str = ".*", read: str = ".*") -> AmqpBroker:
        self.node.ctl("set_permissions", "-p", VHOST, GUEST, configure, write, read)
        return self.make(username=GUEST, password="secret")

    async def test_no_configure(self) -> None:
        """Without the right to configure, what others have declared is consumed and published to."""
        self.peer.declare(self.queue)
        broker = self.limited("^$")
        await self.carries(broker)
        self.assertEqual([line for line in self.lines if line.startswith("error")], [])
        self.assertIn("what exists is used", "".join(self.lines))

    async def test_own_queues_only(self) -> None:
        """With the right to configure one's own queues these are made, and bound to the exchange that exists."""
        self.peer.declare("another.inbound")  # the exchange
        await self.carries(self.limited(f"^{self.name}\\."))
        self.assertTrue(self.peer.exists(self.queue))

    async def test_not_there(self) -> None:
        """What may not be made and is not there is said, and consumed as soon as it is there."""
        broker = self.limited("^$")
        await until(reactor, lambda: "404" in broker.reason)
        self.assertIn(self.queue, broker.reason)
        self.peer.declare(self.queue)
        await self.carries(broker)

    async def test_no_read(self) -> None:
        """Without the right to read, the log and the reason say it, and it is tried again."""
        self.peer.declare(self.queue)
        broker = self.limited(".*", read="^$")
        await until(reactor, lambda: "403" in broker.reason)
        self.node.ctl("set_permissions", "-p", VHOST, GUEST, ".*", ".*", ".*")
        # RabbitMQ remembers a channel's rights, so a new one is needed, which it gets.
        await self.carries(broker)


class StreamTests(SetupCase):
    """Streams, which would lose messages without a word."""

    async def refused(self, broker: AmqpBroker, words: str) -> None:
        await until(reactor, lambda: broker.reason)
        self.assertIn(words, broker.reason)
        self.assertIs(broker.state, BrokerState.CONNECTING)
        self.assertEqual(self.received, [])

    async def test_a_stream(self) -> None:
        """A queue that is a stream is refused with RabbitMQ's words."""
        self.peer.channel.queue_declare(self.queue, durable=True, arguments={"x-queue-type": "stream"})
        await self.refused(self.make(), "'x-queue-type'")

    async def test_by_default(self) -> None:
        """A queue that is a stream only because its vhost makes streams is refused too, also by the inspector."""
        vhost = f"/{self.name}"
        self.node.ctl("add_vhost", vhost, "--default-queue-type", "stream")
        self.addCleanup(self.node.ctl, "delete_vhost", vhost)
        self.node.ctl("set_permissions", "-p", vhost, "vumi", ".*", ".*", ".*")
        await self.refused(self.make(vhost=vhost), "it is a stream")
        inspector = BrokerInspector(ConnectionParameters(**parameters(self.node, vhost=vhost)), reactor)
        self.assertIsNone(await inspector.connect())
        found = await inspector.queue(self.queue)
        self.assertEqual(inspector.server[0], "RabbitMQ")
        await inspector.close()
        assert found.refusal is not None
        self.assertIn("it is a stream", found.refusal[1])

    async def test_others_are_not(self) -> None:
        """Classic and quorum queues are consumed, and the inspector takes neither for a stream."""
        await self.carries(self.make())
        vhost = f"/{self.name}"
        self.node.ctl("add_vhost", vhost, "--default-queue-type", "quorum")
        self.addCleanup(self.node.ctl, "delete_vhost", vhost)
        self.node.ctl("set_permissions", "-p", vhost, "vumi", ".*", ".*", ".*")
        self.received.clear()
        await self.carries(self.make(vhost=vhost))
        for where in ({}, {"vhost": vhost}):
            inspector = BrokerInspector(ConnectionParameters(**parameters(self.node, **where)), reactor)
            await inspector.connect()
            self.assertIsNone((await inspector.queue(self.queue)).refusal)
            await inspector.close()


class LimitTests(SetupCase):
    """Limits of the node."""

    async def test_one_channel(self) -> None:
        """A node that allows one channel on a connection is named as that."""
        self.eval("application:set_env(rabbit, channel_max, 1).")
        self.addCleanup(self.eval, "application:set_env(rabbit, channel_max, 2047).")
        broker = self.make()
        broker.consume(self.queue + ".second", self.handle, 1).unpause()
        await until(reactor, lambda: "channel_max" in broker.reason)
        self.assertIn("RabbitMQ allows 1 channel on a connection", broker.reason)

    async def test_no_plain(self) -> None:
        """A node without PLAIN is named as that."""
        self.eval("application:set_env(rabbit, auth_mechanisms, ['AMQPLAIN']).")
        self.addCleanup(self.eval, "application:set_env(rabbit, auth_mechanisms, ['PLAIN', 'AMQPLAIN']).")
        broker = self.make()
        await until(reactor, lambda: broker.reason)
        self.assertIn("offers no PLAIN authentication, only AMQPLAIN", broker.reason)


class SlowLinkTests(SetupCase):
    """A link of 20 kB a second."""

    async def test_large_messages(self) -> None:
        """While large messages crawl in, the calls behind them do not time out: all is set up and consumed."""
        for queue in (self.queue, self.queue + ".second"):
            self.peer.declare(queue)
            for number in range(3):
                self.peer.publish(queue, b"%d" % number + b"x" * 100_000)
        proxy = Proxy(reactor, self.node.port)
        proxy.bytes_per_second = 20_000
        proxy.open()
        broker = self.make(port=proxy.listening_port)
        for _ in range(3):
            broker.consume(self.queue + ".second", self.handle, 20).unpause()
        await until(reactor, lambda: len(self.received) == 6, 60, f"all messages: {self.lines}")
        await self.connected(broker)
        self.assertEqual((broker.reconnects, len(proxy.pairs)), (0, 2))
        self.assertEqual([line for line in self.lines if line.startswith(("warn", "error"))], [])
        await broker.stop(1)
        self.brokers.clear()
        await proxy.close()


class WindowTests(SetupCase):
    """A person whose messages cannot move."""

    async def test_one_person(self) -> None:
        """400 messages that cannot move keep 100 behind them from being delivered for less than 2 seconds."""
        self.peer.declare(self.queue)
        for number in range(500):
            self.peer.publish(self.queue, b"stuck" if number < 400 else b"moves")
        stuck: list[Delivery] = []
        moved: list[float] = []

        def handle(delivery: Delivery) -> Deferred[Outcome]:
            outcome: Deferred[Outcome] = Deferred()
            if delivery.body == b"stuck":
                stuck.append(delivery)
                reactor.callLater(0, lambda: consumer.allow_more(len(stuck)))
            else:
                moved.append(reactor.seconds())
                reactor.callLater(0.01, outcome.callback, Outcome.ACK)
            return outcome

        broker = AmqpBroker(ConnectionParameters(**parameters(self.node)), reactor)
        self.brokers.append(broker)
        consumer = broker.consume(self.queue, handle, 20)
        consumer.unpause()
        began = reactor.seconds()
        broker.start()
        await until(reactor, lambda: len(moved) == 100, 30, f"{len(moved)} moved, {len(stuck)} stuck")
        seconds = moved[-1] - began
        print(f"\n100 messages behind 400 that cannot move: {seconds:.2f} s", flush=True)
        self.assertLess(seconds, 2)
        await deferToThread(lambda: None)
        self.assertEqual(await broker.counts(self.queue), (0, 2))
