"""The README's first command, from nothing to the sandbox's page, in a copy of this tree."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.requirements import free_port, servers_are_required
from tests.integration.waiting import wait_for
from tests.pages import ROOT, command_with

#: Seconds for a fresh environment with everything that the sandbox needs.
PATIENCE = 240.0


class InstallTests(SynchronousTestCase):
    timeout = 600

    def setUp(self) -> None:
        if not (servers_are_required() and (ROOT / "setup.py").exists()):
            raise SkipTest("it installs from PyPI: set CI=true to run it in a checkout")
        self.folder = Path(tempfile.mkdtemp(prefix="vumi_turn_install_"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.tree = self.folder / "vumi_turn"
        # Other tests write into what begins with a dot, or is theirs, meanwhile.
        ignored = shutil.ignore_patterns(".*", "artefacts", "*.egg-info", "__pycache__", "_trial_temp*", "build")
        shutil.copytree(ROOT, self.tree, ignore=ignored)

    def test_try_it(self) -> None:
        """One command line leads from a checkout to a page that shows a phone."""
        page, worker = free_port(), free_port()
        command = command_with(".venv/bin/twistd -n vumi_turn_sandbox")
        command += f" --http 127.0.0.1:{page} --worker-http 127.0.0.1:{worker}"
        # A python3 that has venv, whatever this environment is called.
        environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environ["PATH"] = os.pathsep.join([str(Path(sys.base_prefix) / "bin"), environ["PATH"]])
        with open(self.folder / "log", "wb") as log:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.tree,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def page_text() -> str:
            if process.poll() is not None:
                raise AssertionError(f"the command has ended:\n{(self.folder / 'log').read_text()}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{page}/", timeout=10) as response:
                    return str(response.read().decode("utf-8"))
            except (OSError, urllib.error.URLError):
                return ""

        try:
            self.assertIn("<title>vumi_turn sandbox</title>", wait_for(page_text, "the sandbox's page", PATIENCE))
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
