"""
Timeouts that have a bound, and that can all be ended at once when a worker stops.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Generic, Optional, TypeVar

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .read_first import ReadFirstTimeout

log = Logger()

T = TypeVar("T")


def deferred_of(result: Any) -> Optional[Deferred[Any]]:
    """
    The Deferred of what a method written by others gave back.

    :param result: a value, a Deferred, or a coroutine, which is started.
    :return: None if ``result`` is just a value.
    """
    if isinstance(result, Deferred):
        return result
    if inspect.iscoroutine(result):
        return ensureDeferred(result)
    if inspect.isawaitable(result):
        return ensureDeferred(_awaited(result))
    return None


async def _awaited(result: Any) -> Any:
    return await result


class Timeouts:
    """
    The waits of one owner.

    :param clock: what bounds are measured by.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._pending: set[_Wait[Any]] = set()
        self._ended: Optional[Callable[[], Exception]] = None

    def bound(self, awaited: Deferred[T], seconds: float, too_late: Callable[[], Exception]) -> Deferred[T]:
        """
        Wait for something, but not for ever.

        :param awaited: what to wait for. Where it comes too late it is
            cancelled, and what it does after that is nobody's concern.
        :param seconds: how long to wait.
        :param too_late: makes the exception that the wait then fails with.
        :return: fires with what ``awaited`` fires with; or fails at the
            bound, or at :meth:`end`.
        """
        if awaited.called and not awaited.paused:
            return awaited
        if self._ended is not None:
            awaited.addErrback(_too_late_to_matter)
            awaited.cancel()
            return fail(self._ended())
        wait = _Wait(awaited, self._pending)
        wait.timer = ReadFirstTimeout(self._clock, seconds, lambda: wait.give_up(too_late()))
        return wait.outcome

    def sleep(self, seconds: float) -> Deferred[None]:
        """Fires after so many seconds, and at once at :meth:`end`; it never fails."""
        rest: Deferred[None] = Deferred()
        return self.bound(rest, seconds, _Rested).addErrback(lambda _: None)

    def end(self, error: Callable[[], Exception]) -> None:
        """
        Fail every wait, those of now and those to come.

        :param error: makes the exception that each of them fails with.
        """
        self._ended = error
        for wait in list(self._pending):
            wait.give_up(error())


class _Rested(Exception):
    """A sleep has reached its bound, as it should."""


class _Wait(Generic[T]):
    """One wait: its outcome fires once, and then its timer is gone."""

    timer: Optional[ReadFirstTimeout] = None

    def __init__(self, awaited: Deferred[T], pending: set[_Wait[Any]]) -> None:
        self.outcome: Deferred[T] = Deferred(lambda _: self.give_up(CancelledError()))
        self._awaited = awaited
        self._pending = pending
        pending.add(self)
        awaited.addCallbacks(self._came, self._failed)

    def give_up(self, error: Exception) -> None:
        """Stop waiting."""
        if self._over():
            self._awaited.cancel()
            self.outcome.errback(error)

    def _came(self, result: T) -> None:
        if self._over():
            self.outcome.callback(result)

    def _failed(self, failure: Failure) -> None:
        if self._over():
            self.outcome.errback(failure)
        else:
            _too_late_to_matter(failure)

    def _over(self) -> bool:
        """True for the first that asks."""
        if self not in self._pending:
            return False
        self._pending.discard(self)
        if self.timer is not None:
            self.timer.stop()
        return True


def _too_late_to_matter(failure: Failure) -> None:
    """Say at debug level how something ended that nobody waits for any more."""
    if not failure.check(CancelledError):
        log.debug("What nobody waits for any more failed: {reason}", reason=repr(failure.type))
