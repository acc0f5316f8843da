"""What the figures have in common: the servers, the worker, and how long a queue takes to get empty."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any, Callable, Optional, Sequence

from benchmarks.rig import HERE, SECRET, TOKEN, Nginx, Queues, cpu_seconds, inbound_message
from tests.integration.process import environment
from tests.integration.rabbitmq import RabbitMQ
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

CONNECTOR = "bench"
INBOUND = f"{CONNECTOR}.inbound"
OUTBOUND = f"{CONNECTOR}.outbound"

#: Seconds that any figure may take to get its queue empty.
LIMIT = 600.0


class Bench:
    """
    The servers of one run of the program.

    :param scale: 1.0 for real figures; small to see that nothing has rotted.
    """

    def __init__(self, node: RabbitMQ, nginx: Nginx, scale: float) -> None:
        self.node = node
        self.nginx = nginx
        self.scale = scale
        self.queues = Queues(node.port)
        for name in (INBOUND, OUTBOUND, f"{CONNECTOR}.event"):
            self.queues.declare(name)

    def count(self, full: int, least: int = 50) -> int:
        """So many messages, at this scale."""
        return max(int(full * self.scale), least)

    def worker(self, url: str, **config: Any) -> Worker:
        """A worker process, not started."""
        return Worker(
            {
                "connector_name": CONNECTOR,
                "turn_api_url": url,
                "auth_token": TOKEN,
                "turn_hmac_secret": SECRET,
                "default_from_addr": "8864",
                **config,
            },
            self.node.port,
        )

    def fill(self, count: int) -> None:
        """Put people's messages into the queue, which is emptied first."""
        self.queues.purge(INBOUND)
        self.queues.publish(INBOUND, [inbound_message(number) for number in range(count)])

    def arriving(self) -> Callable[[], int]:
        """A look at how many POSTs have come to nginx from now on."""
        before = self.nginx.requests()
        return lambda: self.nginx.requests() - before

    def drained(self, count: int, pids: Sequence[int], arrived: Callable[[], int]) -> dict[str, float]:
        """
        Watch the queue of people's messages get empty, and see all of them
        arrive at Turn: who loses messages is fast.

        :param count: how many messages it held.
        :param pids: the processes that empty it.
        :param arrived: how many have come to Turn.
        :return: messages a second from the first tenth to the last message,
            so that the start is not counted, and the CPU time of each in µs.
        """
        deadline = time.monotonic() + LIMIT
        begun: Optional[tuple[float, float, int]] = None
        while True:
            left = self.queues.ready(INBOUND)
            now, cpu = time.monotonic(), sum(map(cpu_seconds, pids))
            if begun is None and left <= count * 0.9:
                begun = (now, cpu, left)
            if left == 0:
                break
            if now > deadline:
                raise AssertionError(f"{left} of {count} messages are still in {INBOUND} after {LIMIT:.0f} s")
            time.sleep(0.02)
        assert begun is not None
        if not begun[2]:
            raise AssertionError("the queue was empty before it was looked at: more messages are needed")
        wait_for(lambda: arrived() >= count, f"{count} messages at Turn", 30)
        return {"rate": begun[2] / (now - begun[0]), "cpu_us": (cpu - begun[1]) / begun[2] * 1e6}


def run_module(module: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """A module of these in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=HERE.parent, env=environment(), stdin=subprocess.DEVNULL
    )


def end(process: "subprocess.Popen[bytes]") -> None:
    """End such a process."""
    process.kill()
    process.wait()
