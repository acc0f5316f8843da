"""
JSON from Turn: strict in its form, but what nobody uses of it refuses nothing.

Turn puts a journey's variables into ``context`` and ``block``, and these may be
whatever a journey makes of them: nested deep, numbers of any size, a key
twice. The same bodies are read in the same way by every version of Python.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, Collection, NoReturn

from ..http.errors import JsonDecodeError

#: Levels of objects and lists that are read; what is deeper is left out. Python
#: 3.10 fails at about 1,000 levels, 3.14 somewhere beyond 30,000.
MAX_DEPTH = 64

#: Digits of a number that is read; Python 3.11 takes no longer ones, and in
#: 3.10 the time that they take grows with their square.
MAX_DIGITS = 4300

TOO_DEEP = "the body is nested too deep"

#: A string, which may hold brackets, or a bracket. A string without an end goes to the
#: end of the text, lest the rest be looked through again from each of its quotes.
_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[][{}]', re.DOTALL)


class AmbiguousObject(dict[str, Any]):
    """
    An object in which a key came twice; it has the last value.

    :ivar repeated: the keys.
    """

    repeated: frozenset[str] = frozenset()


def decode_body(body: bytes, needed: Collection[str] = ()) -> Any:
    """
    Decode a request's body.

    :param needed: fields without which a body that is too deep is not an
        object with something unused in it, but nonsense.
    :return: the value. Numbers that are too large are infinite, objects with
        a key twice are :class:`AmbiguousObject`, and lists and objects deeper
        than :data:`MAX_DEPTH` are None.
    :raises JsonDecodeError: it is not UTF-8 or not JSON, or too deep without the fields that are needed.
    """
    try:
        text = body.decode("utf-8")
        # Most bodies have too few brackets for being deep.
        if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
            return _decode(text)
        shallow = _without_depths(text)
        value = _decode(shallow)
    except UnicodeDecodeError as error:
        raise JsonDecodeError(f"the body is not UTF-8 (at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise JsonDecodeError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    if shallow is not text and (not isinstance(value, dict) or any(name not in value for name in needed)):
        raise JsonDecodeError(TOO_DEEP)
    return value


def _without_depths(text: str) -> str:
    """The text with ``null`` for each list and object that is too deep; itself where none is."""
    kept: list[str] = []
    depth = position = 0
    for token in _TOKENS.finditer(text):
        bracket = token.group()
        if bracket in ("{", "["):
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += [text[position : token.start()], "null"]
        elif bracket in ("}", "]"):
            if depth == MAX_DEPTH + 1:
                position = token.end()
            depth -= 1
    if depth > MAX_DEPTH:
        raise JsonDecodeError(TOO_DEEP)
    return "".join([*kept, text[position:]]) if kept else text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    ambiguous = AmbiguousObject(found)
    counts = Counter(key for key, _ in pairs)
    ambiguous.repeated = frozenset(key for key, count in counts.items() if count > 1)
    return ambiguous


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf


def _constant(name: str) -> NoReturn:
    raise JsonDecodeError(f"the body is not JSON: {name} is not a number")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant).decode
