"""
One journey of Turn's, gone through on a phone: what it says, what the person
types, and each screen with its length, written down as it happens.
"""

from __future__ import annotations

import textwrap
from typing import Any, Optional, Protocol, Sequence

from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.turn_server import TurnServer
from tests.integration.waiting import wait_for

#: A longer line of a screen is written down in several.
WIDTH = 80

#: The first message: a list with sections.
WELCOME = {
    "type": "interactive",
    "interactive": {
        "type": "list",
        "header": {"type": "text", "text": "Clinic"},
        "body": {"text": "How can we help?"},
        "action": {
            "button": "Open",
            "sections": [
                {
                    "title": "Care",
                    "rows": [
                        {"id": "antenatal", "title": "Antenatal", "description": "before birth"},
                        {"id": "child", "title": "My child"},
                    ],
                },
                {"title": "Other", "rows": [{"id": "nurse", "title": "Ask a nurse"}]},
            ],
        },
    },
}

QUESTION = "How old is your child, in months?"
WRONG = "That is no number."

#: A message of three screens, with buttons on the last of them.
ADVICE = {
    "type": "interactive",
    "interactive": {
        "type": "button",
        "body": {
            "text": (
                "At nine months a child eats mashed family food three times a day, and a snack between. "
                "Wash your hands before each meal.\n"
                "The second measles vaccine is due soon: bring the red book to the clinic, "
                "any weekday from eight in the morning until noon.\n"
                "Come at once if the child has a fever, cannot drink, or breathes fast."
            )
        },
        "footer": {"text": "Shall we remind you?"},
        "action": {
            "buttons": [
                {"type": "reply", "reply": {"id": "yes", "title": "Yes, please"}},
                {"type": "reply", "reply": {"id": "no", "title": "No"}},
            ]
        },
    },
}

GOODBYE = "Thank you. We will send you a message."


class Phone(Protocol):
    """How a person reaches the worker."""

    #: Who they are.
    address: str

    def sends(self, text: str) -> None:
        """The person dials, or types."""

    def shows(self) -> tuple[str, bool]:
        """What the phone shows next, and whether something can be answered to it."""


class Journey:
    """
    One person and Turn.

    :param turn: gets what the worker POSTs.
    :param webhooks: the workers that take Turn's POSTs, each in its turn.
    :ivar lines: what happened.
    """

    def __init__(self, turn: TurnServer, webhooks: Sequence[HttpPeer], phone: Phone) -> None:
        self._turn = turn
        self._webhooks = webhooks
        self._phone = phone
        self._posts = 0
        self._heard = 0
        self.lines: list[str] = []
        self.ids: list[str] = []

    @property
    def text(self) -> str:
        """All that happened, a line each."""
        return "\n".join(self.lines) + "\n"

    def dials(self, text: str) -> None:
        """The first input."""
        self.lines.append(f"the person dials {text}")
        self._phone.sends(text)

    def types(self, text: str) -> None:
        """Any other one."""
        self.lines.append(f"the person types {text}")
        self._phone.sends(text)

    def turn_gets(self) -> None:
        """Turn has got another message."""

        def look() -> Optional[dict[str, Any]]:
            found = [m["message"] for m in self._turn.messages() if m["contact"]["id"] == self._phone.address]
            return found[self._heard] if len(found) > self._heard else None

        message: Any = wait_for(look, f"message {self._heard} at Turn")
        self._heard += 1
        self.lines.append(f"Turn gets        {message['text']['body']}")

    def turn_says(self, message: str | dict[str, Any], waits: bool = True) -> None:
        """Turn POSTs a message to the next of the workers."""
        turn: dict[str, Any] = {"type": "text", "text": {"body": message}} if isinstance(message, str) else message
        content: dict[str, Any] = {"content": message if isinstance(message, str) else None}
        webhook = self._webhooks[self._posts % len(self._webhooks)]
        self._posts += 1
        posted = outbound(self._phone.address, turn=turn, **content, waiting_for_user_input=waits)
        answer = webhook.post(posted)
        assert answer.status == 200, answer.body
        self.ids.append(answer.message_id)
        kind = turn["type"] if turn["type"] == "text" else f"{turn['type']} {turn['interactive']['type']}"
        self.lines.append(f"Turn says        {kind}, {'waits' if waits else 'does not wait'}: {_summary(turn)}")

    def phone_shows(self) -> str:
        """The next screen, with its length."""
        text, open_ = self._phone.shows()
        self.lines.append(f"the phone shows  {len(text)} characters{'' if open_ else ', the end'}")
        for row in text.split("\n"):
            first, *more = textwrap.wrap(row, WIDTH) or [""]
            self.lines += [f"                 | {first}", *(f"                   {part}" for part in more)]
        return text

    def statuses(self) -> dict[str, list[str]]:
        """Turn's statuses by its ids."""
        found: dict[str, list[str]] = {}
        for status in self._turn.statuses():
            found.setdefault(status["id"], []).append(status["status"])
        return found


def _summary(turn: dict[str, Any]) -> str:
    if turn["type"] == "text":
        return str(turn["text"]["body"])
    text = turn["interactive"]["body"]["text"]
    return text if len(text) <= 40 else f"{text[:40]}…"


def go_by_ussd(journey: Journey, service: str) -> None:
    """Dial, a choice by its number, a wrong answer, three pages forward and back, a choice, the end."""
    journey.dials(service)
    journey.turn_gets()
    journey.turn_says(WELCOME)
    journey.phone_shows()
    journey.types("2")
    journey.turn_gets()
    journey.turn_says(QUESTION)
    journey.phone_shows()
    journey.types("nine")
    journey.turn_gets()
    journey.turn_says(WRONG, waits=False)
    journey.turn_says(QUESTION)
    journey.phone_shows()
    journey.types("9")
    journey.turn_gets()
    journey.turn_says(ADVICE)
    journey.phone_shows()
    for key in ("98", "98", "0", "98"):
        journey.types(key)
        journey.phone_shows()
    journey.types("1")
    journey.turn_gets()
    journey.turn_says(GOODBYE, waits=False)
    journey.phone_shows()


def go_by_sms(journey: Journey) -> None:
    """The same: nothing is held, nothing is cut, and choices are made the same way."""
    journey.types("hi")
    journey.turn_gets()
    journey.turn_says(WELCOME)
    journey.phone_shows()
    journey.types("2")
    journey.turn_gets()
    journey.turn_says(QUESTION)
    journey.phone_shows()
    journey.types("nine")
    journey.turn_gets()
    journey.turn_says(WRONG, waits=False)
    journey.phone_shows()
    journey.turn_says(QUESTION)
    journey.phone_shows()
    journey.types("9")
    journey.turn_gets()
    journey.turn_says(ADVICE)
    journey.phone_shows()
    journey.types("yes, PLEASE.")
    journey.turn_gets()
    journey.turn_says(GOODBYE, waits=False)
    journey.phone_shows()
