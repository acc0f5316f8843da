"""
How many requests may be under way at a time after an outage, or after a wait.
"""

from __future__ import annotations


class ConcurrencyLimit:
    """
    No limit as long as all goes well. After :meth:`restart` one request goes,
    and each one that Turn accepts allows one more at a time, until ``full`` are
    allowed: then there is no limit again.

    :param full: what is normal, the prefetch count.
    :ivar unlimited: requests are not counted.
    :ivar generation: grows at each restart. What became of a request of an
        older generation says nothing of how Turn is now.
    """

    def __init__(self, full: int) -> None:
        self.unlimited = True
        self.generation = 0
        self._full = full
        self._allowed = 1
        self._running = 0

    @property
    def has_room(self) -> bool:
        """Whether another request may go now."""
        return self.unlimited or self._running < self._allowed

    def acquire(self) -> int:
        """
        A request goes.

        :return: the generation, for :meth:`release`.
        """
        self._running += 1
        return self.generation

    def release(self, generation: int, accepted: bool) -> bool:
        """
        A request has ended.

        :param accepted: Turn took it.
        :return: whether it was a sign that Turn takes requests again.
        """
        if self.unlimited or generation != self.generation:
            return False
        self._running -= 1
        if accepted:
            self._allowed += 1
            self.unlimited = self._allowed >= self._full
        return accepted

    def restart(self) -> None:
        """Begin with one request at a time."""
        self.unlimited = False
        self.generation += 1
        self._allowed = 1
        self._running = 0
