"""The simulated Turn's rate limit."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.sandbox.turn_simulator.rate_limit import RateLimit


class RateLimitTests(SynchronousTestCase):
    """Turn's limit of calls."""

    def test_window(self) -> None:
        """Calls beyond the limit are told how long to wait, and are allowed in the next window."""
        clock = Clock()
        clock.advance(1000)
        limit = RateLimit(clock, calls=2, window=60)
        self.assertEqual([limit.take()[0] for _ in range(2)], [True, True])
        clock.advance(20.5)
        allowed, headers = limit.take()
        self.assertFalse(allowed)
        self.assertEqual(
            headers,
            {
                "X-Ratelimit-Limit": "2",
                "X-Ratelimit-Remaining": "0",
                "X-Ratelimit-Reset": "1060.000",
                "Retry-After": "40",
            },
        )
        clock.advance(40)
        allowed, headers = limit.take()
        self.assertTrue(allowed)
        self.assertEqual(headers["X-Ratelimit-Remaining"], "1")
        self.assertNotIn("Retry-After", headers)
