"""Publishing to RabbitMQ, on a RabbitMQ made of real frames in memory."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.logger import LogLevel

from tests.broker.amqp.case import BrokerCase
from vumi_turn.broker.interface import (
    MAX_UNCONFIRMED,
    BrokerState,
    BrokerUnavailable,
    ConnectionLost,
    MessageTooLarge,
    Nacked,
    Returned,
)


class PublishingTests(BrokerCase):
    """When a message counts as published."""

    def setUp(self) -> None:
        super().setUp()
        self.publisher = self.broker.publisher("c.outbound")

    def publish(self, body: bytes = b'{"a": 1}') -> Deferred[None]:
        done = self.publisher.publish(body)
        if self.rabbit.peers:
            self.rabbit.publishing.pump()
        return done

    def test_declares_first(self) -> None:
        """Exchange, queue and binding are made before anything is published."""
        self.up()
        self.assertEqual(
            self.calls("publishing"),
            [
                "channel.open",
                "exchange.declare",
                "queue.declare",
                "queue.bind",
                "channel.close",
                "channel.open",
                "confirm.select",
            ],
        )

    def test_declared_when_added_later(self) -> None:
        """A publisher that is made while connected has its queue declared then."""
        self.up()
        self.broker.publisher("c.turn_failures")
        self.rabbit.advance()
        self.assertEqual(
            [c.fields["queue"] for c in self.rabbit.publishing.called("queue.declare")],
            ["c.outbound", "c.turn_failures"],
        )

    def test_what_is_sent(self) -> None:
        """Persistent, mandatory, to vumi's exchange with the routing key, as JSON in UTF-8."""
        self.up()
        self.publish().addErrback(lambda _: None)
        (message,) = self.rabbit.publishing.published
        self.assertEqual(message.body, b'{"a": 1}')
        self.assertEqual(
            {k: message.fields[k] for k in ("exchange", "routing_key", "mandatory", "immediate")},
            {"exchange": "vumi", "routing_key": "c.outbound", "mandatory": True, "immediate": False},
        )
        self.assertEqual(message.properties["delivery-mode"], 2)
        self.assertEqual(message.properties["content-type"], "application/json")
        self.assertEqual(message.properties["content-encoding"], "utf-8")

    def test_confirmed(self) -> None:
        """Only the broker's confirm ends a publish."""
        self.up()
        done = self.publish()
        self.rabbit.advance(60)
        self.assertNoResult(done)
        self.rabbit.publishing.confirm(1)
        self.assertIsNone(self.successResultOf(done))

    def test_confirmed_together(self) -> None:
        """``multiple`` confirms all up to the tag; one alone confirms just that one."""
        self.up()
        pending = [self.publish() for _ in range(5)]
        self.rabbit.publishing.confirm(4)
        self.successResultOf(pending[3])
        self.rabbit.publishing.confirm(3, multiple=True)
        for done in pending[:3]:
            self.successResultOf(done)
        self.assertNoResult(pending[4])
        self.rabbit.publishing.confirm(0, multiple=True)
        self.successResultOf(pending[4])

    def test_unknown_confirm(self) -> None:
        """A confirm of what is not pending changes nothing."""
        self.up()
        done = self.publish()
        self.rabbit.publishing.confirm(77)
        self.assertNoResult(done)
        self.rabbit.publishing.confirm(1)
        self.successResultOf(done)

    def test_nacked(self) -> None:
        """A nack, of one or of several, fails the publish."""
        self.up()
        pending = [self.publish() for _ in range(3)]
        channel = self.rabbit.publishing.publish_channel
        self.rabbit.publishing.method(channel, "basic.nack", delivery_tag=2, multiple=True)
        for done in pending[:2]:
            self.failureResultOf(done, Nacked)
        self.assertNoResult(pending[2])
        self.rabbit.publishing.confirm(3)
        self.successResultOf(pending[2])

    def test_large_and_empty(self) -> None:
        """A body goes out in frames that the broker takes, also one of 100 kB and one of nothing."""
        self.up()
        self.assertEqual(self.rabbit.publishing.client.frame_max, 4096)
        bodies = [b"", b"x" * 4088, b"x" * 4089, bytes(range(256)) * 400]
        for body in bodies:
            self.publish(body).addErrback(lambda _: None)
        self.assertEqual([m.body for m in self.rabbit.publishing.published], bodies)

    def test_returned(self) -> None:
        """When no queue took it, the queue is declared and the message published once more."""
        self.up()
        done = self.publish(b"one")
        peer = self.rabbit.publishing
        peer.give_back(peer.published[0])
        peer.confirm(1)
        self.rabbit.advance()
        self.assertNoResult(done)
        self.assertEqual(len(peer.called("queue.declare")), 2)
        self.assertEqual([m.body for m in peer.published], [b"one", b"one"])
        peer.confirm(2)
        self.assertIsNone(self.successResultOf(done))

    def test_returned_twice(self) -> None:
        """Once more, and no more."""
        self.up()
        done = self.publish()
        peer = self.rabbit.publishing
        for tag in (1, 2):
            peer.give_back(peer.published[-1])
            peer.confirm(tag)
            self.rabbit.advance()
        self.failureResultOf(done, Returned)
        self.assertEqual(len(peer.published), 2)

    def test_returned_among_others(self) -> None:
        """A return belongs to its own message, whatever was published around it."""
        self.up()
        pending = [self.publish(b"same") for _ in range(3)]
        peer = self.rabbit.publishing
        peer.give_back(peer.published[1])
        peer.confirm(3, multiple=True)
        self.successResultOf(pending[0])
        self.successResultOf(pending[2])
        self.assertNoResult(pending[1])
        self.rabbit.advance()
        peer.confirm(4)
        self.successResultOf(pending[1])

    def test_many_returned_declare_once(self) -> None:
        """Messages that are returned together wait for one declaration."""
        self.up()
        pending = [self.publish() for _ in range(5)]
        peer = self.rabbit.publishing
        self.rabbit.silent.add("queue.declare")
        for message in list(peer.published):
            peer.give_back(message)
        peer.confirm(5, multiple=True)
        self.rabbit.advance()
        self.assertEqual(len(peer.called("queue.declare")), 2)
        self.rabbit.silent.clear()
        peer.method(peer.called("queue.declare")[1].channel, "queue.declare-ok")
        self.rabbit.advance()
        peer.confirm(10, multiple=True)
        for done in pending:
            self.successResultOf(done)

    def test_returned_and_not_declarable(self) -> None:
        """If the queue cannot be made again, the publish fails and the connection stays."""
        self.up()
        done = self.publish()
        peer = self.rabbit.publishing
        self.rabbit.refusals["queue.declare"] = (406, "PRECONDITION_FAILED")
        peer.give_back(peer.published[0])
        peer.confirm(1)
        self.rabbit.advance()
        self.failureResultOf(done, Returned)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def test_lost_while_declaring_again(self) -> None:
        """A connection that goes while the queue is declared again fails the publish."""
        self.up()
        done = self.publish()
        peer = self.rabbit.publishing
        self.rabbit.silent.add("queue.declare")
        peer.give_back(peer.published[0])
        peer.confirm(1)
        self.rabbit.advance()
        peer.cut()
        self.failureResultOf(done, ConnectionLost)
        self.rabbit.silent.clear()

    def test_lost(self) -> None:
        """What was not confirmed when the connection went fails: nobody knows whether it is there."""
        self.up()
        done = self.publish()
        self.rabbit.publishing.cut()
        self.failureResultOf(done, ConnectionLost)

    def test_late_confirm_of_a_former_connection(self) -> None:
        """Tags start anew with each connection, and so do the ids that returns go by."""
        self.up()
        self.failureResultOf(self.cut_off(self.publish()), ConnectionLost)
        former = self.rabbit.peers[1].published[0]
        self.rabbit.advance()
        done = self.publish(b"new")
        self.rabbit.publishing.give_back(former._replace(channel=self.rabbit.publishing.publish_channel))
        self.rabbit.publishing.confirm(1)
        self.successResultOf(done)

    def cut_off(self, done: Deferred[None]) -> Deferred[None]:
        self.rabbit.publishing.cut()
        return done

    def test_not_connected(self) -> None:
        """Without a connection it fails at once."""
        self.failureResultOf(self.publish(), BrokerUnavailable)
        self.up()
        self.rabbit.failure = ConnectionRefusedError()
        self.rabbit.publishing.cut()
        self.failureResultOf(self.publisher.publish(b""), BrokerUnavailable)

    def test_blocked(self) -> None:
        """A blocked broker takes nothing new; what is pending stays so, and is confirmed later."""
        self.up()
        pending = self.publish()
        peer = self.rabbit.publishing
        peer.method(0, "connection.blocked", reason="low on memory")
        self.assertEqual(self.broker.state, BrokerState.BLOCKED)
        self.failureResultOf(self.publish(), BrokerUnavailable)
        self.assertNoResult(pending)
        self.assertEqual(len(peer.published), 1)
        peer.method(0, "connection.unblocked")
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        peer.confirm(1)
        self.successResultOf(pending)
        self.assertEqual(self.logged(LogLevel.warn), ["RabbitMQ blocks publishing: low on memory"])

    def test_blocked_is_forgotten_with_its_connection(self) -> None:
        """A new connection is not blocked until it is told so."""
        self.up()
        self.rabbit.publishing.method(0, "connection.blocked", reason="disk")
        self.rabbit.publishing.cut()
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def test_bounded(self) -> None:
        """1,000 unconfirmed messages, and not one more."""
        self.up()
        pending = [self.publisher.publish(b"") for _ in range(MAX_UNCONFIRMED)]
        self.assertEqual(MAX_UNCONFIRMED, 1000)
        self.failureResultOf(self.publish(), BrokerUnavailable)
        self.rabbit.publishing.confirm(1)
        self.successResultOf(pending[0])
        self.assertNoResult(self.publish())
        self.rabbit.publishing.confirm(0, multiple=True)

    def test_given_up_by_the_caller(self) -> None:
        """A caller that cancels its wait disturbs nobody else's."""
        self.up()
        given_up, other = self.publish(), self.publish()
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.rabbit.publishing.confirm(2, multiple=True)
        self.successResultOf(other)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def test_exchange_is_gone(self) -> None:
        """A channel closed for a missing exchange fails what is pending; all is declared anew."""
        self.up()
        done = self.publish()
        peer = self.rabbit.publishing
        peer.method(peer.publish_channel, "channel.close", reply_code=404, reply_text="NOT_FOUND - no exchange")
        self.rabbit.advance()
        self.failureResultOf(done, ConnectionLost)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        self.assertIn("NOT_FOUND", self.logged()[0])
        self.assertEqual(len(self.rabbit.publishing.called("exchange.declare")), 2)
        self.assertFalse(peer.lost)

    def test_bindings_went_with_the_exchange(self) -> None:
        """What we consume from was bound to that exchange: it is declared anew too, and consuming goes on."""
        self.up()
        self.consume("c.inbound")
        peer = self.rabbit.consuming
        before = peer.names().count("queue.bind")
        self.rabbit.publishing.cut()
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        self.assertEqual(peer.names().count("queue.bind"), before + 1)
        self.assertEqual(peer.called("queue.bind")[-1].fields["queue"], "c.inbound")
        self.assertEqual(len(peer.called("basic.consume")), 1)
        peer.deliver(b"1", 1)
        self.assertEqual([delivery.body for delivery in self.deliveries], [b"1"])

    def test_declare_refused(self) -> None:
        """A queue that cannot be declared is said once; publishing to it is still tried."""
        self.rabbit.refusals["queue.declare"] = (406, "PRECONDITION_FAILED - inequivalent arg")
        self.up()
        self.rabbit.publishing.cut()
        self.rabbit.advance()
        self.assertEqual(len([line for line in self.logged() if "c.outbound" in line]), 1)
        done = self.publish()
        self.rabbit.publishing.confirm(1)
        self.successResultOf(done)

    def test_stop(self) -> None:
        """What is pending when we stop fails."""
        self.up()
        done = self.publish()
        self.broker.stop()
        self.failureResultOf(done, ConnectionLost)
        self.failureResultOf(self.publisher.publish(b""), BrokerUnavailable)

    def test_prompt_answers(self) -> None:
        """A publish from within another one's callback is numbered right."""
        self.up()
        second: list[Deferred[None]] = []
        first = self.publish()
        first.addCallback(lambda _: second.append(self.publisher.publish(b"2")))
        self.rabbit.publishing.confirm(1)
        self.rabbit.publishing.pump()
        self.assertEqual(self.rabbit.publishing.published[-1].body, b"2")
        self.rabbit.publishing.confirm(2)
        self.successResultOf(second[0])


