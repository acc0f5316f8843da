"""The fast path, frame by frame against txamqp's own codec with our corrections."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from txamqp.connection import Body, Frame, Header, Method

from tests.broker.amqp.peer import content_frames, method_frame
from tests.cases import case
from vumi_turn.broker.amqp.codec import decode_frame
from vumi_turn.broker.amqp.consumer import AmqpDelivery
from vumi_turn.broker.amqp.frames import (
    HEARTBEAT_FRAME,
    Envelope,
    FrameError,
    FrameReader,
    Receiver,
    message_id,
    pack_ack,
    pack_requeue,
    properties_of,
)
from vumi_turn.broker.amqp.spec import load_spec


def counted(properties: bytes) -> int:
    """The delivery count of a redelivered message with these properties."""
    return AmqpDelivery("c.inbound", b"", True, properties, 0.0, 1).delivery_count


class Recorder(Receiver):
    """Notes what a channel got."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def delivered(self, tag: int, redelivered: bool, properties: bytes, body: bytes, consumer_tag: bytes) -> None:
        self.heard.append(("delivered", tag, redelivered, properties_of(properties).get("headers"), body))

    def returned(self, message_id: str) -> None:
        self.heard.append(("returned", message_id))

    def confirmed(self, tag: int, multiple: bool) -> None:
        self.heard.append(("confirmed", tag, multiple))

    def refused(self, tag: int, multiple: bool) -> None:
        self.heard.append(("refused", tag, multiple))


def deliver(channel: int, tag: int, body: bytes, redelivered: bool = False, **properties: Any) -> bytes:
    return method_frame(
        channel,
        "basic.deliver",
        consumer_tag="a tag",
        delivery_tag=tag,
        redelivered=redelivered,
        exchange="vumi",
        routing_key="c.inbound",
    ) + content_frames(channel, body, **properties)


def split(data: bytes) -> list[Frame]:
    frames = []
    while data:
        end = 8 + int.from_bytes(data[3:7], "big")
        frames.append(decode_frame(load_spec(), data[:end]))
        data = data[end:]
    return frames


