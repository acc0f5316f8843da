"""Delays that double."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.timing.backoff import Backoff


class BackoffTests(SynchronousTestCase):
    def test_doubles_to_a_minute(self) -> None:
        """1 s doubles up to 60 s, and begins again after a reset."""
        backoff = Backoff()
        self.assertEqual(backoff.current, 1)
        self.assertEqual([backoff.next() for _ in range(8)], [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(backoff.current, 60)
        backoff.reset()
        self.assertEqual(backoff.next(), 1)

    def test_at_once(self) -> None:
        """With ``at_once`` there is no delay before the first."""
        backoff = Backoff(0.5, 3.0, at_once=True)
        self.assertEqual([backoff.next() for _ in range(6)], [0, 0.5, 1, 2, 3, 3])
        backoff.reset()
        self.assertEqual(backoff.next(), 0)
