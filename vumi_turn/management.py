"""
``/health`` for load balancers and ``/metrics`` for Prometheus.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from klein import Klein
from twisted.web.resource import IResource
from twisted.web.server import Request

from .metrics import Metrics
from .turn.site import respond
from .turn.webhook import answer_routing_errors

OK, DEGRADED, DOWN = "ok", "degraded", "down"
_BADNESS = (OK, DEGRADED, DOWN)

HEALTH_PATH = b"/health"
METRICS_PATH = b"/metrics"

#: Prometheus' text format.
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class BrokerHealth(Protocol):
    """What is looked at of a broker: ``connecting``, ``connected``, ``blocked`` or ``closed``."""

    @property
    def state(self) -> str: ...


class CourierHealth(Protocol):
    """What is looked at of the delivery to Turn."""

    @property
    def away(self) -> bool: ...

    @property
    def misconfigured(self) -> bool: ...

    @property
    def throttled_until(self) -> Any: ...


class CacheHealth(Protocol):
    """What is looked at of the message cache."""

    @property
    def healthy(self) -> bool: ...


class Health:
    """
    How the worker is.

    :param broker: without it nothing works: ``down``. While it is blocked
        messages from people still flow: ``degraded``.
    :param courier: while Turn is away, or does not let us in, messages wait: ``degraded``.
    :param cache: while it is away replies go unlinked: ``degraded``.
    :ivar stopping: set it when the worker stops: ``down``.
    """

    def __init__(self, broker: BrokerHealth, courier: CourierHealth, cache: CacheHealth) -> None:
        self.stopping = False
        self._broker = broker
        self._courier = courier
        self._cache = cache

    def report(self) -> tuple[int, dict[str, Any]]:
        """
        :return: the HTTP status, 200 or 503, and what is told as JSON.
        """
        components = {"amqp": self._amqp(), "turn": self._turn(), "cache": self._cached()}
        health = max((part["health"] for part in components.values()), key=_BADNESS.index)
        if self.stopping:
            health = DOWN
        report: dict[str, Any] = {"health": health, "components": components}
        if self.stopping:
            report["stopping"] = True
        return (503 if health == DOWN else 200), report

    def _amqp(self) -> dict[str, str]:
        state = self._broker.state
        return {"health": {"connected": OK, "blocked": DEGRADED}.get(state, DOWN), "state": state}

    def _turn(self) -> dict[str, str]:
        if self._courier.misconfigured:
            return {"health": DEGRADED, "state": "misconfigured"}
        if self._courier.away:
            return {"health": DEGRADED, "state": "away"}
        # Waiting for the rate limit is an ordinary thing to do.
        return {"health": OK, "state": "up" if self._courier.throttled_until is None else "throttled"}

    def _cached(self) -> dict[str, str]:
        if self._cache.healthy:
            return {"health": OK, "state": "up"}
        return {"health": DEGRADED, "state": "away"}


def management_resource(health: Health, metrics: Metrics) -> IResource:
    """
    A resource with ``/health`` and ``/metrics``, for a site of its own or
    beside the webhook (:func:`beside`).
    """
    app = Klein()
    app.url_map.merge_slashes = False

    @app.route(HEALTH_PATH.decode(), methods=["GET"])
    def show_health(request: Request) -> bytes:
        status, report = health.report()
        return respond(request, status, json.dumps(report).encode("ascii"))

    @app.route(METRICS_PATH.decode(), methods=["GET"])
    def show_metrics(request: Request) -> bytes:
        return respond(request, 200, metrics.render(), METRICS_TYPE)

    answer_routing_errors(app)
    resource: IResource = app.resource()
    return resource


def beside(management: IResource) -> dict[bytes, IResource]:
    """For :meth:`vumi_turn.turn.webhook.Webhook.site`: ``/health`` and ``/metrics`` on its address."""
    return {HEALTH_PATH: management, METRICS_PATH: management}


__all__ = ["Health", "Metrics", "beside", "management_resource"]
