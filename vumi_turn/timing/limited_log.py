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
    Writes the first lines of each minute, and afterwards how many were left out.

    :param log: where to.
    :param clock: says when a minute is over.
    :param lines: how many a minute are written.
    :param tell: write how many were left out, as a line of its own.
    :ivar left_out: how many were left out since the last line that was written.
    """

    def __init__(self, log: Logger, clock: IReactorTime, lines: int = LINES, tell: bool = True) -> None:
        self.left_out = 0
        self._log = log
        self._clock = clock
        self._lines = lines
        self._tell = tell
        self._began = float("-inf")
        self._written = 0

    def emit(self, level: Any, format: str, **fields: Any) -> bool:
        """
        Write one line, unless there were too many.

        :return: whether it was written.
        """
        now = self._clock.seconds()
        if now - self._began >= SECONDS:
            if self.left_out and self._tell:
                self._log.warn("{count} more lines like these were left out", count=self.left_out)
            self._began, self._written = now, 0
        if self._written >= self._lines:
            self.left_out += 1
            return False
        self._written += 1
        self.left_out = 0
        self._log.emit(level, format, **fields)
        return True

    def info(self, format: str, **fields: Any) -> bool:
        """Write one line for information, as :meth:`emit` does."""
        return self.emit(LogLevel.info, format, **fields)

    def warn(self, format: str, **fields: Any) -> bool:
        """Write one line as a warning, as :meth:`emit` does."""
        return self.emit(LogLevel.warn, format, **fields)

    def error(self, format: str, **fields: Any) -> bool:
        """Write one line as an error, as :meth:`emit` does."""
        return self.emit(LogLevel.error, format, **fields)
