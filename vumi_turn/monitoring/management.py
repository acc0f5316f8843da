"""
What people and machines that look after a process can ask it: ``/health``,
``/live`` and ``/metrics``.
"""

from __future__ import annotations

import json

from klein import Klein
from klein.resource import KleinResource
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.server import Request

from ..http.responses import respond
from ..http.routing import answer_routing_errors
from .health import Reporter
from .metrics import CONTENT_TYPE, MetricsRegistry

METHODS = ("GET", "HEAD")

#: Bytes of ``/metrics`` that are rendered before the reactor may do something else.
RENDERED_AT_ONCE = 65536


def add_management_routes(app: Klein, health: Reporter, metrics: MetricsRegistry, clock: IReactorTime) -> None:
    """
    Give a klein app ``GET /health``, ``GET /live`` and ``GET /metrics``.

    :param clock: what a long text is rendered between the turns of.
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
        parts = []
        size = 0
        for part in metrics.render_in_parts():
            parts.append(part)
            size += len(part)
            if size > RENDERED_AT_ONCE:  # with many channels the whole would hold up messages
                await deferLater(clock, 0)
                size = 0
        return respond(request, 200, b"".join(parts), CONTENT_TYPE)


def management_resource(health: Reporter, metrics: MetricsRegistry, clock: IReactorTime) -> KleinResource:
    """
    ``/health``, ``/live`` and ``/metrics`` as a resource, for an address of its own or
    to be put beside another.
    """
    app = Klein()
    app.url_map.merge_slashes = False
    add_management_routes(app, health, metrics, clock)
    answer_routing_errors(app)
    return app.resource()
