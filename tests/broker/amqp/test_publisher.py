"""Publishing to RabbitMQ, on a RabbitMQ made of real frames in memory."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.logger import LogLevel

from tests.broker.amqp.case import BrokerCase
from vumi_turn.broker.interface import MAX_UNCONFIRMED, BrokerState, BrokerUnavailable, ConnectionLost, Nacked, Returned


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
        self.rabbit.refusals["queue.declare"] = (403, "ACCESS_REFUSED")
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
        self.assertEqual(len(self.rabbit.publishing.called("exchange.declare")), 1)

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

    def test_refused_exchange(self) -> None:
        """An exchange that is refused is said once and costs nothing else."""
        self.rabbit.refusals["exchange.declare"] = (403, "ACCESS_REFUSED")
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
