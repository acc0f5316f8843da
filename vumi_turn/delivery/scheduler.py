"""
The courier: gives every parcel exactly one result, in order for each key.
"""

from __future__ import annotations

import random
from collections import deque
from functools import partial
from typing import Optional, Union

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..failures.dead_letter import DeadLetter
from .circuit_breaker import CircuitBreaker
from .dead_letter_publisher import DeadLetterPublisher
from .keyed_queues import DeliveryTask, KeyedQueues, State
from .observer import ErrorIsolatingObserver
from .rate_limiter import RateLimiter
from .request import DeliveryRequest, Observer, Result
from .requeue_tracker import RequeueTracker
from .retries import RetryPlan
from .sender import DeliverySender

log = Logger()

#: So long after its delivery a parcel goes back to its queue, in seconds:
#: RabbitMQ closes a channel that holds one for 30 minutes.
LONGEST_STAY = 20 * 60.0

#: It waits for one behind it that is being tried, in seconds at a time.
WHILE_STANDING_IN = 1.0

#: What is under way then may take so much longer, in seconds.
GRACE = 5 * 60.0


class DeliveryScheduler:
    """
    Delivers parcels to Turn.

    :param clock: what everything is timed by.
    :param rng: draws the waits between tries.
    :param max_retries: tries after the first, in a round.
    :param retry_delay_base: see :class:`~vumi_turn.delivery.retries.RetryPlan`.
    :param retry_delay_exponent: likewise.
    :param prefetch: how many requests at a time are normal.
    :param observer: counts what happens, or None.
    """

    def __init__(
        self,
        clock: IReactorTime,
        rng: random.Random,
        *,
        max_retries: int,
        retry_delay_base: float,
        retry_delay_exponent: float,
        prefetch: int,
        observer: Optional[Observer] = None,
    ) -> None:
        self._clock = clock
        self._observer: Observer = ErrorIsolatingObserver(observer)
        self._gate = RateLimiter(clock, prefetch)
        self._outage = CircuitBreaker(clock, self._gate, self._try_next)
        self._prefetch = prefetch
        plan = RetryPlan(max_retries, retry_delay_base, retry_delay_exponent, rng)
        self._sending = DeliverySender(clock, rng, plan, self._gate, self._outage, self._observer)
        self._attendant = DeadLetterPublisher(clock)
        self._lines = KeyedQueues()
        self._journeys: dict[DeliveryTask, None] = {}
        self._ready: deque[DeliveryTask] = deque()
        self._launching = False
        self._later: list[DeliveryTask] = []
        self._later_call: Optional[IDelayedCall] = None
        self._returning = RequeueTracker(clock)
        self._sweep_at = float("inf")
        self._sweeper: Optional[IDelayedCall] = None
        self._stopping = False
        self._idle: list[Deferred[None]] = []

    # -- for everybody -------------------------------------------------------

    def deliver(self, parcel: DeliveryRequest) -> Deferred[Result]:
        """
        Take a parcel to Turn. It stands in its line when this returns.

        :return: fires with the parcel's result. It never fails.
        """
        if parcel.lost:
            return self._at_once(parcel, Result.LOST)
        if self._stopping or self._returning.overtakes(parcel):
            return self._at_once(parcel, Result.REQUEUE)
        journey = self._begin(parcel)
        if self._lines.enter(journey):
            self._start(journey)
        return journey.outcome

    def park(self, parcel: DeliveryRequest, parking: DeadLetter) -> Deferred[Result]:
        """
        Park a parcel that cannot be sent, in no line.

        :return: fires with the parcel's result. It never fails.
        """
        if parcel.lost:
            return self._at_once(parcel, Result.LOST)
        if self._stopping:
            return self._at_once(parcel, Result.REQUEUE)
        journey = self._begin(parcel)
        journey.run(self._travel(journey, parking))
        return journey.outcome

    async def stop(self, timeout: float) -> None:
        """
        Give back at once what only waits; let what is under way finish, and
        give back the rest.

        :param timeout: for how many seconds requests and publishes may go on.
        """
        if not self._stopping:
            self._stopping = True
            self._gate.stop()
            self._outage.stop()
            for call in (self._sweeper, self._later_call):
                if call is not None and call.active():
                    call.cancel()
            for journey in list(self._journeys):
                if journey.busy:
                    journey.recalled = True
                else:
                    self._end(journey, Result.REQUEUE)
        if not self._journeys:
            return
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        timer = self._clock.callLater(timeout, self._give_up)
        try:
            await idle
        finally:
            if timer.active():
                timer.cancel()

    @property
    def held(self) -> int:
        """How many parcels wait for Turn to be back, or for their next round."""
        away = self._outage.away
        return sum(
            journey.state is State.HELD or (away and journey.state is State.WAITING) for journey in self._journeys
        )

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return sum(self._sending.posting.values())

    def in_flight_of(self, kind: str) -> int:
        """How many requests of this kind are under way."""
        return self._sending.posting[kind]

    @property
    def waiting(self) -> int:
        """How many parcels have no result yet."""
        return len(self._journeys)

    @property
    def away(self) -> bool:
        """Turn is away, and probed."""
        return self._outage.away

    @property
    def misconfigured(self) -> bool:
        """Turn does not let us in: the token or the URL is wrong."""
        return self._outage.misconfigured

    @property
    def throttled_until(self) -> Optional[float]:
        """Until when Turn wants no requests, in the clock's seconds, or None."""
        return self._gate.until

    # -- beginning -----------------------------------------------------------

    def _begin(self, parcel: DeliveryRequest) -> DeliveryTask:
        journey = DeliveryTask(parcel, parcel.received + LONGEST_STAY)
        self._outage.recall(journey)
        self._journeys[journey] = None
        parcel.on_lost(partial(self._lost, journey))
        if journey.deadline < self._sweep_at:
            self._sweep_later(journey.deadline)
        return journey

    def _start(self, journey: DeliveryTask) -> None:
        """It is its turn. One after another, so that a long line is no deep stack."""
        self._ready.append(journey)
        if self._launching:
            return
        self._launching = True
        try:
            while self._ready:
                journey = self._ready.popleft()
                if not journey.over and not journey.standing_in:
                    journey.run(self._travel(journey, None))
        finally:
            self._launching = False

    def _start_later(self, journey: DeliveryTask) -> None:
        """
        It is its turn because the one before was lost. Its own delivery may be
        lost within this very call of the broker's: then it must not go first.
        """
        self._later.append(journey)
        if self._later_call is None and not self._stopping:
            self._later_call = self._clock.callLater(0, self._start_those)

    def _start_those(self) -> None:
        self._later_call = None
        later, self._later = self._later, []
        for journey in later:
            self._start(journey)

    async def _travel(self, journey: DeliveryTask, parking: Optional[DeadLetter]) -> None:
        """All of a journey, from its turn to its result. A boundary: nothing is raised."""
        try:
            outcome: Union[Result, DeadLetter]
            outcome = parking if parking is not None else await self._sending.send(journey)
            if isinstance(outcome, DeadLetter):
                outcome = await self._attendant.park(journey, outcome)
            self._end(journey, outcome)
        except CancelledError:
            if not journey.over:
                self._stranded(journey, Failure())
        except Exception:
            self._stranded(journey, Failure())

    # -- lines that fill the window --------------------------------------------

    def _try_next(self, head: DeliveryTask) -> None:
        """
        One that Turn never takes, with so many of the same line behind it that
        nobody else's can come, would stand for everybody: then the next one shows
        whether Turn is there.
        """
        behind = self._lines.after(head)
        if behind is None or behind.standing_in or head.over or head.busy or self._stopping:
            return
        kind = head.parcel.kind
        if sum(journey.parcel.kind == kind for journey in self._journeys) >= self._prefetch:
            behind.standing_in = True
            behind.run(self._stand_in(behind, head))

    async def _stand_in(self, journey: DeliveryTask, head: DeliveryTask) -> None:
        """A boundary: nothing is raised."""
        result: Optional[Result] = None
        try:
            result = await self._sending.stand_in(journey, head)
        except CancelledError:
            pass  # it has been ended
        except Exception:
            log.failure("Trying {message_id} before its turn failed", message_id=journey.parcel.name)
        journey.standing_in = False
        if not journey.over:
            self._stood_in(journey, result or journey.interrupted)
        head.go_on()
        self._gate.pump()

    def _stood_in(self, journey: DeliveryTask, result: Optional[Result]) -> None:
        journey.state = State.IN_LINE
        if result is not None:
            self._end(journey, result)
        elif self._lines.is_head(journey):
            self._start(journey)

    def _stranded(self, journey: DeliveryTask, failure: Failure) -> None:
        """
        This package itself has failed. The parcel stays where it is until it
        goes back to its queue with its line: nothing is lost, nothing spins.
        """
        journey.state = State.HELD
        log.failure(
            "The journey of {message_id} failed; it goes back to its queue later",
            failure,
            message_id=journey.parcel.name,
        )

    # -- ending --------------------------------------------------------------

    def _end(self, journey: DeliveryTask, result: Result) -> None:
        """Give a parcel its result; with one that goes back go those behind it."""
        if journey.over:
            return
        following: Optional[DeliveryTask] = None
        if result is Result.REQUEUE:
            ending = self._lines.cut(journey)
            if self._stopping:
                # What is under way may end, also where it was not its turn.
                ending = [each for each in ending if each is journey or not (each.standing_in and each.busy)]
            else:
                self._returning.went(each.parcel for each in ending)
        else:
            ending = [journey]
            following = self._lines.leave(journey)
        for each in ending:
            each.over = True
            del self._journeys[each]
        for each in ending:
            each.outcome.callback(result)
            self._observer.settled(each.parcel.kind, result.value)
        for each in ending:
            each.end()
        if following is not None and result is Result.LOST:
            self._start_later(following)
        elif following is not None:
            self._start(following)
        if self._idle and not self._journeys:
            self._tell_idle()

    def _at_once(self, parcel: DeliveryRequest, result: Result) -> Deferred[Result]:
        self._observer.settled(parcel.kind, result.value)
        return succeed(result)

    def _lost(self, journey: DeliveryTask) -> None:
        """A parcel's delivery is gone. What is under way finishes, to be remembered."""
        if not journey.busy:
            self._end(journey, Result.LOST)

    def _give_up(self) -> None:
        for journey in list(self._journeys):
            self._end(journey, Result.REQUEUE)

    def _tell_idle(self) -> None:
        idle, self._idle = self._idle, []
        for each in idle:
            each.callback(None)

    # -- the longest stay ----------------------------------------------------

    def _sweep_later(self, when: float) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep_at = when
        self._sweeper = self._clock.callLater(max(when - self._clock.seconds(), 0.0), self._sweep)

    def _sweep(self) -> None:
        """Give back what has been here for too long, with those behind it."""
        self._sweeper = None
        self._sweep_at = float("inf")
        now = self._clock.seconds()
        for journey in list(self._journeys):
            if journey.over or journey.deadline > now:
                continue
            behind = self._lines.after(journey)
            if journey.busy and not journey.recalled:
                journey.recalled = True
                journey.deadline += GRACE
            elif behind is not None and behind.standing_in:
                journey.deadline = now + WHILE_STANDING_IN
            else:
                self._end(journey, Result.REQUEUE)
        if self._journeys and not self._stopping:
            self._sweep_later(min(journey.deadline for journey in self._journeys))
