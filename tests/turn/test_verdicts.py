"""
Verdicts and rounds: tables, without time.
"""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.delivery.fakes import FakeAnswer
from vumi_turn.delivery.retries import Action, RetryPlan, Rounds
from vumi_turn.turn.verdicts import BodyMeaning, Verdict, classify, describe

#: What Turn says, and what that means for a message and for a status.
TABLE = [
    ((200, 201, 202, 204, 299), Verdict.DELIVERED, Verdict.DELIVERED),
    ((429,), Verdict.THROTTLED, Verdict.THROTTLED),
    ((408, 425, 502, 503, 504), Verdict.UNAVAILABLE, Verdict.UNAVAILABLE),
    ((401, 403), Verdict.MISCONFIGURED, Verdict.MISCONFIGURED),
    ((300, 301, 302, 304, 307, 308), Verdict.MISCONFIGURED, Verdict.MISCONFIGURED),
    ((404,), Verdict.MISCONFIGURED, Verdict.FAILED),
    ((500, 501, 505, 507, 511, 520, 599), Verdict.FAILED, Verdict.FAILED),
    ((400, 402, 405, 409, 410, 413, 415, 422, 451, 499), Verdict.REFUSED, Verdict.REFUSED),
    ((101, 600, 999), Verdict.FAILED, Verdict.FAILED),
]


class ClassifyTests(SynchronousTestCase):
    """What an answer means."""

    def test_accepted_that_is_none(self) -> None:
        """What the body says counts with a 2xx, and only with that."""
        for meaning, verdict in (
            (BodyMeaning.ERRORS, Verdict.REFUSED),
            (BodyMeaning.TOO_MANY, Verdict.THROTTLED),
            (BodyMeaning.WEB_PAGE, Verdict.MISCONFIGURED),
        ):
            with case(meaning=meaning, verdict=verdict):
                for kind in ("message", "status"):
                    with case(kind=kind):
                        self.assertIs(classify(kind, FakeAnswer(201, meaning=meaning)), verdict)
                self.assertIs(classify("message", FakeAnswer(503, meaning=meaning)), Verdict.UNAVAILABLE)
                self.assertIn("status 201 with a", describe(FakeAnswer(201, meaning=meaning)))

    def test_statuses(self) -> None:
        """Every status belongs to the class that the contract gives it."""
        for statuses, for_message, for_status in TABLE:
            with case(for_message=for_message, for_status=for_status):
                for status in statuses:
                    with case(status=status):
                        self.assertIs(classify("message", FakeAnswer(status)), for_message)
                        self.assertIs(classify("status", FakeAnswer(status)), for_status)

    def test_no_answer(self) -> None:
        """Whatever kept an answer from coming, Turn is unavailable."""
        for error in ("connect", "dns", "tls", "lost", "timeout", "anything else", None):
            with case(error=error):
                for kind in ("message", "status"):
                    with case(kind=kind):
                        self.assertIs(classify(kind, FakeAnswer(error=error)), Verdict.UNAVAILABLE)

    def test_described(self) -> None:
        """An answer is described by its status or its error, and its detail."""
        self.assertEqual(describe(FakeAnswer(400, detail="bad id")), "status 400: bad id")
        self.assertEqual(describe(FakeAnswer(500)), "status 500")
        self.assertEqual(describe(FakeAnswer(error="timeout")), "timeout")
        self.assertEqual(describe(FakeAnswer()), "no answer")
        self.assertEqual(describe(None), "no answer")


class Highest(random.Random):
    """Draws the highest number there is."""

    def uniform(self, a: float, b: float) -> float:
        return b


class RetryPlanTests(SynchronousTestCase):
    """The waits of a round."""

    def test_bounds_grow(self) -> None:
        """The wait after try n is at most base ** (n * exponent) seconds."""
        plan = RetryPlan(3, 2, 2, Highest())
        self.assertEqual([plan.pause(n) for n in range(3)], [1.0, 4.0, 16.0])
        self.assertEqual(plan.tries, 4)

    def test_drawn_from_zero_up(self) -> None:
        """A wait is drawn from the whole range from 0 to its bound."""
        plan = RetryPlan(3, 2, 2, random.Random(3))
        drawn = [plan.pause(2) for _ in range(500)]
        self.assertTrue(all(0 <= pause <= 16 for pause in drawn))
        self.assertLess(min(drawn), 1)
        self.assertGreater(max(drawn), 15)

    def test_at_most_a_minute(self) -> None:
        """No wait is longer than 60 s, however big the numbers are."""
        self.assertEqual(RetryPlan(9, 2, 2, Highest()).pause(5), 60.0)
        self.assertEqual(RetryPlan(9, 1e300, 1e300, Highest()).pause(9), 60.0)

    def test_exponent_zero(self) -> None:
        """With exponent 0 every wait is at most one second."""
        plan = RetryPlan(3, 5, 0, Highest())
        self.assertEqual([plan.pause(n) for n in range(3)], [1.0, 1.0, 1.0])


