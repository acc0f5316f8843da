"""Which choice a person means, and how long a menu lives."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.conversation.errors import UnreadableValue
from vumi_turn.conversation.menus import (
    ANSWERS,
    Choice,
    Menu,
    OutOfRange,
    TypedThrough,
    choose,
    choose_stored,
    menu_after_message,
    menu_for_input,
)
from vumi_turn.conversation.numbering import numbered
from vumi_turn.conversation.parts import ChoiceKind, ChoicePart
from vumi_turn.conversation.screen_options import ScreenOptions


def menu(*titles: str, kind: ChoiceKind = ChoiceKind.BUTTON) -> Menu:
    """A menu with these titles, numbered from 1, with ids ``id-1`` and so on."""
    return Menu(tuple(Choice(n, kind, f"id-{n}", title) for n, title in enumerate(titles, 1)))


class ChooseTests(SynchronousTestCase):
    """A number or a title, as people type it."""

    def number_of(self, found: Menu, typed: str) -> object:
        """The number of what was chosen, else the outcome's class; the same where the menu was stored."""
        outcome = choose(found, typed)
        self.assertEqual(choose_stored(json.loads(json.dumps(found.to_json())), typed), outcome)
        return outcome.number if isinstance(outcome, Choice) else type(outcome)

    def test_number(self) -> None:
        """A number chooses, in the digits of any script, with space around it and a final dot or bracket."""
        for typed in ("2", " 2 ", "2.", "2)", "2 .", "02", "٢", "२", "፪", "２", "\u200f٢\u200f", "2\n"):
            with case(typed=typed):
                expected = TypedThrough if typed == "፪" else 2  # Ethiopic numerals are not decimal digits.
                self.assertEqual(self.number_of(menu("Yes", "No"), typed), expected)

    def test_title(self) -> None:
        """A title chooses, without regard to case, space around it and a final dot or bracket."""
        found = menu("Yes", "STRASSE", "I agree.", "Eya (Ee)", "هلا", "Já  ne", "Week 12")
        for typed, number in (
            ("yes", 1), (" YES. ", 1), ("Yes)", 1), ("Straße", 2), ("i AGREE", 3), ("I agree.", 3), ("I agree .", 3),
            ("eya (ee)", 4), ("eya (ee", 4), ("هلا", 5), ("ja\u0301 ne", 6), ("week ١٢", 7),
        ):  # fmt: skip
            with case(typed=typed, number=number):
                self.assertEqual(self.number_of(found, typed), number)

    def test_number_wins(self) -> None:
        """A number is the choice with that number, not the one with that title; without the former the latter."""
        found = menu("3", "5", "1")
        self.assertEqual([self.number_of(found, typed) for typed in ("1", "3", "5")], [1, 3, 2])

    def test_same_titles(self) -> None:
        """Of titles that differ only in what is ignored, the exact one is meant, else the first."""
        found = menu("yes", "Yes", "YES.")
        self.assertEqual([self.number_of(found, t) for t in ("Yes", "YES.", "yes", "yEs")], [2, 3, 1, 1])

    def test_neither(self) -> None:
        """Another number is out of range, anything else is typed through."""
        for typed in ("0", "3", "98", "00", "9" * 5000):
            with case(typed=typed):
                self.assertEqual(self.number_of(menu("Yes", "No"), typed), OutOfRange)
        for typed in ("", " ", ".", "Yess", "ye s", "1 2", "1.5", "-1", "+1", "1..", "1. Yes", "²", "½", "Ⅱ"):
            with case(typed=typed):
                self.assertEqual(self.number_of(menu("Yes", "No"), typed), TypedThrough)

    @given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=12), st.text())
    def test_any_text(self, titles: list[str], typed: str) -> None:
        """Each choice is found by its number and each title by itself, or by a number that it is."""
        found = menu(*titles)
        for choice in found.choices:
            with case(choice=choice):
                self.assertIs(choose(found, str(choice.number)), choice)
                by_title = choose(found, choice.title)
                if isinstance(by_title, Choice) and not choice.title.strip(" .)").isdecimal():
                    self.assertEqual(by_title.title.strip(), choice.title.strip())
        self.assertEqual(choose_stored(found.to_json(), typed), choose(found, typed))


