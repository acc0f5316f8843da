"""A time-out that is set often."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.http.lazy_timeout import LazyTimeout


class LazyTimeoutTests(SynchronousTestCase):
    """When it is reached, and how many timers it takes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.reached: list[float] = []
        self.timeout = LazyTimeout(self.clock, lambda: self.reached.append(self.clock.seconds()))

    def test_reached(self) -> None:
        """It is reached once, after the period."""
        self.timeout.set(5)
        self.clock.advance(4.9)
        self.assertEqual(self.reached, [])
        self.clock.pump([0.1, 100])
        self.assertEqual(self.reached, [5])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_longer(self) -> None:
        """A longer period holds from the moment that it is set, with the timer that there is."""
        self.timeout.set(5)
        self.clock.advance(3)
        self.timeout.set(10)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([2, 7.9])
        self.assertEqual(self.reached, [])
        self.clock.advance(0.1)
        self.assertEqual(self.reached, [13])

    def test_shorter(self) -> None:
        """A shorter one is reached in its own time."""
        self.timeout.set(600)
        self.timeout.set(5)
        self.clock.advance(5)
        self.assertEqual(self.reached, [5])

    def test_none(self) -> None:
        """Without a period it is never reached, and a later one counts from its own moment."""
        self.timeout.set(5)
        self.timeout.set(None)
        self.clock.advance(4)
        self.timeout.set(5)
        self.clock.advance(1)
        self.assertEqual(self.reached, [])
        self.clock.advance(4)
        self.assertEqual(self.reached, [9])

    def test_stop(self) -> None:
        """Stopping leaves no timer, and it can be set again."""
        self.timeout.set(5)
        self.timeout.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.timeout.set(1)
        self.clock.advance(1)
        self.assertEqual(self.reached, [1])
