"""Messages on which an application fails."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import event, user_message
from vumi_turn.broker.interface import BrokerUnavailable, Delivery
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.failures.parked import Parked, read_parked
from vumi_turn.vumi.application import ApplicationWorker
from vumi_turn.vumi.failed_messages import MAX_COUNTED, TRACEBACK_INTERVAL
from vumi_turn.vumi.messages import TransportEvent, TransportUserMessage

PARKED = "c.failures_of_application"


class Raises(ApplicationWorker):
    """Raises what the test says."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.error: Exception | None = None
        self.tries: list[tuple[float, str]] = []
        super().__init__(*args, **kwargs)

    async def consume_user_message(self, message: TransportUserMessage) -> None:
        self.tries.append((self.reactor.seconds(), message.message_id))
        if self.error is not None:
            raise self.error

    async def consume_ack(self, event: TransportEvent) -> None:
        raise KeyError("an event")


class FailedMessagesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.broker = MemoryBroker(self.clock)
        self.lines: list[str] = []
        observer: Any = self._observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _observe(self, event: dict[str, Any]) -> None:
        if event["log_level"] >= LogLevel.error and event.get("log_namespace", "").startswith("vumi_turn"):
            self.lines.append(formatEvent(event))

    def start(self, **config: Any) -> Raises:
        worker = Raises({"connector_name": "c", **config}, broker=self.broker, reactor=self.clock)
        worker.startService()
        self.addCleanup(lambda: self.successResultOf(worker.stopService()))
        return worker

    def push(self, message: Any, queue: str = "c.inbound") -> None:
        self.broker.push(queue, message.to_json())

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds * 100))

    def parked(self) -> list[Parked]:
        return [read_parked(Delivery(PARKED, body)) for body in self.broker.queue_contents(PARKED)]

    def test_backoff_and_parking(self) -> None:
        """A message is tried after 1, 2 and 4 s more, and parked at the fourth failure with its original."""
        worker = self.start(max_failures=4)
        worker.error = ZeroDivisionError("secret words")
        message = user_message("m1")
        self.push(message)
        self.pass_time(8)
        times = [when for when, _ in worker.tries]
        self.assertEqual([round(later - earlier) for earlier, later in zip(times, times[1:], strict=False)], [1, 2, 4])
        [parked] = self.parked()
        self.assertEqual((parked.id, parked.queue, parked.code, parked.attempts), ("m1", "inbound", "temporary", 4))
        self.assertEqual(parked.original, json.loads(message.to_json()))
        self.assertRegex(parked.reason, r"^the application failed on it: ZeroDivisionError in test_\w+\.py:\d+ ")
        self.assertEqual(self.broker.queue_contents("c.inbound"), [])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_one_traceback(self) -> None:
        """An exception has one traceback; then each failure of its line is one line, which says nothing of its text."""
        worker = self.start(max_failures=3)
        worker.error = ZeroDivisionError("secret words")
        self.push(user_message("m1"))
        self.push(user_message("m2"))
        self.pass_time(5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.lines), 6)
        self.assertNotIn("secret", " ".join(self.lines))
        self.assertRegex(
            self.lines[-1], r"failed for the 3\. time \(ZeroDivisionError in .*\); it is parked in c\.fail"
        )
        self.pass_time(TRACEBACK_INTERVAL)
        self.push(user_message("m3"))
        self.pass_time(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_never(self) -> None:
        """With max_failures 0 nothing is parked; the wait grows to a minute."""
        worker = self.start(max_failures=0)
        worker.error = ZeroDivisionError()
        self.push(user_message("m1"))
        self.pass_time(400)
        times = [when for when, _ in worker.tries]
        self.assertEqual(round(times[-1] - times[-2]), 60)
        self.assertEqual(self.parked(), [])
        self.assertEqual(len(self.broker.queue_contents("c.inbound")), 1)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_others_go_on(self) -> None:
        """A message that fails keeps no other from being handled, and one that works at last is not parked."""
        worker = self.start(max_failures=2)
        worker.error = ZeroDivisionError()
        self.push(user_message("m1"))
        self.pass_time(0.1)
        worker.error = None
        self.push(user_message("m2"))
        self.pass_time(2)
        self.assertEqual([name for _, name in worker.tries], ["m1", "m2", "m1"])
        self.assertEqual((self.parked(), self.broker.queue_contents("c.inbound")), ([], []))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_broker_is_not_counted(self) -> None:
        """That the broker did not take an answer parks nothing, however often, and has no traceback."""
        worker = self.start(max_failures=2)
        worker.error = BrokerUnavailable("blocked")
        self.push(user_message("m1"))
        self.pass_time(30)
        self.assertGreater(len(worker.tries), 4)
        self.assertEqual((self.parked(), self.flushLoggedErrors()), ([], []))
        self.assertRegex(self.lines[0], "c.inbound failed; it goes back: blocked")

    def test_event(self) -> None:
        """An event is parked as one of the event queue."""
        self.start(max_failures=1)
        self.push(event("o1", event_id="e1"), "c.event")
        self.pass_time(0.1)
        [parked] = self.parked()
        self.assertEqual((parked.id, parked.queue), ("e1", "event"))
        self.flushLoggedErrors(KeyError)

    def test_malformed(self) -> None:
        """What is no message is parked at once, for no try can be better."""
        self.start()
        self.broker.push("c.inbound", b"no json")
        self.pass_time(0.1)
        [parked] = self.parked()
        self.assertEqual((parked.code, parked.original, parked.queue), ("permanent", "no json", "inbound"))
        self.assertRegex(self.lines[0], r"c\.inbound is not a vumi message \(.+\); it is parked \(error \w{32}\)")

    def test_cannot_be_parked(self) -> None:
        """While the broker does not take it, a message stays in its queue, and is parked at a later try."""
        worker = self.start(max_failures=1)
        worker.error = ZeroDivisionError()
        self.broker.nack_next()
        self.push(user_message("m1"))
        self.pass_time(0.1)
        self.assertEqual((self.parked(), len(self.broker.queue_contents("c.inbound"))), ([], 1))
        self.pass_time(2)
        self.assertEqual([each.id for each in self.parked()], ["m1"])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_too_large(self) -> None:
        """Where the failure message is too large, the message is parked as it came, with the reason in its headers."""
        worker = self.start(max_failures=1)
        worker.error = ZeroDivisionError()
        body = user_message("m1", content="x" * 1000).to_json()
        self.broker.server.message_limit = len(body)
        self.broker.push("c.inbound", body)
        self.pass_time(0.1)
        [message] = self.broker.server.ready(PARKED)
        parked = read_parked(Delivery(PARKED, message.body, headers=message.headers))
        self.assertEqual((parked.id, parked.raw, parked.queue, parked.attempts), ("m1", body, "inbound", 1))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_replay_begins_anew(self) -> None:
        """A message that was parked and comes again has all its tries again."""
        worker = self.start(max_failures=2)
        worker.error = ZeroDivisionError()
        message = user_message("m1")
        for _ in range(2):
            self.push(message)
            self.pass_time(2)
        self.assertEqual((len(worker.tries), len(self.parked())), (4, 2))
        self.flushLoggedErrors(ZeroDivisionError)

    def test_bounded(self) -> None:
        """The memory of what failed is bounded."""
        worker = self.start()
        failed = worker._failed_messages
        for number in range(MAX_COUNTED + 5):
            failed._count(Delivery("c.inbound", b"%d" % number))
        self.assertEqual(len(failed._counts), MAX_COUNTED)

    def test_stopping(self) -> None:
        """A worker that stops does not wait for a backoff: the message is back in its queue."""
        worker = self.start()
        worker.error = ZeroDivisionError()
        self.push(user_message("m1"))
        self.pass_time(0.1)
        self.successResultOf(worker.stopService())
        self.assertEqual((len(self.broker.queue_contents("c.inbound")), self.clock.getDelayedCalls()), (1, []))
        self.flushLoggedErrors(ZeroDivisionError)
