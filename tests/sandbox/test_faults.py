"""Faults from JSON."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.sandbox.faults import FaultsError, from_json
from vumi_turn.sandbox.phone_network.faults import NetworkFaults
from vumi_turn.sandbox.turn_simulator.faults import TurnFaults


class FromJsonTests(SynchronousTestCase):
    """Faults from JSON."""

    def test_defaults(self) -> None:
        """Fields that are not given are those of no fault."""
        self.assertEqual(from_json(TurnFaults, {}, "turn"), TurnFaults())
        self.assertEqual(from_json(NetworkFaults, {"mode": "late"}, "network").delay, 10.0)

    def test_wrong_values(self) -> None:
        """Each wrong value is named, with what is expected."""
        for value, words in (
            ([], "turn must be an object"),
            ({"mood": "bad"}, "turn.mood is not known; there are mode, delay"),
            ({"mode": "sunny"}, "turn.mode must be one of up, down"),
            ({"mode": []}, "turn.mode must be one of up, down"),
            ({"delay": -1}, "turn.delay must be a number from 0 to 120, not -1"),
            ({"delay": "3"}, "turn.delay must be a number"),
            ({"delay": float("nan")}, "turn.delay must be a number"),
            ({"status": 200}, "turn.status must be a whole number from 300 to 599, not 200"),
            ({"status": True}, "turn.status must be a whole number"),
            ({"retry_after": 1.5}, "turn.retry_after must be a whole number"),
            ({"times": 0}, "turn.times must be a whole number from 1"),
            ({"only": "events"}, "turn.only must be one of message, status"),
        ):
            with case(value=value, words=words):
                error = self.assertRaises(FaultsError, from_json, TurnFaults, value, "turn")
                self.assertIn(words, str(error))
