"""Ports that outlive a worker which another one replaces."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.http import kept_ports
from vumi_turn.http.kept_ports import KeptPorts, Listening


class Port:
    """A port that notes what is done with it."""

    def __init__(self, reactor: Reactor, number: int, factory: Any) -> None:
        self.reactor, self.number, self.factory = reactor, number, factory
        self.reading = True
        factory.doStart()

    def stopReading(self) -> None:
        self.reading = False

    def stopListening(self) -> Deferred[None]:
        del self.reactor.ports[self.number]
        self.factory.doStop()
        return succeed(None)


class Reactor(MemoryReactorClock):
    """
    :ivar ports: the open ones by number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ports: dict[int, Port] = {}

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if port in self.ports:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        self.ports[port] = Port(self, port, factory)
        return self.ports[port]


class Protocols(Factory):
    """Makes protocols that are only its name, and notes how often it is started and stopped."""

    noisy = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.told: list[str] = []

    def startFactory(self) -> None:
        self.told.append("start")

    def stopFactory(self) -> None:
        self.told.append("stop")

    def buildProtocol(self, addr: Optional[IAddress]) -> Any:
        return self.name


class KeptPortsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.ports = KeptPorts()
        self.old, self.new = Protocols("old"), Protocols("new")

    def listen(self, description: str, factory: Any) -> Listening:
        return self.successResultOf(Deferred.fromCoroutine(self.ports.listen(self.reactor, description, factory)))

    def release(self, listening: Listening) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.ports.release(listening.port)))

    def close_kept(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.ports.close_kept()))

    def accepts(self, number: int = 8080) -> Any:
        """What becomes of a connection: which factory has it; None where nobody accepts it, or it is refused."""
        port = self.reactor.ports.get(number)
        address = IPv4Address("TCP", "127.0.0.1", 1)
        return port.factory.buildProtocol(address) if port is not None and port.reading else None

    def test_closed(self) -> None:
        """The port of a worker that stops is closed."""
        listening = self.listen("tcp:8080", self.old)
        self.assertEqual((self.accepts(), listening.was_kept), ("old", False))
        self.release(listening)
        self.assertEqual((self.reactor.ports, self.old.told), ({}, ["start", "stop"]))

    def test_kept(self) -> None:
        """That of a worker which is replaced stays open: connections wait, and the next worker has them."""
        listening = self.listen("tcp:8080", self.old)
        self.ports.keeping = True
        self.release(listening)
        self.assertEqual((self.accepts(), list(self.reactor.ports)), (None, [8080]))
        self.assertEqual(self.old.told, ["start", "stop"])
        again = self.listen("tcp:8080", self.new)
        self.assertEqual((again.port, again.was_kept), (listening.port, True))
        self.reactor.ports[8080].reading = True  # as the worker does when it can serve them
        self.assertEqual((self.accepts(), self.new.told), ("new", ["start"]))
        self.close_kept()
        self.assertEqual(list(self.reactor.ports), [8080])
        self.ports.keeping = False
        self.release(again)
        self.assertEqual((self.reactor.ports, self.new.told), ({}, ["start", "stop"]))

    def test_not_wanted(self) -> None:
        """A kept port that no worker wants is closed."""
        listening = self.listen("tcp:8080", self.old)
        self.ports.keeping = True
        self.release(listening)
        self.assertFalse(self.listen("tcp:9090", self.new).was_kept)
        self.close_kept()
        self.assertEqual(list(self.reactor.ports), [9090])

    def test_same_address_in_other_words(self) -> None:
        """Where the kept port is in the way of the next worker it is closed first."""
        listening = self.listen("tcp:8080", self.old)
        self.ports.keeping = True
        self.release(listening)
        again = self.listen("tcp:8080:interface=127.0.0.1", self.new)
        self.assertEqual((self.accepts(), again.was_kept, self.new.told), ("new", False, ["start"]))

    def test_taken(self) -> None:
        """An address that somebody else has stays an error."""
        self.reactor.listenTCP(8080, Protocols("somebody else's"))
        refused = Deferred.fromCoroutine(self.ports.listen(self.reactor, "tcp:8080", self.new))
        self.failureResultOf(refused, CannotListenError)

    def test_not_kept(self) -> None:
        """With TLS the certificate is read again, and a socket of systemd's stays open by itself: neither is kept."""

        class Other:
            def listen(inner, factory: Any) -> Deferred[Any]:
                return succeed(self.reactor.listenTCP(3, factory))

        self.patch(kept_ports, "server_endpoint", lambda reactor, description: Other())
        self.ports.keeping = True
        for description in ("ssl:443:privateKey=k", "systemd:domain=INET:index=0", "plugin:x"):
            with case(description=description):
                listening = self.listen(description, self.old)
                self.assertEqual((self.accepts(3), listening.was_kept), ("old", False))
                self.release(listening)
                self.assertEqual(self.reactor.ports, {})
