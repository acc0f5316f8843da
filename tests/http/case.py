"""HTTP clients in memory: twisted.web's own server on transports that only keep what is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Optional

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from vumi_turn.http.server import BoundedSite
from vumi_turn.turn.signature import sign

SECRET = b"a-secret"


class Transport(StringTransport):
    """A connection of a server, which can be half-closed; what is aborted is gone at once."""

    protocol: Any = None

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.77", 4711))
        self.half_closed = False
        self.gone = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def loseConnection(self) -> None:
        self.go(ConnectionDone())

    def abortConnection(self) -> None:
        self.go(ConnectionAborted())

    def go(self, reason: Exception) -> None:
        """The connection ends."""
        if not self.gone:
            self.gone = True
            self.disconnecting = True
            self.protocol.connectionLost(Failure(reason))


@dataclass(frozen=True)
class Response:
    """One answer as it was written."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded; an answer without the right type has none."""
        assert self.headers["content-type"] == "application/json", self.headers
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, int, str]:
        """Status, code and title, which have to agree."""
        (error,) = self.json["errors"]
        assert error["details"]
        return self.status, error["code"], error["title"]

    @property
    def message_id(self) -> str:
        """The id in a 200."""
        assert self.status == 200, (self.status, self.body)
        name: str = self.json["messages"][0]["id"]
        return name


class Client:
    """A client with one connection to a site."""

    def __init__(self, site: BoundedSite) -> None:
        self.transport = Transport()
        self.refused = True
        protocol = site.buildProtocol(None)
        if protocol is not None:
            self.refused = False
            self.transport.protocol = protocol
            protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Write bytes to the server."""
        if not self.transport.gone:
            self.transport.protocol.dataReceived(data)

    def half_close(self) -> None:
        """Close the client's side, as one does that sends no more requests and still reads."""
        self.transport.protocol.readConnectionLost()

    def leave(self) -> None:
        """Go away."""
        self.transport.go(ConnectionDone())

    def responses(self) -> list[Response]:
        """What was answered since the last time."""
        data = self.transport.value()
        self.transport.clear()
        found = []
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            status_line, *lines = head.decode("ascii").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            status = int(status_line.split()[1])
            length = int(headers.get("content-length", 0))
            assert "content-length" in headers or status == 100, headers
            found.append(Response(status, headers, data[:length]))
            data = data[length:]
        return found

    def response(self) -> Response:
        """The one answer there is."""
        (response,) = self.responses()
        return response

    def silent(self) -> bool:
        """Whether nothing has been answered."""
        return not self.transport.value()


def request(
    method: str = "POST",
    path: str = "/messages",
    body: bytes = b"",
    headers: Optional[dict[str, str]] = None,
    signature: Optional[bytes] = None,
) -> bytes:
    """
    The bytes of a request.

    :param signature: that of the body if None; an empty one is left out.
    """
    signed = sign(SECRET, body) if signature is None else signature
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: here"]
    lines += [f"{name}: {value}".encode() for name, value in (headers or {}).items()]
    if signed:
        lines.append(b"X-Turn-Hook-Signature: " + signed)
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(pieces: list[bytes], path: str = "/messages") -> bytes:
    """The bytes of a POST in chunks, signed."""
    head = [f"POST {path} HTTP/1.1".encode(), b"Host: here", b"Transfer-Encoding: chunked"]
    head.append(b"X-Turn-Hook-Signature: " + sign(SECRET, b"".join(pieces)))
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def take_turns(clock: Clock) -> int:
    """
    Let what waits for the reactor's next round have its turn, round by round
    as a reactor does it; a clock would do all in one.

    :return: how many rounds that were.
    """
    rounds = 0
    calls: Any = clock.calls
    while due := [call for call in calls if call.getTime() <= clock.seconds()]:
        rounds += 1
        for call in due:
            if call.active():
                calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
    return rounds


def no_calls_left(clock: Clock) -> bool:
    """Whether no delayed call is left behind."""
    return not clock.getDelayedCalls()
