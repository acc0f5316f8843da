"""vumi's messages: reading, writing, replying."""

from __future__ import annotations

import copy
import json
import sys
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.vumi.messages.samples import FAILURE, USER_MESSAGE, WHEN, MalformedCase, event, golden, user_message, without
from vumi_turn.broker.interface import Delivery
from vumi_turn.vumi.messages import FailureMessage, MalformedMessage, TransportUserMessage, generate_id, parse_vumi_date


class ReadingTests(SynchronousTestCase):
    """Reading user messages, with tolerance."""

    def test_every_field(self) -> None:
        """Each key of the JSON becomes the attribute of its name."""
        message = user_message()
        self.assertEqual(message.timestamp, WHEN)
        for key in without(USER_MESSAGE, "timestamp"):
            with case(key=key):
                self.assertEqual(getattr(message, key), USER_MESSAGE[key])
        self.assertEqual(message.extra, {})

    def test_left_out(self) -> None:
        """What older senders leave out is filled in, and so is metadata that is null."""
        optional: dict[str, Any] = {
            "group": None,
            "provider": None,
            "helper_metadata": {},
            "routing_metadata": {},
            "to_addr_type": None,
            "from_addr_type": None,
            "in_reply_to": None,
            "session_event": None,
            "transport_metadata": {},
        }
        message = TransportUserMessage.from_dict(without(USER_MESSAGE, *optional))
        nulls = user_message(**dict.fromkeys(optional))
        for key, value in optional.items():
            with case(key=key, value=value):
                self.assertEqual((message[key], nulls[key]), (value, value))
        self.assertEqual(message.endpoint_name, "default")

    def test_integers(self) -> None:
        """An integer where text is meant is its decimal text: transports send addresses and ids so."""
        for key in ("to_addr", "from_addr", "content", "in_reply_to", "message_id", "group", "provider"):
            with case(key=key):
                for number in (0, 5, -7, 26612345678, 10**30):
                    with case(number=number):
                        self.assertEqual(user_message(**{key: number})[key], str(number))
        body = json.dumps({**USER_MESSAGE, "from_addr": 26612345678}).encode()
        message = TransportUserMessage.from_json(body)
        self.assertEqual(message.reply("Hi").to_addr, "26612345678")
        self.assertEqual(json.loads(message.to_json())["from_addr"], "26612345678")

    def test_no_text_for_other_types(self) -> None:
        """A group or a provider that is no integer is kept as it came."""
        for key in ("group", "provider"):
            with case(key=key):
                for value in (True, 1.5, ["a"], {"a": 1}):
                    with case(value=value):
                        self.assertEqual(user_message(**{key: value})[key], value)

    def test_legacy_habits(self) -> None:
        """Legacy vumi's name for the endpoint works, and who changes a message in place is told how to do it."""
        message = user_message().with_endpoint("sms")
        self.assertEqual(message.get_routing_endpoint(), "sms")
        with self.assertRaisesRegex(TypeError, r"use message\.replace\(content=\.\.\.\)"):
            message["content"] = "other"

    def test_raw_utf8_and_escapes(self) -> None:
        """Raw UTF-8 and ASCII escapes are the same text."""
        text = "Lumela 😀 é你"
        for ensure_ascii in (True, False):
            with case(ensure_ascii=ensure_ascii):
                body = json.dumps({**USER_MESSAGE, "content": text}, ensure_ascii=ensure_ascii).encode("utf-8")
                self.assertEqual(TransportUserMessage.from_json(body).content, text)

    def test_long_content(self) -> None:
        """A text of 100 kB that is full of brackets and emoji is only a text."""
        text = "[{😀" * 20_000
        message = TransportUserMessage.from_json(json.dumps({**USER_MESSAGE, "content": text}).encode())
        self.assertEqual(message.content, text)

    def test_date_like_content(self) -> None:
        """Text that looks like a date stays text wherever it is, but for the timestamp."""
        date = "2021-08-07 12:34:56"
        message = user_message(content=date, helper_metadata={"timestamp": date}, group=date, unknown=date)
        self.assertEqual(
            (message.content, message.helper_metadata, message.group, message.extra),
            (date, {"timestamp": date}, date, {"unknown": date}),
        )

    def test_unknown_keys(self) -> None:
        """Keys that we don't know are kept, readable, and written back."""
        message = user_message(delivery="by hand", extra=[1], __cache__={"a": 1})
        self.assertEqual(message.extra, {"delivery": "by hand", "extra": [1], "__cache__": {"a": 1}})
        self.assertEqual((message["delivery"], message.get("extra")), ("by hand", [1]))
        self.assertIdentical(message.delivery, None)
        self.assertIn("__cache__", message)
        written = json.loads(message.to_json())
        self.assertEqual(written, {**USER_MESSAGE, **message.extra})

    def test_null_addresses(self) -> None:
        """Addresses may be null: of groups, and of messages that have no sender yet."""
        message = user_message(to_addr=None, from_addr=None)
        self.assertEqual((message.to_addr, message.from_addr), (None, None))

    def test_numbers_that_json_lacks(self) -> None:
        """NaN, Infinity and numbers that are too large are read as null, so that what we write is JSON."""
        body = json.dumps({**USER_MESSAGE, "group": "GROUP"})
        for number in ("NaN", "Infinity", "-Infinity", "1e999"):
            message = TransportUserMessage.from_json(body.replace('"GROUP"', number).encode())
            self.assertIdentical(message.group, None)
            self.assertIdentical(json.loads(message.to_json())["group"], None)

    def test_half_of_an_emoji(self) -> None:
        """Half of a surrogate pair in a text is read, and written as it was."""
        body = json.dumps({**USER_MESSAGE, "content": "cut \ud83d"}).encode()
        message = TransportUserMessage.from_json(body)
        self.assertEqual(message.content, "cut \ud83d")
        self.assertEqual(json.loads(message.to_json())["content"], "cut \ud83d")

    def test_payload_is_left_alone(self) -> None:
        """A dict that was handed in is not changed."""
        payload = without({**USER_MESSAGE, "unknown": [1]}, "group", "helper_metadata")
        before = copy.deepcopy(payload)
        message = TransportUserMessage.from_dict(payload)
        message.reply("x")
        message.with_endpoint("other")
        message.replace(content="changed")
        self.assertEqual(payload, before)


