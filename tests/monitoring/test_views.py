"""A channel's state in words, rates, and queues' numbers."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.broker.interface import BrokerUnavailable, QueueCounts
from vumi_turn.monitoring.queue_counts import LOOKED_AT, MANY, PATIENCE, QueueCounters
from vumi_turn.monitoring.rates import RateCounter
from vumi_turn.monitoring.views import ChannelSnapshot, ChannelViews, duration, remarks_of


class RemarkTests(SynchronousTestCase):
    def said(self, **state: Any) -> list[str]:
        return [remark.text for remark in remarks_of(ChannelSnapshot("c", **state))]

    def test_words(self) -> None:
        """Each state is one sentence."""
        for state, sentence in (
            ({}, "All well"),
            ({"failure": "the queue c.inbound is a stream"}, "Not set up: the queue c.inbound is a stream"),
            ({"stopping": True, "broker": "closed"}, "Stopping"),
            ({"standby": True}, "Standby: another worker consumes"),
            ({"broker": "connecting"}, "RabbitMQ away"),
            ({"broker": "connecting", "broker_reason": "connection refused"}, "RabbitMQ away: connection refused"),
            ({"broker": "blocked"}, "RabbitMQ takes no messages now (an alarm): Turn's POSTs are answered 503"),
            (
                {"away_for": 200.0, "held": 20, "queues": {"inbound": 20, "event": 1, "outbound": 9}, "next_try": 8.2},
                "Turn away for 3 min, 41 wait, next try in 8 s",
            ),
            ({"away_for": 9.0, "next_try": 0.3}, "Turn away for 9 s, next try now"),
            ({"away_for": 1.0, "away_reason": "connect: no connection"}, "Turn away (connect: no connection) for 1 s"),
            (
                {"away_for": 61.0, "misconfigured": True, "away_reason": "status 401", "held": 1},
                "Turn refuses the token or the URL (status 401) for 1 min, 1 wait",
            ),
            ({"misconfigured": True}, "Turn refuses the token or the URL"),
            ({"throttled_for": 12.0}, "Rate limited for 12 s"),
            ({"held": 2}, "2 messages wait for another round, while Turn accepts others"),
            ({"unparked": 1, "park_error": "BrokerUnavailable"}, "Cannot park 1 message: BrokerUnavailable"),
            ({"cache_healthy": False}, "Message cache away: replies may not be linked to what they answer"),
        ):
            self.assertEqual(self.said(**state), [sentence])

    def test_worst_first(self) -> None:
        """Of several the worst comes first, and is the channel's state."""
        snapshot = ChannelSnapshot("c", standby=True, throttled_for=1.0, unparked=2)
        self.assertEqual([remark.kind for remark in remarks_of(snapshot)], ["bad", "warn", "info"])
        self.assertEqual(snapshot.to_dict()["state"], "bad")
        self.assertEqual(ChannelSnapshot("c").to_dict()["state"], "good")

    def test_durations(self) -> None:
        """Spans are told in the largest unit that has a whole number."""
        for seconds, words in (
            (0.4, "0 s"),
            (59.4, "59 s"),
            (60, "1 min"),
            (7300, "2 h"),
            (200000, "2 d"),
            (-1, "0 s"),
        ):
            self.assertEqual(duration(seconds), words)


class RateTests(SynchronousTestCase):
    def test_rate(self) -> None:
        """A rate is of the last minute; at the start of the time that there was."""
        clock = Clock()
        clock.advance(1000.5)
        counter = RateCounter(clock)
        counter.add()
        self.assertEqual(counter.per_second, 1.0)
        clock.advance(9.5)
        counter.add()
        self.assertAlmostEqual(counter.per_second, 2 / 9.5)
        clock.advance(50.5)
        self.assertAlmostEqual(counter.per_second, 1 / 60)
        clock.advance(10)
        self.assertEqual(counter.per_second, 0.0)
        counter.add()
        clock.advance(600)
        self.assertEqual(counter.per_second, 0.0)


