"""The worker as a process of twistd's: signals, its log's file, and what a failed start leaves."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.integration.bridge_case import BridgeCase
from tests.integration.process import end_process, run_twistd, start_process, twistd
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST
from tests.integration.vumi_words import inbound
from tests.integration.waiting import wait_for
from tests.integration.worker import WORKER_CLASS


class ProcessCase(BridgeCase):
    """A folder with a configuration; the rig's own worker is stopped."""

    connector = "process"

    def setUp(self) -> None:
        super().setUp()
        if self.rig.worker.running:
            self.rig.worker.stop()
        self.folder = Path(tempfile.mkdtemp(prefix="vumi_turn_process_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.config = dict(self.rig.worker.config)
        self.write()

    def write(self, **changes: Any) -> None:
        """The configuration, with some options changed."""
        self.config.update(changes)
        (self.folder / "worker.yaml").write_text(yaml.safe_dump(self.config))

    def flags(self) -> list[str]:
        """The command's, without twistd's own."""
        return [
            *("vumi_worker", "--worker-class", WORKER_CLASS, "--config", "worker.yaml"),
            *("--hostname", "127.0.0.1", "--port", str(self.node.port)),
            *("--username", USERNAME, "--password", PASSWORD, "--vhost", VHOST),
        ]

    def start(self, *of_twistd: str) -> subprocess.Popen[Any]:
        """A worker that logs to a file."""
        process = start_process(
            [*twistd(), "-n", "--logfile", "worker.log", *of_twistd, *self.flags()], folder=self.folder
        )
        self.addCleanup(end_process, process)
        wait_for(lambda: self.rig.worker.health() == 200, "the worker's health", 60)
        return process

    def log(self, name: str = "worker.log") -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


class SignalTests(ProcessCase):
    def test_rotate(self) -> None:
        """SIGUSR1 begins a new file of the log, as twistd's own does, and the worker goes on."""
        process = self.start()
        process.send_signal(signal.SIGUSR1)
        wait_for(lambda: (self.folder / "worker.log.1").exists(), "the old log")
        self.delivered(self.say(inbound()))
        self.assertIn("is starting", self.log("worker.log.1"))
        self.assertIsNone(process.poll())

    def test_reload(self) -> None:
        """
        SIGHUP reads the configuration again: a wrong one changes nothing and is
        said, a changed one is used, and the process is the same all the while.
        """
        process = self.start()
        self.write(max_retries=-1)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "max_retries must be" in self.log(), "the error")
        self.delivered(self.say(inbound()))
        self.write(max_retries=1, empty_message_body="after the reload")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.log().count("listens on") == 2 or "is in use" in self.log(), "the new configuration", 60)
        wait_for(lambda: self.rig.worker.health() == 200, "the worker's health", 60)
        message = self.say(inbound(content=None))
        self.assertEqual(self.delivered(message)["message"]["text"], {"body": "after the reload"})
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "nothing in it has changed" in self.log(), "the unchanged configuration")
        self.assertIsNone(process.poll())
        self.assertNotIn("Traceback", self.log())

    def test_both_on_a_terminal(self) -> None:
        """Without a file there is nothing to rotate, and SIGUSR1 does no harm."""
        process = start_process([*twistd(), "-n", "--pidfile=", *self.flags()], folder=self.folder)
        self.addCleanup(end_process, process)
        wait_for(lambda: self.rig.worker.health() == 200, "the worker's health", 60)
        process.send_signal(signal.SIGUSR1)
        self.delivered(self.say(inbound()))


class FailedStartTests(ProcessCase):
    """A start that fails: the address is taken."""

    def setUp(self) -> None:
        super().setUp()
        self.listener = socket.socket()
        self.addCleanup(self.listener.close)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.write(http_bind=f"127.0.0.1:{self.listener.getsockname()[1]}")

    def test_in_the_foreground(self) -> None:
        """The exit status is 1, and there is no file with the process's id."""
        done = run_twistd("-n", *self.flags(), folder=self.folder)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("cannot start", done.stdout)
        self.assertFalse((self.folder / "twistd.pid").exists())

    def test_as_a_daemon(self) -> None:
        """The command that starts the daemon ends with 1, and there is no file with a process's id."""
        done = run_twistd(*self.flags(), folder=self.folder)
        self.assertEqual(done.returncode, 1, done.stdout)
        wait_for(lambda: not (self.folder / "twistd.pid").exists(), "the file with the id to go")
        self.assertIn("cannot start", self.log("twistd.log"))

    def test_a_daemon_that_starts(self) -> None:
        """The command that starts a daemon ends with 0 once it listens, and SIGTERM takes its file away."""
        self.listener.close()
        self.write(http_bind=self.rig.worker.config["http_bind"])
        done = run_twistd(*self.flags(), folder=self.folder)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("listens on", self.log("twistd.log"))
        path = self.folder / "twistd.pid"
        os.kill(int(path.read_text()), signal.SIGTERM)
        wait_for(lambda: not path.exists(), "the daemon's end", 60)
