"""What is counted, and how it is shown."""

from __future__ import annotations

from typing import Any, Callable, Optional

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn import __version__
from vumi_turn.delivery import Result
from vumi_turn.monitoring.gauges import READ_AT_ONCE
from vumi_turn.monitoring.metrics import SAMPLES_AT_ONCE, MetricsRegistry
from vumi_turn.turn.verdicts import Verdict


def samples(metrics: MetricsRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What Prometheus would read: values by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode("utf-8"))
        for sample in family.samples
    }


class MetricsCase(SynchronousTestCase):
    """Fresh metrics."""

    def setUp(self) -> None:
        self.registry = MetricsRegistry()
        self.metrics = self.registry.channel("c")

    def value(self, name: str, connector: Optional[str] = "c", **labels: str) -> Optional[float]:
        """One sample; None if there is none."""
        if connector is not None:
            labels["connector"] = connector
        return samples(self.registry).get((name, frozenset(labels.items())))


class CountingTests(MetricsCase):
    """What happens."""

    def test_consumed(self) -> None:
        """What is taken from the queues is counted by kind."""
        self.metrics.consumed("message")
        self.metrics.consumed("message")
        self.metrics.consumed("status")
        self.assertEqual(self.value("vumi_turn_consumed_total", kind="message"), 2)
        self.assertEqual(self.value("vumi_turn_consumed_total", kind="status"), 1)

    def test_settled(self) -> None:
        """What became of things is counted by kind and result."""
        self.metrics.settled("message", "parked")
        self.metrics.settled("message", "parked")
        self.metrics.settled("status", "delivered")
        self.assertEqual(self.value("vumi_turn_settled_total", kind="message", result="parked"), 2)
        self.assertEqual(self.value("vumi_turn_settled_total", kind="status", result="delivered"), 1)
        self.assertEqual(self.value("vumi_turn_settled_total", kind="status", result="parked"), 0)

    def test_tried(self) -> None:
        """A try counts for its verdict, and its time falls in its bucket."""
        self.metrics.tried("message", "delivered", 0.2)
        self.metrics.tried("message", "throttled", 0.04)
        self.assertEqual(self.value("vumi_turn_tries_total", kind="message", verdict="delivered"), 1)
        self.assertEqual(self.value("vumi_turn_tries_total", kind="message", verdict="throttled"), 1)
        buckets = [
            self.value("vumi_turn_answer_seconds_bucket", kind="message", le=le)
            for le in ("0.025", "0.05", "0.1", "0.25", "+Inf")
        ]
        self.assertEqual(buckets, [0, 1, 1, 2, 2])
        self.assertAlmostEqual(self.value("vumi_turn_answer_seconds_sum", kind="message"), 0.24)
        self.assertEqual(self.value("vumi_turn_answer_seconds_count", kind="status"), 0)

    def test_queue_to_turn(self) -> None:
        """A message that was held for long has a bucket of its own, not infinity."""
        self.metrics.queue_to_turn("message", 700.0)
        self.assertEqual(self.value("vumi_turn_queue_to_turn_seconds_bucket", kind="message", le="300.0"), 0)
        self.assertEqual(self.value("vumi_turn_queue_to_turn_seconds_bucket", kind="message", le="1200.0"), 1)

    def test_outbound(self) -> None:
        """Turn's POSTs are counted by what they were answered."""
        self.metrics.outbound("ok")
        self.metrics.outbound("ApiUsageError")
        self.metrics.outbound("ok")
        self.assertEqual(self.value("vumi_turn_outbound_total", answer="ok"), 2)
        self.assertEqual(self.value("vumi_turn_outbound_total", answer="ApiUsageError"), 1)

    def test_new_answer(self) -> None:
        """An answer that was not thought of is counted all the same."""
        self.metrics.outbound("ClientGone")
        self.assertEqual(self.value("vumi_turn_outbound_total", answer="ClientGone"), 1)

    def test_new_kind(self) -> None:
        """A try with names that were not thought of is counted all the same."""
        self.metrics.tried("other", "odd", 1.0)
        self.assertEqual(self.value("vumi_turn_tries_total", kind="other", verdict="odd"), 1)
        self.assertEqual(self.value("vumi_turn_answer_seconds_count", kind="other"), 1)

    def test_confirmed(self) -> None:
        """The broker's time to confirm has buckets down to a millisecond."""
        self.metrics.confirmed(0.002)
        self.assertEqual(self.value("vumi_turn_confirm_seconds_bucket", le="0.001"), 0)
        self.assertEqual(self.value("vumi_turn_confirm_seconds_bucket", le="0.0025"), 1)
        self.assertAlmostEqual(self.value("vumi_turn_confirm_seconds_sum"), 0.002)

    def test_status_without_recipient(self) -> None:
        """Statuses without a recipient are counted."""
        self.metrics.status_without_recipient()
        self.assertEqual(self.value("vumi_turn_statuses_without_recipient_total"), 1)

    def test_from_the_start(self) -> None:
        """Every series that alerts look at is there from the start: a rate would not see its first step."""
        found = samples(self.registry)
        for kind in ("message", "status"):
            for result in Result:
                labels = frozenset({("connector", "c"), ("kind", kind), ("result", result.value)})
                self.assertEqual(found["vumi_turn_settled_total", labels], 0)
            labels = frozenset({("connector", "c"), ("kind", kind), ("verdict", Verdict.THROTTLED.value)})
            self.assertEqual(found["vumi_turn_tries_total", labels], 0)
        errors = ("BrokerUnavailable", "TimeoutError", "InternalError", "SignatureMismatchError")
        for answer in ("ok", "ClientGone", *errors):
            self.assertEqual(found["vumi_turn_outbound_total", frozenset({("connector", "c"), ("answer", answer)})], 0)

    def test_apart(self) -> None:
        """Two channels count for themselves, and two workers in one process too."""
        self.registry.channel("d").consumed("message")
        MetricsRegistry().channel("c").consumed("message")
        self.assertEqual(self.value("vumi_turn_consumed_total", kind="message"), 0)
        self.assertEqual(self.value("vumi_turn_consumed_total", connector="d", kind="message"), 1)

    def test_one_name(self) -> None:
        """A name is one channel's."""
        with self.assertRaisesRegex(ValueError, "the channel c is measured already"):
            self.registry.channel("c")

    def test_removed(self) -> None:
        """A channel that has gone leaves no series, and one of its name begins at zero."""
        other = self.registry.channel("d")
        for channel in (self.metrics, other):
            channel.consumed("message")
            channel.outbound("a new title")
            channel.watch("held", "How many wait.", lambda: 3)
        self.registry.remove("c")
        self.assertNotIn(b'connector="c"', self.registry.render())
        self.assertEqual(self.value("vumi_turn_consumed_total", connector="d", kind="message"), 1)
        self.assertEqual(self.value("vumi_turn_held", connector="d"), 3)
        self.registry.channel("c")
        self.assertEqual(self.value("vumi_turn_consumed_total", kind="message"), 0)


