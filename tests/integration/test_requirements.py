"""What integration tests are given by the machine."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.requirements import free_port

ROOT = Path(__file__).resolve().parents[2]

SEED, COUNT = 7, 40

OTHER_PROCESS = f"""
import random
from tests.integration.requirements import free_port
random.seed({SEED})
print(*(free_port() for _ in range({COUNT})))
"""


class FreePortTests(SynchronousTestCase):
    def test_nobody_elses(self) -> None:
        """A port that one process was given is given neither to it again nor to another one, though nobody listens."""
        state = random.getstate()
        self.addCleanup(random.setstate, state)
        random.seed(SEED)
        ours = [free_port() for _ in range(COUNT)]
        random.seed(SEED)
        ours += [free_port() for _ in range(COUNT)]
        command = [sys.executable, "-c", OTHER_PROCESS]
        written = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        theirs = [int(port) for port in written.stdout.split()]
        self.assertEqual(len({*ours, *theirs}), 3 * COUNT)
