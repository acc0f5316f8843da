"""How strictly the simulated Turn reads."""

from __future__ import annotations

import copy
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.vumi.messages.samples import event, user_message
from vumi_turn.sandbox.turn_simulator.formats import (
    MAX_TEXT,
    Invalid,
    buttons,
    check_message,
    check_new_channel,
    check_status,
    image,
    list_of,
    outbound_payload,
    said_in,
    same_person,
    text_message,
)
from vumi_turn.turn.payloads import message_payload, parse_outbound, status_payload

MESSAGE: dict[str, Any] = {
    "contact": {"id": "+26612345678", "profile": {"name": "Thabo"}},
    "message": {
        "type": "text",
        "text": {"body": "Hello"},
        "from": "+26612345678",
        "id": "m1",
        "timestamp": "1628345678",
    },
}
STATUS: dict[str, Any] = {
    "status": {"id": "m1", "status": "sent", "timestamp": "1628345678", "recipient_id": "+26612345678"}
}


def changed(payload: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A payload with one value changed; ``...`` removes it."""
    payload = copy.deepcopy(payload)
    *way, last = path.split(".")
    inner = payload
    for key in way:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return payload


class FormatTests(SynchronousTestCase):
    """What is taken, and how the rest is refused."""

    def test_takes_the_workers_messages(self) -> None:
        """What the worker makes of a message is taken, and the object inside comes back."""
        self.assertEqual(check_message(message_payload(user_message(content="Hi")))["text"], {"body": "Hi"})
        self.assertEqual(check_message(MESSAGE), MESSAGE["message"])

    def test_takes_the_workers_statuses(self) -> None:
        """What the worker makes of an event is taken, with and without a recipient."""
        self.assertEqual(check_status(status_payload(event(), "+266111"))["recipient_id"], "+266111")
        self.assertNotIn("recipient_id", check_status(status_payload(event(), None)))

    def test_the_worker_takes_what_it_sends(self) -> None:
        """What the simulated Turn POSTs is what the worker reads."""
        payload = outbound_payload("+266111", text_message("Hi"), "Hi", "m1", True)
        request = parse_outbound(json.dumps(payload).encode())
        self.assertEqual(
            (request.to, request.content, request.reply_to, request.waiting_for_user_input),
            ("+266111", "Hi", "m1", True),
        )

    def test_wrong_messages(self) -> None:
        """Each wrong field of a message is named."""
        for path, value, sentence in (
            ("contact", ..., "contact must be an object"),
            ("contact.id", 266, "contact.id must be a string"),
            ("contact.profile", {}, "contact.profile.name must be a string"),
            ("contact.age", 5, "contact.age is not known"),
            ("message.type", "image", "message.type must be text or interactive"),
            ("message.text.body", "", "message.text.body must not be empty"),
            ("message.text.body", "x" * (MAX_TEXT + 1), "message.text.body must not have more than 4096 characters"),
            ("message.from", "+266999", "message.from must be contact.id"),
            ("message.id", None, "message.id must be a string"),
            ("message.timestamp", 1628345678, "message.timestamp must be a string"),
            ("message.timestamp", "2021-08-07", "message.timestamp must be a string of Unix seconds"),
            ("extra", {}, "the body.extra is not known"),
        ):
            with case(path=path, value=value, sentence=sentence):
                error = self.assertRaises(Invalid, check_message, changed(MESSAGE, path, value))
                self.assertEqual(str(error), sentence)

    def test_wrong_statuses(self) -> None:
        """Each wrong field of a status is named."""
        for path, value, sentence in (
            ("status", [], "status must be an object"),
            ("status.id", "", "status.id must not be empty"),
            ("status.status", "ack", "status.status must be one of sent, delivered, read, failed"),
            ("status.timestamp", "1.5", "status.timestamp must be a string of Unix seconds"),
            ("status.recipient_id", None, "status.recipient_id must be a string"),
        ):
            with case(path=path, value=value, sentence=sentence):
                error = self.assertRaises(Invalid, check_status, changed(STATUS, path, value))
                self.assertEqual(str(error), sentence)

    def test_not_an_object(self) -> None:
        """A body that is no object is refused as such."""
        values: tuple[Any, ...] = ([], "x", None, 5)
        for value in values:
            with case(value=value):
                self.assertEqual(str(self.assertRaises(Invalid, check_message, value)), "the body must be an object")

    def test_same_person(self) -> None:
        """A leading + makes no difference between addresses, anything else does."""
        self.assertTrue(same_person("+266111", "266111"))
        self.assertFalse(same_person("+266111", "+2661112"))


class InteractiveTests(SynchronousTestCase):
    """Choices, and messages that offer them."""

    def reply(self, kind: str, **reply: Any) -> dict[str, Any]:
        interactive = {"type": kind, kind: {"id": "a", "title": "Yes", **reply}}
        message = {key: value for key, value in MESSAGE["message"].items() if key != "text"}
        return {**MESSAGE, "message": {**message, "type": "interactive", "interactive": interactive}}

    def test_taken(self) -> None:
        """A button's and a list's reply are taken, and say their title."""
        for kind in ("button_reply", "list_reply"):
            with case(kind=kind):
                self.assertEqual(said_in(check_message(self.reply(kind))), "Yes")

    def test_wrong(self) -> None:
        """What is wrong with a reply is named."""
        good = self.reply("button_reply")
        for path, value, words in (
            ("message.interactive", ..., "message.interactive must be an object"),
            ("message.interactive.type", "nfm_reply", "interactive.type must be one of button_reply, list_reply"),
            ("message.interactive.button_reply.title", "", "button_reply.title must not be empty"),
            ("message.interactive.button_reply.id", ..., "button_reply.id must be a string"),
            ("message.interactive.button_reply.more", 1, "button_reply.more is not known"),
            ("message.text", {"body": "x"}, "message.text is not known"),
            ("message.type", "image", "message.type must be text or interactive"),
        ):
            with case(path=path, value=value, words=words):
                error = self.assertRaises(Invalid, check_message, changed(good, path, value))
                self.assertIn(words, str(error))

    def test_blank(self) -> None:
        """A text of blanks is none."""
        error = self.assertRaises(Invalid, check_message, changed(MESSAGE, "message.text.body", " \n"))
        self.assertEqual(str(error), "message.text.body must not be blank")

    def test_offered(self) -> None:
        """Buttons, lists and pictures have WhatsApp's shapes."""
        self.assertEqual(
            buttons("Sure?", ["Yes"])["interactive"],
            {
                "type": "button",
                "body": {"text": "Sure?"},
                "action": {"buttons": [{"type": "reply", "reply": {"id": "yes", "title": "Yes"}}]},
            },
        )
        (section,) = list_of("Day?", "Choose", {"Week": [("Monday", "babies")]})["interactive"]["action"]["sections"]
        self.assertEqual(section["rows"], [{"id": "monday", "title": "Monday", "description": "babies"}])
        self.assertEqual(image("https://x/y.png", "Open")["image"], {"link": "https://x/y.png", "caption": "Open"})


class NewChannelTests(SynchronousTestCase):
    """What asks for a channel."""

    def test_wrong(self) -> None:
        """Each field is checked, and named where it is wrong."""
        good = {
            "backend_type": "channel",
            "number_type": "channel_http_api",
            "from_addr": "*120#",
            "name": "Clinic",
            "endpoint": "https://our.host/messages",
        }
        self.assertEqual(check_new_channel(good), good)
        for path, value, words in (
            ("backend_type", "waba", "backend_type must be channel"),
            ("from_addr", ..., "from_addr must be a string"),
            ("endpoint", "our.host", "endpoint must be a URL"),
            ("extra", 1, "extra is not known"),
        ):
            with case(path=path, value=value, words=words):
                error = self.assertRaises(Invalid, check_new_channel, changed(good, path, value))
                self.assertIn(words, str(error))
