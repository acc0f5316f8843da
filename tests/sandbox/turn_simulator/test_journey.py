"""The built-in journey."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.conversation.numbering import numbered
from vumi_turn.conversation.rendering import render
from vumi_turn.conversation.screen_options import ScreenOptions
from vumi_turn.conversation.screens import paginate
from vumi_turn.sandbox.turn_simulator.journey import ADVICE, DAYS, HOURS, WELCOME, WRONG, Answer, Journey

CODE = "*120*8864#"


class JourneyTests(SynchronousTestCase):
    """What the clinic's line answers."""

    def setUp(self) -> None:
        self.journey = Journey()

    def say(self, text: str, person: str = "+266111") -> list[Answer]:
        return self.journey.answers(person, text, text == CODE)

    def test_three_steps(self) -> None:
        """Dialling, a button and a row of a list make a booking; only the last answer ends the session."""
        answers = [one for text in (CODE, "Book a visit", "Wednesday") for one in self.say(text)]
        self.assertEqual(
            [answer.text for answer in answers], [WELCOME, DAYS, "Your visit is booked for Wednesday. Goodbye."]
        )
        self.assertEqual([answer.waiting for answer in answers], [True, True, False])
        kinds = [(one.turn["type"], one.turn.get("interactive", {}).get("type")) for one in answers]
        self.assertEqual(kinds, [("interactive", "button"), ("interactive", "list"), ("text", None)])

    def test_numbers(self) -> None:
        """A number chooses like a title."""
        self.say(CODE)
        self.assertEqual(self.say(" 1 ")[0].text, DAYS)
        self.assertIn("Friday", self.say("3")[0].text)

    def test_picture(self) -> None:
        """The opening hours are a picture with words, and the end."""
        self.say(CODE)
        (answer,) = self.say("Opening hours")
        self.assertEqual((answer.turn["type"], answer.turn["image"]["caption"]), ("image", HOURS))
        self.assertFalse(answer.waiting)

    def test_three_pages(self) -> None:
        """The advice has three screens."""
        self.say(CODE)
        (answer,) = self.say("Advice")
        self.assertEqual((answer.text, answer.waiting), (ADVICE, False))
        self.assertEqual(len(paginate(ADVICE, ScreenOptions())), 3)

    def test_wrong_answer(self) -> None:
        """A wrong answer has two messages, of which only the second, the question again, waits."""
        self.say(CODE)
        self.assertEqual([(one.text, one.waiting) for one in self.say("7")], [(WRONG, False), (WELCOME, True)])
        self.say("1")
        self.assertEqual([one.text for one in self.say("Sunday")], [WRONG, DAYS])

    def test_dialling_begins_again(self) -> None:
        """A code starts the menu wherever the person was; after the end anything does."""
        self.say(CODE)
        self.say("1")
        self.assertEqual(self.say(CODE)[0].text, WELCOME)
        self.say("2")
        self.assertEqual(self.say("hello")[0].text, WELCOME)

    def test_people_are_apart(self) -> None:
        """Each person stands in a menu of their own."""
        self.say(CODE, "+266111")
        self.say("1", "+266111")
        self.say(CODE, "+266222")
        self.assertEqual(self.say("1", "+266222")[0].text, DAYS)
        self.assertIn("Monday", self.say("1", "+266111")[0].text)

    def test_rendered(self) -> None:
        """Each message can be shown on a phone that has texts only, its choices numbered."""
        for text in (CODE, "Book a visit"):
            with case(text=text):
                (answer,) = self.say(text)
                lines = numbered(render(answer.turn, answer.text).parts).text.splitlines()
                self.assertEqual([line[:3] for line in lines[-3:]], ["1. ", "2. ", "3. "])
