"""
Random faults over a whole delivery: a queue, a scheduler and a Turn, all of
them in memory, and the promises that hold whatever happens.
"""

from __future__ import annotations

import random
from bisect import insort
from collections import Counter
from typing import Optional

from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.fakes import AWAY, BAD, BROKEN, NOT_US, OK, FakeAnswer, FakeRequest, FakeTurn, Reply, throttle
from vumi_turn.delivery import DeliveryScheduler, Result

SECONDS_ON_THE_WIRE = 0.05
LONGEST_STAY = 1200.0
LONGEST_POST = 10.5
MOST_MORE = 1000


class Wire:
    """A queue's consumer: prefetch, redelivery, order, a wire that takes its time, and a window that opens."""

    def __init__(self, world: World, prefetch: int) -> None:
        self.world = world
        self.prefetch = prefetch
        self.more: Counter[str] = Counter()
        #: What waits in the queue, in queue order, and whether it was given out before.
        self.queue: list[tuple[int, bool]] = []
        self.given: dict[int, Optional[FakeRequest]] = {}
        self.connection = 0
        self.counts: Counter[int] = Counter()

    def push(self, number: int) -> None:
        self.queue.append((number, False))
        self.give()

    def blocked(self, kind: str, count: int) -> None:
        self.more[kind] = count
        self.give()

    def give(self) -> None:
        while self.queue and len(self.given) < self.prefetch + min(sum(self.more.values()), MOST_MORE):
            number, again = self.queue.pop(0)
            self.given[number] = None
            self.world.clock.callLater(SECONDS_ON_THE_WIRE, self.arrive, self.connection, number, again)

    def arrive(self, connection: int, number: int, again: bool) -> None:
        if connection != self.connection:
            return
        request = self.given[number] = self.world.request(number, again)
        self.world.deliver(request, lambda result: self.settle(connection, number, result))

    def settle(self, connection: int, number: int, result: Result) -> None:
        if result is not Result.LOST:
            self.world.clock.callLater(SECONDS_ON_THE_WIRE, self.settled, connection, number, result)

    def settled(self, connection: int, number: int, result: Result) -> None:
        if connection != self.connection:
            return
        del self.given[number]
        if result is Result.REQUEUE:
            insort(self.queue, (number, True))
        self.give()

    def lose(self) -> None:
        """The connection is gone; everything that was given out comes again."""
        self.connection += 1
        given, self.given = self.given, {}
        for number in given:
            insort(self.queue, (number, True))
        for request in given.values():
            if request is not None:
                request.lose()
        self.world.clock.callLater(1.0, self.give)


