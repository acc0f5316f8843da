"""The RabbitMQ broker's connections, on a RabbitMQ made of real frames in memory."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.logger import LogLevel

from tests.broker.amqp import peer as peer_module
from tests.broker.amqp.case import BrokerCase
from tests.broker.amqp.peer import ANSWERS, method_frame
from tests.cases import case
from vumi_turn.broker.amqp import ConnectionParameters
from vumi_turn.broker.interface import BrokerState


class ConnectingTests(BrokerCase):
    """How the two connections are made."""

    def test_two_connections(self) -> None:
        """Consuming and publishing have a connection each, and say which they are."""
        self.up()
        names = [self.rabbit.name_of(peer) for peer in self.rabbit.open_peers]
        self.assertEqual(names, ["vumi_turn consuming", "vumi_turn publishing"])

    def test_greeting(self) -> None:
        """AMQP 0-9-1 is asked for, and small packets are not held back."""
        self.up()
        peer = self.rabbit.consuming
        self.assertEqual(peer.greeting, b"AMQP\0\0\x09\x01")
        self.assertTrue(peer.transport.no_delay)

    def test_login(self) -> None:
        """PLAIN, with what we are and what we can be told."""
        self.up()
        fields = self.rabbit.publishing.called("connection.start-ok")[0].fields
        self.assertEqual((fields["mechanism"], fields["response"]), ("PLAIN", "\0vumi\0the-secret"))
        self.assertEqual(fields["client_properties"]["product"], "vumi_turn")
        capabilities = fields["client_properties"]["capabilities"]
        for name in (
            "publisher_confirms",
            "consumer_cancel_notify",
            "basic.nack",
            "connection.blocked",
            "authentication_failure_close",
        ):
            with case(name=name):
                self.assertIs(capabilities[name], True)

    def test_vhost(self) -> None:
        """The vhost is entered by its whole name."""
        self.up()
        self.assertEqual(self.rabbit.consuming.called("connection.open")[0].fields["virtual_host"], "/develop")

    def test_one_line_when_connected(self) -> None:
        """Both connections together are one line in the log."""
        self.up()
        self.assertEqual(self.logged(LogLevel.info), ["Connected to RabbitMQ at 127.0.0.1:5672"])

    def test_state(self) -> None:
        """Watchers hear of each state once."""
        heard: list[str] = []
        self.broker.on_state(heard.append)
        self.up()
        self.broker.stop()
        self.assertEqual(heard, ["connected", "closed"])

    def test_one_connection_alone_is_not_connected(self) -> None:
        """While the publishing connection is missing, the state is connecting."""
        self.up()
        self.rabbit.hanging = True
        self.rabbit.publishing.cut()
        self.rabbit.advance(1)
        self.assertEqual(self.broker.state, BrokerState.CONNECTING)

    def test_not_up_yet(self) -> None:
        """A broker that is not there yet is one line, is tried again ever more slowly, and is found."""
        self.rabbit.failure = ConnectionRefusedError()
        self.broker.start()
        self.rabbit.advance()
        attempts = [self.rabbit.attempts]
        for wait in (0.5, 1, 2, 4, 5, 5):
            with case(wait=wait):
                self.rabbit.advance(wait - 0.01)
                self.assertEqual(self.rabbit.attempts, attempts[-1])
                self.rabbit.advance(0.01)
                attempts.append(self.rabbit.attempts)
        self.assertEqual(attempts, [2, 4, 6, 8, 10, 12, 14])
        self.assertEqual(len(self.logged()), 1)
        self.assertIn("127.0.0.1:5672", self.logged()[0])
        self.rabbit.failure = None
        self.rabbit.advance(5)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        self.assertEqual(self.broker.reconnects, 0)

    def wrong(self, where: str, code: int, text: str) -> str:
        self.rabbit.refusals[where] = (code, text)
        self.broker.start()
        for _ in range(5):
            self.rabbit.advance(5)
        self.assertEqual(self.broker.state, BrokerState.CONNECTING)
        (line,) = self.logged()
        self.assertNotIn("the-secret", line)
        self.rabbit.refusals.clear()
        self.rabbit.advance(5)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        return line

    def test_wrong_password(self) -> None:
        """Refused credentials are one line that says so; corrected ones are found."""
        line = self.wrong("connection.start-ok", 403, "ACCESS_REFUSED - Login was refused")
        self.assertIn("user name or password of user 'vumi'", line)

    def test_wrong_vhost(self) -> None:
        """A vhost that is not there is one line that names it."""
        line = self.wrong("connection.open", 530, "NOT_ALLOWED - vhost /develop not found")
        self.assertIn("vhost '/develop'", line)

    def test_handshake_is_bounded(self) -> None:
        """A server that does not go on with the handshake is given up."""
        for silent in ("connection.start-ok", "connection.open"):
            with case(silent=silent):
                self.rabbit.silent.clear()
                self.rabbit.silent.add(silent)
                broker = self.make_broker(self.parameters)
                broker.start()
                self.rabbit.advance()
                peer = self.rabbit.peers[-1]
                self.rabbit.advance(9.9)
                self.assertFalse(peer.lost)
                self.rabbit.advance(0.1)
                self.assertTrue(peer.transport.aborted)
                broker.stop()
                self.rabbit.advance()

    def test_not_amqp(self) -> None:
        """A server that speaks something else is given up, and the log says what it was."""
        self.broker.start()
        self.clock.advance(0)
        self.rabbit.peers[0].client.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertTrue(self.rabbit.peers[0].transport.aborted)
        self.rabbit.advance()
        self.assertIn("an HTTP server answers there", self.logged()[0])

    def test_what_else_is_on_the_port(self) -> None:
        """What answers instead of RabbitMQ is named, at once, in the log and in the reason."""
        for answer, words in (
            (b"AMQP\0\x01\0\0", "it asks for AMQP 0.1.0.0"),
            (b"\x15\x03\x03\0\x02\x02\x46", "speaks TLS: use an amqps:// URL"),
            (b"-ERR unknown command\r\n", "it began with b'-ERR unknown"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "is not RabbitMQ"),
        ):
            with case(answer=answer, words=words):
                self.lines.clear()
                broker = self.make_broker(self.parameters)
                broker.start()
                self.clock.advance(0)
                peer = self.rabbit.peers[-2]
                peer.client.dataReceived(answer)
                self.assertTrue(peer.transport.aborted)
                self.rabbit.advance()
                self.assertIn(words, self.logged()[0])
                broker.stop()
                self.rabbit.advance()

    def test_no_plain(self) -> None:
        """A broker without PLAIN authentication is named as that."""
        self.broker.start()
        self.clock.advance(0)
        peer = self.rabbit.peers[0]
        peer.send(method_frame(0, "connection.start", version_minor=9, mechanisms="EXTERNAL", locales="en_US"))
        self.rabbit.advance()
        self.assertIn("offers no PLAIN authentication, only EXTERNAL", self.logged()[0])

    def test_channel_max(self) -> None:
        """A connection with fewer channels than are needed says so, and is not dropped for it."""
        answers = dict(ANSWERS)
        answers["connection.start-ok"] = (
            "connection.tune",
            {"channel_max": 1, "frame_max": 4096, "heartbeat": 60},
        )
        self.patch(peer_module, "ANSWERS", answers)
        self.broker.consume("c.inbound", lambda delivery: Deferred(), 1)
        self.broker.consume("c.event", lambda delivery: Deferred(), 1)
        self.broker.start()
        self.rabbit.advance(1)
        self.assertEqual(self.broker.state, BrokerState.CONNECTING)
        self.assertIn("allows 1 channel on a connection", self.broker.reason)
        self.assertFalse(self.rabbit.consuming.lost)

    def test_slow_link(self) -> None:
        """While data arrives without a pause no call times out: its answer is behind it; 10 s without are too long."""
        self.rabbit.silent.add("basic.consume")
        self.broker.consume("c.inbound", lambda delivery: Deferred(), 1).unpause()
        self.broker.start()
        self.rabbit.advance()
        consuming = self.rabbit.consuming
        frame = b"\x08\0\0\0\0\0\0\xce"
        for _ in range(90):
            self.rabbit.advance(0.5)
            consuming.send(frame)
        opened = consuming.called("channel.open")[-1].channel
        self.assertNotIn(opened, [call.channel for call in consuming.called("channel.close")[1:]])
        self.rabbit.advance(9.9)
        self.assertEqual(self.broker.reason, "")
        self.rabbit.advance(0.2)
        self.assertIn("did not answer basic_consume", self.broker.reason)
        self.rabbit.silent.clear()

    def test_now_and_then(self) -> None:
        """What comes for other channels now and then does not put a timeout off: the answer is not behind it."""
        self.rabbit.silent.add("basic.consume")
        self.broker.consume("c.inbound", lambda delivery: Deferred(), 1).unpause()
        self.broker.start()
        self.rabbit.advance()
        self.rabbit.advance(4)
        self.rabbit.consuming.send(b"\x08\0\0\0\0\0\0\xce")
        self.rabbit.advance(4)
        self.rabbit.consuming.send(b"\x08\0\0\0\0\0\0\xce")
        self.rabbit.advance(1)
        self.assertEqual(self.broker.reason, "")
        self.rabbit.advance(3)
        self.assertIn("did not answer basic_consume", self.broker.reason)
        self.rabbit.silent.clear()

    def test_never_answered(self) -> None:
        """A call that is not answered in 5 minutes has timed out, though data arrives all the time."""
        self.rabbit.silent.add("basic.consume")
        self.broker.consume("c.inbound", lambda delivery: Deferred(), 1).unpause()
        self.broker.start()
        self.rabbit.advance()
        for _ in range(610):
            self.rabbit.advance(0.5)
            self.rabbit.consuming.send(b"\x08\0\0\0\0\0\0\xce")
        self.assertIn("did not answer basic_consume", self.broker.reason)
        self.rabbit.silent.clear()

    def test_unknown_method(self) -> None:
        """A method that AMQP does not have ends the connection, which is then made anew."""
        self.up()
        peer = self.rabbit.consuming
        peer.send(b"\x01\0\0\0\0\0\x04\0\x0a\0\x63\xce")
        self.rabbit.advance()
        self.assertTrue(peer.lost)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def test_more_than_a_password(self) -> None:
        """A server that wants more than user name and password is given up, and the log says so."""
        self.up()
        peer = self.rabbit.consuming
        peer.method(0, "connection.secure", challenge="what else?")
        self.rabbit.advance()
        self.assertTrue(peer.lost)
        self.assertIn("RabbitMQ wants more than PLAIN authentication", self.logged()[0])

    def test_heartbeat_agreed(self) -> None:
        """The shorter of both heartbeats is agreed on, and sent twice in each interval."""
        broker = self.make_broker(ConnectionParameters(heartbeat=10.0))
        broker.start()
        self.rabbit.advance()
        peer = self.rabbit.peers[0]
        self.assertEqual(peer.called("connection.tune-ok")[0].fields["heartbeat"], 10)
        for _ in range(4):
            peer.send(b"\x08\0\0\0\0\0\0\xce")
            self.rabbit.advance(5)
        self.assertEqual(peer.heartbeats, 4)
        broker.stop()
        self.rabbit.advance()

    def test_frozen_peer(self) -> None:
        """A link on which nothing arrives for two intervals is given up and made anew."""
        broker = self.make_broker(ConnectionParameters(heartbeat=10.0))
        broker.start()
        self.rabbit.advance()
        peers = list(self.rabbit.peers)
        for _ in range(5):
            self.assertFalse(any(peer.lost for peer in peers))
            self.rabbit.advance(5)
        self.assertTrue(all(peer.transport.aborted for peer in peers))
        self.assertEqual(broker.state, BrokerState.CONNECTED)
        self.assertEqual(len(self.rabbit.open_peers), 2)
        self.assertIn("sent nothing for two heartbeat intervals", self.logged()[0])
        broker.stop()
        self.rabbit.advance()

    def test_stop_says_goodbye(self) -> None:
        """Stopping closes both connections the way AMQP wants it."""
        self.up()
        done = self.broker.stop()
        self.rabbit.advance()
        self.successResultOf(done)
        for peer in self.rabbit.peers:
            with case(peer=peer):
                self.assertEqual(peer.names()[-1], "connection.close")
                self.assertFalse(peer.transport.aborted)

    def test_stop_is_bounded(self) -> None:
        """A broker that does not answer the goodbye is left."""
        self.up()
        self.rabbit.silent.add("connection.close")
        done = self.broker.stop(3)
        self.rabbit.advance(2.9)
        self.assertNoResult(done)
        self.rabbit.advance(0.1)
        self.successResultOf(done)
        self.assertTrue(self.rabbit.publishing.transport.aborted)

    def test_stop_while_connecting(self) -> None:
        """Stopping ends an attempt that is under way, and a wait for the next one."""
        self.rabbit.hanging = True
        self.broker.start()
        self.successResultOf(self.broker.stop())
        other = self.make_broker(self.parameters)
        self.rabbit.hanging, self.rabbit.failure = False, ConnectionRefusedError()
        other.start()
        self.rabbit.advance()
        self.successResultOf(other.stop())

    def test_stop_before_start(self) -> None:
        """A broker that was never started can be stopped."""
        self.successResultOf(self.broker.stop())
        self.assertEqual(self.broker.state, BrokerState.CLOSED)

    def test_stop_in_the_handshake(self) -> None:
        """Stopping in the middle of the handshake leaves nothing behind."""
        self.rabbit.silent.add("connection.open")
        self.broker.start()
        self.rabbit.advance()
        done = self.broker.stop()
        self.rabbit.advance()
        self.successResultOf(done)
        self.assertEqual(self.rabbit.open_peers, [])


class ReconnectingTests(BrokerCase):
    """What happens after a connection is lost."""

    def test_at_once(self) -> None:
        """A lost connection is made anew without waiting, and counted."""
        self.up()
        self.rabbit.consuming.cut()
        self.assertEqual(self.broker.state, BrokerState.CONNECTING)
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)
        self.assertEqual(self.broker.reconnects, 1)

    def test_one_line_each(self) -> None:
        """One line when the connection goes, one when it is back, none for each attempt."""
        self.up()
        self.rabbit.failure = ConnectionRefusedError()
        for peer in self.rabbit.open_peers:
            peer.cut()
        for _ in range(20):
            self.rabbit.advance(5)
        self.assertEqual(len(self.logged()), 1)
        self.assertIn("Lost the connection to RabbitMQ at 127.0.0.1:5672", self.logged()[0])
        self.rabbit.failure = None
        self.rabbit.advance(5)
        self.assertEqual(self.logged(LogLevel.info)[1:], ["Connected to RabbitMQ at 127.0.0.1:5672"])

    def test_another_reason_is_said(self) -> None:
        """If the broker comes back and refuses us, that is a line of its own."""
        self.up()
        self.rabbit.refusals["connection.start-ok"] = (403, "ACCESS_REFUSED")
        for peer in self.rabbit.open_peers:
            peer.cut()
        for _ in range(5):
            self.rabbit.advance(5)
        self.assertEqual(len(self.logged()), 2)
        self.rabbit.refusals.clear()
        self.rabbit.advance(5)
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def test_wait_starts_anew(self) -> None:
        """After a time of waiting, the next loss is answered at once again."""
        self.up()
        self.rabbit.failure = ConnectionRefusedError()
        self.rabbit.consuming.cut()
        self.rabbit.advance(20)
        self.rabbit.failure = None
        self.rabbit.advance(5)
        self.rabbit.consuming.cut()
        self.rabbit.advance()
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def test_server_closes(self) -> None:
        """A shutdown by the operator is acknowledged, named in the log, and recovered from."""
        self.up()
        peer = self.rabbit.consuming
        peer.method(0, "connection.close", reply_code=320, reply_text="CONNECTION_FORCED - shutdown")
        self.rabbit.advance()
        self.assertEqual(peer.names()[-1], "connection.close-ok")
        self.assertIn("CONNECTION_FORCED", self.logged()[0])
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def test_consumers_are_rebuilt(self) -> None:
        """Each consumer is there once on the new connection, with queue, binding and prefetch."""
        self.up()
        self.consume("c.inbound")
        self.consume("c.event")
        self.rabbit.consuming.cut()
        self.rabbit.advance()
        peer = self.rabbit.consuming
        consumed = [call.fields["queue"] for call in peer.called("basic.consume")]
        self.assertEqual(consumed, ["c.inbound", "c.event"])
        channels = {call.channel for call in peer.called("basic.consume")}
        self.assertEqual(len(channels), 2)
        self.assertEqual(len(peer.called("basic.qos")), 2)

    def test_publishers_are_rebuilt(self) -> None:
        """The queues we publish to are declared on the new connection, and publishing works."""
        publisher = self.broker.publisher("c.outbound")
        self.up()
        self.rabbit.publishing.cut()
        self.rabbit.advance()
        peer = self.rabbit.publishing
        self.assertEqual([c.fields["queue"] for c in peer.called("queue.declare")], ["c.outbound"])
        done = publisher.publish(b"{}")
        peer.pump()
        peer.confirm(1)
        self.assertIsNone(self.successResultOf(done))

    def test_many_reconnects(self) -> None:
        """300 lost connections leave two open ones, one consumer, and no timer."""
        self.up()
        self.consume()
        self.broker.publisher("c.outbound")
        for _ in range(150):
            for peer in self.rabbit.open_peers:
                peer.cut()
            self.rabbit.advance()
            self.assertEqual(self.broker.state, BrokerState.CONNECTED)
            self.rabbit.peers = self.rabbit.open_peers
            self.assertEqual(len(self.rabbit.peers), 2)
            self.assertEqual(len(self.rabbit.consuming.called("basic.consume")), 1)
        self.assertEqual(self.broker.reconnects, 300)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class WatcherTests(BrokerCase):
    """Who watches the state, and fails on what it hears."""

    def watch(self, fatal: str) -> list[str]:
        """The states that are heard of, one of which is too much for an earlier watcher."""
        heard: list[str] = []

        def fail(state: str) -> None:
            if state == fatal:
                raise ZeroDivisionError(state)

        self.broker.on_state(fail)
        self.broker.on_state(heard.append)
        return heard

    def test_connected(self) -> None:
        """A watcher that fails when the broker is there keeps nobody from working with it."""
        self.watch("connected")
        self.up()
        self.consume()
        self.rabbit.consuming.deliver(b"{}", 1)
        self.rabbit.advance()
        self.assertEqual(len(self.deliveries), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)  # again when it consumes

    def test_lost(self) -> None:
        """A watcher that fails when the broker is lost does not keep it from being found again."""
        heard = self.watch("connecting")
        self.up()
        self.rabbit.consuming.cut()
        self.rabbit.advance(10)
        self.assertEqual((self.broker.state, heard[-1]), ("connected", "connected"))
        self.assertGreater(len(self.flushLoggedErrors(ZeroDivisionError)), 0)

    def test_blocked(self) -> None:
        """A watcher that fails when the broker blocks us costs no connection."""
        heard = self.watch("blocked")
        self.up()
        peer = self.rabbit.publishing
        peer.method(0, "connection.blocked", reason="low on memory")
        self.rabbit.advance()
        peer.method(0, "connection.unblocked")
        self.rabbit.advance()
        self.assertEqual((peer.lost, heard), (False, ["connected", "blocked", "connected"]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
