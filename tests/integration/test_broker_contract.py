"""The contract of brokers, kept by RabbitMQ itself."""

from __future__ import annotations

import uuid
from typing import Any, Callable, Coroutine, Mapping, Optional

from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.broker.contract import BrokerContract
from tests.integration.amqp_lab import Proxy, until
from tests.integration.amqp_peer import AmqpPeer
from tests.integration.rabbitmq import parameters, shared_rabbitmq
from vumi_turn.broker.amqp import AmqpBroker, ConnectionParameters
from vumi_turn.broker.interface import BrokerState

reactor: Any = the_reactor


class ContractTests(BrokerContract, TestCase):
    """The contract, on a real server and in real time."""

    timeout = 90

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.node = shared_rabbitmq()
        self.others: list[AmqpBroker] = []
        self.queue = f"contract.{uuid.uuid4().hex}"
        self.peer = AmqpPeer(self.node.port)
        self.peer.declare(self.queue)
        self.proxy = Proxy(reactor, self.node.port)
        self.proxy.open()
        where = parameters(self.node, port=self.proxy.listening_port)
        self.broker = AmqpBroker(ConnectionParameters(**where), reactor)
        self.broker.start()
        await self.until(lambda: self.broker.state == BrokerState.CONNECTED)

    async def tearDown(self) -> None:  # type: ignore[override]  # trial awaits it
        for broker in (self.broker, *self.others):
            await broker.stop(5)
        await self.proxy.close()
        self.peer.delete(*(self.queue + suffix for suffix in ("", ".out", ".next", ".single")))
        self.peer.close()

    def play(self, test: Coroutine[Any, Any, None]) -> Deferred[None]:
        return ensureDeferred(test)

    async def until(self, condition: Callable[[], Any]) -> None:
        await until(reactor, condition)

    async def a_while(self) -> None:
        await deferLater(reactor, 0.2)

    async def push(self, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> None:
        self.peer.publish(self.queue, body, headers)

    async def contents(self) -> list[bytes]:
        return self.peer.take_all(self.queue)

    async def delete_queue(self) -> None:
        self.peer.delete(self.queue)

    async def lose_connection(self) -> None:
        lost = self.broker.reconnects + 2  # both connections
        self.proxy.cut()
        await self.until(lambda: self.broker.reconnects >= lost)

    async def block(self) -> None:
        self.node.block()

    async def unblock(self) -> None:
        self.node.unblock()

    def now(self) -> float:
        return float(reactor.seconds())

    async def another(self) -> AmqpBroker:
        broker = AmqpBroker(ConnectionParameters(**parameters(self.node)), reactor)
        broker.start()
        self.others.append(broker)
        await self.until(lambda: broker.state == BrokerState.CONNECTED)
        return broker

    async def limit_messages(self, size: int) -> None:
        self.set_max_message_size(size)
        self.addCleanup(self.set_max_message_size, 134217728)
        await self.lose_connection()  # RabbitMQ reads the limit when a channel is opened
        await self.until(lambda: self.broker.state == BrokerState.CONNECTED)

    def set_max_message_size(self, size: int) -> None:
        # RabbitMQ 3 reads the one, 4 the other.
        set_env = f"application:set_env(rabbit, max_message_size, {size})"
        self.node.ctl("eval", f"{set_env}, persistent_term:put(max_message_size, {size}).")

    async def fill(self, queue: str) -> None:
        definition = '{"max-length": 1, "overflow": "reject-publish"}'
        self.node.ctl("set_policy", "-p", "/develop", queue, f"^{queue}$", definition, "--apply-to", "queues")
        self.addCleanup(self.node.ctl, "clear_policy", "-p", "/develop", queue)
        await self.a_while()
