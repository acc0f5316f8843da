"""Legacy vumi's own JSON."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.vumi.messages.samples import GOLDEN, WHEN, golden
from vumi_turn.vumi.messages import FailureMessage, TransportEvent, TransportUserMessage


class GoldenTests(SynchronousTestCase):
    """Files that legacy vumi 0.6.19 has written; ``golden/make_golden.py`` makes them."""

    CLASSES: dict[str, Any] = {
        "user_message": TransportUserMessage,
        "event": TransportEvent,
        "failure_message": FailureMessage,
    }

    def test_all(self) -> None:
        """Everything that legacy vumi writes is read, and written with the same keys and values."""
        files = sorted(GOLDEN.glob("*.json"))
        self.assertEqual(len(files), 14)
        for path in files:
            with case(path=path):
                payload = json.loads(path.read_bytes())
                message = self.CLASSES[payload["message_type"]].from_json(path.read_bytes())
                self.assertEqual(message.to_dict(), payload, path.name)

    def test_user_messages(self) -> None:
        """Legacy vumi's sessions, texts and null content arrive as they were meant."""
        found = {
            name: TransportUserMessage.from_json(golden(f"user_message_{name}"))
            for name in ("sms", "ussd_new", "ussd_resume", "ussd_close", "emoji", "date_like")
        }
        self.assertEqual(
            {name: (message.session_event, message.content) for name, message in found.items()},
            {
                "sms": (None, "Hello"),
                "ussd_new": ("new", None),
                "ussd_resume": ("resume", "1"),
                "ussd_close": ("close", None),
                "emoji": (None, "Lumela 😀 é你"),
                "date_like": ("resume", "2021-08-07 12:34:56"),
            },
        )
        self.assertEqual(found["ussd_new"].endpoint_name, "ussd_line")
        self.assertEqual({message.timestamp for message in found.values()}, {WHEN})

    def test_events(self) -> None:
        """Legacy vumi's events arrive as they were meant."""
        found = [
            TransportEvent.from_json(golden(f"event_{name}"))
            for name in (
                "ack",
                "nack",
                "delivery_report_pending",
                "delivery_report_failed",
                "delivery_report_delivered",
            )
        ]
        self.assertEqual(
            [(each.event_type, each.sent_message_id, each.nack_reason, each.delivery_status) for each in found],
            [
                ("ack", "provider-1", None, None),
                ("nack", None, "no route", None),
                ("delivery_report", None, None, "pending"),
                ("delivery_report", None, None, "failed"),
                ("delivery_report", None, None, "delivered"),
            ],
        )

    def test_failure_message(self) -> None:
        """Legacy vumi's failure message holds the original as an object."""
        failure = FailureMessage.from_json(golden("failure_message"))
        self.assertEqual(failure.message, json.loads(golden("user_message_sms")))
        self.assertEqual((failure.failure_code, failure.reason), ("permanent", "Traceback: no such number"))