class StubBroker:
    """Answers how many messages queues have; counts the questions."""

    def __init__(self) -> None:
        self.queues: dict[str, QueueCounts] = {}
        self.asked = 0
        self.answer: Optional[Any] = None

    async def counts(self, queue: str) -> Optional[QueueCounts]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            await self.answer
        return self.queues.get(queue)


class StubView:
    """A channel of which only the queues are looked at."""

    def __init__(self, connector: str, broker: StubBroker) -> None:
        self.connector = connector
        self.broker: Any = broker

    def snapshot(self) -> ChannelSnapshot:
        return ChannelSnapshot(self.connector)


class QueueCounterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.broker = StubBroker()
        self.views = ChannelViews()
        self.views.add(StubView("c", self.broker))
        self.counters = QueueCounters(self.views, self.clock)

    def refresh(self, good_for: float = LOOKED_AT) -> Deferred[None]:
        return Deferred.fromCoroutine(self.counters.refresh(good_for))

    def test_asked_rarely(self) -> None:
        """The broker is asked once, and again when what it said is too old."""
        self.broker.queues = {"c.inbound": QueueCounts(3, 1), "c.turn_failures": QueueCounts(2, 0)}
        self.successResultOf(self.refresh())
        self.assertEqual(self.counters.of("c"), {"inbound": 3, "turn_failures": 2})
        asked = self.broker.asked
        self.clock.advance(LOOKED_AT - 0.1)
        self.successResultOf(self.refresh())
        self.assertEqual(self.broker.asked, asked)
        self.broker.queues["c.inbound"] = QueueCounts(4, 1)
        self.clock.advance(0.2)
        self.successResultOf(self.refresh())
        self.assertEqual(self.counters.of("c")["inbound"], 4)

    def test_many_channels(self) -> None:
        """With many channels the broker is asked more rarely."""
        for number in range(2 * MANY - 1):
            self.views.add(StubView(f"c{number}", self.broker))
        self.successResultOf(self.refresh())
        asked = self.broker.asked
        self.clock.advance(2 * LOOKED_AT - 0.1)
        self.successResultOf(self.refresh())
        self.assertEqual(self.broker.asked, asked)
        self.clock.advance(0.2)
        self.successResultOf(self.refresh())
        self.assertGreater(self.broker.asked, asked)

    def test_read_by_somebody(self) -> None:
        """While somebody reads the failures queue it is not taken for empty."""
        self.broker.queues["c.turn_failures"] = QueueCounts(7, 0)
        self.successResultOf(self.refresh())
        self.broker.queues["c.turn_failures"] = QueueCounts(0, 1)
        self.successResultOf(self.refresh(0))
        self.assertEqual(self.counters.of("c"), {"turn_failures": 7})

    def test_broker_away(self) -> None:
        """Without a broker the last numbers stay."""
        self.broker.queues["c.inbound"] = QueueCounts(7, 0)
        self.successResultOf(self.refresh())
        self.broker.answer = BrokerUnavailable("away")
        self.successResultOf(self.refresh(0))
        self.assertEqual(self.counters.of("c"), {"inbound": 7})

    def test_slow_broker(self) -> None:
        """Nobody waits long for a broker that does not answer; it is not asked twice at a time."""
        answer: Deferred[None] = Deferred()
        self.broker.answer = answer
        first, second = self.refresh(), self.refresh(0)
        self.assertEqual(self.broker.asked, 1)
        self.clock.advance(PATIENCE)
        self.successResultOf(first)
        self.successResultOf(second)
        self.broker.answer = None
        self.broker.queues["c.inbound"] = QueueCounts(1, 0)
        answer.callback(None)
        self.assertEqual(self.counters.of("c"), {"inbound": 1})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gone(self) -> None:
        """What is known of a channel goes with it."""
        self.broker.queues["c.inbound"] = QueueCounts(1, 0)
        self.successResultOf(self.refresh())
        self.counters.forget("c")
        self.assertEqual(self.counters.of("c"), {})
