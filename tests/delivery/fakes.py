"""
Requests, a Turn and a clock for tests of the delivery policy: no network, no
broker, no waiting.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Optional, Union, cast

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.delivery import DeliveryRequest, DeliveryScheduler, Result
from vumi_turn.failures.dead_letter import DeadLetter
from vumi_turn.turn.verdicts import BodyMeaning, Verdict

#: A moment that is nobody's zero.
START = 1_628_345_678.0


@dataclass(frozen=True)
class FakeAnswer:
    """What came of one POST."""

    status: Optional[int] = None
    error: Optional[str] = None
    wait: Optional[float] = None
    detail: str = ""
    bucket: Optional[str] = None
    meaning: BodyMeaning = BodyMeaning.NOTHING
    words: str = ""


OK = FakeAnswer(200)
BAD = FakeAnswer(400, detail="no such thing")
BROKEN = FakeAnswer(500)
AWAY = FakeAnswer(error="connect")
NOT_US = FakeAnswer(401)


def throttle(seconds: Optional[float] = None) -> FakeAnswer:
    """Too many requests, and how long to wait if it says so."""
    return FakeAnswer(429, wait=seconds)


Reply = Union[FakeAnswer, Exception, Deferred[FakeAnswer], None]


class FakeTurn:
    """
    Answers POSTs, and writes down when each came.

    :ivar answer: gives the answer for a request: an answer, an exception to
        raise, or None to let it hang until :meth:`finish`.
    :ivar delay: seconds before each answer.
    :ivar posts: the time and the request of each POST.
    :ivar accepted: the requests that were accepted, in order.
    :ivar hanging: what hangs.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answer: Callable[[FakeRequest], Reply] = lambda request: OK
        self.delay = 0.0
        self.posts: list[tuple[float, FakeRequest]] = []
        self.accepted: list[FakeRequest] = []
        self.hanging: dict[FakeRequest, Deferred[FakeAnswer]] = {}
        self.running = 0
        self.most_running = 0

    @property
    def names(self) -> list[str]:
        """The requests of the POSTs."""
        return [request.name for _, request in self.posts]

    async def post(self, request: FakeRequest) -> FakeAnswer:
        self.posts.append((self.clock.seconds(), request))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            reply = self.answer(request)
            if reply is None:
                reply = self.hanging[request] = Deferred()
            elif self.delay:
                reply = self._later(reply)
            if isinstance(reply, Deferred):
                reply = await reply
        finally:
            self.running -= 1
            self.hanging.pop(request, None)
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, FakeAnswer)
        if reply.status == 200:
            self.accepted.append(request)
        return reply

    def _later(self, reply: Any) -> Deferred[Any]:
        later: Deferred[Any] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(self.delay, later.callback, reply)
        return later

    def finish(self, request: FakeRequest, answer: FakeAnswer = OK) -> None:
        """Answer a POST that hangs."""
        self.hanging.pop(request).callback(answer)


class FakeRequest(DeliveryRequest):
    """
    A request that can be lost, and whose parking can fail.

    :ivar parkings: why it was parked, each time that this has worked.
    :ivar park_tries: when parking was tried.
    :ivar parking: gives what ``park`` awaits or raises.
    """

    def __init__(self, turn: FakeTurn, name: str, key: str = "", **fields: Any) -> None:
        self.turn = turn
        self.name = name
        self.key = key or f"key of {name}"
        self.kind = "message"
        self.identity = (name, b"digest")
        self.redelivered = False
        self.delivery_count = 0
        self.received = turn.clock.seconds()
        self.expires = None
        self.prepared = 0
        self.preparing: Callable[[], Optional[Deferred[None]]] = lambda: None
        self.parking: Callable[[], Optional[Deferred[None]]] = lambda: None
        self.answering: Callable[[], Awaitable[None]] = lambda: succeed(None)
        self.parkings: list[DeadLetter] = []
        self.park_tries: list[float] = []
        self._lost = False
        self._watchers: list[Callable[[], None]] = []
        for field_name, value in fields.items():
            setattr(self, field_name, value)

    @property
    def lost(self) -> bool:
        return self._lost

    def on_lost(self, callback: Callable[[], None]) -> None:
        if self._lost:
            callback()
        else:
            self._watchers.append(callback)

    def lose(self) -> None:
        """Its delivery is gone."""
        self._lost = True
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher()

    def again(self) -> FakeRequest:
        """The same, delivered once more."""
        return FakeRequest(self.turn, self.name, self.key, kind=self.kind, identity=self.identity, redelivered=True)

    async def prepare(self) -> None:
        self.prepared += 1
        waiting = self.preparing()
        if waiting is not None:
            await waiting

    async def answer(self) -> None:
        await self.answering()

    async def post(self) -> FakeAnswer:
        return await self.turn.post(self)

    async def park(self, dead_letter: DeadLetter) -> None:
        self.park_tries.append(self.turn.clock.seconds())
        waiting = self.parking()
        if waiting is not None:
            await waiting
        self.parkings.append(dead_letter)

    def __repr__(self) -> str:
        return f"<{self.name} of {self.key}>"


