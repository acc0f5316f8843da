"""
Every message is accounted for, whatever is killed and however Turn behaves.

``python -m tests.integration.chaos`` does the same for longer, with more
messages and other seeds.
"""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.chaos.run import Run
from tests.integration.rabbitmq import shared_rabbitmq

SEED, MESSAGES, SECONDS, STAY = 7, 1000, 14, 5


def _about(run: Run, words: str) -> str:
    """What happened to those that some words name, and all else that was told of them."""
    names = set(re.findall(r"[0-9a-f]{32}|asking \d+-\d+", words))
    lines = [*run.history.splitlines(), *run.log.splitlines()]
    return "\n".join(line[:300] for line in lines if any(name in line for name in names) or " SIG" in line)


class ChaosTests(SynchronousTestCase):
    def test_every_message(self) -> None:
        """Delivered, parked or queued; in order; nothing twice without a reason; each 200 in a queue."""
        run = Run(shared_rabbitmq(), SEED, MESSAGES, SECONDS, STAY)
        report = run.run()
        print(f"\n  {report.text()}")
        self.assertEqual(report.account.wrongs, [], _about(run, " ".join(report.account.wrongs)))
        # There were faults, and the load came through.
        self.assertGreaterEqual(report.account.counts["messages to Turn"]["delivered"], MESSAGES * 0.8)
        self.assertGreaterEqual(len(report.account.counts["troubles"]), 8)
