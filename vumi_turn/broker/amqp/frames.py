"""
The fast path: the few frames that every message costs, by ``struct``.

Deliveries (method, header, body), returned messages, and the broker's confirms
are read straight out of the receive buffer; acknowledgements and publishes are
packed from parts made once. Every other frame is handed on as bytes, for
txamqp's own code. Returned messages are read here too because a return must
not be overtaken by the confirm of the same message.

Numbers and layouts are those of the AMQP 0-9-1 specification, sections 2.3
and 4.2.
"""

from __future__ import annotations

from io import BytesIO
from struct import Struct
from struct import error as StructError
from typing import Any, Callable, Mapping, Optional

from txamqp.codec import EOF

from .codec import WireCodec, decode_properties
from .spec import load_spec
from .tables import encode_table

FRAME_END = 0xCE
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
#: Bytes of a frame that are not its payload: type, channel, size, end.
OVERHEAD = 8

_FRAME = Struct("!BHI")
_LONG = Struct("!I")
_DELIVER = Struct("!QB")
_HEADER = Struct("!HHQH")
_ACK = Struct("!BHIHHQBB")
_CONTENT = Struct("!BHIHHQH")

_RETURN = 60 << 16 | 50
_DELIVERY = 60 << 16 | 60
_CONFIRM = 60 << 16 | 80
_REFUSAL = 60 << 16 | 120

_HAS_CONTENT_TYPE, _HAS_ENCODING, _HAS_HEADERS = 1 << 15, 1 << 14, 1 << 13
_HAS_MODE, _HAS_MESSAGE_ID = 1 << 12, 1 << 7

HEARTBEAT_FRAME = _FRAME.pack(HEARTBEAT, 0, 0) + bytes((FRAME_END,))


class FrameError(ValueError):
    """What the broker sent is not AMQP, so the stream cannot be parsed any further."""


class Receiver:
    """Gets what arrives on one channel; subclasses override what concerns them."""

    def delivered(self, tag: int, redelivered: bool, properties: bytes, body: bytes, consumer_tag: bytes) -> None:
        """A message; ``properties`` (see :func:`properties_of`) are empty where it has no headers."""

    def returned(self, message_id: str) -> None:
        """No queue took the message that was published with this id."""

    def confirmed(self, tag: int, multiple: bool) -> None:
        """The broker has the publish ``tag``, or all up to it."""

    def refused(self, tag: int, multiple: bool) -> None:
        """The broker could not take the publish ``tag``, or all up to it."""

    def cancelled(self, consumer_tag: str) -> None:
        """The broker ended the consumer (its queue was deleted or moved)."""

    def closed(self, error: Exception) -> None:
        """The broker closed the channel."""


class _Content:
    """A message of which header and body are still to come."""

    __slots__ = ("tag", "redelivered", "consumer_tag", "size", "properties", "chunks")

    def __init__(self, tag: int, redelivered: bool, consumer_tag: bytes) -> None:
        self.tag = tag  # 0 for a returned message
        self.redelivered = redelivered
        self.consumer_tag = consumer_tag
        self.size = -1
        self.properties = b""
        self.chunks: list[bytes] = []


