"""What passes, shown as it passes."""

from __future__ import annotations

import json
from typing import Any, Mapping

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.fakes import event, user_message
from vumi_turn.broker.interface import BrokerUnavailable, Delivery, Outcome
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.sandbox.observers import ObservedBroker
from vumi_turn.sandbox.post_counters import PostCounters
from vumi_turn.sandbox.traffic import KEEP, MAX_SHOWN, TrafficLog


class TrafficLogTests(SynchronousTestCase):
    """Lines, and who sees them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.traffic = TrafficLog(self.clock)

    def line(self, number: int = -1) -> dict[str, Any]:
        return self.traffic.lines()[number]

    def test_message(self) -> None:
        """A message's line has its queue, its time, its ids and its JSON."""
        message = user_message("m2", in_reply_to="m1")
        self.traffic.amqp("publish", "worker", "c.outbound", message.to_json())
        line = self.line()
        self.assertEqual((line["number"], line["at"], line["where"]), (1, 100, "c.outbound"))
        self.assertEqual(line["ids"], ["m2", "m1"])
        self.assertEqual(line["body"]["content"], "words of m2")

    def test_settled_shows_no_body_again(self) -> None:
        """An ack names the message, and does not repeat it."""
        self.traffic.amqp("ack", "worker", "c.inbound", user_message("m1").to_json())
        self.assertEqual(self.line()["ids"], ["m1"])
        self.assertNotIn("body", self.line())

    def test_ids_everywhere(self) -> None:
        """Ids are found in events, failure messages, and all of Turn's JSON."""
        for body, expected in (
            (event("o1").to_dict(), ["o1"]),
            ({"message_type": "failure_message", "message": {"message_id": "m1"}}, ["m1"]),
            ({"message": {"id": "m1"}}, ["m1"]),
            ({"status": {"id": "o1"}}, ["o1"]),
            ({"messages": [{"id": "o1"}, {"id": "o2"}]}, ["o1", "o2"]),
            ({"reply_to": "m1", "to": "+266111"}, ["m1"]),
            (["m1"], []),
            ({"id": 5, "message": "m1", "status": "sent"}, []),
        ):
            with case(body=body, expected=expected):
                exchange = self.traffic.request("turn", "POST /x", json.dumps(body).encode())
                self.assertEqual(exchange.ids, tuple(expected))

    def test_secrets(self) -> None:
        """Tokens and signatures are shown as ***, whatever the case of their header."""
        headers = {"AUTHORIZATION": "Bearer t", "X-Turn-Hook-Signature": "s", "Date": "today"}
        self.traffic.request("turn", "POST /messages", b"", headers)
        self.assertEqual(
            self.line()["headers"], {"AUTHORIZATION": "***", "X-Turn-Hook-Signature": "***", "Date": "today"}
        )

    def test_response(self) -> None:
        """A response has its status, or None where nobody answered, its request's number and ids, and the seconds."""
        asked = self.traffic.request("worker", "POST /messages", b'{"message": {"id": "m1"}}')
        self.clock.advance(1.5)
        self.traffic.response(asked, None, reason="timeout")
        line = self.line()
        self.assertEqual((line["status"], line["ids"], line["seconds"], line["reason"]), (None, ["m1"], 1.5, "timeout"))
        self.assertEqual(line["exchange"], self.line(0)["exchange"])
        other = self.traffic.request("turn", "POST /messages", b'{"reply_to": "m1"}')
        self.traffic.response(other, 200, b'{"messages": [{"id": "o1"}]}')
        self.assertEqual((self.line()["status"], self.line()["ids"]), (200, ["m1", "o1"]))
        self.assertNotEqual(self.line()["exchange"], asked.number)

    def test_clear(self) -> None:
        """What was cleared is forgotten, and the numbers go on."""
        self.traffic.amqp("publish", "worker", "c.inbound", b"{}")
        self.traffic.clear()
        self.assertEqual(self.traffic.lines(), [])
        self.traffic.amqp("publish", "worker", "c.inbound", b"{}")
        self.assertEqual(self.line()["number"], 2)

    def test_strange_bodies(self) -> None:
        """What is no JSON, or too large, is shown as text, and can always be written as JSON."""
        for body, shown in (
            (b"junk \xff", "junk \ufffd"),
            (b"[" * 2000, "[" * 2000),
            (b"NaN", "NaN"),
            (b"1e999", "1e999"),
        ):
            with case(body=body, shown=shown):
                self.traffic.amqp("deliver", "worker", "c.inbound", body)
                self.assertEqual(self.line()["body"], shown)
                json.dumps(self.line(), allow_nan=False)
        self.traffic.amqp("deliver", "worker", "c.inbound", b'"' + b"x" * MAX_SHOWN + b'"')
        self.assertTrue(self.line()["body"].endswith(f"… ({MAX_SHOWN + 2} bytes)"))

    def test_reading(self) -> None:
        """Lines can be asked for from a number on, and for one message."""
        for name in ("m1", "m2", "m1"):
            self.traffic.amqp("publish", "worker", "c.inbound", user_message(name).to_json())
        self.assertEqual([line["number"] for line in self.traffic.lines(since=1)], [2, 3])
        self.assertEqual([line["number"] for line in self.traffic.lines(message="m1")], [1, 3])

    def test_bounded(self) -> None:
        """Old lines are forgotten, and the numbers go on."""
        for _ in range(KEEP + 2):
            self.traffic.amqp("publish", "worker", "c.inbound", b"{}")
        self.assertEqual([len(self.traffic.lines()), self.line(0)["number"]], [KEEP, 3])

    def test_subscribers(self) -> None:
        """Subscribers get each line and each change, until they end it."""
        heard: list[tuple[str, Mapping[str, Any]]] = []
        end = self.traffic.subscribe(lambda name, details: heard.append((name, details)))
        self.traffic.amqp("publish", "worker", "c.inbound", b"{}")
        self.traffic.say("faults", {"broker": "up"})
        end()
        end()
        self.traffic.say("faults", {})
        self.assertEqual(heard, [("traffic", self.line()), ("faults", {"broker": "up"})])