class TooLargeTests(BrokerCase):
    """RabbitMQ closes the channel of a message that is over its max_message_size."""

    TEXT = "PRECONDITION_FAILED - message size 11 is larger than configured max size 10"

    def setUp(self) -> None:
        super().setUp()
        self.publisher = self.broker.publisher("c.outbound")
        self.up()
        self.peer = self.rabbit.publishing

    def publish(self, *bodies: bytes) -> list[Deferred[None]]:
        done = [self.publisher.publish(body) for body in bodies]
        self.peer.pump()
        return done

    def refuse(self, text: str = TEXT) -> None:
        self.peer.method(self.peer.publish_channel, "channel.close", reply_code=406, reply_text=text)

    def test_only_its_own_message(self) -> None:
        """The message fails with the limit; the others are published again, in order, on a new channel."""
        before, large, after = self.publish(b"before", b"x" * 11, b"after")
        self.refuse()
        error = self.failureResultOf(large, MessageTooLarge)
        self.assertEqual(error.value.limit, 10)
        self.rabbit.advance()
        self.assertEqual([m.body for m in self.peer.published[3:]], [b"before", b"after"])
        self.peer.confirm(2, multiple=True)
        self.successResultOf(before)
        self.successResultOf(after)
        self.assertFalse(self.peer.lost)
        self.assertEqual(len(self.logged()), 1)
        self.assertIn("11 bytes for c.outbound: its max_message_size is 10", self.logged()[0])

    def test_confirmed_ones_are_not_repeated(self) -> None:
        """What was confirmed before the channel was closed is not published again."""
        done, large = self.publish(b"before", b"x" * 11)
        self.peer.confirm(1)
        self.successResultOf(done)
        self.refuse()
        self.failureResultOf(large, MessageTooLarge)
        self.rabbit.advance()
        self.assertEqual(len(self.peer.published), 2)

    def test_later_ones(self) -> None:
        """Later publishes over the limit fail at once, and nothing is sent of them; those of the limit are."""
        (large,) = self.publish(b"x" * 11)
        self.refuse()
        self.failureResultOf(large, MessageTooLarge)
        self.rabbit.advance()
        over, fits = self.publish(b"y" * 11, b"y" * 10)
        self.failureResultOf(over, MessageTooLarge)
        self.assertEqual([m.body for m in self.peer.published[1:]], [b"y" * 10])
        self.peer.confirm(1)
        self.successResultOf(fits)

    def test_meanwhile(self) -> None:
        """What is published while the channel is replaced waits for the new one, behind what is repeated."""
        self.rabbit.silent.add("confirm.select")
        first, large = self.publish(b"first", b"x" * 11)
        self.refuse()
        self.failureResultOf(large, MessageTooLarge)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        (second,) = self.publish(b"second")
        self.assertEqual(len(self.peer.published), 2)
        self.rabbit.silent.clear()
        self.peer.method(self.peer.publish_channel, "confirm.select-ok")
        self.rabbit.advance()
        self.assertEqual([m.body for m in self.peer.published[2:]], [b"first", b"second"])
        self.peer.confirm(2, multiple=True)
        self.successResultOf(first)
        self.successResultOf(second)

    def test_lost_meanwhile(self) -> None:
        """A connection that is lost while the channel is replaced fails what waits for it."""
        self.rabbit.silent.add("confirm.select")
        first, large = self.publish(b"first", b"x" * 11)
        self.refuse()
        self.failureResultOf(large, MessageTooLarge)
        self.peer.cut()
        self.failureResultOf(first, ConnectionLost)
        self.rabbit.silent.clear()

    def test_returned_before(self) -> None:
        """A message that was returned before the close is published again as for the first time."""
        first, large = self.publish(b"first", b"x" * 11)
        self.peer.give_back(self.peer.published[0])
        self.refuse()
        self.failureResultOf(large, MessageTooLarge)
        self.rabbit.advance()
        for tag in (1, 2):
            self.peer.give_back(self.peer.published[-1])
            self.peer.confirm(tag)
            self.rabbit.advance()
        self.failureResultOf(first, Returned)

    def test_other_words(self) -> None:
        """RabbitMQ 3.7's words are understood too; a limit that no message is over is no reason to repeat."""
        first, large = self.publish(b"1", b"x" * 11)
        self.refuse("PRECONDITION_FAILED - message size 11 larger than max size 10")
        self.failureResultOf(large, MessageTooLarge)
        self.rabbit.advance()
        self.refuse("PRECONDITION_FAILED - message size 11 larger than max size 10")
        self.failureResultOf(first, ConnectionLost)

    def test_forgotten_with_the_connection(self) -> None:
        """The broker may come back with another limit: after a lost connection it is found out again."""
        (large,) = self.publish(b"x" * 11)
        self.refuse()
        self.failureResultOf(large, MessageTooLarge)
        self.peer.cut()
        self.rabbit.advance()
        self.peer = self.rabbit.publishing
        (large,) = self.publish(b"x" * 11)
        self.peer.confirm(1)
        self.successResultOf(large)

    def test_shared_by_scopes(self) -> None:
        """What one scope has learned holds for the others on the connection, whose channels stay."""
        scope = self.broker.scope("another")
        other = scope.publisher("d.outbound")
        scope.start()
        self.rabbit.advance()
        (pending,) = [other.publish(b"fits")]
        self.peer.pump()
        (large,) = self.publish(b"x" * 11)
        channel = self.peer.published[-1].channel
        self.peer.method(channel, "channel.close", reply_code=406, reply_text=self.TEXT)
        self.failureResultOf(large, MessageTooLarge)
        self.failureResultOf(other.publish(b"x" * 11), MessageTooLarge)
        self.assertNoResult(pending)
        self.peer.method(self.peer.published[0].channel, "basic.ack", delivery_tag=1)
        self.successResultOf(pending)


