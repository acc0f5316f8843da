"""
``python -m benchmarks``: measures the worker on this machine.

Starts a private RabbitMQ and nginx as Turn, runs each figure several times, one
after the other so that a noisy minute is spread over all of them, and prints
medians and goals as a table and as JSON. The figures of memory after many
messages are measured once. ``--set`` names what is measured: one channel, many
channels, what a message costs as things grow, start and idle memory,
what sessions, menus and joining cost, or memory after a million messages.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Callable

import vumi_turn
from benchmarks.chart import draw
from benchmarks.figures import Bench
from benchmarks.fleet import Fleet
from benchmarks.footprint import Footprint
from benchmarks.growth import Growth
from benchmarks.inbound import Inbound
from benchmarks.journeys import Journeys
from benchmarks.outbound import Outbound
from benchmarks.report import report_of, table_of
from benchmarks.rig import Nginx, private_broker

#: What a run of a figure is.
Run = Callable[[], dict[str, float]]

SETS = ("channel", "fleet", "growth", "idle", "journeys", "million")

#: These are long, and what they find hardly differs from run to run.
ONCE = ("memory", "memory, a million messages")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often each figure is measured (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full load; 0.02 is a quick look")
    parser.add_argument(
        "--set",
        choices=SETS,
        action="append",
        default=[],
        dest="wanted",
        help="which figures; repeatable; default channel",
    )
    parser.add_argument("--channels", type=int, default=50, help="how many are many, with --set fleet (default 50)")
    parser.add_argument("--chart", type=Path, help="draw the lines of --set growth into this SVG file")
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

    # As in an installed package, also where PYTHONDONTWRITEBYTECODE is set.
    compileall.compile_dir(Path(vumi_turn.__file__).parent, quiet=1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # its servers end with it
    load = os.getloadavg()[0]
    with closing(private_broker()) as node, closing(Nginx()) as nginx:
        rounds = measure(figures_of(Bench(node, nginx, options.scale), options), options.runs)
    report = report_of(rounds, options.scale, options.runs, load)
    print(table_of(report))
    if options.chart:
        draw(rounds, options.chart)
    text = json.dumps(report, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


def figures_of(bench: Bench, options: argparse.Namespace) -> dict[str, Run]:
    """The wanted figures; what is compared stands side by side."""
    sets: dict[str, Callable[[], dict[str, Run]]] = {
        "channel": lambda: channel_figures(bench, options),
        "fleet": Fleet(bench, options.channels).figures,
        "growth": Growth(bench).figures,
        "idle": Footprint(bench).figures,
        "journeys": Journeys(bench).figures,
        "million": lambda: {"memory, a million messages": Footprint(bench).million},
    }
    return {
        name: run
        for wanted in options.wanted or ["channel"]
        for name, run in sets[wanted]().items()
        if not options.only or any(part in name for part in options.only)
    }


def channel_figures(bench: Bench, options: argparse.Namespace) -> dict[str, Run]:
    """Those of one channel."""
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
    figures["start"] = Footprint(bench).start
    figures["memory"] = Footprint(bench).memory
    return figures


def measure(figures: dict[str, Run], runs: int) -> dict[str, list[dict[str, float]]]:
    """Run them all, round by round."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in figures}
    for number in range(runs):
        for name, run in figures.items():
            if name in ONCE and number:
                continue
            began = time.monotonic()
            found = run()
            rounds[name].append(found)
            shown = ", ".join(f"{key} {value:.2f}" for key, value in found.items())
            print(f"run {number + 1}: {name}: {shown} ({time.monotonic() - began:.0f} s)", flush=True)
    return rounds


if __name__ == "__main__":
    main()
