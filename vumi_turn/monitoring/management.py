"""
What people and machines that look after a process can ask it: ``/health``,
``/live``, ``/metrics``, and on an address of its own the operator's page.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Awaitable, Callable, Iterable, Optional

from klein import Klein
from klein.resource import KleinResource
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.server import Request

from ..http.responses import respond
from ..http.routing import answer_routing_errors
from .health import Reporter
from .metrics import CONTENT_TYPE, MetricsRegistry
from .queue_counts import SCRAPED, QueueCounters
from .trace import TraceStore
from .views import ChannelViews

if TYPE_CHECKING:
    from .operator_page import OperatorPage

METHODS = ("GET", "HEAD")

#: Bytes of ``/metrics`` that are rendered before the reactor may do something else.
RENDERED_AT_ONCE = 20_000


async def _nothing() -> None:
    """Nothing has to be done before."""


class Management:
    """
    What a process keeps for those who look after it.

    :param clock: the reactor, or a clock.
    :param trace_key: the key of the hashes of addresses; made now where there is none.
    :param password: the operator's; None where nobody may change anything on the page.
    :param content: whether the page shows what people wrote.
    :param names: host names by which the page is reached, beside the machine's own, ``localhost`` and addresses.
    :ivar metrics: the numbers of the process and its channels.
    :ivar traces: what became of the latest messages.
    :ivar views: the channels.
    :ivar counters: the numbers of their queues.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        trace_key: Optional[str] = None,
        password: Optional[str] = None,
        content: bool = False,
        names: Iterable[str] = (),
    ) -> None:
        self.metrics = MetricsRegistry()
        key = secrets.token_bytes(32) if trace_key is None else trace_key.encode("utf-8")
        self.traces = TraceStore(time.time, key)
        self.views = ChannelViews()
        self.counters = QueueCounters(self.views, clock)
        self._clock = clock
        self._password = password
        self._content = content
        self._names = tuple(names)
        self._page: Optional[OperatorPage] = None

    def resource(self, health: Reporter, *, page: bool) -> KleinResource:
        """
        What is answered.

        :param health: says how the process is.
        :param page: with the operator's page and its API, which are for an address of their own only.
        """
        return management_resource(
            health,
            self.metrics,
            self._clock,
            page=self._page_of_operator() if page else None,
            before_scrape=lambda: self.counters.refresh(SCRAPED),
        )

    def remove(self, connector: str) -> None:
        """A channel has gone, and what was shown of it; its traces stay."""
        self.metrics.remove(connector)
        self.views.remove(connector)
        self.counters.forget(connector)

    def stop(self) -> None:
        """End what the page has under way."""
        if self._page is not None:
            self._page.stop()

    def _page_of_operator(self) -> OperatorPage:
        if self._page is None:
            # Imported where it is wanted: it is a seventh of what a worker loads.
            from .operator_page import OperatorPage

            self._page = OperatorPage(
                self.views,
                self.counters,
                self.traces,
                self._clock,
                password=self._password,
                content=self._content,
                names=self._names,
            )
        return self._page


def add_management_routes(
    app: Klein,
    health: Reporter,
    metrics: MetricsRegistry,
    clock: IReactorTime,
    before_scrape: Callable[[], Awaitable[None]] = _nothing,
) -> None:
    """
    Give a klein app ``GET /health``, ``GET /live`` and ``GET /metrics``.

    :param clock: what a long text is rendered between the turns of.
    :param before_scrape: gets the numbers that have to be asked for; its wait is bounded.
    """

    @app.route("/health", methods=list(METHODS))
    def show_health(request: Request) -> bytes:
        status, report = health.report()
        request.responseHeaders.setRawHeaders(b"Cache-Control", [b"no-store"])
        return respond(request, status, json.dumps(report).encode("ascii"))

    @app.route("/live", methods=list(METHODS))
    def show_live(request: Request) -> bytes:
        """The process answers; whether it is of use is for ``/health`` to say."""
        request.responseHeaders.setRawHeaders(b"Cache-Control", [b"no-store"])
        return respond(request, 200, b'{"live": true}')

    @app.route("/metrics", methods=list(METHODS))
    async def show_metrics(request: Request) -> bytes:
        await before_scrape()
        parts = []
        size = 0
        for part in metrics.render_in_parts():
            parts.append(part)
            size += len(part)
            if size > RENDERED_AT_ONCE:  # with many channels the whole would hold up messages
                await deferLater(clock, 0)
                size = 0
        return respond(request, 200, b"".join(parts), CONTENT_TYPE)


def management_resource(
    health: Reporter,
    metrics: MetricsRegistry,
    clock: IReactorTime,
    page: Optional[OperatorPage] = None,
    before_scrape: Callable[[], Awaitable[None]] = _nothing,
) -> KleinResource:
    """
    ``/health``, ``/live`` and ``/metrics`` as a resource, for an address of its own or
    to be put beside another.

    :param page: the operator's page, where it is for an address of its own.
    """
    app = Klein()
    app.url_map.merge_slashes = False
    add_management_routes(app, health, metrics, clock, before_scrape)
    if page is not None:
        page.add_routes(app)
    answer_routing_errors(app)
    return app.resource()
