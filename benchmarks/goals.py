"""What each figure has to reach, and whether it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Mapping, Optional, Sequence

from benchmarks.rig import median

#: One run's numbers of one figure, by their names.
Found = Mapping[str, float]
#: All runs, by the figure's name.
Rounds = Mapping[str, Sequence[Found]]

#: vumi2's figures are quoted, from a machine like the one that these goals
#: were set on: it is not on PyPI, so that it cannot be measured beside ours.
VUMI2_INBOUND = 25.0
VUMI2_INBOUND_SLOW = 17.0
VUMI2_OUTBOUND = 300.0  # the upper end of 235 to 300, without confirms


@dataclass(frozen=True)
class Goal:
    """
    :ivar name: what is looked at.
    :ivar measure: the number, None where it was not measured.
    :ivar goal: the number to reach.
    :ivar at_least: whether more is better.
    :ivar unit: of both, for people.
    """

    name: str
    measure: Callable[[Rounds], Optional[float]]
    goal: float
    at_least: bool = True
    unit: str = ""

    def met_by(self, measured: float) -> bool:
        """Whether that is good enough."""
        return measured >= self.goal if self.at_least else measured <= self.goal


def value(figure: str, key: str, factor: float = 1.0) -> Callable[[Rounds], Optional[float]]:
    """The median of a figure's runs."""

    def measure(rounds: Rounds) -> Optional[float]:
        runs = rounds.get(figure)
        return median([run[key] for run in runs]) * factor if runs else None

    return measure


def ratio(over: str, under: str, key: str = "rate") -> Callable[[Rounds], Optional[float]]:
    """The median of the ratios of two figures that were measured one after the other."""

    def measure(rounds: Rounds) -> Optional[float]:
        pairs = list(zip(rounds.get(over, ()), rounds.get(under, ()), strict=False))
        return median([one[key] / other[key] for one, other in pairs]) if pairs else None

    return measure


def quoted(figure: str, rate: float) -> Callable[[Rounds], Optional[float]]:
    """The ratio to a rate that was not measured here."""
    return value(figure, "rate", 1 / rate)


def difference(of: str, less: str, key: str) -> Callable[[Rounds], Optional[float]]:
    """How much more one figure is than another, by their medians."""

    def measure(rounds: Rounds) -> Optional[float]:
        one, other = value(of, key)(rounds), value(less, key)(rounds)
        return None if one is None or other is None else one - other

    return measure


def two_cores_allow(rounds: Rounds) -> Optional[float]:
    """
    How much faster two workers can be than one where RabbitMQ and Turn need
    the same two cores: by the CPU time of each message in all three.
    """
    found = [
        2e6 / (run["cpu_us"] + run["rabbitmq_cpu_us"] + run["turn_cpu_us"]) / one["rate"]
        for run, one in zip(rounds.get("inbound, two workers", ()), rounds.get("inbound", ()), strict=False)
    ]
    return median(found) if found else None