class ObservedBrokerTests(SynchronousTestCase):
    """A broker with its messages in the traffic log."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = MemoryBroker(self.clock)
        self.traffic = TrafficLog(self.clock)
        self.broker = ObservedBroker(self.memory, self.traffic, "worker")
        self.broker.start()
        self.addCleanup(self.memory.stop)
        self.outcome = Outcome.ACK

    async def take(self, delivery: Delivery) -> Outcome:
        return self.outcome

    def seen(self) -> list[str]:
        return [line["what"] for line in self.traffic.lines()]

    def test_a_message(self) -> None:
        """A message is seen published, delivered and acked."""
        self.broker.consume("q", self.take, 5).unpause()
        done = ensureDeferred(self.broker.publisher("q").publish(b'{"message_id": "m1"}'))
        self.clock.pump([0] * 3)
        self.successResultOf(done)
        self.assertEqual(self.seen(), ["publish", "deliver", "ack"])

    def test_requeued(self) -> None:
        """A message that is put back is seen so, and seen redelivered."""
        self.outcome = Outcome.REQUEUE
        consumer = self.broker.consume("q", self.take, 5)
        consumer.unpause()
        self.memory.push("q", b"{}")
        self.clock.advance(0)
        self.outcome = Outcome.ACK
        self.clock.advance(1)
        self.assertEqual(self.seen(), ["deliver", "requeue", "deliver", "ack"])
        self.assertEqual([line.get("redelivered") for line in self.traffic.lines()], [False, None, True, None])

    def test_refused(self) -> None:
        """A publish that fails is seen refused with the reason, and fails all the same."""
        publisher = self.broker.publisher("q")
        self.memory.go_away()
        self.failureResultOf(publisher.publish(b"{}"), BrokerUnavailable)
        self.assertEqual(self.seen(), ["publish", "refused"])
        self.assertIn("connecting", self.traffic.lines()[-1]["reason"])

    def test_state(self) -> None:
        """State and reconnects are those of the broker inside."""
        self.assertEqual((self.broker.state, self.broker.reconnects), ("connected", 0))
        self.memory.go_away()
        self.assertEqual((self.broker.state, self.broker.reconnects), ("connecting", 1))


class PostCountersTests(SynchronousTestCase):
    """Counts of POSTs to Turn."""

    def test_counts(self) -> None:
        """A POST after one that failed is a retry, and recovered when it is accepted."""
        post_counters = PostCounters()
        for kind, name, status in (
            ("message", "m1", 200),
            ("message", "m2", None),
            ("message", "m2", 503),
            ("message", "m2", 200),
            ("status", "m2", 200),
        ):
            post_counters.count(kind, name, status)
        self.assertEqual(post_counters.to_dict(), {"posted": 5, "accepted": 3, "retried": 2, "recovered": 1})
