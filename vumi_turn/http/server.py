"""
A bounded HTTP server: what it takes from each client, and from all together,
is limited in size and in time, and whatever goes wrong is answered in JSON.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from ..timing.debug_lines import debug_lines
from .connection import IDLE_TIME, BoundedChannel
from .errors import ApiError
from .responses import BoundedRequest

log = Logger()

#: How many connections there are at a time. Beyond that one that has waited
#: for long is closed, or else the new one is answered 503.
MAX_CONNECTIONS = 500
#: Seconds for which none is closed while its request is on its way, or may be.
MIN_WAIT = 0.5
#: Bytes of all bodies that are in memory at a time.
MAX_HELD = 64 * 1024 * 1024


class BoundedSite(Site):
    """
    :param resource: what answers.
    :param reactor: measures time.
    :param max_request_size: bytes of a body, beyond which it is refused.
    :param max_connections: see :data:`MAX_CONNECTIONS`.
    :param max_held: bytes of all bodies together.
    :param observe: is told the error with which a request was refused before
        it had arrived.
    :ivar leaving: see :meth:`leave`.
    """

    protocol = BoundedChannel  # type: ignore[assignment]

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        max_request_size: int,
        max_connections: int = MAX_CONNECTIONS,
        observe: Optional[Callable[[ApiError], None]] = None,
        max_held: int = MAX_HELD,
    ) -> None:
        super().__init__(resource, BoundedRequest, timeout=IDLE_TIME, reactor=reactor)
        self.max_request_size = max_request_size
        self.observe = observe or (lambda error: None)
        self._max_connections = max_connections
        self._max_held = max_held
        self.leaving = False
        self._held = 0
        self._busy: set[BoundedChannel] = set()
        # Since when, in this order.
        self._waiting: dict[BoundedChannel, float] = {}
        self._beyond_limit: set[BoundedChannel] = set()

    @property
    def connections(self) -> int:
        """How many there are that may be answered otherwise than 503."""
        return len(self._busy) + len(self._waiting)

    @property
    def held(self) -> int:
        """Bytes of bodies in memory."""
        return self._held

    def buildProtocol(self, addr: Optional[IAddress]) -> Any:
        beyond_limit = self.connections >= self._max_connections and not self._make_room()
        if beyond_limit and len(self._beyond_limit) >= self._max_connections:
            return None
        channel: BoundedChannel = super().buildProtocol(addr)
        if beyond_limit:
            channel.is_beyond_limit = True
            self._beyond_limit.add(channel)
        return channel

    def _make_room(self) -> bool:
        """Close the connection that has waited for the longest, if that is long."""
        for oldest, since in self._waiting.items():
            if self.reactor.seconds() - since < MIN_WAIT:
                return False
            self.gone(oldest)
            oldest.close()
            return True
        return False

    def waits(self, channel: BoundedChannel) -> None:
        """See :class:`ConnectionLimit`."""
        self._busy.discard(channel)
        self._waiting.pop(channel, None)
        self._waiting[channel] = self.reactor.seconds()

    def waits_no_more(self, channel: BoundedChannel) -> None:
        """See :class:`ConnectionLimit`."""
        self._waiting.pop(channel, None)
        self._busy.add(channel)

    def gone(self, channel: BoundedChannel) -> None:
        """See :class:`ConnectionLimit`."""
        self._waiting.pop(channel, None)
        self._busy.discard(channel)
        self._beyond_limit.discard(channel)

    def hold(self, size: int) -> bool:
        """See :class:`ConnectionLimit`."""
        if self._held + size > self._max_held:
            return False
        self._held += size
        return True

    def release(self, size: int) -> None:
        """See :class:`ConnectionLimit`."""
        self._held -= size

    def startFactory(self) -> None:
        """No access log of twisted.web's: it has addresses and queries."""

    def leave(self) -> None:
        """Another process takes the next connections: each of those there are is closed after its next answer."""
        self.leaving = True
        for channel in self._busy:
            channel.close_after_answer()

    def stopFactory(self) -> None:
        """Nothing listens any more: close what is idle now, and the rest after its answer."""
        for channel in [*self._waiting, *self._beyond_limit]:
            channel.close_in_order()
        for channel in self._busy:
            channel.close_after_answer()

    def log(self, request: Any) -> None:
        if debug_lines.wanted:
            log.debug(
                "{method} {path} was answered {code}", method=request.method, path=request.path, code=request.code
            )

    def acceptableProtocols(self) -> list[bytes]:
        """For TLS endpoints: HTTP/2 would come without these limits."""
        return [b"http/1.1"]


class Paths(Resource):
    """
    One resource beside others that have exact paths of their own.

    :param resource: answers everything else.
    :param others: by path, such as ``b"/health"``.
    """

    isLeaf = True

    def __init__(self, resource: IResource, others: Mapping[bytes, IResource]) -> None:
        super().__init__()
        self._resource: Any = resource
        self._others: dict[bytes, Any] = dict(others)

    def render(self, request: Request) -> Any:
        return self._others.get(request.path, self._resource).render(request)
