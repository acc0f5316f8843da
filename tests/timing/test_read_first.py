from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.timing.read_first import ReadFirstTimeout


class ReadFirstTimeoutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.happened: list[str] = []

    def test_expires(self) -> None:
        """At its time and not before, once."""
        ReadFirstTimeout(self.clock, 3, lambda: self.happened.append("expired"))
        self.clock.advance(2.9)
        self.assertEqual(self.happened, [])
        self.clock.advance(0.1)
        self.clock.advance(10)
        self.assertEqual(self.happened, ["expired"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_time(self) -> None:
        """Less than no time is no time."""
        ReadFirstTimeout(self.clock, -1, lambda: self.happened.append("expired"))
        self.clock.advance(0)
        self.assertEqual(self.happened, ["expired"])

    def test_stop(self) -> None:
        """Stopped before, it never expires; after that there is nothing to stop."""
        timeout = ReadFirstTimeout(self.clock, 3, lambda: self.happened.append("expired"))
        timeout.stop()
        timeout.stop()
        self.clock.advance(10)
        self.assertEqual(self.happened, [])
        timeout = ReadFirstTimeout(self.clock, 3, lambda: self.happened.append("expired"))
        self.clock.advance(3)
        timeout.stop()
        self.assertEqual(self.happened, ["expired"])

    def test_what_has_arrived_comes_first(self) -> None:
        """What the reactor reads when the time is over may still stop it."""
        timeout = ReadFirstTimeout(self.clock, 3, lambda: self.happened.append("expired"))
        self.clock.callLater(3, timeout.stop)
        self.clock.advance(3)
        self.assertEqual(self.happened, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
