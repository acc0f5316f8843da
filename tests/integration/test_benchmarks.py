"""The benchmarks still run, and measure what they say: no word of how fast."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.process import environment
from tests.integration.rabbitmq import RabbitMQ
from tests.integration.requirements import find_program

#: Seconds that the small run may take on a busy machine; a quiet one needs 35.
LONGEST = 180.0

ROOT = Path(__file__).parent.parent.parent

#: CPU time of the workers, of RabbitMQ and of Turn.
SHARES = ("cpu_us", "rabbitmq_cpu_us", "turn_cpu_us")

FIGURES = {
    "inbound": {"rate", *SHARES},
    "inbound, bare loop": {"rate", "cpu_us"},
    "inbound, bare loop, 20 connections": {"rate", "cpu_us"},
    "inbound, two workers": {"rate", *SHARES},
    "inbound, Turn in 100 ms": {"rate", *SHARES},
    "two workers, Turn in 100 ms": {"rate", *SHARES},
    "outbound": {"rate", "p99_ms", "cpu_us"},
    "outbound, bare loop": {"rate", "p99_ms", "cpu_us"},
    "outbound at half load": {"rate", "median_ms", "p99_ms"},
    "latency at 10/s": {"median_ms", "p99_ms"},
    "start": {"seconds", "resident_mb"},
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
    "two workers / one, Turn in 100 ms",
}


#: Some of the other sets' figures, and the goals that need no more of them.
OTHER_FIGURES = {
    "idle, one process of all",
    "busy beside all others idle",
    "parked: 100",
    "parked: 10,000",
    "libraries",
    "start",
    "memory, a million messages",
    "POST outside a session",
    "POST outside a session, nothing joined",
    "POST in a session",
    "POST in a session, nothing joined",
    "typed, plain text",
    "typed in a session, no menu",
    "typed in a session, a menu's number",
}
OTHER_GOALS = {
    "start",
    "start, above the libraries",
    "idle memory, above the libraries",
    "memory at a million messages, grown by",
    "many channels, start",
    "many channels, AMQP connections",
    "CPU, POST in a session / POST outside a session",
    "CPU, POST outside a session / POST outside a session, nothing joined",
    "CPU, typed in a session, no menu / typed, plain text",
    "CPU, typed in a session, a menu's number / typed, plain text",
}


class BenchmarkTests(SynchronousTestCase):
    def setUp(self) -> None:
        RabbitMQ().close()  # it is looked for when one is made
        find_program("VUMI_TURN_NGINX", ["nginx", "/usr/sbin/nginx"], "nginx", "apt-get install nginx-light")
        find_program("VUMI_TURN_WRK", ["wrk"], "wrk", "apt-get install wrk")

    def report_of(self, *flags: str) -> tuple[dict[str, Any], str]:
        """What a small run finds, and prints."""
        path = Path(self.mktemp()).resolve()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", "--runs", "1", *flags, "--json", str(path)],
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
        return json.loads(path.read_text()), printed

    def test_small_run(self) -> None:
        """At a fiftieth of the load every figure comes out, and every goal stands beside its number."""
        report, printed = self.report_of("--scale", "0.02", "--against", "bare")
        self.assertEqual({name: set(found) for name, found in report["figures"].items()}, FIGURES)
        for name, found in report["figures"].items():
            for key in found.keys() - {"growth"}:
                self.assertGreater(found[key], 0, f"{name}: {key}")
        self.assertEqual({goal["name"] for goal in report["goals"]}, GOALS)
        for name in FIGURES.keys() | GOALS:
            self.assertIn(f"\n{name} ", printed)
        self.assertIn("cores", report["machine"])
        self.assertIn("--scale 0.02", report["command"])

    def test_other_sets(self) -> None:
        """Many channels, growth, start and idle memory, journeys, and the long run come out too; growth is drawn."""
        chart = Path(self.mktemp()).resolve()
        flags = [f"--set={name}" for name in ("fleet", "growth", "idle", "journeys", "million")]
        flags += [f"--only={part}" for part in ("all", "parked: 1", "libraries", "start", "million", "POST", "typed")]
        report, _ = self.report_of("--scale", "0.01", "--channels", "2", *flags, "--chart", str(chart))
        self.assertEqual(set(report["figures"]), OTHER_FIGURES)
        for figure, found in report["figures"].items():
            for key in found.keys() - {"growth"}:
                self.assertGreater(found[key], 0, f"{figure}: {key}")
        self.assertEqual({goal["name"] for goal in report["goals"]}, OTHER_GOALS)
        labels = [element.text for element in ElementTree.parse(chart).iter() if element.tag.endswith("}text")]
        self.assertLessEqual({"parked", "100", "10,000"}, set(labels))