class WatchTests(MetricsCase):
    """Numbers that others keep."""

    def test_gauge(self) -> None:
        """A watched number is read anew at each scrape."""
        numbers = [3]
        self.metrics.watch("held", "How many wait.", lambda: numbers[0])
        self.assertEqual(self.value("vumi_turn_held"), 3)
        numbers[0] = 4
        self.assertEqual(self.value("vumi_turn_held"), 4)

    def test_boolean(self) -> None:
        """True and False are 1 and 0."""
        self.metrics.watch("away", "Whether.", lambda: True)
        self.metrics.watch("there", "Whether.", lambda: False)
        self.assertEqual((self.value("vumi_turn_away"), self.value("vumi_turn_there")), (1, 0))

    def test_labelled(self) -> None:
        """A watched number may have one label."""
        self.metrics.watch("in_flight", "Under way.", lambda: {"message": 2, "status": 1}, label="kind")
        self.assertEqual(self.value("vumi_turn_in_flight", kind="message"), 2)
        self.assertEqual(self.value("vumi_turn_in_flight", kind="status"), 1)

    def test_total(self) -> None:
        """A number that only grows is a counter, with a counter's name."""
        self.metrics.watch("amqp_reconnects", "Losses.", lambda: 7, total=True)
        self.assertEqual(self.value("vumi_turn_amqp_reconnects_total"), 7)
        self.assertIn(b"# TYPE vumi_turn_amqp_reconnects_total counter", self.registry.render())

    def test_nothing(self) -> None:
        """What is not known is left out, rather than shown as 0."""
        self.metrics.watch("rate_limit", "As told.", lambda: None)
        self.assertIsNone(self.value("vumi_turn_rate_limit"))

    def test_trouble(self) -> None:
        """One number that cannot be read hides no other, and the log says which it was."""

        def broken() -> float:
            raise KeyError("gone")

        self.metrics.watch("broken", "Not to be had.", broken)
        self.metrics.watch("held", "How many wait.", lambda: 3)
        found = samples(self.registry)
        self.assertEqual(found["vumi_turn_held", frozenset({("connector", "c")})], 3)
        self.assertNotIn("vumi_turn_broken", {name for name, _ in found})
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_twice(self) -> None:
        """A name can be watched once only: Prometheus refuses a text that has one twice."""
        self.metrics.watch("held", "How many wait.", lambda: 3)
        with self.assertRaisesRegex(ValueError, "vumi_turn_held is watched already"):
            self.metrics.watch("held", "Again.", lambda: 4)


