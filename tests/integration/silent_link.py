"""A link to RabbitMQ that keeps one answer to itself."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Any, Iterator, Optional

from tests.integration.link import RobustConnection

#: Class and method, as a method's frame begins; AMQP 0-9-1, section 1.8.
CONSUME, CONSUME_OK = struct.pack(">HH", 60, 20), struct.pack(">HH", 60, 21)


class SilentLink(RobustConnection):
    """
    Passes on everything but the first ``basic.consume-ok`` for one queue.

    :param port: the broker's, on 127.0.0.1.
    :param queue: its name.
    :ivar swallowed: is set once that answer was kept.
    """

    def __init__(self, port: int, queue: str) -> None:
        self._wanted = queue.encode("ascii")
        self._asked: Optional[tuple[Any, int]] = None
        self.swallowed = threading.Event()
        super().__init__(port)

    def _carry(self, pair: Any, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            for frame in _frames(source, greeting=source is pair[0]):
                if not self._is_swallowed(pair, frame):
                    target.sendall(frame)
        self._end(pair)

    def _is_swallowed(self, pair: Any, frame: bytes) -> bool:
        number, payload = struct.unpack(">H", frame[1:3])[0], frame[7:-1]
        if frame[0] == 1 and payload.startswith(CONSUME) and payload[7 : 7 + payload[6]] == self._wanted:
            self._asked = self._asked or (pair, number)
        elif frame[0] == 1 and payload.startswith(CONSUME_OK) and self._asked == (pair, number):
            if not self.swallowed.is_set():
                self.swallowed.set()
                return True
        return False


def _frames(source: socket.socket, greeting: bool) -> Iterator[bytes]:
    """What comes, frame by frame; a client begins with 8 bytes that are none."""
    data = bytearray()
    while received := source.recv(65536):
        data += received
        if greeting and len(data) >= 8:
            greeting = False
            yield bytes(data[:8])
            del data[:8]
        while not greeting and len(data) >= 7 and len(data) >= (size := 8 + struct.unpack(">L", data[3:7])[0]):
            yield bytes(data[:size])
            del data[:size]
