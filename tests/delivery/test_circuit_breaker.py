"""Turn is away: who is sent to find out whether it is back, when, and what the log says of it."""

from __future__ import annotations

from typing import Any, Optional, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.fakes import START, FakeRequest, FakeTurn
from vumi_turn.delivery.admission import AdmissionControl, Ticket
from vumi_turn.delivery.circuit_breaker import CircuitBreaker
from vumi_turn.delivery.observer import BlockedTasks
from vumi_turn.delivery.task import DeliveryTask
from vumi_turn.turn.verdicts import Verdict


class CircuitBreakerTestCase(SynchronousTestCase):
    """A circuit breaker, its admission control, and those that wait there."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.turn = FakeTurn(self.clock)
        self.admission = AdmissionControl(self.clock, 4)
        self.breaker = CircuitBreaker(self.clock, self.admission)
        #: Who was sent, and after how many seconds.
        self.probes: list[tuple[str, float]] = []
        self.sent: dict[str, tuple[DeliveryTask, Ticket]] = {}
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def tearDown(self) -> None:
        self.breaker.stop()
        self.admission.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def task(self, request: FakeRequest) -> DeliveryTask:
        return DeliveryTask(request, BlockedTasks(self.clock, None))

    def come(self, name: str, kind: str = "message") -> Deferred[Any]:
        """A request comes, and waits to be admitted."""
        return self.wait(self.task(FakeRequest(self.turn, name, kind=kind)))

    def wait(self, task: DeliveryTask) -> Deferred[Any]:
        name = task.request.name

        def passed(ticket: Ticket) -> None:
            self.probes.append((name, self.clock.seconds() - START))
            self.sent[name] = task, ticket

        waiting = self.admission.wait(task).addCallback(passed)
        self.breaker.waits(task)
        return waiting

    def answer(self, name: str, verdict: Optional[Verdict], what: str = "", again: bool = True) -> None:
        """What became of one who was sent; if it was not taken it comes back to wait."""
        task, ticket = self.sent.pop(name)
        self.admission.answered(task.request.kind, ticket, accepted=verdict is Verdict.DELIVERED)
        self.breaker.answered(task, verdict, what)
        self.admission.admit()
        if again and verdict is not Verdict.DELIVERED:
            self.wait(task)

    def begin(self, *names: str, verdict: Verdict = Verdict.UNAVAILABLE, what: str = "connect") -> None:
        """Turn is away, and these wait."""
        self.breaker.round_failed(what)
        for name in names:
            self.come(name)

    def lines(self) -> list[str]:
        """The log's lines since the last time."""
        lines = [str(formatEvent(event)) for event in self.events]
        self.events.clear()
        return lines