class TextTests(MetricsCase):
    """What Prometheus reads."""

    def families(self) -> list[Any]:
        return list(text_string_to_metric_families(self.registry.render().decode("utf-8")))

    def test_names(self) -> None:
        """Names have our prefix, counters end in _total and times in _seconds."""
        ours = [family for family in self.families() if family.name.startswith("vumi_turn_")]
        self.assertGreater(len(ours), 8)
        for family in ours:
            if family.type == "histogram":
                self.assertTrue(family.name.endswith("_seconds"), family.name)
            elif family.type == "counter":
                names = {sample.name for sample in family.samples}
                self.assertEqual(names, {family.name + "_total"})
            self.assertTrue(family.documentation, family.name)

    def test_once(self) -> None:
        """Each name is described once."""
        names = [family.name for family in self.families()]
        self.assertEqual(sorted(names), sorted(set(names)))

    def test_plain(self) -> None:
        """The moments at which series were made, which nobody asks for, are left out."""
        self.assertNotIn(b"_created", self.registry.render())

    def test_many_channels(self) -> None:
        """With many channels a family comes in parts that are small, and says once what it is."""
        for number in range(40):
            self.registry.channel(f"c{number}")
        parts = list(self.registry.render_in_parts())
        self.assertLess(max(part.count(b"\n") for part in parts), SAMPLES_AT_ONCE + 3)
        text = b"".join(parts)
        types = [line for line in text.splitlines() if line.startswith(b"# TYPE")]
        self.assertEqual(len(types), len(set(types)))
        (family,) = [each for each in self.families() if each.name == "vumi_turn_answer_seconds"]
        counts = [sample for sample in family.samples if sample.name.endswith("_count")]
        self.assertEqual(len(counts), 2 * 41)

    def test_work_at_once(self) -> None:
        """Between two parts few numbers are asked for and few samples made, however many channels there are."""
        reads: list[float] = []

        def read() -> float:
            reads.append(1.0)
            return 1.0

        for number in range(100):
            channel = self.registry.channel(f"d{number}")
            channel.watch("asked", "Asked.", read)
        made: list[int] = []
        for family in self.registry.families.all:
            make = family._metric

            def counted(series: Any, make: Any = make) -> Any:
                metric = make(series)
                made.append(len(metric.samples))
                return metric

            self.patch(family, "_metric", counted)
        at_once: list[tuple[int, int]] = []
        for _ in self.registry.render_in_parts():
            at_once.append((len(reads), sum(made)))
            reads.clear()
            made.clear()
        self.assertLessEqual(max(count for count, _ in at_once), READ_AT_ONCE)
        # A counter has a second sample that says when it was made.
        self.assertLessEqual(max(count for _, count in at_once), 2 * SAMPLES_AT_ONCE)

    def test_gone_meanwhile(self) -> None:
        """A channel that goes while the numbers are shown is not asked any more."""
        for number in range(2 * READ_AT_ONCE):
            self.registry.channel(f"d{number}").watch("asked", "Asked.", lambda: 1.0)
        text = b""
        for part in self.registry.render_in_parts():
            text += part
            if b"vumi_turn_asked{" in part:
                self.registry.remove(f"d{2 * READ_AT_ONCE - 1}")
        self.assertEqual(text.count(b"vumi_turn_asked{"), 2 * READ_AT_ONCE - 1)

    def test_version(self) -> None:
        """The version is a label of a constant."""
        self.assertEqual(self.value("vumi_turn_build_info", connector=None, version=__version__), 1)

    def test_process(self) -> None:
        """The process and its garbage collector are shown."""
        names = {family.name for family in self.families()}
        self.assertLessEqual({"python_info", "python_gc_collections"}, names)

    def test_labels(self) -> None:
        """Label values are words of this program, few of them."""
        record: Callable[..., None]
        for record in (self.metrics.consumed, self.metrics.outbound):
            record("message")
        self.metrics.tried("message", "delivered", 1.0)
        names = {
            name
            for family in self.families()
            if family.name.startswith("vumi_turn_")
            for sample in family.samples
            for name in sample.labels
        }
        self.assertEqual(
            names, {"connector", "kind", "result", "verdict", "answer", "le", "version", "outcome", "type", "how"}
        )
