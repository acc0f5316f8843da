"""Turn's formats."""

from __future__ import annotations

import copy
import json
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.http.errors import ApiError, ApiUsageError, JsonDecodeError
from vumi_turn.turn.payloads import (
    MESSAGES_PATH,
    STATUS_OF_EVENT,
    STATUSES_PATH,
    OutboundRequest,
    message_payload,
    parse_outbound,
    status_of,
    status_payload,
)
from vumi_turn.vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage

WHEN = datetime(2021, 8, 7, 13, 2, 58, 999999, tzinfo=timezone.utc)
UNIX = "1628341378"

REQUEST: dict[str, Any] = {
    "to": "+26612345678",
    "from": None,
    "reply_to": None,
    "content": "Hi",
    "context": None,
    "block": None,
    "resources": None,
    "evaluated_resources": None,
    "turn": {"type": "text", "text": {"body": "Hi"}},
    "waiting_for_user_input": False,
}

WRONG: tuple[tuple[Any, str], ...] = ((None, "null"), (5, "a number"), (1.5, "a number"), ([], "a list"))


def message(**changes: Any) -> TransportUserMessage:
    fields: dict[str, Any] = {
        "from_addr": "+26612345678",
        "transport_name": "phone_network",
        "transport_type": "ussd",
        "message_id": "0f" * 16,
        "timestamp": WHEN,
    }
    fields.update({"to_addr": "*120*8864#", "content": "Hello"}, **changes)
    return TransportUserMessage.send(**fields)


def event(event_type: str, **fields: Any) -> TransportEvent:
    return TransportEvent(user_message_id="0f" * 16, event_type=event_type, timestamp=WHEN, **fields)


class MessagePayloadTests(SynchronousTestCase):
    """A person's message on its way to Turn."""

    def test_format(self) -> None:
        """The payload is Turn's, with every field in its place."""
        self.assertEqual(
            message_payload(message()),
            {
                "contact": {"id": "+26612345678", "profile": {"name": "+26612345678"}},
                "message": {
                    "type": "text",
                    "text": {"body": "Hello"},
                    "from": "+26612345678",
                    "id": "0f" * 16,
                    "timestamp": UNIX,
                },
            },
        )

    def test_paths(self) -> None:
        """The paths are Turn's."""
        self.assertEqual((MESSAGES_PATH, STATUSES_PATH), ("/messages", "/statuses"))

    def test_fraction_is_cut_off(self) -> None:
        """The timestamp is in whole seconds, never rounded up, in UTC."""
        east = message(timestamp=WHEN.astimezone(timezone(timedelta(hours=2))))
        self.assertEqual(message_payload(east)["message"]["timestamp"], UNIX)
        epoch = message(timestamp=datetime(1970, 1, 1))
        self.assertEqual(message_payload(epoch)["message"]["timestamp"], "0")

    def test_contact_name(self) -> None:
        """A name that the transport gives is the contact's; what is no name is not."""
        named = message_payload(message(helper_metadata={"contact_name": "Thabo"}))
        self.assertEqual(named["contact"], {"id": "+26612345678", "profile": {"name": "Thabo"}})
        for odd in ("", "  ", None, 5, ["Thabo"], {"first": "Thabo"}):
            payload = message_payload(message(helper_metadata={"contact_name": odd}))
            self.assertEqual(payload["contact"]["profile"]["name"], "+26612345678")

    def body_of(self, *args: Any, **changes: Any) -> str:
        body: str = message_payload(message(**changes), *args)["message"]["text"]["body"]
        return body

    def test_no_content(self) -> None:
        """Turn refuses an empty text: a message without content, or of blanks only, carries the address it came to."""
        for content in (None, "", " ", "\t\r\n", "\u00a0\u2003", "\0", " \0 "):
            self.assertEqual(self.body_of(content=content), "*120*8864#")
            self.assertEqual(self.body_of("", content=content), "*120*8864#")
            self.assertEqual(self.body_of("(dialled)", content=content), "(dialled)")
            self.assertEqual(self.body_of(content=content, to_addr=None), "-")
        self.assertEqual(self.body_of("(dialled)", content="1"), "1")
        self.assertEqual(self.body_of("(dialled)", content=" 1\n"), " 1\n")
        for to_addr in (" ", "\0"):
            self.assertEqual(self.body_of(content="", to_addr=to_addr), "-")

    def test_nul(self) -> None:
        """NUL characters are left out of every text that goes to Turn; a name or an address of nothing else is none."""
        payload = message_payload(
            message(
                message_id="a\0b", from_addr="+1\0", content="\0Y\0es\0", helper_metadata={"contact_name": "T\0habo"}
            )
        )
        self.assertNotIn("\\u0000", json.dumps(payload))
        self.assertEqual(payload["message"]["text"], {"body": "Yes"})
        self.assertEqual((payload["message"]["id"], payload["message"]["from"]), ("ab", "+1"))
        self.assertEqual(payload["contact"], {"id": "+1", "profile": {"name": "Thabo"}})
        unnamed = message_payload(message(helper_metadata={"contact_name": "\0"}))
        self.assertEqual(unnamed["contact"]["profile"]["name"], unnamed["contact"]["id"])
        self.assertRaises(MalformedMessage, message_payload, message(from_addr="\0"))

    def test_no_sender(self) -> None:
        """A message from nobody is refused as malformed: Turn could never be told whose it is."""
        for from_addr in (None, ""):
            error = self.assertRaises(MalformedMessage, message_payload, message(from_addr=from_addr))
            self.assertIn("from_addr", str(error))

    def test_half_of_an_emoji(self) -> None:
        """Text that was cut within an emoji goes with a replacement character; a whole one stays."""
        self.assertEqual(self.body_of(content="cut \ud83d"), "cut \ufffd")
        self.assertEqual(self.body_of(content="\ude00 é 😀"), "\ufffd é 😀")
        self.assertEqual(self.body_of(content="\ud83d\ude00"), "😀")
        named = message_payload(message(helper_metadata={"contact_name": "T\ud83d"}))
        self.assertEqual(named["contact"]["profile"]["name"], "T\ufffd")

    @given(st.none() | st.text(), st.none() | st.text(), st.dictionaries(st.text(), st.text()))
    @settings(max_examples=50, deadline=None)
    def test_any_text(self, content: Any, empty: Any, metadata: dict[str, str]) -> None:
        """Whatever was said, the payload can be written as UTF-8 and its text is not empty."""
        payload = message_payload(message(content=content, helper_metadata=metadata))
        self.assertTrue(json.dumps(payload, ensure_ascii=False).encode("utf-8"))
        self.assertNotEqual(payload["message"]["text"]["body"], "")


