"""
The private names of twisted.web that this server stands on, all of them.

twisted.web has no public way to stop reading a connection between two
requests, nor to answer what is not HTTP in one's own words. Each name has a
test in ``tests/http/test_twisted_web.py``: a Twisted in which it means
something else fails there.
"""

from __future__ import annotations

from typing import Any, Iterable

from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers

from .connections.writing import write_at_once


class OpenChannel(HTTPChannel):
    """A connection that calls public methods where twisted.web's calls private ones."""

    transport: Any
    timeOut: Any

    _buffer: bytes
    _networkProducer: Any
    _waitingForTransport: bool

    #: A head that waits for the first bytes of its body.
    _unwritten = b""

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Keep a response's head, so that it and its body are one segment."""
        lines = [b"%b %b %b\r\n" % (version, code, reason)]
        lines += [b"%b: %b\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self._unwritten = b"%b\r\n" % b"".join(lines)

    def write(self, data: bytes) -> None:
        """
        Write to the socket at once, where it takes it: through the reactor it
        would be two more system calls and another dispatch for each answer.
        """
        head, self._unwritten = self._unwritten, b""
        write_at_once(self.transport, head + data if head else data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """As :meth:`write`."""
        self.write(b"".join(iovec))

    def write_head(self) -> None:
        """No body follows now: write the head that waits for one."""
        if self._unwritten:
            self.write(b"")

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
