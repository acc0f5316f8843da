"""Counters and histograms of our own read like prometheus_client's."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.monitoring.counting import CounterFamily, HistogramFamily

BOUNDS = (0.025, 0.1, 1.0, 1200.0)


def lines_of(registry: CollectorRegistry) -> list[bytes]:
    """What is shown, without the moments at which series were made."""
    return [line for line in generate_latest(registry).splitlines() if b"_created" not in line]


class ExpositionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ours, self.theirs = CollectorRegistry(auto_describe=False), CollectorRegistry()

    def test_counter(self) -> None:
        """A counter's text is the same, byte for byte."""
        ours = CounterFamily("x_things", "Things.", ("connector", "kind"))
        self.ours.register(ours)
        theirs = Counter("x_things", "Things.", ("connector", "kind"), registry=self.theirs)
        for kind, by in (("a", 1), ("a", 3), ("b", 0)):
            ours.labels("c", kind)(by)
            theirs.labels("c", kind).inc(by)
        self.assertEqual(lines_of(self.ours), lines_of(self.theirs))

    def test_histogram(self) -> None:
        """A histogram's text is the same, byte for byte; a value on a bound is below it."""
        ours = HistogramFamily("x_seconds", "Seconds.", ("connector",), BOUNDS)
        self.ours.register(ours)
        theirs = Histogram("x_seconds", "Seconds.", ("connector",), buckets=BOUNDS, registry=self.theirs)
        for value in (0.0, 0.025, 0.5, 0.5, 1.0, 1200.5):
            ours.labels("c")(value)
            theirs.labels("c").observe(value)
        self.assertEqual(lines_of(self.ours), lines_of(self.theirs))

    def test_remove(self) -> None:
        """A series that is removed is not shown, and begins at 0 if it comes again."""
        ours = CounterFamily("x_things", "Things.", ("connector",))
        self.ours.register(ours)
        ours.labels("c")(3)
        ours.remove("c")
        self.assertNotIn(b'"c"', generate_latest(self.ours))
        self.assertEqual(ours.labels("c").value, 0)
