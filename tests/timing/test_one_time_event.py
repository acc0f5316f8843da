"""Something that happens once."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.timing.one_time_event import OneTimeEvent


class OneTimeEventTests(SynchronousTestCase):
    def test_before_and_after(self) -> None:
        """Who waits before it is told when it happens, who waits after it at once, all the same."""
        event: OneTimeEvent[int] = OneTimeEvent()
        early = event.wait(), event.wait()
        self.assertNoResult(early[0])
        event.fire(7)
        event.fire(8)
        self.assertEqual([self.successResultOf(each) for each in (*early, event.wait())], [7, 7, 7])
        self.assertTrue(event.happened)

    def test_one_gives_up(self) -> None:
        """One that stops waiting concerns nobody else."""
        event: OneTimeEvent[None] = OneTimeEvent()
        first, second = event.wait(), event.wait()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        event.fire(None)
        self.assertIsNone(self.successResultOf(second))
