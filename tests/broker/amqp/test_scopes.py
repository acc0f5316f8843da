"""Several scopes on one pair of connections: what happens in one leaves the others untouched."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.broker.amqp.case import BrokerCase
from tests.cases import case
from vumi_turn.broker.amqp import ConnectionParameters
from vumi_turn.broker.interface import Broker, BrokerState, ConnectionLost, Consumer, Delivery, Outcome


class ScopeCase(BrokerCase):
    """A connected broker and two scopes of it, each with a consumer and a publisher."""

    def setUp(self) -> None:
        super().setUp()
        self.up()
        self.taken: dict[str, list[Delivery]] = {"a": [], "b": []}
        self.consumers: dict[str, Consumer] = {}
        self.scopes = {name: self.scope(name) for name in "ab"}

    def scope(self, name: str) -> Broker:
        scope = self.broker.scope(name)
        self.consumers[name] = scope.consume(f"{name}.inbound", self.taker(name), 5)
        self.consumers[name].unpause()
        scope.publisher(f"{name}.outbound")
        scope.start()
        self.rabbit.advance()
        return scope

    def taker(self, name: str) -> Any:
        def take(delivery: Delivery) -> Deferred[Outcome]:
            self.taken[name].append(delivery)
            return Deferred()

        return take

    def states(self) -> list[BrokerState]:
        return [self.scopes[name].state for name in "ab"]

    def channel_of(self, queue: str) -> int:
        return [call for call in self.rabbit.consuming.called("basic.consume") if call.fields["queue"] == queue][
            -1
        ].channel


class IsolationTests(ScopeCase):
    def test_channels_of_their_own(self) -> None:
        """Scopes share the two connections and no AMQP channel."""
        self.assertEqual(self.states(), [BrokerState.CONNECTED] * 2)
        self.assertEqual(len(self.rabbit.open_peers), 2)
        self.assertNotEqual(self.channel_of("a.inbound"), self.channel_of("b.inbound"))
        confirming = [call.channel for call in self.rabbit.publishing.called("confirm.select")]
        self.assertEqual(len(set(confirming)), 3)  # the broker's own is one

    def test_numbers_of_their_own(self) -> None:
        """Confirms are numbered from 1 in each scope, and belong to the publishes of their scope."""
        peer = self.rabbit.publishing
        done = {name: self.scopes[name].publisher(f"{name}.outbound").publish(b"{}") for name in "ab"}
        peer.pump()
        channels = {message.fields["routing_key"]: message.channel for message in peer.published}
        peer.method(channels["b.outbound"], "basic.ack", delivery_tag=1)
        self.successResultOf(done["b"])
        self.assertNoResult(done["a"])
        peer.method(channels["a.outbound"], "basic.ack", delivery_tag=1)
        self.successResultOf(done["a"])

    def test_refused_queue(self) -> None:
        """A queue that is refused keeps its scope from being connected, with the reason, and no other one."""
        peer = self.rabbit.consuming
        peer.deliver(b"1", 1, queue="b.inbound")
        self.rabbit.refusals["queue.declare"] = (406, "PRECONDITION_FAILED - inequivalent arg")
        peer.method(self.channel_of("a.inbound"), "channel.close", reply_code=406, reply_text="PRECONDITION_FAILED")
        self.rabbit.advance()
        self.assertEqual(self.states(), [BrokerState.CONNECTING, BrokerState.CONNECTED])
        self.assertIn("a.inbound: 406 PRECONDITION_FAILED - inequivalent arg", self.scopes["a"].reason)
        self.assertEqual(self.scopes["b"].reason, "")
        self.assertFalse(self.taken["b"][0].lost)
        self.rabbit.refusals.clear()
        self.rabbit.advance(5)
        self.assertEqual(self.states(), [BrokerState.CONNECTED] * 2)
        self.assertEqual(self.broker.reconnects, 0)

    def test_closed_publishing_channel(self) -> None:
        """A publishing channel that RabbitMQ closes fails its own scope's publishes, and is opened anew."""
        peer = self.rabbit.publishing
        done = {name: self.scopes[name].publisher(f"{name}.outbound").publish(b"{}") for name in "ab"}
        peer.pump()
        channels = {message.fields["routing_key"]: message.channel for message in peer.published}
        peer.method(channels["a.outbound"], "channel.close", reply_code=403, reply_text="ACCESS_REFUSED - write")
        self.failureResultOf(done["a"], ConnectionLost)
        self.assertNoResult(done["b"])
        self.rabbit.advance()
        peer.method(channels["b.outbound"], "basic.ack", delivery_tag=1)
        self.successResultOf(done["b"])
        self.assertEqual(self.states(), [BrokerState.CONNECTED] * 2)
        self.assertFalse(peer.lost)

    def test_call_without_an_answer(self) -> None:
        """A call that is not answered costs its own channel, which is closed and opened again."""
        peer = self.rabbit.consuming
        peer.deliver(b"1", 1, queue="b.inbound")
        self.rabbit.silent.add("basic.consume")
        scope = self.broker.scope("c")
        scope.consume("c.inbound", self.handler, 1).unpause()
        scope.start()
        self.rabbit.advance()
        silent = peer.called("basic.consume")[-1].channel
        closed = len([call for call in peer.called("channel.close") if call.channel == silent])
        self.rabbit.advance(9.9)
        self.assertEqual(len([call for call in peer.called("channel.close") if call.channel == silent]), closed)
        self.rabbit.silent.clear()
        self.rabbit.advance(0.1)
        self.assertGreater(len([call for call in peer.called("channel.close") if call.channel == silent]), closed)
        self.assertEqual(scope.state, BrokerState.CONNECTED)
        self.assertIn("basic_consume within 10 s", str(self.logged()))
        self.assertEqual(self.states(), [BrokerState.CONNECTED] * 2)
        self.assertFalse(self.taken["b"][0].lost)
        self.assertEqual((self.broker.reconnects, len(self.rabbit.peers)), (0, 2))

    def test_late_answer_before_the_close(self) -> None:
        """What arrives on a channel that is being closed is dropped, also messages and RabbitMQ's own close."""
        peer = self.rabbit.consuming
        self.rabbit.silent.add("basic.consume")
        scope = self.broker.scope("c")
        scope.consume("c.inbound", self.handler, 1).unpause()
        scope.start()
        self.rabbit.advance()
        late = peer.called("basic.consume")[-1]
        self.rabbit.silent.update(("channel.close", "channel.open"))
        self.rabbit.advance(10)
        self.assertEqual(peer.called("channel.close")[-1].channel, late.channel)
        peer.method(late.channel, "basic.consume-ok", consumer_tag=late.fields["consumer_tag"])
        peer.deliver(b"late", 1, queue="c.inbound")
        peer.method(late.channel, "channel.close", reply_code=406, reply_text="PRECONDITION_FAILED")
        self.assertEqual(self.deliveries, [])
        self.assertIn("channel.close-ok", peer.names())
        self.rabbit.silent.clear()
        peer.method(peer.called("channel.open")[-1].channel, "channel.open-ok")
        self.rabbit.advance(5)
        self.assertEqual(scope.state, BrokerState.CONNECTED)
        self.assertFalse(peer.lost)

    def test_not_even_closed(self) -> None:
        """Only where the close of the channel is not answered either, the connection is given up."""
        peer = self.rabbit.consuming
        self.rabbit.silent.add("basic.consume")
        scope = self.broker.scope("c")
        scope.consume("c.inbound", self.handler, 1).unpause()
        scope.start()
        self.rabbit.advance()
        self.rabbit.silent.add("channel.close")
        self.rabbit.advance(10)
        self.rabbit.advance(9.9)
        self.assertFalse(peer.lost)
        self.rabbit.silent.clear()
        self.rabbit.advance(0.1)
        self.assertTrue(peer.transport.aborted)
        self.assertEqual(scope.state, BrokerState.CONNECTED)

    def test_stop(self) -> None:
        """A scope that stops closes its channels and no connection; what it had is lost, other scopes' is not."""
        for name in "ab":
            self.rabbit.consuming.deliver(b"1", 1, queue=f"{name}.inbound")
        channel = self.channel_of("a.inbound")
        done = self.scopes["a"].stop(5)
        self.assertEqual(self.states(), [BrokerState.CLOSED, BrokerState.CONNECTED])
        self.rabbit.advance()
        self.successResultOf(done)
        self.assertEqual([self.taken[name][0].lost for name in "ab"], [True, False])
        self.assertIn(channel, [call.channel for call in self.rabbit.consuming.called("channel.close")])
        self.assertEqual(len(self.rabbit.open_peers), 2)
        self.rabbit.consuming.cut()
        self.rabbit.advance()
        queues = [call.fields["queue"] for call in self.rabbit.consuming.called("basic.consume")]
        self.assertEqual(queues, ["b.inbound"])

    def test_stop_while_cancelling(self) -> None:
        """A channel is closed after its cancel was answered: RabbitMQ may answer a close first, the cancel never."""
        peer = self.rabbit.consuming
        number = self.channel_of("a.inbound")
        before = len(peer.called("channel.close"))
        self.rabbit.silent.add("basic.cancel")
        self.consumers["a"].pause()
        self.rabbit.advance()
        stopped = self.scopes["a"].stop(5)
        self.rabbit.advance()
        self.assertEqual(len(peer.called("channel.close")), before)
        peer.method(number, "basic.cancel-ok", consumer_tag="a")
        self.rabbit.advance()
        self.assertEqual([call.channel for call in peer.called("channel.close")[before:]], [number])
        self.successResultOf(stopped)

    def test_stop_is_bounded(self) -> None:
        """A scope stops in bounded time, though RabbitMQ does not answer."""
        self.rabbit.silent.add("channel.close")
        done = self.scopes["a"].stop(3)
        self.rabbit.advance(3)
        self.successResultOf(done)
        self.rabbit.silent.clear()

    def test_connection_lost(self) -> None:
        """A lost connection is every scope's, and each sets itself up again."""
        self.rabbit.publishing.cut()
        self.assertEqual(self.states(), [BrokerState.CONNECTING] * 2)
        self.assertIn("cut", self.scopes["a"].reason)
        self.rabbit.advance()
        self.assertEqual(self.states(), [BrokerState.CONNECTED] * 2)

    def test_set_up_that_costs_the_connection(self) -> None:
        """Where one scope's set-up makes RabbitMQ close the connection, it is made again with delays, not in a loop."""
        scope = self.broker.scope("c")
        scope.consume("c.inbound", self.handler, 1).unpause()
        scope.start()
        attempts = []
        for _ in range(8):
            self.rabbit.advance(0)
            self.rabbit.silent.add("basic.consume")
            for peer in self.rabbit.open_peers:
                if peer.called("basic.consume"):
                    peer.method(0, "connection.close", reply_code=541, reply_text="INTERNAL_ERROR")
            self.rabbit.advance(0)
            attempts.append(self.rabbit.attempts)
        self.assertLessEqual(attempts[-1] - attempts[0], 2)
        self.rabbit.silent.clear()
        self.rabbit.advance(5)
        self.assertEqual(scope.state, BrokerState.CONNECTED)

    def test_broker_stops(self) -> None:
        """When the broker that owns the connections stops, its scopes are closed too."""
        self.broker.stop()
        self.assertEqual(self.states(), [BrokerState.CLOSED] * 2)