class FrameReader:
    """
    Splits the byte stream into frames, and handles those of messages and confirms.

    :param other: gets every other frame, as bytes.

    :ivar receivers: who gets the messages and confirms of each channel.
    :ivar frame_max: the largest frame allowed, in bytes.
    """

    def __init__(self, other: Callable[[bytes], None], frame_max: int) -> None:
        self.receivers: dict[int, Receiver] = {}
        self.frame_max = frame_max
        self._other = other
        self._rest = b""
        self._contents: dict[int, _Content] = {}
        self._stopped = False

    def stop(self) -> None:
        """Ignore all further data, and what has arrived and is not parsed yet."""
        self._stopped = True
        self._rest = b""

    def forget(self, channel: int) -> None:
        """The channel is closed: drop its receiver and its incomplete message."""
        self.receivers.pop(channel, None)
        self._contents.pop(channel, None)

    def feed(self, data: bytes) -> None:
        """
        Take what has arrived.

        :raises FrameError: it is not AMQP; the connection is of no more use.
        """
        buffer = self._rest + data if self._rest else data
        size, offset = len(buffer), 0
        while size - offset >= OVERHEAD and not self._stopped:
            kind, channel, length = _FRAME.unpack_from(buffer, offset)
            if length + OVERHEAD > self.frame_max:
                raise FrameError(f"a frame of {length} bytes is larger than agreed")
            start = offset + 7
            end = start + length
            if end >= size:
                break
            if buffer[end] != FRAME_END:
                raise FrameError("a frame does not end with the frame end octet")
            if kind == METHOD:
                self._method(buffer, offset, start, end, channel)
            elif kind == BODY and channel in self._contents:
                self._body(channel, buffer[start:end])
            elif kind == HEADER and channel in self._contents:
                self._header(channel, buffer, start, end)
            elif kind != HEARTBEAT:
                self._other(buffer[offset : end + 1])
            offset = end + 1
        self._rest = b"" if self._stopped else buffer[offset:]

    def _method(self, buffer: bytes, offset: int, start: int, end: int, channel: int) -> None:
        if end - start < 4:
            raise FrameError("a method frame has no method")
        method = _LONG.unpack_from(buffer, start)[0]
        if method == _DELIVERY:
            after_tag = start + 5 + buffer[start + 4]
            if after_tag + 9 > end:
                raise FrameError("a basic.deliver is too short")
            tag, redelivered = _DELIVER.unpack_from(buffer, after_tag)
            self._contents[channel] = _Content(tag, bool(redelivered & 1), buffer[start + 5 : after_tag])
        elif method == _CONFIRM or method == _REFUSAL:
            self._settlement(channel, method, buffer, start, end)
        elif method == _RETURN:
            self._contents[channel] = _Content(0, False, b"")
        else:
            self._other(buffer[offset : end + 1])

    def _settlement(self, channel: int, method: int, buffer: bytes, start: int, end: int) -> None:
        if end - start < 13:
            raise FrameError("a confirm is too short")
        tag, bits = _DELIVER.unpack_from(buffer, start + 4)
        receiver = self.receivers.get(channel)
        if receiver is None:
            return
        if method == _CONFIRM:
            receiver.confirmed(tag, bool(bits & 1))
        else:
            receiver.refused(tag, bool(bits & 1))

    def _header(self, channel: int, buffer: bytes, start: int, end: int) -> None:
        if end - start < 14:
            raise FrameError("a content header is too short")
        _, _, size, flags = _HEADER.unpack_from(buffer, start)
        content = self._contents[channel]
        content.size = size
        if flags & _HAS_HEADERS or not content.tag:
            content.properties = buffer[start + 12 : end]
        if not size:
            self._complete(channel, content, b"")

    def _body(self, channel: int, chunk: bytes) -> None:
        content = self._contents[channel]
        missing = content.size - len(chunk)
        if not missing:
            self._complete(channel, content, b"".join((*content.chunks, chunk)) if content.chunks else chunk)
        elif missing < 0:
            raise FrameError("a body is longer than its header says, or came without one")
        else:
            content.chunks.append(chunk)
            content.size = missing

    def _complete(self, channel: int, content: _Content, body: bytes) -> None:
        del self._contents[channel]
        receiver = self.receivers.get(channel)
        if receiver is None:
            return
        if content.tag:
            receiver.delivered(content.tag, content.redelivered, content.properties, body, content.consumer_tag)
        else:
            receiver.returned(message_id(content.properties))


def pack_ack(channel: int, tag: int) -> bytes:
    """The frame that acknowledges one delivery."""
    return _ACK.pack(METHOD, channel, 13, 60, 80, tag, 0, FRAME_END)


def pack_requeue(channel: int, tag: int) -> bytes:
    """The frame that gives one delivery back to its queue (basic.nack, requeue)."""
    return _ACK.pack(METHOD, channel, 13, 60, 120, tag, 2, FRAME_END)


