"""
Where a text can be cut between what a person sees as one character.

These are the rules of Unicode's Standard Annex 29 ("Unicode Text Segmentation",
3.1.1) on the properties that Python's ``unicodedata`` has. Where the annex asks
for properties that it has not, fewer cuts are allowed, never more: nothing is
cut behind a zero width joiner, and no letter off the virama before it.
"""

from __future__ import annotations

import unicodedata
from enum import Enum


class _Kind(Enum):
    """The values of the property Grapheme_Cluster_Break, as far as they make a difference here."""

    OTHER = "other"
    CONTROL = "control"
    EXTEND = "extend"
    LINKER = "linker"
    JOINER = "joiner"
    PREPEND = "prepend"
    FLAG = "regional indicator"
    HANGUL_L = "leading consonant"
    HANGUL_V = "vowel"
    HANGUL_T = "trailing consonant"
    HANGUL_LV = "syllable without trailing consonant"
    HANGUL_LVT = "syllable with trailing consonant"


# Viramas that bind the next consonant into a conjunct: Indic_Conjunct_Break=Linker, and Kannada's.
_LINKERS = frozenset(
    "\u094d\u09cd\u0acd\u0b4d\u0c4d\u0ccd\u0d4d\u1039\u17d2\u1a60\u1b44\u1bab\ua9c0\uaaf6"
    "\U00010a3f\U00011133\U000113d0\U0001193e\U00011a47\U00011a99\U00011f42"
)

# Signs that stand before or over the number or letter that follows them: Prepend.
_PREPENDED = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e"
    "\U000110bd\U000110cd\U000111c2\U000111c3\U000113d1\U0001193f\U00011941"
    "\U00011a84\U00011a85\U00011a86\U00011a87\U00011a88\U00011a89\U00011d46\U00011f02"
)

# Extend or SpacingMark, but no marks by their category: a non-joiner, Thai and Lao AM, half width voice marks.
_ALSO_EXTEND = frozenset("\u200c\u0e33\u0eb3\uff9e\uff9f")

_AFTER_HANGUL = {
    _Kind.HANGUL_L: (_Kind.HANGUL_L, _Kind.HANGUL_V, _Kind.HANGUL_LV, _Kind.HANGUL_LVT),
    _Kind.HANGUL_V: (_Kind.HANGUL_V, _Kind.HANGUL_T),
    _Kind.HANGUL_LV: (_Kind.HANGUL_V, _Kind.HANGUL_T),
    _Kind.HANGUL_T: (_Kind.HANGUL_T,),
    _Kind.HANGUL_LVT: (_Kind.HANGUL_T,),
}

_EXTENDING = (_Kind.EXTEND, _Kind.LINKER, _Kind.JOINER)


def last_boundary(text: str, start: int, end: int) -> int:
    """
    The last place between two visible characters, behind ``start`` and not behind ``end``.

    :param start: a place where a character begins.
    :param end: less than the text's length.
    :return: ``start`` if the first character goes beyond ``end``.
    """
    found = start
    previous = _kind(text[start])
    half_flag = previous is _Kind.FLAG
    linked = previous is _Kind.LINKER
    for place in range(start + 1, end + 1):
        kind = _kind(text[place])
        together = (
            _together(previous, kind)
            or (linked and unicodedata.category(text[place]) == "Lo")
            or text[place - 1 : place + 1] == "\r\n"
        )
        if kind is _Kind.FLAG:
            second_half = half_flag and previous is _Kind.FLAG
            together = together or second_half
            half_flag = not second_half
        if not together:
            found = place
        linked = kind is _Kind.LINKER or (linked and kind in _EXTENDING)
        previous = kind
    return found


def extends(character: str) -> bool:
    """Whether a character belongs to what stands before it."""
    return _kind(character) in _EXTENDING


def _together(before: _Kind, after: _Kind) -> bool:
    """Rules GB4 to GB9b, and GB11 without its look at what is a pictograph."""
    if before is _Kind.CONTROL or after is _Kind.CONTROL:
        return False
    if after in _EXTENDING or before in (_Kind.PREPEND, _Kind.JOINER):
        return True
    return after in _AFTER_HANGUL.get(before, ())


def _kind(character: str) -> _Kind:
    if character < "\u0300":
        return _Kind.CONTROL if unicodedata.category(character) in ("Cc", "Cf") else _Kind.OTHER
    if character == "\u200d":
        return _Kind.JOINER
    if character in _LINKERS:
        return _Kind.LINKER
    if character in _PREPENDED:
        return _Kind.PREPEND
    category = unicodedata.category(character)
    if category[0] == "M" or character in _ALSO_EXTEND or _is_modifier(character):
        return _Kind.EXTEND
    if category in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return _Kind.CONTROL
    if "\U0001f1e6" <= character <= "\U0001f1ff":
        return _Kind.FLAG
    return _hangul(character)


def _is_modifier(character: str) -> bool:
    """Skin tones, and the letters within the flags of regions."""
    return "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f"


def _hangul(character: str) -> _Kind:
    if not "\u1100" <= character <= "\ud7fb":
        return _Kind.OTHER
    if "\uac00" <= character <= "\ud7a3":
        return _Kind.HANGUL_LVT if (ord(character) - 0xAC00) % 28 else _Kind.HANGUL_LV
    if character <= "\u115f" or "\ua960" <= character <= "\ua97c":
        return _Kind.HANGUL_L
    if "\u1160" <= character <= "\u11a7" or "\ud7b0" <= character <= "\ud7c6":
        return _Kind.HANGUL_V
    if "\u11a8" <= character <= "\u11ff" or "\ud7cb" <= character <= "\ud7fb":
        return _Kind.HANGUL_T
    return _Kind.OTHER
