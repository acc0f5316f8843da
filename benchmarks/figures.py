"""What the figures have in common: the servers, the worker, and how long a queue takes to get empty."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any, Callable, Mapping, Optional, Sequence

from benchmarks.rig import HERE, PEOPLE, SECRET, TOKEN, Nginx, Queues, cpu_seconds, inbound_message
from tests.integration.process import environment
from tests.integration.rabbitmq import RabbitMQ
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

CONNECTOR = "bench"
INBOUND = f"{CONNECTOR}.inbound"
OUTBOUND = f"{CONNECTOR}.outbound"

#: What carries many channels.
FLEET = "vumi_turn.TurnChannels"

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

    def fleet(self, names: Sequence[str], urls: Mapping[str, str], **defaults: Any) -> Worker:
        """
        A process of many channels, not started; their queues are there, and empty.

        :param urls: where another Turn than nginx is.
        """
        self.declare(names)
        options = {"auth_token": TOKEN, "turn_hmac_secret": SECRET, "default_from_addr": "8864", **defaults}
        channels = [{"connector_name": name, "turn_api_url": urls.get(name, self.nginx.url)} for name in names]
        return Worker({"defaults": options, "channels": channels}, self.node.port, worker_class=FLEET)

    def declare(self, names: Sequence[str]) -> None:
        """Make sure that the queues of connectors are there, and empty."""
        for name in names:
            for kind in ("inbound", "outbound", "event", "turn_failures"):
                self.queues.declare(f"{name}.{kind}")
                self.queues.purge(f"{name}.{kind}")

    def consuming(self, names: Sequence[str], workers: Sequence[Worker]) -> None:
        """Wait until each of these connectors has a consumer."""
        deadline = time.monotonic() + LIMIT
        for name in names:
            while not self.queues.consumers(f"{name}.inbound"):
                if time.monotonic() > deadline or not all(worker.running for worker in workers):
                    logs = "".join(worker.log[-1000:] for worker in workers)
                    raise AssertionError(f"{name} has no consumer; the workers' logs:\n{logs}")
                time.sleep(0.005)

    def connections(self) -> int:
        """How many AMQP connections there are."""
        return len(self.node.ctl("list_connections", "--no-table-headers", "pid").splitlines())

    def publish(self, count: int, names: Sequence[str], people: int = PEOPLE) -> None:
        """People's messages, shared out over connectors."""
        queues = [f"{name}.inbound" for name in names]
        self.queues.publish_to(
            [(queues[number % len(queues)], inbound_message(number, people=people)) for number in range(count)]
        )

    def carried(self, count: int, names: Sequence[str], pid: int, people: int = PEOPLE) -> dict[str, float]:
        """
        Publish messages, shared out over the connectors of one running
        process, and watch it empty their queues.

        :return: as :meth:`drained`; what was done while they were published is not counted.
        """
        arrived = self.arriving()
        self.publish(count, names, people)
        begun, cpu, done = time.monotonic(), cpu_seconds(pid), arrived()
        if done >= count * 0.9:
            raise AssertionError("nearly all messages were gone when the last was published: more are needed")
        while arrived() < count:
            if time.monotonic() > begun + LIMIT:
                raise AssertionError(f"only {arrived()} of {count} messages came to Turn")
            time.sleep(0.05)
        left = count - done
        return {
            "rate": left / (time.monotonic() - begun),
            "cpu_us": (cpu_seconds(pid) - cpu) / left * 1e6,
        }

    def arriving(self) -> Callable[[], int]:
        """A look at how many POSTs have come to nginx from now on."""
        before = self.nginx.requests()
        return lambda: self.nginx.requests() - before

    def drained(
        self, count: int, pids: Sequence[int], arrived: Callable[[], int], turn: Sequence[int] = ()
    ) -> dict[str, float]:
        """
        Watch the queue of people's messages get empty, and see all of them
        arrive at Turn: who loses messages is fast.

        :param count: how many messages it held.
        :param pids: the processes that empty it.
        :param arrived: how many have come to Turn.
        :param turn: the processes that are Turn, where their CPU time and RabbitMQ's is wanted too.
        :return: messages a second from the first tenth to the last message,
            so that the start is not counted, and the CPU time of each in µs.
        """
        groups = {"cpu_us": pids}
        if turn:
            groups.update(rabbitmq_cpu_us=[self.node.pid], turn_cpu_us=turn)
        deadline = time.monotonic() + LIMIT
        begun: Optional[tuple[float, dict[str, float], int]] = None
        while True:
            left = self.queues.ready(INBOUND)
            now, cpu = time.monotonic(), {key: sum(map(cpu_seconds, group)) for key, group in groups.items()}
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
        since, before, count = begun
        return {
            "rate": count / (now - since),
            **{key: (cpu[key] - before[key]) / count * 1e6 for key in groups},
        }


def run_module(module: str, *arguments: str, stdout: Optional[int] = None) -> "subprocess.Popen[bytes]":
    """A module of these in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=HERE.parent,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
    )


def end(process: "subprocess.Popen[bytes]") -> None:
    """End such a process."""
    process.kill()
    process.wait()
