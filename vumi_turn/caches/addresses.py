"""Which addresses are one person's."""

from __future__ import annotations

from typing import Optional


def person_of(address: Optional[str]) -> str:
    """
    The same text for an address with and without its leading ``+``.

    :param address: as in a message; None becomes the empty text, which is nobody.
    """
    if not address:
        return ""
    return address[1:] if address[0] == "+" else address
