"""
Requests that went back to their queue, until they are here again.

What was already on its way to us when a key's requests went back arrives
before they do. It may not overtake them, so it goes back too, behind them.
Whether a request belongs to those that went back is told by its identity:
after a restart of the broker everything is flagged redelivered.
"""

from __future__ import annotations

from typing import Hashable, Iterable

from twisted.internet.interfaces import IReactorTime

from .request import DeliveryRequest

#: How long requests are waited for, in seconds; another worker may have got them.
LONGEST_WAIT = 5.0


class RequeueTracker:
    """
    :param clock: says for how long requests have been waited for.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._requeued: dict[tuple[str, str], _Requeued] = {}

    def add(self, requests: Iterable[DeliveryRequest]) -> None:
        """These go back to their queue."""
        now = self._clock.seconds()
        for key in [key for key, requeued in self._requeued.items() if requeued.until <= now]:
            del self._requeued[key]
        for request in requests:
            requeued = self._requeued.setdefault((request.kind, request.key), _Requeued())
            requeued.until = now + LONGEST_WAIT
            requeued.missing.add(request.identity)

    def overtakes(self, request: DeliveryRequest) -> bool:
        """
        True for a request that arrives before those that went back: it has to
        go back too, and then belongs to them, so that none goes back for this
        twice, also where the others are with another worker by now.
        """
        if not self._requeued:
            return False
        key = (request.kind, request.key)
        requeued = self._requeued.get(key)
        if requeued is None:
            return False
        if requeued.until <= self._clock.seconds():
            del self._requeued[key]
            return False
        if request.identity in requeued.missing:
            requeued.missing.discard(request.identity)
            if not requeued.missing:
                del self._requeued[key]
            return False
        requeued.missing.add(request.identity)
        return True


class _Requeued:
    """
    The requests of one key that went back.

    :ivar until: they are waited for, in the clock's seconds.
    :ivar missing: the identities that have not come back.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self.missing: set[Hashable] = set()
