"""The phones of the simulated network, and what can be done with each."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Optional

from twisted.internet.interfaces import IDelayedCall

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
    An SMS on a phone.

    :ivar direction: ``out`` for what the person wrote, ``in`` for what came.
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
    :ivar texts: SMS, the oldest first.
    """

    number: str
    screen: Optional[str] = None
    session: Optional[Session] = None
    texts: deque[Text] = field(default_factory=lambda: deque(maxlen=KEEP_TEXTS))

    def to_dict(self) -> dict[str, Any]:
        """The phone as JSON, for the page."""
        session = self.session
        return {
            "number": self.number,
            "screen": self.screen,
            "session": None if session is None else {"code": session.code, "waiting": session.waiting},
            "texts": [
                {"id": t.id, "direction": t.direction, "text": t.text, "at": t.at, "error": t.error} for t in self.texts
            ],
        }


def check_number(number: str) -> str:
    """
    The key under which a phone is known: its digits.

    :raises PhoneError: it is no phone number.
    """
    digits = number[1:] if number.startswith("+") else number
    if not (digits.isascii() and digits.isdigit() and 3 <= len(digits) <= 15):
        raise PhoneError("a phone number has 3 to 15 digits, with or without a leading +")
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
