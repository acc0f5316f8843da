"""Our own code uses nothing that is deprecated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import vumi_turn

PACKAGE = Path(vumi_turn.__file__).parent

IMPORT_ALL = r"""
import importlib, sys, warnings
warnings.filterwarnings("error", category=DeprecationWarning, module=r"vumi_turn(\.|\Z)")
warnings.filterwarnings("error", category=PendingDeprecationWarning, module=r"vumi_turn(\.|\Z)")
for name in sys.stdin.read().split():
    importlib.import_module(name)
"""


class DeprecationTests(SynchronousTestCase):
    def test_imports(self) -> None:
        """Every module can be imported with the deprecation warnings that it causes as errors."""
        names = [
            ".".join(("vumi_turn", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
            for path in sorted(PACKAGE.rglob("*.py"))
        ]
        done = subprocess.run(
            [sys.executable, "-c", IMPORT_ALL],
            input="\n".join(names),
            capture_output=True,
            text=True,
            cwd=PACKAGE.parent,
            timeout=60,
        )
        self.assertEqual((done.returncode, done.stderr[-2000:]), (0, ""))
