"""
The log: which lines are written, where to, and what they look like.

twistd writes debug lines too. Here they are left out unless they are asked
for, because addresses and content are logged at that level.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from datetime import datetime, timezone
from typing import Any, Mapping, Optional, TextIO

from twisted.application.service import IService, MultiService
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    eventAsText,
    formatEvent,
)
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile
from zope.interface import provider

from .twistd_process import on_signal

log = Logger()

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warn", "error")

#: Keys of an event that are the logging system's own.
_INNER_KEYS = frozenset({"format", "isError", "message", "time", "system", "failure", "why", "log_text"})


def json_line(event: LogEvent) -> str:
    """
    A log event as one line of JSON: ``time``, ``level``, ``namespace`` and
    ``message``; the event's own fields where they are plain values; and for an
    exception its ``traceback``.
    """
    level = event.get("log_level")
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(event.get("log_time", 0), timezone.utc).isoformat(timespec="microseconds"),
        "level": level.name if level is not None else "info",
        "namespace": event.get("log_namespace", ""),
        "message": formatEvent(event),
    }
    for key, value in event.items():
        if key in line or key in _INNER_KEYS or key.startswith("log_"):
            continue
        if value is None or isinstance(value, (str, int, float, bool)):
            line[key] = value
    failure = event.get("log_failure")
    if failure is not None:
        line["traceback"] = failure.getTraceback()
    return json.dumps(line) + "\n"


def printable(text: str, also: str = "") -> str:
    """
    Text that a terminal shows and does not obey: each control character, and
    each half of a surrogate pair, as its escape (``\\x1b``).

    :param also: control characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in also else c.encode("unicode_escape").decode("ascii") for c in text)


def text_line(event: LogEvent) -> Optional[str]:
    """
    A log event as twistd writes it: one line, for an exception followed by
    the lines of its traceback. What a field of the event holds cannot end
    the line, nor reach the terminal as a command.
    """
    text = eventAsText(printable_event(event))
    return printable(text.rstrip("\n").replace("\n", "\n\t"), also="\n\t") + "\n" if text else None


def printable_event(event: LogEvent) -> LogEvent:
    """The event with its message made :func:`printable`; Twisted's older ones may have several lines."""
    also = "\n\t" if event.get("log_namespace") == "log_legacy" else ""
    return {**event, "log_format": "{log_printable}", "log_printable": printable(formatEvent(event), also)}


def make_observer(stream: TextIO, log_format: str, level: str) -> ILogObserver:
    """
    :param stream: where lines go.
    :param log_format: ``text`` or ``json``.
    :param level: the lowest level that is written.
    """
    lines = FileLogObserver(stream, json_line) if log_format == "json" else FileLogObserver(stream, text_line)
    return filtered(lines, level)


def filtered(observer: ILogObserver, level: str) -> ILogObserver:
    """What lets only events of a level, and of higher ones, through to ``observer``."""
    predicates: list[Any] = [LogLevelFilterPredicate(LogLevel.levelWithName(level))]
    if level != "debug":
        predicates.insert(0, without_noise)
    return FilteringLogObserver(observer, predicates)


_PORT = re.compile(r"^\S+ starting on |^\((TCP|TLS|UNIX) Port .+ Closed\)$")


def without_noise(event: LogEvent) -> Any:
    """Leaves out Twisted's two lines for each connection that is made, and for each port: ours say more."""
    noisy = str(event.get("log_format", "")).startswith(("Starting factory ", "Stopping factory "))
    if event.get("log_namespace") == "log_legacy":
        noisy = noisy or _PORT.search(str(event.get("log_text", ""))) is not None
    return PredicateResult.no if noisy else PredicateResult.maybe


def log_file_for(twistd: Mapping[str, Any]) -> Optional[LogFile]:
    """The file that twistd would write the log to; None where it would not write one."""
    name = twistd.get("logfile")
    if twistd.get("syslog") or name == "-" or (not name and twistd.get("nodaemon")):
        return None
    file: LogFile = LogFile.fromFullPath(name or "twistd.log")
    return file


def observer_for(
    twistd: Mapping[str, Any], log_format: str, level: str, file: Optional[LogFile] = None
) -> ILogObserver:
    """
    What writes the log where twistd would write it.

    :param twistd: twistd's own options: ``logfile``, ``nodaemon``, ``syslog``, ``prefix``.
    :param log_format: ``text`` or ``json``.
    :param level: the lowest level that is written.
    :param file: what :func:`log_file_for` gave.
    """
    if twistd.get("syslog"):
        from twisted.python.syslog import SyslogObserver

        syslog: Any = SyslogObserver(twistd.get("prefix", "")).emit
        lines = LegacyLogObserverWrapper(syslog)

        @provider(ILogObserver)
        def emit(event: LogEvent) -> None:
            lines(printable_event(event))

        return filtered(emit, level)
    stream: Any = file or log_file_for(twistd) or sys.stdout
    return make_observer(stream, log_format, level)


class LoggedService(MultiService):
    """
    A service that brings its log observer to the application it is put into;
    twistd takes it unless the user names another with ``--logger``.

    :param service: the service itself.
    :param twistd: twistd's own options, None outside twistd.
    :param log_format: ``text`` or ``json``.
    :param level: the lowest level that is written.
    :param reactor: delivers SIGUSR1, on which the log's file is rotated.
    """

    def __init__(self, service: IService, twistd: Any, log_format: str, level: str, reactor: Any = None) -> None:
        super().__init__()
        self._reactor = reactor
        self._file: Optional[LogFile] = None
        self._twistd = twistd
        self._log_format = log_format
        self._level = level
        service.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        if isinstance(parent, Componentized) and self._twistd is not None:
            self._file = log_file_for(self._twistd)
            observer = observer_for(self._twistd, self._log_format, self._level, self._file)
            parent.setComponent(ILogObserver, observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Rotate the log's file on SIGUSR1, as twistd does with its own; without a file nothing happens then."""
        if self._reactor is not None:
            on_signal(signal.SIGUSR1, self._reactor, self._rotate)
        super().startService()

    def _rotate(self) -> None:
        if self._file is None:
            log.info("SIGUSR1: the log does not go to a file of ours, so there is nothing to rotate")
        else:
            self._file.rotate()
