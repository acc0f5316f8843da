"""The built-in journey."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.sandbox.turn_simulator.journey import DAYS, GOODBYE, HOURS, WELCOME, Journey

CODE = "*120*8864#"


class JourneyTests(SynchronousTestCase):
    """What the clinic's menu answers."""

    def setUp(self) -> None:
        self.journey = Journey()

    def say(self, text: str, person: str = "+266111") -> str:
        return self.journey.answer(person, text).text

    def test_three_steps(self) -> None:
        """Dialling, 1 and a day make a booking, and only the last answer ends the session."""
        answers = [self.journey.answer("+266111", text) for text in (CODE, "1", "2")]
        self.assertEqual(
            [answer.text for answer in answers],
            [WELCOME, DAYS, "Your visit is booked for Wednesday. Goodbye."],
        )
        self.assertEqual([answer.waiting for answer in answers], [True, True, False])

    def test_short_ways_out(self) -> None:
        """2 tells the opening hours and 3 says goodbye; both end it."""
        for choice, expected in (("2", HOURS), ("3", GOODBYE)):
            self.say(CODE)
            answer = self.journey.answer("+266111", choice)
            self.assertEqual((answer.text, answer.waiting), (expected, False))

    def test_wrong_choice(self) -> None:
        """A number that is no choice asks the same question again."""
        self.say(CODE)
        self.assertTrue(self.say("7").endswith(WELCOME))
        self.say("1")
        self.assertTrue(self.say("9").endswith(DAYS))
        self.assertIn("Friday", self.say("3"))

    def test_words_begin_again(self) -> None:
        """A code or a word starts the menu, wherever the person was."""
        self.say(CODE)
        self.say("1")
        self.assertEqual(self.say("hello"), WELCOME)
        self.assertEqual(self.say(" 1 "), DAYS)

    def test_people_are_apart(self) -> None:
        """Each person stands in a menu of their own."""
        self.say(CODE, "+266111")
        self.say("1", "+266111")
        self.say(CODE, "+266222")
        self.assertEqual(self.say("1", "+266222"), DAYS)
        self.assertIn("Monday", self.say("1", "+266111"))
