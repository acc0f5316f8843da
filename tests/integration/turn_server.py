"""
A local HTTP server that plays Turn, in threads of the test process.

It takes what the worker POSTs, remembers it, and answers as it is told: with a
status and headers, late, never, with a cut connection, or not at all.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Mapping, Optional

from tests.integration.waiting import SOON, wait_for

NUMBER = "4ef2c3ec-5f3f-4d1a-8d62-3f0c9e2f5b11"

MESSAGES, STATUSES = "messages", "statuses"


@dataclass(frozen=True)
class TurnResponse:
    """
    What a request gets.

    :ivar delay: seconds before the answer.
    :ivar hang: True to give no answer; the connection stays open.
    :ivar cut: True to close the connection without an answer.
    :ivar drip: True to send the headers and then hang within the body.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    delay: float = 0.0
    hang: bool = False
    cut: bool = False
    drip: bool = False


@dataclass
class Request:
    """
    A request as it came.

    :ivar kind: the last part of its path.
    :ivar began: when it had been read, by the monotonic clock.
    :ivar ended: when it had been answered, None if it has not been.
    :ivar status: what it was answered with, None if with nothing.
    """

    kind: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    began: float
    ended: Optional[float] = None
    status: Optional[int] = None

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def id(self) -> str:
        """The id of the message or status."""
        value = self.json
        name: str = (value.get("message") or value.get("status"))["id"]
        return name


class TurnServer:
    """
    :param token: what a request must bear; another one gets 401.
    :param context: to speak TLS; another one is used from the next
        :meth:`listen` on.
    :ivar requests: all of them, those still unanswered too, in the order in
        which they came.
    :ivar decide: gives each request its :class:`Answer`; called in the
        request's thread. :meth:`script` goes first.
    """

    def __init__(self, token: str, context: Optional[ssl.SSLContext] = None) -> None:
        self._token = token
        self.context = context
        self._lock = threading.Lock()
        self._script: list[TurnResponse] = []
        self.requests: list[Request] = []
        self.decide: Callable[[Request], TurnResponse] = lambda request: TurnResponse()
        self._released = threading.Event()
        self._connections: set[socket.socket] = set()
        self._server: Optional[ThreadingHTTPServer] = None
        self.port = 0
        self.listen()

    @property
    def url(self) -> str:
        """For ``turn_api_url``."""
        scheme = "http" if self.context is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/v1/numbers/{NUMBER}"

    # Life

    def listen(self) -> None:
        """Listen (again), always on the same port."""
        assert self._server is None, "it listens already"
        turn = self

        class Handler(_Handler):
            server_of_tests = turn

        server = _Server(("127.0.0.1", self.port), Handler)
        self.port = server.server_address[1]
        if self.context is not None:
            # Each connection's thread shakes hands when it first reads.
            server.socket = self.context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self._server = server
        self._released = threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse connections, and cut those there are."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        self._released.set()
        self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is gone already

    close = refuse

    def reset(self) -> None:
        """Forget what came, and answer 200 to everything."""
        with self._lock:
            self._script.clear()
            self.requests = []
            self.decide = lambda request: TurnResponse()
            released, self._released = self._released, threading.Event()
        released.set()
        if self._server is None:
            self.listen()

    # What it answers

    def script(self, *answers: TurnResponse) -> None:
        """The next requests get these, in this order."""
        with self._lock:
            self._script.extend(answers)

    def release(self) -> None:
        """Cut the requests that hang."""
        with self._lock:
            released, self._released = self._released, threading.Event()
        released.set()

    # What came

    def of(self, kind: str) -> list[Request]:
        """The requests to one path."""
        with self._lock:
            return [request for request in self.requests if request.kind == kind]

    def messages(self) -> list[Any]:
        """The messages as Turn got them."""
        return [request.json for request in self.of(MESSAGES)]

    def statuses(self) -> list[Any]:
        """The statuses as Turn got them."""
        return [request.json["status"] for request in self.of(STATUSES)]

    def wait_for(self, kind: str, name: str, timeout: float = SOON) -> Request:
        """The first request with this id that was accepted, once it is."""

        def look() -> Optional[Request]:
            for request in self.of(kind):
                if request.status is not None and request.status < 300 and request.id == name:
                    return request
            return None

        found = wait_for(look, f"Turn to get {name} at /{kind}", timeout)
        assert found is not None
        return found

    # For the handlers

    def answer_for(self, request: Request, authorized: bool) -> tuple[TurnResponse, threading.Event]:
        """Remember a request, and say what it gets."""
        with self._lock:
            self.requests.append(request)
            released = self._released
            if not authorized:
                return TurnResponse(401, body=b'{"errors": [{"title": "Unauthorized"}]}'), released
            if self._script:
                return self._script.pop(0), released
        return self.decide(request), released

    def bears_token(self, value: Optional[str]) -> bool:
        """Whether an Authorization header is the right one."""
        return value == f"Bearer {self._token}"

    def joined(self, connection: socket.socket) -> None:
        """A connection began."""
        with self._lock:
            self._connections.add(connection)

    def left(self, connection: socket.socket) -> None:
        """A connection ended."""
        with self._lock:
            self._connections.discard(connection)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that the other side, or a test, has cut is nobody's error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece and at once.
    wbufsize = -1
    disable_nagle_algorithm = True
    server_of_tests: TurnServer

    def setup(self) -> None:
        super().setup()
        self.server_of_tests.joined(self.connection)

    def finish(self) -> None:
        self.server_of_tests.left(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        turn = self.server_of_tests
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(
            self.path.rsplit("/", 1)[-1],
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            body,
            time.monotonic(),
        )
        answer, released = turn.answer_for(request, turn.bears_token(self.headers.get("Authorization")))
        if answer.delay:
            released.wait(answer.delay)
        if answer.hang:
            released.wait()
        if answer.hang or answer.cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) + (10 if answer.drip else 0)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()
        if answer.drip:
            released.wait()
            self.close_connection = True
            return
        request.status, request.ended = answer.status, time.monotonic()
