"""
Sentry: logged errors are reported there, and of each one only what is known to
be harmless.

A report is put together from nothing rather than cleaned: the fixed words of
our own log lines, fields that are ids, numbers or names of the configuration,
and an exception's class and where it was raised. The text of an exception, a
field that nobody has looked at and the words of other people's lines may hold
what somebody said, an address or a secret, and stay in the worker's log.
``error_id`` leads from the one to the other.
"""

from __future__ import annotations

import re
import sys
import threading
import traceback
from typing import Any, Callable, Iterator, Mapping, Optional

from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from .._version import __version__
from ..timing.named_log import connector_of

#: What stands for what is not told.
LEFT_OUT = "[left out]"

#: Reports in :data:`PERIOD` seconds; more of them are counted only. A report
#: costs the reactor a millisecond, and an outage can log an error for each message.
REPORTS = 30
PERIOD = 60.0

#: Reports that wait for Sentry; more of them are dropped.
WAITING = 100

#: Seconds that the end of the process may wait for reports to be sent.
FLUSH_TIME = 2.0

#: How much of an exception is told: exceptions that caused each other, and
#: frames of each.
MAX_CAUSES = 5
MAX_FRAMES = 50

#: Whose log lines have fixed words, so that they can be told.
FIXED_WORDS = ("vumi_turn", "twisted")

#: Fields of log lines that are ids of ours.
IDS = frozenset({"error_id", "message_id", "event_id"})
#: Fields that are numbers, names of the configuration or words of this program.
NAMES = frozenset({"queue", "exchange", "role", "worker", "status", "seconds", "count", "waiting"})
#: Fields of some modules that are about servers, not about people.
ABOUT_SERVERS = {
    "vumi_turn.broker.amqp": frozenset({"address", "reason", "what"}),
    "vumi_turn.caches": frozenset({"address", "reason"}),
    "vumi_turn.delivery.outage_log": frozenset({"what"}),
    "vumi_turn.http.responses": frozenset({"what"}),
    "vumi_turn.vumi.lifecycle": frozenset({"what"}),
}

#: What is printed comes by these, line by line; it is no error that was logged.
PRINTED = frozenset({"stdout", "stderr"})

_ID = re.compile(r"[0-9a-f]{32}")
#: In texts about servers: what may be a phone number, and a URL's login.
_NUMBER = re.compile(r"\+?\d[\d \-]{5,}\d")
_LOGIN = re.compile(r"//[^/\s]*@")


class SentryMissing(Exception):
    """``--sentry`` was given, and the package for it is not installed."""


def install(
    dsn: str,
    *,
    server_name: str,
    worker: str,
    reactor: Any,
    transport: Any = None,
) -> Callable[[], None]:
    """
    Report logged errors to Sentry from now on, and send what waits when the
    reactor has stopped.

    :param dsn: where to, as ``https://key@sentry.example/1``.
    :param server_name: told with each report, and so is ``worker``.
    :param worker: the worker's class.
    :param reactor: tells the time and when it stops.
    :param transport: another way to Sentry than HTTP, as its SDK has them.
    :return: takes it all back, except that nothing more is sent.
    :raises SentryMissing: the extra ``sentry`` is not installed.
    :raises ValueError: the DSN is none. It is not quoted: it holds a key.
    """
    client = _client(dsn, server_name, transport)
    reporter = Reporter(client.capture_event, reactor, worker)
    observer: Any = reporter
    globalLogPublisher.addObserver(observer)
    flush = reactor.addSystemEventTrigger("after", "shutdown", client.close, FLUSH_TIME)

    def uninstall() -> None:
        globalLogPublisher.removeObserver(observer)
        reactor.removeSystemEventTrigger(flush)
        client.close(0)

    return uninstall


def _client(dsn: str, server_name: str, transport: Any) -> Any:
    """Sentry's own client, with everything turned off that would tell more than we do."""
    try:
        from sentry_sdk import Client
        from sentry_sdk.utils import BadDsn
    except ImportError:
        raise SentryMissing("--sentry needs a package: pip install 'vumi_turn[sentry]'") from None
    try:
        return Client(
            dsn,
            transport=transport,
            server_name=server_name,
            release=f"vumi_turn@{__version__}",
            transport_queue_size=WAITING,
            shutdown_timeout=FLUSH_TIME,
            # Integrations would add the command line, breadcrumbs, requests and
            # local variables.
            default_integrations=False,
            auto_enabling_integrations=False,
            max_breadcrumbs=0,
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
            send_client_reports=False,
        )
    except (BadDsn, ValueError):
        raise ValueError(
            "sentry must be a Sentry DSN, as https://key@sentry.example/1: http or https, a key before the @,"
            " a host, and a number at the end"
        ) from None