class NumbersTests(SynchronousTestCase):
    """The numbers of choices."""

    def numbers(self, count: int, *keys: str) -> list[int]:
        """The numbers of so many choices beside these page keys, which are also those of the lines."""
        shown = numbered([ChoicePart(ChoiceKind.LIST, "x", "T")] * count, keys)
        assert shown.menu is not None
        numbers = [choice.number for choice in shown.menu.choices]
        self.assertEqual(shown.text.split("\n"), [f"{number}. T" for number in numbers])
        return numbers

    def test_keys_are_skipped(self) -> None:
        """Numbers run on and skip what is typed to turn a page, however it is written."""
        self.assertEqual(self.numbers(3, "98"), [1, 2, 3])
        self.assertEqual(self.numbers(4, "2", "3"), [1, 4, 5, 6])
        self.assertEqual(self.numbers(4, "01", "٣"), [2, 4, 5, 6])
        self.assertEqual(self.numbers(3, "#", "n"), [1, 2, 3])
        self.assertEqual(self.numbers(100, "98", "0")[96:], [97, 99, 100, 101])

    def test_keys_of_options(self) -> None:
        """Without pages no number is left out; without a way back only one."""
        self.assertEqual(ScreenOptions(size=0, next_key="2").keys, ())
        self.assertEqual(ScreenOptions(next_key="2").keys, ("2",))
        self.assertEqual(ScreenOptions(back_key="0").keys, ("98", "0"))

    def test_text_alone(self) -> None:
        """A single text stays as it is, and has no menu; among others a blank one leaves no line."""
        for text in ("", " ", "1. Yes\n2. No", "a\n\n"):
            with case(text=text):
                self.assertEqual((numbered([text]).text, numbered([text]).menu), (text, None))
        self.assertEqual(numbered(["a", "", " ", "b\n", "c"]).text, "a\nb\n\nc")
        self.assertEqual(numbered([]).text, "")


class LifeTests(SynchronousTestCase):
    """When a menu is replaced, kept and ended."""

    def test_messages(self) -> None:
        """Choices replace a menu; a message without choices ends it only if it waits for input."""
        old, new = menu("Yes"), menu("No")
        for current in (None, old):
            with case(current=current):
                for waits in (False, True):
                    with case(waits=waits):
                        self.assertIs(menu_after_message(current, new, waits), new)
                self.assertIs(menu_after_message(current, None, False), current)
                self.assertIsNone(menu_after_message(current, None, True))

    def test_inputs(self) -> None:
        """A new session ends a menu, any other input finds it."""
        old = menu("Yes")
        self.assertIs(menu_for_input(old, False), old)
        self.assertIsNone(menu_for_input(old, True))

    def test_json(self) -> None:
        """A menu survives JSON; what is no menu is said to be none."""
        for kind in ChoiceKind:
            with case(kind=kind):
                stored = menu("Yes", "Née 😀", kind=kind)
                self.assertEqual(Menu.from_json(json.loads(json.dumps(stored.to_json()))), stored)
        choice = {"number": 1, "kind": "button", "id": "a", "title": "Yes"}
        changes = (("number", "1"), ("kind", "star"), ("kind", ["button"]), ("id", 1), ("title", None))
        wrong = [{**choice, key: value} for key, value in changes]
        broken: list[object] = [None, [], {}, {"choices": []}, {"choices": "ab"}, {"choices": [{}]}]
        for value in [*broken, *({"choices": [choice, other]} for other in wrong)]:
            with case(value=value):
                self.assertRaises(UnreadableValue, Menu.from_json, value)
                for typed in ("2", "no"):
                    self.assertRaises(UnreadableValue, choose_stored, value, typed)

    def test_answers(self) -> None:
        """A choice is sent as its exact title, or as WhatsApp would tell of the tap."""
        choice = Choice(1, ChoiceKind.LIST, "a", " Yes.")
        self.assertEqual(ANSWERS["text"](choice), {"type": "text", "text": {"body": " Yes."}})
        reply = {"id": "a", "title": " Yes."}
        self.assertEqual(
            ANSWERS["interactive"](choice),
            {"type": "interactive", "interactive": {"type": "list_reply", "list_reply": reply}},
        )
        button = ANSWERS["interactive"](Choice(1, ChoiceKind.BUTTON, "a", " Yes."))
        self.assertEqual(button["interactive"], {"type": "button_reply", "button_reply": reply})

    def test_shows_no_content(self) -> None:
        """What may come into a log shows no title."""
        self.assertNotIn("Yes", repr(menu("Yes")))
