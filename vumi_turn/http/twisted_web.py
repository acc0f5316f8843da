"""
The private names of twisted.web that this server stands on, all of them.

twisted.web has no public way to stop reading a connection between two
requests, nor to answer what is not HTTP in one's own words. Each name has a
test in ``tests/http/test_twisted_web.py``: a Twisted in which it means
something else fails there.
"""

from __future__ import annotations

from typing import Any

from twisted.web.http import HTTPChannel
from twisted.web.server import Request


class OpenChannel(HTTPChannel):
    """A connection that calls public methods where twisted.web's calls private ones."""

    transport: Any
    timeOut: Any

    _buffer: bytes
    _networkProducer: Any
    _waitingForTransport: bool

    def refuse_malformed(self) -> None:
        """What has come is not HTTP, or has too many headers: answer and close."""
        raise NotImplementedError

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse_malformed()

    @property
    def has_unread(self) -> bool:
        """Whether bytes behind the present request have come already."""
        return bool(self._buffer)

    @property
    def client_reads_slowly(self) -> bool:
        """Whether the connection's buffer is full of answers."""
        return self._waitingForTransport

    def pause_reading(self) -> None:
        """Read nothing from the network."""
        self._networkProducer.pauseProducing()

    def resume_reading(self) -> None:
        """Read from the network again."""
        self._networkProducer.resumeProducing()

    def leave_reading(self) -> None:
        """Let nobody pause the reading any more."""
        self._networkProducer.unregisterProducer()


class OpenRequest(Request):
    """A request that calls public methods where twisted.web's calls private ones."""

    def star_requested(self) -> None:
        """It asks for ``*``, the whole server."""
        raise NotImplementedError

    def _handleStar(self) -> None:
        self.star_requested()
