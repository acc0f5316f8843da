"""
What every broker does, whatever it is made of: mixed into a test case for each.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any, Awaitable, Callable, Coroutine, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from vumi_turn.broker.interface import (
    MAX_UNCONFIRMED,
    Broker,
    BrokerError,
    BrokerState,
    BrokerUnavailable,
    Delivery,
    MessageTooLarge,
    Nacked,
    Outcome,
    QueueCounts,
)


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

    def now(self) -> float:
        """What the broker's clock says, in seconds."""
        raise NotImplementedError

    async def another(self) -> Broker:
        """Another broker of the same queues, by a connection of its own; connected."""
        raise NotImplementedError

    async def limit_messages(self, size: int) -> None:
        """Let the broker take no message of more bytes, until the end of the test."""
        raise NotImplementedError

    async def fill(self, queue: str) -> None:
        """Let the broker refuse what is published to ``queue``."""
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
        """Headers, dead-lettered messages' too, arrive as they were sent."""
        hand = self.consuming()
        death = [{"queue": "other", "reason": "rejected", "count": 1, "routing-keys": ["a", "b"]}]
        headers = {"x-death": death, "none": None, "yes": True, "bytes": b"\xff"}
        await self.push(b"dead", headers)
        await self.push(b"plain")
        await self.until(lambda: len(hand.taken) == 2)
        self.assertEqual([dict(delivery.headers) for delivery in hand.taken], [headers, {}])

    @scenario
    async def test_delivery_count(self) -> None:
        """A delivery count counts only on a redelivered message: another queue's came with a message that was moved."""
        hand = self.consuming()
        await self.push(b"moved", {"x-delivery-count": 7})
        await self.until(lambda: len(hand.taken) == 1)
        hand.settle(b"moved", Outcome.REQUEUE)
        await self.until(lambda: len(hand.taken) == 2)
        self.assertEqual([delivery.delivery_count for delivery in hand.taken], [0, 7])

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

    @scenario
    async def test_publish_with_headers(self) -> None:
        """Headers of a publish arrive with it, of any type."""
        hand = self.consuming()
        headers = {"reason": "Grüße", "origin": {"queue": "c.inbound"}, "tries": [1, 2], "raw": b"\xff", "replay": True}
        await self.broker.publisher(self.queue).publish(b"1", headers)
        await self.until(lambda: hand.taken)
        self.assertEqual(dict(hand.taken[0].headers), headers)

    @scenario
    async def test_too_large(self) -> None:
        """A message over the broker's limit fails by itself: the others around it are published, in order."""
        publisher = self.broker.publisher(self.queue)
        await publisher.publish(b"before")
        await self.limit_messages(100)
        bodies = [b"1", b"2", b"x" * 101, b"3", b"y" * 100]
        results = [publisher.publish(body) for body in bodies]
        error = await self.refusal(results.pop(2))
        for done in results:
            await done
        self.assertIsInstance(error, MessageTooLarge)
        self.assertEqual(getattr(error, "limit", None), 100)
        self.assertIsInstance(await self.refusal(publisher.publish(b"z" * 101)), MessageTooLarge)
        await publisher.publish(b"after")
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        # What was read before the channel was closed may be there twice, under the same body.
        found = list(dict.fromkeys(await self.contents()))
        self.assertEqual(found, [b"before", b"1", b"2", b"3", b"y" * 100, b"after"])

    @scenario
    async def test_full_queue(self) -> None:
        """A queue that takes no message is a nack, and other queues take theirs."""
        full, other = self.broker.publisher(self.queue), self.broker.publisher(self.queue + ".out")
        await full.publish(b"fits")
        await self.fill(self.queue)
        self.assertIsInstance(await self.refusal(full.publish(b"does not")), Nacked)
        await other.publish(b"other")
        self.assertEqual(await self.contents(), [b"fits"])

    # More than the prefetch

    @scenario
    async def test_more_than_the_prefetch(self) -> None:
        """What cannot move is allowed for: as many more are delivered, in the queue's order, and not one more."""
        hand = self.consuming(prefetch=2)
        await self.pushed(*(b"%d" % number for number in range(12)))
        await self.until(lambda: len(hand.taken) == 2)
        self.consumer.allow_more(2)
        await self.until(lambda: len(hand.taken) == 4)
        await self.a_while()
        self.assertEqual(hand.bodies, [b"0", b"1", b"2", b"3"])
        self.consumer.allow_more(3)  # rounded up to a multiple of the prefetch
        await self.until(lambda: len(hand.taken) == 6)
        await self.a_while()
        self.assertEqual(hand.bodies, [b"%d" % number for number in range(6)])
        for body in (b"4", b"5"):  # these move; the others don't
            hand.settle(body)
        await self.until(lambda: len(hand.taken) == 8)
        await self.a_while()
        self.assertEqual(hand.bodies, [b"%d" % number for number in range(8)])

    @scenario
    async def test_back_to_the_prefetch(self) -> None:
        """When nothing is in the way any more the window is the prefetch again; what was delivered can be settled."""
        hand = self.consuming(prefetch=2)
        self.consumer.allow_more(4)
        await self.pushed(*(b"%d" % number for number in range(10)))
        await self.until(lambda: len(hand.taken) == 6)
        self.consumer.allow_more(0)
        await self.a_while()
        for body in list(hand.bodies):
            hand.settle(body)
        await self.until(lambda: len(hand.taken) == 8)
        await self.a_while()
        self.assertEqual(sorted(hand.bodies), [b"%d" % number for number in range(8)])
        for body in hand.bodies[6:]:
            hand.settle(body)
        await self.until(lambda: len(hand.taken) == 10)
        self.consumer.allow_more(2)
        await self.pushed(b"a", b"b", b"c")
        await self.until(lambda: len(hand.taken) == 12)
        await self.a_while()
        self.assertEqual(hand.bodies[-2:], [b"a", b"b"])

    @scenario
    async def test_more_is_kept_over_a_reconnect(self) -> None:
        """What is allowed beyond the prefetch holds on the next connection too, and while pausing it is kept."""
        hand = self.consuming(prefetch=1)
        self.consumer.allow_more(2)
        await self.pushed(b"1", b"2", b"3", b"4")
        await self.until(lambda: len(hand.taken) == 3)
        await self.lose_connection()
        await self.until(lambda: len(hand.taken) == 6)
        self.consumer.pause()
        await self.a_while()
        for body in (b"1", b"2", b"3"):
            hand.settle(body)
        await self.a_while()
        self.assertEqual(len(hand.taken), 6)
        self.assertEqual(await self.contents(), [b"4"])

    # Single active consumers

    @scenario
    async def test_single_active(self) -> None:
        """Of several consumers of such a queue the first gets everything; when it pauses, the next one does."""
        first, second = ManualHandler(), ManualHandler()
        consumers = [
            broker.consume(self.queue + ".single", hand, 10_000, single_active=True)
            for broker, hand in ((self.broker, first), (await self.another(), second))
        ]
        consumers[0].unpause()
        await self.until(lambda: self.broker.state is BrokerState.CONNECTED)
        consumers[1].unpause()
        await self.a_while()
        publisher = self.broker.publisher(self.queue + ".single", single_active=True)
        for body in (b"1", b"2", b"3"):
            await publisher.publish(body)
        await self.until(lambda: len(first.taken) == 3)
        self.assertEqual(second.taken, [])
        for body in (b"1", b"2"):
            first.settle(body)
        consumers[0].pause()
        await self.a_while()
        await publisher.publish(b"4")
        await self.until(lambda: len(second.taken) == 1)
        self.assertEqual(second.bodies, [b"4"])
        first.settle(b"3", Outcome.REQUEUE)
        await self.until(lambda: len(second.taken) == 2)
        self.assertEqual(second.bodies, [b"4", b"3"])
        second.settle(b"4")
        second.settle(b"3")

    @scenario
    async def test_single_active_is_lost(self) -> None:
        """What the active consumer had when its connection was lost goes to the next one, in order."""
        first, second = ManualHandler(), ManualHandler()
        other = await self.another()
        for broker, hand in ((self.broker, first), (other, second)):
            broker.consume(self.queue + ".single", hand, 10_000, single_active=True).unpause()
            await self.until(lambda: broker.state is BrokerState.CONNECTED)  # noqa: B023
            await self.a_while()
        publisher = other.publisher(self.queue + ".single", single_active=True)
        for body in (b"1", b"2"):
            await publisher.publish(body)
        await self.until(lambda: len(first.taken) == 2)
        await self.lose_connection()
        await self.until(lambda: len(second.taken) == 2)
        self.assertEqual(second.bodies, [b"1", b"2"])
        self.assertEqual([delivery.redelivered for delivery in second.taken], [True, True])
        self.assertTrue(all(delivery.lost for delivery in first.taken))
        for body in (b"1", b"2"):
            second.settle(body)
        await self.a_while()

    # Scopes

    @scenario
    async def test_scope(self) -> None:
        """A scope consumes and publishes by the connections that it shares, also over a reconnect."""
        scope = self.broker.scope("a channel")
        self.assertEqual(scope.state, BrokerState.CONNECTING)
        hand = ManualHandler()
        scope.consume(self.queue, hand, 10).unpause()
        publisher = scope.publisher(self.queue)
        states: list[BrokerState] = []
        scope.on_state(states.append)
        scope.start()
        await self.until(lambda: scope.state is BrokerState.CONNECTED)
        await publisher.publish(b"1")
        await self.until(lambda: hand.taken)
        await self.lose_connection()
        await self.until(lambda: len(hand.taken) == 2)
        self.assertEqual(scope.reconnects, self.broker.reconnects)
        await self.until(lambda: scope.state is BrokerState.CONNECTED)
        await scope.stop(5)
        self.assertEqual(states[0], BrokerState.CONNECTED)
        self.assertEqual(states[-1], BrokerState.CLOSED)

    @scenario
    async def test_scope_that_stops(self) -> None:
        """A scope that stops gives back what it has; the others notice nothing, and a new one may take its place."""
        hand, other = self.consuming(), ManualHandler()
        scope = self.broker.scope("a channel")
        scope.consume(self.queue + ".out", other, 10).unpause()
        publisher = scope.publisher(self.queue + ".out")
        scope.start()
        await self.until(lambda: scope.state is BrokerState.CONNECTED)
        await self.push(b"mine")
        await publisher.publish(b"1")
        await self.until(lambda: hand.taken and other.taken)
        reconnects = self.broker.reconnects
        await scope.stop(5)
        self.assertTrue(other.taken[0].lost)
        self.assertFalse(hand.taken[0].lost)
        self.assertIsInstance(await self.refusal(publisher.publish(b"late")), BrokerUnavailable)
        again = self.broker.scope("a channel")
        again.consume(self.queue + ".out", other, 10).unpause()
        again.start()
        await self.until(lambda: len(other.taken) == 2)
        self.assertTrue(other.taken[1].redelivered)
        other.settle(b"1")
        await self.a_while()
        await again.stop(5)
        hand.settle(b"mine")
        await self.a_while()
        self.assertEqual((self.broker.state, self.broker.reconnects), (BrokerState.CONNECTED, reconnects))
        self.assertEqual(await self.contents(), [])

    @scenario
    async def test_scopes_have_bounds_of_their_own(self) -> None:
        """As many unconfirmed publishes as one scope may have cost another one nothing."""
        scope = self.broker.scope("a channel")
        publisher, other = self.broker.publisher(self.queue), scope.publisher(self.queue)
        scope.start()
        await self.until(lambda: scope.state is BrokerState.CONNECTED)
        pending = [publisher.publish(b"") for _ in range(MAX_UNCONFIRMED)]
        over, fits = publisher.publish(b""), other.publish(b"")
        self.assertIsInstance(await self.refusal(over), BrokerUnavailable)
        await fits
        for done in pending:
            await done
        await scope.stop(5)

    # Locks and looks

    @scenario
    async def test_lock(self) -> None:
        """One connection holds a lock; another one gets it when it is released or its holder's connection is lost."""
        mine, theirs = self.broker.lock(self.queue + ".lock"), (await self.another()).lock(self.queue + ".lock")
        lost: list[str] = []
        mine.on_lost(lambda: lost.append("mine"))
        self.assertFalse(mine.held)
        self.assertEqual([await mine.acquire(), await theirs.acquire()], [True, False])
        self.assertEqual((mine.held, theirs.held), (True, False))
        self.assertTrue(await mine.acquire())
        await mine.release()
        await mine.release()
        self.assertFalse(mine.held)
        self.assertTrue(await theirs.acquire())
        self.assertFalse(await mine.acquire())
        await theirs.release()
        self.assertTrue(await mine.acquire())
        self.assertEqual(lost, [])
        await self.lose_connection()
        self.assertEqual((mine.held, lost), (False, ["mine"]))
        await self.until(lambda: self.broker.state is BrokerState.CONNECTED)
        self.assertTrue(await theirs.acquire())
        self.assertFalse(await mine.acquire())
        await theirs.release()

    @scenario
    async def test_counts(self) -> None:
        """The messages that are ready and the consumers of a queue are counted; what is not there is told."""
        await self.pushed(b"1", b"2", b"3")
        hand = self.consuming(prefetch=1)
        await self.until(lambda: hand.taken)
        await self.a_while()
        self.assertEqual(await self.broker.counts(self.queue), QueueCounts(2, 1))
        self.assertIs(await self.broker.counts(self.queue + ".unheard"), None)
        self.consumer.pause()
        await self.a_while()
        self.assertEqual(await self.broker.counts(self.queue), QueueCounts(2, 0))

    @scenario
    async def test_probe(self) -> None:
        """A connected broker answers, and is heard doing so; a stopped one does not."""
        before = self.now()
        await self.a_while()
        self.assertTrue(await self.broker.probe())
        await self.broker.publisher(self.queue).publish(b"something happens")
        self.assertTrue(self.broker.heard_since(before))
        await self.a_while()
        self.assertFalse(self.broker.heard_since(self.now() + 1))
        await self.broker.stop(5)
        self.assertFalse(await self.broker.probe())
        self.assertFalse(self.broker.heard_since(before))

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
