"""Parked messages: shown, held and replayed."""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.fakes import event, user_message
from vumi_turn.broker.interface import BrokerUnavailable
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.failures.dead_letter import DeadLetter
from vumi_turn.failures.queue import FailureQueue
from vumi_turn.sandbox.parked import HOLD, ParkedMessages
from vumi_turn.turn.verdicts import Verdict

PARKED = "c.turn_failures"


class ParkedTests(SynchronousTestCase):
    """What the page does with a failures queue."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_628_345_678)
        self.broker = MemoryBroker(self.clock)
        self.parked = ParkedMessages(self.broker, "c", self.clock)
        self.broker.start()
        self.parked.start()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        self.parked.stop()
        self.broker.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def turns(self) -> None:
        for _ in range(5):
            self.clock.advance(0.01)

    def park(self, name: str, queue: str = "inbound") -> bytes:
        """The worker parks a message."""
        body = (user_message(name) if queue == "inbound" else event(name)).to_json()
        failures = FailureQueue(self.broker.publisher(PARKED), self.clock)
        parking = DeadLetter(Verdict.REFUSED, "permanent", "Turn answered 400", attempts=1, last_status=400)
        done = ensureDeferred(failures.park(body, queue, parking))
        self.turns()
        self.successResultOf(done)
        return body

    def replay(self, ids: Optional[list[str]] = None) -> Any:
        done = ensureDeferred(self.parked.replay(ids))
        self.turns()
        return self.successResultOf(done)

    def ids(self) -> list[str]:
        return [line["id"] for line in self.parked.lines()]

    def test_shown(self) -> None:
        """A parked message is shown with its id, queue and reason, its person and words; it stays in its queue."""
        self.park("m1")
        (line,) = self.parked.lines()
        self.assertEqual(
            (line["id"], line["queue"], line["code"], line["reason"]),
            ("m1", "inbound", "permanent", "Turn answered 400"),
        )
        self.assertEqual((line["message_id"], line["number"], line["text"]), ("m1", "+27820000001", "words of m1"))
        self.assertEqual(len(self.broker.queue_contents(PARKED)), 1)

    def test_event(self) -> None:
        """A parked event is shown with the id of the message that it is about, and what it says."""
        self.park("m1", "event")
        (line,) = self.parked.lines()
        self.assertEqual((line["message_id"], line["number"], line["text"]), ("m1", None, "ack"))

    def test_drop(self) -> None:
        """What is dropped is in no queue any more; the others stay."""
        for name in ("m1", "m2", "m3"):
            self.park(name)
        self.assertEqual(self.parked.drop(["m2"]), 1)
        self.turns()
        self.assertEqual((self.ids(), len(self.broker.queue_contents(PARKED))), (["m1", "m3"], 2))
        self.assertEqual(self.parked.drop(), 2)
        self.turns()
        self.assertEqual((self.broker.queue_contents(PARKED), self.broker.queue_contents("c.inbound")), ([], []))

    def test_replay_all(self) -> None:
        """Replayed messages are in the queues that they came from, as they were, and are parked no more."""
        bodies = [self.park("m1"), self.park("m2", "event")]
        self.assertEqual(self.replay(), 2)
        for queue, body in zip(("c.inbound", "c.event"), bodies, strict=True):
            with case(queue=queue, body=body):
                self.assertEqual([json.loads(b) for b in self.broker.queue_contents(queue)], [json.loads(body)])
        self.assertEqual((self.ids(), self.broker.queue_contents(PARKED)), ([], []))

    def test_replay_one(self) -> None:
        """Only what was named is replayed."""
        self.park("m1")
        self.park("m2")
        self.assertEqual(self.replay(["m2", "m9"]), 1)
        self.assertEqual(self.ids(), ["m1"])

    def test_junk_stays(self) -> None:
        """What does not say where it came from is shown, and stays."""
        self.broker.push(PARKED, b"junk")
        self.turns()
        (line,) = self.parked.lines()
        self.assertEqual((line["queue"], line["code"]), (None, "unreadable"))
        self.assertEqual(self.replay(), 0)
        self.assertEqual(len(self.parked), 1)

    def test_broker_away(self) -> None:
        """While the broker is away nothing is shown or replayed, and nothing is lost."""
        self.park("m1")
        self.broker.go_away()
        self.assertEqual(self.ids(), [])
        self.broker.come_back()
        self.turns()
        self.assertEqual(self.ids(), ["m1"])
        self.broker.block()
        self.failureResultOf(ensureDeferred(self.parked.replay()), BrokerUnavailable)
        self.assertEqual(self.ids(), ["m1"])

    def test_held_not_too_long(self) -> None:
        """All go back to the queue, and come again, before a broker would mind."""
        self.park("m1")
        self.clock.advance(HOLD)
        self.assertEqual(self.ids(), [])
        self.turns()
        self.assertEqual(self.ids(), ["m1"])

    def test_stopping_puts_back(self) -> None:
        """Stopping leaves what is parked in its queue."""
        self.park("m1")
        self.parked.stop()
        self.turns()
        self.assertEqual(self.ids(), [])
        self.assertEqual(len(self.broker.queue_contents(PARKED)), 1)
