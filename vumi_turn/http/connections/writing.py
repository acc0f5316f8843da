"""
Writing to a socket at once. ``transport.write`` of a TCP connection only asks
the reactor for its next round, which costs two system calls and a dispatch
more for each request.

This stands on names of ``twisted.internet.tcp`` that are not documented; a
test names them. Without them the plain way is taken.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection


def write_at_once(transport: Any, data: bytes) -> None:
    """
    Write, at once where that is possible: to a connected TCP socket without
    TLS for which nothing is waiting. What the socket does not take, and each
    error, is left to the reactor.

    :param transport: any transport.
    """
    if (
        isinstance(transport, Connection)
        and transport.connected
        and not (transport.disconnecting or transport.TLS or transport.dataBuffer or _waiting(transport))
    ):
        taken = transport.writeSomeData(data)
        # An error is an exception that is returned: it comes again below.
        if isinstance(taken, int) and taken > 0:
            data = data[taken:]
        if not data:
            return
    transport.write(data)


def _waiting(transport: Any) -> bool:
    """Whether something was written that is not in its buffer yet; True where that cannot be known."""
    return bool(getattr(transport, "_tempDataLen", 1))
