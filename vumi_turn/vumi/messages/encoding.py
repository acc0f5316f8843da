"""
JSON objects and dates as vumi's peers write them, read with tolerance.

The peers are Python 2 programs with ASCII escapes, newer ones with raw UTF-8,
and whatever else can write to a queue.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any, Iterable, Optional, Union

#: How deep arrays and objects may be nested. Python's own bound depends on its
#: version and on the caller's stack: what could just be read could then not be
#: written. vumi's messages need fewer than ten.
MAX_DEPTH = 100

_DATE = re.compile(
    # No 24:00:00, which Python takes for midnight from 3.14 on.
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ Tt]((?!24)[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2})?)?"
)


_SURROGATE = re.compile("[\ud800-\udfff]")


class MalformedMessage(ValueError):
    """
    Something that is not a message of vumi's. Its text is a sentence that
    names the field that is wrong; it never shows an address or content.
    """


def parse_vumi_date(text: str) -> datetime:
    """
    Read a date as vumi's messages hold it: ``YYYY-MM-DD HH:MM:SS.ffffff`` in
    UTC. Also without a fraction, with a final ``Z``, and ISO 8601 with ``T`` or
    an offset.

    :return: an aware datetime in UTC.
    :raises ValueError: it is something else.
    """
    if len(text) == 26 and text[10] == " " and text[19] == "." and text[20:].isdecimal() and text.isascii():
        try:  # as vumi itself writes them; what else Python would read in these places, the other way refuses
            if text[4] + text[7] + text[13] + text[16] == "--::" and text[11:13] != "24":
                return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
        except ValueError:
            pass
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{shorten(text)} is not a date like 2021-08-07 12:34:56.789000")
    day, time, fraction, _, sign, hours, minutes = match.groups()
    value = datetime.fromisoformat(f"{day} {time}")
    microsecond = int(f"{fraction:0<6}"[:6]) if fraction else 0
    value = value.replace(microsecond=microsecond, tzinfo=timezone.utc)
    if sign is None:
        return value
    if int(hours) > 23 or int(minutes or 0) > 59:
        raise ValueError(f"{shorten(text)} has an impossible offset from UTC")
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    try:
        return value - offset if sign == "+" else value + offset
    except OverflowError:
        raise ValueError(f"{shorten(text)} is outside the years 1 to 9999 in UTC") from None


def format_vumi_date(value: datetime) -> str:
    """
    Write a date as vumi's messages hold it.

    :param value: aware, or naive and in UTC.
    """
    return as_utc(value).isoformat(" ", "microseconds")[:26]


def as_utc(value: datetime) -> datetime:
    """The same moment as an aware datetime in UTC; a naive one is taken to be in UTC."""
    if value.tzinfo is timezone.utc:
        return value
    if value.tzinfo is None:
        return value.replace(tzinfo=timezone.utc)
    return value.astimezone(timezone.utc)


def decode_object(body: Union[bytes, str]) -> dict[str, Any]:
    """
    Read a JSON object.

    Numbers that JSON does not have, but Python 2 writes (NaN, Infinity), and
    those too large for a float become None: what we write must be JSON.

    :raises MalformedMessage: it is not UTF-8, not JSON, not an object, or
        nested deeper than :data:`MAX_DEPTH`.
    """
    try:
        text = body if isinstance(body, str) else body.decode("utf-8")
        value = _decode(text)
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"the body is not UTF-8 (at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise MalformedMessage(f"the body is not JSON ({error.msg} at character {error.pos})") from None
    except RecursionError:
        raise MalformedMessage("the body is nested too deep") from None
    except ValueError:
        raise MalformedMessage("the body holds a number with too many digits") from None
    if not isinstance(value, dict):
        raise MalformedMessage(f"the body must be an object, not {kind_of(value)}")
    if text.count("{") + text.count("[") > MAX_DEPTH and is_deep(value):
        raise MalformedMessage("the body is nested too deep")
    return value


def encode_object(value: dict[str, Any]) -> bytes:
    """
    Write a JSON object, ASCII with escapes.

    :raises ValueError: it holds NaN or an infinite number.
    :raises TypeError: it holds something that JSON has no form for; dates are
        written as vumi writes them.
    """
    return _encode(value).encode("ascii")


def encode_object_utf8(value: dict[str, Any]) -> bytes:
    """
    Write a JSON object as UTF-8, where ASCII's escapes would make six bytes of
    most characters. Halves of surrogate pairs, which UTF-8 does not have, are escapes.

    :raises ValueError: it holds NaN or an infinite number.
    """
    text = _encode_unicode(value)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode("utf-8")


def is_deep(value: Union[dict[str, Any], list[Any]], limit: int = MAX_DEPTH) -> bool:
    """Whether ``value`` is nested deeper than ``limit``, found without recursion."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [child for parent in level for child in _children(parent) if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def kind_of(value: object) -> str:
    """What a JSON value is, for a sentence such as "must be a string, not a list"."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"a {type(value).__name__}"


def shorten(text: object, limit: int = 40) -> str:
    """Text for an error's sentence: in quotes, printable and short."""
    shown = ascii(text)
    return shown if len(shown) <= limit else f"{shown[:limit]}…"


def _finite_or_none(text: str) -> Optional[float]:
    number = float(text)
    return number if math.isfinite(number) else None


def _nothing(_name: str) -> None:
    return None


def _date_or_error(value: object) -> str:
    if isinstance(value, datetime):
        return format_vumi_date(value)
    raise TypeError(f"{kind_of(value)} cannot be part of a message")


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


# Made once: json.loads and json.dumps make new ones for each call with options.
_decode = json.JSONDecoder(parse_float=_finite_or_none, parse_constant=_nothing).decode
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False, default=_date_or_error).encode
_encode_unicode = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False, check_circular=False, default=_date_or_error, ensure_ascii=False
).encode
