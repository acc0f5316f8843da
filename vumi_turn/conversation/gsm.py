"""
How long a text is on a mobile network.

A text in the default alphabet of GSM 03.38 (3GPP TS 23.038, 6.2.1) is counted
in septets; any other is sent as UCS-2 and counted in UTF-16 code units.
"""

from __future__ import annotations

import re

#: The default alphabet, in the order of its codes, without the escape to the extension table (0x1B).
DEFAULT_ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)

#: The default extension table (6.2.1.1): an escape goes before each, so they cost two septets.
EXTENSION_TABLE = "\f^{}\\[~]|€"

# Compiled where they are used first, and kept by re: many channels count no septets.
_NOT_GSM = f"[^{re.escape(DEFAULT_ALPHABET + EXTENSION_TABLE)}]"
_EXTENDED = f"[{re.escape(EXTENSION_TABLE)}]"


def is_gsm(text: str) -> bool:
    """Whether each character is in the default alphabet or its extension table."""
    return re.search(_NOT_GSM, text) is None


def septets(text: str) -> int:
    """The length in septets of a text for which ``is_gsm`` is true."""
    return len(text) + len(re.findall(_EXTENDED, text))


def utf16_units(text: str) -> int:
    """The length in UTF-16 code units: two for a character beyond U+FFFF, an emoji for example."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
