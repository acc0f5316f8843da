"""What passed, message by message."""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.fakes import event, user_message
from vumi_turn.sandbox.messages import MAX_MESSAGES, MessageHistory
from vumi_turn.sandbox.traffic import Exchange, TrafficLog


class HistoryCase(SynchronousTestCase):
    """A traffic log, and the messages that are made of it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.traffic = TrafficLog(self.clock)
        self.changes: list[dict[str, Any]] = []
        self.gone: list[str] = []
        self.history = MessageHistory(self.changes.append, self.gone.append)
        self.traffic.on_line = self.history.add

    def one(self) -> dict[str, Any]:
        (message,) = self.history.to_list()
        return message

    def hops(self) -> list[tuple[str, str, str, Optional[str]]]:
        return [(hop["source"], hop["target"], hop["what"], hop["result"]) for hop in self.one()["hops"]]

    def outcome(self) -> tuple[str, str]:
        outcome = self.one()["outcome"]
        return outcome["text"], outcome["tone"]

    # what passes

    def inbound(self, name: str = "m1", **fields: Any) -> bytes:
        """A person's message comes to the worker."""
        body = user_message(name, **fields).to_json()
        self.traffic.amqp("publish", "network", "c.inbound", body)
        self.traffic.amqp("deliver", "worker", "c.inbound", body, redelivered=False)
        return body

    def posts(self, name: str = "m1") -> Exchange:
        """The worker POSTs it to Turn."""
        body = {"message": {"id": name, "type": "text", "text": {"body": "Yes"}}}
        return self.traffic.request("worker", "POST /messages", json.dumps(body).encode())

    def asks(self, text: str = "Hi", to: str = "+27820000001") -> Exchange:
        """Turn POSTs to the worker."""
        body = {"to": to, "content": text, "turn": {"type": "text", "text": {"body": text}}}
        return self.traffic.request("turn", "POST /messages", json.dumps(body).encode())

    def publishes(self, name: str = "o1", text: str = "Hi", **fields: Any) -> bytes:
        """The worker publishes a message to a person."""
        body = user_message(name, content=text, to_addr="27820000001", from_addr="8864", **fields).to_json()
        self.traffic.amqp("publish", "worker", "c.outbound", body)
        return body

    def reports(self, name: str = "o1", **fields: Any) -> None:
        """The network tells what became of it."""
        self.traffic.amqp("publish", "network", "c.event", event(name, **fields).to_json())


