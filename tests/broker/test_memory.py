"""The broker in memory keeps the contract, and does what tests and the sandbox want of it."""

from __future__ import annotations

from typing import Any, Callable, Coroutine, Mapping, Optional

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.broker.contract import BrokerContract, ManualHandler
from vumi_turn.broker.interface import (
    MAX_UNCONFIRMED,
    BrokerState,
    BrokerUnavailable,
    ConnectionLost,
    Delivery,
    Nacked,
    Outcome,
)
from vumi_turn.broker.memory import MemoryBroker


class MemoryCase(SynchronousTestCase):
    """A started broker and its clock."""

    queue = "phones.inbound"

    def setUp(self) -> None:
        self.clock = Clock()
        self.broker = MemoryBroker(self.clock)
        self.broker.start()

    def tearDown(self) -> None:
        self.broker.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def turn(self) -> None:
        """Let what is due happen."""
        self.clock.pump([0.001] * 5)


class ContractTests(BrokerContract, MemoryCase):
    """The contract, by a clock."""

    broker: MemoryBroker

    def play(self, test: Coroutine[Any, Any, None]) -> None:
        played = ensureDeferred(test)
        for _ in range(1000):
            if played.called:
                break
            self.clock.advance(0.01)
        self.successResultOf(played)

    async def until(self, condition: Callable[[], Any]) -> None:
        for _ in range(1000):
            if condition():
                return
            self.clock.advance(0.01)
        self.fail("it never came true")

    async def a_while(self) -> None:
        self.clock.pump([0.01] * 10)

    async def push(self, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> None:
        self.broker.push(self.queue, body, headers)

    async def contents(self) -> list[bytes]:
        return self.broker.queue_contents(self.queue)

    async def delete_queue(self) -> None:
        self.broker.delete_queue(self.queue)

    async def lose_connection(self) -> None:
        self.broker.go_away()
        self.broker.come_back()

    async def block(self) -> None:
        self.broker.block()

    async def unblock(self) -> None:
        self.broker.unblock()

    def now(self) -> float:
        return self.clock.seconds()

    async def another(self) -> MemoryBroker:
        broker = self.broker.another()
        broker.start()
        self.addCleanup(broker.stop)
        return broker

    async def limit_messages(self, size: int) -> None:
        self.broker.server.message_limit = size

    async def fill(self, queue: str) -> None:
        self.broker.server.full.add(queue)


class ConfirmTests(MemoryCase):
    """When publishes are confirmed, and when they are not."""

    def test_not_before_the_next_turn(self) -> None:
        """A publish is confirmed, and delivered, with the clock's next turn."""
        hand = ManualHandler()
        self.broker.consume(self.queue, hand, 1).unpause()
        done = self.broker.publisher(self.queue).publish(b"1")
        self.assertNoResult(done)
        self.assertEqual(hand.bodies, [])
        self.clock.advance(0)
        self.successResultOf(done)
        self.assertEqual(hand.bodies, [b"1"])

    def test_nacked(self) -> None:
        """A nacked message is in no queue, and the next one is."""
        publisher = self.broker.publisher(self.queue)
        self.broker.nack_next(1)
        nacked, taken = publisher.publish(b"1"), publisher.publish(b"2")
        self.turn()
        self.failureResultOf(nacked, Nacked)
        self.successResultOf(taken)
        self.assertEqual(self.broker.queue_contents(self.queue), [b"2"])

    def test_unconfirmed_are_lost_with_the_connection(self) -> None:
        """Whether the broker has an unconfirmed message is not known when the connection is lost."""
        done = self.broker.publisher(self.queue).publish(b"1")
        self.broker.go_away()
        self.failureResultOf(done, ConnectionLost)
        self.turn()

    def test_unconfirmed_are_lost_at_the_stop(self) -> None:
        """A stop leaves no publish pending."""
        done = self.broker.publisher(self.queue).publish(b"1")
        self.broker.stop()
        self.failureResultOf(done, ConnectionLost)

    def test_away(self) -> None:
        """With the broker away a publish is refused at once and nothing is kept."""
        self.broker.go_away()
        self.failureResultOf(self.broker.publisher(self.queue).publish(b"1"), BrokerUnavailable)
        self.assertEqual(self.broker.queue_contents(self.queue), [])

    def test_not_started(self) -> None:
        """Before the start there is no connection."""
        broker = MemoryBroker(self.clock)
        self.assertEqual(broker.state, BrokerState.CONNECTING)
        self.failureResultOf(broker.publisher(self.queue).publish(b"1"), BrokerUnavailable)

    def test_unconfirmed_are_bounded(self) -> None:
        """No more than the bound waits for confirmation."""
        publisher = self.broker.publisher(self.queue)
        pending = [publisher.publish(b"x") for _ in range(MAX_UNCONFIRMED)]
        self.failureResultOf(publisher.publish(b"too many"), BrokerUnavailable)
        self.turn()
        for done in pending:
            self.successResultOf(done)

    def test_callback_that_loses_the_connection(self) -> None:
        """A connection may be lost by what a confirmation starts; the other confirmations fail."""
        publisher = self.broker.publisher(self.queue)
        first, second = publisher.publish(b"1"), publisher.publish(b"2")
        first.addCallback(lambda _: self.broker.go_away())
        self.turn()
        self.successResultOf(first)
        self.failureResultOf(second, ConnectionLost)

    def test_transient(self) -> None:
        """A transient message is shown, and refused while the broker is away."""
        publisher = self.broker.transient_publisher("vumi.health", "heartbeat.inbound")
        self.successResultOf(publisher.publish(b"beat"))
        self.assertEqual(list(self.broker.transient), [("vumi.health", "heartbeat.inbound", b"beat")])
        self.broker.go_away()
        self.failureResultOf(publisher.publish(b"beat"), BrokerUnavailable)


class StateTests(MemoryCase):
    """What the broker says of itself."""

    def test_each_change_is_told(self) -> None:
        """Whoever watches hears each new state once."""
        told: list[str] = []
        self.broker.on_state(told.append)
        self.broker.block()
        self.broker.block()
        self.broker.unblock()
        self.broker.go_away()
        self.broker.go_away()
        self.broker.come_back()
        self.broker.stop()
        self.assertEqual(told, ["blocked", "connected", "connecting", "connected", "closed"])
        self.assertEqual(self.broker.reconnects, 1)

    def test_away_when_it_starts(self) -> None:
        """A broker that is not there yet is connected to when it comes."""
        broker = MemoryBroker(self.clock)
        broker.go_away()
        broker.start()
        self.assertEqual(broker.state, BrokerState.CONNECTING)
        broker.come_back()
        self.assertEqual(broker.state, BrokerState.CONNECTED)
        self.assertEqual(broker.reconnects, 0)
        broker.stop()

    def test_blocked_outlives_the_connection(self) -> None:
        """A broker that is short of memory still is on the next connection."""
        self.broker.block()
        self.broker.go_away()
        self.assertEqual(self.broker.state, BrokerState.CONNECTING)
        self.broker.come_back()
        self.assertEqual(self.broker.state, BrokerState.BLOCKED)

    def test_closed_for_good(self) -> None:
        """What happens to the world does not open a closed broker."""
        self.broker.stop()
        self.broker.go_away()
        self.broker.come_back()
        self.assertEqual(self.broker.state, BrokerState.CLOSED)


class QueueTests(MemoryCase):
    """What the queues hold."""

    def test_contents_show_what_is_unsettled(self) -> None:
        """A message is in its queue, in its place, until it is acknowledged."""
        hand = ManualHandler()
        self.broker.consume(self.queue, hand, 2).unpause()
        for body in (b"1", b"2", b"3"):
            self.broker.push(self.queue, body)
        self.turn()
        self.assertEqual(self.broker.queue_contents(self.queue), [b"1", b"2", b"3"])
        hand.settle(b"1")
        self.assertEqual(self.broker.queue_contents(self.queue), [b"2", b"3"])
        self.assertEqual(self.broker.queue_contents("unheard of"), [])

    def test_kept_while_away(self) -> None:
        """What others push while we are not connected is delivered when we are."""
        hand = ManualHandler()
        self.broker.consume(self.queue, hand, 1).unpause()
        self.broker.go_away()
        self.broker.push(self.queue, b"1")
        self.turn()
        self.assertEqual(hand.bodies, [])
        self.broker.come_back()
        self.turn()
        self.assertEqual(hand.bodies, [b"1"])

    def test_two_consumers_share(self) -> None:
        """Consumers of one queue share what is in it, each up to its prefetch."""
        one, other = ManualHandler(), ManualHandler()
        for hand in (one, other):
            self.broker.consume(self.queue, hand, 1).unpause()
        for body in (b"1", b"2", b"3"):
            self.broker.push(self.queue, body)
        self.turn()
        self.assertEqual((one.bodies, other.bodies), ([b"1"], [b"2"]))

    def test_always_requeueing(self) -> None:
        """A handler that requeues everything does not stop the clock."""
        taken: list[Delivery] = []

        async def handler(delivery: Delivery) -> Outcome:
            taken.append(delivery)
            return Outcome.REQUEUE

        self.broker.consume(self.queue, handler, 1).unpause()
        self.broker.push(self.queue, b"1")
        self.clock.advance(0)
        self.assertEqual(len(taken), 1)
        self.clock.pump([0.001] * 3)
        self.assertEqual(len(taken), 4)

    def test_started_again(self) -> None:
        """A broker that is started again has its queues and none of its consumers."""
        hand = ManualHandler()
        self.broker.consume(self.queue, hand, 1).unpause()
        self.broker.push(self.queue, b"1")
        self.turn()
        self.broker.stop()
        self.broker.start()
        self.turn()
        self.assertEqual(hand.bodies, [b"1"])
        other = ManualHandler()
        self.broker.consume(self.queue, other, 1).unpause()
        self.turn()
        self.assertEqual(other.bodies, [b"1"])
        self.assertTrue(other.taken[0].redelivered)
