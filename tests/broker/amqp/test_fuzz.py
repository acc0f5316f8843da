"""Random and damaged bytes at what reads AMQP: a value, or the one error that ends the connection."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from tests.broker.amqp.case import BrokerCase
from tests.broker.amqp.peer import content_frames, method_frame
from tests.broker.amqp.test_frames import Recorder, counted, deliver
from tests.cases import case
from vumi_turn.broker.amqp.codec import decode_frame
from vumi_turn.broker.amqp.frames import FrameError, FrameReader, message_id, properties_of
from vumi_turn.broker.amqp.spec import load_spec
from vumi_turn.broker.amqp.tables import decode_table, encode_table
from vumi_turn.broker.interface import BrokerState, Outcome

FRAME_MAX = 4096

#: What a table may hold and gives back as it was.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(timezone.utc)).map(
        lambda moment: moment.replace(microsecond=0)
    )
    | st.decimals(Decimal(-1000), Decimal(1000), places=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TABLES = st.dictionaries(st.text(max_size=8), VALUES, max_size=5)

#: Bytes that look like a table for a while.
TABLE_PIECES = st.lists(
    st.binary(max_size=8)
    | st.sampled_from([b"\x01a", b"\x00", b"S\x00\x00\x00\x02hi", b"F\x00\x00\x00\x00", b"A\x00\x00\x00\x05"])
    | st.sampled_from([bytes((letter,)) for letter in b"tbBsUuIilLfdDTSxFAVZ"])
    | st.just(b"D\xff\x7f\xff\xff\xff")
    | st.just(b"T\xff\xff\xff\xff\xff\xff\xff\xff"),
    max_size=30,
).map(b"".join)

#: Frames as RabbitMQ sends them while it has something to say.
VALID = [
    deliver(1, 1, b'{"a": 1}', message_id="m1", headers={"x-delivery-count": 3, "x-death": [{"count": 1}]}),
    deliver(1, 2, b"", redelivered=True),
    deliver(1, 3, 5000 * b"x"),
    deliver(7, 4, b"on a channel that is not ours"),
    method_frame(2, "basic.ack", delivery_tag=1, multiple=True),
    method_frame(2, "basic.nack", delivery_tag=2, multiple=False, requeue=False),
    method_frame(2, "basic.return", reply_code=312, reply_text="NO_ROUTE", exchange="vumi", routing_key="q")
    + content_frames(2, b"back", message_id="m2"),
    method_frame(1, "basic.cancel", consumer_tag="a tag", nowait=True),
    method_frame(0, "connection.blocked", reason="low on memory"),
    method_frame(0, "connection.unblocked"),
    method_frame(1, "channel.close", reply_code=406, reply_text="PRECONDITION_FAILED"),
    method_frame(0, "connection.close", reply_code=320, reply_text="CONNECTION_FORCED"),
    method_frame(1, "channel.flow", active=True),
    method_frame(0, "connection.tune", channel_max=1, frame_max=0, heartbeat=0),
    b"\x08\x00\x00\x00\x00\x00\x00\xce",
]


@st.composite
def damaged(draw: Any) -> bytes:
    """A stream of frames in which some bytes are others, missing or too many."""
    stream = bytearray(b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=5))))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(stream) - 1)) if stream else 0
        kind = draw(st.sampled_from("change cut insert".split()))
        if kind == "cut":
            del stream[place : place + draw(st.integers(1, 9))]
        elif kind == "insert":
            stream[place:place] = draw(st.binary(min_size=1, max_size=9))
        elif stream:
            stream[place] = draw(st.sampled_from([0, 1, 3, 0x7F, 0xCE, 0xFF]))
    return bytes(stream)


STREAMS = damaged() | st.binary(max_size=60)
SIZES = st.integers(1, 40) | st.just(100_000)


def pieces(stream: bytes, size: int) -> list[bytes]:
    """A stream as it may arrive."""
    return [stream[start : start + size] for start in range(0, len(stream), size)]


class DecoderTests(SynchronousTestCase):
    """The decoders by themselves."""

    @settings(max_examples=100)
    @given(TABLES)
    def test_table_and_back(self, table: dict[str, Any]) -> None:
        """A table that is written is read again as it was."""
        self.assertEqual(decode_table(encode_table(table)), table)

    @settings(max_examples=120)
    @given(TABLE_PIECES)
    def test_tables(self, data: bytes) -> None:
        """Any bytes are a table or a ValueError."""
        try:
            self.assertIsInstance(decode_table(data), dict)
        except ValueError:
            pass

    def test_deep_tables(self) -> None:
        """Tables that lie too deep in each other, as deep as a frame has room for, are a ValueError."""
        for letter in (b"F", b"A"):
            with case(letter=letter):
                nested = b""
                for _ in range(2000):
                    inner = nested if letter == b"A" else b"\x00" + nested if nested else b""
                    nested = letter + len(inner).to_bytes(4, "big") + inner
                with self.assertRaises(ValueError):
                    decode_table(b"\x00" + nested)

    @settings(max_examples=120)
    @given(STREAMS | TABLE_PIECES.map(lambda data: b"\x20\x00" + len(data).to_bytes(4, "big") + data))
    def test_properties(self, data: bytes) -> None:
        """Whatever another program put into a message's properties costs us nothing but them."""
        self.assertIsInstance(properties_of(data), dict)
        self.assertGreaterEqual(counted(data + b"x-delivery-count"), 0)
        self.assertIsInstance(message_id(data), str)

    @settings(max_examples=100)
    @given(STREAMS)
    def test_one_frame(self, data: bytes) -> None:
        """Any bytes are a frame or a ValueError."""
        try:
            decode_frame(load_spec(), data)
        except ValueError:
            pass

    def read(self, stream: list[bytes]) -> tuple[list[Any], bool]:
        """What is heard of a stream, and whether it ends in an error."""
        recorder, others = Recorder(), []

        def other(data: bytes) -> None:
            others.append(data)

        reader = FrameReader(other, FRAME_MAX)
        reader.receivers = {1: recorder, 2: recorder}
        try:
            for piece in stream:
                reader.feed(piece)
        except FrameError:
            return [recorder.heard, others], True
        self.assertLess(len(reader._rest), FRAME_MAX + 8)
        return [recorder.heard, others], False

    @settings(max_examples=100)
    @given(STREAMS, SIZES)
    def test_reader(self, stream: bytes, size: int) -> None:
        """However a stream arrives, the same is read, or it is the protocol error; little is kept meanwhile."""
        self.assertEqual(self.read(pieces(stream, size)), self.read([stream]))


