"""
What people and machines that look after the worker can ask it: ``/health`` and
``/metrics``.
"""

from __future__ import annotations

import json
from typing import Any

from klein import Klein
from klein.resource import KleinResource
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest
from werkzeug.exceptions import MethodNotAllowed as WrongMethod
from werkzeug.exceptions import NotFound as WrongPath

from .caches import MessageCache
from .delivery import Courier
from .metrics import CONTENT_TYPE, KINDS, Metrics
from .turn.client import TurnClient
from .turn.errors import MethodNotAllowed, NotFound
from .turn.site import respond, respond_error
from .vumi.broker import Broker

#: From best to worst.
OK, DEGRADED, DOWN = "ok", "degraded", "down"

CONNECTED = "connected"
BROKER_STATES = ("connecting", CONNECTED, "blocked", "closed")

METHODS = ("GET", "HEAD")


class Health:
    """
    How the worker is: ``down`` means that another one should be asked, or
    nobody; ``degraded`` that it works, with something to be seen to.

    :ivar stopping: the worker is about to end.
    """

    def __init__(self, broker: Broker, courier: Courier, cache: MessageCache) -> None:
        self.stopping = False
        self._broker = broker
        self._courier = courier
        self._cache = cache

    def report(self) -> tuple[int, dict[str, Any]]:
        """
        :return: the HTTP status of ``/health``, and what it says.
        """
        components = {"amqp": self._amqp(), "turn": self._turn(), "cache": self._cache_report()}
        found = [component["health"] for component in components.values()]
        if self.stopping:
            health = DOWN
        else:
            health = next((bad for bad in (DOWN, DEGRADED) if bad in found), OK)
        report = {"health": health, "stopping": self.stopping, "components": components}
        return (503 if health == DOWN else 200), report

    def _amqp(self) -> dict[str, Any]:
        state = self._broker.state
        return {
            "health": OK if state == CONNECTED else DOWN,
            "state": state,
            "reconnects": self._broker.reconnects,
        }

    def _turn(self) -> dict[str, Any]:
        courier = self._courier
        throttled = courier.throttled_until is not None
        states = {"misconfigured": courier.misconfigured, "away": courier.away, "throttled": throttled}
        return {
            # A rate limit is nothing that anybody has to see to.
            "health": DEGRADED if courier.misconfigured or courier.away else OK,
            "state": next((state for state, holds in states.items() if holds), OK),
            **states,
            "held": courier.held,
        }

    def _cache_report(self) -> dict[str, Any]:
        healthy = self._cache.healthy
        return {"health": OK if healthy else DEGRADED, "state": OK if healthy else "away"}


def watch_worker(
    metrics: Metrics,
    clock: IReactorTime,
    *,
    broker: Broker,
    courier: Courier,
    cache: MessageCache,
    turn: TurnClient,
) -> None:
    """Let ``/metrics`` show what the worker's parts know about themselves."""
    watch = metrics.watch
    watch("amqp_connected", "1 while consuming and publishing work.", lambda: broker.state == CONNECTED)
    watch(
        "amqp_state",
        "1 for the state that the broker's connection is in.",
        lambda: {state: state == broker.state for state in BROKER_STATES},
        label="state",
    )
    watch("amqp_reconnects", "Lost connections to the broker.", lambda: broker.reconnects, total=True)
    watch("waiting", "Messages and events in hand.", lambda: courier.waiting)
    watch("held", "Messages and events that wait for Turn.", lambda: courier.held)
    watch(
        "in_flight",
        "POSTs to Turn that are under way.",
        lambda: {kind: courier.in_flight_of(kind) for kind in KINDS},
        label="kind",
    )
    watch("away", "1 while Turn cannot be reached.", lambda: courier.away)
    watch("misconfigured", "1 while Turn does not let us in.", lambda: courier.misconfigured)
    watch(
        "throttled_seconds",
        "For how long Turn wants no more requests.",
        lambda: max((courier.throttled_until or 0.0) - clock.seconds(), 0.0),
    )
    watch("rate_limit", "Requests that Turn takes in a period.", lambda: turn.rate_limit)
    watch(
        "rate_limit_remaining",
        "Requests that Turn said it would still take.",
        lambda: turn.rate_limit_remaining,
    )
    watch("cache_entries", "Messages that the cache holds in this process.", lambda: cache.size)
    watch("cache_healthy", "0 while the message cache is away.", lambda: cache.healthy)


def add_management_routes(app: Klein, health: Health, metrics: Metrics) -> None:
    """Give a klein app ``GET /health`` and ``GET /metrics``."""

    @app.route("/health", methods=list(METHODS))
    def show_health(request: IRequest) -> bytes:
        status, report = health.report()
        request.setHeader(b"Cache-Control", b"no-store")
        return respond(request, status, json.dumps(report).encode("ascii"))

    @app.route("/metrics", methods=list(METHODS))
    def show_metrics(request: IRequest) -> bytes:
        return respond(request, 200, metrics.render(), CONTENT_TYPE)


def management_resource(health: Health, metrics: Metrics) -> KleinResource:
    """``/health`` and ``/metrics`` alone, for an address of their own."""
    app = Klein()
    add_management_routes(app, health, metrics)

    @app.handle_errors(WrongPath)
    def no_such_path(request: IRequest, failure: Any) -> bytes:
        return respond_error(request, NotFound())

    @app.handle_errors(WrongMethod)
    def no_such_method(request: IRequest, failure: Any) -> bytes:
        return respond_error(request, MethodNotAllowed(allow=METHODS))

    return app.resource()
