"""The examples of the documentation: their own tests, types and lengths."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from unittest import TestSuite

from twisted.trial.runner import TestLoader
from twisted.trial.unittest import SynchronousTestCase

import vumi_turn
from tests.cases import case

ROOT = Path(vumi_turn.__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"


class ExamplesTests(SynchronousTestCase):
    def test_lengths(self) -> None:
        """The greeter with its state, and its test, have no more than 40 lines each."""
        for name in ("greeter.py", "test_greeter.py"):
            with case(name=name):
                self.assertLessEqual(len((EXAMPLES / name).read_text("utf-8").splitlines()), 40)

    def test_tested(self) -> None:
        """Each example has a test."""
        names = {path.name for path in EXAMPLES.glob("*.py")}
        self.assertEqual(
            {name for name in names if not name.startswith("test_") and f"test_{name}" not in names}, set()
        )

    def test_types(self) -> None:
        """The examples pass mypy --strict, with no configuration of ours."""
        if find_spec("mypy") is None:
            self.skipTest("mypy is not installed: pip install 'vumi_turn[lint]'")
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
        command.append(f"--cache-dir={ROOT / '.mypy_cache'}")
        done = subprocess.run(
            [*command, *sorted(path.name for path in EXAMPLES.glob("*.py"))],
            cwd=EXAMPLES,
            env={"MYPYPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            text=True,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)


def testSuite() -> TestSuite:
    """Ours, and those of the examples, which import each other as in a folder of their own."""
    sys.path.insert(0, str(EXAMPLES))
    loader = TestLoader()
    suite: TestSuite = loader.loadClass(ExamplesTests)
    names = sorted(path.stem for path in EXAMPLES.glob("test_*.py"))
    return TestSuite([suite, *(loader.loadByName(name) for name in names)])
