"""Consuming from RabbitMQ, on a RabbitMQ made of real frames in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from tests.broker.amqp.case import BrokerCase
from tests.broker.amqp.peer import content_frames, method_frame
from tests.cases import case
from vumi_turn.broker.interface import BrokerState, Delivery, Outcome


class ConsumingTests(BrokerCase):
    """What becomes of deliveries."""

    def test_declares_like_everybody(self) -> None:
        """Exchange, queue without arguments and binding are declared, then it is consumed."""
        self.broker.consume("c.inbound", self.handler, 7).unpause()
        self.up()
        peer = self.rabbit.consuming
        self.assertEqual(
            self.calls("consuming"),
            [
                "channel.open",
                "exchange.declare",
                "queue.declare",
                "queue.bind",
                "channel.close",
                "channel.open",
                "basic.qos",
                "basic.consume",
            ],
        )
        exchange = peer.called("exchange.declare")[0].fields
        self.assertEqual((exchange["exchange"], exchange["type"], exchange["durable"]), ("vumi", "direct", True))
        queue = peer.called("queue.declare")[0].fields
        self.assertEqual((queue["queue"], queue["durable"], queue["arguments"]), ("c.inbound", True, {}))
        self.assertFalse(queue["exclusive"] or queue["auto_delete"] or queue["passive"])
        binding = peer.called("queue.bind")[0].fields
        self.assertEqual(
            (binding["queue"], binding["exchange"], binding["routing_key"]),
            ("c.inbound", "vumi", "c.inbound"),
        )
        self.assertEqual(peer.called("basic.qos")[0].fields["prefetch_count"], 7)

    def test_starts_paused(self) -> None:
        """Until it is unpaused, a consumer declares its queue and takes nothing."""
        consumer = self.broker.consume("c.inbound", self.handler, 1)
        self.up()
        self.assertTrue(consumer.paused)
        self.assertNotIn("basic.consume", self.calls("consuming"))
        consumer.unpause()
        self.rabbit.advance()
        self.assertEqual(len(self.rabbit.consuming.called("basic.consume")), 1)

    def test_delivery(self) -> None:
        """A delivery has the queue, the body as bytes, the flag, and when it came."""
        self.up()
        self.consume()
        self.clock.advance(5)
        self.rabbit.consuming.deliver("é😀".encode(), 1, redelivered=True)
        (delivery,) = self.deliveries
        self.assertEqual((delivery.queue, delivery.body), ("c.inbound", "é😀".encode()))
        self.assertEqual((delivery.redelivered, delivery.delivery_count), (True, 0))
        self.assertEqual(delivery.received, self.clock.seconds())

    def test_delivery_count(self) -> None:
        """The count that quorum queues give is read; junk in its place is not, nor that of another queue."""
        self.up()
        self.consume()
        for tag, count in enumerate((15, "many", None, -1), 1):
            self.rabbit.consuming.deliver(b"{}", tag, True, headers={"x-delivery-count": count})
        self.rabbit.consuming.deliver(b"{}", 5, headers={"x-delivery-count": 16})
        self.assertEqual([d.delivery_count for d in self.deliveries], [15, 0, 0, 0, 0])
        self.assertEqual(self.deliveries[4].headers, {"x-delivery-count": 16})

    def test_dead_letter_headers(self) -> None:
        """A message that was dead-lettered (an array of tables) arrives like any other."""
        self.up()
        self.consume()
        death = [{"count": 1, "queue": "q", "reason": "expired", "routing-keys": ["c.inbound"]}]
        self.rabbit.consuming.deliver(b"{}", 1, True, headers={"x-death": death, "x-delivery-count": 2})
        self.assertEqual(self.deliveries[0].delivery_count, 2)
        self.assertEqual(self.deliveries[0].headers["x-death"], death)

    def test_ack(self) -> None:
        """ACK acknowledges this delivery and no other."""
        self.up()
        self.consume()
        self.rabbit.consuming.deliver(b"1", 1)
        self.rabbit.consuming.deliver(b"2", 2)
        self.outcomes[1].callback(Outcome.ACK)
        self.rabbit.advance()
        (call,) = self.rabbit.consuming.called("basic.ack")
        self.assertEqual(call.fields, {"delivery_tag": 2, "multiple": False})

    def test_requeue(self) -> None:
        """REQUEUE gives this delivery back."""
        self.up()
        self.consume()
        self.rabbit.consuming.deliver(b"1", 1)
        self.outcomes[0].callback(Outcome.REQUEUE)
        self.rabbit.advance()
        (call,) = self.rabbit.consuming.called("basic.nack")
        self.assertEqual(call.fields, {"delivery_tag": 1, "multiple": False, "requeue": True})

    def test_coroutine_handler(self) -> None:
        """A coroutine's part before its first wait has run before the next delivery's."""
        seen: list[bytes] = []
        gates: list[Deferred[None]] = []

        async def handler(delivery: Delivery) -> Outcome:
            seen.append(delivery.body)
            gates.append(Deferred())
            await gates[-1]
            seen.append(delivery.body.upper())
            return Outcome.ACK

        self.up()
        self.broker.consume("c.inbound", handler, 2).unpause()
        self.rabbit.advance()
        self.rabbit.consuming.deliver(b"a", 1)
        self.rabbit.consuming.deliver(b"b", 2)
        gates[1].callback(None)
        gates[0].callback(None)
        self.rabbit.advance()
        self.assertEqual(seen, [b"a", b"b", b"B", b"A"])
        self.assertEqual([c.fields["delivery_tag"] for c in self.rabbit.consuming.called("basic.ack")], [2, 1])

    def test_failing_handler(self) -> None:
        """A handler that fails, at once or later, is logged, and its message requeued."""
        self.up()

        def at_once(delivery: Delivery) -> Any:
            raise KeyError("at once")

        self.consume()
        self.broker.consume("c.event", at_once, 1).unpause()
        self.rabbit.advance()
        self.rabbit.consuming.deliver(b"1", 1, queue="c.inbound")
        self.outcomes[0].errback(ZeroDivisionError("later"))
        self.rabbit.consuming.deliver(b"1", 1, queue="c.event")
        self.rabbit.advance()
        self.assertEqual(len(self.rabbit.consuming.called("basic.nack")), 2)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lost_delivery(self) -> None:
        """What the lost connection brought is marked, told once, and settled nowhere."""
        self.up()
        self.consume()
        self.rabbit.consuming.deliver(b"1", 1)
        told: list[str] = []
        self.deliveries[0].on_lost(lambda: told.append("lost"))
        self.rabbit.consuming.cut()
        self.assertTrue(self.deliveries[0].lost)
        self.rabbit.advance()
        self.rabbit.consuming.deliver(b"1", 1, redelivered=True)
        self.outcomes[0].callback(Outcome.ACK)
        self.rabbit.advance()
        self.assertEqual(told, ["lost"])
        self.assertEqual(self.rabbit.consuming.called("basic.ack"), [])
        self.outcomes[1].callback(Outcome.ACK)
        self.rabbit.advance()
        self.assertEqual(len(self.rabbit.consuming.called("basic.ack")), 1)

    def test_failing_watcher(self) -> None:
        """A watcher that fails keeps no other from being told, nor the connection from coming back."""
        self.up()
        self.consume()
        self.rabbit.consuming.deliver(b"1", 1)
        self.rabbit.consuming.deliver(b"2", 2)

        def fail() -> None:
            raise ZeroDivisionError

        self.deliveries[0].on_lost(fail)
        self.broker.on_state(lambda state: fail())
        self.rabbit.consuming.cut()
        self.assertEqual([delivery.lost for delivery in self.deliveries], [True, True])
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        self.broker.stop()
        # The delivery's, and the states connecting, connected and closed.
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 4)

    def test_pause(self) -> None:
        """Pausing cancels the consumer; what is in hand can still be settled."""
        self.up()
        consumer = self.consume()
        self.rabbit.consuming.deliver(b"1", 1)
        consumer.pause()
        self.rabbit.advance()
        self.outcomes[0].callback(Outcome.ACK)
        self.rabbit.advance()
        self.assertEqual(self.calls("consuming")[-2:], ["basic.cancel", "basic.ack"])

    def test_delivery_after_pause(self) -> None:
        """What was on its way when we paused goes back to the queue unseen."""
        self.up()
        consumer = self.consume()
        self.rabbit.silent.add("basic.cancel")
        consumer.pause()
        self.rabbit.consuming.deliver(b"1", 1)
        self.rabbit.advance()
        self.assertEqual(self.deliveries, [])
        self.assertEqual(self.calls("consuming")[-2:], ["basic.cancel", "basic.nack"])

    def test_never_two_consumers(self) -> None:
        """However fast it is paused and unpaused, there is one consumer or none."""
        self.up()
        consumer = self.consume()
        for _ in range(3):
            consumer.pause()
            consumer.unpause()
            consumer.unpause()
        consumer.pause()
        self.rabbit.advance()
        consumer.unpause()
        consumer.unpause()
        self.rabbit.advance()
        active: set[str] = set()
        for call in self.rabbit.consuming.calls:
            with case(call=call):
                if call.name == "basic.consume":
                    self.assertEqual(active, set())
                    active.add(call.fields["consumer_tag"])
                elif call.name == "basic.cancel":
                    active.remove(call.fields["consumer_tag"])
        self.assertEqual(len(active), 1)

    def test_paused_over_reconnect(self) -> None:
        """A paused consumer stays paused on the next connection."""
        self.up()
        consumer = self.consume()
        consumer.pause()
        self.rabbit.advance()
        self.rabbit.consuming.cut()
        self.rabbit.advance()
        self.assertNotIn("basic.consume", self.calls("consuming"))
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def test_cancelled_by_the_server(self) -> None:
        """When the queue is deleted under us, it is declared and consumed again, on the same channel."""
        self.up()
        self.consume()
        peer = self.rabbit.consuming
        first = peer.called("basic.consume")[0]
        peer.deliver(b"1", 1)
        peer.method(first.channel, "basic.cancel", consumer_tag=first.fields["consumer_tag"], nowait=True)
        self.assertEqual(self.broker.state, BrokerState.CONNECTING)
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        second = peer.called("basic.consume")[1]
        self.assertEqual(second.channel, first.channel)
        self.assertNotEqual(second.fields["consumer_tag"], first.fields["consumer_tag"])
        self.assertEqual(len(peer.called("queue.declare")), 2)
        self.outcomes[0].callback(Outcome.ACK)
        self.rabbit.advance()
        self.assertEqual(len(peer.called("basic.ack")), 1)

    def test_cancelled_again_and_again(self) -> None:
        """A queue that is deleted each time it is made is not made in a tight loop."""
        self.up()
        self.consume()
        peer = self.rabbit.consuming
        for _ in range(4):
            call = peer.called("basic.consume")[-1]
            peer.method(call.channel, "basic.cancel", consumer_tag=call.fields["consumer_tag"], nowait=True)
            self.rabbit.advance()
        self.assertEqual(len(peer.called("basic.consume")), 2)
        self.rabbit.advance(0.5)
        self.assertEqual(len(peer.called("basic.consume")), 3)

    def test_channel_closed_by_the_server(self) -> None:
        """One channel's end costs the other nothing; its deliveries are lost, and it is opened anew."""
        self.up()
        self.consume("c.inbound")
        self.consume("c.event")
        peer = self.rabbit.consuming
        peer.deliver(b"1", 1, queue="c.inbound")
        peer.deliver(b"2", 1, queue="c.event")
        channel = peer.called("basic.consume")[0].channel
        peer.method(channel, "channel.close", reply_code=406, reply_text="PRECONDITION_FAILED - timeout")
        self.assertEqual([d.lost for d in self.deliveries], [True, False])
        self.rabbit.advance()
        self.assertIn("channel.close-ok", peer.names())
        self.assertEqual(
            [c.fields["queue"] for c in peer.called("basic.consume")], ["c.inbound", "c.event", "c.inbound"]
        )
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        self.assertEqual(len(self.logged()), 1)
        self.assertIn("c.inbound", self.logged()[0])

    def test_queue_of_another_kind(self) -> None:
        """A queue with other arguments is said once, tried now and then, and found when mended."""
        self.rabbit.refusals["queue.declare"] = (406, "PRECONDITION_FAILED - inequivalent arg 'x-max'")
        self.broker.consume("c.inbound", self.handler, 1).unpause()
        self.broker.start()
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTING)
        for _ in range(60):
            self.rabbit.advance(1)
        peer = self.rabbit.consuming
        self.assertFalse(peer.lost)
        self.assertLess(len(peer.called("queue.declare")), 20)
        (line,) = self.logged()
        self.assertIn("c.inbound", line)
        self.assertIn("inequivalent arg 'x-max'", line)
        self.rabbit.refusals.clear()
        self.rabbit.advance(5)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        self.assertEqual(len(peer.client.channels), 2, "channel 0 and one more")

    def test_added_while_connecting(self) -> None:
        """A consumer that is added during the set-up is set up as well."""
        self.rabbit.silent.add("exchange.declare")
        self.broker.consume("c.inbound", self.handler, 1)
        self.broker.start()
        self.rabbit.advance()
        self.broker.consume("c.event", self.handler, 1).unpause()
        self.rabbit.silent.clear()
        self.rabbit.consuming.method(1, "exchange.declare-ok")
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        self.assertEqual(self.rabbit.consuming.called("basic.consume")[0].fields["queue"], "c.event")

    def test_nothing_after_stop(self) -> None:
        """What arrives after the stop goes to nobody, and what is in hand is lost."""
        self.up()
        self.consume()
        self.rabbit.consuming.deliver(b"1", 1)
        self.rabbit.silent.add("connection.close")
        self.broker.stop(1)
        self.assertTrue(self.deliveries[0].lost)
        self.rabbit.consuming.deliver(b"2", 2)
        self.outcomes[0].callback(Outcome.ACK)
        self.rabbit.advance(1)
        self.assertEqual(len(self.deliveries), 1)
        self.assertEqual(self.rabbit.consuming.called("basic.ack"), [])


