"""A test case whose tests share workers that stand by for each other."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.shared_rig import SharedRig
from tests.integration.standby_load import FailOvers, Result
from tests.integration.standby_rig import StandbyRig

#: Seconds within which another worker has to take over.
TAKEN_OVER = 10.0

_shared: SharedRig[StandbyRig] = SharedRig()


class StandbyCase(SynchronousTestCase):
    """
    All tests of a class share one rig; each finds all its workers well, one
    that consumes, empty queues and a Turn that has seen nothing.

    :cvar connector: the workers' connector; each class has another one.
    :cvar count: how many workers there are.
    :cvar queue_type: of the virtual host's queues.
    """

    connector = "standby"
    count = 2
    queue_type = "classic"

    def setUp(self) -> None:
        rig = self.rig = _shared.of(type(self), lambda: StandbyRig(self.connector, self.count, self.queue_type))
        self.node, self.peer, self.turn, self.workers = rig.node, rig.peer, rig.turn, rig.workers
        for worker in self.workers:
            if not worker.running:
                worker.start(wait=False)
        self.holder = rig.wait_until_ready()
        rig.reset()

    def fail_over(self, *how: str) -> Result:
        """
        End the worker that consumes once for each of these, under load. Another one takes over
        within 10 s, nothing is lost, everybody's order holds, and only what was in flight comes twice.
        """
        fail_overs = FailOvers(self.rig)
        for each in how:
            fail_overs.end_holder(each)
        result = fail_overs.finish()
        self.assertLess(max(result.gaps), TAKEN_OVER, result)
        self.assertEqual((result.lost, result.out_of_order, result.not_in_flight), (set(), set(), set()), result)
        return result
