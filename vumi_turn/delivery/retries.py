"""
Rounds of tries: what to do after a try that failed. No time passes here.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

from ..failures.dead_letter import PERMANENT, TEMPORARY
from ..timing.backoff import Backoff
from ..turn.verdicts import HELD_CLASSES, Verdict

#: No wait between tries is longer, in seconds.
LONGEST_PAUSE = 60.0

#: A request is parked after so many failed rounds during which Turn accepted others.
ROUNDS_BEFORE_PARKING = 3


class RetryPlan:
    """
    How many tries a round has, and the waits between them.

    :param max_retries: tries after the first.
    :param base: of the power that bounds each wait.
    :param exponent: what a try's number is multiplied with in that power.
    :param rng: draws the waits, so that many workers don't come back together.
    """

    def __init__(self, max_retries: int, base: float, exponent: float, rng: random.Random) -> None:
        self.tries = 1 + max_retries
        self._base = float(base)
        self._exponent = float(exponent)
        self._rng = rng

    def pause(self, number: int) -> float:
        """Seconds to wait after try ``number`` (0, 1, …) of a round."""
        try:
            bound = self._base ** (number * self._exponent)
        except OverflowError:
            bound = LONGEST_PAUSE
        return self._rng.uniform(0.0, min(bound, LONGEST_PAUSE))


class Action(enum.Enum):
    """What to do with a request after a failed try."""

    #: Try again in this round, after a pause.
    AGAIN = "again"
    #: Only this request waits for its next round.
    HOLD = "hold"
    #: Turn is away: wait until it is back.
    AWAY = "away"
    PARK = "park"


@dataclass(frozen=True)
class Step:
    """
    :ivar pause: seconds, for those that wait.
    :ivar code: ``permanent`` or ``temporary``, for parking.
    :ivar why: the beginning of the reason, for parking.
    """

    action: Action
    pause: float = 0.0
    code: str = TEMPORARY
    why: str = ""


class Rounds:
    """
    One request's rounds.

    :param plan: of each of them.
    :ivar tries: how many failed in this round; 0 at its beginning.
    :ivar attempts: how many failed in all.
    """

    def __init__(self, plan: RetryPlan) -> None:
        self.tries = 0
        self.attempts = 0
        self._plan = plan
        self._failed_rounds = 0
        self._holding = Backoff()

    def failed(self, verdict: Verdict, others_accepted: bool, away: bool) -> Step:
        """
        What to do after a try with this verdict.

        :param others_accepted: Turn has accepted another request since this
            round began.
        :param away: Turn is known to be away.
        """
        self.attempts += 1
        if verdict is Verdict.REFUSED:
            return Step(Action.PARK, code=PERMANENT, why="Turn refused it")
        self.tries += 1
        if away and verdict in HELD_CLASSES:
            self.tries = 0
            return Step(Action.AWAY)
        if verdict is not Verdict.MISCONFIGURED and self.tries < self._plan.tries:
            return Step(Action.AGAIN, pause=self._plan.pause(self.tries - 1))
        self.tries = 0
        if not others_accepted:
            return Step(Action.AWAY)
        self._failed_rounds += 1
        if self._failed_rounds < ROUNDS_BEFORE_PARKING:
            return Step(Action.HOLD, pause=self._holding.next())
        did = "failed on it" if verdict is Verdict.FAILED else "did not take it"
        return Step(Action.PARK, why=f"Turn {did} in {ROUNDS_BEFORE_PARKING} rounds while it accepted others")
