"""The figures of Turn's messages on their way to people. One call is one run."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.figures import OUTBOUND, Bench, end, run_module
from benchmarks.rig import HERE, MESSAGE_SIZE, SECRET, cpu_seconds
from tests.integration.requirements import find_program, free_port
from tests.integration.waiting import wait_for

#: Requests to Turn's webhook at a time.
CONNECTIONS = 16


class Outbound:
    """
    :param bench: the servers.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._rate = 0.0

    def full_load(self) -> dict[str, float]:
        """POSTs a second, each body different, over 16 connections."""
        worker = self._bench.worker(self._bench.nginx.url)
        try:
            worker.start()
            found = self._wrk(worker.port, worker.pid)
        finally:
            worker.close()
        self._rate = found["rate"]
        return found

    def bare(self) -> dict[str, float]:
        """The same with the bare loop of the libraries."""
        return self._other("benchmarks.bare_outbound")

    def asyncio(self) -> dict[str, float]:
        """The same with the bridge on aio-pika, aiohttp and uvloop."""
        return self._other("benchmarks.asyncio_bridge", "outbound")

    def _other(self, module: str, *arguments: str) -> dict[str, float]:
        port = free_port()
        process = run_module(module, *arguments, str(self._bench.node.port), OUTBOUND, str(port), SECRET)
        try:
            wait_for(lambda: _listens(port), f"{module} to listen", 30)
            return self._wrk(port, process.pid)
        finally:
            end(process)

    def half_load(self) -> dict[str, float]:
        """How long answers take at half the rate of the last full load."""
        if not self._rate:
            self.full_load()
        bench = self._bench
        worker = bench.worker(bench.nginx.url)
        try:
            worker.start()
            waits = paced(worker.port, self._rate / 2, max(10.0 * bench.scale, 1.0))
            return {
                "rate": self._rate / 2,
                "median_ms": waits[len(waits) // 2],
                "p99_ms": waits[int(len(waits) * 0.99)],
            }
        finally:
            worker.close()
            bench.queues.purge(OUTBOUND)

    def _wrk(self, port: int, pid: int) -> dict[str, float]:
        wrk = find_program("VUMI_TURN_WRK", ["wrk"], "wrk", "apt-get install wrk")
        queues = self._bench.queues
        seconds = max(int(10 * self._bench.scale), 1)
        queues.purge(OUTBOUND)
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
        cpu = cpu_seconds(pid) - before
        found = json.loads(done.stdout.partition("FIGURES ")[2].splitlines()[0])
        if found["errors"]:
            raise AssertionError(f"{found['errors']} of {found['requests']} requests failed:\n{done.stdout}")
        kept = queues.ready(OUTBOUND)
        queues.purge(OUTBOUND)
        if kept < found["requests"]:
            raise AssertionError(f"{found['requests']} were answered 200, the broker has {kept}")
        return {
            "rate": found["requests"] / found["seconds"],
            "p99_ms": found["p99_ms"],
            "cpu_us": cpu / found["requests"] * 1e6,
        }


def outbound_body(number: int, size: int = MESSAGE_SIZE) -> bytes:
    """What Turn POSTs, ``size`` bytes; each number makes another body."""
    text = {"body": f"Hello {number} "}
    value = {
        "to": f"+2661234{number % 1000:04}",
        "from": None,
        "reply_to": None,
        "content": f"Hello {number}",
        "context": None,
        "block": None,
        "resources": None,
        "evaluated_resources": None,
        "turn": {"type": "text", "text": text},
        "waiting_for_user_input": False,
    }
    text["body"] += "x" * (size - len(json.dumps(value)))
    return json.dumps(value).encode("ascii")


def signature_of(body: bytes) -> bytes:
    """Turn's signature."""
    return base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256))


def paced(port: int, rate: float, seconds: float) -> list[float]:
    """POST at a steady rate over 16 connections; the sorted answer times in milliseconds."""
    waits: list[float] = []
    each = int(rate * seconds / CONNECTIONS)
    requests = [
        [posted(outbound_body(turn * CONNECTIONS + index)) for turn in range(each)] for index in range(CONNECTIONS)
    ]
    begun = time.monotonic() + 0.2

    def client(index: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            for turn, request in enumerate(requests[index]):
                at = begun + (turn * CONNECTIONS + index) / rate
                time.sleep(max(at - time.monotonic(), 0))
                connection.sendall(request)
                answer = connection.recv(65536)
                while not answer.endswith(b"}]}"):
                    more = connection.recv(65536)
                    if not more:
                        raise AssertionError(f"answered {answer!r}")
                    answer += more
                if not answer.startswith(b"HTTP/1.1 200 "):
                    raise AssertionError(f"answered {answer!r}")
                # From when it should have been sent, so that a late client hides nothing.
                waits.append((time.monotonic() - at) * 1000)

    threads = [threading.Thread(target=client, args=(index,)) for index in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(waits) < each * CONNECTIONS:
        raise AssertionError("some clients failed")
    return sorted(waits)


def posted(body: bytes) -> bytes:
    """The bytes of Turn's POST."""
    return (
        b"POST /messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"X-Turn-Hook-Signature: %b\r\nContent-Length: %d\r\n\r\n%b" % (signature_of(body), len(body), body)
    )


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
