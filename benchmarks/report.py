"""What was measured, as JSON and as a table for people."""

from __future__ import annotations

import shlex
import sys
import time
from typing import Any

from benchmarks.goals import ALSO, GOALS, Rounds
from benchmarks.rig import machine, median

UNITS = {"rate": "/s", "cpu_us": " µs CPU each", "seconds": " s"}


def report_of(rounds: Rounds, scale: float, runs: int, load: float) -> dict[str, Any]:
    """
    All that was found, for JSON.

    :param load: how many processes ran on the machine before the first run.
    """
    return {
        "machine": {**machine(), "load_before": load},
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "scale": scale,
        "runs": runs,
        "figures": {
            name: {key: median([run[key] for run in found]) for key in found[0]} for name, found in rounds.items()
        },
        "goals": [
            {
                "name": goal.name,
                "measured": measured,
                "unit": goal.unit.strip(),
                ("at_least" if goal.at_least else "at_most"): goal.goal,
                "met": goal.met_by(measured),
            }
            for goal in GOALS
            if (measured := goal.measure(rounds)) is not None
        ],
        "also": {goal.name: measured for goal in ALSO if (measured := goal.measure(rounds)) is not None},
        "rounds": {name: [dict(found) for found in runs] for name, runs in rounds.items()},
    }


def table_of(report: dict[str, Any]) -> str:
    """The same for people: medians, and then each goal beside what was measured."""
    where = report["machine"]
    lines = [
        f"{report['date']}  {where['cpu']}, {where['cores']} cores, Python {where['python']}, RabbitMQ on the same"
        f" machine; load before: {where['load_before']:.1f}",
        report["command"],
        "",
        f"{'figure':46} median of {report['runs']}",
    ]
    for name, found in report["figures"].items():
        lines.append(f"{name:46} {', '.join(_cell(key, value) for key, value in found.items())}")
    lines += ["", f"{'goal':46} {'measured':>10}  {'goal':>14}"]
    for goal in report["goals"]:
        word = "at least" if "at_least" in goal else "at most"
        unit = f" {goal['unit']}" if goal["unit"] else ""
        bound = f"{word} {goal.get('at_least', goal.get('at_most')):g}{unit}"
        verdict = "" if goal["met"] else "  MISSED"
        lines.append(f"{goal['name']:46} {goal['measured']:10.2f}  {bound:>14}{verdict}")
    for name, measured in report["also"].items():
        lines.append(f"{name:46} {measured:10.2f}")
    return "\n".join(lines)


def _cell(key: str, value: float) -> str:
    if key == "growth":
        return f"grown by {value * 100:.1f} %"
    if key in ("connections", "messages"):
        return f"{value:,.0f} {key}"
    if key in UNITS:
        return f"{value:.2f} s" if key == "seconds" else f"{value:.0f}{UNITS[key]}"
    name, _, unit = key.rpartition("_")
    return f"{name} {value:.1f} {unit.upper() if unit == 'mb' else unit}"
