"""One consumes, the others wait."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.broker.interface import Broker, Delivery, Outcome
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.channel.standby import STOOD_STILL, TICK, Standby, StandbyState


class One:
    """A worker that stands by, on a connection of its own."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self.broker = broker
        self.got: list[bytes] = []
        self.consumer = broker.consume("c.inbound", self.take, 10)
        self.standby = Standby(broker, "c", clock, self.consumer.unpause, self.consumer.pause)
        broker.start()
        self.standby.start()

    async def take(self, delivery: Delivery) -> Outcome:
        self.got.append(delivery.body)
        return Outcome.ACK


class StandbyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.server = MemoryBroker(self.clock)
        self.first = One(self.server, self.clock)
        self.run_for(2)
        self.second = One(self.server.another(), self.clock)
        self.run_for(2)

    def run_for(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    def may_post(self, one: One) -> Deferred[bool]:
        return Deferred.fromCoroutine(one.standby.may_post())

    def push(self, body: bytes) -> None:
        self.server.push("c.inbound", body)
        self.run_for(0.5)

    def test_one_consumes(self) -> None:
        """The first consumes, and the second waits."""
        self.assertEqual(
            (self.first.standby.state, self.second.standby.state), (StandbyState.ACTIVE, StandbyState.WAITING)
        )
        self.push(b"1")
        self.assertEqual((self.first.got, self.second.got), ([b"1"], []))

    def test_stopped(self) -> None:
        """When the holder stops another one consumes."""
        self.first.consumer.pause()
        self.successResultOf(Deferred.fromCoroutine(self.first.standby.stop()))
        self.run_for(3)
        self.assertIs(self.second.standby.state, StandbyState.ACTIVE)
        self.push(b"1")
        self.assertEqual((self.first.got, self.second.got), ([], [b"1"]))

    def test_connection_lost(self) -> None:
        """When the holder's connection is lost another one consumes within ten seconds, and the holder waits."""
        self.first.broker.stop()
        self.run_for(10)
        self.assertIs(self.second.standby.state, StandbyState.ACTIVE)
        self.assertIs(self.first.standby.state, StandbyState.WAITING)
        self.assertTrue(self.first.consumer.paused)

    def test_may_post(self) -> None:
        """While all is well nothing is asked."""
        self.assertTrue(self.successResultOf(self.may_post(self.first)))

    def test_stood_still(self) -> None:
        """After the reactor stood still no POST is started before the broker has answered."""
        asked: list[Deferred[bool]] = []

        async def probe() -> bool:
            asked.append(Deferred())
            return await asked[-1]

        self.first.broker.probe = probe  # type: ignore[method-assign]
        self.clock.rightNow += STOOD_STILL + 1
        posting = self.may_post(self.first)
        self.assertNoResult(posting)
        self.assertIs(self.first.standby.state, StandbyState.SUSPENDED)
        asked[0].callback(True)
        self.assertTrue(self.successResultOf(posting))
        self.assertTrue(self.successResultOf(self.may_post(self.first)))
        self.assertEqual(len(asked), 1)

    def test_stood_still_for_a_short_heartbeat(self) -> None:
        """A heartbeat below 3 s is the bound: after it the broker may have given the lock to another worker."""
        for heartbeat, frozen, state in (
            (1.0, 0.9, StandbyState.ACTIVE),
            (1.0, 1.1, StandbyState.SUSPENDED),
            (2.0, 1.9, StandbyState.ACTIVE),
            (2.0, 2.1, StandbyState.SUSPENDED),
            (60.0, 2.9, StandbyState.ACTIVE),
            (60.0, 3.1, StandbyState.SUSPENDED),
            (0.0, 2.9, StandbyState.ACTIVE),
            (0.0, 3.1, StandbyState.SUSPENDED),
        ):
            with case(heartbeat=heartbeat, frozen=frozen):
                answered: Deferred[bool] = Deferred()
                self.first.broker.heartbeat = heartbeat
                self.first.broker.probe = lambda answered=answered: answered  # type: ignore
                self.clock.advance(TICK)
                self.clock.rightNow += frozen
                posting = self.may_post(self.first)
                self.assertIs(self.first.standby.state, state)
                answered.callback(True)
                self.assertTrue(self.successResultOf(posting))

    def test_stood_still_for_long(self) -> None:
        """If the connection is gone meanwhile the POST is not started: another worker has the message."""

        async def probe() -> bool:
            return False

        self.first.broker.probe = probe  # type: ignore[method-assign]
        self.clock.rightNow += STOOD_STILL + 1
        self.assertFalse(self.successResultOf(self.may_post(self.first)))

    def test_no_timer_is_left(self) -> None:
        """One that is stopped leaves no timer."""
        for one in (self.first, self.second):
            one.consumer.pause()
            self.successResultOf(Deferred.fromCoroutine(one.standby.stop()))
            self.successResultOf(one.broker.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
