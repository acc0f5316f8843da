"""
Whose request may be sent now: every request asks here first.
"""

from __future__ import annotations

from collections import deque
from typing import Iterator, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..turn.verdicts import MESSAGE, STATUS
from .concurrency_limit import ConcurrencyLimit
from .rate_limiter import RateLimiter
from .task import DeliveryTask

#: More rate limit buckets than these are taken for the whole channel.
MOST_BUCKETS = 16


class Scope:
    """
    What one set of limits holds for: the channel, or one of Turn's rate limit buckets.

    :ivar rate: the waits that Turn imposes on it.
    :ivar concurrency: how many requests may be under way after such a wait.
    """

    __slots__ = ("rate", "concurrency")

    def __init__(self, rate: RateLimiter, concurrency: ConcurrencyLimit) -> None:
        self.rate = rate
        self.concurrency = concurrency

    @property
    def admits(self) -> bool:
        """Whether another request may go."""
        return self.rate.until is None and self.concurrency.has_room

    @property
    def open(self) -> bool:
        """Whether any number may go."""
        return self.rate.until is None and self.concurrency.unlimited


#: What a request was admitted by: the generations of its scopes' concurrency limits.
Ticket = tuple[tuple[Scope, int], ...]

#: For a request that was not admitted.
NO_TICKET: Ticket = ()


