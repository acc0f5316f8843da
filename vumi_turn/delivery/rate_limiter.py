"""
The one gate that every request to Turn passes.

It is open as long as all goes well. It closes for as long as Turn says to
wait, or while Turn is away; after that one request goes first, and each one
that Turn accepts allows one more at a time, until the gate is open again.
"""

from __future__ import annotations

from collections import deque
from typing import Iterator, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..timing.backoff import ExponentialBackoff
from ..turn.verdicts import MESSAGE
from .keyed_queues import DeliveryTask

#: The longest wait that Turn can impose, in seconds.
LONGEST_WAIT = 600.0


class RateLimiter:
    """
    :param clock: what waits are measured by.
    :param full: when so many requests at a time have been allowed, it opens.

    :ivar open: requests go without asking. While it is True nobody waits.
    :ivar generation: the ticket of requests that go now. What a request of an
        older generation tells says nothing of how the gate's reopening goes.
    :ivar until: until when Turn wants no requests, in the clock's seconds, or None.
    """

    def __init__(self, clock: IReactorTime, full: int) -> None:
        self._clock = clock
        self._full = full
        self.open = True
        self.generation = 0
        self.until: Optional[float] = None
        self._shut = False
        self._stopped = False
        self._allowed = 1
        self._running = 0
        self._messages: deque[_Waiter] = deque()
        self._statuses: deque[_Waiter] = deque()
        self._backoff = ExponentialBackoff()
        self._timer: Optional[IDelayedCall] = None
        self._pumping = False

    # -- passing -------------------------------------------------------------

    def wait(self, journey: DeliveryTask) -> Deferred[int]:
        """
        Wait in front of the gate: messages before statuses, each in the order
        in which they came.

        :return: fires with a ticket, which has to be given to :meth:`answered`.
            It may be cancelled.
        """
        waiters = self._messages if journey.parcel.kind == MESSAGE else self._statuses
        waiter = _Waiter(journey, waiters)
        waiters.append(waiter)
        self.pump()
        return waiter.passed

    def answered(
        self, ticket: int, accepted: bool = False, throttled: bool = False, wait: Optional[float] = None
    ) -> None:
        """
        A request has ended. Nobody passes in here: :meth:`pump` comes after
        everything that the answer means is known.

        :param ticket: the request's.
        :param accepted: Turn took it.
        :param throttled: Turn said that there are too many.
        :param wait: for how many seconds Turn wants none, if it said so.
        """
        current = ticket == self.generation
        if current and not self.open:
            self._running -= 1
            if accepted:
                self._allowed += 1
                self._backoff.reset()
        if wait is not None and wait > 0:
            self._close(wait)
        elif throttled and current:
            self._close(self._backoff.next())
        elif throttled and self.until is None:
            self._close(self._backoff.current)

    def pump(self) -> None:
        """Let those pass who may."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while not self.open and not self._shut and self.until is None and not self._stopped:
                if self._allowed >= self._full and self._allowed > 1:
                    self._open()
                elif self._running < self._allowed and len(self):
                    self._let((self._messages or self._statuses)[0])
                else:
                    break
        finally:
            self._pumping = False

    def _open(self) -> None:
        self._backoff.reset()
        while len(self) and self.until is None and not self._shut:
            self._let((self._messages or self._statuses)[0])
        self.open = self.until is None and not self._shut

    def _let(self, waiter: _Waiter) -> None:
        self._running += 1
        waiter.leave()
        waiter.passed.callback(self.generation)

    # -- closing -------------------------------------------------------------

    def _close(self, seconds: float) -> None:
        """Turn wants no requests for so long."""
        if self._stopped:
            return
        until = self._clock.seconds() + min(seconds, LONGEST_WAIT)
        if self.until is not None and self.until >= until:
            return
        if self.until is None:
            self._begin_again()
        self.until = until
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.callLater(until - self._clock.seconds(), self._waited)

    def _waited(self) -> None:
        self._timer = None
        self.until = None
        self.pump()

    def _begin_again(self) -> None:
        self.open = False
        self.generation += 1
        self._allowed = 1
        self._running = 0

    def shut(self) -> None:
        """Turn is away: nobody passes but those for whom :meth:`let_one` is called."""
        self._shut = True
        self._begin_again()

    def reopen(self) -> None:
        """Turn is back; :meth:`pump` comes next."""
        self._shut = False

    def stop(self) -> None:
        """Nobody passes any more, and no timer is left."""
        self._stopped = True
        self.open = False
        self.until = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- probing -------------------------------------------------------------

    @property
    def remaining(self) -> float:
        """Seconds for which Turn wants no requests."""
        return 0.0 if self.until is None else max(self.until - self._clock.seconds(), 0.0)

    def candidate(self) -> Optional[DeliveryTask]:
        """Whose turn it is to be a probe: who never failed, else whose failure is the longest ago."""
        waiting = [waiter.journey for waiter in self._waiting()]
        return min(waiting, key=lambda journey: journey.failed, default=None)

    def let_one(self, journey: DeliveryTask) -> None:
        """Let just this one pass, which waits here."""
        for waiter in self._waiting():
            if waiter.journey is journey:
                return self._let(waiter)

    def _waiting(self) -> Iterator[_Waiter]:
        yield from self._messages
        yield from self._statuses

    def __len__(self) -> int:
        return len(self._messages) + len(self._statuses)


class _Waiter:
    """One who waits in front of the gate."""

    __slots__ = ("journey", "passed", "_waiters")

    def __init__(self, journey: DeliveryTask, waiters: deque[_Waiter]) -> None:
        self.journey = journey
        self.passed: Deferred[int] = Deferred(lambda _: self.leave())
        self._waiters = waiters

    def leave(self) -> None:
        self._waiters.remove(self)
