"""Each log line of a broker says which connector it is about."""

from __future__ import annotations

from tests.broker.amqp.case import BrokerCase
from tests.cases import case
from vumi_turn.broker.interface import ConnectionLost


class NamesTests(BrokerCase):
    """A broker that is one connector's own."""

    def setUp(self) -> None:
        super().setUp()
        self.broker = self.make_broker(self.parameters, "c")

    def names(self, words: str) -> list[str]:
        """The connectors of the lines with these words."""
        return [connector for connector, line in self.connectors if words in line]

    def test_connections(self) -> None:
        """What is said of the connections names the connector."""
        self.up()
        self.rabbit.consuming.cut()
        for words in ("Connected to RabbitMQ", "Lost the connection"):
            with case(words=words):
                self.assertEqual(self.names(words), ["c"])

    def test_publishing(self) -> None:
        """What is said of publishing names the connector."""
        publisher = self.broker.publisher("elsewhere.outbound")
        self.up()
        done = publisher.publish(b"{}")
        peer = self.rabbit.publishing
        peer.pump()
        peer.method(peer.published[0].channel, "channel.close", reply_code=403, reply_text="ACCESS_REFUSED")
        self.failureResultOf(done, ConnectionLost)
        self.assertEqual(self.names("closed the publishing channel"), ["c"])

    def test_publishing_fails(self) -> None:
        """A fault of our own while publishing names the connector."""
        self.broker.publisher("elsewhere.outbound")
        self.patch(self.broker._publisher._declarations, "try_to_declare", None)
        self.broker.start()
        self.rabbit.advance()
        self.assertEqual(self.names("Publishing to RabbitMQ failed unexpectedly"), ["c"])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_call_without_an_answer(self) -> None:
        """An AMQP channel that is closed is told of by its queue, and where it has none by the connector."""
        for method, role, words in (
            ("queue.declare", "consuming", "(q.inbound)"),
            ("basic.consume", "consuming", "(q.inbound)"),
            ("confirm.select", "publishing", "closing that AMQP channel"),
        ):
            with case(method=method):
                self.connectors.clear()
                broker = self.broker = self.make_broker(self.parameters, "c")
                self.rabbit.silent.add(method)
                if role == "consuming":
                    broker.consume("q.inbound", self.handler, 5).unpause()
                broker.start()
                self.rabbit.advance()
                self.rabbit.advance(10)
                expected = "q" if role == "consuming" else "c"
                self.assertEqual(self.names("closing that AMQP channel")[:1], [expected])
                self.assertTrue(self.names(words))
                self.rabbit.silent.clear()
                broker.stop()
                self.rabbit.advance(10)

    def test_lacking_permission(self) -> None:
        """What we may not declare is told of by its queue."""
        self.rabbit.refusals["queue.declare"] = (403, "ACCESS_REFUSED - configure")
        self.broker.consume("q.inbound", self.handler, 5)
        self.broker.start()
        self.rabbit.advance()
        self.assertEqual(self.names("does not let us declare all of q.inbound"), ["q"])