class ProbeTests(CircuitBreakerTestCase):
    def test_nobody_passes(self) -> None:
        """While Turn is away nobody passes but a probe."""
        self.begin("a", "b")
        self.assertEqual((self.breaker.away, self.breaker.troubled, self.probes), (True, True, []))
        self.clock.advance(0.9)
        self.assertEqual(self.probes, [])
        self.clock.advance(0.1)
        self.assertEqual(self.probes, [("a", 1.0)])
        self.clock.advance(100)
        self.assertEqual(len(self.probes), 1)

    def test_another_each_time(self) -> None:
        """Each probe is another one, after a wait that doubles from 1 s to 60 s after each answer."""
        self.begin("a", "b", "c")
        for _ in range(9):
            self.clock.advance(self.clock.getDelayedCalls()[0].getTime() - self.clock.seconds())
            if self.sent:
                self.answer(next(iter(self.sent)), Verdict.UNAVAILABLE)
        self.assertEqual("".join(name for name, _ in self.probes)[:6], "abcabc")
        starts = [seconds for _, seconds in self.probes]
        gaps = [round(after - before) for before, after in zip([0.0, *starts], starts, strict=False)]
        self.assertEqual(gaps[:7], [1, 2, 4, 8, 16, 32, 60])

    def test_back(self) -> None:
        """The first one that Turn takes ends it, and lets two others follow."""
        self.begin("a", "b", "c", "d")
        self.clock.advance(1)
        self.answer("a", Verdict.DELIVERED)
        self.assertEqual((self.breaker.away, self.breaker.troubled), (False, False))
        self.assertEqual([name for name, _ in self.probes], ["a", "b", "c"])

    def test_any_other_answer_ends_it(self) -> None:
        """Whatever says that Turn works ends it: a refusal, a failure, too many requests."""
        for verdict in (Verdict.REFUSED, Verdict.FAILED, Verdict.THROTTLED):
            self.admission = AdmissionControl(self.clock, 4)
            self.breaker = CircuitBreaker(self.clock, self.admission)
            self.begin("a")
            self.clock.advance(1)
            self.answer("a", verdict, again=False)
            self.assertFalse(self.breaker.away, verdict)

    def test_log_of_any_other_answer(self) -> None:
        """Where it was not ended by a message that Turn took, the log does not make believe so."""
        self.begin("a")
        self.lines()
        self.clock.advance(1)
        self.answer("a", Verdict.FAILED, "status 500", again=False)
        self.assertEqual(self.lines(), ["Turn is back after 1.0 s, but did not take what was sent (status 500)"])

    def test_what_does_not_end_it(self) -> None:
        """What says that Turn is still away, or says nothing of Turn, does not end it."""
        self.begin("a")
        for seconds, verdict in ((1, Verdict.UNAVAILABLE), (2, Verdict.MISCONFIGURED), (4, Verdict.ERROR)):
            self.clock.advance(seconds)
            self.answer("a", verdict)
            self.assertTrue(self.breaker.away, verdict)

    def test_late_answer(self) -> None:
        """A request of before, which Turn takes after all, ends it too; the probe's own answer says no more then."""
        early = self.task(FakeRequest(self.turn, "early"))
        self.begin("a")
        self.clock.advance(1)
        self.breaker.answered(early, Verdict.DELIVERED)
        self.assertFalse(self.breaker.away)
        self.answer("a", Verdict.UNAVAILABLE, again=False)
        self.assertFalse(self.breaker.away)

    def test_late_failure(self) -> None:
        """A request of before that fails changes nothing while a probe is on its way."""
        early = self.task(FakeRequest(self.turn, "early"))
        self.begin("a", "b")
        self.clock.advance(1)
        self.breaker.answered(early, Verdict.UNAVAILABLE)
        self.clock.advance(60)
        self.assertEqual([name for name, _ in self.probes], ["a"])

    def test_not_sent_after_all(self) -> None:
        """If a probe was not sent after all, it is at once the next one's turn."""
        self.begin("a", "b")
        self.clock.advance(1)
        self.answer("a", None, again=False)
        self.clock.advance(0)
        self.assertEqual(self.probes, [("a", 1.0), ("b", 1.0)])

    def test_nobody_there(self) -> None:
        """If nobody waits when a probe is due, the next one that comes is the probe, at once."""
        self.begin()
        self.clock.advance(30)
        self.come("a")
        self.come("b")
        self.assertEqual(self.probes, [("a", 30.0)])

    def test_one_that_goes(self) -> None:
        """Who has stopped waiting is no probe."""
        self.begin()
        self.come("a").addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        self.come("b")
        self.clock.advance(1)
        self.assertEqual(self.probes, [("b", 1.0)])

    def test_told_to_wait(self) -> None:
        """No probe is sent for as long as Turn has said that it wants no requests."""
        self.admission.answered("message", self.admission.ticket("message"), throttled=True, wait=30)
        self.begin("a")
        self.clock.pump([1] * 29)
        self.assertEqual(self.probes, [])
        self.clock.advance(1)
        self.assertEqual(self.probes, [("a", 30.0)])

    def test_waits_begin_anew(self) -> None:
        """After Turn was back the waits begin with the shortest again."""
        self.begin("a")
        for seconds in (1, 2, 4):
            self.clock.advance(seconds)
            self.answer("a", Verdict.UNAVAILABLE)
        self.clock.advance(8)
        self.answer("a", Verdict.DELIVERED)
        self.probes.clear()
        self.breaker.round_failed("connect")
        self.come("b")
        self.clock.advance(1)
        self.assertEqual([name for name, _ in self.probes], ["b"])

    def test_stopped(self) -> None:
        """After the stop no probe is sent, no timer is left, and nothing begins."""
        self.begin("a")
        self.breaker.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.come("b")
        self.assertEqual(self.probes, [])
        other = CircuitBreaker(self.clock, self.admission)
        other.stop()
        other.round_failed("connect")
        self.assertFalse(other.away)


