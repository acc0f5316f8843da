"""
What ``/metrics`` shows, in Prometheus' names and units. Nothing here is an
address, a secret or content: labels are words of this program only.
"""

from __future__ import annotations

from typing import Callable, Iterable, Optional, Union

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.logger import Logger

log = Logger()

PREFIX = "vumi_turn"

#: Seconds. A broker confirms in milliseconds, Turn answers in tenths of a
#: second, and a queue may wait for as long as an outage lasts.
CONFIRM_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 4)
ANSWER_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
QUEUE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 1200)

#: What :meth:`Metrics.watch` is asked for, and what it means.
WATCHED = {
    "held": "Messages and statuses that wait until Turn takes them.",
    "in_flight_messages": "POSTs of messages that Turn has not answered.",
    "in_flight_statuses": "POSTs of statuses that Turn has not answered.",
    "cache_entries": "Messages in the message cache's memory.",
    "amqp_connected": "1 while consuming from and publishing to the broker work, else 0.",
    "amqp_reconnects": "Connections to the broker that were lost.",
    "turn_rate_limit_remaining": "Requests that Turn, in its last answer that said so, would still take.",
}

#: Those of them that only grow.
WATCHED_COUNTERS = frozenset({"amqp_reconnects"})

Number = Union[int, float]
Look = Callable[[], Optional[Number]]


class Metrics:
    """
    Counts what happens. Each has a registry of its own, so that several
    workers may live in one process.

    The kinds are ``message`` and ``status``.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._watched = _Watched()
        registry.register(self._watched)

        def counter(name: str, text: str, labels: Iterable[str] = ()) -> Counter:
            return Counter(f"{PREFIX}_{name}", text, labels, registry=registry)

        def histogram(
            name: str, text: str, buckets: tuple[float, ...], labels: Iterable[str] = ()
        ) -> Histogram:
            return Histogram(f"{PREFIX}_{name}", text, labels, registry=registry, buckets=buckets)

        self._consumed = counter("consumed_total", "Deliveries taken from the broker.", ["kind"])
        self._settled = counter(
            "settled_total", "Deliveries by what became of them.", ["kind", "verdict"]
        )
        self._tries = counter("tries_total", "POSTs to Turn, by what came of them.", ["kind", "verdict"])
        self._answer = histogram(
            "turn_answer_seconds", "How long a POST to Turn took.", ANSWER_BUCKETS, ["kind"]
        )
        self._queue = histogram(
            "queue_to_turn_seconds", "From a delivery by the broker until Turn had it.", QUEUE_BUCKETS, ["kind"]
        )
        self._outbound = counter(
            "outbound_total", "POSTs from Turn, by their answer: ok or the error's title.", ["result"]
        )
        self._confirm = histogram(
            "confirm_seconds", "How long the broker took to confirm an outbound message.", CONFIRM_BUCKETS
        )
        self._without_recipient = counter(
            "statuses_without_recipient_total", "Statuses of messages that the cache no longer had."
        )

    def consumed(self, kind: str) -> None:
        """A delivery was taken from the broker."""
        self._consumed.labels(kind).inc()

    def settled(self, kind: str, verdict: str) -> None:
        """What became of a delivery."""
        self._settled.labels(kind, verdict).inc()

    def tried(self, kind: str, verdict_class: str, seconds: float) -> None:
        """What came of a POST to Turn, and how long it took."""
        self._tries.labels(kind, verdict_class).inc()
        self._answer.labels(kind).observe(seconds)

    def queue_to_turn(self, kind: str, seconds: float) -> None:
        """How long it took from a delivery until Turn had it."""
        self._queue.labels(kind).observe(seconds)

    def outbound(self, title_or_ok: str) -> None:
        """How a POST from Turn was answered."""
        self._outbound.labels(title_or_ok).inc()

    def confirmed(self, seconds: float) -> None:
        """How long the broker took to confirm an outbound message."""
        self._confirm.observe(seconds)

    def status_without_recipient(self) -> None:
        """A status was of a message that the cache no longer had."""
        self._without_recipient.inc()

    def watch(self, name: str, look: Look) -> None:
        """
        Show a value that something else keeps.

        :param name: without the prefix; those of :data:`WATCHED` are explained there.
        :param look: gives the value at the moment of asking; None where there is none.
        """
        self._watched.add(name, look)

    def render(self) -> bytes:
        """Prometheus' text format, version 0.0.4."""
        text: bytes = generate_latest(self.registry)
        return text


class _Watched(Collector):
    """Looks at values in the moment in which they are asked for."""

    def __init__(self) -> None:
        self._looks: dict[str, Look] = {}

    def add(self, name: str, look: Look) -> None:
        self._looks[name] = look

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        for name, look in self._looks.items():
            try:
                value = look()
            except Exception:  # the boundary of a metric: the others are still shown
                log.failure("Looking at {name} for the metrics failed", name=name)
                continue
            if value is None:
                continue
            family = CounterMetricFamily if name in WATCHED_COUNTERS else GaugeMetricFamily
            text = WATCHED.get(name, name.replace("_", " "))
            yield family(f"{PREFIX}_{name}", text, value=float(value))