class ReadingTests(SynchronousTestCase):
    """What :class:`FrameReader` makes of bytes."""

    def setUp(self) -> None:
        self.others: list[bytes] = []
        self.reader = FrameReader(self.others.append, 4096)
        self.one, self.two = Recorder(), Recorder()
        self.reader.receivers = {1: self.one, 2: self.two}

    def test_delivery(self) -> None:
        """Tag, flag, headers and body are those that txamqp's codec wrote."""
        for redelivered in (False, True):
            with case(redelivered=redelivered):
                for tag in (1, 2**32, 2**64 - 1):
                    with case(tag=tag):
                        self.reader.feed(deliver(1, tag, b"body", redelivered, headers={"a": [1, None]}))
                        self.assertEqual(
                            self.one.heard.pop(), ("delivered", tag, redelivered, {"a": [1, None]}, b"body")
                        )

    def test_bodies(self) -> None:
        """Bodies of no frame, one frame, just one, and several, are whole and bytes."""
        for size in (0, 1, 4087, 4088, 4089, 8176, 8177, 100_000):
            with case(size=size):
                body = random.Random(size).randbytes(size)
                self.reader.feed(deliver(1, 1, body))
                self.assertEqual(self.one.heard.pop(), ("delivered", 1, False, None, body))

    def test_any_cut(self) -> None:
        """However TCP cuts it, the same arrives."""
        data = (
            deliver(1, 1, b"x" * 5000, headers={"x-delivery-count": 3})
            + HEARTBEAT_FRAME
            + method_frame(2, "basic.ack", delivery_tag=9, multiple=True)
            + method_frame(0, "connection.blocked", reason="memory")
            + deliver(2, 2, b"")
        )
        self.reader.feed(data)
        expected = self.one.heard, self.two.heard, self.others
        rng = random.Random(7)
        for most in (1, 7, 8, 9, 100, 4096):
            with case(most=most):
                self.setUp()
                rest = data
                while rest:
                    size = rng.randint(1, most)
                    self.reader.feed(rest[:size])
                    rest = rest[size:]
                self.assertEqual((self.one.heard, self.two.heard, self.others), expected)

    def test_channels_interleaved(self) -> None:
        """Frames of several channels may come between each other; each keeps its own."""
        first, second = deliver(1, 1, b"1" * 5000), deliver(2, 2, b"2" * 5000)
        frames = [[], []]  # type: list[list[bytes]]
        for kept, data in zip(frames, (first, second), strict=True):
            while data:
                end = 8 + int.from_bytes(data[3:7], "big")
                kept.append(data[:end])
                data = data[end:]
        for pair in zip(*frames, strict=True):
            self.reader.feed(b"".join(pair))
        self.assertEqual(self.one.heard[0][-1], b"1" * 5000)
        self.assertEqual(self.two.heard[0][-1], b"2" * 5000)

    def test_confirms(self) -> None:
        """Acks and nacks, of one or of several."""
        for multiple in (False, True):
            with case(multiple=multiple):
                self.reader.feed(method_frame(1, "basic.ack", delivery_tag=2**40, multiple=multiple))
                self.reader.feed(method_frame(1, "basic.nack", delivery_tag=3, multiple=multiple, requeue=True))
                self.assertEqual(self.one.heard, [("confirmed", 2**40, multiple), ("refused", 3, multiple)])
                self.one.heard.clear()

    def test_return(self) -> None:
        """A returned message is known by its id, also one without a body."""
        for body in (b"", b"body", b"x" * 9000):
            with case(body=body):
                self.reader.feed(
                    method_frame(
                        1,
                        "basic.return",
                        reply_code=312,
                        reply_text="NO_ROUTE",
                        exchange="vumi",
                        routing_key="c.outbound",
                    )
                    + content_frames(1, body, message_id="p-17", delivery_mode=2, content_type="a/b", headers={"a": 1})
                )
                self.assertEqual(self.one.heard.pop(), ("returned", "p-17"))

    def test_return_before_confirm(self) -> None:
        """A return and the confirm after it are heard in their order, whatever else is unfinished."""
        unfinished = deliver(2, 1, b"x" * 5000)[:-100]
        self.reader.feed(
            method_frame(1, "basic.return")
            + content_frames(1, b"b", message_id="p-1")
            + method_frame(1, "basic.ack", delivery_tag=1)
            + unfinished
        )
        self.assertEqual([each[0] for each in self.one.heard], ["returned", "confirmed"])

    def test_everything_else(self) -> None:
        """Every other frame is handed on, byte by byte as it came."""
        frames = [
            method_frame(0, "connection.tune", channel_max=1, frame_max=2, heartbeat=3),
            method_frame(1, "channel.close", reply_code=406, reply_text="no"),
            method_frame(1, "basic.cancel", consumer_tag="t"),
            method_frame(1, "basic.get-ok") + content_frames(1, b"got"),
        ]
        self.reader.feed(b"".join(frames))
        self.assertEqual(b"".join(self.others), b"".join(frames))
        self.assertEqual(len(self.others), 6)

    def test_heartbeat(self) -> None:
        """Heartbeats are nobody's business here."""
        self.reader.feed(HEARTBEAT_FRAME)
        self.assertEqual((self.others, self.one.heard), ([], []))
        self.assertEqual(split(HEARTBEAT_FRAME)[0].payload.type, "frame_heartbeat")

    def test_nobody_there(self) -> None:
        """What comes for a channel that is closed is read over."""
        self.reader.forget(1)
        self.reader.feed(
            deliver(1, 1, b"x" * 5000) + method_frame(1, "basic.ack", delivery_tag=1) + deliver(2, 1, b"y")
        )
        self.assertEqual((self.one.heard, len(self.two.heard), self.others), ([], 1, []))

    def test_stop(self) -> None:
        """After a stop nothing more is looked at, not even the rest of what had arrived."""
        self.one.delivered = lambda *_: self.reader.stop()  # type: ignore[method-assign]
        self.reader.feed(deliver(1, 1, b"1") + deliver(2, 2, b"2"))
        self.reader.feed(deliver(2, 2, b"2"))
        self.assertEqual(self.two.heard, [])

    def test_not_amqp(self) -> None:
        """What cannot be AMQP is an error, not a guess."""
        good = method_frame(1, "basic.ack", delivery_tag=1)
        for bad in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            good[:-1] + b"\0",
            b"\x01\0\1\0\0\0\2\0\0\xce",
            b"\x01\0\1\0\0\0\4" + good[7:11] + b"\xce",
            method_frame(1, "basic.deliver") + b"\x02\0\1\0\0\0\2\0\0\xce",
            method_frame(1, "basic.deliver") + content_frames(1, b"ten")[:-11] + content_frames(1, b"four")[22:],
            method_frame(1, "basic.deliver") + content_frames(1, b"body")[22:],
        ):
            with case(bad=bad):
                self.setUp()
                with self.assertRaises(FrameError, msg=repr(bad)):
                    self.reader.feed(bad)

    def test_part_of_a_frame_waits(self) -> None:
        """A frame that has not come whole is waited for."""
        self.reader.feed(deliver(1, 1, b"body")[:-1])
        self.assertEqual(self.one.heard, [])
        self.reader.feed(b"\xce")
        self.assertEqual(len(self.one.heard), 1)

    def test_frame_max(self) -> None:
        """A frame of the size agreed on is read, one byte more is refused before it is kept."""
        self.reader.feed(deliver(1, 1, b"x" * 4088))
        self.assertEqual(len(self.one.heard), 1)
        with self.assertRaises(FrameError):
            self.reader.feed(b"\x03\0\1" + (4089).to_bytes(4, "big") + b"xx")


