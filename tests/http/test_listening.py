"""Where a server listens."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.cases import case
from tests.http.case import Client
from vumi_turn.http import listening
from vumi_turn.http.listening import JOIN, is_inherited, join, leave, server_endpoint, take_over
from vumi_turn.http.server import MAX_CONNECTIONS, BoundedSite


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


class Reactor(MemoryReactorClock):
    """Adopts descriptors, and remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.adopted: list[tuple[int, Any]] = []

    def adoptStreamPort(self, fileno: int, family: Any, factory: Any) -> Any:
        self.adopted.append((fileno, family))
        return object()


class InheritedTests(SynchronousTestCase):
    """A socket that systemd has opened."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.socket = socket.socket()
        self.addCleanup(self.socket.close)

        def handed_over(reactor: Any, description: str) -> AdoptedStreamServerEndpoint:
            if description != "systemd:domain=INET:name=turn":
                raise KeyError(description)
            return AdoptedStreamServerEndpoint(reactor, self.socket.fileno(), socket.AF_INET)

        self.patch(listening, "serverFromString", handed_over)

    def test_more_than_once(self) -> None:
        """The same process may listen on it again, after another configuration was read: it stays open."""
        for _ in range(2):
            endpoint = server_endpoint(self.reactor, "systemd:domain=INET:name=turn")
            self.assertTrue(self.successResultOf(endpoint.listen(Factory())))
        self.assertEqual(self.reactor.adopted, [(self.socket.fileno(), socket.AF_INET)] * 2)
        self.assertFalse(os.get_blocking(self.socket.fileno()) or os.get_inheritable(self.socket.fileno()))

    def test_not_handed_over(self) -> None:
        """One that is not there is an error that says what the unit needs."""
        error = self.assertRaises(CannotListenError, server_endpoint, self.reactor, "systemd:domain=INET:name=other")
        self.assertIn("the unit needs Sockets=", str(error))

    def test_which(self) -> None:
        """Only systemd's sockets are shared with other processes."""
        shared = [each for each in ("systemd:domain=INET:index=0", "tcp:8080", "unix:/a", None) if is_inherited(each)]
        self.assertEqual(shared, ["systemd:domain=INET:index=0"])


class JoinTests(SynchronousTestCase):
    """Another process may take the connections that this one cannot serve yet."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ready = False
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False

    def startReading(self) -> None:
        self.reading = True

    def start(self) -> Deferred[None]:
        async def sleep(seconds: float) -> None:
            await deferLater(self.clock, seconds)

        return Deferred.fromCoroutine(join(self, lambda: self.ready, sleep))

    def test_ready(self) -> None:
        """It accepts from when it is ready on."""
        joined = self.start()
        self.clock.pump([0.1] * 20)
        self.assertNoResult(joined)
        self.assertFalse(self.reading)
        self.ready = True
        self.clock.advance(0.1)
        self.successResultOf(joined)
        self.assertTrue(self.reading)

    def test_never_ready(self) -> None:
        """After a while it accepts all the same, and can say what is wrong."""
        joined = self.start()
        self.clock.pump([0.02] * int(JOIN / 0.02 + 2))
        self.successResultOf(joined)
        self.assertTrue(self.reading)


class LeaveTests(SynchronousTestCase):
    """Another process takes the next connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.site = BoundedSite(Resource(), self.clock, 1000)
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False

    def test_no_connections(self) -> None:
        """Without connections it is left at once."""
        self.successResultOf(Deferred.fromCoroutine(leave(self, self.site, self.clock)))
        self.assertEqual((self.reading, self.site.leaving), (False, True))

    def test_connections(self) -> None:
        """Those that were accepted have a moment for their request, and no more."""
        client, idle = Client(self.site), Client(self.site)
        left = Deferred.fromCoroutine(leave(self, self.site, self.clock))
        self.assertNoResult(left)
        self.assertFalse(self.reading)
        client.leave()
        self.clock.pump([0.1] * 5)
        self.assertNoResult(left)
        self.clock.pump([0.1] * 6)
        self.successResultOf(left)
        self.assertFalse(idle.transport.gone)

    def test_another_factory(self) -> None:
        """A factory that is no site of ours is left without waiting."""
        self.successResultOf(Deferred.fromCoroutine(leave(self, Factory(), self.clock)))
        self.assertFalse(self.reading)


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
