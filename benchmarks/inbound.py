"""The figures of people's messages on their way to Turn. One call is one run."""

from __future__ import annotations

import json
import time
from typing import Callable, Sequence

from benchmarks.figures import INBOUND, Bench, end, run_module
from benchmarks.rig import PythonSink, inbound_message
from tests.integration.waiting import wait_for

#: Seconds until Turn answers, where it is slow.
SLOW = 0.1


class Inbound:
    """
    :param bench: the servers.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def at_once(self) -> dict[str, float]:
        """Turn answers at once: messages a second from a full queue."""
        return self._at_once(1, self._bench.count(20_000, 2_000))

    def bare(self) -> dict[str, float]:
        """The same with the bare loop of the libraries as they come."""
        return self._bare(2)

    def bare_kept(self) -> dict[str, float]:
        """The same where treq's pool keeps all 20 connections."""
        return self._bare(20)

    def _bare(self, connections: int) -> dict[str, float]:
        bench = self._bench
        count = bench.count(10_000, 1_000)
        bench.fill(count)
        arrived = bench.arriving()
        arguments = [str(bench.node.port), INBOUND, bench.nginx.url, str(connections)]
        process = run_module("benchmarks.bare_inbound", *arguments)
        try:
            return bench.drained(count, [process.pid], arrived)
        finally:
            end(process)

    def asyncio(self) -> dict[str, float]:
        """The same with the bridge on aio-pika, aiohttp and uvloop."""
        return self._bridge(self._bench.nginx.url, self._bench.count(20_000, 2_000), self._bench.arriving())

    def asyncio_slow(self) -> dict[str, float]:
        """That bridge where Turn answers in 100 ms."""
        sink = PythonSink(SLOW)
        try:
            return self._bridge(sink.url, self._bench.count(3_000, 200), lambda: len(sink.came()))
        finally:
            sink.close()

    def _bridge(self, url: str, count: int, arrived: Callable[[], int]) -> dict[str, float]:
        bench = self._bench
        bench.fill(count)
        process = run_module("benchmarks.asyncio_bridge", "inbound", str(bench.node.port), INBOUND, url)
        try:
            return bench.drained(count, [process.pid], arrived)
        finally:
            end(process)

    def two_workers(self) -> dict[str, float]:
        """Two processes on one queue."""
        return self._at_once(2, self._bench.count(30_000, 3_000))

    def _at_once(self, workers: int, count: int) -> dict[str, float]:
        nginx = self._bench.nginx
        return self._workers(workers, nginx.url, count, self._bench.arriving(), nginx.pids)

    def slow(self) -> dict[str, float]:
        """Turn answers in 100 ms; 20 in flight make at most 200 a second."""
        return self._slow(1, self._bench.count(3_000, 200))

    def two_workers_slow(self) -> dict[str, float]:
        """The same with two processes, for which any machine has cores left."""
        return self._slow(2, self._bench.count(3_000, 400))

    def _slow(self, workers: int, count: int) -> dict[str, float]:
        sink = PythonSink(SLOW)
        try:
            return self._workers(workers, sink.url, count, lambda: len(sink.came()), sink.pids)
        finally:
            sink.close()

    def _workers(
        self, workers: int, url: str, count: int, arrived: Callable[[], int], turn: Sequence[int]
    ) -> dict[str, float]:
        bench = self._bench
        bench.fill(count)
        running = [bench.worker(url) for _ in range(workers)]
        try:
            for worker in running:
                worker.start(wait=False)
            return bench.drained(count, [worker.pid for worker in running], arrived, turn)
        finally:
            for worker in running:
                worker.close()

    def latency(self) -> dict[str, float]:
        """Milliseconds from before the publish until the POST is at Turn, at 10 messages a second."""
        bench = self._bench
        sink = PythonSink(0.0)
        worker = bench.worker(sink.url)
        bench.queues.purge(INBOUND)
        try:
            worker.start()
            sent: dict[str, float] = {}
            for number in range(bench.count(200, 10)):
                body = inbound_message(number)
                sent[json.loads(body)["message_id"]] = time.time()
                bench.queues.publish(INBOUND, [body])
                time.sleep(0.1)
            wait_for(lambda: len(sink.came()) >= len(sent), "all messages at the sink", 30)
            came = sink.came()
            waits = sorted((came[name] - at) * 1000 for name, at in sent.items())
            return {"median_ms": waits[len(waits) // 2], "p99_ms": waits[int(len(waits) * 0.99)]}
        finally:
            worker.close()
            sink.close()
