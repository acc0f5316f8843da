"""Legacy vumi 0.6 reads what we write; :mod:`tests.integration.legacy_vumi` says what that needs."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.legacy_vumi import PATIENCE, environment, legacy_python
from tests.vumi.messages.samples import GOLDEN, USER_MESSAGE, WHEN, golden, user_message
from vumi_turn.vumi.messages import FailureMessage, TransportEvent, TransportUserMessage

READER = Path(__file__).with_name("legacy_reader.py")


class LegacyCase(SynchronousTestCase):
    """What the tests share."""

    def setUp(self) -> None:
        self.python = legacy_python()

    def read(self, *messages: Any) -> list[dict[str, Any]]:
        """What legacy vumi makes of our messages, each by the class of the same name."""
        lines = b"".join(type(message).__name__.encode() + b" " + message.to_json() + b"\n" for message in messages)
        command = [self.python, "-B", "-W", "ignore", str(READER)]
        done = subprocess.run(command, input=lines, env=environment(), capture_output=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr.decode("utf-8", "replace"))
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual((len(answers), answers[-1]), (len(messages) + 1, {"end": True}))
        return answers[:-1]

    def check(self, *messages: Any) -> None:
        """Legacy vumi must read each field of each message as we wrote it."""
        for message, answer in zip(messages, self.read(*messages), strict=True):
            self.assertNotIn("error", answer)
            expected = json.loads(message.to_json())
            self.assertEqual(set(answer["payload"]), set(expected))
            for key, value in expected.items():
                self.assertEqual(answer["payload"][key], value, f"{key} of {message!r}")
            self.assertIs(answer["date"], True)


class UserMessageTests(LegacyCase):
    """User messages in legacy vumi's hands."""

    def test_every_field(self) -> None:
        """Legacy vumi reads a message with every field set as we wrote it."""
        self.check(user_message(), user_message(unknown={"a": [1, None, True]}))

    def test_sessions_and_content(self) -> None:
        """Legacy vumi reads every session_event, null content, emoji and long text as we wrote them."""
        self.check(
            *(
                user_message(session_event=session_event, content=content)
                for session_event in TransportUserMessage.SESSION_EVENTS
                for content in (None, "", "Hello", "Lumela 😀 é你", "x" * 100_000)
            )
        )

    def test_new_ones(self) -> None:
        """Legacy vumi reads a message that answers none, with or without a sender and an endpoint."""
        message = TransportUserMessage.send("+26612345678", "Hi")
        sent = message.replace(from_addr="8864", transport_name="phones", transport_type="sms")
        self.check(message, sent, sent.with_endpoint("other"))
        endpoints = [answer["endpoint"] for answer in self.read(message, sent.with_endpoint("other"))]
        self.assertEqual(endpoints, ["default", "other"])

    def test_replies(self) -> None:
        """Legacy vumi reads our answers to its own messages."""
        originals = [
            TransportUserMessage.from_json(path.read_bytes()) for path in sorted(GOLDEN.glob("user_message_*.json"))
        ]
        self.assertGreater(len(originals), 5)
        self.check(*(original.reply("Welcome", session_event="close") for original in originals))

    def test_timestamps(self) -> None:
        """Legacy vumi reads our timestamps as dates, with and without a fraction."""
        self.check(
            *(
                user_message().replace(timestamp=moment)
                for moment in (WHEN, WHEN.replace(microsecond=0), WHEN + timedelta(days=10_000))
            )
        )


class EventTests(LegacyCase):
    """Events in legacy vumi's hands."""

    def test_every_type(self) -> None:
        """Legacy vumi reads each type of event as we wrote it."""
        about = USER_MESSAGE["message_id"]
        self.check(
            TransportEvent(user_message_id=about, event_type="ack", sent_message_id="provider-1"),
            TransportEvent(user_message_id=about, event_type="nack", nack_reason="no route"),
            *(
                TransportEvent(
                    user_message_id=about,
                    event_type="delivery_report",
                    delivery_status=status,
                    timestamp=WHEN,
                )
                for status in TransportEvent.DELIVERY_STATUSES
            ),
        )

    def test_its_own(self) -> None:
        """Legacy vumi reads its own events after they went through us."""
        paths = sorted(GOLDEN.glob("event_*.json"))
        self.assertEqual(len(paths), 5)
        self.check(*(TransportEvent.from_json(path.read_bytes()) for path in paths))


class FailureMessageTests(LegacyCase):
    """Failure messages in legacy vumi's hands."""

    def test_parked_messages(self) -> None:
        """Legacy vumi reads a failure message whose original is an object, or a text that is none."""
        self.check(
            *(
                FailureMessage(
                    message=original,
                    failure_code=code,
                    reason="Turn refused it: 400",
                    timestamp=WHEN,
                    helper_metadata={"turn": {"queue": "inbound", "attempts": 1, "last_status": 400}},
                )
                for original in (USER_MESSAGE, {}, "not json \udcff")
                for code in ("permanent", "temporary")
            )
        )

    def test_its_own(self) -> None:
        """Legacy vumi reads its own failure message after it went through us."""
        self.check(FailureMessage.from_json(golden("failure_message")))
