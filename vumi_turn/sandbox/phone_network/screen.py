"""How much of a USSD screen a text takes; the phones count as the worker does."""

from __future__ import annotations

from ...conversation.screen_options import ScreenOptions, Unit
from ...conversation.screens import ScreenLength
from ...conversation.screens import screen_length as length_of

#: Characters that most networks show. GSM's own limit is 160 octets, which are 182 septets (TS 23.038).
SCREEN_SIZE = 160

#: What the lengths are counted in, in words.
UNIT_NAMES = {Unit.SEPTETS: "GSM characters", Unit.UTF16: "UCS-2 characters"}


def screen_length(text: str, size: int = SCREEN_SIZE) -> ScreenLength:
    """
    :param text: what is to be shown.
    :param size: of the screen, in septets.
    """
    return length_of(text, ScreenOptions(size=size))