class Reporter:
    """
    A log observer that reports errors, and not too many of them.

    :param capture: takes a report, without waiting until it is sent.
    :param clock: tells the time.
    :param worker: the worker's class.
    """

    def __init__(self, capture: Callable[[dict[str, Any]], Any], clock: IReactorTime, worker: str) -> None:
        self._capture = capture
        self._clock = clock
        self._worker = worker
        self._lock = threading.Lock()
        self._began = float("-inf")
        self._sent = 0
        self._left_out = 0

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level")
        if level is None or level < LogLevel.error or event.get("log_namespace") in PRINTED:
            return
        left_out = self._may_report()
        if left_out is None:
            return
        report = report_of(event)
        report["tags"] = {"worker": self._worker}
        connector = connector_of(event)
        if connector:
            report["tags"]["connector"] = connector
        if left_out:
            report["extra"]["reports_left_out"] = left_out
        self._capture(report)

    def _may_report(self) -> Optional[int]:
        """How many were left out since the last one; None if this one is too. Threads log too."""
        with self._lock:
            now = self._clock.seconds()
            if now - self._began >= PERIOD:
                self._began, self._sent = now, 0
            if self._sent >= REPORTS:
                self._left_out += 1
                return None
            self._sent += 1
            left_out, self._left_out = self._left_out, 0
            return left_out


def report_of(event: LogEvent) -> dict[str, Any]:
    """
    What Sentry is told of a log event.

    Source of its form: https://develop.sentry.dev/sdk/data-model/event-payloads/
    """
    namespace = str(event.get("log_namespace") or "")
    level = event.get("log_level")
    fields = told_fields(namespace, event)
    report: dict[str, Any] = {
        "level": "fatal" if level is LogLevel.critical else "error",
        "logger": namespace,
        "logentry": _words(namespace, event, fields),
        "extra": {name: value for name, value in fields.items() if value != LEFT_OUT},
    }
    failure = event.get("log_failure") or event.get("failure")  # of twisted.python.log
    if isinstance(failure, Failure):
        report["exception"] = {"values": list(_exceptions(failure))}
    return report


def told_fields(namespace: str, event: LogEvent) -> dict[str, Any]:
    """An event's fields, with :data:`LEFT_OUT` instead of those that are not known to be harmless."""
    names = {key for key in event if isinstance(key, str) and not key.startswith("log_")}
    if not _is_below(namespace, FIXED_WORDS):
        # A name may mean something else there; an id looks like one everywhere.
        return {name: _id(event[name]) for name in names & IDS}
    about_servers = [told for module, told in ABOUT_SERVERS.items() if _is_below(namespace, (module,))]
    fields: dict[str, Any] = {}
    for name in names:
        value = event[name]
        if name in IDS:
            fields[name] = _id(value)
        elif name in NAMES:
            fields[name] = value if isinstance(value, (int, float)) else str(value)[:200]
        elif any(name in told for told in about_servers):
            fields[name] = _NUMBER.sub(LEFT_OUT, _LOGIN.sub("//", str(value)))[:500]
        else:
            fields[name] = LEFT_OUT
    return fields


def _id(value: object) -> str:
    return value if isinstance(value, str) and _ID.fullmatch(value) else LEFT_OUT


def _is_below(namespace: str, modules: tuple[str, ...]) -> bool:
    return any(namespace == module or namespace.startswith(f"{module}.") for module in modules)


def _words(namespace: str, event: LogEvent, fields: Mapping[str, Any]) -> dict[str, str]:
    """The line's words; Sentry puts reports with the same ``message`` together."""
    words = event.get("log_format")
    if not isinstance(words, str) or not _is_below(namespace, FIXED_WORDS):
        words = f"An error of {namespace}, whose words are in the worker's log only"
        return {"message": words, "formatted": words}
    return {"message": words, "formatted": formatEvent({"log_format": words, **fields})}


def _exceptions(failure: Failure) -> Iterator[dict[str, Any]]:
    """A failure's exception and what caused it, the first cause first, as Sentry wants them."""
    chain: list[tuple[type[BaseException], list[tuple[str, str, int]]]] = []
    if failure.type is not None:
        chain.append((failure.type, [(frame[0], frame[1], frame[2]) for frame in failure.frames]))
    for error in _causes(failure.value):
        # Without the lines' text, which linecache would have to read.
        walked = traceback.walk_tb(error.__traceback__)
        frames = [(frame.f_code.co_name, frame.f_code.co_filename, line) for frame, line in walked]
        chain.append((type(error), frames))
    for kind, frames in reversed(chain):
        yield {
            "type": kind.__qualname__,
            "module": kind.__module__,
            "value": f"{LEFT_OUT}: the worker's log has its text",
            "stacktrace": {"frames": [_frame(*frame) for frame in frames[-MAX_FRAMES:]]},
        }


def _causes(error: Optional[BaseException]) -> Iterator[BaseException]:
    for _ in range(MAX_CAUSES):
        if error is None:
            return
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if error is not None:
            yield error


def _frame(function: str, path: str, line: int) -> dict[str, Any]:
    """Where a call was; the file as it would be imported, not where it is installed."""
    folders = [folder for folder in sys.path if folder and path.startswith(f"{folder.rstrip('/')}/")]
    file = path[len(max(folders, key=len).rstrip("/")) + 1 :] if folders else path.rsplit("/", 1)[-1]
    return {"function": function, "filename": file, "lineno": line, "in_app": file.startswith("vumi_turn/")}
