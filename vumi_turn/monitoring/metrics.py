"""
What the worker counts, for Prometheus.

Labels have few values, all of them words of this program: never an address, an
id or anything that was said.
"""

from __future__ import annotations

from itertools import product
from typing import Any, Callable, Iterable, Iterator, Optional

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from .._version import __version__
from ..delivery import Result
from ..http import errors
from ..http.errors import ApiError, Forbidden, TooManyAttempts, Unauthorized
from ..turn import errors as turn_errors
from ..turn.verdicts import MESSAGE, STATUS, Verdict
from .counting import CounterFamily, Family, HistogramFamily
from .gauges import CONNECTOR, Reading, WatchedMetrics, WatchedSource

PREFIX = "vumi_turn_"
KINDS = (MESSAGE, STATUS)

#: What becomes of what a person with a menu typed; ``not_remembered`` counts
#: messages whose choices the cache could not be told.
CHOICES = ("made", "typed_through", "out_of_range", "cache_away", "not_remembered")

#: The types of messages that may be sent as less than they are; others are counted when they come.
REDUCED_TYPES = ("image", "video", "audio", "document", "sticker", "interactive", "template", "other")

#: What becomes of messages that answer one input together.
PARTS = ("joined", "late", "failed")

#: What Prometheus' text format calls itself.
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

#: Seconds. Turn answers in some tenths of a second and is given up after 10.
ANSWER_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Seconds. A message may be held for 20 minutes.
QUEUE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1200.0)
#: Seconds. Turn wants its answer within 5.
CONFIRM_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

#: Samples of a family that are rendered at a time: some milliseconds' work.
SAMPLES_AT_ONCE = 250


class MetricsRegistry:
    """
    The numbers of one process: its own, and those of its channels, each with
    the label ``connector``.
    """

    def __init__(self) -> None:
        #: What is said in one part each.
        self.registry = CollectorRegistry(auto_describe=False)
        self.families = _Families()
        self._watched = WatchedMetrics()
        self._channels: dict[str, ChannelMetrics] = {}
        self.watch("build_info", "The version of vumi_turn.", lambda: {__version__: 1.0}, label="version")
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def channel(self, connector: str) -> ChannelMetrics:
        """
        A channel's numbers, from zero.

        :param connector: the channel's name, the value of their label.
        :raises ValueError: there is a channel of that name.
        """
        if connector in self._channels:
            raise ValueError(f"the channel {connector} is measured already")
        channel = self._channels[connector] = ChannelMetrics(connector, self.families, self._watched)
        return channel

    def remove(self, connector: str) -> None:
        """A channel has gone, and its numbers with it; nothing happens where there is none of that name."""
        channel = self._channels.pop(connector, None)
        if channel is not None:
            channel.remove()
            self._watched.remove(connector)

    def watch(
        self,
        name: str,
        documentation: str,
        read: Callable[[], Optional[Reading]],
        *,
        label: Optional[str] = None,
        total: bool = False,
    ) -> None:
        """Show a number of the process that somebody else keeps; parameters as for :meth:`ChannelMetrics.watch`."""
        self._watched.add(None, WatchedSource(PREFIX + name, documentation, read, label, total))

    def render(self) -> bytes:
        """All numbers, in Prometheus' text format."""
        return b"".join(self.render_in_parts())

    def render_in_parts(self) -> Iterator[bytes]:
        """
        All numbers, :data:`SAMPLES_AT_ONCE` of a family at a time: with many
        channels the whole takes long, and the reactor may do something else in between.
        """
        before = ""
        for metric in self._metrics():
            # The moments at which series were made: the text format has no use for them.
            samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            for start in range(0, max(len(samples), 1), SAMPLES_AT_ONCE):
                metric.samples = samples[start : start + SAMPLES_AT_ONCE]
                text = generate_latest(_Single(metric))
                # What the family is called and means is said once.
                yield text if metric.name != before else text.split(b"\n", 2)[2]
                before = metric.name

    def _metrics(self) -> Iterator[Metric]:
        """All metrics, those of many channels in several parts one behind the other."""
        for family in self.families.all:
            yield from family.collect_in_parts(SAMPLES_AT_ONCE)
        yield from self._watched.collect()
        yield from self.registry.collect()


