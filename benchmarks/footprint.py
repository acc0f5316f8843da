"""What a worker needs before the first message, and what it keeps after many. One call is one run."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Callable, Sequence

from benchmarks.figures import CONNECTOR, INBOUND, Bench, end, run_module
from benchmarks.rig import PEOPLE, inbound_message, resident_bytes
from tests.integration.waiting import wait_for

#: Seconds until memory is looked at after a start.
SETTLED = 1.5

#: Messages that are published at a time.
BATCH = 10_000

#: Seconds that a million messages may take, in a session that has 8 minutes for a command.
LONGEST = 420.0


class Footprint:
    """
    :param bench: the servers.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def figures(self) -> dict[str, Callable[[], dict[str, float]]]:
        """Before the first message, by name."""
        return {"libraries": self.libraries, "start": self.start}

    def libraries(self) -> dict[str, float]:
        """Seconds from the command until the fixed libraries are imported, and the memory then."""
        begun = time.monotonic()
        process = run_module("benchmarks.libraries", stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            seconds = time.monotonic() - begun
            return {"seconds": seconds, "resident_mb": resident_bytes(process.pid) / 1e6}
        finally:
            end(process)

    def start(self) -> dict[str, float]:
        """Seconds from the command to a consumer at the broker, and the memory of the idle worker."""
        bench = self._bench
        worker = bench.worker(bench.nginx.url)
        bench.queues.purge(INBOUND)
        begun = time.monotonic()
        try:
            worker.start(wait=False)
            bench.consuming([CONNECTOR], [worker])
            seconds = time.monotonic() - begun
            time.sleep(SETTLED)
            return {"seconds": seconds, "resident_mb": resident_bytes(worker.pid) / 1e6}
        finally:
            worker.close()

    def memory(self) -> dict[str, float]:
        """Resident MB after 20,000 messages and after 200,000, with a cache of 10,000."""
        count = self._bench.count
        found = self._sizes([count(20_000, 200), count(200_000, 2_000)], 10_000)
        return {"first_mb": found[0][1], "last_mb": found[1][1], "growth": found[1][1] / found[0][1] - 1}

    def million(self) -> dict[str, float]:
        """
        The same after 100,000 and the most after half a million or more, each
        message of another person; after as many as :data:`LONGEST` allows.
        """
        count = self._bench.count
        steps = range(1, 21) if self._bench.scale >= 1 else (2, 20)
        totals = [count(step * 50_000, step * 100) for step in steps]
        found = self._sizes(totals, 10_000, totals[-1])
        first = found[steps.index(2)][1]
        last = max(size for _, size in found[len(found) // 2 :])
        return {"messages": found[-1][0], "first_mb": first, "last_mb": last, "growth": last / first - 1}

    def _sizes(self, totals: Sequence[int], cache: int, people: int = PEOPLE) -> list[tuple[int, float]]:
        """Resident MB of one process after so many messages in all."""
        bench = self._bench
        worker = bench.worker(bench.nginx.url, message_cache_config={"max_messages": cache})
        bench.queues.purge(INBOUND)
        done = 0
        sizes: list[tuple[int, float]] = []
        begun = time.monotonic()
        try:
            worker.start()
            for total in totals:
                while done < total:
                    batch = range(done, min(done + BATCH, total))
                    bodies = [inbound_message(n, people=people) for n in batch]
                    wait_for(lambda: bench.queues.ready(INBOUND) < BATCH // 2, "a nearly empty queue", 300)
                    bench.queues.publish(INBOUND, bodies)
                    done = batch.stop
                wait_for(lambda: bench.queues.ready(INBOUND) == 0, "an empty queue", 300)
                time.sleep(0.5)
                sizes.append((total, resident_bytes(worker.pid) / 1e6))
                if len(totals) > 2:
                    print(f"  {total:,} messages: {sizes[-1][1]:.1f} MB", flush=True)
                if time.monotonic() - begun > LONGEST:
                    print(f"memory: {total} messages in {LONGEST:.0f} s; the rest is left out", file=sys.stderr)
                    break
            return sizes
        finally:
            worker.close()