class AdmissionControl:
    """
    Lets requests go as the limits allow: messages before statuses, each in the
    order in which they came.

    There is a scope for the channel, and one for each rate limit bucket that
    Turn names. Which bucket a kind of request falls into is learned from Turn's
    answers.

    :param clock: what waits are measured by.
    :param full: so many requests at a time are normal.
    :ivar open: requests go without waiting; nobody waits while it is True.
    """

    def __init__(self, clock: IReactorTime, full: int) -> None:
        self.open = True
        self._clock = clock
        self._full = full
        self._channel = self._new_scope()
        self._buckets: dict[str, Scope] = {}
        #: The bucket that Turn named last for requests of a kind.
        self._bucket_of: dict[str, str] = {}
        self._tickets: dict[str, Ticket] = {}
        self._waiting: dict[str, deque[_Waiter]] = {MESSAGE: deque(), STATUS: deque()}
        self._suspended = False
        self._stopped = False
        self._admitting = False

    # -- going ----------------------------------------------------------------

    def ticket(self, kind: str) -> Ticket:
        """The ticket of a request that goes while :attr:`open` is True."""
        ticket = self._tickets.get(kind)
        if ticket is None:
            ticket = tuple((scope, scope.concurrency.generation) for scope in self._scopes(kind))
            self._tickets[kind] = ticket
        return ticket

    def wait(self, task: DeliveryTask) -> Deferred[Ticket]:
        """
        Wait until a request may go.

        :return: fires with a ticket, which has to be given to :meth:`answered`.
            It may be cancelled.
        """
        waiter = _Waiter(task, self._waiting[task.request.kind])
        self.admit()
        return waiter.admitted

    def answered(
        self,
        kind: str,
        ticket: Ticket,
        *,
        accepted: bool = False,
        throttled: bool = False,
        wait: Optional[float] = None,
        bucket: Optional[str] = None,
    ) -> None:
        """
        A request has ended. This lets nobody go: :meth:`admit` is called once
        everything is known that the answer means.

        :param kind: the request's.
        :param ticket: the request's.
        :param accepted: Turn took it.
        :param throttled: Turn said that there are too many.
        :param wait: for how many seconds Turn wants none, if it said so.
        :param bucket: the rate limit bucket that the answer names.
        """
        if bucket is not None and bucket != self._bucket_of.get(kind):
            self._learn(kind, bucket)
        if self.open and not throttled and wait is None:
            return
        limited = self._buckets.get(bucket or "", self._channel)
        current = any(scope is limited and generation == scope.concurrency.generation for scope, generation in ticket)
        for scope, generation in ticket:
            if scope.concurrency.release(generation, accepted):
                scope.rate.accepted()
        if wait is None or wait <= 0:
            wait = limited.rate.backoff(current) if throttled else 0.0
        if limited.rate.wait(wait):
            self._restart(limited)

    def admit(self) -> None:
        """Let those go who may."""
        if self._admitting or self.open:
            return
        self._admitting = True
        try:
            while (waiter := self._next()) is not None:
                waiter.admit(self._acquire(waiter.task.request.kind))
            self.open = (
                not self._suspended
                and not self._stopped
                and not len(self)
                and self._channel.open
                and all(scope.open for scope in self._buckets.values())
            )
        finally:
            self._admitting = False

    def _next(self) -> Optional[_Waiter]:
        if not self._suspended and not self._stopped:
            for kind, waiting in self._waiting.items():
                if waiting and all(scope.admits for scope in self._scopes(kind)):
                    return waiting[0]
        return None

    def _acquire(self, kind: str) -> Ticket:
        return tuple((scope, scope.concurrency.acquire()) for scope in self._scopes(kind))

    # -- scopes ---------------------------------------------------------------

    def _new_scope(self) -> Scope:
        return Scope(RateLimiter(self._clock, self.admit), ConcurrencyLimit(self._full))

    def _scopes(self, kind: str) -> list[Scope]:
        bucket = self._buckets.get(self._bucket_of.get(kind, ""))
        return [self._channel] if bucket is None else [self._channel, bucket]

    def _learn(self, kind: str, bucket: str) -> None:
        if bucket not in self._buckets:
            if len(self._buckets) >= MOST_BUCKETS:
                return
            self._buckets[bucket] = self._new_scope()
        self._bucket_of[kind] = bucket
        self._tickets.clear()

    def _restart(self, scope: Scope) -> None:
        scope.concurrency.restart()
        self._tickets.clear()
        self.open = False

    @property
    def until(self) -> Optional[float]:
        """Until when Turn wants no requests of some kind, in the clock's seconds, or None."""
        waits = [scope.rate.until for scope in (self._channel, *self._buckets.values())]
        return max((until for until in waits if until is not None), default=None)

    def remaining(self, kind: str) -> float:
        """Seconds for which Turn wants no requests of this kind."""
        return max(scope.rate.remaining for scope in self._scopes(kind))

    # -- while the circuit breaker is open --------------------------------------

    def suspend(self) -> None:
        """Let nobody go but those for whom :meth:`admit_one` is called."""
        self._suspended = True
        self._restart(self._channel)

    def resume(self) -> None:
        """Turn is back; :meth:`admit` comes next."""
        self._suspended = False

    def admit_one(self, task: DeliveryTask) -> None:
        """Let this task go, which waits here."""
        for waiter in self._waiters():
            if waiter.task is task:
                waiter.admit(self._acquire(task.request.kind))
                return

    def waiting(self) -> list[DeliveryTask]:
        """The tasks that wait, messages first."""
        return [waiter.task for waiter in self._waiters()]

    def _waiters(self) -> Iterator[_Waiter]:
        for waiting in self._waiting.values():
            yield from waiting

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def stop(self) -> None:
        """Let nobody go any more, and leave no timer."""
        self._stopped = True
        self.open = False
        for scope in (self._channel, *self._buckets.values()):
            scope.rate.stop()


class _Waiter:
    """A task that waits to be admitted."""

    __slots__ = ("task", "admitted", "_waiting")

    def __init__(self, task: DeliveryTask, waiting: deque[_Waiter]) -> None:
        self.task = task
        self.admitted: Deferred[Ticket] = Deferred(lambda _: self._waiting.remove(self))
        self._waiting = waiting
        waiting.append(self)

    def admit(self, ticket: Ticket) -> None:
        self._waiting.remove(self)
        self.admitted.callback(ticket)
