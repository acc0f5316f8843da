"""
A mobile network's message centre, as far as an SMPP transport needs one.

Source: SMPP 3.4 (docs.nimta.com/SMPP_v3_4_Issue1_2.pdf), sections 3.2, 4.4, 4.6 and appendix B.
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Any, Callable, Optional

#: Commands; an answer has the highest bit set.
ANSWER = 0x80000000
BIND_TRANSCEIVER, SUBMIT_SM, DELIVER_SM, UNBIND, ENQUIRE_LINK = 0x09, 0x04, 0x05, 0x06, 0x15

#: Statuses of an answer.
OK, INVALID_DESTINATION = 0x00, 0x0B

#: ``esm_class`` of a delivery receipt.
RECEIPT = 0x04

LATIN1 = 3


@dataclass(frozen=True)
class Submitted:
    """
    A message that the transport handed over.

    :ivar name: the message centre's own id for it; empty where it was refused.
    """

    name: str
    source: str
    destination: str
    text: bytes


class Smsc:
    """
    It listens on a port of 127.0.0.1 and serves one transport at a time.

    :ivar submitted: what it was handed, in order.
    :ivar decide: the status that a message to this address is answered with.
    """

    def __init__(self) -> None:
        self.submitted: list[Submitted] = []
        self.decide: Callable[[str], int] = lambda destination: OK
        self._names = (f"smsc-{number}" for number in itertools.count(4711))
        self._numbers = itertools.count(1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connection: Optional[socket.socket] = None
        self._bound = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def bound(self) -> bool:
        """Whether a transport has bound."""
        return self._bound.is_set()

    def says(self, person: str, to: str, text: str) -> None:
        """A person sends a message."""
        self._deliver(person, to, 0, text.encode("latin-1"))

    def reports(self, submitted: Submitted, state: str) -> None:
        """Report what became of a message, in the usual words."""
        date = "2608071412"
        text = f"id:{submitted.name} sub:001 dlvrd:001 submit date:{date} done date:{date} stat:{state} err:000 Text:"
        self._deliver(submitted.destination, submitted.source, RECEIPT, text.encode("ascii"))

    def close(self) -> None:
        """Hang up, and listen no more."""
        self._listener.close()
        if self._connection is not None:
            self._connection.close()

    def _serve(self) -> None:
        while True:
            try:
                self._connection, _ = self._listener.accept()
                self._talk(self._connection.makefile("rb"))
            except OSError:
                if self._listener.fileno() < 0:
                    return

    def _talk(self, stream: Any) -> None:
        while True:
            header = stream.read(16)
            if len(header) < 16:
                return
            length, command, _, number = struct.unpack(">IIII", header)
            body = stream.read(length - 16)
            if command == BIND_TRANSCEIVER:
                self._send(command | ANSWER, number, b"smsc\0")
                self._bound.set()
            elif command == SUBMIT_SM:
                self._submit(number, body)
            elif command in (UNBIND, ENQUIRE_LINK):
                self._send(command | ANSWER, number, b"")

    def _submit(self, number: int, body: bytes) -> None:
        _, rest = _text(body)
        source, rest = _text(rest[2:])
        destination, rest = _text(rest[2:])
        _, rest = _text(rest[3:])  # esm_class, protocol, priority; the schedule
        _, rest = _text(rest)  # the validity
        size = rest[4]
        status = self.decide(destination)
        name = next(self._names) if status == OK else ""
        self.submitted.append(Submitted(name, source, destination, rest[5 : 5 + size]))
        self._send(SUBMIT_SM | ANSWER, number, name.encode() + b"\0" if name else b"", status)

    def _deliver(self, source: str, destination: str, esm_class: int, text: bytes) -> None:
        def address(value: str) -> bytes:
            return b"\x01\x01" + value.encode("ascii") + b"\0"

        flags = struct.pack(">BBB2sBBBBB", esm_class, 0, 0, b"\0\0", 0, 0, LATIN1, 0, len(text))
        body = b"\0" + address(source) + address(destination) + flags + text
        self._send(DELIVER_SM, next(self._numbers), body)

    def _send(self, command: int, number: int, body: bytes, status: int = OK) -> None:
        assert self._connection is not None
        self._connection.sendall(struct.pack(">IIII", 16 + len(body), command, status, number) + body)


def _text(data: bytes) -> tuple[str, bytes]:
    """A text that ends with a zero byte, and what is behind it."""
    text, _, rest = data.partition(b"\0")
    return text.decode("ascii"), rest