class MisconfiguredTests(CircuitBreakerTestCase):
    def refused(self, kind: str = "message") -> None:
        """Turn does not let one of this kind in."""
        task = self.task(FakeRequest(self.turn, "x", kind=kind))
        self.breaker.answered(task, Verdict.MISCONFIGURED, "status 401")

    def accepted(self, kind: str = "message") -> None:
        self.breaker.answered(self.task(FakeRequest(self.turn, "y", kind=kind)), Verdict.DELIVERED)

    def test_until_one_is_taken(self) -> None:
        """It is misconfigured until Turn takes one of the same kind."""
        self.refused("message")
        self.assertEqual((self.breaker.misconfigured, self.breaker.troubled), (True, True))
        self.accepted("status")
        self.assertTrue(self.breaker.misconfigured)
        self.accepted("message")
        self.assertEqual((self.breaker.misconfigured, self.breaker.troubled), (False, False))

    def test_away_after_all(self) -> None:
        """If Turn turns out to be away, it is no longer known to be misconfigured."""
        self.refused()
        self.begin("a", verdict=Verdict.MISCONFIGURED)
        self.clock.advance(1)
        self.answer("a", Verdict.UNAVAILABLE)
        self.assertEqual((self.breaker.misconfigured, self.breaker.away), (False, True))

    def test_log(self) -> None:
        """One line a minute says what to check."""
        for _ in range(5):
            self.refused()
        self.begin("a", verdict=Verdict.MISCONFIGURED, what="status 401")
        (line,) = self.lines()
        self.assertEqual(line, "Turn does not let us in (status 401): check auth_token and turn_api_url")
        for _ in range(3):
            self.clock.pump([1] * 60)
            self.assertEqual(self.lines(), [line])

    def test_log_has_an_end(self) -> None:
        """Where the error was logged so is its end, though an earlier outage was logged within the minute."""
        self.begin("a")
        self.clock.advance(1)
        self.answer("a", Verdict.DELIVERED)
        self.lines()
        for expected in (2, 0):
            self.refused()
            self.begin("b", verdict=Verdict.MISCONFIGURED, what="status 401")
            self.clock.advance(2)
            self.answer("b", Verdict.DELIVERED)
            lines = self.lines()
            self.assertEqual(len(lines), expected, lines)
            self.assertEqual(lines[1:], ["Turn is back after 2.0 s"][:expected])

    def test_log_has_an_end_without_an_outage(self) -> None:
        """Where others were accepted all the time, the end is logged when the last kind is let in."""
        self.refused()
        self.accepted("status")
        self.assertEqual(len(self.lines()), 1)
        self.accepted()
        self.accepted()
        self.assertEqual(self.lines(), ["Turn lets us in again"])


class LogTests(CircuitBreakerTestCase):
    def test_away_and_back(self) -> None:
        """The log says that Turn is away, each minute how long and how many wait, and when it is back."""
        self.begin("a", "b")
        self.assertEqual(self.lines(), ["Turn is away (connect): what goes there is held until it is back"])
        self.clock.pump([1] * 60)
        self.assertEqual(self.lines(), ["Turn has been away for 60 s (connect); 1 wait for it"])
        self.answer("a", Verdict.UNAVAILABLE, "status 503")
        self.clock.pump([1] * 60)
        self.assertEqual(self.lines(), ["Turn has been away for 120 s (status 503); 1 wait for it"])
        self.answer("b", Verdict.DELIVERED)
        self.assertEqual(self.lines(), ["Turn is back after 120.0 s"])

    def test_again_and_again(self) -> None:
        """Outages that follow each other within a minute are one to the log."""
        for number in range(5):
            self.begin(f"p{number}")
            self.clock.advance(1)
            self.answer(f"p{number}", Verdict.DELIVERED)
        self.assertEqual(
            self.lines(),
            ["Turn is away (connect): what goes there is held until it is back", "Turn is back after 1.0 s"],
        )

    def test_nothing_when_it_is_well(self) -> None:
        """While Turn takes what it gets, nothing is logged and no timer runs."""
        for name in ("a", "b"):
            self.breaker.answered(self.task(FakeRequest(self.turn, name)), Verdict.DELIVERED)
        self.assertEqual((self.lines(), self.clock.getDelayedCalls()), ([], []))
