"""
Dividing a text that is longer than a screen into pages.

A page ends behind a line, else behind a word, else between two characters as
a person sees them. So a line that fits a page, a choice's among them, is never
cut. At a cut the white space on both sides is dropped; nothing else is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Optional

from .graphemes import extends, last_boundary
from .screen_options import ScreenOptions, Unit, unit_of

# Where a line may be broken; not the spaces that forbid it (U+00A0, U+2007, U+202F).
_SPACES = " \t\n\v\f\r\x85\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u2028\u2029\u205f\u3000"

# They stand between words in place of a space: zero width space, the word space of Ethiopic, Tibetan's tsheg.
_WORD_ENDS = "\u200b\u1361\u0f0b"


@dataclass(frozen=True, slots=True)
class ScreenLength:
    """
    How long a text is on a screen.

    :ivar used: its length in ``unit``.
    :ivar size: what a screen holds of them, 0 if any length is shown.
    :ivar unit: septets or UTF-16 units.
    """

    used: int
    size: int
    unit: Unit

    @property
    def left(self) -> Optional[int]:
        """What can still be added, negative if the text is too long; None if any length is shown."""
        return self.size - self.used if self.size else None


def screen_length(text: str, options: ScreenOptions) -> ScreenLength:
    """Measure a text, for a counter of characters."""
    unit = unit_of(text)
    return ScreenLength(unit.length(text), options.limit(unit), unit)


def paginate(text: str, options: ScreenOptions, ends_session: bool = False) -> tuple[str, ...]:
    """
    Divide a text into pages, each with its own navigation lines.

    The unit of length is chosen once, for the text and all navigation lines. A
    text that fits a screen has no navigation, and is returned as it is.

    :param text: with the choices' lines already in it.
    :param ends_session: the last page ends the session, so there is no way back from it.
    :return: at least one page, none longer than ``options.size``.
    """
    # No text costs more septets than two for each character, nor fewer UTF-16 units fit.
    if not options.size or 2 * len(text) <= options.utf16_size:
        return (text,)
    length = screen_length(text, options)
    if length.used <= length.size:
        return (text,)
    unit = unit_of(text + options.back_line + options.next_line)
    return tuple(_pages(text.strip(_SPACES), options, unit, ends_session))


def _pages(text: str, options: ScreenOptions, unit: Unit, ends_session: bool) -> Iterator[str]:
    size = options.limit(unit)
    start, back = 0, ""
    while True:
        last = "" if ends_session else back
        if _fitting(text, start, size - unit.length(last), unit) == len(text):
            yield text[start:] + last
            return
        navigation = back + options.next_line
        end = _fitting(text, start, size - unit.length(navigation), unit)
        cut = _cut(text, start, end)
        yield text[start:cut].rstrip(_SPACES) + navigation
        start, back = _skip_spaces(text, cut), options.back_line


def _fitting(text: str, start: int, size: int, unit: Unit) -> int:
    """The end of the longest piece from ``start`` that is not longer than ``size``."""
    end = min(start + size, len(text))
    excess = unit.length(text[start:end]) - size
    while excess > 0:
        # A character has one or two units, so half of the excess are characters too many.
        end -= (excess + 1) // 2
        excess = unit.length(text[start:end]) - size
    return end


def _cut(text: str, start: int, end: int) -> int:
    """
    Where a page that begins at ``start`` ends.

    :param start: a visible character.
    :param end: behind ``start``, and before the text's end: the page cannot be longer.
    """
    line = text.rfind("\n", start, end + 1)
    if line > start:
        return line
    for place in range(end, start, -1):
        if (text[place] in _SPACES or text[place - 1] in _WORD_ENDS) and _may_part(text, place):
            return place
    boundary = last_boundary(text, start, end)
    return boundary if boundary > start else end


def _may_part(text: str, place: int) -> bool:
    """Whether the next page would not begin with a mark that belongs to the space before it."""
    following = _skip_spaces(text, place)
    return following == len(text) or not extends(text[following])


def _skip_spaces(text: str, place: int) -> int:
    while place < len(text) and text[place] in _SPACES:
        place += 1
    return place
