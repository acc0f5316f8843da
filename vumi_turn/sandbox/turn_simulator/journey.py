"""
The built-in journey: a small clinic's line, so that a phone has somebody to talk to.

It is what a flow in Turn would be: it sees inbound messages and answers them,
with buttons, a list, a picture, two messages for a wrong answer and a text
that is longer than a screen. For a channel that takes nothing but text the
same journey numbers its options itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from ..recent import Recent
from .formats import buttons, image, list_of, text_message

MAX_PEOPLE = 1000

WELCOME = "Welcome to the clinic line. What can we do for you?"
DAYS = "Which day suits you?"
HOURS = "We are open Monday to Friday, 8:00 to 16:00. Goodbye."
PICTURE = "https://clinic.example/open.png"
WRONG = "That is no answer we know."
ADVICE = (
    "Bring your clinic card and the medicine that you take. Come half an hour early: the sister measures your weight "
    "and blood pressure first. Eat and drink as always, unless the doctor told you not to. If you are pregnant, bring "
    "your green book too. If you cannot come, dial this number again and choose another day; it costs nothing. Call "
    "112 when you bleed or have a fever. Goodbye."
)

BOOK, OPENING, INFO = "Book a visit", "Opening hours", "Advice"
MENU = (BOOK, OPENING, INFO)
DAY_NAMES = ("Monday", "Wednesday", "Friday")
DAY_NOTES = {"Monday": "babies", "Wednesday": "everybody", "Friday": "antenatal"}


@dataclass(frozen=True)
class Answer:
    """
    One message of the journey's.

    :ivar text: what Turn gives as ``content``.
    :ivar turn: the message in WhatsApp's shape.
    :ivar waiting: whether the person is expected to answer.
    """

    text: str
    turn: dict[str, Any]
    waiting: bool


class Journey:
    """Where each person stands in the menu."""

    def __init__(self) -> None:
        self._step: Recent[str] = Recent(MAX_PEOPLE)

    def reset(self) -> None:
        """Everybody begins anew."""
        self._step.clear()

    def answers(self, person: str, text: str, starts: bool = False) -> list[Answer]:
        """
        The answers to a person's input, in order.

        :param person: the person's address.
        :param text: what they said, or the title of what they chose.
        :param starts: whether this begins a conversation; so does any input of who is in none.
        """
        step = self._step.get(person)
        if step is None or starts:
            return [self._ask_menu(person)]
        return self._menu(person, text) if step == "menu" else self._day(person, text)

    def _menu(self, person: str, text: str) -> list[Answer]:
        choice = _chosen(text, MENU)
        if choice == BOOK:
            return [self._ask_day(person)]
        if choice == OPENING:
            return [self._end(person, HOURS, PICTURE)]
        if choice == INFO:
            return [self._end(person, ADVICE)]
        return self._again(self._ask_menu(person))

    def _day(self, person: str, text: str) -> list[Answer]:
        day = _chosen(text, DAY_NAMES)
        if day is None:
            return self._again(self._ask_day(person))
        return [self._end(person, f"Your visit is booked for {day}. Goodbye.")]

    def _again(self, question: Answer) -> list[Answer]:
        """A wrong answer has two messages: what is wrong, which waits for nothing, and the question again."""
        return [Answer(WRONG, text_message(WRONG), False), question]

    def _ask_menu(self, person: str) -> Answer:
        self._step.put(person, "menu")
        return Answer(WELCOME, buttons(WELCOME, MENU), True)

    def _ask_day(self, person: str) -> Answer:
        self._step.put(person, "day")
        rows = [(day, DAY_NOTES[day]) for day in DAY_NAMES]
        return Answer(DAYS, list_of(DAYS, "Choose", {"Clinic days": rows}), True)

    def _end(self, person: str, text: str, picture: Optional[str] = None) -> Answer:
        self._step.pop(person)
        turn = image(picture, text) if picture is not None else text_message(text)
        return Answer(text, turn, False)


def _chosen(text: str, options: tuple[str, ...]) -> Optional[str]:
    """The option that was named, or numbered."""
    said = text.strip()
    if said.isascii() and said.isdigit() and 1 <= int(said[:4]) <= len(options):
        return options[int(said[:4]) - 1]
    return said if said in options else None
