"""
Parcels, a Turn and a clock for tests of the delivery policy: no network, no
queue, no waiting.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Optional, Union, cast

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.delivery import DeliveryRequest, DeliveryScheduler, Result
from vumi_turn.failures.dead_letter import DeadLetter

#: A moment that is nobody's zero.
START = 1_628_345_678.0


@dataclass(frozen=True)
class FakeAnswer:
    """What came of one POST."""

    status: Optional[int] = None
    error: Optional[str] = None
    wait: Optional[float] = None
    detail: str = ""


OK = FakeAnswer(200)
BAD = FakeAnswer(400, detail="no such thing")
BROKEN = FakeAnswer(500)
AWAY = FakeAnswer(error="connect")
NOT_US = FakeAnswer(401)


def throttle(seconds: Optional[float] = None) -> FakeAnswer:
    """Too many requests, and how long to wait if it says so."""
    return FakeAnswer(429, wait=seconds)


Reply = Union[FakeAnswer, Exception, Deferred, None]


class FakeTurn:
    """
    Answers POSTs, and writes down when each came.

    :ivar answer: gives the answer for a parcel: an answer, an exception to
        raise, or None to let it hang until :meth:`finish`.
    :ivar delay: seconds before each answer.
    :ivar posts: the time and the parcel of each POST.
    :ivar accepted: the parcels that were accepted, in order.
    :ivar hanging: what hangs.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answer: Callable[[FakeParcel], Reply] = lambda parcel: OK
        self.delay = 0.0
        self.posts: list[tuple[float, FakeParcel]] = []
        self.accepted: list[FakeParcel] = []
        self.hanging: dict[FakeParcel, Deferred[FakeAnswer]] = {}
        self.running = 0
        self.most_running = 0

    @property
    def names(self) -> list[str]:
        """The parcels of the POSTs."""
        return [parcel.name for _, parcel in self.posts]

    async def post(self, parcel: FakeParcel) -> FakeAnswer:
        self.posts.append((self.clock.seconds(), parcel))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            reply = self.answer(parcel)
            if reply is None:
                reply = self.hanging[parcel] = Deferred()
            elif self.delay:
                reply = self._later(reply)
            if isinstance(reply, Deferred):
                reply = await reply
        finally:
            self.running -= 1
            self.hanging.pop(parcel, None)
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, FakeAnswer)
        if reply.status == 200:
            self.accepted.append(parcel)
        return reply

    def _later(self, reply: Any) -> Deferred[Any]:
        later: Deferred[Any] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(self.delay, later.callback, reply)
        return later

    def finish(self, parcel: FakeParcel, answer: FakeAnswer = OK) -> None:
        """Answer a POST that hangs."""
        self.hanging.pop(parcel).callback(answer)


class FakeParcel(DeliveryRequest):
    """
    A parcel that can be lost, and whose parking can fail.

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

    def again(self) -> FakeParcel:
        """The same, delivered once more."""
        return FakeParcel(self.turn, self.name, self.key, kind=self.kind, identity=self.identity, redelivered=True)

    async def prepare(self) -> None:
        self.prepared += 1
        waiting = self.preparing()
        if waiting is not None:
            await waiting

    async def post(self) -> FakeAnswer:
        return await self.turn.post(self)

    async def park(self, parking: DeadLetter) -> None:
        self.park_tries.append(self.turn.clock.seconds())
        waiting = self.parking()
        if waiting is not None:
            await waiting
        self.parkings.append(parking)

    def __repr__(self) -> str:
        return f"<{self.name} of {self.key}>"


@dataclass
class Counted:
    """An observer that remembers."""

    tries: list[tuple[str, str, float]] = field(default_factory=list)
    results: list[tuple[str, str]] = field(default_factory=list)

    def tried(self, kind: str, verdict_name: str, seconds: float) -> None:
        self.tries.append((kind, verdict_name, seconds))

    def settled(self, kind: str, result_name: str) -> None:
        self.results.append((kind, result_name))


class CourierTestCase(SynchronousTestCase):
    """
    A courier, its clock and its Turn. After each test the courier is stopped,
    and it leaves no delayed call behind.
    """

    max_retries = 3
    prefetch = 20

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.turn = FakeTurn(self.clock)
        self.counted = Counted()
        self.results: dict[FakeParcel, list[Result]] = {}
        self.ended: list[FakeParcel] = []
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.courier = self.make_courier()

    def tearDown(self) -> None:
        self.stop(0.0)
        self.clock.advance(0.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for parcel, results in self.results.items():
            self.assertEqual(len(results), 1, f"{parcel!r} has {results}")

    def make_courier(self, **options: Any) -> DeliveryScheduler:
        given: dict[str, Any] = {
            "max_retries": self.max_retries,
            "retry_delay_base": 2,
            "retry_delay_exponent": 2,
            "prefetch": self.prefetch,
            "observer": self.counted,
        }
        return DeliveryScheduler(self.clock, random.Random(7), **{**given, **options})

    def parcel(self, name: str, key: str = "", **fields: Any) -> FakeParcel:
        return FakeParcel(self.turn, name, key, **fields)

    def deliver(self, parcel: FakeParcel) -> FakeParcel:
        """Hand it to the courier; its result is then in ``results``."""
        return self._watch(parcel, self.courier.deliver(parcel))

    def send(self, name: str, key: str = "", **fields: Any) -> FakeParcel:
        """Make a parcel and hand it to the courier."""
        return self.deliver(self.parcel(name, key, **fields))

    def park(self, parcel: FakeParcel, parking: DeadLetter) -> FakeParcel:
        return self._watch(parcel, self.courier.park(parcel, parking))

    def _watch(self, parcel: FakeParcel, outcome: Awaitable[Result]) -> FakeParcel:
        results = self.results[parcel] = []

        def ended(result: Result) -> None:
            results.append(result)
            self.ended.append(parcel)

        ensureDeferred(outcome).addCallback(ended)  # type: ignore[arg-type]
        return parcel

    def result(self, parcel: FakeParcel) -> Optional[Result]:
        """How it ended, or None if it has not."""
        results = self.results[parcel]
        return results[0] if results else None

    def stop(self, timeout: float) -> Deferred[None]:
        return ensureDeferred(self.courier.stop(timeout))

    def pass_time(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, in small steps."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-6:
            self.clock.advance(min(step, end - self.clock.seconds()))

    def lines(self, text: str) -> list[LogEvent]:
        """The log lines whose format has this text."""
        return [event for event in self.events if text in (event.get("log_format") or "")]
