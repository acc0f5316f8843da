"""Breaking and mending the sandbox's parts."""

from __future__ import annotations

from typing import Any, Mapping

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.sandbox.fault_controls import FaultControls
from vumi_turn.sandbox.faults import FaultsError
from vumi_turn.sandbox.turn_simulator.rate_limit import RateLimit
from vumi_turn.sandbox.turn_simulator.simulator import TurnSimulator


class FaultControlsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.turn = TurnSimulator(
            self.clock,
            token="t",
            secret="s",
            webhook="http://x/",
            post=None,  # type: ignore[arg-type]
            limit=RateLimit(self.clock),
        )
        self.broker = MemoryBroker(self.clock)
        self.told: list[Mapping[str, Any]] = []
        self.controls = FaultControls(self.turn, None, self.broker, self.clock, self.told.append)

    def test_limit(self) -> None:
        """The rate limit can be set and taken away; how much is left of it is told."""
        self.controls.set({"limit": {"calls": 2, "window": 30}})
        assert self.turn.api.limit is not None
        self.turn.api.limit.take()
        self.assertEqual(self.controls.limit(), {"calls": 2, "window": 30, "left": 1, "until": 1030.0})
        self.clock.advance(30)
        self.assertEqual(self.controls.limit(), {"calls": 2, "window": 30, "left": 2, "until": 0})
        self.controls.set({"limit": None})
        self.assertIsNone(self.turn.api.limit)
        self.assertEqual((len(self.told), self.told[-1]["limit"]), (2, None))

    def test_wrong(self) -> None:
        """What cannot be broken, or not like that, is said."""
        for change, words in (
            ({"moon": 1}, "moon cannot be broken; there is turn, turn_script, limit, network, broker"),
            ({"limit": {"calls": 0}}, "limit.calls must be a whole number from 1"),
            ({"limit": {"window": 0}}, "limit.window must be a number from 1"),
            ({"network": {}}, "the phone network is a real one"),
            ({"broker": "gone"}, "broker must be up or away"),
        ):
            with case(change=change, words=words):
                error = self.assertRaises(FaultsError, self.controls.set, change)
                self.assertIn(words, str(error))
        self.assertEqual(self.told, [])

    def test_reset(self) -> None:
        """A reset mends all parts that are simulated, and has Turn's usual limit again."""
        self.controls.set({"turn": {"mode": "hang"}, "limit": None})
        self.controls.reset()
        faults = self.controls.to_dict()
        self.assertEqual((faults["turn"]["mode"], faults["limit"]["calls"], faults["network"]), ("up", 60, None))
