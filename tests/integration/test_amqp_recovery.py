"""
The RabbitMQ broker on a real RabbitMQ to which bad things happen. Nobody
restarts the worker; after each of them it consumes and publishes as before.
"""

from __future__ import annotations

import gc
import os
import uuid
from typing import Any, Optional

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.log import theLogPublisher
from twisted.trial.unittest import TestCase
from txamqp.protocol import AMQChannel

from tests.http.authority import Authority
from tests.integration.amqp_lab import Admin, Proxy, until
from tests.integration.rabbitmq import RabbitMQ, parameters, shared_rabbitmq
from vumi_turn.broker.amqp import AmqpBroker, ConnectionParameters
from vumi_turn.broker.amqp.client import Client
from vumi_turn.broker.amqp.frames import pack_ack
from vumi_turn.broker.interface import BrokerError, BrokerState, BrokerUnavailable, ConnectionLost, Delivery, Outcome

reactor: Any = installed_reactor

#: Lost connections in the test that looks for leaks (two for each cut).
RECONNECTS = int(os.environ.get("VUMI_TURN_RECONNECTS", "1000"))


class RecoveryCase(TestCase):
    """A broker behind a link that can break, a consumer and a publisher of one queue."""

    timeout = 240

    def setUp(self) -> None:
        self.node: RabbitMQ = shared_rabbitmq()
        self.queue = f"r{uuid.uuid4().hex[:8]}.inbound"
        self.proxy = Proxy(reactor, self.node.port)
        self.proxy.open()
        self.admin = Admin(reactor, ConnectionParameters(**parameters(self.node)))
        self.received: list[Delivery] = []
        self.hold = False
        self.held: list[Deferred[Outcome]] = []
        self.lines: list[str] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.brokers: list[AmqpBroker] = []

    async def tearDown(self) -> None:  # type: ignore[override]
        for broker in self.brokers:
            await broker.stop(5)
        await self.proxy.close()
        if self.node.running:
            await self.admin.delete(self.queue)
        await self.admin.close()

    def observe(self, event: dict[str, Any]) -> None:
        if str(event.get("log_namespace", "")).startswith("vumi_turn.broker.amqp"):
            self.lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    def errors(self) -> list[str]:
        return [line for line in self.lines if line.startswith("error")]

    def make(self, **changes: Any) -> AmqpBroker:
        chosen = {**parameters(self.node, port=self.proxy.listening_port), **changes}
        broker = AmqpBroker(ConnectionParameters(**chosen), reactor)
        self.brokers.append(broker)
        broker.consume(self.queue, self.handle, 20).unpause()
        self.publisher = broker.publisher(self.queue)
        broker.start()
        return broker

    async def connected(self, broker: AmqpBroker, seconds: float = 30) -> None:
        await until(reactor, lambda: broker.state == BrokerState.CONNECTED, seconds, f"connected: {self.lines}")

    def handle(self, delivery: Delivery) -> Deferred[Outcome]:
        self.received.append(delivery)
        outcome: Deferred[Outcome] = Deferred()
        if self.hold:
            self.held.append(outcome)
        else:
            outcome.callback(Outcome.ACK)
        return outcome

    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.received]

    async def works(self, broker: AmqpBroker, seconds: float = 30) -> None:
        """One consumer, and a message goes all the way, once."""
        await self.connected(broker, seconds)
        body = uuid.uuid4().hex.encode()
        await self.publisher.publish(body)
        await until(reactor, lambda: body in self.bodies(), 10, "the message comes back")
        self.assertEqual(self.bodies().count(body), 1)
        self.assertEqual(await self.admin.consumers(self.queue), 1)