class InboundTests(HistoryCase):
    """From a person to Turn."""

    def test_taken(self) -> None:
        """A message that Turn takes has each hop, its outcome, and the time until Turn had it."""
        body = self.inbound()
        self.clock.advance(0.25)
        self.traffic.response(self.posts(), 200)
        self.traffic.amqp("ack", "worker", "c.inbound", body)
        self.assertEqual(
            self.hops(),
            [
                ("network", "broker", "published to inbound", ""),
                ("broker", "worker", "delivered from inbound", "settled"),
                ("worker", "turn", "POST /messages", "200"),
            ],
        )
        message = self.one()
        self.assertEqual(
            (message["direction"], message["person"], message["text"]), ("in", "+27820000001", "words of m1")
        )
        self.assertEqual((message["tries"], message["seconds"]), (1, 0.25))
        self.assertEqual(self.outcome(), ("taken by Turn", "good"))
        self.assertEqual(self.changes[-1], message)

    def test_retries_are_folded(self) -> None:
        """Tries in vain are one hop that counts them; the one that worked is the same hop's end."""
        self.inbound()
        for status in (None, 503):
            self.traffic.response(self.posts(), status)
            self.clock.advance(1)
        self.assertEqual(self.outcome(), ("Turn said 503", "warn"))
        self.traffic.response(self.posts(), 200)
        hop = self.one()["hops"][-1]
        self.assertEqual((hop["count"], hop["result"], hop["tone"], self.one()["tries"]), (3, "200", "good", 3))
        self.assertEqual((hop["at"], hop["last_at"], len(hop["lines"])), (100, 102, 6))

    def test_a_choice(self) -> None:
        """What Turn was told is shown where it is not what the person typed."""
        self.inbound(content="1")
        self.traffic.response(self.posts(), 200)
        self.assertEqual((self.one()["text"], self.one()["said_to_turn"]), ("1", "Yes"))

    def test_parked_and_dropped(self) -> None:
        """A parked message says why; dropping it is its last hop."""
        self.inbound()
        answer = json.dumps({"errors": [{"details": "no such person"}]}).encode()
        self.traffic.response(self.posts(), 400, answer)
        failure = {
            "message_type": "failure_message",
            "message": {"message_id": "m1"},
            "failure_code": "permanent",
            "reason": "Turn answered 400",
        }
        body = json.dumps(failure).encode()
        self.traffic.amqp("publish", "worker", "c.turn_failures", body)
        self.traffic.amqp("deliver", "page", "c.turn_failures", body)
        self.assertEqual(self.one()["outcome"], {"text": "parked", "tone": "bad", "reason": "Turn answered 400"})
        self.assertEqual(self.one()["hops"][2]["detail"], "no such person")
        self.traffic.amqp("ack", "page", "c.turn_failures", body)
        self.assertEqual((self.outcome()[0], self.hops()[-1][:3]), ("dropped", ("parked", "nobody", "dropped")))

    def test_replayed(self) -> None:
        """A replayed message goes on as the same message; its leaving the parked ones is no drop."""
        self.test_retries_are_folded()
        failure = json.dumps({"message_type": "failure_message", "message": {"message_id": "m1"}}).encode()
        self.traffic.amqp("publish", "worker", "c.turn_failures", failure)
        self.traffic.amqp("publish", "page", "c.inbound", user_message("m1").to_json())
        self.traffic.amqp("ack", "page", "c.turn_failures", failure)
        self.assertEqual((self.outcome(), len(self.history.to_list())), (("replayed", "info"), 1))

    def test_nothing_to_send(self) -> None:
        """The end of a session that Turn is not told of is settled with nothing to send."""
        body = self.inbound(content=None, session_event="close")
        self.traffic.amqp("ack", "worker", "c.inbound", body)
        self.assertEqual(self.outcome(), ("nothing to send", "idle"))

    def test_page_turned(self) -> None:
        """A key that the worker answers by itself, without asking Turn, turned a page."""
        body = self.inbound(content="98", session_event="resume")
        self.publishes("o2", "the next page", in_reply_to="m1")
        self.traffic.amqp("ack", "worker", "c.inbound", body)
        outcomes = [one["outcome"]["text"] for one in self.history.to_list()]
        self.assertEqual(outcomes, ["page turned", "published"])

    def test_application(self) -> None:
        """What an application settles it has handled."""
        self.history = MessageHistory(application=True)
        self.traffic.on_line = self.history.add
        self.traffic.amqp("ack", "worker", "c.inbound", self.inbound())
        self.assertEqual(self.outcome(), ("handled", "good"))

    def test_given_back(self) -> None:
        """A message that goes back to its queue says so."""
        body = self.inbound()
        self.traffic.amqp("requeue", "worker", "c.inbound", body)
        self.assertEqual(self.outcome(), ("back in its queue", "warn"))

    def test_not_taken(self) -> None:
        """A publish that the broker did not take is the message's end, with the reason."""
        body = user_message("m1").to_json()
        self.traffic.amqp("publish", "network", "c.inbound", body)
        self.traffic.amqp("refused", "network", "c.inbound", body, reason="away")
        self.assertEqual(self.one()["outcome"], {"text": "not taken by the broker", "tone": "bad", "reason": "away"})