GOALS = (
    Goal("inbound / Junebug", ratio("inbound", "inbound, Junebug"), 6),
    Goal("inbound / asyncio bridge", ratio("inbound", "inbound, asyncio bridge"), 1.5),
    Goal("CPU, asyncio bridge / inbound", ratio("inbound, asyncio bridge", "inbound", "cpu_us"), 1.5),
    Goal("inbound / bare loop", ratio("inbound", "inbound, bare loop"), 2),
    Goal(f"inbound / vumi2 ({VUMI2_INBOUND:.0f}/s, quoted)", quoted("inbound", VUMI2_INBOUND), 60),
    Goal("inbound, Turn in 100 ms", value("inbound, Turn in 100 ms", "rate"), 190, unit="/s"),
    Goal("outbound / asyncio bridge", ratio("outbound", "outbound, asyncio bridge"), 1.2),
    Goal("CPU, asyncio bridge / outbound", ratio("outbound, asyncio bridge", "outbound", "cpu_us"), 1.2),
    Goal("outbound / bare loop", ratio("outbound", "outbound, bare loop"), 1.2),
    Goal(f"outbound / vumi2 ({VUMI2_OUTBOUND:.0f}/s, quoted)", quoted("outbound", VUMI2_OUTBOUND), 4),
    Goal("outbound at half load, p99", value("outbound at half load", "p99_ms"), 50, False, " ms"),
    Goal("latency at 10/s, median", value("latency at 10/s", "median_ms"), 4, False, " ms"),
    Goal("memory, grown by", value("memory", "growth", 100), 5, False, " %"),
    Goal("start", value("start", "seconds"), 1.5, False, " s"),
    Goal(
        "two workers / one, Turn in 100 ms",
        ratio("two workers, Turn in 100 ms", "inbound, Turn in 100 ms"),
        1.8,
    ),
    Goal("start, above the libraries", difference("start", "libraries", "seconds"), 0.15, False, " s"),
    Goal("idle memory, above the libraries", difference("start", "libraries", "resident_mb"), 5, False, " MB"),
    Goal("memory at a million messages, grown by", value("memory, a million messages", "growth", 100), 5, False, " %"),
    Goal("many channels, start", value("idle, one process of all", "seconds"), 5, False, " s"),
    Goal(
        "many channels' memory / one's",
        ratio("idle, one process of all", "idle, a process of one", "resident_mb"),
        1.5,
        False,
    ),
    Goal("many channels, AMQP connections", value("idle, one process of all", "connections"), 2, False),
    Goal("busy beside all idle / alone", ratio("busy beside all others idle", "busy alone"), 0.95),
    Goal(
        "busy beside a hanging / an idle one",
        ratio("busy beside one whose Turn hangs", "busy beside one idle"),
        0.95,
    ),
    *(
        Goal(f"CPU, {most} / {least}", ratio(most, least, "cpu_us"), 1.1, False)
        for least, most in (
            ("channels: 1", "channels: 10"),
            ("channels: 1", "channels: 50"),
            ("people: 10", "people: 100,000"),
            ("parked: 0", "parked: 10,000"),
        )
    ),
    *(
        Goal(f"CPU, {name} / {plain}", ratio(name, plain, "cpu_us"), 1.05, False)
        for plain, name in (
            ("POST outside a session, nothing joined", "POST outside a session"),
            ("POST outside a session", "POST in a session"),
            ("typed, plain text", "typed in a session, no menu"),
            ("typed, plain text", "typed in a session, a menu's number"),
        )
    ),
)

#: More to know, without a goal: treq's pool keeps 2 connections as it comes, so
#: that most POSTs of the bare loop make a new one; the ratios in CPU time, which
#: a busy machine changes less; the slow Turn's; and what two workers have to
#: share with RabbitMQ and Turn on two cores.
ALSO = (
    Goal("two workers / one", ratio("inbound, two workers", "inbound"), 0),
    Goal("two workers / one that two cores allow", two_cores_allow, 0),
    Goal("CPU, alone / busy beside all idle", ratio("busy alone", "busy beside all others idle", "cpu_us"), 0),
    Goal(
        "CPU, beside an idle / a hanging one",
        ratio("busy beside one idle", "busy beside one whose Turn hangs", "cpu_us"),
        0,
    ),
    Goal("inbound / bare loop that keeps 20 connections", ratio("inbound", "inbound, bare loop, 20 connections"), 0),
    Goal("CPU, bare loop / inbound", ratio("inbound, bare loop", "inbound", "cpu_us"), 0),
    Goal("CPU, Junebug / inbound", ratio("inbound, Junebug", "inbound", "cpu_us"), 0),
    Goal("CPU, bare loop / outbound", ratio("outbound, bare loop", "outbound", "cpu_us"), 0),
    Goal("Turn in 100 ms / Junebug", ratio("inbound, Turn in 100 ms", "in 100 ms, Junebug"), 0),
    Goal(
        f"Turn in 100 ms / vumi2 ({VUMI2_INBOUND_SLOW:.0f}/s, quoted)",
        quoted("inbound, Turn in 100 ms", VUMI2_INBOUND_SLOW),
        0,
    ),
)
