"""
One request's way to Turn: prepared, admitted, tried, held, tried again.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Hashable, Optional, Union

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..failures.dead_letter import TEMPORARY, DeadLetter
from ..timing.backoff import FIRST_DELAY
from ..timing.limited_log import RateLimitedLogger
from ..timing.named_log import named
from ..timing.shared_bound import Bound
from ..turn.verdicts import TurnResponse, Verdict, classify, describe
from .accepted import AcceptedIdentities
from .admission import AdmissionControl, Ticket
from .circuit_breaker import CircuitBreaker
from .refusals import Refusals
from .request import DeliveryObserver, DeliveryRequest, Result
from .retries import Action, RetryPlan, Rounds, Step
from .task import DeliveryTask, Event, State

log = Logger()

#: Quorum queues drop a message that went back to them about 20 times.
MAX_DELIVERIES = 15

#: Of so many requests that have failed the rounds are kept.
MOST_ROUNDS = 5000


class DeliverySender:
    """
    Sends requests; those that call it keep them in order.

    :param clock: what pauses are measured by.
    :param rng: makes the ids of errors.
    :param plan: of a round of tries.
    :param admission: says when a request may be sent.
    :param breaker: knows whether Turn is away.
    :param observer: is told of each try.
    :param max_deliveries: a request that went back to its queue so often is parked.
    :param connector: whose requests they are.
    :param identities: how many accepted requests all channels of the process remember.
    :ivar posting: how many requests are under way, of each kind.
    :ivar pauses: those that wait for their next try, and until when.
    """

    def __init__(
        self,
        clock: IReactorTime,
        rng: random.Random,
        plan: RetryPlan,
        admission: AdmissionControl,
        breaker: CircuitBreaker,
        observer: DeliveryObserver,
        max_deliveries: int = MAX_DELIVERIES,
        connector: str = "",
        identities: Optional[Bound] = None,
    ) -> None:
        self._log = named(log, connector)
        self._clock = clock
        self._rng = rng
        self._plan = plan
        self._admission = admission
        self._breaker = breaker
        self._observer = observer
        self._max_deliveries = max_deliveries
        self._sent = AcceptedIdentities(bound=identities)
        self._accepted = 0
        self._refusals = Refusals()
        #: The rounds of requests that have failed and not ended, for when one comes again.
        self._rounds: dict[Hashable, Rounds] = {}
        self._held_lines = RateLimitedLogger(self._log, clock)
        self.posting: Counter[str] = Counter()
        self.pauses: dict[DeliveryTask, float] = {}

    def forget(self) -> None:
        """Nothing is sent any more: what was accepted need not be remembered."""
        self._sent.clear()
        self._rounds.clear()

    async def send(self, task: DeliveryTask) -> Union[Result, DeadLetter]:
        """
        Take a request to Turn, however long it takes.

        :param task: is PREPARING.
        :return: its result, or why it has to be parked.
        """
        request = task.request
        if request.redelivered and request.identity in self._sent:
            return Result.DELIVERED
        unfit = self._unfit(request, None)
        if unfit is not None:
            return unfit
        try:
            await request.prepare()
        except Exception as error:  # a boundary: what others wrote has failed on this request
            return Result.LOST if task.state is State.ENDED else self._error(request, error, 0)
        if task.state is State.ENDED:
            return Result.LOST
        if request.result is Result.PAGE:
            return await self._answer(task)
        if request.result is not None:
            self._sent.add(request.identity)
            return request.result
        task.on(Event.PREPARED)
        return await self._try_in_rounds(task)

    async def _answer(self, task: DeliveryTask) -> Union[Result, DeadLetter]:
        """Answer it here; as a POST this is finished when the worker stops, or it would be answered twice."""
        request = task.request
        outcome: Union[Result, DeadLetter] = Result.PAGE
        task.on(Event.PREPARED)
        task.on(Event.POST)
        try:
            await request.answer()
        except Exception as error:  # a boundary, as above
            # One that is lost, or went back to its queue, comes again: it is not known as answered.
            gone = request.lost or task.state is State.ENDED
            outcome = Result.LOST if gone else self._error(request, error, 0)
        task.on(Event.ANSWERED)
        if outcome is not Result.PAGE:
            return task.forced_result or outcome
        self._sent.add(request.identity)
        return outcome

    async def _try_in_rounds(self, task: DeliveryTask) -> Union[Result, DeadLetter]:
        """Try it in rounds until something ends them."""
        rounds = self._rounds.pop(task.request.identity, None) if self._rounds else None
        ended = await self._try_until_ended(task, rounds if task.request.redelivered else None)
        if self._rounds and ended not in (Result.LOST, Result.REQUEUE):
            self._rounds.pop(task.request.identity, None)
        return ended

    async def _try_until_ended(self, task: DeliveryTask, rounds: Optional[Rounds]) -> Union[Result, DeadLetter]:
        request, admission = task.request, self._admission
        accepted_before: Optional[int] = None
        while True:
            ticket = admission.ticket(request.kind) if admission.open else await self._admit(task)
            unfit = self._unfit(request, rounds)
            if unfit is not None:
                self._not_sent(task, ticket)
                return unfit
            if rounds is None or accepted_before is None:
                accepted_before = self._accepted
            tried = await self._try(task, ticket)
            ended: Union[Result, DeadLetter, None] = task.forced_result
            step: Optional[Step] = None
            if tried.verdict is Verdict.DELIVERED:
                ended = ended if ended is Result.LOST else Result.DELIVERED
            elif ended is None and tried.error is not None:
                ended = self._error(request, tried.error, 1 + (rounds.attempts if rounds else 0))
            elif ended is None and tried.verdict is not Verdict.THROTTLED:
                rounds = rounds or Rounds(self._plan)
                self._keep(request, rounds)
                step = rounds.failed(tried.verdict, self._accepted != accepted_before, self._breaker.away)
                if rounds.tries == 0:
                    # The next round begins here: what Turn accepts while this one waits for it counts,
                    # or a message that Turn never takes would seem an outage again and again.
                    accepted_before = self._accepted
                if step.action is Action.AWAY:
                    self._breaker.round_failed(tried.what)
                elif step.action is Action.PARK:
                    ended = _dead_letter_of(step, tried, rounds.attempts)
            # Whom else this lets go, now that all is known that the answer means.
            admission.admit()
            if ended is not None:
                return ended
            if step is not None and step.pause > 0:
                await self._pause(task, step, tried.what)

    def _keep(self, request: DeliveryRequest, rounds: Rounds) -> None:
        """Its delivery may be lost, or go back to its queue: when it comes again its rounds go on."""
        self._rounds[request.identity] = rounds
        if len(self._rounds) > MOST_ROUNDS:
            del self._rounds[next(iter(self._rounds))]

    async def _admit(self, task: DeliveryTask) -> Ticket:
        admitted = self._admission.wait(task)
        self._breaker.waits(task)
        return await admitted

    async def _pause(self, task: DeliveryTask, step: Step, what: str) -> None:
        self.pauses[task] = self._clock.seconds() + step.pause
        try:
            if step.action is Action.HOLD:
                await self._hold(task, step, what)
            else:
                await deferLater(self._clock, step.pause)
        finally:
            del self.pauses[task]

    async def _hold(self, task: DeliveryTask, step: Step, what: str) -> None:
        task.on(Event.HOLD)
        if step.pause > FIRST_DELAY:  # the first time Turn may just be going away, for all of them
            self._held_lines.warn(
                "{message_id} is held for {seconds} s ({what}), while Turn accepts others",
                message_id=task.request.name,
                seconds=step.pause,
                what=what,
            )
        await deferLater(self._clock, step.pause)
        task.on(Event.RESUME)

    async def _try(self, task: DeliveryTask, ticket: Ticket) -> _Tried:
        """Send it once, and tell everybody who has to know what came of it."""
        request = task.request
        kind = request.kind
        task.on(Event.POST)
        self.posting[kind] += 1
        started = self._clock.seconds()
        answer: Optional[TurnResponse] = None
        error: Optional[Exception] = None
        try:
            answer = await request.post()
            verdict = classify(kind, answer)
        except Exception as caught:  # a boundary: network errors are no exceptions here
            verdict, error = Verdict.ERROR, caught
        finally:
            self.posting[kind] -= 1
        task.on(Event.ANSWERED)
        if verdict is Verdict.DELIVERED:
            self._accepted += 1
            self._refusals.accepted()
            self._sent.add(request.identity)
        elif verdict is Verdict.REFUSED and self._refusals.refused(request.person):
            verdict = Verdict.MISCONFIGURED
        tried = _Tried(verdict, answer, error)
        self._tell_limits(task, ticket, tried)
        self._observer.tried(request, verdict, tried.what, self._clock.seconds() - started, tried.words)
        return tried

    def _tell_limits(self, task: DeliveryTask, ticket: Ticket, tried: _Tried) -> None:
        verdict, answer = tried.verdict, tried.answer
        accepted = verdict is Verdict.DELIVERED
        self._admission.answered(
            task.request.kind,
            ticket,
            accepted=accepted,
            throttled=verdict is Verdict.THROTTLED,
            wait=None if answer is None else answer.wait,
            bucket=None if answer is None else answer.bucket,
        )
        if not accepted:
            self._breaker.answered(task, verdict, tried.what)
        elif self._breaker.troubled:
            self._breaker.answered(task, verdict)

    def _not_sent(self, task: DeliveryTask, ticket: Ticket) -> None:
        """It was admitted, but is not sent after all."""
        self._admission.answered(task.request.kind, ticket)
        self._breaker.answered(task, None)
        self._admission.admit()

    def _unfit(self, request: DeliveryRequest, rounds: Optional[Rounds]) -> Optional[DeadLetter]:
        """Why it must not be sent, if it must not."""
        attempts = 0 if rounds is None else rounds.attempts
        if request.expires is not None and self._clock.seconds() > request.expires:
            return DeadLetter(
                Verdict.STALE, TEMPORARY, "It was older than max_message_age when its turn came.", attempts
            )
        # A count without the flag is another queue's, from which the message was moved.
        if request.redelivered and request.delivery_count >= self._max_deliveries:
            reason = (
                f"It went back to its queue {request.delivery_count} times, and the queue would drop it soon;"
                " replay it when Turn is well."
            )
            return DeadLetter(Verdict.UNAVAILABLE, TEMPORARY, reason, attempts)
        return None

    def _error(self, request: DeliveryRequest, error: Exception, attempts: int) -> DeadLetter:
        error_id = f"{self._rng.getrandbits(128):032x}"
        self._log.failure(
            "Sending {message_id} failed (error {error_id})",
            Failure(error),
            message_id=request.name,
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

    @property
    def words(self) -> str:
        """Turn's own words, which are never logged."""
        return "" if self.answer is None else self.answer.words


def _dead_letter_of(step: Step, tried: _Tried, attempts: int) -> DeadLetter:
    last_status = None if tried.answer is None else tried.answer.status
    return DeadLetter(tried.verdict, step.code, f"{step.why} ({tried.what}).", attempts, last_status, tried.words)
