"""
The built-in journey: a small clinic menu, so that a phone has somebody to talk to.

It is what a flow in Turn would be: it sees inbound messages and answers them.
A USSD session with it has three steps.
"""

from __future__ import annotations

from typing import NamedTuple

WELCOME = "Welcome to the clinic line.\n1. Book a visit\n2. Opening hours\n3. Leave"
DAYS = "Which day suits you?\n1. Monday\n2. Wednesday\n3. Friday"
HOURS = "We are open Monday to Friday, 8:00 to 16:00. Goodbye."
GOODBYE = "Thank you, and goodbye."
DAY_NAMES = {"1": "Monday", "2": "Wednesday", "3": "Friday"}


class Answer(NamedTuple):
    """What to say, and whether the person is expected to answer."""

    text: str
    waiting: bool


class Journey:
    """Where each person stands in the menu."""

    def __init__(self) -> None:
        self._step: dict[str, str] = {}

    def answer(self, person: str, text: str) -> Answer:
        """
        The answer to a person's input.

        :param person: the person's address.
        :param text: what they said; anything starts the menu where none is open.
        """
        step = self._step.get(person)
        choice = text.strip()
        if step == "menu":
            return self._menu(person, choice)
        if step == "day":
            return self._day(person, choice)
        return self._ask(person, "menu", WELCOME)

    def forget(self, person: str) -> None:
        """The person's session has ended."""
        self._step.pop(person, None)

    def _menu(self, person: str, choice: str) -> Answer:
        if choice == "1":
            return self._ask(person, "day", DAYS)
        if choice == "2":
            return self._end(person, HOURS)
        if choice == "3":
            return self._end(person, GOODBYE)
        if choice.startswith("*") and choice.endswith("#"):
            return self._ask(person, "menu", WELCOME)  # dialled again
        return self._ask(person, "menu", "Please answer 1, 2 or 3.\n" + WELCOME)

    def _day(self, person: str, choice: str) -> Answer:
        if choice in DAY_NAMES:
            return self._end(person, f"Your visit is booked for {DAY_NAMES[choice]}. Goodbye.")
        if choice.startswith("*") and choice.endswith("#"):
            return self._ask(person, "menu", WELCOME)  # dialled again
        return self._ask(person, "day", "Please answer 1, 2 or 3.\n" + DAYS)

    def _ask(self, person: str, step: str, text: str) -> Answer:
        self._step[person] = step
        return Answer(text, True)

    def _end(self, person: str, text: str) -> Answer:
        self.forget(person)
        return Answer(text, False)
