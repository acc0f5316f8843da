"""
The image's start script, without Docker: what it makes of the environment is
shown by a twistd that only tells how it was called.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.service.broker_options import DEFAULTS
from vumi_turn.service.options import StartWorkerOptions

ETC = Path(__file__).parent.parent / "etc"
SCRIPT = ETC / "docker-entrypoint.sh"

TWISTD = """#!{python}
import json, os, sys
json.dump([sys.argv[1:], os.getpid()], open(os.environ["TOLD"], "w"))
"""

#: Values that a careless script breaks, or runs.
HARD = {
    "spaces": "  two  words ",
    "quotes": """it's "so" `called`""",
    "colons": "a:b: c",
    "lines": "first\nVUMI_OPT_SPOOFED=1\n--set-option\n\nlast\n",
    "shell": "$(touch spoofed) ${HOME} $HOME ; * \\ \\n & | > x",
    "equals": "a=b=c",
    "dash": "-n",
    "empty": "",
    "letters": "é 😀",
}


def shells() -> Iterator[list[str]]:
    """The shells that are here and that an image may have as ``sh``."""
    yield ["sh"]
    for command in (["dash"], ["bash", "--posix"], ["busybox", "sh"]):
        if shutil.which(command[0]):
            yield command


class EntrypointTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        (self.folder / "bin").mkdir(parents=True)
        twistd = self.folder / "bin" / "twistd"
        twistd.write_text(TWISTD.format(python=sys.executable))
        twistd.chmod(0o755)
        self.told = self.folder / "told"

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        return {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "TOLD": str(self.told), **variables}

    def run_script(self, variables: Mapping[str, str], *arguments: str, shell: Optional[list[str]] = None) -> list[str]:
        """The arguments that twistd got; it must have the process that was started."""
        command = [*(shell or []), str(SCRIPT), *arguments]
        process = subprocess.Popen(
            command, env=self.environment(variables), cwd=self.folder, stderr=subprocess.PIPE, text=True
        )
        _, said = process.communicate(timeout=30)
        self.assertEqual((process.returncode, said), (0, ""))
        called, pid = json.loads(self.told.read_text())
        self.assertEqual(pid, process.pid)
        self.assertFalse((self.folder / "spoofed").exists())
        return list(called)

    def options(self, called: list[str], variables: Optional[Mapping[str, str]] = None) -> Any:
        """What the real worker's options make of these arguments."""
        start = called.index("vumi_worker") + 1
        self.assertEqual(called[: start - 1], ["-n", "--pidfile="])
        others = {key: value for key, value in os.environ.items() if not key.startswith(("AMQP_", "SENTRY_"))}
        self.patch(os, "environ", {**others, **(variables or {})})
        options = StartWorkerOptions()
        options.parseOptions(called[start:])
        return options

    def test_nothing_given(self) -> None:
        """Without variables it is the bridge, with the worker's own defaults."""
        options = self.options(self.run_script({}))
        self.assertEqual(options.worker_class_name, "vumi_turn.TurnChannelsApi")
        self.assertEqual(options.vumi_options, dict(DEFAULTS))
        self.assertEqual(options.worker_config, {})

    def test_all_given(self) -> None:
        """Each variable of legacy vumi's image arrives; the password is in no argument."""
        config = self.folder / "a config.yaml"
        config.write_text("connector_name: from_file\ntransport_type: ussd\n")
        variables = {
            "WORKER_CLASS": "some.Worker",
            "CONFIG_FILE": str(config),
            "AMQP_HOST": "rabbit.example",
            "AMQP_PORT": "5673",
            "AMQP_VHOST": "/a vhost",
            "AMQP_USERNAME": "user",
            "AMQP_PASSWORD": "p@ss: \"w'rd\n$HOME",
            "SENTRY_DSN": "https://key@sentry.example/1",
            "VUMI_OPT_CONNECTOR_NAME": "from_environment",
            "VUMI_OPT_MAX_RETRIES": "7",
        }
        called = self.run_script(variables)
        self.assertNotIn("p@ss", " ".join(called))
        options = self.options(called, variables)
        self.assertEqual(options.worker_class_name, "some.Worker")
        self.assertEqual(
            {name: options.vumi_options[name] for name in ("hostname", "port", "vhost", "username", "sentry")},
            {
                "hostname": "rabbit.example",
                "port": "5673",
                "vhost": "/a vhost",
                "username": "user",
                "sentry": "https://key@sentry.example/1",
            },
        )
        self.assertEqual(options.vumi_options["password"], variables["AMQP_PASSWORD"])
        self.assertEqual(
            options.worker_config,
            {"connector_name": "from_environment", "transport_type": "ussd", "max_retries": "7"},
        )

    def test_hard_values(self) -> None:
        """Values come through as they are in each shell, and nothing in them is run or taken for a variable."""
        variables = {f"VUMI_OPT_{name.upper()}": value for name, value in HARD.items()}
        for shell in shells():
            with case(shell=shell):
                called = self.run_script({**variables, "OTHER": "x\nVUMI_OPT_INVENTED=1"}, shell=shell)
                self.assertEqual(self.options(called).set_options, HARD)

    def test_empty_is_none(self) -> None:
        """An empty variable is as good as none."""
        names = ("WORKER_CLASS", "CONFIG_FILE", "AMQP_HOST", "AMQP_PORT", "AMQP_PASSWORD", "SENTRY_DSN")
        empty = dict.fromkeys(names, "")
        self.assertEqual(self.run_script(empty), self.run_script({}))

    def test_url(self) -> None:
        """A URL for the broker may come by a variable too."""
        variables = {"AMQP_URL": "amqps://u:p@rabbit.example/%2F"}
        options = self.options(self.run_script(variables), variables)
        self.assertEqual(options.vumi_options["amqp-url"], variables["AMQP_URL"])

    def test_more_flags(self) -> None:
        """Arguments are more flags, and win over variables."""
        called = self.run_script({"VUMI_OPT_MAX_RETRIES": "7"}, "--log-format", "json", "--set-option", "max_retries:8")
        options = self.options(called)
        self.assertEqual((options["log-format"], options.set_options), ("json", {"max_retries": "8"}))

    def test_command(self) -> None:
        """A first argument that is no flag is run instead, with its arguments as they are."""
        self.assertEqual(self.run_script({"VUMI_OPT_X": "1"}, "twistd", "a b", "--c"), ["a b", "--c"])

    def test_dockerfile(self) -> None:
        """The image has what the script needs, and starts it so that signals reach it."""
        text = re.sub(r"^#.*\n", "", (ETC / "Dockerfile").read_text(), flags=re.MULTILINE)
        lines = re.sub(r"\\\n\s*", "", text).splitlines()
        steps = [line.split(None, 1) for line in lines if line]
        copied = [word for step, rest in steps if step == "COPY" for word in rest.split()[:-1]]
        for name in copied:
            with case(name=name):
                self.assertTrue((ETC.parent / name).exists())
        self.assertLess({f"etc/{SCRIPT.name}", "etc/docker-amqp.yaml"}, set(copied))
        (entry,) = [rest for step, rest in steps if step == "ENTRYPOINT"]
        self.assertEqual(json.loads(entry), [f"/opt/vumi_turn/{SCRIPT.name}"])
        (user,) = [rest for step, rest in steps if step == "USER"]
        self.assertNotEqual(user, "root")
        self.assertTrue(os.access(SCRIPT, os.X_OK))
