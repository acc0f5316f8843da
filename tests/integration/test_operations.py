"""
The samples in ``etc`` that run a worker, run: supervisord's, systemd's and the
image's script; and the log that they leave.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Optional

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import HttpPeer
from tests.integration.process import PATIENCE, end_process, run_process, script, start_process, twistd
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST
from tests.integration.requirements import find_program, free_port, missing
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import inbound
from tests.integration.waiting import wait_for
from vumi_turn.channel.config import TurnChannelsApiConfig

ETC = Path(__file__).parent.parent.parent / "etc"

#: What the samples take to be the place of the program.
PROGRAM = "/opt/vumi_turn/bin/twistd"
CONFIGS = "/etc/vumi_turn"


class OperationsCase(BridgeCase):
    """A folder with the samples, changed as the person would who sets a worker up."""

    connector = "operations"

    def setUp(self) -> None:
        super().setUp()
        if self.rig.worker.running:
            self.rig.worker.stop()
        self.folder = Path(tempfile.mkdtemp(prefix="vumi_turn_etc_"))
        self.addCleanup(shutil.rmtree, self.folder)
        for sample in ETC.iterdir():
            if sample.is_file():
                shutil.copy(sample, self.folder)
        self.port = free_port()
        self.http = HttpPeer(self.port, self.http.secret)
        self.change(
            "turn_channels.yaml",
            {
                "connector_name": self.connector,
                "http_bind": f"127.0.0.1:{self.port}",
                "turn_api_url": self.turn.url,
            },
        )
        self.change("vumi.yaml", {"port": self.node.port, "username": USERNAME, "vhost": VHOST})
        #: For !env in the two.
        self.secrets = {
            "TURN_CHANNEL_TOKEN": self.rig.worker.config["auth_token"],
            "TURN_HMAC_SECRET": self.rig.worker.config["turn_hmac_secret"],
            "VUMI_PASSWORD": PASSWORD,
        }
        self.twistd = self.folder / "twistd"
        self.twistd.write_text(f'#!/bin/sh\nexec {shlex.join(twistd())} "$@"\n')
        self.twistd.chmod(0o755)

    def change(self, sample: str, values: dict[str, Any]) -> None:
        """Give options of a YAML sample other values; the rest stays, tags too."""
        path = self.folder / sample
        text = path.read_text()
        for name, value in values.items():
            text, count = re.subn(rf"^{name}:.*$", f"{name}: {json.dumps(value)}", text, flags=re.MULTILINE)
            self.assertEqual(count, 1, name)
        path.write_text(text)

    def healthy(self) -> bool:
        """Whether the worker says that all is well."""
        try:
            return self.http.get("/health").status == 200
        except OSError:
            return False

    def carries_and_stops(self, stop: Callable[[], Any]) -> None:
        """A worker that carries a message, and finishes another one while it is stopped."""
        wait_for(self.healthy, "the worker's health", PATIENCE)
        self.delivered(self.say(inbound()))
        self.turn.decide = lambda request: TurnResponse(delay=2)
        message = self.say(inbound())
        wait_for(lambda: len(self.turn.of("messages")) == 2, "the POST to be under way")
        stop()
        self.turn.wait_for("messages", message["message_id"])
        wait_for(lambda: self.rig.held("inbound") == 0, "its acknowledgement")


class SupervisorTests(OperationsCase):
    """``supervisord.conf``."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("supervisord", "supervisorctl"):
            if not script(name):
                missing("supervisord", "pip install supervisor, or '.[test]'")
        conf = self.folder / "supervisord.conf"
        text = conf.read_text()
        self.assertIn(PROGRAM, text)
        conf.write_text(text.replace(PROGRAM, str(self.twistd)))
        self.supervisord = start_process(
            [*script("supervisord"), "-c", str(conf)],
            folder=self.folder,
            variables=self.secrets,
        )
        self.addCleanup(self.stop_supervisord)

    def stop_supervisord(self) -> None:
        """SIGTERM: it ends its workers, too."""
        end_process(self.supervisord, signal.SIGTERM)

    def ctl(self, *arguments: str) -> str:
        """What ``supervisorctl`` says."""
        command = [*script("supervisorctl"), "-c", str(self.folder / "supervisord.conf"), *arguments]
        return run_process(command, folder=self.folder).stdout

    def log(self) -> str:
        """supervisord's own."""
        return (self.folder / "supervisord.log").read_text()

    def test_stop(self) -> None:
        """The worker comes up, and ``supervisorctl stop`` lets it finish what is under way."""
        self.carries_and_stops(lambda: self.assertIn("stopped", self.ctl("stop", "turn_channels")))
        self.assertIn("STOPPED", self.ctl("status", "turn_channels"))
        self.assertIn("terminated by SIGTERM", self.log())
        self.assertNotIn("SIGKILL", self.log())
        said = (self.folder / "turn_channels.log").read_text()
        self.assertIn("TurnChannelsApi has stopped", said)
        self.assertNotIn("Traceback", said)

    def test_killed(self) -> None:
        """A worker that dies is started again."""
        wait_for(lambda: self.healthy() and "RUNNING" in self.ctl("status"), "the worker to run", PATIENCE)
        pid = int(self.ctl("pid", "turn_channels"))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.ctl("pid", "turn_channels").strip() not in (str(pid), "0"), "another one", PATIENCE)
        wait_for(self.healthy, "its health", PATIENCE)
        self.delivered(self.say(inbound()))

    def test_patience(self) -> None:
        """supervisord waits longer than the worker takes to stop."""
        parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
        parser.read(ETC / "supervisord.conf")
        program = parser["program:turn_channels"]
        self.assertEqual(program["stopsignal"], "TERM")
        self.assertGreaterEqual(int(program["stopwaitsecs"]), seconds_to_stop())


