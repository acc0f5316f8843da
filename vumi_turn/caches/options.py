"""
The options of ``message_cache_config``: read, checked, and all that is wrong
said at once.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Any, Callable, Mapping

#: Reads one value; raises ValueError with what is expected instead.
Reader = Callable[[Any], Any]


def seconds(value: Any) -> float:
    """A finite number of seconds above 0; text that is a number will do (``!env`` gives text)."""
    expected = "must be a number of seconds greater than 0"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(expected)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if not math.isfinite(number) or number <= 0:
        raise ValueError(expected)
    return number


def count(value: Any) -> int:
    """A whole number of at least 1; text that is one will do."""
    expected = "must be a whole number of at least 1"
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(expected)
    try:
        number = int(value)
    except ValueError:
        raise ValueError(expected) from None
    if number < 1:
        raise ValueError(expected)
    return number


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def read_options(
    config: Any,
    readers: Mapping[str, Reader],
    defaults: Mapping[str, Any],
    secret: frozenset[str] = frozenset(),
) -> tuple[dict[str, Any], list[str]]:
    """
    Read a config by a table of readers.

    :param config: what the YAML says.
    :param readers: a reader for each option there is.
    :param defaults: values of the options that may be left out.
    :param secret: options whose value is not shown in an error.
    :return: the values, and one sentence for each thing that is wrong.
    """
    if not isinstance(config, Mapping):
        return {}, [f"message_cache_config must be a mapping of options, not {_named(config)}"]
    values = dict(defaults)
    errors = []
    for key, value in config.items():
        reader = readers.get(key) if isinstance(key, str) else None
        if reader is None:
            errors.append(_unknown(key, readers))
            continue
        try:
            values[key] = reader(value)
        except ValueError as error:
            found = "" if key in secret else f", not {_named(value)}"
            errors.append(f"message_cache_config.{key} {error}{found}")
    for key in readers:
        if key not in values and key not in config:
            errors.append(f"message_cache_config.{key} is required")
    return values, errors


def _unknown(key: Any, readers: Mapping[str, Reader]) -> str:
    nearest = get_close_matches(str(key), readers, 1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(sorted(readers))}"
    return f"message_cache_config.{key} is not an option of this cache; {hint}"


def _named(value: Any) -> str:
    """A value and its type, as an error shows them."""
    if value is None:
        return "nothing"
    return f"{value!r:.60} ({type(value).__name__})"
