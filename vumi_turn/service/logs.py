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
from functools import lru_cache
from typing import Any, Mapping, Optional, TextIO

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    formatEvent,
    formatTime,
)
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile
from zope.interface import provider

from ..timing.debug_lines import debug_lines
from ..timing.named_log import connector_of
from .log_limit import ProcessLineLimit
from .twistd_process import on_signal

log = Logger()

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warn", "error")

#: The levels by how grave they are.
_RANKS = {level: rank for rank, level in enumerate(LogLevel.iterconstants())}

#: Keys of an event that are the logging system's own.
_INNER_KEYS = frozenset({"format", "isError", "message", "time", "system", "failure", "why", "log_text"})


def json_line(event: LogEvent) -> str:
    """
    A log event as one line of JSON: ``time``, ``level``, ``namespace`` and
    ``message``; the event's own fields where they are plain values; the
    ``connector`` of what a channel logs; and for an exception its ``traceback``.
    """
    level = event.get("log_level")
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(event.get("log_time", 0), timezone.utc).isoformat(timespec="microseconds"),
        "level": level.name if level is not None else "info",
        "namespace": event.get("log_namespace", ""),
        "message": message_of(event),
    }
    for key, value in event.items():
        if key in line or key in _INNER_KEYS or key.startswith("log_"):
            continue
        if value is None or isinstance(value, (str, int, float, bool)):
            line[key] = value
    connector = connector_of(event)
    if connector:
        line["connector"] = connector
    failure = event.get("log_failure")
    if failure is not None:
        line["traceback"] = failure.getTraceback()
    return json.dumps(line) + "\n"


#: A format that names fields and asks nothing else of them.
_NAMED_ONLY = re.compile(r"(?:[^{}]|\{[a-z_]+\})*")


@lru_cache(maxsize=1024)
def _names_only(log_format: str) -> bool:
    return _NAMED_ONLY.fullmatch(log_format) is not None


def message_of(event: LogEvent) -> str:
    """
    What ``formatEvent`` says. That takes tens of microseconds, because a format
    may call its fields; ours do not, and there is a line for each message.
    """
    log_format = event.get("log_format")
    if type(log_format) is str and "log_flattened" not in event and _names_only(log_format):
        try:
            return log_format.format_map(event)
        except Exception:  # a field is missing or cannot be shown: Twisted has words for that
            pass
    return formatEvent(event)


def printable(text: str, also: str = "") -> str:
    """
    Text that a terminal shows and does not obey: each control character, and
    each half of a surrogate pair, as its escape (``\\x1b``).

    :param also: control characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in also else c.encode("unicode_escape").decode("ascii") for c in text)


def with_connector(event: LogEvent, message: str) -> str:
    """A message, after the connector that it is about."""
    connector = connector_of(event)
    return f"{connector}: {message}" if connector else message


def text_line(event: LogEvent) -> Optional[str]:
    """
    A log event as twistd writes it: one line, for an exception followed by
    the lines of its traceback. What a field of the event holds cannot end
    the line, nor reach the terminal as a command.
    """
    line = _one_line(event)
    if line is not None:
        return line
    text = eventAsText(printable_event(event))
    return printable(text.rstrip("\n").replace("\n", "\n\t"), also="\n\t") + "\n" if text else None


def _one_line(event: LogEvent) -> Optional[str]:
    """The same for the most usual events; None for any other."""
    at, level = event.get("log_time"), event.get("log_level")
    namespace = event.get("log_namespace")
    if type(at) is not float or level is None or type(namespace) is not str or namespace == "log_legacy":
        return None
    if event.get("log_system") is not None or event.get("log_failure") is not None:
        return None
    message = message_of(event)
    if not message:
        return None
    message = with_connector(event, message)
    return printable(f"{_time_of(int(at))} [{namespace}#{level.name}] {message}") + "\n"


@lru_cache(maxsize=8)
def _time_of(second: int) -> str:
    return formatTime(second)


def printable_event(event: LogEvent) -> LogEvent:
    """The event with its message made :func:`printable`; Twisted's older ones may have several lines."""
    also = "\n\t" if event.get("log_namespace") == "log_legacy" else ""
    return {
        **event,
        "log_format": "{log_printable}",
        "log_printable": printable(with_connector(event, message_of(event)), also),
    }


