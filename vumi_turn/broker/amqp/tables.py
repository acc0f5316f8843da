"""
AMQP field tables, in both directions and with every type that RabbitMQ knows.

The types and their letters are RabbitMQ's ("AMQP 0-9-1 Errata", section 3),
which differ from the specification's in a few places: ``s`` is a signed
16 bit number and ``x`` holds bytes.
"""

from __future__ import annotations

import struct
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Mapping, NamedTuple

#: More deeply nested tables are refused.
MAX_DEPTH = 64

_NUMBERS = {
    b"b": struct.Struct("!b"),
    b"B": struct.Struct("!B"),
    b"s": struct.Struct("!h"),
    b"U": struct.Struct("!h"),
    b"u": struct.Struct("!H"),
    b"I": struct.Struct("!i"),
    b"i": struct.Struct("!I"),
    b"l": struct.Struct("!q"),
    b"L": struct.Struct("!q"),
    b"f": struct.Struct("!f"),
    b"d": struct.Struct("!d"),
}
_LONG = struct.Struct("!I")
_DECIMAL = struct.Struct("!Bi")
_TIMESTAMP = struct.Struct("!Q")


class Typed(NamedTuple):
    """A value to be written with a certain type letter."""

    letter: bytes
    value: Any


def decode_table(data: bytes) -> dict[str, Any]:
    """
    Read a table without its length in front.

    :return: names and plain Python values. Text that is not UTF-8 stays bytes,
        a timestamp is an aware datetime (an int where no calendar has it).
    :raises ValueError: it is not a table.
    """
    try:
        return _table(data, 0, len(data), 0)
    except (struct.error, IndexError) as error:
        raise ValueError(f"the table ends too early ({error})") from None


def encode_table(table: Mapping[str, Any]) -> bytes:
    """
    Write a table without its length in front.

    :param table: values may be None, bool, int, float, str, bytes, Decimal,
        datetime, a list, a mapping, or :class:`Typed`.
    :raises ValueError: a value has no type in AMQP, or does not fit into it.
    """
    parts = []
    for name, value in table.items():
        key = name.encode("utf-8")
        if len(key) > 255:
            raise ValueError(f"the name {name[:20]!r}… is longer than 255 bytes")
        try:
            field = _field(value)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"the value of {name!r} does not fit into its type ({error})") from None
        parts.append(bytes((len(key),)) + key + field)
    return b"".join(parts)


def _take(data: bytes, start: int, size: int, end: int) -> bytes:
    if start + size > end:
        raise ValueError("a value reaches over the table's end")
    return data[start : start + size]


def _text(data: bytes) -> Any:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _table(data: bytes, offset: int, end: int, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    while offset < end:
        size = data[offset]
        name = _take(data, offset + 1, size, end).decode("utf-8", "replace")
        result[name], offset = _value(data, offset + 1 + size, end, depth)
    return result


def _array(data: bytes, offset: int, end: int, depth: int) -> list[Any]:
    result = []
    while offset < end:
        value, offset = _value(data, offset, end, depth)
        result.append(value)
    return result


def _value(data: bytes, offset: int, end: int, depth: int) -> tuple[Any, int]:
    letter = _take(data, offset, 1, end)
    offset += 1
    number = _NUMBERS.get(letter)
    if number is not None:
        return number.unpack(_take(data, offset, number.size, end))[0], offset + number.size
    if letter in b"SxFA":
        size = _LONG.unpack(_take(data, offset, 4, end))[0]
        offset += 4
        return _sized(letter, data, offset, _end(offset, size, end), depth), offset + size
    if letter == b"t":
        return _take(data, offset, 1, end) != b"\0", offset + 1
    if letter == b"T":
        return _moment(_TIMESTAMP.unpack(_take(data, offset, 8, end))[0]), offset + 8
    if letter == b"D":
        scale, units = _DECIMAL.unpack(_take(data, offset, 5, end))
        return Decimal(units).scaleb(-scale), offset + 5
    if letter == b"V":
        return None, offset
    raise ValueError(f"no type has the letter {letter!r}")


def _end(offset: int, size: int, end: int) -> int:
    if offset + size > end:
        raise ValueError("a value reaches over the table's end")
    return offset + size


def _sized(letter: bytes, data: bytes, offset: int, end: int, depth: int) -> Any:
    if letter == b"S":
        return _text(data[offset:end])
    if letter == b"x":
        return data[offset:end]
    if depth >= MAX_DEPTH:
        raise ValueError(f"tables are nested deeper than {MAX_DEPTH} levels")
    inside = _table if letter == b"F" else _array
    return inside(data, offset, end, depth + 1)


def _moment(seconds: int) -> Any:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return seconds


def _field(value: Any) -> bytes:
    if isinstance(value, Typed):
        return _typed(value)
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t\1" if value else b"t\0"
    if isinstance(value, int):
        return _typed(Typed(b"I" if -(1 << 31) <= value < 1 << 31 else b"l", value))
    if isinstance(value, float):
        return _typed(Typed(b"d", value))
    if isinstance(value, str):
        return _counted(b"S", value.encode("utf-8"))
    if isinstance(value, bytes):
        return _counted(b"x", value)
    if isinstance(value, Mapping):
        return _counted(b"F", encode_table(value))
    if isinstance(value, (list, tuple)):
        return _counted(b"A", b"".join(map(_field, value)))
    if isinstance(value, datetime):
        return b"T" + _TIMESTAMP.pack(int(value.timestamp()))
    if isinstance(value, Decimal):
        return _decimal(value)
    raise ValueError(f"AMQP has no type for a {type(value).__name__}")


def _typed(value: Typed) -> bytes:
    number = _NUMBERS.get(value.letter)
    if number is None:
        return _counted(value.letter, value.value) if value.letter in (b"S", b"x") else _field(value.value)
    try:
        return value.letter + number.pack(value.value)
    except struct.error as error:
        raise ValueError(f"{value.value!r} does not fit into type {value.letter!r} ({error})") from None


def _counted(letter: bytes, data: bytes) -> bytes:
    return letter + _LONG.pack(len(data)) + data


def _decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"AMQP has no decimal {value}")
    scale = max(0, -exponent)
    try:
        return b"D" + _DECIMAL.pack(scale, int(value.scaleb(scale)))
    except struct.error as error:
        raise ValueError(f"{value} does not fit into a decimal ({error})") from None