class MalformedUserMessageTests(MalformedCase):
    """User messages that are refused, each with a sentence that names the field."""

    def test_no_object(self) -> None:
        """What is not UTF-8, not JSON or not an object is refused as that."""
        for body, sentence in {
            b"": "the body is not JSON (Expecting value at character 0)",
            b"hello": "the body is not JSON (Expecting value at character 0)",
            b"\xff\xfe{}": "the body is not UTF-8 (at byte 0)",
            '{"content": "é"}'.encode("utf-16"): "the body is not UTF-8 (at byte 0)",
            b"[]": "the body must be an object, not a list",
            b"null": "the body must be an object, not null",
            b'"text"': "the body must be an object, not a string",
            b"5": "the body must be an object, not a number",
            b"true": "the body must be an object, not a boolean",
            b"{}": "message_type is missing",
        }.items():
            with case(body=body, sentence=sentence):
                self.assertEqual(self.refusal(body), sentence)

    def test_too_deep(self) -> None:
        """Deep nesting is refused, also where Python could just read it and then not write it."""
        for depth in (100, 900, 20_000, 200_000):
            with case(depth=depth):
                nested = "[" * depth + "]" * depth
                body = json.dumps({**USER_MESSAGE, "group": "GROUP"}).replace('"GROUP"', nested).encode()
                self.assertEqual(self.refusal(body), "the body is nested too deep")
        self.assertEqual(self.refusal(b"[" * 200_000), "the body is nested too deep")

    def test_deep_enough(self) -> None:
        """A nesting of ninety is read, whatever else the message holds."""
        nested: Any = []
        for _ in range(90):
            nested = {"a": nested}
        message = TransportUserMessage.from_json(json.dumps({**USER_MESSAGE, "group": nested}).encode())
        self.assertEqual(json.loads(message.to_json())["group"], nested)

    def test_huge_integer(self) -> None:
        """A number with more digits than Python will convert is refused, not a crash."""
        body = json.dumps({**USER_MESSAGE, "group": "GROUP"}).replace('"GROUP"', "9" * 100_000).encode()
        if not hasattr(sys, "get_int_max_str_digits"):
            self.assertEqual(TransportUserMessage.from_json(body).message_id, USER_MESSAGE["message_id"])
        else:
            self.assertEqual(self.refusal(body), "the body holds a number with too many digits")

    def test_type_and_version(self) -> None:
        """Another type or version is refused."""
        self.assertEqual(self.refusal_of("message_type", "event"), "message_type must be user_message, not 'event'")
        self.assertEqual(
            self.refusal_of("message_version", "20990101"), "message_version must be 20110921, not '20990101'"
        )
        self.assertEqual(self.refusal_of("message_version", 20110921), "message_version must be 20110921, not a number")
        self.assertEqual(self.refusal_without("message_version"), "message_version is missing")
        self.assertEqual(self.refusal_of("message_type", []), "message_type must be user_message, not a list")

    def test_missing(self) -> None:
        """Without what has no sensible default there is no message; all that is missing is named."""
        for key in (
            "message_id",
            "timestamp",
            "to_addr",
            "from_addr",
            "content",
            "transport_name",
            "transport_type",
        ):
            with case(key=key):
                self.assertEqual(self.refusal_without(key), f"{key} is missing")
        body = json.dumps(without(USER_MESSAGE, "to_addr", "content")).encode()
        self.assertEqual(self.refusal(body), "content, to_addr are missing")

    def test_text_of_the_wrong_type(self) -> None:
        """Fields that hold text or null hold nothing else."""
        for key in ("transport_name", "transport_type"):
            with case(key=key):
                self.assertEqual(self.refusal_of(key, 5), f"{key} must be text or null, not a number")
        for key in ("to_addr", "from_addr", "content", "in_reply_to", "transport_name", "transport_type"):
            with case(key=key):
                for value, kind in ((5.0, "a number"), (True, "a boolean"), ([], "a list"), ({}, "an object")):
                    with case(value=value, kind=kind):
                        self.assertEqual(self.refusal_of(key, value), f"{key} must be text or null, not {kind}")

    def test_message_id(self) -> None:
        """There is no message without an id."""
        for value, sentence in (
            (None, "message_id must be text, not null"),
            (5.5, "message_id must be text, not a number"),
            (True, "message_id must be text, not a boolean"),
            ([], "message_id must be text, not a list"),
            ("", "message_id is empty"),
        ):
            with case(value=value, sentence=sentence):
                self.assertEqual(self.refusal_of("message_id", value), sentence)

    def test_metadata_of_the_wrong_type(self) -> None:
        """Metadata is an object, and an endpoint's name is text."""
        for key in ("transport_metadata", "helper_metadata", "routing_metadata"):
            with case(key=key):
                for value, kind in ((5, "a number"), ("", "a string"), ([], "a list"), (False, "a boolean")):
                    with case(value=value, kind=kind):
                        self.assertEqual(self.refusal_of(key, value), f"{key} must be an object, not {kind}")
        self.assertEqual(
            self.refusal_of("routing_metadata", {"endpoint_name": 5}),
            "routing_metadata.endpoint_name must be text or null, not a number",
        )

    def test_session_event(self) -> None:
        """A session_event that nobody knows is refused."""
        for value, shown in (("paused", "'paused'"), ("", "''"), ([], "a list"), ({}, "an object")):
            with case(value=value, shown=shown):
                self.assertEqual(
                    self.refusal_of("session_event", value),
                    f"session_event must be one of null, new, resume, close; it is {shown}",
                )

    def test_timestamp(self) -> None:
        """A timestamp that is no date is refused."""
        for value, kind in ((None, "null"), (1628339696.5, "a number"), ([], "a list")):
            with case(value=value, kind=kind):
                self.assertEqual(self.refusal_of("timestamp", value), f"timestamp must be text, not {kind}")
        self.assertEqual(
            self.refusal_of("timestamp", "yesterday"),
            "timestamp: 'yesterday' is not a date like 2021-08-07 12:34:56.789000",
        )

    def test_half_of_a_surrogate_pair(self) -> None:
        """An address or an id with half of a surrogate pair is refused: no peer could store it."""
        for key in ("message_id", "to_addr", "from_addr", "in_reply_to"):
            with case(key=key):
                self.assertEqual(self.refusal_of(key, "a\ud83d"), f"{key} holds half of a surrogate pair")
        self.assertEqual(user_message(from_addr="Zoë").from_addr, "Zoë")

    def test_long_values_are_not_repeated(self) -> None:
        """A refusal shows no more than the beginning of a wrong value, printable."""
        sentence = self.refusal_of("session_event", "é" * 10_000)
        self.assertTrue(len(sentence) < 150 and "é" not in sentence, sentence)


