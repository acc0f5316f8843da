"""
Clients that send slowly, without end or too much, to the real worker: each
costs it a bounded time and memory, and meanwhile Turn is served as always.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import closing
from typing import Callable, Iterator

from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import outbound
from tests.integration.vumi_words import new_person
from tests.integration.waiting import wait_for
from vumi_turn.http.connection import ARRIVAL_TIME, LINGER_SIZE
from vumi_turn.http.server import MAX_CONNECTIONS, MIN_WAIT

#: KB that one of these attacks may cost.
SPACE = 40_000

#: What the system may hold between the two, in bytes.
BUFFERS = 16_000_000

#: Seconds for a good request in the middle of it, on a busy machine.
PROMPT = 2.0


class HostileCase(BridgeCase):
    """Raw connections to the worker, and a look at what they cost it."""

    connector = "hostile"

    def setUp(self) -> None:
        super().setUp()
        self.before = self.resident_kb()

    def connect(self) -> socket.socket:
        """A raw connection, closed at the end of the test."""
        connection = socket.create_connection(("127.0.0.1", self.worker.port), timeout=10)
        self.addCleanup(connection.close)
        return connection

    def resident_kb(self) -> int:
        """How much memory the worker has now."""
        with open(f"/proc/{self.worker.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def unharmed(self) -> None:
        """A good POST is answered at once, and the worker is about as large as before."""
        answer = self.http.post(outbound(new_person()))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertLess(answer.seconds, PROMPT)
        self.assertLess(self.resident_kb() - self.before, SPACE)

    def pour(self, connection: socket.socket, pieces: Iterator[bytes]) -> tuple[int, bytes]:
        """
        Send without end.

        :return: how much could be sent until the worker would have no more of
            it, and what it answered.
        """
        sent, said = 0, b""
        deadline = time.monotonic() + 30
        try:
            for piece in pieces:
                connection.sendall(piece)
                sent += len(piece)
                if time.monotonic() > deadline:
                    raise AssertionError(f"still reading after {sent} bytes")
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            said = connection.recv(65536)
        except ConnectionResetError:
            pass
        return sent, said


def endless(head: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
    """A stream that begins with ``head`` and goes on for ever."""

    def stream() -> Iterator[bytes]:
        yield head
        while True:
            yield piece

    return stream


class SlowTests(HostileCase):
    """Connections that are kept open."""

    connector = "slow"

    def test_slowloris(self) -> None:
        """
        Requests whose headers or bodies trickle in, and connections that say
        nothing, more of them than there may be: Turn is served, the slow ones
        are cut in time.
        """
        slow = [self.connect() for _ in range(300)]
        rests = [b"", b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n"]
        for connection, rest in zip(slow, itertools.cycle(rests), strict=False):
            connection.sendall(b"POST /messages HTTP/1.1\r\nHost: x\r\n" + rest)
        began = time.monotonic()
        # Room is made by those that have waited for so long; before that, who comes is beyond the number allowed.
        time.sleep(2 * MIN_WAIT)
        idle = [self.connect() for _ in range(MAX_CONNECTIONS - 100)]
        stop = threading.Event()
        self.addCleanup(stop.set)
        threading.Thread(target=self.trickle, args=(slow, stop), daemon=True).start()
        # The worker drops those that have waited for the longest, for as many as are too many.
        everybody = slow + idle
        wait_for(lambda: len(self.open_ones(everybody)) <= MAX_CONNECTIONS, "those too many to be dropped")
        self.assertEqual(len(self.open_ones(idle)), len(idle))
        self.assertGreater(len(self.open_ones(slow)), 50)
        while still := self.open_ones(slow):
            self.unharmed()
            self.assertLess(time.monotonic() - began, ARRIVAL_TIME + 10, f"{len(still)} are still open")
            time.sleep(1)
        # Those that say nothing have another, longer time.
        self.assertGreater(len(self.open_ones(idle)), 50)

    def trickle(self, connections: list[socket.socket], stop: threading.Event) -> None:
        """Another byte on each, over and over."""
        while not stop.wait(0.5):
            for connection in connections:
                try:
                    connection.send(b"x")
                except OSError:
                    pass  # it has been cut

    def open_ones(self, connections: list[socket.socket]) -> list[socket.socket]:
        """Those that the worker has not closed."""
        return [connection for connection in connections if is_open(connection)]


class HugeTests(HostileCase):
    """Requests without end."""

    connector = "huge"

    def test_endless(self) -> None:
        """Whatever part of a request has no end is cut off soon, with a status that is told in JSON."""
        head = b"POST /messages HTTP/1.1\r\nHost: x\r\n"
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
        streams = {
            "a first line": (endless(b"GET /", 8192 * b"x"), b"400"),
            "one header": (endless(head + b"X: ", 8192 * b"x"), b"400"),
            "headers": (endless(head, 500 * b"X: y\r\n"), b"400"),
            "folded headers": (endless(head + b"X: y\r\n", 500 * b" y\r\n"), b"400"),
            "chunks": (endless(chunked, 500 * b"8\r\nxxxxxxxx\r\n"), b"413"),
            "one chunk": (endless(chunked + b"ffffffff\r\n", 8192 * b"x"), b"413"),
            "a chunk's size": (endless(chunked, 8192 * b"1"), b"400"),
            "a chunk's extension": (endless(chunked + b"1;", 8192 * b"x"), b"400"),
            "trailers": (endless(chunked + b"0\r\n", 500 * b"X: y\r\n"), b"400"),
            "empty lines": (endless(b"", 8192 * b"\r\n"), b"400"),
        }
        for name, (stream, status) in streams.items():
            with self.case(name), closing(self.connect()) as connection:
                sent, said = self.pour(connection, stream())
                self.assertLess(sent, LINGER_SIZE + BUFFERS)
                if said:  # a reset may have overtaken it
                    self.assertEqual(said.split(b" ")[1], status, said)
                    self.assertIn(b"application/json", said)
                self.unharmed()

    def test_pipelining(self) -> None:
        """A client that sends requests without end, and reads no answer, is not read on; it harms nobody."""
        connections = [self.connect() for _ in range(5)]
        for connection in connections:
            connection.settimeout(1)
            sent = 0
            try:
                while sent < 50_000_000:
                    sent += connection.send(1000 * b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            except (TimeoutError, BrokenPipeError, ConnectionResetError):
                pass
            self.assertLess(sent, 50_000_000)
        self.unharmed()

    def test_many_large_ones(self) -> None:
        """As many bodies as there may be, each just below the limit and never finished, cost their own size only."""
        body = 65_000 * b"x"
        for _ in range(MAX_CONNECTIONS):
            connection = self.connect()
            connection.sendall(b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + body)
        # Room is made by those that have waited for so long.
        wait_for(lambda: self.http.post(outbound(new_person())).status == 200, "room for one more", PROMPT)
        self.assertLess(self.resident_kb() - self.before, 2 * 65 * MAX_CONNECTIONS)


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has not closed it; what it sent is thrown away."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