class PackingTests(SynchronousTestCase):
    """What the fast path packs, read by txamqp's codec."""

    def method(self, data: bytes) -> tuple[int, str, tuple[Any, ...]]:
        (frame,) = split(data)
        return frame.channel, frame.payload.method.name, frame.payload.args

    def test_ack(self) -> None:
        """One delivery is acknowledged."""
        for channel, tag in ((1, 1), (65535, 2**64 - 1)):
            with case(channel=channel, tag=tag):
                self.assertEqual(pack_ack(channel, tag), method_frame(channel, "basic.ack", delivery_tag=tag))

    def test_requeue(self) -> None:
        """One delivery is given back."""
        self.assertEqual(pack_requeue(3, 2**40), method_frame(3, "basic.nack", delivery_tag=2**40, requeue=True))

    def publish(self, body: bytes, frame_max: int = 4096, persistent: bool = True) -> list[Frame]:
        envelope = Envelope("vumi", "c.é", persistent=persistent, mandatory=persistent)
        envelope.pack(9, b"other", b"", frame_max)
        return split(envelope.pack(4, b"id-1", body, frame_max))

    def test_publish(self) -> None:
        """Method, properties and body come out as they went in."""
        for persistent in (True, False):
            with case(persistent=persistent):
                method, header, body = self.publish(b"hello", persistent=persistent)
                self.assertEqual({frame.channel for frame in (method, header, body)}, {4})
                self.assertIsInstance(method.payload, Method)
                self.assertEqual(method.payload.method.name, "publish")
                self.assertEqual(method.payload.args, (0, "vumi", "c.é", persistent, False))
                self.assertIsInstance(header.payload, Header)
                self.assertEqual(header.payload.size, 5)
                self.assertEqual(
                    header.payload.properties,
                    {
                        "content-type": "application/json",
                        "content-encoding": "utf-8",
                        "delivery-mode": 2 if persistent else 1,
                        "message-id": "id-1",
                    },
                )
                self.assertIsInstance(body.payload, Body)
                self.assertEqual(body.payload.content, b"hello")

    def test_frame_sizes(self) -> None:
        """No frame is larger than agreed, and none is empty."""
        for size in (0, 1, 4087, 4088, 4089, 100_000):
            with case(size=size):
                body = random.Random(size).randbytes(size)
                frames = self.publish(body)
                contents = [frame.payload.content for frame in frames[2:]]
                self.assertEqual(b"".join(contents), body)
                self.assertTrue(all(0 < len(content) <= 4088 for content in contents))
                self.assertEqual(frames[1].payload.size, size)

    def test_long_name(self) -> None:
        """A routing key longer than AMQP allows is an error where it is made."""
        with self.assertRaises(ValueError):
            Envelope("vumi", "é" * 128, persistent=True, mandatory=True)


class PropertyTests(SynchronousTestCase):
    """What is read of a message's properties, where it is needed."""

    def properties(self, **values: Any) -> bytes:
        return content_frames(1, b"", **values)[7 + 12 : -1]

    def test_delivery_count(self) -> None:
        """It is found among other headers and properties."""
        data = self.properties(
            content_type="text/plain", headers={"x-death": [{"a": 1}], "x-delivery-count": 4}, priority=3
        )
        self.assertEqual(counted(data), 4)

    def test_message_id(self) -> None:
        """It is found whatever stands before it."""
        data = self.properties(
            content_type="a",
            content_encoding="b",
            headers={"c": "d"},
            delivery_mode=2,
            priority=1,
            correlation_id="e",
            reply_to="f",
            expiration="g",
            message_id="the id",
            timestamp=1,
            type="h",
            user_id="i",
            app_id="j",
            cluster_id="k",
        )
        self.assertEqual(message_id(data), "the id")
        self.assertEqual(message_id(self.properties(correlation_id="e")), "")

    def test_junk(self) -> None:
        """Nothing that another program put there raises."""
        whole = self.properties(
            content_type="text/plain",
            headers={"x-delivery-count": 4, "a": ["b", {"c": None}]},
            message_id="d",
        )
        rng = random.Random(1)
        for cut in range(len(whole)):
            self.assertIsInstance(counted(whole[:cut]), int)
            self.assertIsInstance(message_id(whole[:cut]), str)
        for _ in range(2000):
            broken = bytearray(whole)
            broken[rng.randrange(len(broken))] = rng.randrange(256)
            self.assertIsInstance(counted(bytes(broken)), int)
            self.assertIsInstance(message_id(bytes(broken)), str)
