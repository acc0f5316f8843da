"""Frames, tables and the definition: what txamqp gets right with our corrections."""

from __future__ import annotations

import struct
from datetime import datetime, timezone
from decimal import Decimal
from io import BytesIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from txamqp.connection import Body, Frame, Header, Heartbeat, Method

from tests.cases import case
from vumi_turn.broker.amqp.codec import WireCodec, decode_frame, encode_frame
from vumi_turn.broker.amqp.delegate import Delegate
from vumi_turn.broker.amqp.spec import load_spec
from vumi_turn.broker.amqp.tables import MAX_DEPTH, Typed, decode_table, encode_table

commands: Any
try:
    from pamqp import commands
except ImportError:
    commands = None


class TableTests(SynchronousTestCase):
    """Field tables of every type, in both directions."""

    def there_and_back(self, value: Any) -> Any:
        return decode_table(encode_table({"key": value}))["key"]

    def test_plain_values(self) -> None:
        """What Python has comes back as it was."""
        for value in (
            None,
            True,
            False,
            0,
            -1,
            2**31 - 1,
            -(2**31),
            2**31,
            2**63 - 1,
            -(2**63),
            1.5,
            -0.0,
            "",
            "text",
            "é😀" * 100,
            b"",
            b"\0\xff",
            [],
            [1, "a", None, [2.5]],
            {},
            {"a": {"b": [{"c": True}]}},
            Decimal("12.34"),
            Decimal("-5"),
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        ):
            with case(value=value):
                self.assertEqual(self.there_and_back(value), value)
                self.assertIs(type(self.there_and_back(value)), type(value))

    def test_wire_types(self) -> None:
        """Each type letter is read as RabbitMQ writes it, signed where it is signed."""
        for letter, layout, low, high in (
            (b"b", "!b", -128, 127),
            (b"B", "!B", 0, 255),
            (b"s", "!h", -(2**15), 2**15 - 1),
            (b"u", "!H", 0, 2**16 - 1),
            (b"I", "!i", -(2**31), 2**31 - 1),
            (b"i", "!I", 0, 2**32 - 1),
            (b"l", "!q", -(2**63), 2**63 - 1),
            (b"L", "!q", -(2**63), 2**63 - 1),
            (b"U", "!h", -1, 1),
            (b"f", "!f", -0.5, 2.0),
            (b"d", "!d", -0.1, 1e300),
        ):
            with case(letter=letter, layout=layout, low=low, high=high):
                for value in (low, high):
                    with case(value=value):
                        wire = b"\1k" + letter + struct.pack(layout, value)
                        self.assertEqual(decode_table(wire), {"k": value})
                        self.assertEqual(encode_table({"k": Typed(letter, value)}), wire)

    def test_other_wire_types(self) -> None:
        """Text that is not UTF-8 stays bytes; a time that no calendar has stays a number."""
        self.assertEqual(decode_table(b"\1kS\0\0\0\2\xff\xfe"), {"k": b"\xff\xfe"})
        self.assertEqual(decode_table(b"\1kT" + b"\xff" * 8), {"k": 2**64 - 1})
        self.assertEqual(decode_table(b"\1kD\2\0\0\0\x7b"), {"k": Decimal("1.23")})
        self.assertEqual(decode_table(b"\1kV\1jt\1"), {"k": None, "j": True})
        self.assertEqual(decode_table(b"\1\xffV"), {"\ufffd": None})

    def test_cannot_be_written(self) -> None:
        """What has no place in AMQP is an error with its name, before a byte is written."""
        before_time = datetime(1969, 12, 31, tzinfo=timezone.utc)
        for value in (
            2**63, object(), before_time, Decimal("NaN"), Decimal(2**40), Decimal("1E-256"), "\ud800",
            Typed(b"b", 200), Typed(b"d", 10**400), {"n" * 256: 1},
        ):  # fmt: skip
            with case(value=value):
                with self.assertRaises(ValueError):
                    encode_table({"key": value})

    def test_broken(self) -> None:
        """Every cut of a table is an error or a shorter table, and never anything else."""
        whole = encode_table({"a": [1, {"b": "c"}], "d": 2.5, "e": Decimal("1.5"), "f": None, "g": True})
        for cut in range(1, len(whole)):
            try:
                decode_table(whole[:cut])
            except ValueError:
                continue
        for broken in (b"\1k?", b"\1kS\xff\xff\xff\xff", b"\5k", b"\1kA\0\0\0\1S", b"\1k"):
            with case(broken=broken):
                with self.assertRaises(ValueError):
                    decode_table(broken)

    def test_depth(self) -> None:
        """Tables within tables are followed so far, and no farther."""

        def nested(depth: int) -> bytes:
            data = b""
            for _ in range(depth):
                data = b"A" + struct.pack("!I", len(data)) + data
            return b"\1k" + data

        decode_table(nested(MAX_DEPTH))
        for depth in (MAX_DEPTH + 1, 20_000):
            with case(depth=depth):
                with self.assertRaises(ValueError):
                    decode_table(nested(depth))