def pack_channel_close(channel: int) -> bytes:
    """The frame of a ``channel.close`` without a fault of the other side."""
    return _frame(METHOD, channel, b"\0\x14\0\x28\0\xc8\0\0\0\0\0")


def pack_channel_close_ok(channel: int) -> bytes:
    """The frame of a ``channel.close-ok``."""
    return _frame(METHOD, channel, b"\0\x14\0\x29")


def _short(text: str) -> bytes:
    data = text.encode("utf-8")
    if len(data) > 255:
        raise ValueError(f"{text[:30]!r}… is longer than the 255 bytes that AMQP has for a name")
    return bytes((len(data),)) + data


class Envelope:
    """
    The frames of publishes to one routing key, but for what differs from one
    message to the next.

    :param persistent: whether the broker keeps the message on disk.
    :param mandatory: whether it returns the message when no queue takes it.
    """

    def __init__(self, exchange: str, routing_key: str, *, persistent: bool, mandatory: bool) -> None:
        arguments = b"\0\0" + _short(exchange) + _short(routing_key) + bytes((mandatory,))
        self._arguments = b"\0\x3c\0\x28" + arguments
        self._flags = _HAS_CONTENT_TYPE | _HAS_ENCODING | _HAS_MODE | _HAS_MESSAGE_ID
        self._before_headers = _short("application/json") + _short("utf-8")
        self._after_headers = bytes((2 if persistent else 1,))
        self._without_headers = self._before_headers + self._after_headers
        self._method: dict[int, bytes] = {}

    def pack(self, channel: int, message_id: bytes, body: bytes, frame_max: int, headers: bytes = b"") -> bytes:
        """
        All frames of one publish.

        :param message_id: at most 255 bytes.
        :param frame_max: the largest frame the broker takes, in bytes.
        :param headers: what :func:`pack_headers` made of them.
        """
        method = self._method.get(channel)
        if method is None:
            method = self._method[channel] = _frame(METHOD, channel, self._arguments)
        properties, flags = self._without_headers, self._flags
        if headers:
            properties, flags = self._before_headers + headers + self._after_headers, flags | _HAS_HEADERS
        size = 15 + len(properties) + len(message_id)
        header = _CONTENT.pack(HEADER, channel, size, 60, 0, len(body), flags)
        parts = [method, header, properties, bytes((len(message_id),)), message_id, b"\xce"]
        room = frame_max - OVERHEAD
        if len(body) <= room:
            if body:
                parts += (_FRAME.pack(BODY, channel, len(body)), body, b"\xce")
        else:
            parts += [_frame(BODY, channel, body[start : start + room]) for start in range(0, len(body), room)]
        return b"".join(parts)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"".join((_FRAME.pack(kind, channel, len(payload)), payload, b"\xce"))


def pack_headers(headers: Optional[Mapping[str, Any]], frame_max: int) -> bytes:
    """
    A table of headers for :meth:`Envelope.pack`; empty for none.

    :param frame_max: the largest frame the broker takes, in bytes: a header cannot be split.
    :raises ValueError: a header has no type in AMQP, or they do not fit into a frame.
    """
    if not headers:
        return b""
    table = encode_table(headers)
    # The other properties and the frame itself need less than 400 bytes.
    if len(table) > frame_max - 400:
        raise ValueError(f"the headers are {len(table)} bytes, which does not fit into a frame of {frame_max}")
    return _LONG.pack(len(table)) + table


def properties_of(properties: bytes) -> dict[str, Any]:
    """
    A message's properties by name (``message-id``, ``headers`` …).

    :param properties: flags and properties, as they came; empty for none.
    :return: the properties; empty also where they cannot be read, because what
        another program put there must not cost us the message.
    """
    if not properties:
        return {}
    try:
        return decode_properties(load_spec().classes.byname["basic"], WireCodec(BytesIO(properties)))
    except (ValueError, EOF, StructError):
        return {}


def message_id(properties: bytes) -> str:
    """The message id among a message's properties, empty if there is none."""
    return str(properties_of(properties).get("message-id", ""))
