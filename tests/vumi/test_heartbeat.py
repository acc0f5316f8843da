from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import FakeBroker
from vumi_turn.broker.interface import BrokerState, ConnectionLost
from vumi_turn.vumi.heartbeat import Heartbeat


class HeartbeatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1628345678.25)
        self.broker = FakeBroker()
        self.more: Any = dict

    def start(self) -> Heartbeat:
        heartbeat = Heartbeat(
            self.broker,
            self.clock,
            system_id="global",
            worker_name="turn_1",
            hostname="host.example",
            pid=4321,
            more=lambda: self.more(),
        )
        heartbeat.start()
        self.addCleanup(heartbeat.stop)
        return heartbeat

    @property
    def bodies(self) -> list[bytes]:
        return self.broker.publishers["vumi.health/heartbeat.inbound"].bodies

    def test_what_it_says(self) -> None:
        """A heartbeat has legacy vumi's attributes, and the time of the clock as Unix seconds."""
        self.start()
        self.clock.advance(10)
        self.assertEqual(
            json.loads(self.bodies[0]),
            {
                "version": "20130319",
                "system_id": "global",
                "worker_id": "global:turn_1",
                "worker_name": "turn_1",
                "hostname": "host.example",
                "pid": 4321,
                "timestamp": 1628345688.25,
            },
        )

    def test_every_ten_seconds(self) -> None:
        """There is a heartbeat every 10 s, none at the start, and none after the stop."""
        heartbeat = self.start()
        self.clock.pump([9.5, 0.5])
        self.assertEqual(len(self.bodies), 1)
        self.clock.pump([10] * 5)
        self.assertEqual(len(self.bodies), 6)
        heartbeat.stop()
        self.clock.pump([10] * 3)
        self.assertEqual(len(self.bodies), 6)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_skipped_without_broker(self) -> None:
        """While the broker is not connected there are no heartbeats; after that there are again."""
        self.start()
        for state in (BrokerState.CONNECTING, BrokerState.BLOCKED, BrokerState.CLOSED):
            self.broker.state = state
            self.clock.advance(10)
        self.assertEqual(self.bodies, [])
        self.broker.state = BrokerState.CONNECTED
        self.clock.advance(10)
        self.assertEqual(len(self.bodies), 1)

    def test_failing_publish(self) -> None:
        """A heartbeat that fails, or is never confirmed, neither stops those after it nor is an error."""
        self.broker.confirms = False
        self.start()
        self.clock.advance(10)
        self.broker.publishers["vumi.health/heartbeat.inbound"].pending[0].errback(ConnectionLost("gone"))
        self.clock.pump([10, 10])
        self.assertEqual(len(self.bodies), 3)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_attributes_of_the_worker(self) -> None:
        """A worker's own attributes are added; where they fail that is logged, and the next beat goes out."""
        self.start()
        self.more = lambda: {"queue": 7}
        self.clock.advance(10)
        self.assertEqual(json.loads(self.bodies[0])["queue"], 7)
        self.more = lambda: 1 / 0
        self.clock.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.more = dict
        self.clock.advance(10)
        self.assertEqual(len(self.bodies), 2)
