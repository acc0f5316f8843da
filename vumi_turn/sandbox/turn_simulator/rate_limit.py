"""The simulated Turn's rate limit, and the headers in which Turn speaks of it."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from ...timing.clock import wall_clock_of


class RateLimit:
    """
    Turn's limit: so many calls in a window of so many seconds.

    :param clock: for the window.
    """

    def __init__(self, clock: IReactorTime, calls: int = 60, window: float = 60.0) -> None:
        self._clock = clock
        self._wall = wall_clock_of(clock)
        self.calls = calls
        self.window = window
        self._used = 0
        self._until = 0.0

    def to_dict(self) -> dict[str, float]:
        """How much is left of the window, as JSON; ``until`` is Unix seconds, 0 while no window has begun."""
        rest = self._until - self._clock.seconds()
        return {
            "calls": self.calls,
            "window": self.window,
            "left": self.calls - self._used if rest > 0 else self.calls,
            "until": round(self._wall() + rest, 3) if rest > 0 else 0,
        }

    def take(self) -> tuple[bool, dict[str, str]]:
        """Count a call: whether it is within the limit, and the headers that say so."""
        now = self._clock.seconds()
        if now >= self._until:
            self._used, self._until = 0, now + self.window
        allowed = self._used < self.calls
        if allowed:
            self._used += 1
        headers = limit_headers(self.calls, self.calls - self._used, self._wall() + self._until - now)
        if not allowed:
            headers["Retry-After"] = str(max(1, int(self._until - now + 0.999)))
        return allowed, headers


def limit_headers(calls: int, remaining: int, reset: float) -> dict[str, str]:
    """The headers in which Turn speaks of its limit; ``reset`` is Unix seconds."""
    return {
        "X-Ratelimit-Limit": str(calls),
        "X-Ratelimit-Remaining": str(remaining),
        "X-Ratelimit-Reset": f"{reset:.3f}",
    }
