"""What a message costs when there is more of everything. One call is one run."""

from __future__ import annotations

from typing import Callable

from benchmarks.figures import Bench
from benchmarks.rig import MESSAGE_SIZE
from tests.integration.waiting import wait_for

#: What grows, by its name, and how far.
CHANNELS = (1, 10, 50)
PEOPLE = (10, 1_000, 100_000)
PARKED = (0, 100, 10_000)

#: Messages that are measured at each point.
LOAD = 10_000


class Growth:
    """
    :param bench: the servers.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def figures(self) -> dict[str, Callable[[], dict[str, float]]]:
        """A figure for each point of each line: ``channels: 50``."""
        found: dict[str, Callable[[], dict[str, float]]] = {}
        for number in CHANNELS:
            found[f"channels: {number:,}"] = lambda n=number: self.channels(n)  # type: ignore[misc]
        for number in PEOPLE:
            found[f"people: {number:,}"] = lambda n=number: self.people(n)  # type: ignore[misc]
        for number in PARKED:
            found[f"parked: {number:,}"] = lambda n=number: self.parked(n)  # type: ignore[misc]
        return found

    def channels(self, number: int) -> dict[str, float]:
        """So many channels in one process, all at full load."""
        bench = self._bench
        names = [f"bench_{each:02}" for each in range(number)]
        worker = bench.fleet(names, {})
        try:
            worker.start(wait=False)
            bench.consuming(names, [worker])
            return bench.carried(bench.count(LOAD, 1_000), names, worker.pid)
        finally:
            worker.close()

    def people(self, number: int) -> dict[str, float]:
        """So many people, all of whom have written to this process before."""
        bench = self._bench
        number = number if bench.scale >= 1 else min(number, 1_000)
        name = "bench_00"
        worker = bench.fleet([name], {})
        try:
            worker.start(wait=False)
            bench.consuming([name], [worker])
            arrived = bench.arriving()
            known = max(number, bench.count(2_000))
            bench.publish(known, [name], number)
            wait_for(lambda: arrived() >= known, "a message of each person", 300)
            return bench.carried(bench.count(LOAD, 1_000), [name], worker.pid, number)
        finally:
            worker.close()

    def parked(self, number: int) -> dict[str, float]:
        """So many messages in its failures queue, all parked by this process: they were not vumi's."""
        bench = self._bench
        number = int(number * min(bench.scale, 1))
        name = "bench_00"
        worker = bench.fleet([name], {})
        junk = b'{"content": "%s"}' % (b"x" * MESSAGE_SIZE)
        try:
            worker.start(wait=False)
            bench.consuming([name], [worker])
            bench.queues.publish(f"{name}.inbound", [junk] * number)
            wait_for(lambda: bench.queues.ready(f"{name}.turn_failures") >= number, f"{number} parked", 300)
            return bench.carried(bench.count(LOAD, 1_000), [name], worker.pid)
        finally:
            worker.close()