class SystemdTests(OperationsCase):
    """``vumi_turn.service``."""

    def unit(self) -> Path:
        """The unit, with the paths of this machine."""
        text = (ETC / "vumi_turn.service").read_text()
        path = self.folder / "vumi_turn.service"
        path.write_text(text.replace(PROGRAM, str(self.twistd)).replace(CONFIGS, str(self.folder)))
        return path

    def lines(self) -> dict[str, str]:
        """The unit's settings; of those given twice the last."""
        text = self.unit().read_text().replace("\\\n", " ")
        return dict(re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE))

    def analyze(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``systemd-analyze`` on the unit."""
        program = find_program(
            "VUMI_TURN_SYSTEMD_ANALYZE", ["systemd-analyze"], "systemd-analyze", "apt-get install systemd"
        )
        return run_process(
            [program, *arguments, str(self.unit())],
            environ={**os.environ, "SYSTEMD_LOG_LEVEL": "warning", "SYSTEMD_PAGER": ""},
            stderr=subprocess.STDOUT,
        )

    def test_verify(self) -> None:
        """systemd finds nothing to say against the unit."""
        done = self.analyze("verify", "--man=no")
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_security(self) -> None:
        """systemd counts the unit among those that are exposed little (2.0 of 10 at most)."""
        done = self.analyze("security", "--offline=true", "--threshold=20")
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_command(self) -> None:
        """The unit's command runs a worker, which finishes what is under way when it gets the unit's signal."""
        lines = self.lines()
        self.assertEqual(lines["Environment"], "PYTHONUNBUFFERED=1")
        process = start_process(
            shlex.split(lines["ExecStart"]),
            folder="/",
            variables=self.secrets,
        )
        self.addCleanup(end_process, process)

        def stop() -> None:
            process.send_signal(getattr(signal, lines["KillSignal"]))
            # systemd takes this for a clean end.
            self.assertEqual(process.wait(float(lines["TimeoutStopSec"])), -signal.SIGTERM)

        self.carries_and_stops(stop)

    def test_patience(self) -> None:
        """systemd waits longer than the worker takes to stop."""
        self.assertGreaterEqual(int(self.lines()["TimeoutStopSec"]), seconds_to_stop())


class PairUnitsTests(SynchronousTestCase):
    """``vumi_turn@.service`` with its socket: the units of a pair."""

    def test_verify(self) -> None:
        """systemd finds nothing to say against them, and counts the worker's among those that are exposed little."""
        program = find_program(
            "VUMI_TURN_SYSTEMD_ANALYZE", ["systemd-analyze"], "systemd-analyze", "apt-get install systemd"
        )
        folder = Path(tempfile.mkdtemp(prefix="vumi_turn_units_"))
        self.addCleanup(shutil.rmtree, folder)
        drop_ins = folder / "vumi_turn@.service.d"
        drop_ins.mkdir()
        shutil.copy(ETC / "vumi_turn_socket.conf", drop_ins)
        shutil.copy(ETC / "vumi_turn.socket", folder)
        text = (ETC / "vumi_turn@.service").read_text()
        self.assertIn(PROGRAM, text)
        for name in ("vumi_turn@.service", "vumi_turn@a.service"):
            (folder / name).write_text(text.replace(PROGRAM, "/bin/true"))
        environ = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_LEVEL": "warning"}
        worker = str(folder / "vumi_turn@a.service")
        for arguments in (
            ("verify", "--man=no", str(folder / "vumi_turn.socket"), worker),
            ("security", "--offline=true", "--threshold=20", "--no-pager", worker),
        ):
            done = run_process([program, *arguments], environ=environ, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)
            if "verify" in arguments:
                self.assertEqual(done.stdout, "")


def seconds_to_stop() -> float:
    """What the sample's worker may take: shutdown_timeout, and a while to close its connections and to report."""
    sample = (ETC / "turn_channels.yaml").read_text()
    found: Optional[re.Match[str]] = re.search(r"^#? ?shutdown_timeout: (\d+)$", sample, re.MULTILINE)
    assert found is not None
    assert float(found[1]) == TurnChannelsApiConfig._fields["shutdown_timeout"].default
    return float(found[1]) + 12


class EntrypointTests(OperationsCase):
    """``docker-entrypoint.sh``, with the real worker."""

    def test_run(self) -> None:
        """
        From the variables alone a worker comes up; the broker's password is
        not on its command line; SIGTERM reaches it.
        """
        self.node.ctl("change_password", USERNAME, "p@ss: word'\"")
        self.addCleanup(self.node.ctl, "change_password", USERNAME, PASSWORD)
        variables = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "WORKER_CLASS": "vumi_turn.TurnChannelsApi",
            "CONFIG_FILE": str(self.folder / "turn_channels.yaml"),
            "AMQP_HOST": "127.0.0.1",
            "AMQP_PORT": str(self.node.port),
            "AMQP_VHOST": VHOST,
            "AMQP_USERNAME": USERNAME,
            "AMQP_PASSWORD": "p@ss: word'\"",
            "VUMI_OPT_EMPTY_MESSAGE_BODY": '  it\'s: "empty"\n',
            **self.secrets,
        }
        process = start_process(
            [str(self.folder / "docker-entrypoint.sh"), "--log-format", "json"],
            folder=self.folder,
            variables=variables,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(end_process, process)
        wait_for(self.healthy, "the worker's health", PATIENCE)
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        self.assertIn(b"vumi_worker", command)
        self.assertNotIn(b"p@ss", command)
        message = self.say(inbound(content=None))
        self.assertEqual(self.delivered(message)["message"]["text"], {"body": '  it\'s: "empty"'})
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertEqual(json.loads(said.splitlines()[-2])["level"], "info")


class LogTests(OperationsCase):
    """``--log-format json``, as a collector of logs reads it."""

    def test_json(self) -> None:
        """
        Each line that the worker writes to stdout is one JSON object with
        time, level, namespace and message, its fields, and an exception's
        text; nothing comes on stderr.
        """
        path = self.folder / "worker.yaml"
        failing = {"middleware": [{"bad": "tests.integration.failing_middleware.FailingMiddleware"}]}
        config = {**self.rig.worker.config, **failing, "http_bind": f"127.0.0.1:{self.port}", "no_option": 1}
        path.write_text(yaml.safe_dump(config))
        flags = ["--hostname", "127.0.0.1", "--port", str(self.node.port), "--vhost", VHOST, "--log-format", "json"]
        process = start_process(
            [
                *twistd(),
                *("-n", "--pidfile=", "vumi_worker", "--worker-class", "vumi_turn.TurnChannelsApi"),
                *("--config", str(path), *flags),
            ],
            folder=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(end_process, process)
        wait_for(self.healthy, "the worker's health", PATIENCE)
        self.say(inbound(content="two\nlines"))
        error_id = self.parked()["reason"].rsplit(" ", 1)[1].rstrip(".")
        process.send_signal(signal.SIGTERM)
        said, complained = process.communicate(timeout=PATIENCE)
        self.assertEqual(complained, "")
        lines = [json.loads(line) for line in said.splitlines()]
        self.assertGreater(len(lines), 5)
        for line in lines:
            self.assertLessEqual({"time", "level", "namespace", "message"}, set(line), line)
            self.assertIn(line["level"], ("info", "warn", "error", "critical"))
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$")
        (failed,) = [line for line in lines if "Handling a message" in line["message"]]
        self.assertEqual(
            (failed["level"], failed["namespace"], failed["queue"], failed["error_id"]),
            ("critical", "vumi_turn.channel.channel", f"{self.connector}.inbound", error_id),
        )
        self.assertIn("ValueError: cannot take", failed["traceback"])
        self.assertIn("failing_middleware.py", failed["traceback"])
        (warned,) = [line for line in lines if line.get("key") == "no_option"]
        self.assertEqual(warned["level"], "warn")