class WritingTests(SynchronousTestCase):
    """Writing user messages, exactly."""

    def test_every_key(self) -> None:
        """Every key of the format is written, whatever was given."""
        message = TransportUserMessage.send("+26612345678", "Hi", message_id="0f" * 16, timestamp=WHEN)
        self.assertEqual(
            json.loads(message.to_json()),
            {
                "message_type": "user_message",
                "message_version": "20110921",
                "message_id": "0f" * 16,
                "timestamp": "2021-08-07 12:34:56.789012",
                "to_addr": "+26612345678",
                "from_addr": None,
                "in_reply_to": None,
                "session_event": None,
                "content": "Hi",
                "transport_name": None,
                "transport_type": None,
                "transport_metadata": {},
                "helper_metadata": {},
                "routing_metadata": {},
                "group": None,
                "provider": None,
                "to_addr_type": None,
                "from_addr_type": None,
            },
        )

    def test_round_trip(self) -> None:
        """What was read is written with the same values."""
        self.assertEqual(user_message().to_dict(), USER_MESSAGE)

    def test_ascii(self) -> None:
        """JSON is written in ASCII."""
        body = user_message(content="Lumela 😀 é").to_json()
        self.assertTrue(body.isascii())
        self.assertIn(b"\\ud83d\\ude00", body)

    def test_nan_is_not_written(self) -> None:
        """What a program put in that has no form in JSON is an error, not junk on a queue."""
        self.assertRaises(ValueError, user_message(group=float("nan")).to_json)
        self.assertRaises(TypeError, user_message(group=object()).to_json)

    def test_dates_in_metadata(self) -> None:
        """A date that a program put into metadata is written as vumi writes dates."""
        message = user_message(helper_metadata={"seen": WHEN})
        self.assertEqual(json.loads(message.to_json())["helper_metadata"], {"seen": "2021-08-07 12:34:56.789012"})

    def test_extra_cannot_replace_fields(self) -> None:
        """A field wins over an unknown key that was given its name."""
        message = user_message().replace(extra={"content": "other", "more": 1})
        self.assertEqual((message.to_dict()["content"], message.to_dict()["more"]), ("Hello", 1))

    def test_made_ones_are_checked(self) -> None:
        """What cannot be read cannot be made either."""
        self.assertRaises(MalformedMessage, TransportUserMessage.send, 26612345678, "Hi")
        self.assertRaises(MalformedMessage, user_message().replace, session_event="paused")
        self.assertRaises(MalformedMessage, user_message().replace, timestamp="2021-08-07 12:34:56")

    def test_timestamps_become_utc(self) -> None:
        """A naive timestamp is in UTC, another zone's is converted."""
        naive = user_message().replace(timestamp=WHEN.replace(tzinfo=None))
        east = user_message().replace(timestamp=WHEN.astimezone(timezone(timedelta(hours=2))))
        for message in (naive, east):
            with case(message=message):
                self.assertEqual((message.timestamp, message.timestamp.tzinfo), (WHEN, timezone.utc))

    @given(
        content=st.none() | st.text(),
        to_addr=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        session_event=st.sampled_from([None, "new", "resume", "close"]),
        metadata=st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans())),
        when=st.datetimes(timezones=st.just(timezone.utc)),
    )
    @settings(max_examples=50, deadline=None)
    def test_any_message(
        self,
        content: Optional[str],
        to_addr: Optional[str],
        session_event: Optional[str],
        metadata: dict[str, Any],
        when: datetime,
    ) -> None:
        """Every message is read as the one that was written."""
        message = TransportUserMessage.send(
            to_addr, content, session_event=session_event, transport_metadata=metadata, timestamp=when
        )
        self.assertEqual(TransportUserMessage.from_json(message.to_json()), message)