class World:
    """
    All of it.

    :ivar problems: which promises were broken.
    """

    def __init__(self, seed: int, messages: int, people: int) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.clock.advance(1_628_345_678.0)
        self.turn = FakeTurn(self.clock)
        self.turn.answer = self.answer
        self.messages = messages
        self.people = people
        self.faults = "up"
        self.told = 0.0
        self.problems: list[str] = []
        self.results: Counter[FakeRequest] = Counter()
        self.requests: list[FakeRequest] = []
        self.accepted: list[int] = []
        self.parked: Counter[int] = Counter()
        self.may_repeat: set[int] = set()
        self.since_away: set[FakeRequest] = set()
        self.outcomes: Counter[str] = Counter()
        # Those that Turn never takes. Where nobody else writes nobody shows that Turn is not away.
        never = [BAD] * 5 + [BROKEN, FakeAnswer(504)]
        self.poison = dict(zip(self.rng.sample(range(messages), len(never)), never, strict=True))
        self.wire = Wire(self, 20)
        self.scheduler = self.new_scheduler()

    def new_scheduler(self) -> DeliveryScheduler:
        return DeliveryScheduler(
            self.clock,
            self.rng,
            max_retries=2,
            retry_delay_base=2,
            retry_delay_exponent=1,
            prefetch=20,
            window=self.wire,
        )

    def person(self, number: int) -> str:
        if number >= self.messages:
            return f"bystander {number}"
        return f"person {number * 7919 % self.people}"

    # -- what the scheduler sees ----------------------------------------------

    def request(self, number: int, again: bool) -> FakeRequest:
        request = FakeRequest(self.turn, str(number), self.person(number), redelivered=again)
        request.kind = "status" if number * 7919 % self.people % 5 == 0 else "message"
        request.parking = lambda: fail(OSError()) if self.rng.random() < 0.3 else self.park(number)
        request.preparing = self.prepare
        self.requests.append(request)
        return request

    def prepare(self) -> Optional[Deferred[None]]:
        if self.rng.random() < 0.7:
            return None
        ready: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(self.rng.uniform(0, 0.2), ready.callback, None)
        return ready

    def park(self, number: int) -> None:
        self.parked[number] += 1

    def deliver(self, request: FakeRequest, settle: object) -> None:
        def ended(result: Result) -> None:
            self.results[request] += 1
            self.outcomes[result.value] += 1
            if self.clock.seconds() - request.received > LONGEST_STAY + LONGEST_POST:
                self.problems.append(f"{request} stayed for too long")
            settle(result)  # type: ignore[operator]

        self.scheduler.deliver(request).addCallback(ended)

    # -- what Turn does -------------------------------------------------------

    def answer(self, request: FakeRequest) -> Reply:
        now, number = self.clock.seconds(), int(request.name)
        if now < self.told - 1e-6:
            self.problems.append(f"{number} was sent while told to wait")
        if self.scheduler.away:
            self.since_away = {each for each in self.since_away if each in self.running()} | {request}
            # A second one may be sent where the first may stand for its person only.
            if len({each.key for each in self.since_away}) != len(self.since_away) or len(self.since_away) > 2:
                self.problems.append(f"{self.since_away} are probes at the same time")
        else:
            self.since_away = set()
        reply = self.poison.get(number) or self.reply()
        if reply == OK or self.faults == "liar":
            self.accepted.append(number)
        if self.faults == "liar":
            self.may_repeat.add(number)
            reply = FakeAnswer(error="timeout")
        return self.later(request, reply)

    def running(self) -> set[FakeRequest]:
        return set(self.under_way)

    under_way: dict[FakeRequest, int] = {}

    def reply(self) -> FakeAnswer:
        if self.faults == "throttle":
            return throttle(self.rng.choice([None, 5.0, 30.0]))
        return {"down": AWAY, "broken": BROKEN, "not us": NOT_US, "refuse": BAD}.get(self.faults, OK)

    def later(self, request: FakeRequest, reply: FakeAnswer) -> Deferred[FakeAnswer]:
        seconds = 10.0 if reply.error == "timeout" or reply.status == 504 else self.rng.uniform(0.05, 0.6)
        self.under_way = {**self.under_way, request: 1}

        def done(result: object) -> object:
            self.under_way = {each: 1 for each in self.under_way if each is not request}
            return result

        def cancelled(_: object) -> None:
            call.cancel()
            self.may_repeat.add(int(request.name))

        def answered() -> None:
            if reply.wait is not None:
                self.told = max(self.told, self.clock.seconds() + reply.wait)
            deferred.callback(reply)

        deferred: Deferred[FakeAnswer] = Deferred(cancelled)
        call = self.clock.callLater(seconds, answered)
        return deferred.addBoth(done)

    # -- what happens ---------------------------------------------------------

    def step(self, seconds: float) -> None:
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(0.1)

    def run(self, phases: int) -> None:
        """Messages come while the faults changes; then it clears up."""
        number = 0
        for _ in range(phases):
            self.faults = self.rng.choice(["up", "up", "down", "broken", "not us", "refuse", "throttle", "liar"])
            # An outage may outlast the longest stay of what came while it lasted.
            seconds = self.rng.choice([5, 20, 60, 60, 120, 1230])
            events: list[tuple[float, bool]] = [
                (self.rng.triangular(0, seconds, 0), True) for _ in range(self.messages // phases)
            ]
            events += [(self.rng.uniform(0, seconds), False)] * self.rng.choice([0, 0, 0, 1, 1])
            started = self.clock.seconds()
            for moment, message in sorted(events):
                self.step(started + moment - self.clock.seconds())
                if message:
                    self.wire.push(number)
                    number += 1
                else:
                    self.rng.choice([self.wire.lose, self.wire.lose, self.restart])()
            self.step(started + seconds - self.clock.seconds())
        self.faults = "up"
        for extra in range(400):
            if not self.wire.queue and not self.wire.given:
                break
            # Somebody else writes now and then: else one that Turn never takes looks like an outage.
            self.wire.push(self.messages + extra)
            self.step(20.0)
        self.restart()

    def restart(self) -> None:
        """The worker stops, and another one begins that knows nothing of what was sent."""
        stopped = ensureDeferred(self.scheduler.stop(5.0))
        for _ in range(60):
            if stopped.called:
                break
            self.clock.advance(0.1)
        if not stopped.called:
            self.problems.append("it did not stop")
        self.may_repeat |= set(self.wire.given)
        mine = (SECONDS_ON_THE_WIRE, 1.0)
        waits = [call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls()]
        if any(wait > max(mine) for wait in waits):
            self.problems.append(f"timers were left: {waits}")
        self.wire.more.clear()
        self.wire.lose()
        self.told = 0.0
        self.scheduler = self.new_scheduler()

    # -- what must be true ----------------------------------------------------

    def check(self) -> list[str]:
        problems = list(self.problems)
        for request in self.requests:
            if self.results[request] != 1:
                problems.append(f"{request} has {self.results[request]} results")
        missing = set(range(self.messages)) - set(self.accepted) - set(self.parked)
        if missing:
            problems.append(f"nobody has {sorted(missing)}")
        latest: dict[str, int] = {}
        seen: set[int] = set()
        for number in self.accepted:
            if number in seen:
                if number not in self.may_repeat:
                    problems.append(f"{number} was accepted twice")
                continue
            seen.add(number)
            if number < latest.get(self.person(number), -1):
                problems.append(f"{number} came after {latest[self.person(number)]}")
            latest[self.person(number)] = number
        return problems


class SimulationTests(SynchronousTestCase):
    """Whatever happens."""

    def simulate(self, seed: int, messages: int = 300, people: int = 40) -> World:
        world = World(seed, messages, people)
        world.run(phases=12)
        self.assertEqual(world.check(), [], f"seed {seed}")
        self.assertEqual(
            [call for call in world.clock.getDelayedCalls() if call.getTime() > world.clock.seconds() + 1], []
        )
        return world

    def test_promises(self) -> None:
        """Every message is accepted or parked, in order for each person, twice only where nobody
        could know, one probe at a time, none while told to wait, and no timer is left."""
        outcomes: Counter[str] = Counter()
        for seed in range(8):
            outcomes += self.simulate(seed).outcomes
        # Each way to end has been walked, or this shows nothing.
        sent = {result.value for result in Result} - {Result.PAGE.value, Result.NOTHING.value}
        self.assertEqual(set(outcomes), sent)
        self.assertGreater(min(outcomes.values()), 20, outcomes)

    def test_few_people(self) -> None:
        """The same where a few people send everything, so that lines are long."""
        for seed in range(100, 104):
            self.simulate(seed, messages=144, people=3)

    def test_it_can_fail(self) -> None:
        """A scheduler that forgets the order is found out."""
        problems: list[str] = []
        for seed in range(3):
            world = World(seed, 300, 10)
            person = world.person

            def request(number: int, again: bool, world: World = world) -> FakeRequest:
                made = World.request(world, number, again)
                made.key = str(number)
                return made

            world.request = request  # type: ignore[method-assign]
            world.run(phases=6)
            world.person = person  # type: ignore[method-assign]
            problems += world.check()
        self.assertTrue(any("came after" in problem for problem in problems))
