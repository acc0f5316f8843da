"""
The delivery scheduler: gives every request exactly one result, in order for each key.
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
from ..timing.named_log import named
from ..timing.one_time_event import OneTimeEvent
from ..timing.shared_bound import Bound
from .admission import AdmissionControl
from .circuit_breaker import CircuitBreaker
from .dead_letter_publisher import DeadLetterPublisher
from .keyed_queues import KeyedQueues
from .observer import BlockedTasks, ErrorIsolatingObserver
from .open_tasks import OpenTasks
from .request import DeliveryObserver, DeliveryRequest, Result, Window
from .requeue_tracker import RequeueTracker
from .retries import RetryPlan
from .sender import MAX_DELIVERIES, DeliverySender
from .task import DeliveryTask, Event, State

log = Logger()


class DeliveryScheduler:
    """
    Delivers requests to Turn.

    :param clock: what everything is timed by.
    :param rng: draws the waits between tries.
    :param max_retries: tries after the first, in a round.
    :param retry_delay_base: see :class:`~vumi_turn.delivery.retries.RetryPlan`.
    :param retry_delay_exponent: likewise.
    :param prefetch: how many requests at a time are normal.
    :param max_deliveries: a request that went back to its queue so often is parked.
    :param observer: counts what happens, or None.
    :param window: is opened by as many as are blocked, or None.
    :param connector: named in log lines.
    :param identities: how many accepted requests all channels of the process remember.
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
        max_deliveries: int = MAX_DELIVERIES,
        observer: Optional[DeliveryObserver] = None,
        window: Optional[Window] = None,
        connector: str = "",
        identities: Optional[Bound] = None,
    ) -> None:
        self._log = named(log, connector)
        self._clock = clock
        self._observer: DeliveryObserver = ErrorIsolatingObserver(observer, connector)
        self._admission = AdmissionControl(clock, prefetch)
        self._breaker = CircuitBreaker(clock, self._admission, connector)
        self._sender = DeliverySender(
            clock,
            rng,
            RetryPlan(max_retries, retry_delay_base, retry_delay_exponent, rng),
            self._admission,
            self._breaker,
            self._observer,
            max_deliveries,
            connector,
            identities,
        )
        self._dead_letters = DeadLetterPublisher(clock, connector)
        self._queues = KeyedQueues()
        self._blocked = BlockedTasks(clock, window, connector)
        self._tasks = OpenTasks(clock, partial(self._end, result=Result.REQUEUE))
        self._requeued = RequeueTracker(clock)
        self._ready: deque[DeliveryTask] = deque()
        self._starting = False
        self._later: list[DeliveryTask] = []
        self._later_call: Optional[IDelayedCall] = None
        self._stopping = False
        self._idle: OneTimeEvent[None] = OneTimeEvent()

    # -- delivering ----------------------------------------------------------

    def deliver(self, request: DeliveryRequest) -> Deferred[Result]:
        """
        Take a request to Turn. It has its place in its queue when this returns.

        :return: fires with the request's result. It never fails.
        """
        if request.lost:
            return self._settle_at_once(request, Result.LOST)
        if self._stopping or self._requeued.overtakes(request):
            return self._settle_at_once(request, Result.REQUEUE)
        task = self._new_task(request)
        if self._queues.add(task):
            self._start(task)
        else:
            task.on(Event.QUEUE)
        return task.outcome

    def park(self, request: DeliveryRequest, dead_letter: DeadLetter) -> Deferred[Result]:
        """
        Park a request that cannot be sent; it waits for no other.

        :return: fires with the request's result. It never fails.
        """
        if request.lost:
            return self._settle_at_once(request, Result.LOST)
        if self._stopping:
            return self._settle_at_once(request, Result.REQUEUE)
        task = self._new_task(request)
        task.run(self._run(task, dead_letter))
        return task.outcome

    async def stop(self, timeout: float) -> None:
        """
        Give back at once what only waits; let what is under way finish, and
        give back the rest.

        :param timeout: for how many seconds requests and publishes may go on.
        """
        if not self._stopping:
            self._stopping = True
            for part in (self._admission, self._breaker, self._tasks, self._blocked):
                part.stop()
            if self._later_call is not None:
                self._later_call.cancel()
            for task in self._tasks:
                if task.busy:
                    task.on(Event.RECALL)
                else:
                    self._end(task, Result.REQUEUE)
            if not self._tasks:
                self._idle.fire(None)
        if self._idle.happened:
            return
        timer = self._clock.callLater(timeout, self._give_up)
        try:
            await self._idle.wait()
        finally:
            if timer.active():
                timer.cancel()

    def forget(self) -> None:
        """The channel has gone, or never came to be: what was accepted need not be remembered."""
        self._sender.forget()

    # -- what can be seen ----------------------------------------------------

    @property
    def held(self) -> int:
        """How many requests wait for Turn to be back, or for their next round."""
        held = {State.HELD, State.STRANDED} | ({State.WAITING} if self.away else set())
        return sum(task.state in held for task in self._tasks)

    @property
    def in_flight(self) -> int:
        """How many requests are being sent."""
        return sum(self._sender.posting.values())

    def in_flight_of(self, kind: str) -> int:
        """How many requests of this kind are being sent."""
        return self._sender.posting[kind]

    @property
    def waiting(self) -> int:
        """How many requests have no result yet."""
        return len(self._tasks)

    @property
    def unparked(self) -> int:
        """How many requests should be in the failures queue, and could not be put there yet."""
        return self._dead_letters.failing

    @property
    def park_error(self) -> str:
        """Why not, the last time, in a word."""
        return self._dead_letters.last_error

    @property
    def oldest(self) -> Optional[float]:
        """When the oldest request without a result was delivered, in the clock's seconds; None without one."""
        return min((task.request.received for task in self._tasks), default=None)

    @property
    def away(self) -> bool:
        """Turn is away, and probed."""
        return self._breaker.away

    @property
    def away_since(self) -> Optional[float]:
        """Since when it has been away, in the clock's seconds; None while it is not."""
        return self._breaker.away_since

    @property
    def away_reason(self) -> str:
        """What came of the last request that showed it, in a few words."""
        return self._breaker.away_reason

    @property
    def next_probe(self) -> Optional[float]:
        """When the next probe is due, in the clock's seconds; None while none is planned."""
        return self._breaker.next_probe

    @property
    def pauses(self) -> dict[str, float]:
        """The requests that wait for their next try, by name, and until when, in the clock's seconds."""
        return {task.request.name: until for task, until in self._sender.pauses.items()}

    @property
    def misconfigured(self) -> bool:
        """Turn does not let us in: the token or the URL is wrong."""
        return self._breaker.misconfigured

    @property
    def throttled_until(self) -> Optional[float]:
        """Until when Turn wants no requests, in the clock's seconds, or None."""
        return self._admission.until

    # -- starting ------------------------------------------------------------

    def _new_task(self, request: DeliveryRequest) -> DeliveryTask:
        task = DeliveryTask(request, self._blocked)
        self._tasks.add(task)
        request.on_lost(partial(self._lost, task))
        return task

    def _start(self, task: DeliveryTask) -> None:
        """It is the head of its queue. One after another, so that a long queue is no deep stack."""
        self._ready.append(task)
        if self._starting:
            return
        self._starting = True
        try:
            while self._ready:
                task = self._ready.popleft()
                if task.state is not State.ENDED:
                    task.on(Event.START)
                    task.run(self._run(task, None))
        finally:
            self._starting = False

    def _start_later(self, task: DeliveryTask) -> None:
        """
        It is the head because the one before was lost. Its own delivery may be
        lost within this very call of the broker's: then it must not be sent first.
        """
        self._later.append(task)
        if self._later_call is None and not self._stopping:
            self._later_call = self._clock.callLater(0, self._start_those)

    def _start_those(self) -> None:
        self._later_call = None
        later, self._later = self._later, []
        for task in later:
            self._start(task)

    async def _run(self, task: DeliveryTask, dead_letter: Optional[DeadLetter]) -> None:
        """All of a task, from its start to its result. A boundary: nothing is raised."""
        try:
            outcome: Union[Result, DeadLetter]
            outcome = dead_letter if dead_letter is not None else await self._sender.send(task)
            if isinstance(outcome, DeadLetter):
                outcome = await self._dead_letters.park(task, outcome)
            self._end(task, outcome)
        except CancelledError:
            if task.state is not State.ENDED:
                self._strand(task, Failure())
        except Exception:
            self._strand(task, Failure())

    def _strand(self, task: DeliveryTask, failure: Failure) -> None:
        """
        This package itself has failed. The request stays where it is until it
        goes back to its queue with those behind it: nothing is lost, nothing spins.
        """
        if task.state is not State.ENDED:
            task.on(Event.STRAND)
        self._log.failure(
            "Delivering {message_id} failed; it goes back to its queue later",
            failure,
            message_id=task.request.name,
        )

    # -- ending --------------------------------------------------------------

    def _end(self, task: DeliveryTask, result: Result) -> None:
        """Give a task its result; with one that goes back go those behind it."""
        if task.state is State.ENDED:
            return
        following: Optional[DeliveryTask] = None
        if result is Result.REQUEUE:
            ending = self._queues.cut(task)
            if not self._stopping:
                self._requeued.add(each.request for each in ending)
        else:
            ending = [task]
            following = self._queues.remove(task)
        for each in ending:
            each.on(Event.END)
            self._tasks.remove(each)
        for each in ending:
            each.outcome.callback(result)
            self._observer.settled(each.request, result)
        for each in ending:
            each.cancel()
        if following is not None and result is Result.LOST:
            self._start_later(following)
        elif following is not None:
            self._start(following)
        if self._stopping and not self._tasks:
            self._idle.fire(None)

    def _settle_at_once(self, request: DeliveryRequest, result: Result) -> Deferred[Result]:
        self._observer.settled(request, result)
        return succeed(result)

    def _lost(self, task: DeliveryTask) -> None:
        """A request's delivery is gone. What is under way finishes, to be remembered."""
        if not task.busy:
            self._end(task, Result.LOST)

    def _give_up(self) -> None:
        for task in self._tasks:
            self._end(task, Result.REQUEUE)
