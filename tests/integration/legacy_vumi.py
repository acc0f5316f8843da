"""
Legacy vumi 0.6 on Python 2.7, as its own processes.

It needs a Python 2.7 with vumi: name it in ``VUMI_TURN_LEGACY_PYTHON``, or have
``python2.7`` on PATH, or have one under pyenv. To get one: a Python 2.7, and
with its pip ``pip install vumi==0.6.19 Automat==20.2.0``. Without it the tests
are skipped; with ``VUMI_TURN_REQUIRE_LEGACY=1`` they fail.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional
from unittest import SkipTest

import yaml

from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST, RabbitMQ

PYTHON = "VUMI_TURN_LEGACY_PYTHON"
REQUIRE = "VUMI_TURN_REQUIRE_LEGACY"
HINT = (
    f"these tests need a Python 2.7 with vumi: name it in {PYTHON}, or have it on PATH as python2.7, or under pyenv;"
    " its pip installs vumi==0.6.19 Automat==20.2.0"
)

#: twistd, of which nobody else on the network can reach anything: legacy vumi's
#: HTTP transports listen on every address.
TWISTD = """
from twisted.internet import reactor
from twisted.scripts.twistd import run
listen = reactor.listenTCP
reactor.listenTCP = lambda port, factory, backlog=50, interface="": listen(port, factory, backlog, "127.0.0.1")
run()
"""

#: Seconds that an interpreter, or a worker's start or end, may take on a busy machine.
PATIENCE = 60.0


def _candidates() -> Iterator[str]:
    named = os.environ.get(PYTHON)
    if named:
        yield named
        return
    on_path = shutil.which("python2.7")
    if on_path:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from (str(path) for path in sorted(pyenv.glob("versions/*/bin/python2.7")))


def _has_vumi(python: str) -> bool:
    probe = [python, "-W", "ignore", "-c", "import vumi.transports.failures"]
    try:
        return subprocess.run(probe, capture_output=True, env=environment(), timeout=PATIENCE).returncode == 0
    except OSError:
        return False


@lru_cache(maxsize=None)
def _found_python() -> Optional[str]:
    return next((python for python in _candidates() if _has_vumi(python)), None)


def needs_amqp_0_8(node: RabbitMQ) -> None:
    """
    Skip where legacy vumi cannot connect.

    :raises SkipTest: the node refuses its version of AMQP.
    """
    if node.version[:1] >= (4,):
        raise SkipTest("legacy vumi speaks AMQP 0-8, which RabbitMQ 4 refuses: these tests need RabbitMQ 3")


def legacy_python() -> str:
    """
    An interpreter that can import legacy vumi.

    :raises SkipTest: there is none; where one is required, it is a failure.
    """
    python = _found_python()
    if python is None:
        if os.environ.get(REQUIRE, "") not in ("", "0"):
            raise AssertionError(HINT)
        raise SkipTest(HINT)
    return python


def environment() -> dict[str, str]:
    """Ours without what leads Python to our own code, which Python 2 cannot read."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


class LegacyWorker:
    """
    One process of legacy vumi's own ``twistd vumi_worker``, started.

    :param worker_class: a class of legacy vumi's, by its dotted name.
    :param config: its options.
    :param amqp_port: where the broker is, on 127.0.0.1.
    """

    def __init__(self, worker_class: str, config: Mapping[str, Any], amqp_port: int) -> None:
        python = legacy_python()
        self.name = worker_class.rpartition(".")[2]
        self._folder = Path(tempfile.mkdtemp(prefix="vumi_turn_legacy_"))
        self._log = self._folder / "log"
        path = self._folder / "worker.yaml"
        path.write_text(yaml.safe_dump(dict(config)))
        twistd = [python, "-B", "-W", "ignore", "-c", TWISTD]
        what = ["vumi_worker", "--worker-class", worker_class, "--config", str(path)]
        broker = ["--hostname", "127.0.0.1", "--port", str(amqp_port), "--vhost", VHOST]
        broker += ["--username", USERNAME, "--password", PASSWORD]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [*twistd, "-n", "--pidfile=", *what, *broker],
                cwd=self._folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """All that it has written."""
        return self._log.read_text(errors="replace")

    def check(self) -> None:
        """
        :raises AssertionError: it has ended by itself; with its log.
        """
        if self._process.poll() is not None:
            raise AssertionError(f"legacy vumi's {self.name} has ended; its log:\n{self.log[-5000:]}")

    def close(self) -> None:
        """End it, and remove its folder."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
