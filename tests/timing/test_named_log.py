"""Loggers of a channel."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.timing.named_log import ConnectorLogger, connector_of, named


class NamedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.log = Logger("some.module", observer=self.events.append)  # type: ignore[arg-type]

    def test_each_event(self) -> None:
        """Each event names the connector, a failure's too, and comes from the same module."""
        log = named(self.log, "ussd")
        log.observer = self.log.observer
        log.info("One {thing}", thing=1)
        try:
            raise RuntimeError
        except RuntimeError:
            log.failure("Two")
        log.warn("Three", connector="another")
        self.assertEqual([event["connector"] for event in self.events], ["ussd", "ussd", "another"])
        self.assertEqual({event["log_namespace"] for event in self.events}, {"some.module"})

    def test_of_no_channel(self) -> None:
        """What belongs to no channel keeps its logger."""
        self.assertIs(named(self.log, ""), self.log)
        self.assertIsInstance(named(self.log, "ussd"), ConnectorLogger)

    def test_connector_of(self) -> None:
        """An event is about the connector that it names, or the one whose queue it tells of."""
        for event, connector in (
            ({"connector": "ussd", "queue": "sms.inbound"}, "ussd"),
            ({"queue": "sms.of.lesotho.inbound"}, "sms.of.lesotho"),
            ({"queue": None}, ""),
            ({}, ""),
        ):
            self.assertEqual(connector_of(event), connector)
