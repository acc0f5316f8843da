"""The command itself: its help, and how it says that a config is wrong."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Optional

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.process import run_twistd
from tests.integration.requirements import free_port
from tests.integration.worker import WORKER_CLASS

Done = subprocess.CompletedProcess  # what a command left

SECRETS = {"auth_token": "marker-auth-token", "turn_hmac_secret": "marker-hmac-secret"}

GOOD: dict[str, Any] = {
    "connector_name": "config_errors",
    "http_bind": "127.0.0.1:0",
    "turn_api_url": "http://127.0.0.1:9/v1/numbers/x",
    "default_from_addr": "8864",
    **SECRETS,
}

#: Each with a value that cannot be meant.
WRONG: dict[str, Any] = {
    "connector_name": 7,
    "http_bind": "127.0.0.1:eighty",
    "turn_api_url": "whatsapp.turn.io/v1",
    "default_from_addr": ["8864"],
    "auth_token": {"marker-auth-token": 1},
    "turn_hmac_secret": "",
    "request_timeout": "soon",
    "publish_timeout": -1,
    "mo_message_url_timeout": "10 s",
    "event_url_timeout": [],
    "message_cache_class": "vumi_turn.NoSuchCache",
    "message_cache_config": "redis",
    "max_retries": -1,
    "retry_delay_exponent": -2,
    "retry_delay_base": 0,
    "amqp_prefetch_count": 0,
    "max_message_age": "old",
    "max_deliveries": 0,
    "send_to": [],
    "max_request_size": 1.5,
    "shutdown_timeout": "long",
    "middleware": {"not": "a list"},
}


class CommandCase(SynchronousTestCase):
    """Runs the command in a folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vumi_turn_command_"))
        self.addCleanup(shutil.rmtree, self.folder)

    def worker(self, config: Optional[dict[str, Any]], *flags: str, worker_class: str = WORKER_CLASS) -> Done[str]:
        """Start a worker that cannot start."""
        if config is not None:
            (self.folder / "worker.yaml").write_text(yaml.safe_dump(config))
            flags = ("--config", str(self.folder / "worker.yaml"), *flags)
        return run_twistd(
            "-n", "--pidfile=", "vumi_worker", "--worker-class", worker_class, *flags,
            folder=str(self.folder),
        )  # fmt: skip

    def refused(self, done: Done[str], *names: str) -> list[str]:
        """Exit status 1, a line for each of these names, no traceback, no secret; the lines."""
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertNotIn("Traceback", done.stdout)
        for secret in SECRETS.values():
            self.assertNotIn(secret, done.stdout)
        lines = []
        for name in names:
            found = [line for line in done.stdout.splitlines() if name in line]
            self.assertTrue(found, f"no line names {name}:\n{done.stdout}")
            lines.append(found[0])
        return lines


class ConfigErrorTests(CommandCase):
    """A wrong config stops the start."""

    def test_nothing_configured(self) -> None:
        """Every option that has to be there is named at once."""
        self.refused(self.worker({}), *GOOD)

    def test_everything_wrong(self) -> None:
        """All wrong options are reported at once, each with what is wrong."""
        done = self.worker({**GOOD, **WRONG})
        self.refused(done, *WRONG)
        self.assertIn("'soon'", done.stdout)
        self.assertIn("-1", done.stdout)

    def test_one_wrong(self) -> None:
        """One wrong option is one line that names it, what is wrong and what is expected."""
        (line,) = self.refused(self.worker({**GOOD, "max_retries": "three"}), "max_retries")
        self.assertIn("'three'", line)
        self.assertIn("number", line)

    def test_one_channel_of_many(self) -> None:
        """What is wrong in one of many channels is named with the channel, also an option that there is not."""
        good, wrong = ({**GOOD, "connector_name": name} for name in ("ussd", "sms"))
        http_bind = [one.pop("http_bind") for one in (good, wrong)][0]
        wrong["auth_tokn"] = wrong.pop("auth_token")
        wrong["management_bind"] = "127.0.0.1:0"
        done = self.worker({"http_bind": http_bind, "channels": [good, wrong]}, worker_class="vumi_turn.TurnChannels")
        lines = self.refused(
            done,
            "channels[1] (sms).auth_token is missing",
            "channels[1] (sms).management_bind is the process's own",
            "The option channels[1] (sms).auth_tokn is not known, and is ignored: did you mean auth_token?",
        )
        self.assertEqual(len(set(lines)), 3)
        self.assertNotIn("channels[0]", done.stdout)

    def test_set_option_over_the_file(self) -> None:
        """``--set-option`` wins over the file, for the better or the worse."""
        done = self.worker(GOOD, "--set-option", "max_retries:-5")
        (line,) = self.refused(done, "max_retries")
        self.assertIn("-5", line)

    def test_file_missing(self) -> None:
        """A config file that is not there is named."""
        self.refused(self.worker(None, "--config", "nowhere.yaml"), "nowhere.yaml")

    def test_file_not_yaml(self) -> None:
        """A config file that is no YAML, or no mapping, is named, and so is what it asks for in vain."""
        path = self.folder / "broken.yaml"
        for text, name in (
            ("a: [1\nb: 2\n", "broken.yaml"),
            ("- a\n- b\n", "broken.yaml"),
            ("a: !env NO_SUCH_VARIABLE\n", "NO_SUCH_VARIABLE"),
            ("a: !include gone.yaml\n", "gone.yaml"),
        ):
            path.write_text(text)
            self.refused(self.worker(None, "--config", str(path)), name)

    def test_worker_class(self) -> None:
        """A worker class that cannot be loaded is named."""
        done = run_twistd("-n", "--pidfile=", "vumi_worker", "--worker-class", "vumi_turn.NoSuchWorker")
        self.refused(done, "NoSuchWorker")

    def test_port_in_use(self) -> None:
        """An address that somebody else listens on stops the start, and is named."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            done = self.worker({**GOOD, "http_bind": f"127.0.0.1:{port}"}, "--port", str(free_port()))
        self.refused(done, str(port))


class HelpTests(CommandCase):
    """What the command says of itself."""

    def test_help(self) -> None:
        """``--help`` lists every flag, and ends well."""
        done = run_twistd("vumi_worker", "--help")
        self.assertEqual(done.returncode, 0, done.stdout)
        for flag in (
            "worker-class", "worker_class", "config", "set-option", "worker-help", "maxthreads",
            "vumi-config", "hostname", "port", "username", "password", "vhost", "specfile", "sentry",
            "system-id", "heartbeat", "amqp-url", "amqp-ca-file", "log-format",
        ):  # fmt: skip
            self.assertIn(f"--{flag}", done.stdout)

    def test_worker_help(self) -> None:
        """``--worker-help`` documents the worker and every option, and ends well."""
        done = run_twistd("vumi_worker", "--worker-class", WORKER_CLASS, "--worker-help")
        self.assertEqual(done.returncode, 0, done.stdout)
        for name in [*GOOD, *WRONG, "empty_message_body", "management_bind", "worker_name", "transport_type"]:
            self.assertIn(name, done.stdout)

    def test_listed_among_the_commands(self) -> None:
        """twistd lists the command and its deprecated name."""
        done = run_twistd("--help")
        self.assertEqual(done.returncode, 0, done.stdout)
        for name in ("vumi_worker", "start_worker"):
            self.assertIn(name, done.stdout)
