"""A look at a RabbitMQ made of real frames in memory."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.broker.amqp.encoding import Thing, Things
from tests.broker.amqp.peer import FakeRabbit
from tests.cases import case
from vumi_turn.broker.amqp import ConnectionParameters
from vumi_turn.broker.amqp.errors import ChannelRefused, ConnectionGone
from vumi_turn.broker.amqp.inspector import BrokerInspector, Found
from vumi_turn.broker.amqp.robust_connection import ConnectionFailure


class BrokerInspectorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.things = Things()
        self.rabbit = FakeRabbit(self.clock, self.things.peer())
        self.inspector = BrokerInspector(ConnectionParameters(heartbeat=0), self.clock, self.rabbit)

    def tearDown(self) -> None:
        self.result(self.inspector.close())
        self.rabbit.advance(10)
        self.assertEqual(self.rabbit.open_peers, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def start(self, coroutine: Any) -> Deferred[Any]:
        done = Deferred.fromCoroutine(coroutine)
        self.rabbit.advance()
        return done

    def result(self, coroutine: Any) -> Any:
        return self.successResultOf(self.start(coroutine))

    def connect(self) -> Optional[ConnectionFailure]:
        failure: Optional[ConnectionFailure] = self.result(self.inspector.connect())
        return failure

    def test_connects(self) -> None:
        """It logs in, says who it is, and says goodbye."""
        self.assertIsNone(self.connect())
        [peer] = self.rabbit.peers
        self.assertEqual(self.rabbit.name_of(peer), "vumi_turn checking")
        self.result(self.inspector.close())
        self.assertEqual(peer.names()[-1], "connection.close")
        self.assertTrue(peer.lost)

    def test_unreachable(self) -> None:
        """A broker that cannot be connected to is away."""
        self.rabbit.failure = ConnectionRefusedError()
        failure = self.connect()
        assert failure is not None
        self.assertEqual(failure.kind, "away")

    def test_refused(self) -> None:
        """Credentials and vhost that RabbitMQ refuses are told from each other."""
        for method, code, kind in (
            ("connection.start-ok", 403, "credentials"),
            ("connection.open", 530, "vhost"),
            ("connection.open", 404, "vhost"),
        ):
            with case(method=method, code=code, kind=kind):
                self.rabbit.refusals = {method: (code, "no")}
                failure = self.connect()
                assert failure is not None
                self.assertEqual(failure.kind, kind)

    def test_silent(self) -> None:
        """A broker that accepts and says nothing is given up in bounded time."""
        self.rabbit.silent.add("connection.start-ok")
        done = self.start(self.inspector.connect())
        self.assertNoResult(done)
        self.rabbit.advance(15)
        self.assertEqual(self.successResultOf(done).kind, "away")

    def test_missing(self) -> None:
        """What is missing is said to be, and stays missing."""
        self.connect()
        self.assertEqual(self.result(self.inspector.exchange("vumi")), Found(exists=False))
        self.assertEqual(self.result(self.inspector.queue("c.inbound")), Found(exists=False))
        self.assertEqual(self.things.made, [])

    def test_there(self) -> None:
        """What is there as it has to be is found, with the queue's messages and consumers."""
        self.things.by_name = {"vumi": Thing(), "c.inbound": Thing(messages=7, consumers=2)}
        self.connect()
        self.assertEqual(self.result(self.inspector.exchange("vumi")), Found(exists=True))
        self.assertEqual(self.result(self.inspector.queue("c.inbound")), Found(True, 7, 2))

    def test_different(self) -> None:
        """What is there with other properties comes with RabbitMQ's words."""
        self.things.by_name = {"vumi": Thing(refusal=406), "c.event": Thing(3, 0, refusal=406)}
        self.connect()
        self.assertEqual(self.result(self.inspector.exchange("vumi")), Found(True, refusal=(406, "about vumi")))
        self.assertEqual(
            self.result(self.inspector.queue("c.event")), Found(True, 3, 0, refusal=(406, "about c.event"))
        )

    def test_no_look_allowed(self) -> None:
        """Where even a look is refused, that is an error with RabbitMQ's code."""

        self.things.by_name = {"vumi": Thing()}
        self.rabbit.new_peer = FakeRabbit(self.clock).new_peer
        self.rabbit.refusals["queue.declare"] = (403, "no")
        self.connect()
        error = self.failureResultOf(self.start(self.inspector.queue("c.event")), ChannelRefused)
        self.assertEqual(error.value.code, 403)

    def test_lost(self) -> None:
        """A connection that is lost on the way ends what waits for it."""
        self.rabbit.new_peer = FakeRabbit(self.clock).new_peer
        self.rabbit.silent.add("queue.declare")
        self.connect()
        done = self.start(self.inspector.queue("c.event"))
        self.rabbit.peers[0].cut()
        self.failureResultOf(done, ConnectionGone)
