"""
What every broker does, whatever it is made of: mixed into a test case for each.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any, Awaitable, Callable, Coroutine, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from vumi_turn.broker.interface import Broker, BrokerError, BrokerState, BrokerUnavailable, Delivery, Outcome


def scenario(method: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], Any]:
    """A test that waits: the case's ``play`` says how."""

    @functools.wraps(method)
    def test(self: Any) -> Any:
        return self.play(method(self))

    return test


class ManualHandler:
    """A handler that decides when the test does."""

    def __init__(self) -> None:
        self.taken: list[Delivery] = []
        self._open: dict[bytes, Deferred[Outcome]] = {}

    def __call__(self, delivery: Delivery) -> Awaitable[Outcome]:
        self.taken.append(delivery)
        decided = self._open[delivery.body] = Deferred()
        return decided

    @property
    def bodies(self) -> list[bytes]:
        """What came, in order."""
        return [delivery.body for delivery in self.taken]

    def settle(self, body: bytes, outcome: Outcome = Outcome.ACK) -> None:
        """Decide on what came last with this body."""
        self._open.pop(body).callback(outcome)


class BrokerContract:
    """
    The promises of :class:`vumi_turn.broker.interface.Broker`.

    A case gives ``broker``, started and connected, ``queue``, a name that no
    other test uses, and these methods.
    """

    broker: Broker
    queue: str
    assertEqual: Any
    assertTrue: Any
    assertFalse: Any
    assertIs: Any
    assertIsInstance: Any
    assertIsNotNone: Any
    flushLoggedErrors: Any

    def play(self, test: Coroutine[Any, Any, None]) -> Any:
        """Run a scenario to its end."""
        raise NotImplementedError

    async def until(self, condition: Callable[[], Any]) -> None:
        """Let time pass until something is true; fail if it never is."""
        raise NotImplementedError

    async def a_while(self) -> None:
        """Let as much time pass as what must not happen would need."""
        raise NotImplementedError

    async def push(self, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> None:
        """Put a message into ``queue``, as another program would."""
        raise NotImplementedError

    async def contents(self) -> list[bytes]:
        """What ``queue`` holds that nobody was given."""
        raise NotImplementedError

    async def delete_queue(self) -> None:
        """Delete ``queue``."""
        raise NotImplementedError

    async def lose_connection(self) -> None:
        """Cut the broker's connections; it can connect again at once."""
        raise NotImplementedError

    async def block(self) -> None:
        """Let the broker take no messages."""
        raise NotImplementedError

    async def unblock(self) -> None:
        """Let it take messages again."""
        raise NotImplementedError

    # What the scenarios have in common

    def consuming(self, prefetch: int = 10) -> ManualHandler:
        """A consumer of ``queue`` that is taking deliveries."""
        hand = ManualHandler()
        self.consumer = self.broker.consume(self.queue, hand, prefetch)
        self.consumer.unpause()
        return hand

    async def pushed(self, *bodies: bytes) -> None:
        """Several messages."""
        for body in bodies:
            await self.push(body)

    async def refusal(self, published: Deferred[None]) -> Exception:
        """Why a publish did not work."""
        reasons: list[Exception] = []

        def refused(failure: Failure) -> None:
            reasons.append(failure.value)  # type: ignore[arg-type]

        published.addErrback(refused)
        await self.until(lambda: reasons)
        return reasons[0]

    # Consuming

    @scenario
    async def test_first_in_first_out(self) -> None:
        """Messages of a queue come in its order."""
        hand = self.consuming()
        await self.pushed(b"1", b"2", b"3")
        await self.until(lambda: len(hand.taken) == 3)
        self.assertEqual(hand.bodies, [b"1", b"2", b"3"])
        self.assertEqual({delivery.queue for delivery in hand.taken}, {self.queue})

    @scenario
    async def test_starts_paused(self) -> None:
        """A new consumer takes nothing before it is unpaused."""
        hand = ManualHandler()
        consumer = self.broker.consume(self.queue, hand, 10)
        await self.until(lambda: self.broker.state == BrokerState.CONNECTED)
        await self.push(b"early")
        await self.a_while()
        self.assertTrue(consumer.paused)
        self.assertEqual(hand.bodies, [])
        consumer.unpause()
        await self.until(lambda: hand.taken)
        self.assertFalse(consumer.paused)

    @scenario
    async def test_prefetch(self) -> None:
        """No more than the prefetch is unsettled at a time; each settled one makes room for one."""
        hand = self.consuming(prefetch=2)
        await self.pushed(b"1", b"2", b"3", b"4")
        await self.until(lambda: len(hand.taken) == 2)
        await self.a_while()
        self.assertEqual(hand.bodies, [b"1", b"2"])
        hand.settle(b"2")
        await self.until(lambda: len(hand.taken) == 3)
        await self.a_while()
        self.assertEqual(hand.bodies, [b"1", b"2", b"3"])

    @scenario
    async def test_acknowledged_is_gone(self) -> None:
        """What was acknowledged is never delivered again, also not on the next connection."""
        hand = self.consuming()
        await self.pushed(b"done", b"not done")
        await self.until(lambda: len(hand.taken) == 2)
        hand.settle(b"done")
        await self.a_while()
        await self.lose_connection()
        await self.until(lambda: len(hand.taken) == 3)
        self.assertEqual(hand.bodies, [b"done", b"not done", b"not done"])

    @scenario
    async def test_requeued_comes_again(self) -> None:
        """What is requeued comes again, in its old place, and is said to be redelivered."""
        hand = self.consuming(prefetch=2)
        await self.pushed(b"1", b"2", b"3")
        await self.until(lambda: len(hand.taken) == 2)
        hand.settle(b"1", Outcome.REQUEUE)
        await self.until(lambda: len(hand.taken) == 3)
        self.assertEqual(hand.bodies, [b"1", b"2", b"1"])
        self.assertEqual([delivery.redelivered for delivery in hand.taken], [False, False, True])

    @scenario
    async def test_requeued_all_at_once_keep_their_order(self) -> None:
        """Messages that are requeued together come again in their order."""
        hand = self.consuming(prefetch=3)
        await self.pushed(b"1", b"2", b"3")
        await self.until(lambda: len(hand.taken) == 3)
        self.consumer.pause()
        await self.a_while()
        for body in (b"3", b"1", b"2"):
            hand.settle(body, Outcome.REQUEUE)
        await self.a_while()
        self.consumer.unpause()
        await self.until(lambda: len(hand.taken) == 6)
        self.assertEqual(hand.bodies[3:], [b"1", b"2", b"3"])

    @scenario
    async def test_failing_handler(self) -> None:
        """A handler that raises costs its own delivery a requeue, and nobody else anything."""
        taken: list[tuple[bytes, bool]] = []

        async def handler(delivery: Delivery) -> Outcome:
            taken.append((delivery.body, delivery.redelivered))
            if delivery.body == b"bad" and not delivery.redelivered:
                raise ZeroDivisionError
            return Outcome.ACK

        self.broker.consume(self.queue, handler, 10).unpause()
        await self.pushed(b"bad", b"good")
        await self.until(lambda: len(taken) == 3)
        self.assertEqual(sorted(taken), [(b"bad", False), (b"bad", True), (b"good", False)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    @scenario
    async def test_pause(self) -> None:
        """A paused consumer takes nothing new, and what it has can be settled."""
        hand = self.consuming(prefetch=5)
        await self.push(b"in hand")
        await self.until(lambda: hand.taken)
        self.consumer.pause()
        await self.a_while()
        await self.push(b"later")
        hand.settle(b"in hand")
        await self.a_while()
        self.assertEqual(hand.bodies, [b"in hand"])
        self.assertEqual(await self.contents(), [b"later"])

    @scenario
    async def test_unpaused_twice(self) -> None:
        """Pausing and unpausing, also twice, never makes a second consumer."""
        hand = self.consuming(prefetch=1)
        self.consumer.unpause()
        self.consumer.pause()
        self.consumer.pause()
        self.consumer.unpause()
        self.consumer.unpause()
        await self.pushed(b"1", b"2")
        await self.until(lambda: hand.taken)
        await self.a_while()
        self.assertEqual(hand.bodies, [b"1"])

    @scenario
    async def test_headers_of_any_kind(self) -> None:
        """Headers, dead-lettered messages' too, spoil nothing, and tell the delivery count."""
        hand = self.consuming()
        death = [{"queue": "other", "reason": "rejected", "count": 1, "routing-keys": ["a", "b"]}]
        await self.push(b"dead", {"x-death": death, "none": None, "yes": True, "bytes": b"\xff"})
        await self.push(b"counted", {"x-delivery-count": 7})
        await self.push(b"plain")
        await self.until(lambda: len(hand.taken) == 3)
        self.assertEqual([delivery.delivery_count for delivery in hand.taken], [0, 7, 0])

    @scenario
    async def test_bytes_are_kept(self) -> None:
        """A body is bytes: none, many, and of any kind arrive as they were sent."""
        bodies = [b"", b"\xff\x00\xfe", "Grüße \U0001f600".encode(), b"x" * 300_000]
        hand = self.consuming()
        await self.pushed(*bodies)
        await self.until(lambda: len(hand.taken) == len(bodies))
        self.assertEqual(hand.bodies, bodies)

    # Publishing

    @scenario
    async def test_publish(self) -> None:
        """A publish that has succeeded is in its queue, though nobody has ever consumed there."""
        await self.broker.publisher(self.queue).publish(b"kept")
        self.assertEqual(await self.contents(), [b"kept"])

    @scenario
    async def test_publishes_keep_their_order(self) -> None:
        """What is published without waiting is queued in its order, and each is confirmed."""
        publisher = self.broker.publisher(self.queue)
        bodies = [b"%d" % number for number in range(20)]
        pending = [publisher.publish(body) for body in bodies]
        for done in pending:
            await done
        self.assertEqual(await self.contents(), bodies)

    @scenario
    async def test_publish_to_a_consumer(self) -> None:
        """What is published reaches whoever consumes from the queue of that name."""
        hand = self.consuming()
        await self.broker.publisher(self.queue).publish(b"hello")
        await self.until(lambda: hand.taken)
        self.assertEqual(hand.bodies, [b"hello"])
        self.assertFalse(hand.taken[0].redelivered)

    @scenario
    async def test_publish_while_consuming_from_a_handler(self) -> None:
        """A handler may publish and wait for the confirmation."""
        publisher = self.broker.publisher(self.queue + ".next")
        handled: list[bytes] = []

        async def handler(delivery: Delivery) -> Outcome:
            await publisher.publish(delivery.body)
            handled.append(delivery.body)
            return Outcome.ACK

        self.broker.consume(self.queue, handler, 1).unpause()
        await self.pushed(b"1", b"2")
        await self.until(lambda: len(handled) == 2)
        self.assertEqual(handled, [b"1", b"2"])

    @scenario
    async def test_publish_after_the_queue_was_deleted(self) -> None:
        """A queue that was deleted is declared again: the publish succeeds and is kept."""
        publisher = self.broker.publisher(self.queue)
        await publisher.publish(b"gone with the queue")
        await self.a_while()  # what the new publisher declares is declared
        await self.delete_queue()
        await publisher.publish(b"kept")
        self.assertEqual(await self.contents(), [b"kept"])

    @scenario
    async def test_consuming_goes_on_after_the_queue_was_deleted(self) -> None:
        """A consumer whose queue is deleted makes it again and goes on."""
        hand = self.consuming()
        await self.push(b"before")
        await self.until(lambda: hand.taken)
        await self.delete_queue()
        await self.broker.publisher(self.queue).publish(b"after")
        await self.until(lambda: len(hand.taken) == 2)
        self.assertEqual(hand.bodies, [b"before", b"after"])

    @scenario
    async def test_transient(self) -> None:
        """What nobody has to keep is published without a queue and without waiting."""
        publisher = self.broker.transient_publisher("vumi.health", "heartbeat.inbound")
        written: list[None] = []

        def attempt() -> list[None]:  # its exchange may not be declared yet
            publisher.publish(b"{}").addCallbacks(written.append, lambda failure: None)
            return written

        await self.until(attempt)

    # Losing the connection

    @scenario
    async def test_unsettled_go_back(self) -> None:
        """What was unsettled when the connection was lost comes again, in order and redelivered."""
        hand = self.consuming()
        await self.pushed(b"1", b"2", b"3")
        await self.until(lambda: len(hand.taken) == 3)
        await self.lose_connection()
        await self.until(lambda: len(hand.taken) == 6)
        self.assertEqual(hand.bodies[3:], [b"1", b"2", b"3"])
        self.assertEqual([delivery.redelivered for delivery in hand.taken], 3 * [False] + 3 * [True])

    @scenario
    async def test_lost_deliveries_are_told(self) -> None:
        """A delivery whose connection is gone says so, once, and a late outcome does no harm."""
        hand = self.consuming()
        await self.push(b"1")
        await self.until(lambda: hand.taken)
        told: list[str] = []
        hand.taken[0].on_lost(lambda: told.append("lost"))
        first = hand._open[b"1"]
        await self.lose_connection()
        await self.until(lambda: len(hand.taken) == 2)
        self.assertTrue(hand.taken[0].lost)
        self.assertFalse(hand.taken[1].lost)
        first.callback(Outcome.ACK)
        hand.settle(b"1")
        await self.a_while()
        self.assertEqual(told, ["lost"])
        self.assertEqual(len(hand.taken), 2)
        self.assertEqual(await self.contents(), [])

    @scenario
    async def test_settled_deliveries_let_go(self) -> None:
        """Who watched a delivery is let go of when it is settled, though the delivery may still be held."""
        hand = self.consuming()
        await self.push(b"1")
        await self.until(lambda: hand.taken)
        told: set[str] = set()  # a set may be referred to weakly
        hand.taken[0].on_lost(functools.partial(told.add, "lost"))
        watcher = weakref.ref(told)
        del told
        self.assertIsNotNone(watcher())
        hand.settle(b"1")
        await self.until(lambda: watcher() is None)

    @scenario
    async def test_publishing_goes_on(self) -> None:
        """After a lost connection the same publisher publishes again."""
        publisher = self.broker.publisher(self.queue)
        await publisher.publish(b"before")
        reconnects = self.broker.reconnects
        await self.lose_connection()
        await self.until(lambda: self.broker.state == BrokerState.CONNECTED)
        await publisher.publish(b"after")
        self.assertEqual(await self.contents(), [b"before", b"after"])
        self.assertTrue(self.broker.reconnects > reconnects)

    @scenario
    async def test_unconfirmed_fail(self) -> None:
        """A publish whose connection is lost before the confirmation fails; it never hangs."""
        publisher = self.broker.publisher(self.queue)
        await publisher.publish(b"declared")
        pending = publisher.publish(b"in flight")
        await self.lose_connection()
        outcome: list[Any] = []
        pending.addCallbacks(outcome.append, lambda failure: outcome.append(failure.value))
        await self.until(lambda: outcome)
        # A confirmation may have been on its way; anything else is a loss.
        self.assertTrue(outcome[0] is None or isinstance(outcome[0], BrokerError), outcome)

    @scenario
    async def test_pause_survives(self) -> None:
        """A consumer that was paused is paused on the next connection too."""
        hand = self.consuming()
        self.consumer.pause()
        await self.a_while()
        await self.lose_connection()
        await self.until(lambda: self.broker.state == BrokerState.CONNECTED)
        await self.push(b"kept")
        await self.a_while()
        self.assertEqual(hand.bodies, [])
        self.assertEqual(await self.contents(), [b"kept"])

    # Blocking and stopping

    @scenario
    async def test_blocked(self) -> None:
        """A blocked broker says so, refuses publishes at once, and consuming and settling go on."""
        publisher = self.broker.publisher(self.queue + ".out")
        await publisher.publish(b"before")
        hand = self.consuming(prefetch=1)
        await self.pushed(b"1", b"2")
        await self.until(lambda: hand.taken)
        await self.block()
        # RabbitMQ tells a connection that it is blocked when that one publishes.
        publisher.publish(b"the first").addErrback(lambda failure: failure.trap(BrokerError))
        await self.until(lambda: self.broker.state == BrokerState.BLOCKED)
        self.assertIsInstance(await self.refusal(publisher.publish(b"refused")), BrokerUnavailable)
        hand.settle(b"1")
        await self.until(lambda: len(hand.taken) == 2)
        await self.unblock()
        await self.until(lambda: self.broker.state == BrokerState.CONNECTED)
        await publisher.publish(b"after")

    @scenario
    async def test_stop(self) -> None:
        """A stopped broker is closed, refuses publishes, and has given back what was unsettled."""
        publisher = self.broker.publisher(self.queue + ".out")
        await publisher.publish(b"before")
        hand = self.consuming()
        await self.pushed(b"1", b"2")
        await self.until(lambda: len(hand.taken) == 2)
        hand.settle(b"1")
        await self.broker.stop(5)
        self.assertEqual(self.broker.state, BrokerState.CLOSED)
        self.assertTrue(hand.taken[1].lost)
        self.assertIsInstance(await self.refusal(publisher.publish(b"late")), BrokerUnavailable)
        self.assertEqual(await self.contents(), [b"2"])
