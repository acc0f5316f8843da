"""What the tests of the RabbitMQ broker have in common."""

from __future__ import annotations

import itertools
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.broker.amqp.peer import FakeRabbit
from vumi_turn.broker.amqp import AmqpBroker, ConnectionParameters
from vumi_turn.broker.interface import BrokerState, Delivery, Outcome
from vumi_turn.timing.named_log import connector_of


class BrokerCase(SynchronousTestCase):
    """A broker, its RabbitMQ, and what it wrote to the log."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.rabbit = FakeRabbit(self.clock)
        self.parameters = ConnectionParameters(heartbeat=0, password="the-secret")
        self.broker = self.make_broker(self.parameters)
        self.lines: list[tuple[str, str]] = []
        self.connectors: list[tuple[str, str]] = []
        self.deliveries: list[Delivery] = []
        self.outcomes: list[Deferred[Outcome]] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def tearDown(self) -> None:
        self.broker.stop()
        self.rabbit.advance()
        self.rabbit.advance(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def make_broker(self, parameters: ConnectionParameters, connector: str = "") -> AmqpBroker:
        ids = itertools.count(1)
        return AmqpBroker(
            parameters, self.clock, connector=connector, endpoint=self.rabbit, new_id=lambda: f"id{next(ids)}"
        )

    def observe(self, event: dict[str, Any]) -> None:
        if str(event.get("log_namespace", "")).startswith("vumi_turn"):
            self.lines.append((event["log_level"].name, formatEvent(event)))
            self.connectors.append((connector_of(event), formatEvent(event)))

    def logged(self, level: LogLevel = LogLevel.error) -> list[str]:
        return [text for name, text in self.lines if name == level.name]

    def up(self) -> None:
        self.broker.start()
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def handler(self, delivery: Delivery) -> Deferred[Outcome]:
        self.deliveries.append(delivery)
        self.outcomes.append(Deferred())
        return self.outcomes[-1]

    def consume(self, queue: str = "c.inbound", prefetch: int = 20) -> Any:
        consumer = self.broker.consume(queue, self.handler, prefetch)
        consumer.unpause()
        self.rabbit.advance()
        return consumer

    def calls(self, role: str, *leave_out: str) -> list[str]:
        peer = getattr(self.rabbit, role)
        return [name for name in peer.names() if not name.startswith(("connection.", *leave_out))]
