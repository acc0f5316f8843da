"""
Where a server listens: Twisted's endpoints, with a backlog for as many
connections as are allowed, Unix sockets that outlive a killed owner, and
sockets of systemd's, on which another process listens too.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
from typing import Any, Awaitable, Callable, Optional

from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime, IStreamServerEndpoint
from twisted.internet.task import deferLater
from zope.interface import implementer

from .server import MAX_CONNECTIONS, BoundedSite

#: Seconds that connections which were accepted before have for their request, where another process accepts the next.
LEAVE = 1.0

#: Seconds after which connections are accepted although they cannot be served: they are answered that.
JOIN = 10.0
#: Seconds between two looks whether it is time.
_STEP = 0.02

#: Kinds of endpoints that have a backlog.
_WITH_BACKLOG = re.compile(r"(tcp6?|ssl|unix):")

#: What is separated by colons in a description; a colon in a value has a backslash before it.
_PARTS = re.compile(r"((?:[^:\\]|\\.)*)(?::|\Z)")


def server_endpoint(reactor: Any, description: str, backlog: int = MAX_CONNECTIONS) -> IStreamServerEndpoint:
    """
    The endpoint that a description means.

    :param description: as Twisted has it, such as ``tcp:8080`` or ``unix:/run/turn.sock``.
    :param backlog: how many connections may wait to be accepted, unless the description says so.
    :raises ValueError: it means none.
    :raises CannotListenError: systemd has handed over no such socket.
    """
    parts = [part.replace("\\:", ":").replace("\\\\", "\\") for part in _PARTS.findall(description)][:-1]
    if _WITH_BACKLOG.match(description) and not _has(parts, "backlog"):
        description += f":backlog={backlog}"
    if is_inherited(description):
        return _InheritedEndpoint(reactor, description)
    if parts[:1] != ["unix"]:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
        return endpoint
    if not _has(parts, "lockfile"):
        # Twisted's lock names a process id, which in a container is always alive.
        description += ":lockfile=0"
    paths = [part.removeprefix("address=") for part in parts[1:] if "=" not in part or part.startswith("address=")]
    return _UnixEndpoint(serverFromString(reactor, description), paths[0] if paths else "")


def is_inherited(description: Any) -> bool:
    """Whether this is a socket that systemd has opened, and that other processes may listen on too."""
    return isinstance(description, str) and description.startswith("systemd:")


async def join(port: Any, is_ready: Callable[[], bool], sleep: Callable[[float], Awaitable[None]]) -> None:
    """
    Begin to accept connections on an inherited socket once they can be served:
    until then they are for another process, or wait.

    :param port: listens on the socket.
    :param is_ready: whether requests can be served.
    :param sleep: waits so many seconds.
    """
    port.stopReading()
    waited = 0.0
    while not is_ready() and waited < JOIN:
        await sleep(_STEP)
        waited += _STEP
    port.startReading()


async def leave(port: Any, factory: Any, clock: IReactorTime) -> None:
    """
    Stop accepting connections on an inherited socket, and answer what was
    accepted before; the next ones are for another process, or wait until there is one.

    :param port: listens on the socket; it is closed later.
    :param factory: its connections' factory.
    :param clock: measures the wait, at most :data:`LEAVE`.
    """
    port.stopReading()
    if isinstance(factory, BoundedSite):
        factory.leave()
        ends_at = clock.seconds() + LEAVE
        while factory.connections and clock.seconds() < ends_at:
            await deferLater(clock, _STEP)


def _has(parts: list[str], name: str) -> bool:
    return any(part.startswith(f"{name}=") for part in parts)


@implementer(IStreamServerEndpoint)
class _InheritedEndpoint:
    """
    A socket that systemd has opened. Twisted closes what it has inherited once
    it listens; here it stays open, because the same process may listen anew
    after another configuration was read.
    """

    def __init__(self, reactor: Any, description: str) -> None:
        self._reactor = reactor
        try:
            self._inherited: Any = serverFromString(reactor, description)
        except (IndexError, KeyError):
            why = "systemd has handed over no such socket; the unit needs Sockets= with a socket unit"
            raise CannotListenError("", description, why) from None

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See :class:`IStreamServerEndpoint`."""
        return execute(self._adopt, protocolFactory)

    def _adopt(self, factory: IProtocolFactory) -> IListeningPort:
        os.set_blocking(self._inherited.fileno, False)
        os.set_inheritable(self._inherited.fileno, False)
        family = self._inherited.addressFamily
        port: IListeningPort = self._reactor.adoptStreamPort(self._inherited.fileno, family, factory)
        return port


@implementer(IStreamServerEndpoint)
class _UnixEndpoint:
    """A Unix socket whose file is taken over where nobody listens on it any more."""

    def __init__(self, endpoint: IStreamServerEndpoint, path: str) -> None:
        self._endpoint = endpoint
        self._path = path

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        See :class:`IStreamServerEndpoint`.

        :return: fails with CannotListenError where another process listens, or the file is no socket.
        """
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        obstacle = take_over(self._path)
        if obstacle is not None:
            raise CannotListenError(None, self._path, OSError(errno.EADDRINUSE, obstacle))
        port: IListeningPort = await self._endpoint.listen(factory)
        return port


def take_over(path: str) -> Optional[str]:
    """
    Remove a Unix socket's file, and Twisted's lock, where its owner was killed.

    :return: why it cannot be listened on; None if it can.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return None  # there is none, or listening will say what is wrong
    if not stat.S_ISSOCK(mode):
        return "the file is there and is no socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            pass
        except OSError as error:  # EAGAIN: its backlog is full
            return f"it is in use ({error.strerror})"
        else:
            return "another process listens on it"
    os.unlink(path)
    lock = f"{path}.lock"
    if os.path.islink(lock):
        os.unlink(lock)
    return None
