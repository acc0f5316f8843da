"""
txamqp's frames to bytes and back, with what its own codec gets wrong put right:
strings are counted in bytes, bodies are bytes, tables know every type, and a
value that ends too early is an error instead of a shorter value.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Union

from txamqp.codec import EOF, Codec
from txamqp.connection import Body, Frame, Header, Heartbeat, Method

from .tables import decode_table, encode_table

FRAME_END = 0xCE

_TYPES = {Frame.METHOD: 1, Frame.HEADER: 2, Frame.BODY: 3, Frame.HEARTBEAT: 8}


class WireCodec(Codec):
    """txamqp's codec of single values, corrected."""

    def read(self, n: int) -> bytes:
        """Exactly ``n`` bytes, or EOF. Bits left over from an octet end here."""
        self.incoming_bits: list[bool] = []
        data: bytes = self.stream.read(n)
        if len(data) < n:
            raise EOF(f"{n} bytes were expected, {len(data)} are left")
        self.nread += n
        return data

    def enc_str(self, fmt: str, s: Union[str, bytes]) -> None:
        data = s.encode("utf-8") if isinstance(s, str) else s
        self.pack(fmt, len(data))
        self.write(data)

    def encode_table(self, tbl: dict[str, Any]) -> None:
        data = encode_table(tbl)
        self.encode_long(len(data))
        self.write(data)

    def decode_table(self) -> dict[str, Any]:
        return decode_table(self.decode_longbytes())


def encode_frame(frame: Frame) -> bytes:
    """
    The bytes of one frame of txamqp's.

    :raises ValueError, struct.error: a value does not fit into its type.
    """
    payload = _encode_payload(frame.payload)
    stream = BytesIO()
    codec = WireCodec(stream)
    codec.encode_octet(_TYPES[frame.payload.type])
    codec.encode_short(frame.channel)
    codec.encode_longbytes(payload)
    codec.encode_octet(FRAME_END)
    return stream.getvalue()


def decode_frame(spec: Any, data: bytes) -> Frame:
    """
    One frame from exactly its bytes.

    :raises ValueError: it is no frame that AMQP knows.
    """
    codec = WireCodec(BytesIO(data))
    try:
        kind = codec.decode_octet()
        channel = codec.decode_short()
        payload = codec.decode_longbytes()
        if codec.decode_octet() != FRAME_END:
            raise ValueError("the frame does not end with the frame end octet")
        return Frame(channel, _decode_payload(spec, kind, payload))
    except EOF as error:
        raise ValueError(f"the frame is too short ({error})") from None
    except KeyError as error:
        raise ValueError(f"AMQP has no class, method or frame of number {error}") from None


def _encode_payload(payload: Any) -> bytes:
    if isinstance(payload, Body):
        return bytes(payload.content)
    stream = BytesIO()
    codec = WireCodec(stream)
    if isinstance(payload, Method):
        codec.encode_short(payload.method.klass.id)
        codec.encode_short(payload.method.id)
        for field, value in zip(payload.method.fields, payload.args, strict=True):
            codec.encode(field.type, value)
        codec.flush()
    elif isinstance(payload, Header):
        _encode_header(codec, payload)
    return stream.getvalue()


def _encode_header(codec: WireCodec, header: Header) -> None:
    codec.encode_short(header.klass.id)
    codec.encode_short(header.weight)
    codec.encode_longlong(header.size)
    flags = 0
    for place, field in enumerate(header.klass.fields):
        if header.properties.get(field.name) is not None:
            flags |= 1 << (15 - place)
    codec.encode_short(flags)
    for field in header.klass.fields:
        value = header.properties.get(field.name)
        if value is not None:
            codec.encode(field.type, value)


def _decode_payload(spec: Any, kind: int, payload: bytes) -> Any:
    if kind == _TYPES[Frame.BODY]:
        return Body(payload)
    if kind == _TYPES[Frame.HEARTBEAT]:
        return Heartbeat()
    codec = WireCodec(BytesIO(payload))
    if kind == _TYPES[Frame.METHOD]:
        method = spec.classes.byid[codec.decode_short()].methods.byid[codec.decode_short()]
        return Method(method, *[codec.decode(field.type) for field in method.fields])
    if kind == _TYPES[Frame.HEADER]:
        klass = spec.classes.byid[codec.decode_short()]
        weight, size = codec.decode_short(), codec.decode_longlong()
        return Header(klass, weight, size, **decode_properties(klass, codec))
    raise KeyError(kind)


def decode_properties(klass: Any, codec: WireCodec) -> dict[str, Any]:
    """A content header's property flags and the properties they announce, by name."""
    flags = codec.decode_short()
    return {
        str(field.name): codec.decode(field.type)
        for place, field in enumerate(klass.fields)
        if flags & 1 << (15 - place)
    }
