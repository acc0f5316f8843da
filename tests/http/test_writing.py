"""Writing at once: on a real TCP transport of Twisted's, with a socket that is none."""

from __future__ import annotations

import errno
from typing import Any, Optional

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.http.connections.writing import write_at_once


class Socket:
    """Takes so many bytes of each write."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.error: Optional[int] = None
        self.sent = b""
        self.calls = 0

    def setblocking(self, _: int) -> None:
        pass

    def fileno(self) -> int:
        return -1

    def send(self, data: Any) -> int:
        self.calls += 1
        if self.error is not None:
            raise OSError(self.error, "no")
        taken = bytes(data[: self.takes])
        self.sent += taken
        return len(taken)


class WritingTests(SynchronousTestCase):
    def make(self, takes: int = 1000) -> tuple[Socket, Any]:
        socket = Socket(takes)
        connection: Any = Connection(socket, Protocol(), MemoryReactorClock())  # type: ignore[arg-type]
        connection.connected = True
        return socket, connection

    def test_names(self) -> None:
        """The names of twisted.internet.tcp that this stands on are there; without them it is only slower."""
        _, connection = self.make()
        for name in ("connected", "disconnecting", "TLS", "dataBuffer", "_tempDataLen", "writeSomeData"):
            with case(name=name):
                self.assertTrue(hasattr(connection, name))

    def test_at_once(self) -> None:
        """What the socket takes is written in the call, and the reactor has nothing to do."""
        socket, connection = self.make()
        write_at_once(connection, b"abc")
        self.assertEqual((socket.sent, connection.reactor.getWriters()), (b"abc", []))

    def test_the_rest(self) -> None:
        """What the socket does not take is the reactor's, in order."""
        socket, connection = self.make(2)
        write_at_once(connection, b"abcde")
        self.assertEqual((socket.sent, connection.reactor.getWriters()), (b"ab", [connection]))
        write_at_once(connection, b"fg")
        self.assertEqual(socket.sent, b"ab")
        for _ in range(5):
            connection.doWrite()
        self.assertEqual(socket.sent, b"abcdefg")

    def test_full(self) -> None:
        """A socket that takes nothing leaves all of it to the reactor."""
        socket, connection = self.make()
        socket.error = errno.EWOULDBLOCK
        write_at_once(connection, b"abc")
        socket.error = None
        connection.doWrite()
        self.assertEqual(socket.sent, b"abc")

    def test_broken(self) -> None:
        """An error is left to the reactor, which ends the connection as always."""
        socket, connection = self.make()
        socket.error = errno.EPIPE
        write_at_once(connection, b"abc")
        self.assertEqual(connection.reactor.getWriters(), [connection])
        self.assertIsInstance(connection.doWrite(), Exception)

    def test_not_possible(self) -> None:
        """A connection that is being closed, or speaks TLS, or is no TCP, is written to as always."""
        for name in ("disconnecting", "TLS"):
            with case(name=name):
                socket, connection = self.make()
                written: list[bytes] = []
                connection.write = written.append
                setattr(connection, name, True)
                write_at_once(connection, b"abc")
                self.assertEqual((written, socket.calls), ([b"abc"], 0))
        transport = StringTransport()
        write_at_once(transport, b"abc")
        self.assertEqual(transport.value(), b"abc")
