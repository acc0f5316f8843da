"""
``python -m benchmarks``: measures the worker on this machine.

Starts a private RabbitMQ and nginx as Turn, runs each figure several times, one
after the other so that a noisy minute is spread over all of them, and prints
medians and goals as a table and as JSON. The memory figure takes 200,000
messages, and is measured once.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Callable

from benchmarks.figures import Bench
from benchmarks.inbound import Inbound
from benchmarks.outbound import Outbound
from benchmarks.report import report_of, table_of
from benchmarks.rig import Nginx, private_broker

#: What a run of a figure is.
Run = Callable[[], dict[str, float]]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often each figure is measured (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full load; 0.02 is a quick look")
    parser.add_argument("--only", action="append", default=[], help="only figures whose name holds this; repeatable")
    parser.add_argument(
        "--against",
        action="append",
        choices=["asyncio", "bare", "junebug"],
        default=[],
        help="measure these too; repeatable",
    )
    parser.add_argument("--junebug-python", help="a Python 2.7 with junebug")
    parser.add_argument("--json", type=Path, help="write the JSON to this file instead of printing it")
    options = parser.parse_args()

    load = os.getloadavg()[0]
    node = private_broker()
    nginx = Nginx()
    try:
        figures = figures_of(Bench(node, nginx, options.scale), options)
        rounds = measure(figures, options.runs)
    finally:
        nginx.close()
        node.close()
    report = report_of(rounds, options.scale, options.runs, load)
    print(table_of(report))
    text = json.dumps(report, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


def figures_of(bench: Bench, options: argparse.Namespace) -> dict[str, Run]:
    """The wanted figures; what is compared stands side by side."""
    inbound, outbound = Inbound(bench), Outbound(bench)
    figures: dict[str, Run] = {}
    if "junebug" in options.against:
        from benchmarks.junebug import Junebug

        junebug = Junebug(bench, options.junebug_python)
        figures["in 100 ms, Junebug"] = junebug.inbound_slow
        figures["inbound, Junebug"] = junebug.inbound
    figures["inbound"] = inbound.at_once
    if "asyncio" in options.against:
        figures["inbound, asyncio bridge"] = inbound.asyncio
    if "bare" in options.against:
        figures["inbound, bare loop"] = inbound.bare
        figures["inbound, bare loop, 20 connections"] = inbound.bare_kept
    figures["inbound, two workers"] = inbound.two_workers
    figures["inbound, Turn in 100 ms"] = inbound.slow
    if "asyncio" in options.against:
        figures["in 100 ms, asyncio bridge"] = inbound.asyncio_slow
    figures["two workers, Turn in 100 ms"] = inbound.two_workers_slow
    figures["outbound"] = outbound.full_load
    if "asyncio" in options.against:
        figures["outbound, asyncio bridge"] = outbound.asyncio
    if "bare" in options.against:
        figures["outbound, bare loop"] = outbound.bare
    figures["outbound at half load"] = outbound.half_load
    figures["latency at 10/s"] = inbound.latency
    figures["start"] = inbound.start
    figures["memory"] = inbound.memory
    return {
        name: run for name, run in figures.items() if not options.only or any(part in name for part in options.only)
    }


def measure(figures: dict[str, Run], runs: int) -> dict[str, list[dict[str, float]]]:
    """Run them all, round by round."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in figures}
    for number in range(runs):
        for name, run in figures.items():
            if name == "memory" and number:
                continue
            began = time.monotonic()
            found = run()
            rounds[name].append(found)
            shown = ", ".join(f"{key} {value:.2f}" for key, value in found.items())
            print(f"run {number + 1}: {name}: {shown} ({time.monotonic() - began:.0f} s)", flush=True)
    return rounds


if __name__ == "__main__":
    main()