def make_observer(
    stream: TextIO, log_format: str, level: str, limit: Optional[ProcessLineLimit] = None
) -> ILogObserver:
    """
    :param stream: where lines go.
    :param log_format: ``text`` or ``json``.
    :param level: the lowest level that is written.
    :param limit: says which lines of many channels are written.
    """
    lines = FileLogObserver(stream, json_line) if log_format == "json" else FileLogObserver(stream, text_line)
    return filtered(lines, level, limit)


def filtered(observer: ILogObserver, level: str, limit: Optional[ProcessLineLimit] = None) -> ILogObserver:
    """What lets only events of a level, and of higher ones, through to ``observer``; ``limit`` leaves out some."""
    lowest = _RANKS[LogLevel.levelWithName(level)]
    all_of_them = level == "debug"

    def emit(event: LogEvent) -> None:
        if _RANKS.get(event.get("log_level"), -1) < lowest or (not all_of_them and is_noise(event)):
            return
        if limit is None or all_of_them or limit.admits(event):
            observer(event)

    observing: ILogObserver = provider(ILogObserver)(emit)
    return observing


_PORT = re.compile(r"^\S+ starting on |^\((TCP|TLS|UNIX) Port .+ Closed\)$")


def is_noise(event: LogEvent) -> bool:
    """Whether it is one of Twisted's two lines for each connection that is made, or for each port: ours say more."""
    if str(event.get("log_format", "")).startswith(("Starting factory ", "Stopping factory ")):
        return True
    return event.get("log_namespace") == "log_legacy" and _PORT.search(str(event.get("log_text", ""))) is not None


def log_file_for(twistd: Mapping[str, Any]) -> Optional[LogFile]:
    """The file that twistd would write the log to; None where it would not write one."""
    name = twistd.get("logfile")
    if twistd.get("syslog") or name == "-" or (not name and twistd.get("nodaemon")):
        return None
    file: LogFile = LogFile.fromFullPath(name or "twistd.log")
    return file


def observer_for(
    twistd: Mapping[str, Any],
    log_format: str,
    level: str,
    file: Optional[LogFile] = None,
    limit: Optional[ProcessLineLimit] = None,
) -> ILogObserver:
    """
    What writes the log where twistd would write it.

    :param twistd: twistd's own options: ``logfile``, ``nodaemon``, ``syslog``, ``prefix``.
    :param log_format: ``text`` or ``json``.
    :param level: the lowest level that is written.
    :param file: what :func:`log_file_for` gave.
    :param limit: says which lines of many channels are written.
    """
    if twistd.get("syslog"):
        from twisted.python.syslog import SyslogObserver

        syslog: Any = SyslogObserver(twistd.get("prefix", "")).emit
        lines = LegacyLogObserverWrapper(syslog)

        @provider(ILogObserver)
        def emit(event: LogEvent) -> None:
            lines(printable_event(event))

        return filtered(emit, level, limit)
    stream: Any = file or log_file_for(twistd) or sys.stdout
    return make_observer(stream, log_format, level, limit)


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
        self._limit = None if reactor is None else ProcessLineLimit(reactor)
        self._file: Optional[LogFile] = None
        self._twistd = twistd
        self._log_format = log_format
        self._level = level
        service.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        if isinstance(parent, Componentized) and self._twistd is not None:
            self._file = log_file_for(self._twistd)
            observer = observer_for(self._twistd, self._log_format, self._level, self._file, self._limit)
            parent.setComponent(ILogObserver, observer)
            debug_lines.wanted = self._level == "debug"
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Rotate the log's file on SIGUSR1, as twistd does with its own; without a file nothing happens then."""
        if self._reactor is not None:
            on_signal(signal.SIGUSR1, self._reactor, self._rotate)
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Stop what it runs, and say which log lines were left out."""
        stopped: Deferred[None] = maybeDeferred(super().stopService)
        return stopped.addBoth(self._end_limit)

    def _end_limit(self, result: Any) -> Any:
        if self._limit is not None:
            self._limit.stop()
        return result

    def _rotate(self) -> None:
        if self._file is None:
            log.info("SIGUSR1: the log does not go to a file of ours, so there is nothing to rotate")
        else:
            self._file.rotate()