class HeaderTests(BrokerCase):
    """Publishes with headers."""

    def test_headers(self) -> None:
        """Headers stand among the properties; the other properties are as without them."""
        publisher = self.broker.publisher("c.turn_failures")
        self.up()
        headers = {"reason": "é", "n": -5, "list": [True, None], "raw": b"\xff"}
        publisher.publish(b"{}", headers).addErrback(lambda _: None)
        peer = self.rabbit.publishing
        peer.pump()
        (message,) = peer.published
        self.assertEqual(message.properties["headers"], headers)
        self.assertEqual(message.properties["delivery-mode"], 2)
        self.assertEqual(message.properties["content-type"], "application/json")
        self.assertTrue(message.properties["message-id"].endswith("-1"))

    def test_headers_that_cannot_be(self) -> None:
        """A header without a type in AMQP, or too many of them, fail the publish and cost the connection nothing."""
        publisher = self.broker.publisher("c.turn_failures")
        self.up()
        for headers in ({"a": object()}, {"n": 1 << 70}, {"long": "x" * 4096}):
            self.failureResultOf(publisher.publish(b"{}", headers), ValueError)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def test_full_queue(self) -> None:
        """A nack is told as such."""
        publisher = self.broker.publisher("c.turn_failures")
        self.up()
        done = publisher.publish(b"{}")
        peer = self.rabbit.publishing
        peer.method(peer.publish_channel, "basic.nack", delivery_tag=1)
        self.failureResultOf(done, Nacked)