class ValueTests(SynchronousTestCase):
    """Messages are values."""

    def test_frozen(self) -> None:
        """A message cannot be changed."""
        message = user_message()
        self.assertRaises(AttributeError, setattr, message, "content", "other")
        self.assertEqual(message.content, "Hello")

    def test_replace(self) -> None:
        """A changed message is another one; the delivery that brought it stays."""
        delivery = Delivery("phones.inbound", b"{}")
        message = TransportUserMessage.from_dict({**USER_MESSAGE, "more": 1}, delivery)
        changed = message.replace(content="other")
        self.assertEqual((message.content, changed.content), ("Hello", "other"))
        self.assertIdentical(changed.delivery, delivery)
        self.assertEqual(changed.replace(content="Hello"), message)
        self.assertIdentical(changed.replace(delivery=None).delivery, None)
        self.assertRaises(TypeError, message.replace, no_such_field=1)

    def test_bare(self) -> None:
        """The bare message is the same without its content, unknown keys and delivery."""
        delivery = Delivery("phones.inbound", b"{}")
        message = TransportUserMessage.from_dict({**USER_MESSAGE, "more": 1, "helper_metadata": {"a": 1}}, delivery)
        bare = message.bare()
        self.assertEqual(bare, message.replace(content=None, extra={}, delivery=None))
        self.assertIdentical(bare.delivery, None)
        self.assertEqual(message.extra, {"more": 1})
        self.assertEqual(message.reply("yes", None, "i", WHEN), bare.reply("yes", None, "i", WHEN))

    def test_delivery_is_no_part(self) -> None:
        """The delivery is neither compared nor shown nor written."""
        delivery = Delivery("phones.inbound", b"{}")
        plain, brought = user_message(), user_message().replace(delivery=delivery)
        self.assertEqual(plain, brought)
        self.assertEqual((repr(plain), plain.to_json()), (repr(brought), brought.to_json()))

    def test_keys(self) -> None:
        """Keys of the JSON work as in legacy vumi; names that are none don't."""
        message = user_message()
        self.assertEqual((message["content"], message.get("to_addr")), ("Hello", "*120*8864#"))
        self.assertEqual((message["message_type"], message["message_version"]), ("user_message", "20110921"))
        self.assertEqual((message.get("reply"), message.get("reply", 5)), (None, 5))
        self.assertRaises(KeyError, lambda: message["reply"])
        self.assertTrue("content" in message and "reply" not in message)

    def test_no_person_in_repr(self) -> None:
        """What is shown in logs names ids, never an address or content."""
        shown = repr(user_message()) + repr(event()) + repr(FailureMessage.from_dict(FAILURE))
        self.assertIn("0f" * 16, shown)
        for secret in ("26612345678", "8864", "Hello", "Thabo", "provider-1", "refused"):
            with case(secret=secret):
                self.assertNotIn(secret, shown)

    def test_hashable(self) -> None:
        """Equal messages count once in a set."""
        self.assertEqual(len({user_message(), user_message(), event(), event()}), 2)

    def test_ids(self) -> None:
        """Ids are 32 hex digits, another one each time."""
        first, second = generate_id(), generate_id()
        self.assertNotEqual(first, second)
        self.assertRegex(first, r"\A[0-9a-f]{32}\Z")

    def test_own_metadata(self) -> None:
        """Two messages never share metadata that neither was given."""
        first, second = (TransportUserMessage.send("+26612345678", "Hi") for _ in range(2))
        self.assertNotEqual(first.message_id, second.message_id)
        self.assertIsNot(first.helper_metadata, second.helper_metadata)


