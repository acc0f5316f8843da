"""How large a screen is, and what a person types to turn pages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional

from .errors import InvalidScreenOptions
from .gsm import is_gsm, septets, utf16_units
from .typed import simplified

#: The smallest screen that can be configured.
LEAST_SIZE = 40

#: What must be left on a page beside its navigation lines.
LEAST_TEXT = 10


class Unit(Enum):
    """In what the length of a text is counted."""

    SEPTETS = "septets"
    UTF16 = "UTF-16 units"

    def length(self, text: str) -> int:
        """How many of them a text has."""
        return septets(text) if self is Unit.SEPTETS else utf16_units(text)


def unit_of(text: str) -> Unit:
    """Septets if all of a text is in the GSM alphabet, else UTF-16 units."""
    return Unit.SEPTETS if is_gsm(text) else Unit.UTF16


@dataclass(frozen=True, slots=True)
class ScreenOptions:
    """
    The options ``screen_size``, ``page_next_key`` and those beside it, which fit each other.

    :ivar size: septets on a screen; 0 if texts are not divided into pages.
    :ivar next_key: typed for the next page.
    :ivar next_label: what stands beside it on each page but the last.
    :ivar back_key: typed for the page before, None if there is no way back.
    :ivar back_label: what stands beside it on each page but the first.
    :raises InvalidScreenOptions: they cannot work together.
    """

    size: int = 160
    next_key: str = "98"
    next_label: str = "More"
    back_key: Optional[str] = None
    back_label: str = "Back"

    def __post_init__(self) -> None:
        if self.size and self.size < LEAST_SIZE:
            raise InvalidScreenOptions("screen_size", f"must be 0 or at least {LEAST_SIZE}, not {self.size}")
        _check_key("page_next_key", self.next_key)
        _check_label("page_next_label", self.next_label)
        if self.back_key is not None:
            _check_key("page_back_key", self.back_key)
            _check_label("page_back_label", self.back_label)
            if simplified(self.back_key) == simplified(self.next_key):
                raise InvalidScreenOptions("page_back_key", "must be another key than page_next_key")
        if self.size:
            self._check_room()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that turn pages, which no choice can have as its number."""
        if not self.size:
            return ()
        return (self.next_key,) if self.back_key is None else (self.next_key, self.back_key)

    @property
    def next_line(self) -> str:
        """The end of each page but the last, with the line break before it."""
        return f"\n{self.next_key}. {self.next_label}"

    @property
    def back_line(self) -> str:
        """The way back with the line break before it, empty where there is none."""
        return "" if self.back_key is None else f"\n{self.back_key}. {self.back_label}"

    @property
    def utf16_size(self) -> int:
        """UTF-16 units on a screen: as many as fit into the octets of its septets."""
        return -(-self.size * 7 // 8) // 2

    def limit(self, unit: Unit) -> int:
        """The length of the longest page."""
        return self.size if unit is Unit.SEPTETS else self.utf16_size

    def _check_room(self) -> None:
        navigation = self.back_line + self.next_line
        units = (Unit.SEPTETS, Unit.UTF16) if is_gsm(navigation) else (Unit.UTF16,)
        for unit in units:
            left = self.limit(unit) - unit.length(navigation)
            if left < LEAST_TEXT:
                raise InvalidScreenOptions(
                    "screen_size",
                    f"{self.size} leaves {max(left, 0)} of {self.limit(unit)} {unit.value} beside the page keys and"
                    f" labels, and at least {LEAST_TEXT} are needed: make screen_size larger or the labels shorter",
                )


def _check_key(option: str, key: str) -> None:
    if not simplified(key):
        raise InvalidScreenOptions(option, "must hold something that a person can type")
    _check_label(option, key)


def _check_label(option: str, label: str) -> None:
    if not label.strip() or label != " ".join(label.split()):
        raise InvalidScreenOptions(option, "must be one line, not empty and without space around it")
