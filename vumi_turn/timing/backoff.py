"""How long to wait before the next attempt."""

from __future__ import annotations

#: Seconds: the first attempt comes at once, the second after this, then doubling.
FIRST_DELAY = 0.5
MAX_DELAY = 5.0


class Backoff:
    """0, 0.5, 1, 2, 4, 5, 5, … seconds, from the start again after :meth:`reset`."""

    def __init__(self) -> None:
        self._attempts = 0

    def next(self) -> float:
        """The seconds to wait now."""
        attempts = self._attempts
        self._attempts += 1
        if not attempts:
            return 0.0
        return min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(attempts - 1, 10))

    def reset(self) -> None:
        """It worked."""
        self._attempts = 0


class ExponentialBackoff:
    """
    Timeouts that grow: 1 s, 2 s, 4 s … 60 s.

    :ivar current: the last one, in seconds; at least the first.
    """

    FIRST = 1.0
    LONGEST = 60.0

    def __init__(self) -> None:
        self.current = self.FIRST
        self._next = self.FIRST

    def next(self) -> float:
        """The wait that is due now, in seconds."""
        self.current = self._next
        self._next = min(self._next * 2, self.LONGEST)
        return self.current

    def reset(self) -> None:
        """Begin again with the shortest."""
        self.current = self._next = self.FIRST