class TransientPublishingTests(BrokerCase):
    """Messages that nobody has to keep."""

    def setUp(self) -> None:
        super().setUp()
        self.publisher = self.broker.transient_publisher("vumi.health", "heartbeat.inbound")

    def test_written_is_done(self) -> None:
        """Only the exchange is declared; not persistent, not mandatory, done when written."""
        self.up()
        self.successResultOf(self.publisher.publish(b"{}"))
        peer = self.rabbit.publishing
        peer.pump()
        (message,) = peer.published
        self.assertEqual((message.fields["exchange"], message.fields["mandatory"]), ("vumi.health", False))
        self.assertEqual(message.properties["delivery-mode"], 1)
        self.assertEqual(peer.called("queue.declare"), [])

    def test_away(self) -> None:
        """Without a connection it fails at once."""
        self.failureResultOf(self.publisher.publish(b"{}"), BrokerUnavailable)

    def test_no_configure(self) -> None:
        """Where the exchange may not be declared, the one that exists is published to."""
        self.rabbit.refusals["exchange.declare"] = (403, "ACCESS_REFUSED")
        self.up()
        self.successResultOf(self.publisher.publish(b"{}"))

    def test_refused_exchange(self) -> None:
        """An exchange that is refused is said once and costs nothing else."""
        self.rabbit.refusals["exchange.declare"] = (406, "PRECONDITION_FAILED")
        self.up()
        for _ in range(3):
            self.failureResultOf(self.publisher.publish(b"{}"), BrokerUnavailable)
            self.rabbit.advance(10)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        self.assertEqual(len(self.logged()), 1, self.logged())
        self.rabbit.refusals.clear()
        self.failureResultOf(self.publisher.publish(b"{}"), BrokerUnavailable)
        self.rabbit.advance()
        self.successResultOf(self.publisher.publish(b"{}"))

    def test_refused_publish(self) -> None:
        """A publish that is refused costs its own channel only."""
        self.up()
        self.successResultOf(self.publisher.publish(b"{}"))
        peer = self.rabbit.publishing
        peer.pump()
        peer.method(peer.published[0].channel, "channel.close", reply_code=403, reply_text="ACCESS_REFUSED")
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        self.assertFalse(peer.lost)

    def test_added_later(self) -> None:
        """It can be made while connected."""
        self.up()
        late = self.broker.transient_publisher("vumi.health", "other")
        self.rabbit.advance()
        self.successResultOf(late.publish(b"{}"))
