"""What goes wrong, and for how many requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.sandbox.turn_simulator.faults import FaultPlan, TurnFaults


class FaultPlanTests(SynchronousTestCase):
    """The faults of each request."""

    def setUp(self) -> None:
        self.plan = FaultPlan()

    def modes(self, *kinds: str) -> list[str]:
        return [self.plan.next(kind).mode for kind in kinds]

    def test_until_changed(self) -> None:
        """Faults without a number of times stays."""
        self.plan.set(TurnFaults("down"))
        self.assertEqual(self.modes(*["message"] * 3), ["down"] * 3)

    def test_times(self) -> None:
        """Faults for two requests is over after two."""
        self.plan.set(TurnFaults("down", times=2))
        self.assertEqual(self.modes(*["message"] * 3), ["down", "down", "up"])

    def test_only_one_kind(self) -> None:
        """Faults for statuses neither meets messages nor is used up by them."""
        self.plan.set(TurnFaults("error", times=1, only="status"))
        self.assertEqual(self.modes("message", "status", "status"), ["up", "error", "up"])

    def test_script(self) -> None:
        """Scripted faults come one after another, once each unless they say otherwise, and then it is fair."""
        self.plan.set(TurnFaults("hang"))
        self.plan.script([TurnFaults("error", times=2), TurnFaults("down")])
        self.assertEqual(len(self.plan.to_list()), 2)
        self.assertEqual(self.modes(*["message"] * 4), ["error", "error", "down", "up"])
        self.assertEqual(self.plan.to_list(), [])

    def test_script_for_one_kind(self) -> None:
        """A scripted faults waits for a request that it concerns."""
        self.plan.script([TurnFaults("error", only="status"), TurnFaults("down")])
        self.assertEqual(self.modes("message", "status", "message"), ["up", "error", "down"])

    def test_setting_ends_a_script(self) -> None:
        """Faults that is set replaces what was scripted."""
        self.plan.script([TurnFaults("down")])
        self.plan.set(TurnFaults())
        self.assertEqual(self.modes("message"), ["up"])