class AdditionalWindowTests(BrokerCase):
    """The second consumer of a queue, for what goes beyond the prefetch."""

    def setUp(self) -> None:
        super().setUp()
        self.up()
        self.consumer = self.consume(prefetch=10)
        self.peer = self.rabbit.consuming
        self.sent = 0

    def deliver_to(self, which: int, count: int = 1) -> None:
        """Deliver by the consumer that was made as the ``which``-th."""
        call = self.peer.called("basic.consume")[which]
        for _ in range(count):
            self.sent += 1
            self.peer.send(
                method_frame(
                    call.channel,
                    "basic.deliver",
                    consumer_tag=call.fields["consumer_tag"],
                    delivery_tag=self.sent,
                    exchange="vumi",
                    routing_key="c.inbound",
                )
                + content_frames(call.channel, b"{}")
            )

    def allow(self, count: int) -> None:
        self.consumer.allow_more(count)
        self.rabbit.advance()

    def windows(self) -> list[int]:
        """The prefetch of each consumer, in the order in which they were made."""
        return [call.fields["prefetch_count"] for call in self.peer.called("basic.qos")]

    def cancelled(self) -> int:
        return len(self.peer.called("basic.cancel"))

    def test_on_the_same_channel(self) -> None:
        """The second consumer is on the first one's channel; its prefetch is a multiple of the first one's."""
        self.allow(1)
        first, second = self.peer.called("basic.consume")
        self.assertEqual((second.channel, second.fields["queue"]), (first.channel, "c.inbound"))
        self.assertNotEqual(second.fields["consumer_tag"], first.fields["consumer_tag"])
        self.assertEqual(self.windows(), [10, 10])
        self.allow(10)
        self.assertEqual(self.windows(), [10, 10])
        self.allow(11)
        self.assertEqual((self.windows(), self.cancelled()), ([10, 10, 20], 1))

    def test_what_a_cancelled_one_held_counts(self) -> None:
        """A larger window allows for what the cancelled consumer has left over, until that is settled."""
        self.allow(10)
        self.deliver_to(1, 10)
        self.allow(20)
        self.assertEqual(self.windows(), [10, 10, 10])
        for outcome in self.outcomes[:4]:
            outcome.callback(Outcome.ACK)
        self.rabbit.advance()
        self.assertEqual(self.windows(), [10, 10, 10])
        self.outcomes[4].callback(Outcome.ACK)
        self.rabbit.advance()
        self.assertEqual(self.windows(), [10, 10, 10, 15])

    def test_closed(self) -> None:
        """Without need the second consumer is cancelled; its deliveries can still be settled."""
        self.allow(10)
        self.deliver_to(1, 2)
        self.allow(0)
        self.assertEqual((self.windows(), self.cancelled()), ([10, 10], 1))
        for outcome in self.outcomes:
            outcome.callback(Outcome.ACK)
        self.rabbit.advance()
        self.assertEqual([call.fields["delivery_tag"] for call in self.peer.called("basic.ack")], [1, 2])
        self.assertEqual(self.windows(), [10, 10])

    def test_pause(self) -> None:
        """Pausing cancels both consumers at once: what then goes back would come to the other one again."""
        self.allow(10)
        self.deliver_to(1)
        self.rabbit.silent.add("basic.cancel")
        self.consumer.pause()
        self.outcomes[0].callback(Outcome.REQUEUE)
        self.rabbit.advance()
        self.assertEqual(self.calls("consuming")[-3:], ["basic.cancel", "basic.cancel", "basic.nack"])
        consumed = [call.fields["consumer_tag"] for call in self.peer.called("basic.consume")]
        self.assertEqual([call.fields["consumer_tag"] for call in self.peer.called("basic.cancel")], consumed)

    def test_pause_and_unpause(self) -> None:
        """After a pause both consumers are made again."""
        self.allow(10)
        self.consumer.pause()
        self.rabbit.advance()
        self.assertEqual(self.cancelled(), 2)
        self.consumer.unpause()
        self.rabbit.advance()
        self.assertEqual(self.windows(), [10, 10, 10, 10])

    def test_sent_before_the_cancel(self) -> None:
        """What was on its way to a cancelled second consumer is a delivery like any other, and left over."""
        self.allow(10)
        self.rabbit.silent.add("basic.cancel")
        self.allow(0)
        self.deliver_to(1)
        self.rabbit.silent.clear()
        self.peer.method(self.peer.called("basic.cancel")[0].channel, "basic.cancel-ok", consumer_tag="any")
        self.deliver_to(1)
        self.assertEqual(len(self.deliveries), 2)
        self.allow(10)
        self.assertEqual(self.windows(), [10, 10, 8])

    def test_bounded(self) -> None:
        """No more than 1,000 beyond the prefetch."""
        self.allow(5_000)
        self.assertEqual(self.windows(), [10, 1000])

    def test_small_changes_cost_nothing(self) -> None:
        """A number that goes up and down by a little makes no calls."""
        self.allow(40)
        calls = len(self.peer.calls)
        for count in (39, 35, 31, 38, 40):
            self.allow(count)
        self.assertEqual(len(self.peer.calls), calls)
        self.allow(10)
        self.assertEqual(self.windows(), [10, 40, 10])

    def test_cancelled_by_the_server(self) -> None:
        """When the queue is deleted both consumers are made again."""
        self.allow(10)
        for call in self.peer.called("basic.consume"):
            self.peer.method(call.channel, "basic.cancel", consumer_tag=call.fields["consumer_tag"], nowait=True)
        self.rabbit.advance()
        self.assertEqual(self.windows(), [10, 10, 10, 10])
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def test_no_second_active_one(self) -> None:
        """On a queue with a single active consumer a second one would get nothing, so there is none."""
        consumer = self.broker.consume("c.turn_joining", self.handler, 10_000, single_active=True)
        consumer.unpause()
        consumer.allow_more(10)
        self.rabbit.advance()
        declared = self.peer.called("queue.declare")[-1].fields
        self.assertEqual(declared["arguments"], {"x-single-active-consumer": True})
        self.assertEqual(self.windows(), [10, 10_000])
        self.assertFalse(self.peer.called("basic.consume")[-1].fields["exclusive"])


