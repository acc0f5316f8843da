"""Where a server listens."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.http.listening import server_endpoint, take_over
from vumi_turn.http.server import MAX_CONNECTIONS


class BacklogTests(SynchronousTestCase):
    def listen(self, description: str) -> Any:
        """How the reactor is asked to listen."""
        reactor = MemoryReactorClock()
        self.successResultOf(server_endpoint(reactor, description).listen(Factory()))
        asked: list[Any] = [*reactor.tcpServers, *reactor.unixServers]
        return asked[0]

    def test_as_long_as_the_connections(self) -> None:
        """As many connections may wait as are allowed; Twisted's own number is 50."""
        for description in ("tcp:8080", "tcp6:8080:interface=\\:\\:1", "tcp:port=8080:interface=127.0.0.1"):
            with case(description=description):
                port, _, backlog, _ = self.listen(description)
                self.assertEqual((port, backlog), (8080, MAX_CONNECTIONS))

    def test_given(self) -> None:
        """Unless the description says another number."""
        self.assertEqual(self.listen("tcp:8080:backlog=7")[2], 7)

    def test_unix(self) -> None:
        """A Unix socket has it too, keeps its mode, and takes no lock that names a process."""
        path, _, backlog, mode, wants_pid = self.listen("unix:/no/such/turn\\:1.sock:mode=600")
        self.assertEqual((path, backlog, mode), ("/no/such/turn:1.sock", MAX_CONNECTIONS, 0o600))
        self.assertFalse(wants_pid)

    def test_others(self) -> None:
        """Other kinds are left as they are, and what is no endpoint is an error."""
        self.assertRaises(ValueError, server_endpoint, MemoryReactorClock(), "nonsense:1")
        self.assertTrue(server_endpoint(MemoryReactorClock(), "haproxy:tcp:8080"))


class TakeOverTests(SynchronousTestCase):
    """Unix sockets; each of these is a file, and nothing is sent."""

    def setUp(self) -> None:
        self.path = os.path.join(os.path.relpath(self.mktemp()) + ".sock")
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.socket.close)

    def test_nothing_there(self) -> None:
        """Where there is no file nothing is in the way."""
        self.assertIsNone(take_over(self.path))

    def test_owner_was_killed(self) -> None:
        """A socket on which nobody listens is removed, with its owner's lock, whoever has that number now."""
        self.socket.bind(self.path)
        self.socket.close()
        os.symlink(str(os.getpid()), f"{self.path}.lock")
        self.assertIsNone(take_over(self.path))
        self.assertEqual((os.path.lexists(self.path), os.path.lexists(f"{self.path}.lock")), (False, False))

    def test_in_use(self) -> None:
        """A socket on which somebody listens stays, and listening fails."""
        self.socket.bind(self.path)
        self.socket.listen(1)
        self.assertEqual(take_over(self.path), "another process listens on it")
        endpoint = server_endpoint(MemoryReactorClock(), f"unix:{self.path}")
        error = self.failureResultOf(endpoint.listen(Factory()), CannotListenError)
        self.assertIn("another process listens on it", str(error.value))
        self.assertTrue(os.path.exists(self.path))

    def test_no_socket(self) -> None:
        """What is no socket is not touched."""
        with open(self.path, "w"):
            pass
        self.assertEqual(take_over(self.path), "the file is there and is no socket")
        self.assertTrue(os.path.exists(self.path))