class OutboundTests(HistoryCase):
    """From Turn to a person."""

    def test_one_message(self) -> None:
        """Turn's request, its publish, its acknowledgement and its status are one message."""
        asked = self.asks()
        self.publishes()
        self.traffic.response(asked, 200, b'{"messages": [{"id": "o1"}]}')
        self.clock.advance(0.5)
        self.reports()
        posted = self.traffic.request("worker", "POST /statuses", b'{"status": {"id": "o1", "status": "sent"}}')
        self.traffic.response(posted, 200)
        message = self.one()
        self.assertEqual((message["key"], message["direction"], message["seconds"]), ("o1", "out", 0.5))
        self.assertEqual(self.outcome(), ("sent", "good"))
        self.assertEqual(
            [hop[:3] for hop in self.hops()],
            [
                ("turn", "worker", "POST /messages"),
                ("worker", "broker", "published to outbound"),
                ("network", "broker", "ack to event"),
                ("worker", "turn", "POST /statuses sent"),
            ],
        )
        self.assertEqual(self.gone, ["exchange-1"])

    def test_failed(self) -> None:
        """What the network refuses has failed, with its reason."""
        self.publishes()
        self.reports(event_type="nack", nack_reason="too long")
        self.assertEqual(self.one()["outcome"], {"text": "failed", "tone": "bad", "reason": "too long"})

    def test_repeats_of_turn(self) -> None:
        """Turn's repeat of a POST that failed is the same message; the same words after a 200 are another."""
        for status in (503, 200):
            self.traffic.response(self.asks(), status, b'{"messages": [{"id": "o1"}]}' if status == 200 else b"")
        self.assertEqual((self.one()["tries"], self.one()["id"]), (2, "o1"))
        self.traffic.response(self.asks(), 200, b'{"messages": [{"id": "o2"}]}')
        self.assertEqual([one["id"] for one in self.history.to_list()], ["o1", "o2"])

    def test_refused(self) -> None:
        """A POST that the worker refuses says why."""
        self.traffic.response(self.asks(), 400, b'{"errors": [{"details": "turn.type is missing"}]}')
        self.assertEqual(
            self.one()["outcome"], {"text": "refused: 400", "tone": "bad", "reason": "turn.type is missing"}
        )

    def test_shown_on_the_phone(self) -> None:
        """What the phone is shown, and that the session ends with it, is told where it is not what Turn gave."""
        asked = self.asks("Sure?")
        self.publishes(text="Sure?\n1. Yes", session_event="close")
        self.traffic.response(asked, 200, b'{"messages": [{"id": "o1"}]}')
        self.assertEqual((self.one()["shown"], self.one()["session"]), ("Sure?\n1. Yes", "close"))


class JoinedTests(HistoryCase):
    """Several messages of Turn's for one input."""

    def part(self, name: str) -> bytes:
        """A part is put into its queue, and taken from there."""
        original = user_message("m1").to_json().decode()
        body = json.dumps({"id": name, "original": original, "turn": {}, "content": "x", "waits": False}).encode()
        self.traffic.amqp("publish", "worker", "c.turn_joining", body)
        self.traffic.amqp("deliver", "worker", "c.turn_joining", body)
        return body

    def test_joined(self) -> None:
        """Each part is a message; the first has what the phone shows, the others say that they are joined."""
        bodies = []
        for name, text in (("o1", "That is no number."), ("o2", "How old?")):
            with case(name=name, text=text):
                asked = self.asks(text)
                bodies.append(self.part(name))
                self.assertEqual(self.history.to_list()[-1]["outcome"]["text"], "held to be joined")
                self.traffic.response(asked, 200, json.dumps({"messages": [{"id": name}]}).encode())
        self.publishes("o1", "That is no number.\nHow old?")
        for body in bodies:
            self.traffic.amqp("ack", "worker", "c.turn_joining", body)
        first, second = self.history.to_list()
        self.assertEqual((first["outcome"]["text"], first["shown"]), ("published", "That is no number.\nHow old?"))
        self.assertEqual((second["outcome"]["text"], second["text"]), ("joined", "How old?"))


class BoundsTests(HistoryCase):
    def test_bounded(self) -> None:
        """The oldest messages are forgotten, and lines about them change nothing."""
        for number in range(MAX_MESSAGES + 1):
            self.traffic.amqp("publish", "network", "c.inbound", user_message(f"m{number}").to_json())
        self.traffic.response(self.posts("m0"), 200)
        found = self.history.to_list()
        self.assertEqual((len(found), found[0]["id"]), (MAX_MESSAGES, "m1"))

    def test_junk(self) -> None:
        """What is no message changes nothing."""
        for body in (b"junk", b"[]", b'{"message_type": "user_message"}', b'{"id": "x"}'):
            self.traffic.amqp("publish", "network", "c.inbound", body)
            self.traffic.amqp("ack", "worker", "c.inbound", body)
        self.traffic.request("worker", "POST /messages", b"junk")
        self.assertEqual(self.history.to_list(), [])

    def test_clear(self) -> None:
        """What was cleared is forgotten."""
        self.inbound()
        self.history.clear()
        self.assertEqual(self.history.to_list(), [])