class FrameTests(SynchronousTestCase):
    """txamqp's frames to bytes and back."""

    def test_methods(self) -> None:
        """Every method of the definition comes back as it went, with text of several bytes a letter."""
        samples = {
            "bit": True,
            "octet": 200,
            "short": 60000,
            "long": 4 * 10**9,
            "longlong": 2**63,
            "shortstr": "é" * 127,
            "longstr": "😀" * 300,
            "timestamp": 2**40,
            "table": {"a": {"b": [1, "c"]}},
        }
        count = 0
        for klass in load_spec().classes:
            with case(klass=klass):
                for method in klass.methods:
                    with case(method=method):
                        args = [samples[field.type] for field in method.fields]
                        frame = decode_frame(load_spec(), encode_frame(Frame(7, Method(method, *args))))
                        self.assertEqual((frame.channel, frame.payload.method), (7, method))
                        self.assertEqual(list(frame.payload.args), args, f"{klass.name}.{method.name}")
                        count += 1
        self.assertEqual(count, 64)

    def test_bits(self) -> None:
        """Each bit is its own, in every combination."""
        method = load_spec().classes.byname["queue"].methods.byname["declare"]
        for bits in range(32):
            args = [0, "q", *(bool(bits >> place & 1) for place in range(5)), {"a": 1}]
            frame = decode_frame(load_spec(), encode_frame(Frame(1, Method(method, *args))))
            self.assertEqual(list(frame.payload.args), args)

    def test_header(self) -> None:
        """Any choice of properties comes back, with the size of the body."""
        klass = load_spec().classes.byname["basic"]
        values = {
            "content-type": "é",
            "headers": {"x": [1]},
            "delivery-mode": 2,
            "timestamp": 9,
            "cluster-id": "z",
        }
        for count in range(len(values) + 1):
            chosen = dict(list(values.items())[:count])
            frame = decode_frame(load_spec(), encode_frame(Frame(1, Header(klass, 0, 2**40, **chosen))))
            self.assertEqual((frame.payload.size, frame.payload.properties), (2**40, chosen))

    def test_body_is_bytes(self) -> None:
        """A body is bytes, also where it looks like text."""
        for body in (b"text", "é😀".encode(), b"\xff"):
            with case(body=body):
                frame = decode_frame(load_spec(), encode_frame(Frame(1, Body(body))))
                self.assertEqual(frame.payload.content, body)

    def test_heartbeat(self) -> None:
        """A heartbeat is eight bytes."""
        data = encode_frame(Frame(0, Heartbeat()))
        self.assertEqual(data, b"\x08\0\0\0\0\0\0\xce")
        self.assertIsInstance(decode_frame(load_spec(), data).payload, Heartbeat)

    def test_broken(self) -> None:
        """What is no frame is a ValueError, whatever is wrong with it."""
        method = load_spec().classes.byname["channel"].methods.byname["close"]
        data = encode_frame(Frame(1, Method(method, 200, "bye", 0, 0)))
        for cut in range(len(data)):
            with self.assertRaises(ValueError):
                decode_frame(load_spec(), data[:cut])
        for bad in (
            data[:-1] + b"\0",
            b"\x07" + data[1:],
            data[:8] + b"\x99" + data[9:],
            data[:10] + b"\x99" + data[11:],
        ):
            with case(bad=bad):
                with self.assertRaises(ValueError):
                    decode_frame(load_spec(), bad)

    def test_too_long(self) -> None:
        """A short string that is too long is an error, not a wrong length."""
        codec = WireCodec(BytesIO())
        with self.assertRaises(struct.error):
            codec.encode_shortstr("é" * 128)
        self.assertEqual(codec.stream.getvalue(), b"")


class DefinitionTests(SynchronousTestCase):
    """Our AMQP definition."""

    def test_once(self) -> None:
        """It is read once for the process."""
        self.assertIs(load_spec(), load_spec())

    def test_against_pamqp(self) -> None:
        """Numbers and fields are those that an independent library has."""
        if commands is None:
            self.skipTest("pamqp is not installed")
        types = {
            "long": "long",
            "short": "short",
            "bit": "bit",
            "table": "table",
            "octet": "octet",
            "shortstr": "shortstr",
            "longstr": "longstr",
            "longlong": "longlong",
            "timestamp": "timestamp",
        }
        compared = 0
        for klass in load_spec().classes:
            with case(klass=klass):
                for method in klass.methods:
                    with case(method=method):
                        number = klass.id << 16 | method.id
                        theirs = commands.INDEX_MAPPING.get(number)
                        if theirs is None:
                            self.assertIn(
                                (klass.name, method.name),
                                {
                                    ("connection", "secure"),
                                    ("connection", "secure-ok"),
                                    ("basic", "recover-async"),
                                    ("connection", "update-secret"),
                                    ("connection", "update-secret-ok"),
                                },
                            )
                            continue
                        ours = [types[field.type] for field in method.fields]
                        self.assertEqual(ours, [theirs.amqp_type(name) for name in theirs.attributes()], theirs.name)
                        compared += 1
        self.assertGreater(compared, 55)
        properties = [(field.name, field.type) for field in load_spec().classes.byname["basic"].fields]
        names = commands.Basic.Properties.attributes()
        expected = [
            (
                name.replace("_", "-").replace("message-type", "type"),
                commands.Basic.Properties.amqp_type(name),
            )
            for name in names
        ]
        self.assertEqual(properties, expected)

    def test_handlers(self) -> None:
        """Whatever method the server may call without being asked, there is somebody for it."""
        unasked = (
            "connection_start",
            "connection_secure",
            "connection_tune",
            "connection_close",
            "connection_blocked",
            "connection_unblocked",
            "channel_flow",
            "channel_close",
            "basic_cancel",
            "basic_return_",
            "basic_deliver",
        )
        for name in unasked:
            with case(name=name):
                self.assertTrue(callable(getattr(Delegate, name, None)))
