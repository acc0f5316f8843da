"""How the installed commands end."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.commands.running import exit_with

#: A command that says so many lines.
LINES = """
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from vumi_turn.commands.running import exit_with

async def status():
    for _ in range({lines}):
        print("a line")
    return 0

react(lambda reactor: Deferred.fromCoroutine(exit_with(status())))
"""


class ExitTests(SynchronousTestCase):
    def test_status(self) -> None:
        """0 is no failure; any other status ends the process with it."""
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(exit_with(succeed(0)))))
        failed = self.failureResultOf(Deferred.fromCoroutine(exit_with(succeed(3))), SystemExit)
        self.assertEqual(failed.value.code, 3)

    def test_error(self) -> None:
        """A bug is not hidden."""
        self.failureResultOf(Deferred.fromCoroutine(exit_with(fail(ZeroDivisionError()))), ZeroDivisionError)

    def test_nobody_reads(self) -> None:
        """Where its reader has gone a command ends with 1, and says nothing about that."""
        for lines in (1, 100_000):  # Python writes one at its end, and many before
            with case(lines=lines):
                reader, writer = os.pipe()
                os.close(reader)
                done = subprocess.run(
                    [sys.executable, "-c", LINES.format(lines=lines)],
                    stdout=writer,
                    stderr=subprocess.PIPE,
                    timeout=60,
                    text=True,
                )
                os.close(writer)
                self.assertEqual((done.returncode, done.stderr), (1, ""))
