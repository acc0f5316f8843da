"""
KeyedQueues that went back to their queue, until they are here again.

What was already on its way to us when its line went back comes before the
line does. It may not overtake it, so it goes back too, behind them. Whether a
parcel belongs to the line is told by its identity: after a restart of the
broker everything is flagged redelivered.
"""

from __future__ import annotations

from typing import Hashable, Iterable

from twisted.internet.interfaces import IReactorTime

from .request import DeliveryRequest

#: For so long a line is waited for, in seconds; another worker may have got it.
LONGEST = 5.0


class RequeueTracker:
    """
    :param clock: says for how long a line has been waited for.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._lines: dict[tuple[str, str], _Line] = {}

    def went(self, parcels: Iterable[DeliveryRequest]) -> None:
        """A line, or the end of one, goes back to its queue."""
        now = self._clock.seconds()
        for key in [key for key, line in self._lines.items() if line.until <= now]:
            del self._lines[key]
        for parcel in parcels:
            line = self._lines.setdefault((parcel.kind, parcel.key), _Line())
            line.until = now + LONGEST
            line.missing.add(parcel.identity)

    def overtakes(self, parcel: DeliveryRequest) -> bool:
        """
        True for a parcel that has come before its line has come back: it has
        to go back too, and then belongs to its line: nobody is sent back twice,
        also where the rest of the line is with another worker by now.
        """
        if not self._lines:
            return False
        key = (parcel.kind, parcel.key)
        line = self._lines.get(key)
        if line is None:
            return False
        if line.until <= self._clock.seconds():
            del self._lines[key]
            return False
        if parcel.identity in line.missing:
            line.missing.discard(parcel.identity)
            if not line.missing:
                del self._lines[key]
            return False
        line.missing.add(parcel.identity)
        return True


class _Line:
    """
    :ivar until: it is waited for, in the clock's seconds.
    :ivar missing: the identities that have not come back.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self.missing: set[Hashable] = set()
