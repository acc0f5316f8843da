"""
One person's messages delay nobody else's: a queue with a prefetch window, and the scheduler behind it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable

from twisted.internet.defer import Deferred, fail

from tests.delivery.fakes import BAD, BROKEN, OK, FakeAnswer, FakeRequest, Reply, SchedulerTestCase
from vumi_turn.delivery import Result

#: Nobody else's message may wait for longer, in seconds.
MOST_DELAY = 2.0


class QueueTestCase(SchedulerTestCase):
    """
    A queue of which the scheduler gets as many as its window allows.

    :ivar answer_late: what Turn answers, and after how many seconds.
    """

    def setUp(self) -> None:
        self.more: Counter[str] = Counter()
        self.queue: list[FakeRequest] = []
        self.open = True
        self.unsettled = 0
        self.most_unsettled = 0
        self.delivered: dict[str, float] = {}
        self.pushed: dict[str, float] = {}
        super().setUp()
        self.turn.answer = self.answer
        self.answer_late: Callable[[FakeRequest], tuple[float, FakeAnswer]] = lambda request: (0.1, OK)

    def tearDown(self) -> None:
        self.open = False
        super().tearDown()

    def make_scheduler(self, **options: Any) -> Any:
        return super().make_scheduler(**{"window": self, **options})

    def blocked(self, kind: str, count: int) -> None:
        self.more[kind] = count
        self.give()

    def answer(self, request: FakeRequest) -> Reply:
        seconds, answer = self.answer_late(request)
        later: Deferred[FakeAnswer] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(seconds, later.callback, answer)
        return later

    def push(self, name: str, key: str = "", **fields: Any) -> FakeRequest:
        request = self.request(name, key, **fields)
        self.pushed[name] = self.clock.seconds()
        self.queue.append(request)
        self.give()
        return request

    def give(self) -> None:
        while self.open and self.queue and self.unsettled < self.prefetch + min(sum(self.more.values()), 1000):
            request = self.queue.pop(0)
            request.received = self.clock.seconds()
            self.unsettled += 1
            self.most_unsettled = max(self.most_unsettled, self.unsettled)
            self.scheduler.deliver(request).addCallback(self.settle, request)

    def settle(self, result: Result, request: FakeRequest) -> None:
        self.unsettled -= 1
        if result is Result.DELIVERED:
            self.delivered[request.name] = self.clock.seconds()
        elif result is Result.REQUEUE:
            again = request.again()
            again.parking = request.parking
            # It goes back to its place: before all that came later.
            at = sum(self.pushed[other.name] < self.pushed[request.name] for other in self.queue)
            while at < len(self.queue) and self.pushed[self.queue[at].name] == self.pushed[request.name]:
                at += 1
            self.queue.insert(at, again)
        self.clock.callLater(0, self.give)

    def others(self, count: int = 100, apart: float = 0.05) -> None:
        """Other people's messages come, and none waits for too long."""
        names = [f"other {self.clock.seconds()} {number}" for number in range(count)]
        for name in names:
            self.push(name)
            self.pass_time(apart, step=0.05)
        self.pass_time(MOST_DELAY, step=0.05)
        delays = [self.delivered.get(name, float("inf")) - self.pushed[name] for name in names]
        self.assertLess(max(delays), MOST_DELAY)


class OnePersonTests(QueueTestCase):
    def bad(self, seconds: float, answer: FakeAnswer, count: int = 40, **fields: Any) -> None:
        """Turn answers all of one person's messages so."""
        self.answer_late = lambda request: (seconds, answer) if request.key == "one" else (0.1, OK)
        for number in range(count):
            self.push(f"bad {number}", "one", **fields)

    def check(self) -> None:
        """Others come at once, after a while, and after more than the longest stay."""
        self.others()
        for minutes in (1, 20, 5):
            self.pass_time(minutes * 60, step=0.5)
            self.others(20)

    def test_refused(self) -> None:
        """Turn refuses them: they are parked, and that is no misconfiguration."""
        self.bad(0.1, BAD)
        self.others()
        self.assertFalse(self.scheduler.misconfigured)
        self.assertEqual(self.counted.results.count(("message", "parked")), 40)

    def test_failed(self) -> None:
        """Turn answers them with 500."""
        self.bad(0.1, BROKEN)
        self.check()

    def test_unavailable(self) -> None:
        """Turn answers them with 503."""
        self.bad(0.1, FakeAnswer(503))
        self.check()

    def test_time_out(self) -> None:
        """Turn does not answer them."""
        self.bad(10.0, FakeAnswer(error="timeout"))
        self.check()

    def test_time_out_alone_before(self) -> None:
        """So it is if nobody else has written for so long that Turn was taken to be away, a probe under way or not."""
        self.bad(10.0, FakeAnswer(error="timeout"))
        for minutes in range(25):
            self.pass_time(60, step=0.5)
            if minutes % 6 == 5:
                self.assertTrue(self.scheduler.away)
                self.others(5)

    def test_statuses_of_one_message(self) -> None:
        """A message's statuses are no other than a person's messages."""
        self.bad(10.0, FakeAnswer(error="timeout"), kind="status")
        self.check()

    def test_many(self) -> None:
        """400 messages of one person at 100 ms each: the others don't wait for them, and they keep their order."""
        self.bad(0.1, OK, 400)
        self.others()
        self.pass_time(45, step=0.1)
        mine = [name for name in self.delivered if name.startswith("bad")]
        self.assertEqual(mine, [f"bad {number}" for number in range(400)])
        self.assertLessEqual(self.turn.most_running, self.prefetch)

    def test_what_cannot_be_parked(self) -> None:
        """What cannot be parked delays nobody, whosever it is."""
        self.answer_late = lambda request: (0.1, BAD) if request.name.startswith("bad") else (0.1, OK)
        for number in range(40):
            request = self.push(f"bad {number}", f"person {number % 4}")
            request.parking = lambda: fail(OSError("the failures queue is full"))
        self.check()
        self.assertEqual(self.scheduler.unparked, 4)

    def test_parking_that_hangs(self) -> None:
        """Nor does what the broker does not confirm, though it is more than the prefetch."""
        self.answer_late = lambda request: (0.1, BAD) if request.name.startswith("bad") else (0.1, OK)
        for number in range(40):
            self.push(f"bad {number}").parking = Deferred
            self.pass_time(0.2)
            self.push(f"good {number}")
        self.others()
        self.assertEqual(self.scheduler.waiting, 40)

    def test_bounded(self) -> None:
        """Of one person's 3,000 messages no more than 1,000 beyond the prefetch are taken."""
        self.bad(10.0, FakeAnswer(error="timeout"), 3000)
        self.pass_time(5)
        self.assertEqual(self.most_unsettled, 1000 + self.prefetch)

    def test_window_that_fails(self) -> None:
        """A window that fails is logged, and changes nothing else."""

        class Bad:
            def blocked(self, kind: str, count: int) -> None:
                raise ZeroDivisionError("a window broke")

        self.scheduler = self.make_scheduler(window=Bad())
        sent = [self.send(name, "one") for name in "ab"]
        self.pass_time(1)
        self.assertEqual({self.result(request) for request in sent}, {Result.DELIVERED})
        self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
