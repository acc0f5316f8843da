"""
How the channels of a process are: what ``/health`` says, and what ``/metrics``
shows of their parts.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Optional, Protocol

from ..broker.interface import Broker, BrokerState
from ..caches import MessageCache
from ..delivery import DeliveryScheduler

#: From best to worst.
OK, DEGRADED, DOWN = "ok", "degraded", "down"

#: The states of a channel that has not been set up: it is tried again, or it is being set up.
FAILED, STARTING = "failed", "starting"

HEALTH_OF_BROKER = {BrokerState.CONNECTED: OK, BrokerState.BLOCKED: DEGRADED}


class Reporter(Protocol):
    """What ``/health`` asks."""

    def report(self) -> tuple[int, dict[str, Any]]:
        """
        :return: the HTTP status of ``/health``, and what it says, for JSON.
        """


class ChannelHealth:
    """
    How one channel is: ``ok``, ``degraded`` (it works, and somebody should
    have a look) or ``down``.

    :param connector: the channel's name.
    :param broker: without it nothing works: ``down``. While it blocks
        publishing what people say still reaches Turn: ``degraded``.
    :param scheduler: while Turn is away, or does not let us in, messages wait in
        their queues: ``degraded``.
    :param cache: while it is away replies go unlinked: ``degraded``. While something cannot be
        parked: ``degraded``, too.
    :ivar stopping: the channel is about to end: ``down``.
    :ivar standby: another worker consumes; this one takes its place when it ends.
    """

    def __init__(
        self,
        connector: str,
        broker: Broker,
        scheduler: DeliveryScheduler,
        cache: MessageCache,
        stands_by: Callable[[], bool] = lambda: False,
    ) -> None:
        self.connector = connector
        self.stopping = False
        self._stands_by = stands_by
        self._broker = broker
        self._scheduler = scheduler
        self._cache = cache

    @property
    def standby(self) -> bool:
        """Whether another worker consumes the connector, and this one waits."""
        return self._stands_by()

    def report(self) -> tuple[int, dict[str, Any]]:
        """See :class:`Reporter`."""
        components = {
            "amqp": self._amqp(),
            "turn": self._turn(),
            "cache": self._message_cache(),
            "parking": self._parking(),
        }
        health = DOWN if self.stopping else worst_of(part["health"] for part in components.values())
        report = {
            "health": health,
            "connector": self.connector,
            "stopping": self.stopping,
            "standby": self.standby,
            "components": components,
        }
        return status_of(health), report

    def _amqp(self) -> dict[str, Any]:
        state = self._broker.state
        return {
            "health": HEALTH_OF_BROKER.get(state, DOWN),
            "state": state.value,
            "reason": self._broker.reason,
            "reconnects": self._broker.reconnects,
        }

    def _turn(self) -> dict[str, Any]:
        scheduler = self._scheduler
        throttled = scheduler.throttled_until is not None
        states = {"misconfigured": scheduler.misconfigured, "away": scheduler.away, "throttled": throttled}
        return {
            # A rate limit is nothing that anybody has to see to.
            "health": DEGRADED if scheduler.misconfigured or scheduler.away else OK,
            "state": next((state for state, holds in states.items() if holds), OK),
            **states,
            "held": scheduler.held,
        }

    def _parking(self) -> dict[str, Any]:
        unparked = self._scheduler.unparked
        return {
            "health": DEGRADED if unparked else OK,
            "state": "failing" if unparked else OK,
            "unparked": unparked,
            "reason": self._scheduler.park_error if unparked else "",
        }

    def _message_cache(self) -> dict[str, Any]:
        healthy = self._cache.healthy
        return {"health": OK if healthy else DEGRADED, "state": OK if healthy else "away"}


class FleetHealth:
    """
    How the channels of a process are. It is ``down`` while it stops, and when
    all channels are: one that is wrongly configured must not make a balancer
    take the others away.

    :ivar stopping: the process is about to end.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._channels: dict[str, Optional[Reporter]] = {}
        self._failures: dict[str, str] = {}

    def add(self, connector: str, reporter: Reporter) -> None:
        """A channel works."""
        self._channels[connector] = reporter
        self._failures.pop(connector, None)

    def starting(self, connector: str) -> None:
        """A channel is being set up."""
        self._channels[connector] = None

    def failed(self, connector: str, reason: str) -> None:
        """A channel cannot be set up, for a reason."""
        self._channels[connector] = None
        self._failures[connector] = reason

    def remove(self, connector: str) -> None:
        """A channel has gone."""
        self._channels.pop(connector, None)
        self._failures.pop(connector, None)

    def report(self) -> tuple[int, dict[str, Any]]:
        """See :class:`Reporter`."""
        channels = {name: self._report_of(name, reporter) for name, reporter in self._channels.items()}
        found = {channel["health"] for channel in channels.values()}
        if self.stopping or found == {DOWN}:
            health = DOWN
        else:
            health = OK if found <= {OK} else DEGRADED
        return status_of(health), {"health": health, "stopping": self.stopping, "channels": channels}

    def _report_of(self, connector: str, reporter: Optional[Reporter]) -> dict[str, Any]:
        if reporter is not None:
            return reporter.report()[1]
        reason = self._failures.get(connector)
        state = STARTING if reason is None else FAILED
        return {"health": DOWN, "connector": connector, "state": state, "reason": reason or "", "components": {}}


def worst_of(found: Iterable[str]) -> str:
    """The worst of some healths; ``ok`` where there are none."""
    there = set(found)
    return next((bad for bad in (DOWN, DEGRADED) if bad in there), OK)


def status_of(health: str) -> int:
    """The HTTP status of ``/health``: balancers look at nothing else."""
    return 503 if health == DOWN else 200
