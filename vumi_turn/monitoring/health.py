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
from twisted.internet.task import deferLater
from twisted.web.server import Request

from ..broker.interface import Broker, BrokerState
from ..caches import MessageCache
from ..delivery import DeliveryScheduler
from ..http.responses import respond
from ..turn.client import TurnClient
from ..turn.webhook import answer_routing_errors
from .metrics import CONTENT_TYPE, KINDS, ChannelMetrics, MetricsRegistry

#: From best to worst.
OK, DEGRADED, DOWN = "ok", "degraded", "down"

HEALTH_OF_BROKER = {BrokerState.CONNECTED: OK, BrokerState.BLOCKED: DEGRADED}

METHODS = ("GET", "HEAD")

#: Bytes of ``/metrics`` that are rendered before the reactor may do something else.
RENDERED_AT_ONCE = 65536


class Health:
    """
    How the worker is: ``ok``, ``degraded`` (it works, and somebody should have
    a look) or ``down``.

    :param broker: without it nothing works: ``down``. While it blocks
        publishing what people say still reaches Turn: ``degraded``.
    :param scheduler: while Turn is away, or does not let us in, messages wait in
        their queues: ``degraded``.
    :param cache: while it is away replies go unlinked: ``degraded``.
    :ivar stopping: the worker is about to end: ``down``.
    """

    def __init__(self, broker: Broker, scheduler: DeliveryScheduler, cache: MessageCache) -> None:
        self.stopping = False
        self._broker = broker
        self._courier = scheduler
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
            "health": HEALTH_OF_BROKER.get(state, DOWN),
            "state": state.value,
            "reconnects": self._broker.reconnects,
        }

    def _turn(self) -> dict[str, Any]:
        scheduler = self._courier
        throttled = scheduler.throttled_until is not None
        states = {"misconfigured": scheduler.misconfigured, "away": scheduler.away, "throttled": throttled}
        return {
            # A rate limit is nothing that anybody has to see to.
            "health": DEGRADED if scheduler.misconfigured or scheduler.away else OK,
            "state": next((state for state, holds in states.items() if holds), OK),
            **states,
            "held": scheduler.held,
        }

    def _cache_report(self) -> dict[str, Any]:
        healthy = self._cache.healthy
        return {"health": OK if healthy else DEGRADED, "state": OK if healthy else "away"}


def watch_channel(
    metrics: ChannelMetrics,
    clock: Any,
    *,
    broker: Broker,
    scheduler: DeliveryScheduler,
    cache: MessageCache,
    turn: TurnClient,
) -> None:
    """
    Let ``/metrics`` show what a channel's parts know about themselves.

    :param clock: what the scheduler tells the time by.
    """
    watch = metrics.watch
    watch("amqp_connected", "1 while consuming and publishing work.", lambda: broker.state is BrokerState.CONNECTED)
    watch(
        "amqp_state",
        "1 for the state that the broker's connection is in.",
        lambda: {state.value: state is broker.state for state in BrokerState},
        label="state",
    )
    watch("amqp_reconnects", "Lost connections to the broker.", lambda: broker.reconnects, total=True)
    watch("waiting", "Messages and events in hand.", lambda: scheduler.waiting)
    watch("held", "Messages and events that wait for Turn.", lambda: scheduler.held)
    watch(
        "in_flight",
        "POSTs to Turn that are under way.",
        lambda: {kind: scheduler.in_flight_of(kind) for kind in KINDS},
        label="kind",
    )
    watch("away", "1 while Turn cannot be reached.", lambda: scheduler.away)
    watch("misconfigured", "1 while Turn does not let us in.", lambda: scheduler.misconfigured)
    watch(
        "throttled_seconds",
        "For how long Turn wants no more requests.",
        lambda: max((scheduler.throttled_until or 0.0) - clock.seconds(), 0.0),
    )
    watch("rate_limit", "Requests that Turn takes in a period.", lambda: turn.rate_limit)
    watch(
        "rate_limit_remaining",
        "Requests that Turn said it would still take.",
        lambda: turn.rate_limit_remaining,
    )
    watch("cache_entries", "Messages that the cache holds in this process.", lambda: cache.size)
    watch("cache_healthy", "0 while the message cache is away.", lambda: cache.healthy)


def add_management_routes(app: Klein, health: Health, metrics: MetricsRegistry, clock: IReactorTime) -> None:
    """
    Give a klein app ``GET /health`` and ``GET /metrics``.

    :param clock: what a long text is rendered between the turns of.
    """

    @app.route("/health", methods=list(METHODS))
    def show_health(request: Request) -> bytes:
        status, report = health.report()
        request.responseHeaders.setRawHeaders(b"Cache-Control", [b"no-store"])
        return respond(request, status, json.dumps(report).encode("ascii"))

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


def management_resource(health: Health, metrics: MetricsRegistry, clock: IReactorTime) -> KleinResource:
    """
    ``/health`` and ``/metrics`` as a resource, for an address of its own or
    to be put beside another.
    """
    app = Klein()
    app.url_map.merge_slashes = False
    add_management_routes(app, health, metrics, clock)
    answer_routing_errors(app)
    return app.resource()
