"""The result of one operation, for everybody who asks for it."""

from __future__ import annotations

from typing import Any, Coroutine, Generic, Optional, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from .running import Running

T = TypeVar("T")


class SharedResult(Generic[T]):
    """
    Starts an operation at once, and gives its result to any number of
    waiters. A waiter that is cancelled does not cancel the operation.

    :param operation: a coroutine; it runs to its end whoever waits.
    :ivar unseen_failure: the operation's failure, as long as no waiter has
        had it; None else.
    """

    __slots__ = ("_done", "_result", "_failure", "_waiters", "unseen_failure")

    def __init__(self, operation: Coroutine[Deferred[Any], Any, T]) -> None:
        self._done = False
        self._result: Optional[T] = None
        self._failure: Optional[Failure] = None
        self._waiters: list[Deferred[None]] = []
        self.unseen_failure: Optional[Failure] = None
        Running(operation, self._succeeded, self._failed)

    async def get(self) -> T:
        """
        Wait for the operation.

        :return: what it gave.
        :raises Exception: what it raised; each waiter gets it.
        """
        if not self._done:
            waiter: Deferred[None] = Deferred(self._waiters.remove)
            self._waiters.append(waiter)
            await waiter
        if self._failure is not None:
            self.unseen_failure = None
            assert self._failure.value is not None
            raise self._failure.value
        return self._result  # type: ignore[return-value]

    def _succeeded(self, result: T) -> None:
        self._result = result
        self._finish()

    def _failed(self, failure: Failure) -> None:
        failure.cleanFailure()
        self._failure = self.unseen_failure = failure
        self._finish()

    def _finish(self) -> None:
        self._done = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)
