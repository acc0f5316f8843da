"""What is kept of each delivery."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.fakes import FakeRequest, FakeTurn
from vumi_turn.delivery import Result
from vumi_turn.monitoring.metrics import MetricsRegistry
from vumi_turn.monitoring.recorder import DeliveryRecorder
from vumi_turn.monitoring.trace import TraceStore
from vumi_turn.turn.verdicts import Verdict


class RecorderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = MetricsRegistry()
        self.traces = TraceStore(self.clock.seconds, b"key")
        self.recorder = DeliveryRecorder(self.registry.channel("c"), self.traces.channel("c"), self.clock)
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.request: Any = FakeRequest(FakeTurn(self.clock), "m1")
        self.request.received = 0.0

    def test_delivered(self) -> None:
        """A delivered message has its numbers, its steps, and one line in the log that names its channel."""
        self.recorder.message_consumed("m1", "+26612345678", False)
        self.recorder.tried(self.request, Verdict.UNAVAILABLE, "status 503", 0.2)
        self.clock.advance(3)
        self.recorder.tried(self.request, Verdict.DELIVERED, "status 200", 0.1)
        self.recorder.settled(self.request, Result.DELIVERED)
        (entry,) = self.traces.find("m1")
        self.assertEqual(
            entry["steps"],
            [
                {"at": 0, "step": "received"},
                {
                    "at": 0,
                    "step": "tried",
                    "kind": "message",
                    "verdict": "unavailable",
                    "answer": "status 503",
                    "ms": 200,
                },
                {
                    "at": 3,
                    "step": "tried",
                    "kind": "message",
                    "verdict": "delivered",
                    "answer": "status 200",
                    "ms": 100,
                },
                {"at": 3, "step": "delivered", "kind": "message", "tries": 2, "ms": 3000},
            ],
        )
        (event,) = self.events
        self.assertEqual(formatEvent(event), "message m1: delivered after 2 tries, 3000 ms")
        self.assertEqual((event["connector"], event["log_level"].name), ("c", "info"))
        shown = self.registry.render()
        self.assertIn(b'vumi_turn_settled_total{connector="c",kind="message",result="delivered"} 1.0', shown)
        self.assertIn(b'vumi_turn_queue_to_turn_seconds_count{connector="c",kind="message"} 1.0', shown)

    def test_parked(self) -> None:
        """What is parked did not take any time to reach Turn."""
        self.recorder.settled(self.request, Result.PARKED)
        self.assertIn(
            b'vumi_turn_queue_to_turn_seconds_count{connector="c",kind="message"} 0.0', self.registry.render()
        )

    def test_events(self) -> None:
        """What the network says of a message of ours is a step of that message."""
        self.traces.channel("c").begin("m7", "outbound", "message", "+26612345678", "accepted")
        self.recorder.event_consumed("m7", "status", "delivered")
        (entry,) = self.traces.find("m7")
        self.assertEqual([step["step"] for step in entry["steps"]], ["accepted", "event delivered"])

    def test_words(self) -> None:
        """Turn's own words are kept with the try, and stand in no line of the log."""
        self.recorder.message_consumed("m1", "+26612345678", False)
        self.recorder.tried(self.request, Verdict.REFUSED, "status 400", 0.2, "1008 no such thing")
        self.recorder.settled(self.request, Result.PARKED)
        (entry,) = self.traces.find("m1")
        self.assertEqual(entry["steps"][1]["words"], "1008 no such thing")
        self.assertNotIn("1008", "".join(str(event) for event in self.events))
