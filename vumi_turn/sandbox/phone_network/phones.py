"""The phones of the simulated network, and what can be done with each."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from twisted.internet.interfaces import IDelayedCall

from .screen import SCREEN_SIZE, UNIT_NAMES, screen_length

#: The code that the page dials first.
USSD_CODE = "*120*8864#"

#: How many texts a phone remembers.
KEEP_TEXTS = 100


class PhoneError(Exception):
    """What was asked of a phone cannot be done; the text says why."""


@dataclass
class Session:
    """
    An open USSD session.

    :ivar last_id: the person's last message, the one that can be answered.
    :ivar waiting: whether it still waits for its answer.
    """

    id: str
    code: str
    last_id: str
    waiting: bool = True
    timeout: Optional[IDelayedCall] = None


@dataclass
class Text:
    """
    An SMS on a phone, or one step of its USSD sessions.

    :ivar direction: ``out`` for what the person wrote, ``in`` for what came,
        ``note`` for what happened to a session.
    :ivar error: why it was not sent.
    """

    id: str
    direction: str
    text: str
    at: float
    error: Optional[str] = None


@dataclass
class Phone:
    """
    One person's phone.

    :ivar screen: what the USSD screen shows, None where it is off.
    :ivar screen_size: how many septets the screen holds.
    :ivar texts: SMS, the oldest first.
    :ivar steps: what happened in USSD sessions, the oldest first.
    """

    number: str
    screen: Optional[str] = None
    screen_size: int = SCREEN_SIZE
    session: Optional[Session] = None
    texts: deque[Text] = field(default_factory=lambda: deque(maxlen=KEEP_TEXTS))
    steps: deque[Text] = field(default_factory=lambda: deque(maxlen=KEEP_TEXTS))

    def to_dict(self) -> dict[str, Any]:
        """The phone as JSON, for the page."""
        session, length = self.session, screen_length(self.screen or "", self.screen_size)
        return {
            "number": self.number,
            "screen": self.screen,
            "screen_length": {"used": length.used, "size": length.size, "unit": UNIT_NAMES[length.unit]},
            "session": None if session is None else {"code": session.code, "waiting": session.waiting},
            "texts": [asdict(text) for text in self.texts],
            "steps": [asdict(step) for step in self.steps],
        }


def check_number(number: str) -> str:
    """
    The key under which a phone is known: its digits.

    :raises PhoneError: it is no phone number.
    """
    digits = number[1:] if number.startswith("+") else number
    if not (digits.isascii() and digits.isdigit() and 3 <= len(digits) <= 15):
        raise PhoneError(f"a phone number has 3 to 15 digits, with or without a leading +, unlike {number[:30]!r}")
    return digits


def check_code(code: str) -> str:
    """
    :raises PhoneError: it is no USSD code.
    """
    inner = code[1:-1]
    if not (code.startswith("*") and code.endswith("#") and inner and set(inner) <= set("0123456789*#")):
        raise PhoneError("a USSD code starts with * and ends with #, as *120*8864#")
    if len(code) > 50:
        raise PhoneError("a USSD code has no more than 50 characters")
    return code


def check_text(text: str, what: str, most: int) -> str:
    """
    :raises PhoneError: the text is empty or too long.
    """
    if not text:
        raise PhoneError(f"{what} needs a text")
    if len(text) > most:
        raise PhoneError(f"{what} has no more than {most} characters")
    return text
