"""The benchmarks still run, and measure what they say: no word of how fast."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.process import environment
from tests.integration.rabbitmq import RabbitMQ
from tests.integration.requirements import find_program

#: Seconds that the small run may take on a busy machine; a quiet one needs 35.
LONGEST = 180.0

ROOT = Path(__file__).parent.parent.parent

FIGURES = {
    "inbound": {"rate", "cpu_us"},
    "inbound, bare loop": {"rate", "cpu_us"},
    "inbound, bare loop, 20 connections": {"rate", "cpu_us"},
    "inbound, two workers": {"rate", "cpu_us"},
    "inbound, Turn in 100 ms": {"rate", "cpu_us"},
    "two workers, Turn in 100 ms": {"rate", "cpu_us"},
    "outbound": {"rate", "p99_ms", "cpu_us"},
    "outbound, bare loop": {"rate", "p99_ms", "cpu_us"},
    "outbound at half load": {"rate", "median_ms", "p99_ms"},
    "latency at 10/s": {"median_ms", "p99_ms"},
    "start": {"seconds"},
    "memory": {"first_mb", "last_mb", "growth"},
}

#: Those that need no Junebug.
GOALS = {
    "inbound / bare loop",
    "inbound / vumi2 (25/s, quoted)",
    "inbound, Turn in 100 ms",
    "outbound / bare loop",
    "outbound / vumi2 (300/s, quoted)",
    "outbound at half load, p99",
    "latency at 10/s, median",
    "memory, grown by",
    "start",
    "two workers / one",
    "two workers / one, Turn in 100 ms",
}


class BenchmarkTests(SynchronousTestCase):
    def test_small_run(self) -> None:
        """At a fiftieth of the load every figure comes out, and every goal stands beside its number."""
        RabbitMQ().close()  # it is looked for when one is made
        find_program("VUMI_TURN_NGINX", ["nginx", "/usr/sbin/nginx"], "nginx", "apt-get install nginx-light")
        find_program("VUMI_TURN_WRK", ["wrk"], "wrk", "apt-get install wrk")
        path = Path(self.mktemp()).resolve()
        command = [sys.executable, "-m", "benchmarks", "--scale", "0.02", "--runs", "1", "--against", "bare"]
        process = subprocess.Popen(
            [*command, "--json", str(path)],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            printed, _ = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it ends its servers
            printed, _ = process.communicate(timeout=LONGEST)
        self.assertEqual(process.returncode, 0, printed)
        report = json.loads(path.read_text())
        self.assertEqual({name: set(found) for name, found in report["figures"].items()}, FIGURES)
        for name, found in report["figures"].items():
            for key in found.keys() - {"growth"}:
                self.assertGreater(found[key], 0, f"{name}: {key}")
        self.assertEqual({goal["name"] for goal in report["goals"]}, GOALS)
        for name in FIGURES.keys() | GOALS:
            self.assertIn(f"\n{name} ", printed)
        self.assertIn("cores", report["machine"])
        self.assertIn("--scale 0.02", report["command"])
