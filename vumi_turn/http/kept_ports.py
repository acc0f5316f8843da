"""
Ports that outlive a worker which another one replaces in the same process.

=======  ==================================  =======  ==============================
state    what happens                        next     then
=======  ==================================  =======  ==============================
open     its worker stops                    closed   connections are refused
open     its worker stops, is replaced       kept     connections wait in the backlog
kept     a worker listens on that address    open     it is the worker's
kept     no worker does                      closed   connections are refused
=======  ==================================  =======  ==============================
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Optional

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory

from .listening import server_endpoint

#: Kinds of endpoints whose ports are kept. One with TLS has read its certificate, which may be another
#: by now; a socket of systemd's stays open by itself; of others nothing is known.
_KEPT = re.compile(r"(tcp6?|unix):")


class Listening(NamedTuple):
    """
    What :meth:`KeptPorts.listen` gives.

    :ivar port: the port.
    :ivar was_kept: whether another worker had it; then it does not accept connections yet.
    """

    port: IListeningPort
    was_kept: bool


class KeptPorts:
    """
    What the workers of a process listen on, one worker after another.

    :ivar keeping: whether ports of a worker that stops are kept for the next one.
    """

    def __init__(self) -> None:
        self.keeping = False
        self._open: dict[IListeningPort, tuple[str, _Current]] = {}
        self._kept: dict[str, IListeningPort] = {}

    async def listen(self, reactor: Any, description: str, factory: IProtocolFactory) -> Listening:
        """
        Listen on an endpoint, on the port that is kept for it if there is one.

        :param description: as Twisted has it.
        :param factory: makes a protocol for each connection.
        :raises CannotListenError: the address is taken or not ours.
        :raises OSError: the endpoint's file cannot be made.
        """
        if not _KEPT.match(description):
            return Listening(await server_endpoint(reactor, description).listen(factory), False)
        port = self._kept.pop(description, None)
        if port is not None:
            self._open[port][1].change(factory)
            return Listening(port, True)
        current = _Current(factory)
        try:
            port = await server_endpoint(reactor, description).listen(current)
        except CannotListenError:
            if not self._kept:
                raise
            await self.close_kept()  # it may be the same address in other words
            port = await server_endpoint(reactor, description).listen(current)
        self._open[port] = description, current
        return Listening(port, False)

    async def release(self, port: Any) -> None:
        """A worker has stopped that listened on a port: keep or close it."""
        if self.keeping and port in self._open:
            description, current = self._open[port]
            port.stopReading()
            current.change(None)
            self._kept[description] = port
        else:
            self._open.pop(port, None)
            await maybeDeferred(port.stopListening)

    async def close_kept(self) -> None:
        """Close what no worker wants any more."""
        kept, self._kept = self._kept, {}
        for port in kept.values():
            del self._open[port]
            closed: Deferred[object] = maybeDeferred(port.stopListening)
            await closed


class _Current(Factory):
    """Stands for the factory of the worker that listens now."""

    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory: Optional[Any] = factory
        self._started = False

    def change(self, factory: Optional[IProtocolFactory]) -> None:
        """Another worker has the port, or none."""
        if self._started and self._factory is not None:
            self._factory.doStop()
        self._factory = factory
        if self._started and self._factory is not None:
            self._factory.doStart()

    def startFactory(self) -> None:
        self._started = True
        if self._factory is not None:
            self._factory.doStart()

    def stopFactory(self) -> None:
        self._started = False
        if self._factory is not None:
            self._factory.doStop()

    def buildProtocol(self, addr: Optional[IAddress]) -> Any:
        return None if self._factory is None else self._factory.buildProtocol(addr)
