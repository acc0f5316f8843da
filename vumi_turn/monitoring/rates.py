"""How much happens, over the last minute."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

#: Seconds that a rate is of.
PERIOD = 60


class RateCounter:
    """
    Counts what happens in each of the last :data:`PERIOD` seconds.

    :param clock: what seconds are measured by.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._started = clock.seconds()
        self._counts = [0] * PERIOD
        self._last = int(self._started)

    def add(self) -> None:
        """It has happened once more."""
        self._counts[self._advance() % PERIOD] += 1

    @property
    def per_second(self) -> float:
        """How often a second it has happened, on the average."""
        self._advance()
        return sum(self._counts) / min(max(self._clock.seconds() - self._started, 1.0), float(PERIOD))

    def _advance(self) -> int:
        """Forget the counts of seconds that are more than a period ago; the number of this second."""
        now = int(self._clock.seconds())
        if now - self._last >= PERIOD:
            self._counts = [0] * PERIOD
        else:
            for second in range(self._last + 1, now + 1):
                self._counts[second % PERIOD] = 0
        self._last = max(now, self._last)
        return self._last
