"""
Log lines that cannot become a flood.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

#: So many lines in so many seconds; the others are counted.
LINES = 30
SECONDS = 60.0


class RateLimitedLogger:
    """
    Writes the first lines of each minute, and then only their number.

    :param log: where to.
    :param clock: says when a minute is over.
    :param lines: how many a minute are written.
    :param tell: say how many were left out.
    """

    def __init__(self, log: Logger, clock: IReactorTime, lines: int = LINES, tell: bool = True) -> None:
        self._log = log
        self._clock = clock
        self._lines = lines
        self._tell = tell
        self._began = float("-inf")
        self._written = 0
        self._left_out = 0

    def emit(self, level: Any, format: str, **fields: Any) -> bool:
        """
        Write one line, unless there were too many.

        :return: whether it was written.
        """
        now = self._clock.seconds()
        if now - self._began >= SECONDS:
            if self._left_out and self._tell:
                self._log.warn("{count} more lines like these were left out", count=self._left_out)
            self._began, self._written, self._left_out = now, 0, 0
        if self._written >= self._lines:
            self._left_out += 1
            return False
        self._written += 1
        self._log.emit(level, format, **fields)
        return True

    def warn(self, format: str, **fields: Any) -> None:
        """Write one line as a warning."""
        self.emit(LogLevel.warn, format, **fields)

    def error(self, format: str, **fields: Any) -> bool:
        """Write one line as an error, as :meth:`emit` does."""
        return self.emit(LogLevel.error, format, **fields)
