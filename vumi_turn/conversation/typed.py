"""What a person typed, as it is compared with what could be meant."""

from __future__ import annotations

import unicodedata
from typing import Optional

# Keyboards for Arabic and Hebrew put marks of direction around a text.
_INVISIBLE = "\u200e\u200f\u061c\ufeff"

# No menu is so long; Python refuses to read numbers of thousands of digits.
_MOST_DIGITS = 9


def simplified(text: str) -> str:
    """
    A text without what a person does not mean by it.

    That is its case, space around it and how much of it is within, a final
    ``.`` or ``)``, and the script of its digits: they become ASCII. Accents
    that are keyed in two ways are the same.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).strip(_INVISIBLE)
        text = "".join(str(unicodedata.decimal(character, character)) for character in text)
    text = " ".join(text.casefold().split())
    return text[:-1].rstrip() if text.endswith((".", ")")) else text


def number_in(text: str) -> Optional[int]:
    """The number that a simplified text is; -1 for one too long to be meant."""
    if not text.isdecimal():
        return None
    return int(text) if len(text) <= _MOST_DIGITS else -1
