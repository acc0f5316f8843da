"""What plays Turn's webhook: signed POSTs to the worker, and badly made ones."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.client
import itertools
import json
import re
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional

SIGNATURE = "X-Turn-Hook-Signature"


_numbers = itertools.count()


def sign(secret: str, body: bytes) -> str:
    """The signature as Turn's documentation describes it."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


@dataclass(frozen=True)
class Response:
    """
    What the worker answered.

    :ivar seconds: how long that took.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def message_id(self) -> str:
        """The id in a 200."""
        name: str = self.json["messages"][0]["id"]
        return name

    @property
    def error(self) -> dict[str, Any]:
        """The one error of an answer that is none."""
        (error,) = self.json["errors"]
        assert isinstance(error, dict)
        return error


def outbound(to: str = "+26612345678", content: str = "Hi", **changes: Any) -> dict[str, Any]:
    """
    What Turn POSTs to a channel's endpoint for a text message. No two are the
    same: that would be one message, sent twice.
    """
    return {
        "to": to,
        "from": None,
        "reply_to": None,
        "content": content,
        "context": {"request": next(_numbers)},
        "block": None,
        "resources": None,
        "evaluated_resources": None,
        "turn": {"type": "text", "text": {"body": content}},
        "waiting_for_user_input": False,
        **changes,
    }


class HttpPeer:
    """
    A client of the worker's HTTP server.

    :param port: where the worker listens, on 127.0.0.1.
    :param secret: what is signed with.
    """

    def __init__(self, port: int, secret: str, path: str = "") -> None:
        self.port = port
        self.secret = secret
        self.path = f"{path}/messages"

    def post(self, value: Any, timeout: float = 20.0) -> Response:
        """POST a JSON value, signed."""
        return self.post_bytes(json.dumps(value).encode(), timeout=timeout)

    def post_bytes(self, body: bytes, signature: Optional[str] = None, timeout: float = 20.0) -> Response:
        """POST bytes, signed rightly unless a signature is given; an empty one is left out."""
        if signature is None:
            signature = sign(self.secret, body)
        headers = {"Content-Type": "application/json"}
        if signature:
            headers[SIGNATURE] = signature
        return self.request("POST", self.path, body, headers, timeout)

    def post_and_leave(self, body: bytes) -> None:
        """A client that POSTs bytes, signed, and goes away at once."""
        with self._connect() as connection:
            connection.sendall(self._request(body))

    def post_and_abort(self, body: bytes) -> None:
        """A client that POSTs bytes, signed, and resets the connection when they have been read."""
        with self._connect() as connection:
            connection.sendall(self._request(body))
            time.sleep(0.3)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def post_and_reset(self, body: bytes) -> None:
        """A client that POSTs bytes, signed, and goes away without reading the answer that has come."""
        with self._connect() as connection:
            connection.sendall(self._request(body))
            # With unread data the close is a reset.
            connection.recv(1, socket.MSG_PEEK)

    def post_all_but_the_end(self, body: bytes) -> Callable[[], None]:
        """A client whose last byte is on its way for long: call what is given to let it arrive, and the close."""
        connection = self._connect()
        connection.sendall(self._request(body)[:-1])

        def finish() -> None:
            with connection:
                connection.sendall(body[-1:])

        return finish

    def post_and_half_close(self, body: bytes) -> bytes:
        """A client that POSTs bytes, signed, closes its side and reads: what it reads."""
        with self._connect() as connection:
            connection.sendall(self._request(body))
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def burst(self, bodies: list[bytes], patience: float) -> list[str]:
        """
        POST all of these at the same moment, each on a connection of its own.

        :param patience: seconds after which a client goes away and sends its body again.
        :return: the ids in their 200s.
        """

        async def post(body: bytes) -> str:
            while True:
                exchange = asyncio.ensure_future(self._exchange(body))
                await asyncio.wait([exchange], timeout=patience)
                # What has come by now is an answer in time, however many others this loop has read before it.
                for _ in range(5):
                    await asyncio.sleep(0)
                if not exchange.done():
                    exchange.cancel()
                try:
                    answer = await exchange
                except (OSError, asyncio.CancelledError):
                    continue
                if answer.startswith(b"HTTP/1.1 200 "):
                    name: str = json.loads(answer.partition(b"\r\n\r\n")[2])["messages"][0]["id"]
                    return name
                await asyncio.sleep(0.2)

        async def all_of_them() -> list[str]:
            return await asyncio.gather(*map(post, bodies))

        return asyncio.run(all_of_them())

    async def _exchange(self, body: bytes) -> bytes:
        """What is answered to a request, headers and body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self._request(body))
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: ([0-9]+)", head)
            return head + await reader.readexactly(int(length[1]) if length else 0)
        except asyncio.IncompleteReadError:
            return b""
        finally:
            writer.close()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def _request(self, body: bytes) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n"
            f"{SIGNATURE}: {sign(self.secret, body)}\r\n\r\n"
        )
        return head.encode() + body

    def metric(self, name: str) -> float:
        """
        A number from ``/metrics``, 0 if it is not there.

        :param name: with its labels, if it has any beside ``connector``.
        """
        for line in self.get("/metrics").body.decode().splitlines():
            line = re.sub(r'connector="[^"]*",|,?connector="[^"]*"', "", line).replace("{}", "", 1)
            if line.startswith(f"{name} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def gone(self) -> float:
        """How many clients did not wait for their answer."""
        return self.metric('vumi_turn_outbound_total{answer="ClientGone"}')

    def get(self, path: str) -> Response:
        """GET."""
        return self.request("GET", path)

    def request(
        self,
        method: str,
        path: str,
        body: Optional[bytes] = None,
        headers: Optional[Mapping[str, Any]] = None,
        timeout: float = 20.0,
    ) -> Response:
        """One request on a connection of its own."""
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            return _read(connection, started)
        finally:
            connection.close()

    def post_pieces(self, pieces: Iterable[bytes], headers: Mapping[str, str], chunked: bool) -> tuple[Response, int]:
        """
        POST a body bit by bit, until the worker has heard enough.

        :param chunked: whether to send it in chunks; else ``headers`` say its length.
        :return: the answer, and how many bytes of the body were written.
        """
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        written = 0
        try:
            connection.putrequest("POST", self.path)
            for name, value in headers.items():
                connection.putheader(name, value)
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            try:
                for piece in _framed(pieces) if chunked else pieces:
                    connection.send(piece)
                    written += len(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has answered, and reads no more
            return _read(connection, started), written
        finally:
            connection.close()


def _framed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def _read(connection: http.client.HTTPConnection, started: float) -> Response:
    response = connection.getresponse()
    body = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Response(response.status, headers, body, time.monotonic() - started)
