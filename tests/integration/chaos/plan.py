"""
What a seed decides: who says what and when, and the faults. Nothing happens here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.integration.chaos.ledger import JUNK, KEY, NOTHING, POISON, REFUSED, TO_TURN

#: Turn's faults. In the last one it is merely slow.
REFUSE, HANG, THROTTLE, SEVER, ERRORS, LIE, SLOW = (
    "refuses",
    "hangs",
    "throttles",
    "cuts",
    "errors",
    "lies",
    "is slow",
)
TURN_FAULTS = (REFUSE, HANG, THROTTLE, SEVER, ERRORS, LIE, SLOW)

KILL_BROKER, KILL_WORKER, STOP_WORKER, KILL_BOTH, FREEZE_BROKER, FREEZE_AND_KILL = (
    "broker killed",
    "worker killed",
    "worker stopped",
    "both killed",
    "broker frozen",
    "broker frozen and killed",
)
PROCESS_FAULTS = (KILL_WORKER, KILL_BROKER, STOP_WORKER, KILL_BOTH, FREEZE_BROKER, FREEZE_AND_KILL)

#: What is to become of what people say, with its share.
EXPECTED = {TO_TURN: 0.925, REFUSED: 0.01, POISON: 0.001, JUNK: 0.012, NOTHING: 0.022, KEY: 0.03}

#: What Turn wants to be sent.
PLAIN, MENU, LONG = "plain", "menu", "long"

#: The load goes on for so many times the time with faults, which stands still while something is down.
SPREAD = 2.0


@dataclass(frozen=True)
class Saying:
    """A person says something, so many seconds after the beginning."""

    at: float
    person: str
    expect: str


@dataclass(frozen=True)
class Asking:
    """
    Turn wants something to be sent.

    :ivar hasty: Turn hangs up before the first answer, and asks again.
    :ivar refused: the network answers it with a nack.
    :ivar form: what it is: :data:`PLAIN`, with choices, or longer than a screen.
    """

    at: float
    person: str
    hasty: bool
    refused: bool
    form: str = "plain"


@dataclass(frozen=True)
class TurnFault:
    """A fault of Turn's for a while; ``share`` of the requests meet it."""

    name: str
    fine: float
    seconds: float
    share: float


@dataclass(frozen=True)
class ProcessFault:
    """After ``pause`` seconds something is struck; it stays down for ``down`` seconds at least."""

    name: str
    pause: float
    down: float


@dataclass(frozen=True)
class Plan:
    """All of a run."""

    sayings: list[Saying]
    askings: list[Asking]
    turn_faults: list[TurnFault]
    process_faults: list[ProcessFault]


def plan_of(seed: int, messages: int, seconds: float) -> Plan:
    """
    :param messages: how many people's messages; half as many come from Turn.
    :param seconds: with faults, in which most of them begin their way.
    """
    rng = random.Random(seed)
    people = [f"+2665{seed % 1000:03}{number:05}" for number in range(max(messages // 6, 20))]
    return Plan(
        _sayings(rng, people, messages, SPREAD * seconds),
        _askings(rng, people, messages // 2, SPREAD * seconds),
        _turn_faults(rng, seconds),
        _process_faults(rng, seconds),
    )


def _sayings(rng: random.Random, people: list[str], messages: int, seconds: float) -> list[Saying]:
    """
    People say one to five things in a row, and one in ten of them says half of
    all: whoever keeps no order is found out.
    """
    talkative = people[: len(people) // 10]
    sayings: list[Saying] = []
    while len(sayings) < messages:
        person, at = rng.choice(rng.choice((people, talkative))), rng.uniform(0, seconds)
        for number in range(rng.choice((1, 1, 2, 3, 5))):
            expect = rng.choices(tuple(EXPECTED), tuple(EXPECTED.values()))[0]
            sayings.append(Saying(at + number * 0.002, person, expect))
    return sorted(sayings[:messages], key=lambda saying: saying.at)


def _askings(rng: random.Random, people: list[str], messages: int, seconds: float) -> list[Asking]:
    askings = [
        Asking(
            rng.uniform(0, seconds),
            rng.choice(people),
            rng.random() < 0.03,
            rng.random() < 0.1,
            rng.choices((PLAIN, MENU, LONG), (0.7, 0.15, 0.15))[0],
        )
        for _ in range(messages)
    ]
    return sorted(askings, key=lambda asking: asking.at)


def _turn_faults(rng: random.Random, seconds: float) -> list[TurnFault]:
    """Every fault in the first part, if there is time; then whatever comes."""
    turn_faults: list[TurnFault] = []
    total = 0.0
    coming: list[str] = []
    while total < seconds:
        coming = coming or rng.sample(TURN_FAULTS, len(TURN_FAULTS))
        turn_fault = TurnFault(coming.pop(), rng.uniform(0.2, 1.2), rng.uniform(1.0, 3.0), rng.choice((0.3, 0.7, 1.0)))
        turn_faults.append(turn_fault)
        total += turn_fault.fine + turn_fault.seconds
    return turn_faults


def _process_faults(rng: random.Random, seconds: float) -> list[ProcessFault]:
    """More than there is time for."""
    process_faults: list[ProcessFault] = []
    for _ in range(1 + int(seconds / 10)):
        for name in rng.sample(PROCESS_FAULTS, len(PROCESS_FAULTS)):
            process_faults.append(ProcessFault(name, rng.uniform(1.5, 4.5), rng.uniform(0.1, 1.5)))
    return process_faults
