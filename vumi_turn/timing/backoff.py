"""How long to wait before the next attempt."""

from __future__ import annotations

#: What waits for Turn, or for parking, in seconds.
FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0

#: What reconnects to the broker: at once, then after 0.5 s, doubling to 5 s.
RECONNECT_FIRST = 0.5
RECONNECT_LONGEST = 5.0


class Backoff:
    """
    Delays that double: by default 1, 2, 4 … 60, 60 seconds.

    :param first: the first delay, in seconds.
    :param longest: no delay is longer, in seconds.
    :param at_once: put a delay of 0 before the first.
    :ivar current: the delay given last, in seconds; the first one until then.
    """

    def __init__(self, first: float = FIRST_DELAY, longest: float = LONGEST_DELAY, *, at_once: bool = False) -> None:
        self.first = first
        self.longest = longest
        self._start = 0.0 if at_once else first
        self.current = self._next = self._start

    def next(self) -> float:
        """The seconds to wait now."""
        self.current = self._next
        self._next = min(self._next * 2, self.longest) if self._next else self.first
        return self.current

    def reset(self) -> None:
        """Begin again with the shortest delay."""
        self.current = self._next = self._start
