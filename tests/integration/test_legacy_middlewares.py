"""The same middlewares with the same configuration do the same in legacy vumi and here."""

from __future__ import annotations

import copy
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.legacy_vumi import PATIENCE, environment, legacy_python
from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.vumi.middleware import KINDS, BaseMiddleware, MiddlewareStack
from vumi_turn.vumi.middlewares import create_middlewares

SCRIPT = Path(__file__).with_name("legacy_middlewares.py")


class Trace(BaseMiddleware):
    """As the class of the same name in legacy_middlewares.py."""

    def handle_inbound(self, message: Any, connector_name: str) -> Any:
        return [*message, f"{self.name}.inbound {connector_name} {self.worker}"]

    def handle_publish_outbound(self, message: Any, connector_name: str) -> Any:
        return [*message, f"{self.name}.publish_outbound {connector_name} {self.worker}"]

    def handle_event(self, message: Any, connector_name: str) -> Any:
        return [*message, f"{self.name}.event {connector_name} {self.worker}"]


def item(name: str, *priorities: Any) -> dict[str, Any]:
    """One item of the list; None leaves a priority out."""
    if not priorities:
        return {name: "tests.Trace"}
    keys = ("consume_priority", "publish_priority")
    given = {key: value for key, value in zip(keys, priorities, strict=True) if value is not None}
    return {name: {"class": "tests.Trace", **given}}


def trace(config: dict[str, Any]) -> Any:
    """What is called here."""
    config = json.loads(json.dumps(config).replace("tests.Trace", f"{__name__}.Trace"))
    try:
        stack = MiddlewareStack(create_middlewares(config, "worker"))
    except ConfigErrors:
        return "ConfigError"
    found: dict[str, Any] = {}
    for direction, kind in itertools.product(("consume", "publish"), KINDS):
        message: Any = []
        for step in stack.steps(direction, kind):
            message = step.method(message, "c")
        found[f"{direction} {kind}"] = message
    return found


class MiddlewareTests(SynchronousTestCase):
    def check(self, configs: list[dict[str, Any]]) -> None:
        command = [legacy_python(), "-B", "-W", "ignore", str(SCRIPT)]
        asked = json.dumps(configs).encode("ascii") + b"\n"
        done = subprocess.run(command, input=asked, env=environment(), capture_output=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr.decode("utf-8", "replace"))
        for config, legacy in zip(configs, json.loads(done.stdout), strict=True):
            self.assertEqual(trace(copy.deepcopy(config)), legacy, config)

    def test_order(self) -> None:
        """Methods are called in the same order, whatever the priorities and the list."""
        orders = itertools.permutations(("first", "second", "third"))
        priorities = [(None, None), (1, None), (None, 1), (-1, 2), (2, -1), ("1", "-1")]
        chosen = list(itertools.product(priorities, repeat=2))
        self.check(
            [{"middleware": [item(name) for name in order]} for order in orders]
            + [{"middleware": [item("a", *one), item("b"), item("c", *other)]} for one, other in chosen]
        )

    def test_options(self) -> None:
        """Options under a middleware's name are no matter for the order; without a list there is none."""
        self.check([{}, {"middleware": []}, {"middleware": [item("a"), item("b")], "a": {"x": 1}, "b": {}}])

    def test_wrong(self) -> None:
        """What legacy vumi refuses is refused."""
        self.check([{"middleware": [{"a": "tests.Trace", "b": "tests.Trace"}]}, {"middleware": [item("a", "high", 1)]}])
