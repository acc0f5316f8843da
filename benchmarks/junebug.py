"""
Junebug's forwarding worker, the real one on Python 2.7, on the same servers.

It installs as ``pip install junebug==0.2.0 vumi==0.6.19 Automat==20.2.0
treq==20.3.0 klein==17.10.0``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Callable

import yaml

from benchmarks.figures import CONNECTOR, Bench
from benchmarks.rig import PythonSink
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST
from tests.integration.redis_server import RedisServer


class Junebug:
    """
    :param python: the interpreter of an environment that has junebug.
    """

    def __init__(self, bench: Bench, python: str) -> None:
        if not python or subprocess.run([python, "-c", "import junebug.workers"], stderr=subprocess.DEVNULL).returncode:
            raise SystemExit("--against junebug needs --junebug-python: a Python 2.7 that can import junebug.workers")
        self._bench = bench
        self._twistd = str(Path(python).with_name("twistd"))
        self._python = python

    def inbound(self) -> dict[str, float]:
        """Turn answers at once."""
        return self._run(self._bench.nginx.url, self._bench.count(4_000, 400), self._bench.arriving())

    def inbound_slow(self) -> dict[str, float]:
        """Turn answers in 100 ms."""
        sink = PythonSink(0.1)
        try:
            return self._run(sink.url, self._bench.count(200, 50), lambda: len(sink.came()))
        finally:
            sink.close()

    def _run(self, url: str, count: int, arrived: Callable[[], int]) -> dict[str, float]:
        folder = tempfile.mkdtemp(prefix="vumi_turn_junebug_")
        redis = RedisServer()
        redis.start()
        config = {
            "transport_name": CONNECTOR,
            "mo_message_url": url + "/messages",
            "redis_manager": {"host": "127.0.0.1", "port": redis.port},
            "inbound_ttl": 600,
            "outbound_ttl": 600,
            "metric_window": 10.0,
            "amqp_prefetch_count": 20,
        }
        path = Path(folder) / "junebug.yaml"
        path.write_text(yaml.safe_dump(config))
        self._bench.fill(count)
        command = [self._python, self._twistd, "-n", "--pidfile=", "vumi_worker"]
        command += ["--worker-class", "junebug.workers.MessageForwardingWorker", "--config", str(path)]
        command += ["--hostname", "127.0.0.1", "--port", str(self._bench.node.port), "--vhost", VHOST]
        command += ["--username", USERNAME, "--password", PASSWORD]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with open(Path(folder) / "log", "wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            return self._bench.drained(count, [process.pid], arrived)
        finally:
            process.kill()
            process.wait()
            redis.stop()
            shutil.rmtree(folder, ignore_errors=True)
