"""Something that happens once, and those who wait for it."""

from __future__ import annotations

from typing import Generic, Optional, TypeVar

from twisted.internet.defer import Deferred, succeed

T = TypeVar("T")


class OneTimeEvent(Generic[T]):
    """
    Happens at most once. Whoever waits before that is told in the order in
    which they came; whoever waits after it is told at once.

    :ivar happened: whether it has.
    """

    def __init__(self) -> None:
        self.happened = False
        self._value: Optional[T] = None
        self._waiting: list[Deferred[T]] = []

    def wait(self) -> Deferred[T]:
        """
        :return: fires with what :meth:`fire` was given. It may be cancelled,
            which concerns nobody else.
        """
        if self.happened:
            return succeed(self._value)  # type: ignore[arg-type]
        waiting: Deferred[T] = Deferred(self._waiting_ended)
        self._waiting.append(waiting)
        return waiting

    def fire(self, value: T) -> None:
        """It has happened; a second call does nothing."""
        if self.happened:
            return
        self.happened, self._value = True, value
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(value)

    def _waiting_ended(self, waiting: Deferred[T]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