class HeardTests(BrokerCase):
    """What a standby's holder asks after its reactor stood still."""

    def test_heard(self) -> None:
        """Each frame on the consuming connection counts; what came before the moment does not."""
        self.up()
        self.rabbit.advance(5)
        moment = self.clock.seconds()
        self.assertFalse(self.broker.heard_since(moment))
        self.rabbit.advance(1)
        self.rabbit.publishing.send(b"\x08\0\0\0\0\0\0\xce")
        self.assertFalse(self.broker.heard_since(moment))
        self.rabbit.consuming.send(b"\x08\0\0\0\0\0\0\xce")
        self.assertTrue(self.broker.heard_since(moment))

    def test_heartbeat(self) -> None:
        """The seconds between heartbeats are those agreed with RabbitMQ, 0 while there is no connection."""
        for ours, agreed in ((2, 2), (0.5, 1), (0, 0), (100, 60)):
            with case(ours=ours):
                self.broker = broker = self.make_broker(ConnectionParameters(heartbeat=ours))
                scope = broker.scope("c")
                self.assertEqual(scope.heartbeat, 0)
                self.up()
                self.assertEqual((scope.heartbeat, broker.heartbeat), (agreed, agreed))
                broker.stop()
                self.rabbit.advance(1)

    def test_probe_without_an_answer(self) -> None:
        """A probe that is not answered says no, in bounded time."""
        self.up()
        self.rabbit.silent.update(("channel.open", "channel.close"))
        answer = Deferred.fromCoroutine(self.broker.probe())
        self.rabbit.advance(9)
        self.assertNoResult(answer)
        self.rabbit.advance(1)
        self.assertFalse(self.successResultOf(answer))
        self.rabbit.silent.clear()
