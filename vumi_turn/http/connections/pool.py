"""The idle connections to all servers, and when they are closed."""

from __future__ import annotations

from typing import Any, Hashable, Optional

from twisted.internet.interfaces import IDelayedCall

from .connection import KeptConnection


class IdleConnections:
    """
    Keeps idle connections by their server. The one that was used last is
    taken first, so that what a lull leaves over gets old and is closed.

    One timer serves all: a call for each connection and request would cost
    more than the rest of the pool.

    :param reactor: tells the time.
    :param idle_timeout: seconds after which an idle one is closed.
    :param max_idle_per_host: how many are kept idle for one server.
    """

    def __init__(self, reactor: Any, idle_timeout: float, max_idle_per_host: int) -> None:
        self._reactor = reactor
        self._idle_timeout = idle_timeout
        self._max_idle = max_idle_per_host
        self._idle: dict[Hashable, list[KeptConnection]] = {}
        self._timer: Optional[IDelayedCall] = None
        self._stopped = False

    def take(self, server: Hashable) -> Optional[KeptConnection]:
        """An idle connection to this server, which is the caller's now."""
        idle = self._idle.get(server)
        return idle.pop() if idle else None

    def give(self, server: Hashable, connection: KeptConnection) -> None:
        """Keep an idle connection, or close it where there are enough."""
        idle = self._idle.get(server)
        if idle is None:
            idle = self._idle[server] = []
        if self._stopped or self._max_idle <= 0:
            connection.close()
            return
        connection.idle_since = self._reactor.seconds()
        idle.append(connection)
        if len(idle) > self._max_idle:
            idle.pop(0).close()
        if self._timer is None:
            self._timer = self._reactor.callLater(self._idle_timeout, self._sweep)

    def lost(self, server: Hashable, connection: KeptConnection) -> None:
        """A connection cannot be used any more."""
        idle = self._idle.get(server)
        if idle is not None and connection in idle:
            idle.remove(connection)
        if not idle:
            self._idle.pop(server, None)

    def close(self) -> list[KeptConnection]:
        """Close all idle connections, and keep none from now on; these are they."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        closing = [connection for idle in self._idle.values() for connection in idle]
        self._idle.clear()
        for connection in closing:
            connection.close()
        return closing

    def _sweep(self) -> None:
        """Close what has been idle for long, and look again when the next one has."""
        self._timer = None
        now = self._reactor.seconds()
        oldest: Optional[float] = None
        for idle in list(self._idle.values()):
            while idle and idle[0].idle_since + self._idle_timeout <= now:
                idle.pop(0).close()
            if idle and (oldest is None or idle[0].idle_since < oldest):
                oldest = idle[0].idle_since
        if oldest is not None:
            self._timer = self._reactor.callLater(oldest + self._idle_timeout - now, self._sweep)
