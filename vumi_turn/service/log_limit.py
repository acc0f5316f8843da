"""
Log lines of many channels that say the same.

While the broker or Turn is away each channel has its line. In a process of
many channels they are as many at once, each minute. So of one kind of line the
first are written, of as many channels; then one line says of which channels
others were left out.

What stands for one message (a line for each that is settled), what has an id
to be found by and what has a traceback is not left out.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import LogEvent, Logger, LogLevel

from ..timing.limited_log import SECONDS
from ..timing.named_log import connector_of

log = Logger()

#: Channels whose first line of a kind is written, in a minute.
CHANNELS = 10
#: More lines of a kind that are written in a minute, whichever channels they are of.
MORE_LINES = 20
#: Characters of the names of channels whose lines were left out.
NAMES = 1000

#: A line that stands for one message has this field; it is not shown.
EACH = "log_for_each_message"


class ProcessLineLimit:
    """
    Says which lines are written.

    :param clock: measures the minutes, and gives the turn in which the last line is written.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._stopped = False

    def admits(self, event: LogEvent) -> bool:
        """Whether a line is written. In a process of one channel each is."""
        connector = connector_of(event)
        namespace, log_format = event.get("log_namespace"), event.get("log_format")
        if not connector or self._stopped or not _is_ours(namespace) or not isinstance(log_format, str):
            return True
        if event.get(EACH) or "log_failure" in event or "error_id" in event:
            return True
        key = (str(namespace), log_format)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(self._clock, lambda: self._kinds.pop(key, None))
        return kind.admits(connector, event)

    def stop(self) -> None:
        """Say what was left out, and leave no timer; every line is written from now on."""
        self._stopped = True
        for kind in list(self._kinds.values()):
            kind.end()


def _is_ours(namespace: Any) -> bool:
    return isinstance(namespace, str) and namespace.startswith("vumi_turn.")


class _Kind:
    """
    The lines of one kind, in one minute.

    :param ended: called when the minute is over.
    """

    def __init__(self, clock: IReactorTime, ended: Callable[[], Any]) -> None:
        self._ended = ended
        self._channels: set[str] = set()
        self._more = 0
        self._left_out: dict[str, int] = {}
        self._level: Any = LogLevel.info
        self._example = ""
        self._timer: Optional[IDelayedCall] = clock.callLater(SECONDS, self.end)

    def admits(self, connector: str, event: LogEvent) -> bool:
        """Whether a line of a channel is written; it is counted."""
        first = connector not in self._channels
        if first and len(self._channels) < CHANNELS:
            self._channels.add(connector)
            return True
        if not first and (len(self._channels) == 1 or self._more < MORE_LINES):
            self._more += len(self._channels) > 1
            return True
        self._left_out[connector] = self._left_out.get(connector, 0) + 1
        self._level, self._example = event.get("log_level") or self._level, str(event["log_format"])
        return False

    def end(self) -> None:
        """The minute is over, or the process stops."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._ended()
        if not self._left_out:
            return
        names = ", ".join(f"{name} ({count})" for name, count in self._left_out.items())
        if len(names) > NAMES:
            names = names[:NAMES].rpartition(",")[0] + ", …"
        log.emit(
            self._level,
            "{count} more lines of {channels} channels were left out, which say {example}: {names}",
            count=sum(self._left_out.values()),
            channels=len(self._left_out),
            example=repr(self._example),
            names=names,
        )
