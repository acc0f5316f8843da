"""What the tests of the command line share."""

from __future__ import annotations

import gc
import io
import sys
from pathlib import Path
from typing import Any, Callable, Optional

import yaml
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.service.options import StartWorkerOptions

BRIDGE = "vumi_turn.TurnChannelsApi"
ECHO = "vumi_turn.vumi.examples.EchoWorker"


class OptionsCase(SynchronousTestCase):
    """Files in a folder of their own, and what is printed."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.frozen: list[str] = []
        self.patch(gc, "freeze", lambda: self.frozen.append("frozen"))

    def file(self, name: str, data: Any) -> str:
        path = self.folder / name
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
        return str(path)

    def options(self, *flags: str, worker_class: Optional[str] = ECHO) -> StartWorkerOptions:
        """What these flags mean."""
        options = StartWorkerOptions()
        named = ("--worker-class", worker_class) if worker_class else ()
        options.parseOptions([*named, *flags])
        return options

    def warned(self) -> list[str]:
        """The lines on stderr since the last time; each is all that a warning is."""
        lines = self.err.getvalue().splitlines()
        self.err.truncate(0)
        self.err.seek(0)
        return lines

    def refusal(self, *flags: str, **options: Any) -> str:
        """Why the flags are refused."""
        return str(self.assertRaises(UsageError, self.options, *flags, **options))

    def ended(self, run: Callable[..., Any], *args: Any, **options: Any) -> list[str]:
        """The lines with which the start ends, with the status of a failure."""
        self.err.truncate(0)
        self.err.seek(0)
        ending = self.assertRaises(SystemExit, run, *args, **options)
        self.assertEqual(ending.code, 1)
        lines = self.err.getvalue().splitlines()
        for line in lines:
            with case(line=line):
                self.assertTrue(line.startswith("vumi_worker: "))
        return [line[len("vumi_worker: ") :] for line in lines]