class ChannelMetrics:
    """
    The numbers of one channel.

    It is the scheduler's observer too (:class:`vumi_turn.delivery.Observer`).

    :param connector: the value of their label.
    :param families: what all channels count with.
    :param watched: the numbers that others keep.
    """

    def __init__(self, connector: str, families: _Families, watched: WatchedMetrics) -> None:
        self.connector = connector
        self._watched = watched
        self._consumed = _Bound(families.consumed, connector, [(kind,) for kind in KINDS])
        results = [result.value for result in Result]
        self._settled = _Bound(families.settled, connector, product(KINDS, results))
        verdicts = [verdict.value for verdict in Verdict if verdict not in _NEVER_TRIED]
        self._tries = _Bound(families.tries, connector, product(KINDS, verdicts))
        self._answer_seconds = _Bound(families.answer_seconds, connector, [(kind,) for kind in KINDS])
        self._queue_seconds = _Bound(families.queue_seconds, connector, [(kind,) for kind in KINDS])
        titles = ["ok", "ClientGone", *sorted(_ERROR_TITLES)]
        self._outbound = _Bound(families.outbound, connector, [(title,) for title in titles])
        self._confirm_seconds = _Bound(families.confirm_seconds, connector, [()])
        self._without_recipient = _Bound(families.without_recipient, connector, [()])
        self._choices = _Bound(families.choices, connector, [(outcome,) for outcome in CHOICES])
        self._pages = _Bound(families.pages, connector, [()])
        self._parts = _Bound(families.parts, connector, [(outcome,) for outcome in PARTS])
        self._reduced = _Bound(families.reduced, connector, product(REDUCED_TYPES, ("content", "medium")))
        self._backwards = _Bound(families.backwards, connector, [()])
        #: How many seconds the broker took to confirm a message from Turn.
        self.confirmed: Callable[[float], None] = self._confirm_seconds[()]
        #: A status was sent whose recipient nobody knew.
        self.status_without_recipient: Callable[[], None] = self._without_recipient[()]

    # -- what happens --------------------------------------------------------

    def consumed(self, kind: str) -> None:
        """A message or event was taken from its queue."""
        self._consumed[(kind,)]()

    def tried(self, kind: str, verdict_name: str, seconds: float) -> None:
        """A POST to Turn ended."""
        self._tries[kind, verdict_name]()
        self._answer_seconds[(kind,)](seconds)

    def settled(self, kind: str, result_name: str) -> None:
        """It is known what becomes of a message or event."""
        self._settled[kind, result_name]()

    def queue_to_turn(self, kind: str, seconds: float) -> None:
        """Turn has accepted what was delivered to us so many seconds ago."""
        self._queue_seconds[(kind,)](seconds)

    def outbound(self, answer: str) -> None:
        """A POST from Turn was answered: ``ok``, an error's title, or ``ClientGone`` where nobody waited for it."""
        self._outbound[(answer,)]()

    def choice(self, outcome: str) -> None:
        """A person with a menu typed something; one of :data:`CHOICES`."""
        self._choices[(outcome,)]()

    def page_shown(self) -> None:
        """Another page was asked for."""
        self._pages[()]()

    def parts_joined(self, count: int) -> None:
        """So many of Turn's messages were shown as one."""
        self._parts[("joined",)](count)

    def answers_late(self, count: int) -> None:
        """So many messages answered an input that had been answered: most transports cannot show them."""
        self._parts[("late",)](count)

    def part_failed(self) -> None:
        """A part was not published, because its session was over."""
        self._parts[("failed",)]()

    def reduced(self, kind: str, how: str) -> None:
        """
        A message of Turn's was sent as less than it is.

        :param kind: its type.
        :param how: ``content`` where only that was sent, ``medium`` where a medium was left out.
        """
        self._reduced[kind, how]()

    def status_backwards(self) -> None:
        """A status was not sent, because a later one had been."""
        self._backwards[()]()

    def remove(self) -> None:
        """The channel has gone: its series go too."""
        for bound in vars(self).values():
            if isinstance(bound, _Bound):
                bound.remove()

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
            Where it raises the channel's sample is left out, and the log says so.
        :param label: a label beside ``connector``.
        :param total: the number only ever grows.
        """
        self._watched.add(self.connector, WatchedSource(PREFIX + name, documentation, read, label, total))


class _Families:
    """What channels count with: each family once, with a label for the connector."""

    def __init__(self) -> None:
        #: In the order in which they are shown.
        self.all: list[Family[Any]] = []

        def counter(name: str, documentation: str, *labels: str) -> CounterFamily:
            family = CounterFamily(PREFIX + name, documentation, (CONNECTOR, *labels))
            self.all.append(family)
            return family

        def histogram(name: str, documentation: str, buckets: tuple[float, ...], *labels: str) -> HistogramFamily:
            family = HistogramFamily(PREFIX + name, documentation, (CONNECTOR, *labels), buckets)
            self.all.append(family)
            return family

        self.consumed = counter("consumed", "Messages and events taken from the queues.", "kind")
        self.settled = counter("settled", "Messages and events by what became of them.", "kind", "result")
        self.tries = counter("tries", "POSTs to Turn by the class of their answer.", "kind", "verdict")
        self.answer_seconds = histogram("answer_seconds", "How long POSTs to Turn took.", ANSWER_BUCKETS, "kind")
        self.queue_seconds = histogram(
            "queue_to_turn_seconds",
            "From a delivery by the broker until Turn had accepted it.",
            QUEUE_BUCKETS,
            "kind",
        )
        self.outbound = counter("outbound", "POSTs from Turn by their answer: ok, or the error's title.", "answer")
        self.confirm_seconds = histogram(
            "confirm_seconds", "How long the broker took to confirm messages from Turn.", CONFIRM_BUCKETS
        )
        self.choices = counter("choices", "What people with a menu typed.", "outcome")
        self.pages = counter("pages_shown", "Pages of long texts that were asked for.")
        self.parts = counter("parts", "Messages that answered an input together with others.", "outcome")
        self.reduced = counter("reduced", "Messages of Turn's that were sent as less than they are.", "type", "how")
        self.backwards = counter("statuses_backwards", "Statuses that were not sent, because a later one had been.")
        self.without_recipient = counter(
            "statuses_without_recipient", "Statuses whose recipient the cache no longer knew."
        )


#: What only the operator's page answers.
_OF_THE_PAGE = (ApiError, Forbidden, TooManyAttempts, Unauthorized)

#: What a POST of Turn's may be answered; the operator's page has errors of its own.
_ERROR_TITLES = {
    error.title
    for module in (errors, turn_errors)
    for error in vars(module).values()
    if isinstance(error, type) and issubclass(error, ApiError) and error not in _OF_THE_PAGE
}

#: What a message may be parked for, but never gets from Turn.
_NEVER_TRIED = (Verdict.MALFORMED, Verdict.ERROR, Verdict.STALE)


class _Bound(dict[tuple[str, ...], Callable[..., None]]):
    """
    A metric's series by their labels beside the connector. Series are there from the start, at 0: a
    rate needs to see the first step.
    """

    def __init__(self, metric: Family[Any], connector: str, values: Iterable[tuple[str, ...]]) -> None:
        super().__init__()
        self._metric = metric
        self._connector = connector
        for each in values:
            self[each]

    def __missing__(self, labels: tuple[str, ...]) -> Callable[..., None]:
        series: Callable[..., None] = self._metric.labels(self._connector, *labels)
        self[labels] = series
        return series

    def remove(self) -> None:
        """Forget these series."""
        for labels in self:
            self._metric.remove(self._connector, *labels)
        self.clear()


class _Single(Collector):
    """A registry of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric
