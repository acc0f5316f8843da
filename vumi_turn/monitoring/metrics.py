"""
What the worker counts, for Prometheus.

Labels have few values, all of them words of this program: never an address, an
id or anything that was said.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Union

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from twisted.logger import Logger

from .._version import __version__
from ..delivery import Result
from ..http.errors import ApiError
from ..turn.verdicts import MESSAGE, STATUS, Verdict

log = Logger()

PREFIX = "vumi_turn_"
KINDS = (MESSAGE, STATUS)

#: What became of a message that Turn need not hear of: the end of a session.
NOTHING_TO_SEND = "nothing"

#: What Prometheus' text format calls itself.
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

#: Seconds. Turn answers in some tenths of a second and is given up after 10.
ANSWER_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Seconds. A message may be held for 20 minutes.
QUEUE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1200.0)
#: Seconds. Turn wants its answer within 5.
CONFIRM_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

#: A gauge's value, or its values by the one label that it has.
Reading = Union[float, Mapping[str, float]]


class Metrics:
    """
    The numbers of one worker, in a registry of their own.

    It is the scheduler's observer too (:class:`vumi_turn.delivery.Observer`).
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        counter, histogram = self._counter, self._histogram
        self._consumed = _bound(counter("consumed", "Messages and events taken from the queues.", "kind"), "inc", KINDS)
        self._settled = _Pairs(
            counter("settled", "Messages and events by what became of them.", "kind", "result"),
            [*(result.value for result in Result), NOTHING_TO_SEND],
        )
        self._tries = _Pairs(
            counter("tries", "POSTs to Turn by the class of their answer.", "kind", "verdict"),
            [verdict.value for verdict in Verdict if verdict not in _NEVER_TRIED],
        )
        self._answer_seconds = _bound(
            histogram("answer_seconds", "How long POSTs to Turn took.", ANSWER_BUCKETS, "kind"),
            "observe",
            KINDS,
        )
        self._queue_seconds = _bound(
            histogram(
                "queue_to_turn_seconds",
                "From a delivery by the broker until Turn had accepted it.",
                QUEUE_BUCKETS,
                "kind",
            ),
            "observe",
            KINDS,
        )
        self._outbound = _bound(
            counter("outbound", "POSTs from Turn by their answer: ok, or the error's title.", "answer"),
            "inc",
            ["ok", "ClientGone", *sorted({error.title for error in ApiError.__subclasses__()})],
        )
        self.confirmed: Callable[[float], None] = histogram(
            "confirm_seconds", "How long the broker took to confirm messages from Turn.", CONFIRM_BUCKETS
        ).observe
        self.status_without_recipient: Callable[[], None] = counter(
            "statuses_without_recipient", "Statuses whose recipient the cache no longer knew."
        ).inc
        self._watched = _Watched()
        self.registry.register(self._watched)
        self.watch("build_info", "The version of vumi_turn.", lambda: {__version__: 1.0}, label="version")
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    # -- what happens --------------------------------------------------------

    def consumed(self, kind: str) -> None:
        """A message or event was taken from its queue."""
        self._consumed[kind]()

    def tried(self, kind: str, verdict_name: str, seconds: float) -> None:
        """A POST to Turn ended."""
        self._tries[kind, verdict_name]()
        self._answer_seconds[kind](seconds)

    def settled(self, kind: str, result_name: str) -> None:
        """It is known what becomes of a message or event."""
        self._settled[kind, result_name]()

    def queue_to_turn(self, kind: str, seconds: float) -> None:
        """Turn has accepted what was delivered to us so many seconds ago."""
        self._queue_seconds[kind](seconds)

    def outbound(self, answer: str) -> None:
        """A POST from Turn was answered: ``ok``, an error's title, or ``ClientGone`` where nobody waited for it."""
        self._outbound[answer]()

    # -- what is -------------------------------------------------------------

    def watch(
        self,
        name: str,
        documentation: str,
        read: Callable[[], Optional[Reading]],
        *,
        label: Optional[str] = None,
        total: bool = False,
    ) -> None:
        """
        Show a number that somebody else keeps.

        :param name: without our prefix, and without ``_total``.
        :param read: called at each scrape: the number, or for a metric with a
            ``label`` the numbers by its values; None while there is none.
            Where it raises the metric is left out, and the log says so.
        :param label: the one label.
        :param total: the number only ever grows.
        """
        self._watched.add(_Source(PREFIX + name, documentation, read, label, total))

    def render(self) -> bytes:
        """All numbers, in Prometheus' text format."""
        return generate_latest(_Plain(self.registry))

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(PREFIX + name, documentation, labels, buckets=tuple(buckets), registry=self.registry)


#: What a message may be parked for, but never gets from Turn.
_NEVER_TRIED = (Verdict.MALFORMED, Verdict.ERROR, Verdict.STALE)


class _Bound(dict[str, Callable[..., None]]):
    """A metric's method by its label: looking labels up anew costs more than counting."""

    def __init__(self, metric: Any, method: str) -> None:
        super().__init__()
        self._metric = metric
        self._method = method

    def __missing__(self, value: str) -> Callable[..., None]:
        child: Callable[..., None] = getattr(self._metric.labels(value), self._method)
        self[value] = child
        return child


def _bound(metric: Any, method: str, values: Iterable[str]) -> _Bound:
    """Series are there from the start, at 0: a rate needs to see the first step."""
    bound = _Bound(metric, method)
    for value in values:
        bound[value]
    return bound


class _Pairs(dict[tuple[str, str], Callable[..., None]]):
    """The same for counters of two labels, of which the first is the kind."""

    def __init__(self, metric: Any, values: Iterable[str]) -> None:
        super().__init__()
        self._metric = metric
        for value in values:
            for kind in KINDS:
                self[kind, value]

    def __missing__(self, pair: tuple[str, str]) -> Callable[..., None]:
        child: Callable[..., None] = self._metric.labels(*pair).inc
        self[pair] = child
        return child


class _Source:
    """Where one watched metric comes from."""

    def __init__(
        self,
        name: str,
        documentation: str,
        read: Callable[[], Optional[Reading]],
        label: Optional[str],
        total: bool,
    ) -> None:
        self.name = name
        self._documentation = documentation
        self._read = read
        self._label = label
        self._family: Any = CounterMetricFamily if total else GaugeMetricFamily

    def metric(self) -> Optional[Metric]:
        """What there is to show now."""
        reading = self._read()
        if reading is None:
            return None
        if self._label is None:
            whole: Metric = self._family(self.name, self._documentation, value=reading)
            return whole
        family = self._family(self.name, self._documentation, labels=[self._label])
        for value, number in reading.items():  # type: ignore[union-attr]
            family.add_metric([value], number)
        labelled: Metric = family
        return labelled


class _Plain(Collector):
    """A registry without the moments at which its series were made; the text format has no use for them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class _Watched(Collector):
    """All watched metrics."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}

    def add(self, source: _Source) -> None:
        if source.name in self._sources:
            raise ValueError(f"{source.name} is watched already")
        self._sources[source.name] = source

    def collect(self) -> Iterator[Metric]:
        for source in self._sources.values():
            try:
                metric = source.metric()
            except Exception:  # a boundary: one number that cannot be had must not hide the others
                log.failure("The metric {name} cannot be read", name=source.name)
                continue
            if metric is not None:
                yield metric
