"""
The built-in journey: a small clinic menu, so that a phone has somebody to talk to.

It is what a flow in Turn would be: it sees inbound messages and answers them.
A USSD session with it has three steps.
"""

from __future__ import annotations

from typing import NamedTuple

from ..recent import Recent

MAX_PEOPLE = 1000

WELCOME = "Welcome to the clinic line.\n1. Book a visit\n2. Opening hours\n3. Leave"
DAYS = "Which day suits you?\n1. Monday\n2. Wednesday\n3. Friday"
HOURS = "We are open Monday to Friday, 8:00 to 16:00. Goodbye."
GOODBYE = "Thank you, and goodbye."
AGAIN = "Please answer 1, 2 or 3.\n"
DAY_NAMES = {"1": "Monday", "2": "Wednesday", "3": "Friday"}


class Answer(NamedTuple):
    """What to say, and whether the person is expected to answer."""

    text: str
    waiting: bool


class Journey:
    """Where each person stands in the menu."""

    def __init__(self) -> None:
        self._step: Recent[str] = Recent(MAX_PEOPLE)

    def answer(self, person: str, text: str) -> Answer:
        """
        The answer to a person's input.

        :param person: the person's address.
        :param text: what they said. Anything but a number starts the menu
            again: a word by SMS, or the code that a USSD session begins with.
        """
        choice = text.strip()
        step = self._step.get(person)
        if step is None or not choice.isdigit():
            return self._ask(person, "menu", WELCOME)
        if step == "menu":
            return self._menu(person, choice)
        return self._day(person, choice)

    def _menu(self, person: str, choice: str) -> Answer:
        if choice == "1":
            return self._ask(person, "day", DAYS)
        if choice == "2":
            return self._end(person, HOURS)
        if choice == "3":
            return self._end(person, GOODBYE)
        return self._ask(person, "menu", AGAIN + WELCOME)

    def _day(self, person: str, choice: str) -> Answer:
        if choice in DAY_NAMES:
            return self._end(person, f"Your visit is booked for {DAY_NAMES[choice]}. Goodbye.")
        return self._ask(person, "day", AGAIN + DAYS)

    def _ask(self, person: str, step: str, text: str) -> Answer:
        self._step.put(person, step)
        return Answer(text, True)

    def _end(self, person: str, text: str) -> Answer:
        self._step.pop(person)
        return Answer(text, False)
