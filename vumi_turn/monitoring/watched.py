"""What ``/metrics`` shows of a channel's parts: the numbers that these keep themselves."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ..broker.interface import Broker, BrokerState
from ..caches import MessageCache
from ..delivery import DeliveryScheduler
from ..failures.queue import FAILURES
from ..turn.client import TurnClient
from .metrics import KINDS, ChannelMetrics


def watch_channel(
    metrics: ChannelMetrics,
    clock: Any,
    *,
    broker: Broker,
    scheduler: DeliveryScheduler,
    cache: MessageCache,
    turn: TurnClient,
    queues: Callable[[], Mapping[str, int]] = dict,
) -> None:
    """
    Let ``/metrics`` show what a channel's parts know about themselves.

    :param clock: what the scheduler tells the time by.
    :param queues: how many messages are ready in each queue; empty while that is not known.
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
    watch(
        "cache_replaced_keys",
        "Entries of the message cache that were of another type or not readable, and were replaced.",
        lambda: cache.replaced_keys,
        total=True,
    )
    watch(
        "oldest_seconds",
        "The age of the oldest message or event in hand.",
        lambda: 0.0 if scheduler.oldest is None else max(clock.seconds() - scheduler.oldest, 0.0),
    )
    watch("unparked", "Messages that should be parked, and could not be yet.", lambda: scheduler.unparked)
    watch("queue_messages", "Messages that are ready in each queue.", lambda: queues() or None, label="queue")
    watch("parked", "Messages that are parked now.", lambda: queues().get(FAILURES))
