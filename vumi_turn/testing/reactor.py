"""A reactor in memory: a clock that only the test moves, on which what listens and what connects meet."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IListeningPort, IReactorPluggableNameResolver
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.test import iosim
from zope.interface import implementer

#: Maximum calls that are scheduled while no time passes: what schedules more goes on for ever.
MOST_CALLS = 20_000

#: The address of everything.
HOST = "127.0.0.1"


class _Names:
    """Every name is this machine's."""

    def resolveHostName(self, receiver: Any, name: str, portNumber: int = 0, *args: Any, **kw: Any) -> None:
        receiver.resolutionBegan(None)
        receiver.addressResolved(IPv4Address("TCP", HOST, portNumber))
        receiver.resolutionComplete()


@implementer(IListeningPort)
class _Port:
    """A port that is listened on until it is told to stop."""

    def __init__(self, servers: dict[int, Any], number: int, factory: Any) -> None:
        self._servers = servers
        self._number = number
        self._factory = factory

    def startListening(self) -> None:
        self._factory.doStart()
        self._servers[self._number] = self._factory

    def stopListening(self) -> Deferred[None]:
        if self._servers.pop(self._number, None) is not None:
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", HOST, self._number)


@implementer(IReactorPluggableNameResolver)
class ReactorInMemory(MemoryReactorClock):
    """
    A clock. What connects by TCP is connected to what listens on that port of
    the same reactor, or refused; no socket is opened. :meth:`flush` carries
    the bytes.

    It also notices what goes on for ever without time passing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver: Any = _Names()
        self._scheduled = 0
        self._listening: dict[int, Any] = {}
        self._connections: list[Any] = []

    # -- time ------------------------------------------------------------------

    def begin(self) -> None:
        """Count anew."""
        self._scheduled = 0

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> Any:
        self._scheduled += 1
        if self._scheduled > MOST_CALLS:
            self._scheduled = 0
            raise AssertionError(f"{MOST_CALLS} delayed calls without time passing: something loops")
        return super().callLater(delay, callable, *args, **kw)

    # -- connections -------------------------------------------------------------

    @property
    def is_listening(self) -> bool:
        """Whether anything listens."""
        return bool(self._listening)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Listen in memory; a number of 0 is the first that is free from 49152 on."""
        number = port or next(each for each in range(49152, 65536) if each not in self._listening)
        listening = _Port(self._listening, number, factory)
        listening.startListening()
        return listening

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        """Connect in memory, as soon as other calls are done."""
        connector = super().connectTCP(host, port, factory, timeout, bindAddress)
        self.callLater(0, self._connect, connector, port, factory)
        return connector

    def _connect(self, connector: Any, port: int, factory: Any) -> None:
        if connector.stoppedConnecting:
            return
        server_factory = self._listening.get(port)
        peer, host = IPv4Address("TCP", HOST, 40000), IPv4Address("TCP", HOST, port)
        server = None if server_factory is None else server_factory.buildProtocol(peer)
        client = None if server is None else factory.buildProtocol(host)
        if client is None:
            factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))
            return
        server_side = iosim.FakeTransport(server, isServer=True, hostAddress=host, peerAddress=peer)
        client_side = iosim.FakeTransport(client, isServer=False, hostAddress=peer, peerAddress=host)
        self._connections.append(iosim.connect(server, server_side, client, client_side, greet=False))

    def flush(self) -> bool:
        """
        Carry the bytes of all connections until they are silent.

        :return: whether there were any.
        """
        moved = [connection.flush() for connection in list(self._connections)]
        self._connections = [
            each for each in self._connections if not (each.clientIO.disconnected and each.serverIO.disconnected)
        ]
        return any(moved)
