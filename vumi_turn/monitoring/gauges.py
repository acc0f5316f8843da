"""Metrics that somebody else keeps: they are read when they are asked for."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Mapping, Optional, Union

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from twisted.logger import Logger

log = Logger()

#: The label that names a channel.
CONNECTOR = "connector"

#: Channels whose number is asked for at a time: that may go through all that a channel holds.
READ_AT_ONCE = 10

#: A gauge's value, or its values by the one label that it has.
Reading = Union[float, Mapping[str, float]]


class WatchedSource:
    """
    Where one watched metric comes from.

    :param name: its whole name, without ``_total``.
    :param documentation: says what it means.
    :param read: the number, or the numbers by the values of ``label``; None while there is none.
    :param label: a label beside the connector.
    :param total: the number only ever grows.
    """

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

    def family(self, of_channel: bool) -> Any:
        """An empty family for this number."""
        labels = [CONNECTOR] if of_channel else []
        return self._family(self.name, self._documentation, labels=[*labels, *([self._label] if self._label else [])])

    def add_to(self, family: Any, connector: Optional[str]) -> None:
        """Put what there is to show now into a family."""
        reading = self._read()
        if reading is None:
            return
        labels = [] if connector is None else [connector]
        if self._label is None:
            family.add_metric(labels, reading)
            return
        for value, number in reading.items():  # type: ignore[union-attr]
            family.add_metric([*labels, value], number)


class WatchedMetrics:
    """All watched metrics, by name and by channel; None is the process."""

    def __init__(self) -> None:
        self._sources: dict[str, dict[Optional[str], WatchedSource]] = {}

    def add(self, connector: Optional[str], source: WatchedSource) -> None:
        """
        Show a number.

        :raises ValueError: it is shown already, or its name is the process's as well as a channel's.
        """
        sources = self._sources.setdefault(source.name, {})
        if connector in sources or (sources and (None in sources) != (connector is None)):
            raise ValueError(f"{source.name} is watched already")
        sources[connector] = source

    def remove(self, connector: str) -> None:
        """Forget a channel's."""
        for name, sources in list(self._sources.items()):
            sources.pop(connector, None)
            if not sources:
                del self._sources[name]

    def collect(self) -> Iterator[Metric]:
        """What there is now, :data:`READ_AT_ONCE` channels at a time; those of one name follow each other."""
        for name, sources in list(self._sources.items()):
            each = list(sources.items())
            for start in range(0, len(each), READ_AT_ONCE):
                family = each[0][1].family(each[0][0] is not None)
                for connector, source in each[start : start + READ_AT_ONCE]:
                    if sources.get(connector) is source:  # the channel is still there
                        self._read(name, connector, source, family)
                if family.samples:
                    yield family

    @staticmethod
    def _read(name: str, connector: Optional[str], source: WatchedSource, family: Any) -> None:
        try:
            source.add_to(family, connector)
        except Exception:  # a boundary: one number that cannot be had must not hide the others
            log.failure("The metric {name} cannot be read", name=name, connector=connector)
