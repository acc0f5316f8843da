"""Types of options: texts and secrets, and the dirt that comes with them."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Optional

from .fields_plain import MASK, ConfigField, shown

#: Quotation marks that people, shells and editors put around values.
_QUOTES = {('"', '"'), ("'", "'"), ("`", "`"), ("“", "”"), ("„", "“"), ("”", "”"), ("‘", "’"), ("’", "’"), ("«", "»")}


def dirt_of(text: str) -> Optional[str]:
    """
    What stands around a text, or in it, that was not meant: what a shell, an
    editor or a copied web page leaves there.

    :return: a phrase such as "has a space at its end", never the text itself; None for a clean one.
    """
    if any("\ud800" <= c <= "\udfff" for c in text):
        return "has bytes that are not UTF-8"
    if len(text) > 1 and (text[0], text[-1]) in _QUOTES:
        return "has quotation marks around it, which became part of it"
    for end, c in (("beginning", text[:1]), ("end", text[-1:])):
        if c == "\ufeff":
            return f"has a byte order mark at its {end}"
        if c.isspace():
            return f"has a space, a tab or a line end at its {end}"
        if unicodedata.category(c or "x") in ("Cc", "Cf"):
            return f"has an invisible character at its {end} (U+{ord(c):04X})"
    return None


class ConfigText(ConfigField[str]):
    """
    A text. A line end after it, as a file's or a shell's, is cut; other dirt around it is refused.
    """

    field_type = "str"
    expected = "a text"

    def clean(self, value: Any) -> str:
        if not isinstance(value, str):
            self.refuse(value, self.expected + self._hint(value))
        text = value.rstrip("\r\n")
        if self.required and not text.strip():
            self.wrong(f"must not be empty: {self.expected} is expected")
        dirt = self._dirt_of(text)
        if dirt is not None:
            self.wrong(f"{dirt}: {MASK if self.secret else shown(value)}")
        return text

    def _dirt_of(self, text: str) -> Optional[str]:
        return dirt_of(text)

    @staticmethod
    def _hint(value: Any) -> str:
        return " (put it in quotes)" if isinstance(value, (int, float)) else ""


class ConfigContent(ConfigText):
    """A text that people read: spaces and quotation marks around it are theirs."""

    def _dirt_of(self, text: str) -> Optional[str]:
        return "has bytes that are not UTF-8" if any("\ud800" <= c <= "\udfff" for c in text) else None


class ConfigSecret(ConfigText):
    """A text that is never shown, of one line."""

    secret = True

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if re.search(r"[\r\n]", text):
            self.wrong("must be one line, but has a line end in it")
        return text


class ConfigToken(ConfigSecret):
    """A secret that is sent in an HTTP header."""

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if re.search(r"[ \t]", text):
            self.wrong("has a space or a tab in it, which no token has: a token without 'Bearer' is expected")
        if re.search(r"[^!-~]", text):
            self.wrong("has a character that a token cannot have: visible ASCII characters are expected")
        return text


class ConfigConnectorName(ConfigText):
    """A connector's name: legacy vumi demands lower case."""

    expected = "a connector's name"

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if text != text.lower():
            self.wrong(f"must be in lower case, as {text.lower()!r}, not {text!r}")
        if not re.fullmatch(r"[^\s\x00-\x1f]{1,200}", text):
            self.wrong("must have from 1 to 200 characters, and no spaces among them")
        return text
