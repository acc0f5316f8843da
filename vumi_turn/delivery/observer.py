"""
Telling observers what happens, which must never change what happens.
"""

from __future__ import annotations

from collections import Counter
from typing import Optional

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..timing.named_log import named
from ..turn.verdicts import Verdict
from .request import DeliveryObserver, DeliveryRequest, Result, Window

log = Logger()


class ErrorIsolatingObserver:
    """Passes calls on to an observer, if there is one; logs its exceptions, never propagates them."""

    def __init__(self, observer: Optional[DeliveryObserver], connector: str = "") -> None:
        self._observer = observer
        self._log = named(log, connector)

    def tried(self, request: DeliveryRequest, verdict: Verdict, what: str, seconds: float, words: str = "") -> None:
        if self._observer is not None:
            try:
                self._observer.tried(request, verdict, what, seconds, words)
            except Exception:  # a boundary: an observer must not change what it observes
                self._log.failure("Counting a try failed")

    def settled(self, request: DeliveryRequest, result: Result) -> None:
        if self._observer is not None:
            try:
                self._observer.settled(request, result)
            except Exception:  # a boundary, as above
                self._log.failure("Counting a result failed")


class BlockedTasks:
    """
    Counts the blocked tasks of each kind, and tells a window.

    The window is told in a reactor turn of its own, once for all changes of
    one turn: it may deliver more messages within that call.

    :param clock: gives the turn.
    :param window: is told, or None.
    """

    def __init__(self, clock: IReactorTime, window: Optional[Window], connector: str = "") -> None:
        self._clock = clock
        self._log = named(log, connector)
        self._window = window
        self._counts: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._call: Optional[IDelayedCall] = None
        self._stopped = False

    def __getitem__(self, kind: str) -> int:
        return self._counts[kind]

    def change(self, kind: str, by: int) -> None:
        """So many more, or fewer, tasks of this kind are blocked."""
        self._counts[kind] += by
        if self._call is None and self._window is not None and not self._stopped:
            self._call = self._clock.callLater(0, self._tell)

    def stop(self) -> None:
        """Tell the window nothing more."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _tell(self) -> None:
        self._call = None
        assert self._window is not None
        for kind, count in list(self._counts.items()):
            if count != self._told[kind]:
                self._told[kind] = count
                try:
                    self._window.blocked(kind, count)
                except Exception:  # a boundary: a window must not change what becomes of a request
                    self._log.failure("Opening the window failed")
