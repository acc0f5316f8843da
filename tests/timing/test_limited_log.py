"""Log lines that cannot become a flood."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.timing.limited_log import RateLimitedLogger


class RateLimitedLoggerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[LogEvent] = []
        self.log = Logger(observer=self.events.append)  # type: ignore[arg-type]

    def logger(self, **options: Any) -> RateLimitedLogger:
        return RateLimitedLogger(self.log, self.clock, **options)

    def test_first_lines_of_a_minute(self) -> None:
        """Of each minute's lines the first are written, and the next minute begins with how many were not."""
        limited = self.logger(lines=2)
        self.assertEqual([limited.warn("line {n}", n=n) for n in range(5)], [True, True, False, False, False])
        self.assertEqual(limited.left_out, 3)
        self.clock.advance(60)
        self.assertTrue(limited.error("later"))
        self.assertEqual(
            [(event["log_format"], event["log_level"].name) for event in self.events],
            [
                ("line {n}", "warn"),
                ("line {n}", "warn"),
                ("{count} more lines like these were left out", "warn"),
                ("later", "error"),
            ],
        )
        self.assertEqual((self.events[2]["count"], limited.left_out), (3, 0))

    def test_without_telling(self) -> None:
        """Where it shall not tell, the caller can."""
        limited = self.logger(lines=1, tell=False)
        for _ in range(3):
            limited.info("line")
        self.clock.advance(60)
        self.assertEqual(limited.left_out, 2)
        limited.info("line")
        self.assertEqual(len(self.events), 2)