class LinkTests(RecoveryCase):
    """The link between us and a healthy RabbitMQ."""

    async def test_cut(self) -> None:
        """A link that is cut: what was not acknowledged comes again, and then all is as before."""
        broker = self.make()
        await self.works(broker)
        self.hold = True
        await self.publisher.publish(b"held")
        await until(reactor, lambda: self.held)
        self.proxy.cut()
        self.hold = False
        await until(reactor, lambda: self.received[1].lost)
        await self.connected(broker)
        await until(reactor, lambda: self.bodies().count(b"held") == 2)
        self.assertTrue(self.received[-1].redelivered)
        self.held[0].callback(Outcome.ACK)
        await self.works(broker)
        self.assertEqual(broker.reconnects, 2)
        self.assertEqual(len(self.errors()), 1, self.lines)
        self.assertEqual(len(self.lines), 3, self.lines)

    async def test_frozen(self) -> None:
        """A link on which nothing moves any more is noticed by the heartbeat, and replaced."""
        broker = self.make(heartbeat=1)
        await self.works(broker)
        self.proxy.freeze()
        pending = self.publisher.publish(b"into the ice")
        began = reactor.seconds()
        await self.assertFailure(pending, ConnectionLost)
        self.assertLess(reactor.seconds() - began, 4)
        await self.works(broker)
        self.assertIn("sent nothing for two heartbeat intervals", self.errors()[0])

    async def test_refused_for_a_while(self) -> None:
        """Nobody listens: one line, publishing fails at once, and it goes on when somebody does."""
        broker = self.make()
        await self.works(broker)
        await self.proxy.close()
        await until(reactor, lambda: broker.state == BrokerState.CONNECTING)
        await self.assertFailure(self.publisher.publish(b"x"), BrokerUnavailable)
        await deferLater(reactor, 2)
        self.proxy.open()
        await self.works(broker)
        self.assertEqual(len(self.errors()), 1, self.lines)

    async def test_not_there_at_the_start(self) -> None:
        """Nobody listens when the worker starts: one line, and it connects when somebody does."""
        await self.proxy.close()
        broker = self.make()
        await deferLater(reactor, 1.2)
        self.assertEqual(len(self.errors()), 1, self.lines)
        self.proxy.open()
        await self.works(broker)

    async def test_a_thousand_reconnects(self) -> None:
        """After 1,000 lost connections: two sockets, two clients, one consumer, nothing more than before."""
        self.keep_log_here()
        broker = self.make()
        await self.works(broker)
        # The first few fill what grows once: caches, the thread pool that looks names up.
        await self.cut_and_wait(broker, 5)
        await self.works(broker)
        before, objects_before = self.resources(), self.objects()
        await self.cut_and_wait(broker, RECONNECTS // 2)
        await self.works(broker)
        after, objects = self.resources(), self.objects()
        print(
            f"\n{broker.reconnects - 10} reconnects: {before} before, {after} after,"
            f" {objects - objects_before} objects more",
            flush=True,
        )
        # A module that is imported late brings classes; a class for each connection would bring hundreds.
        self.assertLess(after.pop("classes") - before.pop("classes"), RECONNECTS / 20)
        self.assertEqual(after, before)
        # What the tests keep for each message, and less than one object for each connection.
        self.assertLess(objects - objects_before, RECONNECTS / 2)

    async def cut_and_wait(self, broker: AmqpBroker, times: int) -> None:
        for _ in range(times):
            goal = broker.reconnects + 2
            self.proxy.cut()
            await until(reactor, lambda goal=goal: broker.reconnects == goal)  # type: ignore[misc]
            await self.connected(broker)
            self.assertEqual(len(self.proxy.pairs), 2)

    def keep_log_here(self) -> None:
        """One of several processes of trial's sends each log line on, and keeps objects for it: not in this test."""
        for observer in list(theLogPublisher.observers):
            if type(getattr(observer, "__self__", None)).__name__ == "WorkerLogObserver":
                theLogPublisher.removeObserver(observer)
                self.addCleanup(theLogPublisher.addObserver, observer)

    def resources(self) -> dict[str, int]:
        gc.collect()
        watched = {"clients": Client, "channels": AMQChannel, "deferreds": Deferred, "classes": type}
        found = gc.get_objects()
        return {
            "files": len(os.listdir("/proc/self/fd")),
            "timers": len(reactor.getDelayedCalls()),
            **{name: len([each for each in found if isinstance(each, kind)]) for name, kind in watched.items()},
        }

    def objects(self) -> int:
        self.flushWarnings()  # trial keeps each of txamqp's
        gc.collect()
        return len(gc.get_objects())


class TlsTests(RecoveryCase):
    """The same link, with TLS in front of it."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(uuid.uuid4().hex)
        self.ca_file = self.mktemp()
        with open(self.ca_file, "wb") as file:
            file.write(b"two of them\n" + Authority("another").pem + self.authority.pem)
        self.tls = Proxy(reactor, self.node.port)

    async def tearDown(self) -> None:  # type: ignore[override]
        await super().tearDown()
        await self.tls.close()

    def listen(self, hostname: str) -> dict[str, Any]:
        self.tls.open(self.authority.issue(hostname).options())
        return {"tls": True, "ca_file": self.ca_file, "port": self.tls.listening_port}

    async def test_trusted(self) -> None:
        """A certificate of an authority in the CA file, for the name we asked for, is accepted."""
        broker = self.make(**self.listen("localhost"), hostname="localhost")
        await self.works(broker)
        self.tls.cut()
        await until(reactor, lambda: broker.reconnects == 2)
        await self.works(broker)

    async def test_address(self) -> None:
        """A certificate may be for an address."""
        await self.works(self.make(**self.listen("127.0.0.1")))

    async def refused(self, why: str, **changes: Any) -> None:
        broker = self.make(**changes)
        await until(reactor, self.errors)
        await deferLater(reactor, 1)
        (line,) = self.errors()
        self.assertIn("TLS", line)
        self.assertIn(why, line)
        self.assertEqual(broker.state, BrokerState.CONNECTING)

    async def test_other_name(self) -> None:
        """A certificate for another name is not, and the log says that it is TLS."""
        why = "the certificate is for another host name"
        await self.refused(why, **self.listen("elsewhere.example.org"), hostname="localhost")

    async def test_unknown_authority(self) -> None:
        """One of an authority that we don't trust is not either."""
        changes = self.listen("localhost")
        self.authority = Authority(uuid.uuid4().hex)
        with open(self.ca_file, "wb") as file:
            file.write(self.authority.pem)
        await self.refused("issuer is not trusted here", **changes, hostname="localhost")

    async def test_platform(self) -> None:
        """Without a CA file the platform's authorities are trusted, and not this one."""
        changes = {**self.listen("localhost"), "ca_file": None}
        await self.refused("issuer is not trusted here", **changes, hostname="localhost")


class ServerTests(RecoveryCase):
    """RabbitMQ itself."""

    async def test_killed(self) -> None:
        """SIGKILL under load: every publish that was confirmed is there, once it is back."""
        broker = self.make()
        await self.works(broker)
        confirmed: set[bytes] = set()
        failed: list[BrokerError] = []

        async def load() -> None:
            for number in range(100_000):
                if failed:
                    return
                body = b"%d" % number
                try:
                    await self.publisher.publish(body)
                except BrokerError as error:
                    failed.append(error)
                else:
                    confirmed.add(body)

        loads = [Deferred.fromCoroutine(load()) for _ in range(20)]
        await until(reactor, lambda: len(confirmed) > 200)
        await deferToThread(self.node.kill)
        await gatherResults(loads)
        self.assertEqual(len(failed), 20)
        await deferToThread(self.node.start)
        await self.works(broker)
        await until(reactor, lambda: confirmed <= set(self.bodies()), 10, "each confirmed message")
        self.assertEqual(len(self.errors()), 1, self.lines)

    async def test_restarted(self) -> None:
        """An orderly restart: one line when it goes, one when it is back."""
        broker = self.make()
        await self.works(broker)
        await deferToThread(self.node.restart)
        await self.works(broker)
        self.assertEqual(len(self.errors()), 1, self.lines)
        self.assertEqual(len(self.lines), 3, self.lines)

    async def test_frozen_and_thawed(self) -> None:
        """A RabbitMQ that hangs and goes on: what was pending is confirmed, if it came in time."""
        broker = self.make()
        await self.works(broker)
        await deferToThread(self.node.pause)
        pending = self.publisher.publish(b"patience")
        await deferLater(reactor, 1)
        self.assertFalse(pending.called)
        await deferToThread(self.node.resume)
        await pending
        await self.works(broker)
        self.assertEqual(broker.reconnects, 0)

    async def test_connection_closed_by_the_operator(self) -> None:
        """Connections that the operator closes are made anew."""
        broker = self.make()
        await self.works(broker)
        await deferToThread(self.node.ctl, "close_all_connections", "--global", "maintenance")
        await until(reactor, lambda: broker.reconnects >= 2)
        await self.works(broker)
        self.assertIn("CONNECTION_FORCED", self.errors()[0])

    async def test_queue_deleted(self) -> None:
        """The queue is deleted under its consumer, which then consumes from the new one."""
        broker = self.make()
        await self.works(broker)
        states: list[str] = []  # a state may be over before one looks
        broker.on_state(states.append)
        for number in range(1, 4):
            await self.admin.delete(self.queue)
            await until(reactor, lambda: states.count("connecting") >= number)  # noqa: B023
            await self.works(broker)
        self.assertEqual(broker.reconnects, 0)

    async def test_queue_deleted_under_the_publisher(self) -> None:
        """The queue we publish to is deleted: the message is returned, and then is in the new queue."""
        broker = self.make()
        await self.works(broker)
        other = self.queue.replace("inbound", "outbound")
        publisher = broker.publisher(other)
        for number in range(3):
            await publisher.publish(b"%d" % number)
            self.assertEqual(await self.admin.ready(other), 1)
            await self.admin.delete(other)
        await gatherResults([publisher.publish(b"%d" % number) for number in range(50)])
        self.assertEqual(await self.admin.ready(other), 50)
        await self.admin.delete(other)
        self.assertEqual(broker.reconnects, 0)

    async def test_exchange_deleted(self) -> None:
        """The exchange is deleted: what is published fails, and all is declared again."""
        broker = self.make()
        await self.works(broker)
        await self.admin.do("exchange_delete", exchange="vumi")
        await self.assertFailure(self.publisher.publish(b"x"), ConnectionLost)
        await self.connected(broker)
        await self.publisher.publish(b"into the queue's binding")

    async def test_channel_closed(self) -> None:
        """RabbitMQ closes a channel (here for an unknown delivery): it is opened anew, alone."""
        broker = self.make()
        await self.works(broker)
        consumer: Any = broker._consumers[0]
        self.hold = True
        await self.publisher.publish(b"held")
        await until(reactor, lambda: self.held)
        self.hold = False
        consumer._client.write(pack_ack(consumer._number, 999_999))
        await until(reactor, lambda: self.bodies().count(b"held") == 2)
        self.held[0].callback(Outcome.ACK)
        await self.works(broker)
        self.assertEqual(broker.reconnects, 0)
        self.assertEqual(len(self.errors()), 1, self.lines)

    async def test_queue_of_another_kind(self) -> None:
        """A queue with other arguments is named in one line; when it is gone, ours takes its place."""
        await self.admin.do("queue_declare", queue=self.queue, durable=True, arguments={"x-max-length": 5})
        broker = self.make()
        await until(reactor, lambda: len(self.errors()) == 2, what="one line each for consumer and publisher")
        await deferLater(reactor, 2)
        self.assertEqual(broker.state, BrokerState.CONNECTING)
        self.assertEqual(len(self.errors()), 2, self.lines)
        self.assertTrue(all("x-max-length" in line and self.queue in line for line in self.errors()))
        await self.admin.delete(self.queue)
        await self.works(broker)

    async def test_wrong_credentials(self) -> None:
        """A wrong password is said in one line, and works once it is right."""
        user = f"u{uuid.uuid4().hex[:8]}"
        await deferToThread(self.node.ctl, "add_user", user, "another")
        await deferToThread(self.node.ctl, "set_permissions", "-p", "/develop", user, ".*", ".*", ".*")
        broker = self.make(username=user, password="mistaken")
        await until(reactor, self.errors)
        await deferLater(reactor, 2)
        (line,) = self.errors()
        self.assertIn(f"user name or password of user '{user}'", line)
        self.assertNotIn("mistaken", line)
        await deferToThread(self.node.ctl, "change_password", user, "mistaken")
        await self.works(broker)
        await deferToThread(self.node.ctl, "delete_user", user)

    async def test_wrong_vhost(self) -> None:
        """A vhost that is not there is said in one line, and works once it is."""
        vhost = f"/v{uuid.uuid4().hex[:8]}"
        broker = self.make(vhost=vhost)
        await until(reactor, self.errors)
        await deferLater(reactor, 2)
        (line,) = self.errors()
        self.assertIn(f"vhost '{vhost}'", line)
        await deferToThread(self.node.ctl, "add_vhost", vhost)
        await deferToThread(self.node.ctl, "set_permissions", "-p", vhost, "vumi", ".*", ".*", ".*")
        await self.connected(broker)
        await self.publisher.publish(b"x")
        await until(reactor, lambda: self.received)
        await deferToThread(self.node.ctl, "delete_vhost", vhost)
        await self.admin.do("queue_declare", queue=self.queue, durable=True)

    async def test_blocked(self) -> None:
        """In a memory alarm we go on consuming; publishing fails at once, and works again after it."""
        broker = self.make()
        await self.works(broker)
        other = self.queue.replace("inbound", "outbound")
        for _ in range(100):
            await self.publisher.publish(b"before")
        consumer: Any = broker._consumers[0]
        consumer.pause()
        await deferLater(reactor, 0.2)
        await gatherResults([self.publisher.publish(b"kept %d" % number) for number in range(100)])
        await deferToThread(self.node.block)
        pending = broker.publisher(other).publish(b"the one that finds out")
        await until(reactor, lambda: broker.state == BrokerState.BLOCKED)
        await self.assertFailure(self.publisher.publish(b"x"), BrokerUnavailable)
        consumer.unpause()
        await until(reactor, lambda: len([b for b in self.bodies() if b.startswith(b"kept")]) == 100)
        self.assertFalse(pending.called)
        await deferToThread(self.node.unblock)
        await pending
        await self.works(broker)
        self.assertEqual(broker.reconnects, 0)
        await self.admin.delete(other)

    async def test_stopping_while_blocked(self) -> None:
        """A blocked RabbitMQ reads no goodbye; stopping is bounded all the same."""
        broker = self.make()
        await self.works(broker)
        await deferToThread(self.node.block)
        pending = self.publisher.publish(b"x")
        await until(reactor, lambda: broker.state == BrokerState.BLOCKED)
        began = reactor.seconds()
        stopping = broker.stop(1)
        await self.assertFailure(pending, ConnectionLost)
        await stopping
        self.assertLess(reactor.seconds() - began, 2)
        await deferToThread(self.node.unblock)

    async def test_poisonous_headers(self) -> None:
        """Messages with headers of every kind, bodies of every size, junk: all arrive, on one connection."""
        broker = self.make()
        await self.works(broker)
        sent: list[bytes] = []
        headers: list[Optional[dict[str, Any]]] = [
            None,
            {},
            {"x-death": [{"count": 1, "reason": "rejected", "routing-keys": ["a"], "exchange": ""}]},
            {"x-delivery-count": "many", "nested": {"a": [{"b": [None, True, 2.5, b"\xff", 2**40]}]}},
        ]
        for size in (0, 1, 4096, 100_000, 131_064, 131_065, 400_000):
            for table in headers:
                body = os.urandom(size)
                sent.append(body)
                properties = {} if table is None else {"headers": table}
                await self.admin.publish(self.queue, body, properties)
        await until(reactor, lambda: len(self.received) == len(sent) + 1)
        self.assertEqual(self.bodies()[1:], sent)
        self.assertEqual(broker.reconnects, 0)
