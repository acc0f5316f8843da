"""
One parcel's way to Turn: prepared, through the gate, tried, held, tried again.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Optional, Union

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..failures.dead_letter import TEMPORARY, DeadLetter
from ..timing.backoff import ExponentialBackoff
from ..timing.limited_log import RateLimitedLogger
from ..turn.verdicts import TurnResponse, Verdict, classify, describe
from .accepted import AcceptedIdentities
from .circuit_breaker import CircuitBreaker
from .keyed_queues import DeliveryTask, State
from .rate_limiter import RateLimiter
from .request import DeliveryRequest, Observer, Result
from .retries import Action, RetryPlan, Rounds, Step

log = Logger()

#: So many refusals without one acceptance are the messages' fault; more are ours.
REFUSALS_IN_A_ROW = 20

#: For a request that did not pass the gate.
NO_TICKET = -1

#: Quorum queues drop a message that went back to them about 20 times.
MOST_DELIVERIES = 15


class DeliverySender:
    """
    Sends parcels; those that call it keep them in order.

    :param clock: what pauses are measured by.
    :param rng: makes the ids of errors.
    :param plan: of a round of tries.
    :param gate: what every request passes.
    :param outage: knows whether Turn is away.
    :param observer: counts.
    :ivar posting: how many requests are under way, of each kind.
    """

    def __init__(
        self,
        clock: IReactorTime,
        rng: random.Random,
        plan: RetryPlan,
        gate: RateLimiter,
        outage: CircuitBreaker,
        observer: Observer,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._plan = plan
        self._gate = gate
        self._outage = outage
        self._observer = observer
        self._sent = AcceptedIdentities()
        self._accepted = 0
        self._refusals = 0
        self._lines = RateLimitedLogger(log, clock)
        self.posting: Counter[str] = Counter()

    async def send(self, journey: DeliveryTask) -> Union[Result, DeadLetter]:
        """
        Take a parcel to Turn, however long it takes.

        :return: its result, or why it has to be parked.
        """
        parcel = journey.parcel
        if parcel.redelivered and parcel.identity in self._sent:
            return Result.DELIVERED
        unfit = self._unfit(parcel, None)
        if unfit is not None:
            return unfit
        journey.state = State.PREPARING
        try:
            await parcel.prepare()
        except Exception as error:  # a boundary: what others wrote has failed on this parcel
            return Result.LOST if journey.over else self._error(parcel, error, 0)
        if journey.over:
            return Result.LOST
        journey.state = State.WAITING
        return await self._rounds(journey)

    async def stand_in(self, journey: DeliveryTask, head: DeliveryTask) -> Optional[Result]:
        """
        Try a parcel once though it is not its turn, just after the head of
        its line has failed: if Turn takes it, it is that one's own fault. Who
        calls this tells the head to go on when it is over.

        :return: its result; None if it still has none.
        """
        parcel = journey.parcel
        if parcel.identity in self._sent or self._unfit(parcel, None) is not None:
            return None
        journey.state = State.PREPARING
        try:
            await parcel.prepare()
        except Exception:  # a boundary: when it is its turn this is told
            return None
        if journey.over or head.over or head.busy or not self._outage.away or self._gate.remaining > 0:
            return None  # Turn may have answered meanwhile: then it is the head's turn, or nobody's for a while
        head.next_tried = Deferred()
        tried = await self._try(journey, NO_TICKET)
        if tried.verdict is not Verdict.DELIVERED:
            return None
        head.overtaken = True
        return Result.LOST if journey.interrupted is Result.LOST else Result.DELIVERED

    async def _rounds(self, journey: DeliveryTask) -> Union[Result, DeadLetter]:
        """Try it in rounds until something ends them."""
        parcel, gate = journey.parcel, self._gate
        rounds: Optional[Rounds] = None
        while True:
            ticket = gate.generation if gate.open else await self._pass_gate(journey)
            if journey.next_tried is not None and not await self._after_next(journey, ticket):
                continue
            unfit = self._overtaken(journey, rounds) or self._unfit(parcel, rounds)
            if unfit is not None:
                self._unused(journey, ticket)
                return unfit
            if rounds is None or rounds.tries == 0:
                journey.mark = self._accepted
            tried = await self._try(journey, ticket)
            ended: Union[Result, DeadLetter, None] = journey.interrupted
            step: Optional[Step] = None
            if tried.verdict is Verdict.DELIVERED:
                ended = ended if ended is Result.LOST else Result.DELIVERED
            elif ended is None and tried.error is not None:
                ended = self._error(parcel, tried.error, 1 + (rounds.attempts if rounds else 0))
            elif ended is None and tried.verdict is not Verdict.THROTTLED:
                rounds = rounds or Rounds(self._plan)
                step = rounds.failed(tried.verdict, self._accepted != journey.mark, self._outage.away)
                if step.action is Action.AWAY:
                    journey.state = State.HELD
                    self._outage.begin(tried.verdict, tried.what)
                elif step.action is Action.PARK:
                    ended = _parking_of(step, tried, rounds.attempts)
            # Whom else this lets go, now that all is known that the answer means.
            gate.pump()
            if ended is not None:
                return ended
            if step is not None and step.pause > 0:
                await self._pause(journey, step, tried.what)

    async def _pass_gate(self, journey: DeliveryTask) -> int:
        passed = self._gate.wait(journey)
        self._outage.joined()
        return await passed

    async def _after_next(self, journey: DeliveryTask, ticket: int) -> bool:
        """
        Wait for the one behind it, which is being tried: Turn may be frozen,
        and would get both when it thaws, in whatever order.

        :return: False if the gate has been closed meanwhile.
        """
        assert journey.next_tried is not None
        try:
            await journey.next_tried
        except CancelledError:
            self._unused(journey, ticket)
            raise
        if ticket == self._gate.generation:
            return True
        self._unused(journey, ticket)
        return False

    async def _pause(self, journey: DeliveryTask, step: Step, what: str) -> None:
        if step.action is Action.HOLD:
            journey.state = State.HELD
            if step.pause > ExponentialBackoff.FIRST:  # the first time Turn may just be going away, for all of them
                self._lines.warn(
                    "{message_id} is held for {seconds} s ({what}), while Turn accepts others",
                    message_id=journey.parcel.name,
                    seconds=step.pause,
                    what=what,
                )
        await deferLater(self._clock, step.pause)
        journey.state = State.WAITING

    async def _try(self, journey: DeliveryTask, ticket: int) -> _Tried:
        """Send it once, and tell everybody who has to know what came of it."""
        parcel = journey.parcel
        kind = parcel.kind
        journey.state = State.POSTING
        self.posting[kind] += 1
        started = self._clock.seconds()
        answer: Optional[TurnResponse] = None
        error: Optional[Exception] = None
        try:
            answer = await parcel.post()
            verdict = classify(kind, answer)
        except Exception as caught:  # a boundary: trouble of the network does not raise
            verdict, error = Verdict.ERROR, caught
        finally:
            self.posting[kind] -= 1
        journey.state = State.WAITING
        if verdict is Verdict.DELIVERED:
            self._accepted += 1
            self._refusals = 0
            self._sent.add(parcel.identity)
        elif verdict is Verdict.REFUSED:
            self._refusals += 1
            if self._refusals > REFUSALS_IN_A_ROW:
                verdict = Verdict.MISCONFIGURED
        tried = _Tried(verdict, answer, error)
        self._gate.answered(
            ticket,
            verdict is Verdict.DELIVERED,
            verdict is Verdict.THROTTLED,
            None if answer is None else answer.wait,
        )
        if verdict is not Verdict.DELIVERED:
            self._outage.answered(journey, verdict, tried.what)
        elif self._outage.troubled:
            self._outage.answered(journey, verdict)
        self._observer.tried(kind, verdict.value, self._clock.seconds() - started)
        return tried

    def _unused(self, journey: DeliveryTask, ticket: int) -> None:
        """It passed the gate, but is not sent after all."""
        self._gate.answered(ticket)
        self._outage.answered(journey, None)
        self._gate.pump()

    def _overtaken(self, journey: DeliveryTask, rounds: Optional[Rounds]) -> Optional[DeadLetter]:
        """Why it must not be sent any more after the one behind it, if that was taken."""
        if not journey.overtaken:
            return None
        attempts = 0 if rounds is None else rounds.attempts
        reason = f"Turn did not take it in {attempts} tries, and then took the one behind it."
        return DeadLetter(Verdict.UNAVAILABLE, TEMPORARY, reason, attempts)

    def _unfit(self, parcel: DeliveryRequest, rounds: Optional[Rounds]) -> Optional[DeadLetter]:
        """Why it must not be sent, if it must not."""
        attempts = 0 if rounds is None else rounds.attempts
        if parcel.expires is not None and self._clock.seconds() > parcel.expires:
            return DeadLetter(
                Verdict.STALE, TEMPORARY, "It was older than max_message_age when its turn came.", attempts
            )
        if parcel.delivery_count >= MOST_DELIVERIES:
            reason = (
                f"It went back to its queue {parcel.delivery_count} times, and the queue would drop it soon;"
                " replay it when Turn is well."
            )
            return DeadLetter(Verdict.UNAVAILABLE, TEMPORARY, reason, attempts)
        return None

    def _error(self, parcel: DeliveryRequest, error: Exception, attempts: int) -> DeadLetter:
        error_id = f"{self._rng.getrandbits(128):032x}"
        log.failure(
            "Sending {message_id} failed (error {error_id})",
            Failure(error),
            message_id=parcel.name,
            error_id=error_id,
        )
        reason = f"The worker failed on this message; its log has the error {error_id}."
        return DeadLetter(Verdict.ERROR, TEMPORARY, reason, attempts)


class _Tried:
    """What came of one try."""

    __slots__ = ("verdict", "answer", "error")

    def __init__(self, verdict: Verdict, answer: Optional[TurnResponse], error: Optional[Exception]) -> None:
        self.verdict = verdict
        self.answer = answer
        self.error = error

    @property
    def what(self) -> str:
        """The same in a few words for people."""
        if self.error is not None:
            return f"our own {type(self.error).__name__}"
        return describe(self.answer)


def _parking_of(step: Step, tried: _Tried, attempts: int) -> DeadLetter:
    last_status = None if tried.answer is None else tried.answer.status
    return DeadLetter(tried.verdict, step.code, f"{step.why} ({tried.what}).", attempts, last_status)
