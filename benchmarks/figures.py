"""Each figure: how it is measured. One call is one run."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable

from benchmarks.rig import (
    HERE,
    SECRET,
    TOKEN,
    Nginx,
    PythonSink,
    Queues,
    cpu_seconds,
    drain_rate,
    inbound_message,
    resident_bytes,
)
from tests.integration.rabbitmq import RabbitMQ
from tests.integration.requirements import find_program, free_port
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker, environment

CONNECTOR = "bench"
INBOUND = f"{CONNECTOR}.inbound"
OUTBOUND = f"{CONNECTOR}.outbound"

#: Requests to Turn's webhook at a time.
CONNECTIONS = 16


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

    def count(self, full: int) -> int:
        """So many messages, at this scale."""
        return max(int(full * self.scale), 50)

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

    # -- inbound ---------------------------------------------------------------

    def inbound(self, url: str, count: int) -> dict[str, float]:
        """Messages a second from a full queue to ``url``."""
        self.fill(count)
        worker = self.worker(url)
        worker.start(wait=False)
        try:
            rate, _ = drain_rate(self.queues, INBOUND, count)
            return {"rate": rate, "cpu_us": cpu_seconds(worker.pid) / count * 1e6}
        finally:
            worker.close()

    def inbound_at_once(self) -> dict[str, float]:
        """Turn answers at once."""
        return self.inbound(self.nginx.url, self.count(20_000))

    def inbound_bare(self) -> dict[str, float]:
        """The same with the bare loop of the libraries."""
        count = self.count(10_000)
        self.fill(count)
        arguments = [str(self.node.port), INBOUND, self.nginx.url]
        process = _python("benchmarks.bare_inbound", *arguments)
        try:
            rate, _ = drain_rate(self.queues, INBOUND, count)
            return {"rate": rate, "cpu_us": cpu_seconds(process.pid) / count * 1e6}
        finally:
            _end(process)

    def inbound_slow(self) -> dict[str, float]:
        """Turn answers in 100 ms; 20 in flight make at most 200 a second."""
        sink = PythonSink(0.1)
        try:
            return self.inbound(sink.url, self.count(3_000))
        finally:
            sink.close()

    def two_workers(self) -> dict[str, float]:
        """Two processes on one queue's load, against one."""
        count = self.count(30_000)
        self.fill(count)
        workers = [self.worker(self.nginx.url), self.worker(self.nginx.url)]
        for worker in workers:
            worker.start(wait=False)
        try:
            rate, _ = drain_rate(self.queues, INBOUND, count)
            return {"rate": rate}
        finally:
            for worker in workers:
                worker.close()

    def latency(self) -> dict[str, float]:
        """Milliseconds from a publish to the POST at Turn, at 10 messages a second."""
        sink = PythonSink(0.0)
        worker = self.worker(sink.url)
        self.queues.purge(INBOUND)
        worker.start()
        try:
            sent: dict[str, float] = {}
            for number in range(self.count(200)):
                body = inbound_message(number)
                sent[json.loads(body)["message_id"]] = time.time()
                self.queues.publish(INBOUND, [body])
                time.sleep(0.1)
            wait_for(lambda: len(sink.came()) >= len(sent), "all messages at the sink", 30)
            came = sink.came()
            waits = sorted((came[name] - at) * 1000 for name, at in sent.items())
            return {"median_ms": waits[len(waits) // 2], "p99_ms": waits[int(len(waits) * 0.99)]}
        finally:
            worker.close()
            sink.close()

    def memory(self) -> dict[str, float]:
        """Resident MB after 20,000 messages and after 200,000, with a cache of 10,000."""
        worker = self.worker(self.nginx.url, message_cache_config={"max_messages": 10000})
        self.queues.purge(INBOUND)
        worker.start()
        sizes = []
        done = 0
        try:
            for total in (self.count(20_000), self.count(200_000)):
                while done < total:
                    batch = min(total - done, 20_000)
                    self.queues.publish(INBOUND, [inbound_message(n) for n in range(done, done + batch)])
                    wait_for(lambda: self.queues.ready(INBOUND) == 0, "an empty queue", 300)
                    done += batch
                time.sleep(1)
                sizes.append(resident_bytes(worker.pid) / 1e6)
            return {"first_mb": sizes[0], "last_mb": sizes[1], "growth": sizes[1] / sizes[0] - 1}
        finally:
            worker.close()

    def start(self) -> dict[str, float]:
        """Seconds from the command to a consumer at the broker."""
        worker = self.worker(self.nginx.url)
        self.queues.purge(INBOUND)
        begun = time.monotonic()
        worker.start(wait=False)
        try:
            while self.queues.consumers(INBOUND) == 0:
                if time.monotonic() - begun > 60:
                    raise AssertionError(f"no consumer after 60 s; the worker's log:\n{worker.log}")
                time.sleep(0.005)
            return {"seconds": time.monotonic() - begun}
        finally:
            worker.close()

    # -- outbound --------------------------------------------------------------

    def outbound(self) -> dict[str, float]:
        """POSTs a second, each body different, over 16 connections."""
        worker = self.worker(self.nginx.url)
        worker.start()
        try:
            return self._wrk(worker.port, worker.pid)
        finally:
            worker.close()
            self.queues.purge(OUTBOUND)

    def outbound_bare(self) -> dict[str, float]:
        """The same with the bare loop of the libraries."""
        port = free_port()
        process = _python("benchmarks.bare_outbound", str(self.node.port), OUTBOUND, str(port), SECRET)
        try:
            wait_for(lambda: _listens(port), "the bare loop to listen", 30)
            return self._wrk(port, process.pid)
        finally:
            _end(process)
            self.queues.purge(OUTBOUND)

    def outbound_latency(self, rate: float) -> dict[str, float]:
        """The 99th percentile of the answers' milliseconds at ``rate`` POSTs a second."""
        worker = self.worker(self.nginx.url)
        worker.start()
        try:
            seconds = max(10.0 * self.scale, 2.0)
            waits = _paced(worker.port, rate, seconds)
            return {"rate": rate, "median_ms": waits[len(waits) // 2], "p99_ms": waits[int(len(waits) * 0.99)]}
        finally:
            worker.close()
            self.queues.purge(OUTBOUND)

    def _wrk(self, port: int, pid: int) -> dict[str, float]:
        wrk = find_program("VUMI_TURN_WRK", ["wrk"], "wrk", "apt-get install wrk")
        seconds = max(int(10 * self.scale), 2)
        with tempfile.TemporaryDirectory() as folder:
            requests = Path(folder) / "requests"
            with open(requests, "wb") as file:
                for number in range(int(4000 * seconds)):
                    body = outbound_body(number)
                    file.write(signature_of(body) + b"\t" + body + b"\n")
            before = cpu_seconds(pid)
            done = subprocess.run(
                [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(HERE / "outbound.lua")]
                + [f"http://127.0.0.1:{port}/messages", "--", str(requests)],
                capture_output=True,
                text=True,
                timeout=seconds + 60,
                check=True,
            )
        found = json.loads(done.stdout.partition("FIGURES ")[2].splitlines()[0])
        if found["errors"]:
            raise AssertionError(f"{found['errors']} of {found['requests']} requests failed:\n{done.stdout}")
        cpu = cpu_seconds(pid) - before
        return {
            "rate": found["requests"] / found["seconds"],
            "p99_ms": found["p99_ms"],
            "cpu_us": cpu / found["requests"] * 1e6,
        }


def outbound_body(number: int) -> bytes:
    """What Turn POSTs; each number makes another body."""
    value = {
        "to": f"+2661234{number % 1000:04}",
        "from": None,
        "reply_to": None,
        "content": f"Hello {number}",
        "context": None,
        "block": None,
        "resources": None,
        "evaluated_resources": None,
        "turn": {"type": "text", "text": {"body": f"Hello {number} " + "x" * 200}},
        "waiting_for_user_input": False,
    }
    return json.dumps(value).encode("ascii")


def signature_of(body: bytes) -> bytes:
    """Turn's signature."""
    return base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256))


def _paced(port: int, rate: float, seconds: float) -> list[float]:
    """POST at a steady rate over 16 connections; the sorted answer times in milliseconds."""
    waits: list[float] = []
    begun = time.monotonic() + 0.2

    def client(index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for turn in range(int(rate * seconds / CONNECTIONS)):
            at = begun + (turn * CONNECTIONS + index) / rate
            time.sleep(max(at - time.monotonic(), 0))
            body = outbound_body(int(at * 1e6))
            headers = {"X-Turn-Hook-Signature": signature_of(body).decode()}
            connection.request("POST", "/messages", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise AssertionError(f"answered {answer.status}")
            # From when it should have been sent, so that a late client hides nothing.
            waits.append((time.monotonic() - at) * 1000)

    threads = [threading.Thread(target=client, args=(index,)) for index in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(waits) < int(rate * seconds / CONNECTIONS) * CONNECTIONS:
        raise AssertionError("some clients failed")
    return sorted(waits)


def _python(module: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=HERE.parent, env=environment(), stdin=subprocess.DEVNULL
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait()


def _listens(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True


#: What a run of a figure is.
Run = Callable[[], dict[str, float]]
