"""
What a message costs as things grow, drawn as SVG.

``python -m benchmarks.chart SVG JSON…`` draws what several runs have found.
"""

from __future__ import annotations

import json
import sys
import time
from html import escape
from pathlib import Path
from typing import Iterator

from benchmarks.goals import Rounds
from benchmarks.rig import median

#: Pixels: a panel's width, the height of what is drawn, and the space around it.
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 240, 200, 48, 40, 44


def draw(rounds: Rounds, path: Path) -> None:
    """
    A panel for each thing that grows; a point for each run, a line through the medians.

    :param rounds: figures named ``channels: 50`` and the like; others are left out.
    """
    lines: dict[str, list[tuple[str, list[float]]]] = {}
    for name, found in rounds.items():
        thing, colon, number = name.partition(": ")
        if not colon:
            continue
        lines.setdefault(thing, []).append((number, [run["cpu_us"] for run in found]))
    most = max(cost for points in lines.values() for _, costs in points for cost in costs) * 1.15
    width, height = WIDTH * len(lines), TOP + HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="12" fill="#333">',
        f"<title>CPU microseconds a message, {time.strftime('%Y-%m-%d')}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for index, (thing, points) in enumerate(lines.items()):
        parts += [f'<g transform="translate({index * WIDTH + LEFT} {TOP})">', *_panel(thing, points, most), "</g>"]
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _panel(thing: str, points: list[tuple[str, list[float]]], most: float) -> Iterator[str]:
    inner = WIDTH - LEFT - 8
    yield f'<text x="{inner / 2}" y="-16" text-anchor="middle" font-weight="bold">{escape(thing)}</text>'
    step = max(round(most / 4, -2), 50)
    for number in range(int(most // step) + 1):
        y = HEIGHT - number * step / most * HEIGHT
        yield f'<line x1="0" x2="{inner}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{number * step:.0f} µs</text>'
    places = []
    for index, (label, costs) in enumerate(points):
        x = inner * (index + 0.5) / len(points)
        yield f'<text x="{x:.1f}" y="{HEIGHT + 20}" text-anchor="middle">{escape(label)}</text>'
        for cost in costs:
            yield f'<circle cx="{x:.1f}" cy="{HEIGHT - cost / most * HEIGHT:.1f}" r="2.5" fill="#8ab"/>'
        places.append(f"{x:.1f},{HEIGHT - median(costs) / most * HEIGHT:.1f}")
    yield f'<polyline points="{" ".join(places)}" fill="none" stroke="#05a" stroke-width="2"/>'


if __name__ == "__main__":
    merged: dict[str, list[dict[str, float]]] = {}
    for file in sys.argv[2:]:
        merged.update(json.loads(Path(file).read_text())["rounds"])
    draw(merged, Path(sys.argv[1]))