class StatusPayloadTests(SynchronousTestCase):
    """What became of a message, on its way to Turn."""

    def test_format(self) -> None:
        """The payload is Turn's and names our message, not the provider's."""
        self.assertEqual(
            status_payload(event("ack", sent_message_id="provider-1"), "+26612345678"),
            {
                "status": {
                    "id": "0f" * 16,
                    "status": "sent",
                    "timestamp": UNIX,
                    "recipient_id": "+26612345678",
                }
            },
        )

    def test_unknown_recipient(self) -> None:
        """A status whose recipient is not known goes without one."""
        for recipient in (None, ""):
            self.assertEqual(
                status_payload(event("ack"), recipient),
                {"status": {"id": "0f" * 16, "status": "sent", "timestamp": UNIX}},
            )

    def test_table(self) -> None:
        """Each event is told in Turn's word."""
        self.assertEqual(
            [
                status_of(event("ack")),
                status_of(event("ack", delivery_status="failed")),
                status_of(event("nack", nack_reason="no route")),
                status_of(event("delivery_report", delivery_status="pending")),
                status_of(event("delivery_report", delivery_status="delivered")),
                status_of(event("delivery_report", delivery_status="failed")),
            ],
            ["sent", "sent", "failed", "sent", "delivered", "failed"],
        )

    def test_complete(self) -> None:
        """There is a word for every event that can be read."""
        kinds: set[Any] = {("ack", None), ("nack", None)}
        kinds |= {("delivery_report", status) for status in TransportEvent.DELIVERY_STATUSES}
        self.assertEqual(set(STATUS_OF_EVENT), kinds)


