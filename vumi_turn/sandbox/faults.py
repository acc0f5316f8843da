"""
What all simulated faults share: reading them from JSON, with errors that say what is wrong.

They come from the page, from scripts and from tests, so each value is checked.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

#: No delay is longer than this, in seconds.
MAX_DELAY = 120.0

F = TypeVar("F")


class FaultsError(ValueError):
    """There is no such fault; the text says what is wrong."""


def from_json(kind: type[F], value: Any, name: str) -> F:
    """
    Faults from JSON; fields that are not given have their defaults.

    :param kind: a dataclass of faults, which checks its values.
    :param name: what to call it in errors.
    :raises FaultsError: naming what is wrong.
    """
    if not isinstance(value, dict):
        raise FaultsError(f"{name} must be an object")
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise FaultsError(f"{name}.{key} is not known; there are {', '.join(known)}")
    try:
        return kind(**value)
    except FaultsError as error:
        raise FaultsError(f"{name}.{error}") from None


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """
    :raises FaultsError: ``value`` is none of ``choices``.
    """
    if value not in choices:
        raise FaultsError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def check_number(name: str, value: object, least: float, most: float) -> None:
    """
    :raises FaultsError: ``value`` is no number from ``least`` to ``most``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise FaultsError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")


def check_whole(name: str, value: object, least: int, most: int) -> None:
    """
    :raises FaultsError: ``value`` is no whole number from ``least`` to ``most``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise FaultsError(f"{name} must be a whole number from {least} to {most}, not {value!r}")
