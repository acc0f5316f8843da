"""Our own code uses nothing that is deprecated: seen in a run of all unit tests."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import TestCase

import tests

TREE = Path(tests.__file__).parent.parent
#: A warning's file, as Python prints it.
_WARNING = re.compile(r"^(\S+?):\d+: \w*DeprecationWarning: .*$", re.MULTILINE)
#: Said of the clock that stands in for a reactor in tests; a reactor has what is missed.
_CLOCK = "IReactorPluggableNameResolver (twisted.internet.task.Clock)"


class DeprecationTests(TestCase):
    def test_unit_tests(self) -> None:
        """In all unit tests no deprecation warning is caused by our own code."""
        folders = sorted(path.parent.name for path in (TREE / "tests").glob("*/__init__.py"))
        modules = [f"tests.{name}" for name in folders if name != "integration"]
        folder = tempfile.mkdtemp(prefix="vumi_turn_deprecations_")
        self.addCleanup(shutil.rmtree, folder, True)
        command = [sys.executable, "-W", "always::DeprecationWarning", "-W", "always::PendingDeprecationWarning"]
        done = subprocess.run(
            [*command, "-m", "twisted.trial", "--reporter=text", f"--temp-directory={folder}/trial", *modules],
            capture_output=True,
            text=True,
            cwd=TREE,
            timeout=600,
        )
        text = done.stdout + done.stderr
        self.assertIn("successes=", text)
        package = str(TREE / "vumi_turn")
        ours = [match[0] for match in _WARNING.finditer(text) if match[1].startswith(package)]
        self.assertEqual([line for line in ours if _CLOCK not in line], [])
