"""The operator's page, and the API that it is made of, for one process."""

from __future__ import annotations

import socket
from typing import Any, Iterable, Optional

from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from ..http.access import check_host
from ..http.errors import NotFound
from ..http.static_files import StaticFiles, design_files
from .api import OperatorApi
from .live import LiveUpdates
from .parked import ParkedMessages
from .queue_counts import QueueCounters
from .trace import TraceStore
from .views import ChannelViews

#: Headers of the page and its files.
SAFE_HEADERS = {
    b"Content-Security-Policy": b"default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none';"
    b" frame-ancestors 'none'",
    b"X-Content-Type-Options": b"nosniff",
    b"Referrer-Policy": b"no-referrer",
}


class OperatorPage:
    """
    What the page shows, and how it is served.

    :param views: the process's channels.
    :param counters: their queues' numbers.
    :param traces: their messages' steps.
    :param clock: for the waits.
    :param password: the operator's; None where nobody may change anything.
    :param content: whether what people wrote is shown.
    :param names: host names by which the page is reached, beside the machine's own, ``localhost`` and addresses.
    """

    def __init__(
        self,
        views: ChannelViews,
        counters: QueueCounters,
        traces: TraceStore,
        clock: IReactorTime,
        *,
        password: Optional[str] = None,
        content: bool = False,
        names: Iterable[str] = (),
    ) -> None:
        self._names = (socket.gethostname(), *names)
        self._live = LiveUpdates(views, counters, clock)
        self._parked = ParkedMessages(
            views, counters, traces.person_hash, clock, content=content, changed=self._live.parked
        )
        self._api = OperatorApi(
            views, counters, traces, self._parked, self._live, clock, password=password, names=self._names
        )
        self._files = StaticFiles("vumi_turn.monitoring", "page")
        self._design = design_files()

    def add_routes(self, app: Klein) -> None:
        """Give a klein application the page, its files and its API."""
        self._api.add_routes(app)

        @app.route("/", methods=["GET"])
        def index(request: Request) -> bytes:
            return self._file(request, self._files, "index.html")

        @app.route("/page/<name>", methods=["GET"])
        def page_file(request: Request, name: str) -> bytes:
            return self._file(request, self._files, name)

        @app.route("/design/<name>", methods=["GET"])
        def design_file(request: Request, name: str) -> bytes:
            return self._file(request, self._design, name)

    def stop(self) -> None:
        """End what is under way."""
        self._live.stop()
        self._parked.stop()

    def _file(self, request: Any, files: StaticFiles, name: str) -> bytes:
        check_host(request, self._names)
        for header, value in SAFE_HEADERS.items():
            request.responseHeaders.setRawHeaders(header, [value])
        body = files.respond(request, name)
        if body is None:
            raise NotFound()
        request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
        return body
