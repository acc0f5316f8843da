"""
``python -m benchmarks``: measures the worker on this machine.

Starts a private RabbitMQ and nginx as Turn, runs each figure several times, and
prints medians as a table and as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, Optional

from benchmarks.figures import Bench, Run
from benchmarks.rig import Nginx, command_of_machine, median, private_broker


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often each figure is measured (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full load; 0.02 is a quick look")
    parser.add_argument("--only", action="append", default=[], help="only figures whose name holds this; repeatable")
    parser.add_argument(
        "--against", action="append", choices=["bare", "junebug"], default=[], help="measure these too; repeatable"
    )
    parser.add_argument("--junebug-python", help="a Python 2.7 with junebug")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()

    node = private_broker()
    nginx = Nginx()
    try:
        report = measure(Bench(node, nginx, options.scale), options)
    finally:
        nginx.close()
        node.close()
    print(table_of(report))
    text = json.dumps(report, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Run the wanted figures."""
    figures: dict[str, Run] = {
        "inbound": bench.inbound_at_once,
        "inbound, Turn answers in 100 ms": bench.inbound_slow,
        "outbound": bench.outbound,
        "latency at 10/s": bench.latency,
        "start": bench.start,
        "memory": bench.memory,
        "inbound, two workers": bench.two_workers,
    }
    if "bare" in options.against:
        figures["inbound, bare loop"] = bench.inbound_bare
        figures["outbound, bare loop"] = bench.outbound_bare
    if "junebug" in options.against:
        from benchmarks.junebug import Junebug

        junebug = Junebug(bench, options.junebug_python)
        figures["inbound, Junebug"] = junebug.inbound
        figures["inbound in 100 ms, Junebug"] = junebug.inbound_slow
    results: dict[str, dict[str, float]] = {}
    # Round by round, so that a noisy minute is spread over all figures.
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in figures if _wanted(name, options.only)}
    for number in range(options.runs):
        for name in rounds:
            if name == "memory" and number:
                continue  # one run is 200,000 messages
            began = time.monotonic()
            found = figures[name]()
            rounds[name].append(found)
            shown = ", ".join(f"{key} {value:.1f}" for key, value in found.items())
            print(f"run {number + 1}: {name}: {shown} ({time.monotonic() - began:.0f} s)", flush=True)
    for name, runs in rounds.items():
        results[name] = {key: median([run[key] for run in runs]) for key in runs[0]}
    if "outbound" in results and _wanted("outbound at half load", options.only):
        found = bench.outbound_latency(results["outbound"]["rate"] / 2)
        results["outbound at half load"] = found
    return {
        "machine": command_of_machine(),
        "date": time.strftime("%Y-%m-%d"),
        "scale": options.scale,
        "runs": options.runs,
        "figures": results,
        "ratios": ratios_of(results),
    }


def _wanted(name: str, only: list[str]) -> bool:
    return not only or any(part in name for part in only)


def ratios_of(results: dict[str, dict[str, float]]) -> dict[str, float]:
    """What is a multiple of what."""
    pairs = {
        "inbound / bare loop": ("inbound", "inbound, bare loop"),
        "inbound / Junebug": ("inbound", "inbound, Junebug"),
        "outbound / bare loop": ("outbound", "outbound, bare loop"),
        "two workers / one": ("inbound, two workers", "inbound"),
    }
    return {
        name: results[over]["rate"] / results[under]["rate"]
        for name, (over, under) in pairs.items()
        if over in results and under in results
    }


def table_of(report: dict[str, Any]) -> str:
    """The figures as a table for people."""
    lines = []
    for name, found in report["figures"].items():
        cells = [_cell(key, value) for key, value in found.items()]
        lines.append(f"{name:34} {', '.join(cells)}")
    for name, ratio in report["ratios"].items():
        lines.append(f"{name:34} {ratio:.2f}")
    return "\n".join(lines)


def _cell(key: str, value: float) -> str:
    units = {"rate": "/s", "cpu_us": " µs CPU each", "seconds": " s"}
    unit: Optional[str] = units.get(key)
    if unit is not None:
        return f"{value:.2f}{unit}" if key == "seconds" else f"{value:.0f}{unit}"
    if key == "growth":
        return f"grown by {value * 100:.1f} %"
    name, _, unit = key.rpartition("_")
    return f"{name} {value:.1f} {unit.upper() if unit == 'mb' else unit}"


if __name__ == "__main__":
    main()