class RoundsTests(SynchronousTestCase):
    """What is done after a try that failed."""

    def rounds(self, max_retries: int = 2) -> Rounds:
        return Rounds(RetryPlan(max_retries, 2, 2, Highest()))

    def actions(self, rounds: Rounds, verdict: Verdict, others: bool, times: int) -> list[Action]:
        return [rounds.failed(verdict, others, False).action for _ in range(times)]

    def test_unavailable_with_nobody_accepted(self) -> None:
        """After a whole round in which Turn accepted nothing, Turn is away."""
        self.assertEqual(
            self.actions(self.rounds(), Verdict.UNAVAILABLE, False, 6),
            [Action.AGAIN, Action.AGAIN, Action.AWAY] * 2,
        )

    def test_unavailable_while_others_succeed(self) -> None:
        """After a round in which others were accepted it is held alone, and parked after three."""
        rounds = self.rounds()
        again = [Action.AGAIN, Action.AGAIN]
        self.assertEqual(
            self.actions(rounds, Verdict.UNAVAILABLE, True, 9),
            [*again, Action.HOLD, *again, Action.HOLD, *again, Action.PARK],
        )
        self.assertEqual(rounds.attempts, 9)

    def test_rounds_of_an_outage_do_not_count(self) -> None:
        """Rounds in which Turn accepted nothing never add up to parking."""
        rounds = self.rounds(max_retries=0)
        self.assertEqual(self.actions(rounds, Verdict.UNAVAILABLE, False, 50), [Action.AWAY] * 50)
        self.assertEqual(self.actions(rounds, Verdict.UNAVAILABLE, True, 3), [Action.HOLD, Action.HOLD, Action.PARK])

    def test_waits_of_holding(self) -> None:
        """One that is held alone waits 1 s, then 2 s, before its next round."""
        rounds = self.rounds(max_retries=0)
        self.assertEqual([rounds.failed(Verdict.UNAVAILABLE, True, False).pause for _ in range(2)], [1.0, 2.0])

    def test_waits_of_a_round(self) -> None:
        """The waits between the tries are the plan's, in each round from the first."""
        rounds = self.rounds()
        pauses = [rounds.failed(Verdict.FAILED, False, False).pause for _ in range(6)]
        self.assertEqual(pauses, [1.0, 4.0, 0.0, 1.0, 4.0, 0.0])

    def test_misconfigured_is_one_try(self) -> None:
        """A misconfigured one has no further try in its round."""
        self.assertEqual(self.actions(self.rounds(), Verdict.MISCONFIGURED, False, 2), [Action.AWAY] * 2)
        self.assertEqual(
            self.actions(self.rounds(), Verdict.MISCONFIGURED, True, 3),
            [Action.HOLD, Action.HOLD, Action.PARK],
        )

    def test_failed_while_others_succeed(self) -> None:
        """One that fails while others are accepted is parked after three rounds, as a held one is, for a replay."""
        rounds = self.rounds()
        again = [Action.AGAIN, Action.AGAIN]
        self.assertEqual(
            self.actions(rounds, Verdict.FAILED, True, 8), [*again, Action.HOLD, *again, Action.HOLD, *again]
        )
        step = rounds.failed(Verdict.FAILED, True, False)
        self.assertEqual((step.action, step.code), (Action.PARK, "temporary"))

    def test_failed_with_everybody(self) -> None:
        """One that fails for a round with nobody accepted is held, not parked."""
        self.assertEqual(
            self.actions(self.rounds(), Verdict.FAILED, False, 3), [Action.AGAIN, Action.AGAIN, Action.AWAY]
        )

    def test_refused(self) -> None:
        """A refused one is parked at once, for good."""
        step = self.rounds().failed(Verdict.REFUSED, False, False)
        self.assertEqual((step.action, step.code), (Action.PARK, "permanent"))

    def test_probe_ends_its_round(self) -> None:
        """While Turn is away one try in a held class is all there is to a round."""
        rounds = self.rounds()
        for verdict in (Verdict.UNAVAILABLE, Verdict.MISCONFIGURED):
            with case(verdict=verdict):
                self.assertIs(rounds.failed(verdict, False, True).action, Action.AWAY)
                self.assertEqual(rounds.tries, 0)