class OutboundTests(SynchronousTestCase):
    """What Turn POSTs to us."""

    def parse(self, **changes: Any) -> Any:
        return parse_outbound(json.dumps({**REQUEST, **changes}).encode())

    def refusal(self, error: type[ApiError], request: Any) -> str:
        """The details with which a body is refused."""
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        details: str = self.assertRaises(error, parse_outbound, body).details
        return details

    def with_value(self, path: str, value: Any) -> dict[str, Any]:
        """The request with another value at a path such as ``turn.text.body``."""
        request = copy.deepcopy(REQUEST)
        *parents, key = path.split(".")
        place = request
        for parent in parents:
            place = place[parent]
        place[key] = value
        return request

    def without(self, path: str) -> dict[str, Any]:
        request = self.with_value(path, None)
        *parents, key = path.split(".")
        place = request
        for parent in parents:
            place = place[parent]
        del place[key]
        return request

    def test_all_fields(self) -> None:
        """Each field is taken from its place."""
        turn = {"type": "text", "text": {"body": "Ünïcode 😀"}}
        request = self.parse(**{"from": "8864", "reply_to": "0f" * 16, "turn": turn, "waiting_for_user_input": True})
        self.assertEqual(
            request, OutboundRequest("+26612345678", "8864", "0f" * 16, "Ünïcode 😀", True, turn, REQUEST["content"])
        )

    def test_only_what_is_required(self) -> None:
        """``to`` and ``turn`` are enough."""
        request = parse_outbound(json.dumps({"to": "+26612345678", "turn": REQUEST["turn"]}).encode())
        self.assertEqual(request, OutboundRequest("+26612345678", None, None, "Hi", False, REQUEST["turn"], None))

    def test_null_and_empty_are_missing(self) -> None:
        """Optional fields that are null or empty count as not given."""
        for empty in (None, ""):
            request = self.parse(**{"from": empty, "reply_to": empty})
            self.assertEqual((request.from_addr, request.reply_to), (None, None))
        self.assertIs(self.parse(waiting_for_user_input=None).waiting_for_user_input, False)

    def test_unknown_fields(self) -> None:
        """What is not used may hold anything."""
        request = self.parse(context={"a": 1}, block=[1], resources="r", evaluated_resources=5, new={})
        self.assertEqual(request.text, "Hi")

    def test_empty_text(self) -> None:
        """An empty text is carried: a session may be ended without a word."""
        request = parse_outbound(json.dumps(self.with_value("turn.text.body", "")).encode())
        self.assertEqual(request.text, "")

    def test_missing(self) -> None:
        """Each required field that is missing is named."""
        for path in ("to", "turn", "turn.text", "turn.text.body"):
            self.assertEqual(self.refusal(ApiUsageError, self.without(path)), f"{path} is missing")

    def test_strings_of_the_wrong_type(self) -> None:
        """Each required string of another type is named, with the type found."""
        for path in ("to", "turn.type", "turn.text.body"):
            for value, kind in (*WRONG, ({}, "an object"), (True, "a boolean")):
                self.assertEqual(
                    self.refusal(ApiUsageError, self.with_value(path, value)),
                    f"{path} must be a string, not {kind}",
                )

    def test_objects_of_the_wrong_type(self) -> None:
        """Each required object of another type is named, with the type found."""
        for path in ("turn", "turn.text"):
            for value, kind in (*WRONG, ("text", "a string"), (False, "a boolean")):
                self.assertEqual(
                    self.refusal(ApiUsageError, self.with_value(path, value)),
                    f"{path} must be an object, not {kind}",
                )

    def test_optional_fields_of_the_wrong_type(self) -> None:
        """An optional field of the wrong type is an error too."""
        for path in ("from", "reply_to"):
            for value, kind in ((5, "a number"), ([], "a list"), ({}, "an object"), (False, "a boolean")):
                self.assertEqual(
                    self.refusal(ApiUsageError, self.with_value(path, value)),
                    f"{path} must be a string or null, not {kind}",
                )
        for value, kind in (*WRONG[1:], ("true", "a string"), ({}, "an object")):
            self.assertEqual(
                self.refusal(ApiUsageError, self.with_value("waiting_for_user_input", value)),
                f"waiting_for_user_input must be a boolean or null, not {kind}",
            )

    def test_empty_recipient(self) -> None:
        """A message to nobody is refused."""
        for to in ("", " ", "\n"):
            self.assertEqual(self.refusal(ApiUsageError, self.with_value("to", to)), "to must not be empty")

    def test_not_an_object(self) -> None:
        """A body that is JSON but no object is refused as that."""
        for body, kind in (
            (b"[]", "a list"),
            (b"null", "null"),
            (b'"x"', "a string"),
            (b"5", "a number"),
            (b"true", "a boolean"),
        ):
            self.assertEqual(self.refusal(ApiUsageError, body), f"the body must be an object, not {kind}")

    def test_other_types(self) -> None:
        """A message that is no text is carried as it is; half of an emoji anywhere in it is replaced."""
        turn: dict[str, Any] = {
            "type": "image",
            "image": {"link": "https://example.org/a.png", "caption": "cut \ud83d"},
        }
        request = self.parse(turn=turn, content="cut \ud83d")
        self.assertIsNone(request.text)
        self.assertEqual(request.turn, {**turn, "image": {**turn["image"], "caption": "cut \ufffd"}})
        self.assertEqual(request.content, "cut \ufffd")

    def test_half_of_a_surrogate_pair(self) -> None:
        """In a text half of an emoji is replaced; in an address or id it is refused."""
        request = json.dumps(self.with_value("turn.text.body", "cut \ud83d")).encode()
        self.assertEqual(parse_outbound(request).text, "cut \ufffd")
        for path in ("to", "from", "reply_to"):
            self.assertEqual(
                self.refusal(ApiUsageError, self.with_value(path, "a\ud83d")),
                f"{path} must be Unicode text; it holds half of a surrogate pair",
            )

    def test_not_json(self) -> None:
        """What is not UTF-8 or not strictly JSON is refused with the reason."""
        good = json.dumps(REQUEST).encode()
        for body, details in {
            b"": "the body is not JSON: Expecting value at character 0",
            b"hello": "the body is not JSON: Expecting value at character 0",
            good + b"}": f"the body is not JSON: Extra data at character {len(good)}",
            b"\xff" + good: "the body is not UTF-8 (at byte 0)",
            good.decode().encode("utf-16"): "the body is not UTF-8 (at byte 0)",
            b"[" * 20_000 + b"]" * 20_000: "the body is nested too deep",
            b'{"a":' * 20_000: "the body is nested too deep",
            b'{"a":' * 20_000 + b"1" + b"}" * 20_000: "the body is nested too deep",
            good.replace(b'"block": null', b'"block": NaN'): "the body is not JSON: NaN is not a number",
            good.replace(b'"block": null', b'"block": -Infinity'): ("the body is not JSON: -Infinity is not a number"),
            good.replace(b'"block": null', b'"to": "+26687654321"'): "the body has to twice",
            good.replace(b'"block": null', b'"reply_to": "other"'): "the body has reply_to twice",
            good.replace(b'"text": {', b'"text": {"body": "other", '): "the body has turn.text.body twice",
        }.items():
            self.assertEqual(self.refusal(JsonDecodeError, body), details)

    def test_text_without_a_type(self) -> None:
        """``turn`` without a type that has a text is a text."""
        self.assertEqual(self.parse(turn={"text": {"body": "Hi"}}).text, "Hi")
        self.assertEqual(self.refusal(ApiUsageError, {**REQUEST, "turn": {}}), "turn.type is missing")
        wrong = {**REQUEST, "turn": {"text": "Hi"}}
        self.assertEqual(self.refusal(ApiUsageError, wrong), "turn.text must be an object, not a string")

    def test_what_is_not_used(self) -> None:
        """What nobody uses may have a key twice, numbers of any size, and any depth, wherever it stands."""
        good = json.dumps(REQUEST).encode()
        deep = b"[" * 20_000 + b'"]"' + b"]" * 20_000
        for value in (
            b'{"a": 1, "a": 2}',
            b"1e400",
            b"-" + b"9" * 5000,
            b'{"x": ' * 5000 + b"1e999" + b"}" * 5000,
            deep,
            b"[" + b'{"a": 1}, ' * 500 + b'"[{"]',
        ):
            for place, changed in (
                (b'"block": null', b'"block": ' + value),
                (b'"text": {', b'"text": {"more": ' + value + b", "),
                (b'"turn": {', b'"context": {"body": ' + value + b'}, "turn": {'),
                (b'"content": "Hi"', b'"content": ' + value),
            ):
                body = good.replace(place, changed)
                self.assertNotEqual(body, good)
                self.assertEqual(parse_outbound(body).text, "Hi", (place, value[:20]))

    def test_what_is_used_in_odd_forms(self) -> None:
        """A number of any size where a text is meant is named; so is a body that ends inside of a string."""
        for number in (b"9" * 5000, b"1e400"):
            body = json.dumps(REQUEST).encode().replace(b'"+26612345678"', number)
            self.assertEqual(self.refusal(ApiUsageError, body), "to must be a string, not a number")
        for end in (b'"', b'"\\', b'"\\"'):
            details = self.refusal(JsonDecodeError, b'{"a": [' + b"[" * 70 + end)
            self.assertEqual(details, "the body is nested too deep")

    def test_time(self) -> None:
        """A quarter of a megabyte of brackets, or of quotes in a string without end, takes no time to speak of."""
        for body in (b'{"a": "' + b'\\"[' * 80_000, b"[{" * 120_000, b'["\\""' * 50_000):
            began = time.process_time()
            self.refusal(JsonDecodeError, body)
            self.assertLess(time.process_time() - began, 2)

    def test_repr(self) -> None:
        """A request that is shown in a log shows no address and no content."""
        shown = repr(self.parse(**{"from": "8864"}))
        self.assertNotRegex(shown, "8864|266|Hi")

    @given(st.binary())
    @settings(max_examples=100, deadline=None)
    def test_any_bytes(self, body: bytes) -> None:
        """Any bytes are a request or an ApiError, never another exception."""
        try:
            self.assertTrue(parse_outbound(body).to)
        except ApiError as error:
            self.assertEqual(error.status, 400)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["to", "turn", "type", "text", "body", "from", "reply_to"]) | st.text(), inner
                )
            ),
            max_leaves=10,
        )
    )
    @settings(max_examples=100, deadline=None)
    def test_any_json(self, request: Any) -> None:
        """Any JSON is a request or an ApiError, never another exception."""
        try:
            self.assertTrue(parse_outbound(json.dumps(request).encode()).to)
        except ApiError as error:
            self.assertEqual(error.status, 400)