class PermissionTests(BrokerCase):
    """Consuming where we may not do everything."""

    def test_no_configure(self) -> None:
        """Where nothing may be declared, what exists is consumed; that is one line in the log."""
        for name in ("exchange.declare", "queue.declare", "queue.bind"):
            self.rabbit.refusals[name] = (403, "ACCESS_REFUSED - configure access to it refused")
        self.broker.consume("c.inbound", self.handler, 1).unpause()
        self.up()
        self.assertEqual(len(self.rabbit.consuming.called("basic.consume")), 1)
        self.rabbit.consuming.cut()
        self.rabbit.advance()
        self.assertEqual(len(self.rabbit.consuming.called("basic.consume")), 1)
        lines = [line for line in self.logged(LogLevel.warn) if "c.inbound" in line]
        self.assertEqual(len(lines), 1)
        self.assertIn("what exists is used", lines[0])

    def test_configure_own_queues_only(self) -> None:
        """Where only the exchange may not be declared, the queue is, and it is bound."""
        self.rabbit.refusals["exchange.declare"] = (403, "ACCESS_REFUSED")
        self.broker.consume("c.inbound", self.handler, 1).unpause()
        self.up()
        names = self.rabbit.consuming.names()
        self.assertEqual([names.count(name) for name in ("queue.declare", "queue.bind", "basic.consume")], [1, 1, 1])

    def test_nothing_there(self) -> None:
        """A queue that we may not declare and that is not there is an error that is tried again."""
        self.rabbit.refusals["queue.declare"] = (403, "ACCESS_REFUSED")
        self.rabbit.refusals["basic.consume"] = (404, "NOT_FOUND - no queue 'c.inbound'")
        self.broker.consume("c.inbound", self.handler, 1).unpause()
        self.broker.start()
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTING)
        self.assertIn("c.inbound: 404 NOT_FOUND", self.broker.reason)
        self.rabbit.refusals.clear()
        self.rabbit.advance(5)
        self.assertEqual((self.broker.state, self.broker.reason), (BrokerState.CONNECTED, ""))

    def test_stream(self) -> None:
        """Consumers have a priority, which streams refuse; the log and the reason say that it is a stream."""
        self.rabbit.refusals["basic.consume"] = (
            406,
            "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'c.inbound' in vhost '/' of queue type "
            "rabbit_stream_queue",
        )
        self.broker.consume("c.inbound", self.handler, 1).unpause()
        self.broker.start()
        self.rabbit.advance()
        self.assertEqual(self.rabbit.consuming.called("basic.consume")[0].fields["arguments"], {"x-priority": 0})
        self.assertIn("c.inbound (it is a stream, which workers cannot consume", self.logged()[0])
        self.assertIn("it is a stream", self.broker.reason)