@dataclass
class Counted:
    """An observer that remembers."""

    tries: list[tuple[str, str, float]] = field(default_factory=list)
    results: list[tuple[str, str]] = field(default_factory=list)

    def tried(self, request: DeliveryRequest, verdict: Verdict, what: str, seconds: float, words: str = "") -> None:
        self.tries.append((request.kind, verdict.value, seconds))

    def settled(self, request: DeliveryRequest, result: Result) -> None:
        self.results.append((request.kind, result.value))


class SchedulerTestCase(SynchronousTestCase):
    """
    A scheduler, its clock and its Turn. After each test the scheduler is stopped,
    and it leaves no delayed call behind.
    """

    max_retries = 3
    prefetch = 20

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.turn = FakeTurn(self.clock)
        self.counted = Counted()
        self.results: dict[FakeRequest, list[Result]] = {}
        self.ended: list[FakeRequest] = []
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.scheduler = self.make_scheduler()

    def tearDown(self) -> None:
        self.stop(0.0)
        self.clock.advance(0.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for request, results in self.results.items():
            with case(request=request, results=results):
                self.assertEqual(len(results), 1, f"{request!r} has {results}")

    def make_scheduler(self, **options: Any) -> DeliveryScheduler:
        given: dict[str, Any] = {
            "max_retries": self.max_retries,
            "retry_delay_base": 2,
            "retry_delay_exponent": 2,
            "prefetch": self.prefetch,
            "observer": self.counted,
        }
        return DeliveryScheduler(self.clock, random.Random(7), **{**given, **options})

    def request(self, name: str, key: str = "", **fields: Any) -> FakeRequest:
        return FakeRequest(self.turn, name, key, **fields)

    def deliver(self, request: FakeRequest) -> FakeRequest:
        """Hand it to the scheduler; its result is then in ``results``."""
        return self._watch(request, self.scheduler.deliver(request))

    def send(self, name: str, key: str = "", **fields: Any) -> FakeRequest:
        """Make a request and hand it to the scheduler."""
        return self.deliver(self.request(name, key, **fields))

    def park(self, request: FakeRequest, dead_letter: DeadLetter) -> FakeRequest:
        return self._watch(request, self.scheduler.park(request, dead_letter))

    def _watch(self, request: FakeRequest, outcome: Awaitable[Result]) -> FakeRequest:
        results = self.results[request] = []

        def ended(result: Result) -> None:
            results.append(result)
            self.ended.append(request)

        ensureDeferred(outcome).addCallback(ended)  # type: ignore[arg-type]
        return request

    def result(self, request: FakeRequest) -> Optional[Result]:
        """How it ended, or None if it has not."""
        results = self.results[request]
        return results[0] if results else None

    def stop(self, timeout: float) -> Deferred[None]:
        return ensureDeferred(self.scheduler.stop(timeout))

    def pass_time(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, in small steps."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-6:
            self.clock.advance(min(step, end - self.clock.seconds()))

    def lines(self, text: str) -> list[LogEvent]:
        """The log lines whose format has this text."""
        return [event for event in self.events if text in (event.get("log_format") or "")]
