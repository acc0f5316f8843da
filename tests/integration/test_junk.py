"""Junk on the queues: parked, each piece whole, and the next good message goes through."""

from __future__ import annotations

import json
from typing import Any, Union

from tests.integration.bridge_case import BridgeCase
from tests.integration.vumi_words import event, inbound, new_id
from tests.integration.waiting import wait_for

Junk = list[tuple[str, bytes]]


def as_json(value: Any) -> bytes:
    """The bytes of a value."""
    return json.dumps(value).encode()


def without(message: dict[str, Any], key: str) -> dict[str, Any]:
    """A message that lacks something."""
    return {name: value for name, value in message.items() if name != key}


#: No message of any kind.
SHARED: Junk = [
    ("nothing", b""),
    ("no JSON", b"not JSON"),
    ("cut short", as_json(inbound())[:-5]),
    ("a list", b"[]"),
    ("an empty object", b"{}"),
    ("null", b"null"),
    ("a number", b"1628345545"),
    ("a string", b'"hello"'),
    ("no UTF-8", b'{"content": "\xff\xfe"}'),
    ("bytes", bytes(range(256))),
    ("too deep", 20_000 * b"[" + 20_000 * b"]"),
    ("a failure message", as_json({**inbound(), "message_type": "failure_message"})),
]


def junk_messages() -> Junk:
    """What is no user message."""
    return SHARED + [
        ("another version", as_json(inbound(message_version="20130101"))),
        ("no version", as_json(without(inbound(), "message_version"))),
        ("an unknown session event", as_json(inbound(session_event="pause"))),
        ("no id", as_json(without(inbound(), "message_id"))),
        ("no sender", as_json(without(inbound(), "from_addr"))),
        ("content that is no text", as_json(inbound(content={"a": 1}))),
        ("no timestamp", as_json(inbound(timestamp="yesterday"))),
        ("an event", as_json(event("ack", new_id()))),
    ]


def junk_events() -> Junk:
    """What is no event."""
    return SHARED + [
        ("another version", as_json(event("ack", new_id(), message_version="20130101"))),
        ("an unknown type", as_json(event("read", new_id()))),
        ("no type", as_json(without(event("ack", new_id()), "event_type"))),
        ("whose nobody says", as_json(without(event("ack", new_id()), "user_message_id"))),
        ("whose is null", as_json({**event("ack", new_id()), "user_message_id": None})),
        ("no timestamp", as_json(event("ack", new_id(), timestamp=7))),
        ("a message", as_json(inbound())),
    ]


def original(parked: dict[str, Any]) -> Union[dict[str, Any], bytes]:
    """What was parked: the object, or the bytes of the text."""
    message = parked["message"]
    if isinstance(message, str):
        return message.encode("utf-8", "surrogateescape")
    assert isinstance(message, dict)
    return message


def expected(body: bytes) -> Union[dict[str, Any], bytes]:
    """What ought to be parked for a body."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return value if isinstance(value, dict) else body


class JunkTests(BridgeCase):
    """What other programs may put into the queues by mistake."""

    connector = "junk"

    def check(self, queue: str, junk: Junk) -> None:
        """Publish each with a good one behind it; all junk is parked whole, all good ones arrive."""
        good = []
        for _, body in junk:
            self.peer.publish(self.rig.queue(queue), body)
            if queue == "inbound":
                good.append(("messages", self.say(inbound())["message_id"]))
            else:
                good.append(("statuses", self.report(event("ack", new_id()))["user_message_id"]))
        for kind, name in good:
            self.turn.wait_for(kind, name)
        wait_for(lambda: self.rig.held(queue) == 0, "everything to be acknowledged")
        self.assertEqual(len(self.turn.requests), len(good))
        parked = [json.loads(body) for body in self.peer.take_all(self.rig.queue("turn_failures"))]
        self.assertEqual(len(parked), len(junk))
        whole = [original(failure) for failure in parked]
        for name, body in junk:
            with self.case(name):
                self.assertIn(expected(body), whole)
        for failure in parked:
            self.check_failure(failure, queue)
        self.assertNotIn("Traceback", self.worker.log)

    def check_failure(self, failure: dict[str, Any], queue: str) -> None:
        """A failure message is in legacy vumi's form, and says why."""
        self.assertEqual(failure["message_type"], "failure_message")
        self.assertEqual(failure["message_version"], "20110921")
        self.assertEqual(failure["failure_code"], "permanent")
        self.assertTrue(failure["reason"])
        self.assertNotIn("Traceback", failure["reason"])
        turn = failure["helper_metadata"]["turn"]
        self.assertEqual((turn["queue"], turn["attempts"], turn["last_status"]), (queue, 0, None))
        self.assertRegex(turn["failed_at"], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$")

    def test_on_inbound(self) -> None:
        """What is no user message is parked, and the messages behind it are delivered."""
        self.check("inbound", junk_messages())

    def test_on_event(self) -> None:
        """What is no event is parked, and the events behind it become statuses."""
        self.check("event", junk_events())
