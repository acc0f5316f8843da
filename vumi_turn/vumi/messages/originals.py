"""How a failure message carries the message that failed, whatever that was."""

from __future__ import annotations

import json
import math
from typing import Any, Union

from .encoding import MAX_DEPTH, encode_object_utf8, is_deep


def original_of(body: bytes) -> Union[dict[str, Any], str]:
    """
    What a failure message carries of the message that failed.

    :param body: the bytes as they came from the queue.
    :return: the JSON object, or the text where the body is not a JSON object,
        or one that could not be written again as it is (it is nested too
        deep, or a number in it is too large). Bytes that are not UTF-8 become
        lone surrogates, so that :func:`body_of` gives back the same bytes.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and not is_deep(value, MAX_DEPTH - 1):
        return value
    return body.decode("utf-8", "surrogateescape")


def body_of(original: Union[dict[str, Any], str]) -> bytes:
    """The bytes to publish again for what :func:`original_of` gave."""
    if isinstance(original, str):
        return original.encode("utf-8", "surrogateescape")
    return encode_object_utf8(original)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number
