"""The real worker, as an operator starts it: ``twistd -n vumi_worker`` in a process of its own."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

import yaml

from tests.integration.process import PATIENCE, end_process, start_process, twistd
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST
from tests.integration.requirements import free_port
from tests.integration.waiting import wait_for

WORKER_CLASS = "vumi_turn.TurnChannelsApi"

#: What ends a reload, well or not.
RELOADED = re.compile(
    r"was read again, and is in use|the worker is restarted|nothing in it has changed|the one before stays in use"
)


class Worker:
    """
    One worker process after another, always with the same config and port.

    :param config: the worker's options; ``http_bind`` is added.
    :param amqp_port: where the broker is.
    :param flags: more of the command's flags, over those that name the
        broker; with ``--amqp-url`` those are left out.
    :param variables: added to its environment.
    :param worker_class: what runs.
    :ivar folder: where it runs, with its configuration and log.
    :ivar port: where it listens, on 127.0.0.1.
    :ivar health_port: where it tells its health; the same, unless it is changed.
    :ivar started_by: starts its processes, as :func:`~tests.integration.process.start_process` does.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        amqp_port: int,
        flags: Sequence[str] = (),
        variables: Optional[Mapping[str, str]] = None,
        worker_class: str = WORKER_CLASS,
    ) -> None:
        self._worker_class = worker_class
        self.port = self.health_port = free_port()
        self.config = {"http_bind": f"127.0.0.1:{self.port}", **config}
        self._amqp_port = amqp_port
        self._flags = list(flags)
        self._variables = variables
        self.folder = Path(tempfile.mkdtemp(prefix="vumi_turn_worker_"))
        self._log = self.folder / "log"
        self.started_by: Callable[..., subprocess.Popen[Any]] = start_process
        self._process: Optional[subprocess.Popen[Any]] = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None, "the worker does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        """True while there is a process that has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All that its processes have written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self, wait: bool = True) -> None:
        """Start it; return once it listens and its broker and Turn's state allow health 200."""
        assert not self.running, "the worker runs already"
        self.write_config()
        command = [
            *twistd(),
            "-n",
            "--pidfile=",
            "vumi_worker",
            *("--worker-class", self._worker_class, "--config", str(self.path)),
        ]
        if "--amqp-url" not in self._flags:
            command += ["--hostname", "127.0.0.1", "--port", str(self._amqp_port), "--vhost", VHOST]
            command += ["--username", USERNAME, "--password", PASSWORD]
        command += self._flags
        with open(self._log, "ab") as log:
            self._process = self.started_by(
                command, folder=self.folder, variables=self._variables, stdout=log, stderr=log
            )
        if wait:
            self.wait_until_healthy()

    @property
    def path(self) -> Path:
        """Its configuration's file."""
        return self.folder / "worker.yaml"

    def write_config(self) -> None:
        """Write the configuration as it is now; the worker reads it at its start and on SIGHUP."""
        self.path.write_text(yaml.safe_dump(self.config))

    def reload(self) -> None:
        """SIGHUP after :meth:`write_config`; returns when the log says that the configuration was read again."""
        before = len(self.log)
        self.write_config()
        os.kill(self.pid, signal.SIGHUP)
        wait_for(lambda: RELOADED.search(self.log[before:]), "the configuration to be read again")

    def wait_until_healthy(self) -> None:
        """Wait until it consumes and publishes, as ``/health`` has it."""

        def look() -> bool:
            if not self.running:
                raise AssertionError(f"the worker has ended; its log:\n{self.log[-5000:]}")
            return self.health() == 200

        try:
            wait_for(look, "the worker's health", PATIENCE)
        except AssertionError as error:
            if "its log" in str(error):
                raise
            raise AssertionError(f"{error}; its log:\n{self.log[-5000:]}") from None

    def health(self) -> Optional[int]:
        """The status of ``/health``, None when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=10)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def stop(self) -> int:
        """SIGTERM, and its exit status: negative for a signal's number."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL."""
        return self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it, and remove its folder."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        assert process is not None, "the worker does not run"
        try:
            return end_process(process, how)
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{self.log[-5000:]}") from None
