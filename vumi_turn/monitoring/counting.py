"""
Counters and histograms that cost as little as adding to a number does.

prometheus_client's own take a lock for each step, because its programs have
threads; here all is counted in the reactor's thread, and read in it.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Generic, Iterator, Sequence, TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

#: The values of a series' labels.
Labels = tuple[str, ...]


class Count:
    """
    One series of a counter; calling it counts.

    :ivar value: how much was counted.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def __call__(self, by: int = 1) -> None:
        self.value += by


class Distribution:
    """
    One series of a histogram; calling it with a value counts that.

    :param bounds: the buckets' upper bounds, in order.
    :ivar counts: of each bucket alone, the last one without a bound.
    :ivar total: the sum of all values.
    """

    __slots__ = ("counts", "total", "_bounds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self._bounds = bounds

    def __call__(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


Series = TypeVar("Series", Count, Distribution)


class Family(Collector, Generic[Series]):
    """
    All series of one metric.

    :param name: without ``_total``.
    :param documentation: one sentence.
    :param labels: their names.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._series: dict[Labels, Series] = {}

    def labels(self, *values: str) -> Series:
        """The series with these labels, made where there is none yet."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = self._new()
        return series

    def remove(self, *values: str) -> None:
        """Forget a series."""
        self._series.pop(values, None)

    def _new(self) -> Series:
        raise NotImplementedError("a family knows its series")

    def collect(self) -> Iterator[Metric]:
        """What there is, for a scrape."""
        yield self._metric(list(self._series.items()))

    def collect_in_parts(self, samples: int) -> Iterator[Metric]:
        """
        The same in several metrics, each made when it is asked for; what changes meanwhile may not be in them.

        :param samples: each has about so many, and no more than this where one series has not.
        """
        series = list(self._series.items())
        size = max(samples // self._samples_each, 1)
        for start in range(0, max(len(series), 1), size):
            yield self._metric(series[start : start + size])

    #: Samples that one series has.
    _samples_each = 1

    def _metric(self, series: Sequence[tuple[Labels, Series]]) -> Metric:
        """These series as a metric."""
        raise NotImplementedError("a family knows its series")


class CounterFamily(Family[Count]):
    """All series of a counter."""

    def _new(self) -> Count:
        return Count()

    def _metric(self, series: Sequence[tuple[Labels, Count]]) -> Metric:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in series:
            family.add_metric(values, count.value)
        return family


class HistogramFamily(Family[Distribution]):
    """
    All series of a histogram.

    :param bounds: the buckets' upper bounds, in order.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        super().__init__(name, documentation, labels)
        self._bounds = bounds
        self._shown = [*map(floatToGoString, bounds), "+Inf"]
        self._samples_each = len(self._shown) + 2

    def _new(self) -> Distribution:
        return Distribution(self._bounds)

    def _metric(self, series: Sequence[tuple[Labels, Distribution]]) -> Metric:
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, distribution in series:
            reached, buckets = 0, []
            for shown, count in zip(self._shown, distribution.counts, strict=True):
                reached += count
                buckets.append((shown, float(reached)))
            family.add_metric(values, buckets, distribution.total)
        return family
