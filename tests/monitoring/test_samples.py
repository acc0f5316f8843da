"""The sample dashboard and alerts ask for what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator

import yaml
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.monitoring.test_health import a_worker

ETC = Path(__file__).parent.parent.parent / "etc"
#: Prometheus makes this one by itself.
FROM_PROMETHEUS = {"up"}
NAME = re.compile(r"\b(?:vumi_turn|process|python)_[a-z_]+\b|\bup\b")
SELECTOR = re.compile(r"([a-z_]+)\{([^}]*)\}")
MATCHER = re.compile(r'([a-z_]+)\s*(=~|=|!=)\s*"([^"]*)"')


def known() -> dict[str, dict[str, set[str]]]:
    """The values of each label of each metric that a worker shows."""
    worker = a_worker()
    worker.turn.rate_limit = 60
    worker.turn.rate_limit_remaining = 59
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(worker.metrics.render().decode("utf-8")):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def expressions_of(node: Any) -> Iterator[str]:
    """All PromQL in a dashboard."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query") and isinstance(value, str) and value != "prometheus":
                yield value
            else:
                yield from expressions_of(value)
    elif isinstance(node, list):
        for item in node:
            yield from expressions_of(item)


class MonitoringTests(SynchronousTestCase):
    """Names and labels in what we ship."""

    def assert_known(self, expressions: list[str]) -> None:
        metrics = known()
        self.assertGreater(len(expressions), 5)
        for expression in expressions:
            with case(expression=expression):
                names = set(NAME.findall(expression)) - FROM_PROMETHEUS - {"vumi_turn"}
                for name in names:
                    with case(name=name):
                        self.assertIn(name, metrics)
                for name, matchers in SELECTOR.findall(expression):
                    with case(name=name, matchers=matchers):
                        for label, operator, value in MATCHER.findall(matchers):
                            with case(label=label, operator=operator, value=value):
                                if label in ("job", "instance"):
                                    continue
                                self.assertIn(label, metrics[name])
                                if value.startswith("$"):  # the dashboard's own variable
                                    continue
                                for each in value.split("|") if operator == "=~" else [value]:
                                    with case(each=each):
                                        self.assertIn(each, metrics[name][label])

    def test_dashboard(self) -> None:
        """The dashboard's panels have data: each metric, label and label value exists."""
        board = json.loads((ETC / "grafana-dashboard.json").read_text("utf-8"))
        self.assert_known(list(expressions_of(board)))

    def test_dashboard_cache(self) -> None:
        """What is wrong with the message cache has panels: that it is away, and that it replaced a foreign key."""
        board = json.loads((ETC / "grafana-dashboard.json").read_text("utf-8"))
        shown = {name for expression in expressions_of(board["panels"]) for name in NAME.findall(expression)}
        for name in ("vumi_turn_cache_healthy", "vumi_turn_cache_replaced_keys_total"):
            with case(name=name):
                self.assertIn(name, shown)

    def test_dashboard_panels(self) -> None:
        """The dashboard's panels have ids of their own and do not overlap."""
        board = json.loads((ETC / "grafana-dashboard.json").read_text("utf-8"))
        ids = [panel["id"] for panel in board["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            with case(panel=panel):
                at = panel["gridPos"]
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertEqual(taken & cells, set(), panel["title"])
                self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
                taken |= cells

    def test_alerts(self) -> None:
        """The alerts can fire: each metric, label and label value exists."""
        rules = yaml.safe_load((ETC / "prometheus-alerts.yaml").read_text("utf-8"))
        self.assert_known([rule["expr"] for group in rules["groups"] for rule in group["rules"]])

    def test_alert_words(self) -> None:
        """Each alert has a name of its own, says how bad it is and what to do."""
        rules = yaml.safe_load((ETC / "prometheus-alerts.yaml").read_text("utf-8"))
        alerts = [rule for group in rules["groups"] for rule in group["rules"]]
        names = [rule["alert"] for rule in alerts]
        self.assertEqual(len(names), len(set(names)))
        for rule in alerts:
            with case(rule=rule):
                self.assertIn(rule["labels"]["severity"], ("critical", "warning"), rule["alert"])
                self.assertEqual(sorted(rule["annotations"]), ["description", "summary"], rule["alert"])