class ConnectionTests(BrokerCase):
    """A connection that is up."""

    def test_streams(self) -> None:
        """
        After any bytes the connection lives or is given up as no AMQP, and a
        new one works; no exception comes through.
        """

        @settings(max_examples=40)
        @given(STREAMS, SIZES, st.sampled_from(["consuming", "publishing"]))
        def check(stream: bytes, size: int, role: str) -> None:
            self.fresh()
            peer = getattr(self.rabbit, role)
            for piece in pieces(stream, size):
                peer.send(piece)
            for outcome in self.outcomes:
                if not outcome.called:
                    outcome.callback(Outcome.ACK)
            self.assertEqual([line for line in self.logged(LogLevel.critical) if line], [])
            peer.cut()
            self.rabbit.advance(10)
            self.rabbit.advance(10)
            self.assertEqual(self.broker.state, BrokerState.CONNECTED, self.lines)
            self.broker.stop()
            self.rabbit.advance()
            self.rabbit.advance(10)
            self.assertEqual(self.clock.getDelayedCalls(), [])

        check()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_stray_content(self) -> None:
        """Content that no method announces is no AMQP: the connection is given up, and made anew."""
        self.consume()
        self.up()
        peer = self.rabbit.consuming
        peer.send(content_frames(9, b"what is this?"))
        self.assertTrue(peer.lost)
        self.rabbit.advance(10)
        self.assertIn("content came without the method", self.logged()[0])
        self.assertEqual(self.broker.state, BrokerState.CONNECTED)

    def fresh(self) -> None:
        """Another broker, with a consumer and a publisher."""
        self.lines.clear()
        self.outcomes.clear()
        self.rabbit.peers.clear()
        self.broker = self.make_broker(self.parameters)
        self.broker.publisher("c.outbound")
        self.consume()
        self.up()
