"""The figures of many channels in one process. One call is one run."""

from __future__ import annotations

import time
from typing import Callable, Optional, Sequence

from benchmarks.figures import Bench
from benchmarks.footprint import SETTLED
from benchmarks.rig import PythonSink, proportional_bytes, resident_bytes
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

#: Seconds until Turn answers, where it hangs.
NEVER = 3600.0


class Fleet:
    """
    :param bench: the servers.
    :param size: how many channels are many.
    """

    def __init__(self, bench: Bench, size: int = 50) -> None:
        self._bench = bench
        self.size = size
        self._names = [f"bench_{number:02}" for number in range(size)]

    def figures(self) -> dict[str, Callable[[], dict[str, float]]]:
        """All, by name; what is compared stands side by side."""
        return {
            "idle, a process of one": self.one_channel_idle,
            "idle, one process of all": self.one_process_idle,
            "idle, a process for each": self.many_processes_idle,
            "busy alone": self.busy_alone,
            "busy beside all others idle": self.busy_beside_idle,
            "busy beside one idle": self.busy_beside_one,
            "busy beside one whose Turn hangs": self.busy_beside_hanging,
        }

    # -- nothing to do ----------------------------------------------------------

    def one_process_idle(self) -> dict[str, float]:
        """All channels in one process that has nothing to do: start, memory, connections."""
        bench = self._bench
        return self._idle(lambda: [bench.fleet(self._names, {})], self._names)

    def one_channel_idle(self) -> dict[str, float]:
        """A process of one channel that has nothing to do."""
        return self._idle(lambda: self._processes(self._names[:1]), self._names[:1])

    def many_processes_idle(self) -> dict[str, float]:
        """A process for each channel, all started at once; the memory is that of all."""
        return self._idle(lambda: self._processes(self._names), self._names)

    def _processes(self, names: Sequence[str]) -> list[Worker]:
        bench = self._bench
        bench.declare(names)
        workers: dict[int, Worker] = {}
        for name in names:
            worker = bench.worker(bench.nginx.url, connector_name=name)
            while worker.port in workers:  # a port is free until its worker listens
                worker.close()
                worker = bench.worker(bench.nginx.url, connector_name=name)
            workers[worker.port] = worker
        return list(workers.values())

    def _idle(self, make: Callable[[], list[Worker]], names: Sequence[str]) -> dict[str, float]:
        bench = self._bench
        before = bench.connections()
        workers = make()
        begun = time.monotonic()
        try:
            for worker in workers:
                worker.start(wait=False)
            bench.consuming(names, workers)
            seconds = time.monotonic() - begun
            time.sleep(SETTLED)
            return {
                "seconds": seconds,
                "resident_mb": sum(resident_bytes(worker.pid) for worker in workers) / 1e6,
                "shared_out_mb": sum(proportional_bytes(worker.pid) for worker in workers) / 1e6,
                "connections": bench.connections() - before,
            }
        finally:
            for worker in workers:
                worker.close()

    # -- one of them is busy ----------------------------------------------------

    def busy_alone(self) -> dict[str, float]:
        """The only channel of its process, at full load."""
        return self._busy(self._names[:1])

    def busy_beside_idle(self) -> dict[str, float]:
        """One channel at full load, and all others idle."""
        return self._busy(self._names)

    def busy_beside_one(self) -> dict[str, float]:
        """One channel at full load beside one that is idle."""
        return self._busy(self._names[:2])

    def busy_beside_hanging(self) -> dict[str, float]:
        """One channel at full load beside one whose Turn takes POSTs and never answers."""
        sink = PythonSink(NEVER)
        try:
            return self._busy(self._names[:2], sink)
        finally:
            sink.close()

    def _busy(self, names: Sequence[str], hanging: Optional[PythonSink] = None) -> dict[str, float]:
        bench = self._bench
        worker = bench.fleet(names, {names[-1]: hanging.url} if hanging else {})
        try:
            worker.start(wait=False)
            bench.consuming(names, [worker])
            if hanging is not None:
                bench.publish(100, names[-1:])
                wait_for(lambda: len(hanging.came()) >= 10, "POSTs that hang")
            return bench.carried(bench.count(20_000, 1_000), names[:1], worker.pid)
        finally:
            worker.close()