class ReplyTests(SynchronousTestCase):
    """Answers, and endpoints."""

    def test_fields(self) -> None:
        """An answer takes from its message what it must, and nothing else."""
        reply = user_message(unknown=1).reply(
            "Welcome", session_event="close", message_id="a1" * 16, timestamp=WHEN + timedelta(seconds=1)
        )
        self.assertEqual(
            reply.to_dict(),
            {
                "message_type": "user_message",
                "message_version": "20110921",
                "message_id": "a1" * 16,
                "timestamp": "2021-08-07 12:34:57.789012",
                "to_addr": "+26612345678",
                "from_addr": "*120*8864#",
                "in_reply_to": "0f" * 16,
                "session_event": "close",
                "content": "Welcome",
                "transport_name": "phone_network",
                "transport_type": "ussd",
                "transport_metadata": {"session_id": "s-1"},
                "helper_metadata": {"contact_name": "Thabo"},
                "routing_metadata": {"endpoint_name": "ussd_line"},
                "group": "a group",
                "provider": "a provider",
                "to_addr_type": None,
                "from_addr_type": None,
            },
        )

    def test_as_legacy(self) -> None:
        """An answer is the same as legacy vumi's own to the same message."""
        original = TransportUserMessage.from_json(golden("user_message_ussd_new"))
        legacy = json.loads(golden("user_message_reply"))
        reply = original.reply(
            "Welcome", message_id=legacy["message_id"], timestamp=parse_vumi_date(legacy["timestamp"])
        )
        self.assertEqual(reply.to_dict(), legacy)

    def test_defaults(self) -> None:
        """An answer has an id and a time of its own, and leaves the session as it is."""
        original = user_message(routing_metadata={"endpoint_name": None, "go": 1})
        reply = original.reply("Welcome")
        self.assertNotEqual(reply.message_id, original.message_id)
        self.assertGreater(reply.timestamp, original.timestamp)
        self.assertIdentical(reply.session_event, None)
        self.assertEqual(reply.routing_metadata, {"endpoint_name": "default"})

    def test_helper_metadata_is_copied(self) -> None:
        """An answer's helper_metadata is a copy, which may be added to."""
        original = user_message()
        reply = original.reply("Welcome")
        self.assertEqual(reply.helper_metadata, original.helper_metadata)
        self.assertIsNot(reply.helper_metadata, original.helper_metadata)

    def test_group(self) -> None:
        """An answer to a message in a group goes to the person who wrote it."""
        original = TransportUserMessage.from_json(golden("user_message_group"))
        reply = original.reply("hi")
        self.assertEqual((reply.to_addr, reply.from_addr, reply.group), ("+26612345678", None, "#vumi"))

    def test_no_delivery(self) -> None:
        """An answer was brought by no delivery."""
        message = user_message().replace(delivery=Delivery("phones.inbound", b"{}"))
        self.assertIdentical(message.reply("x").delivery, None)

    def test_endpoints(self) -> None:
        """An endpoint can be set beside other routing metadata; none is the default one."""
        message = user_message(routing_metadata={"endpoint_name": "a", "go": 1})
        self.assertEqual(message.endpoint_name, "a")
        self.assertEqual(message.with_endpoint("b").routing_metadata, {"endpoint_name": "b", "go": 1})
        self.assertEqual(message.with_endpoint(None).endpoint_name, "default")
        self.assertEqual(event(routing_metadata={"endpoint_name": "a"}).endpoint_name, "a")
        self.assertEqual(event().with_endpoint("b").endpoint_name, "b")
