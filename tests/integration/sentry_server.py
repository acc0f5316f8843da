"""What plays Sentry: a local HTTP server that keeps all it is sent, decompressed."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: The public key of a DSN.
KEY = "marker-sentry-key"


class SentryServer:
    """
    :ivar received: each request as text: its line, headers and body, without
        what is in the DSN, which Sentry has to see.
    :ivar hang: True to leave requests unanswered.
    """

    def __init__(self) -> None:
        self.received: list[str] = []
        self.reports: list[Any] = []
        self.hang = False
        self._released = threading.Event()
        server = self

        class Handler(_Handler):
            sentry = server

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def dsn(self) -> str:
        """For ``--sentry``."""
        return f"http://{KEY}@127.0.0.1:{self._server.server_address[1]}/42"

    def take(self, head: str, body: bytes, encoding: str) -> None:
        """Keep a request."""
        if encoding == "gzip":
            body = gzip.decompress(body)
        elif encoding == "deflate":
            body = zlib.decompress(body)
        elif encoding:
            raise AssertionError(f"an encoding that this server does not know: {encoding}")
        self.received.append((head + body.decode("utf-8")).replace(KEY, "KEY"))
        lines = body.split(b"\n")
        for header, payload in zip(lines[1::2], lines[2::2], strict=False):
            if json.loads(header)["type"] == "event":
                self.reports.append(json.loads(payload))

    def wait(self) -> None:
        """Hold a request up until the end."""
        self._released.wait(60)

    def close(self) -> None:
        """Listen no more."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    sentry: SentryServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.sentry.hang:
            self.sentry.wait()
            return
        self.sentry.take(f"{self.path}\n{self.headers}", body, self.headers.get("Content-Encoding", ""))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
