"""
The workers that share a cache in Redis, as one of them sees them.

After an outage another worker may still have to write what it took meanwhile.
A worker writes its heartbeat after that, so a heartbeat that is newer than the
outage says that nothing of it is missing.
"""

from __future__ import annotations

from typing import Mapping, Optional

from twisted.internet.interfaces import IReactorTime

#: Seconds after an outage in which the others are waited for at most. A worker
#: connects again within 5.5 s, and sends heartbeats every 3 s.
SETTLE = 12.0


class Members:
    """
    The other workers.

    :param clock: measures how long they are waited for.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._known = False
        self._others: dict[str, int] = {}
        self._missing: dict[str, Optional[int]] = {}
        self._deadline = 0.0

    @property
    def alone(self) -> bool:
        """Whether there was no other worker when Redis was last asked; False if it never was."""
        return self._known and not self._others and not self.settling

    @property
    def count(self) -> int:
        """How many workers there are, this one included."""
        return 1 + len(self._others)

    @property
    def settling(self) -> bool:
        """Whether another worker may still have to write what it took during the last outage."""
        if self._missing and self._clock.seconds() >= self._deadline:
            self._missing = {}
        return bool(self._missing)

    def found(self, counts: Mapping[str, int], after_outage: bool) -> None:
        """
        Note who is there.

        :param counts: the count of heartbeats of each other worker.
        :param after_outage: this is the first look since Redis was away.
        """
        if after_outage:
            self._missing = {name: counts.get(name) for name in {*self._others, *counts}}
            self._deadline = self._clock.seconds() + SETTLE
        else:
            for name, count in list(self._missing.items()):
                if name in counts and counts[name] != count:
                    del self._missing[name]
        self._known = True
        self._others = dict(counts)
