"""Which log lines are written, and how they look."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any, Optional

from twisted.application.service import Application, Service
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText, formatEvent, globalLogPublisher
from twisted.python import syslog
from twisted.python.failure import Failure
from twisted.python.log import msg, textFromEventDict
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.service.logs import (
    LoggedService,
    json_line,
    make_observer,
    message_of,
    observer_for,
    printable_event,
    text_line,
)
from vumi_turn.timing.debug_lines import debug_lines


class LinesCase(SynchronousTestCase):
    """A log in memory."""

    def setUp(self) -> None:
        self.out = io.StringIO()

    def logger(self, log_format: str = "text", level: str = "info") -> Logger:
        return Logger("some.module", observer=make_observer(self.out, log_format, level))

    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()


class TextTests(LinesCase):
    def test_levels(self) -> None:
        """Lines below the level are left out."""
        log = self.logger(level="warn")
        for level in (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error):
            log.emit(level, "a {name} line", name=level.name)
        self.assertEqual([line.rpartition("] ")[2] for line in self.lines()], ["a warn line", "a error line"])

    def test_debug_is_left_out(self) -> None:
        """Addresses and content, which are logged at debug, are not in the default log."""
        self.logger().debug("to {address}", address="+26612345678")
        self.assertEqual(self.lines(), [])

    def test_no_noise(self) -> None:
        """Twisted's lines about each connection's factory are left out."""
        self.logger().info("Starting factory {factory!r}", factory="x")
        self.assertEqual(self.lines(), [])

    def test_no_ports(self) -> None:
        """Twisted's lines about each port are left out, and only those of its lines."""
        observer = make_observer(self.out, "text", "info")
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for text in ("BoundedSite starting on 8080", "(TCP Port 8080 Closed)", "BoundedSite starting on '/x'", "else"):
            msg(text)
        self.assertEqual([line.rpartition("] ")[2] for line in self.lines()], ["else"])

    def test_line(self) -> None:
        """A line says when, where and what."""
        self.logger().info("message {message_id} is held", message_id="m1")
        self.assertRegex(self.lines()[0], r"^\d{4}-.*\[some.module#info\] message m1 is held$")


class Odd:
    """Has an attribute, can be called, and cannot be shown."""

    x = "an attribute"

    def __call__(self) -> str:
        return "called"

    def __str__(self) -> str:
        raise ValueError("it cannot be shown")


class UsualLineTests(SynchronousTestCase):
    """The short way for usual events writes what Twisted's own would."""

    def event(self, log_format: Any, **fields: Any) -> LogEvent:
        """What a logger emits."""
        events: list[LogEvent] = []
        observer: Any = events.append
        Logger("some.module", observer=observer).info(log_format, **fields)
        return {**events[0], "log_time": 1_700_000_000.75}

    EXAMPLES: tuple[tuple[Any, dict[str, Any]], ...] = (
        ("plain", {}),
        ("{a} and {b}", {"a": 1, "b": None}),
        ("{a} {missing}", {"a": 1}),
        ("{a.x} {b()} {c!r} {d:>4} {e[k]}", {"a": Odd, "b": lambda: "b", "c": "c", "d": 1, "e": {"k": 2}}),
        ("{a}", {"a": Odd()}),
        ("{{a}} {a}", {"a": 1}),
        ("{a", {"a": 1}),
        ("{a}", {"a": "two\nlines \x1b[31m \ud800"}),
        ("{a}", {"a": "", "log_system": "another"}),
        ("{a}", {"a": ""}),
        (b"bytes {a}", {"a": 1}),
        (None, {"a": 1}),
        ("x", {"log_system": "a system"}),
    )

    def test_messages(self) -> None:
        """A message is what formatEvent makes of it."""
        for log_format, fields in self.EXAMPLES:
            with case(log_format=log_format):
                event = self.event(log_format, **fields)
                self.assertEqual(message_of(event), formatEvent(event))

    def test_lines(self) -> None:
        """A line of text is what eventAsText makes of the printable event."""
        for log_format, fields in self.EXAMPLES:
            with case(log_format=log_format):
                event = self.event(log_format, **fields)
                expected = eventAsText(printable_event(event))
                self.assertEqual(text_line(event), expected + "\n" if expected else None)


class JsonTests(LinesCase):
    def line(self) -> Any:
        (line,) = self.lines()
        return json.loads(line)

    def test_line(self) -> None:
        """A line is one object with the event's plain fields."""
        self.logger("json").warn("message {message_id}\nis held", message_id="m1", thing=object())
        line = self.line()
        self.assertEqual((line["level"], line["namespace"]), ("warn", "some.module"))
        self.assertEqual((line["message"], line["message_id"]), ("message m1\nis held", "m1"))
        self.assertNotIn("thing", line)
        self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT.*\+00:00$")

    def test_failure(self) -> None:
        """An exception is on the same line, with its traceback."""
        log = self.logger("json")
        try:
            raise ValueError("odd")
        except ValueError:
            log.failure("that failed ({error_id})", error_id="e1")
        line = self.line()
        self.assertEqual((line["message"], line["error_id"]), ("that failed (e1)", "e1"))
        self.assertIn("ValueError: odd", line["traceback"])


class ServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(setattr, debug_lines, "wanted", debug_lines.wanted)

    def test_observer_of_the_application(self) -> None:
        """Put into twistd's application, the service brings its observer along."""
        application = Application("x")
        service = LoggedService(Service(), {"logfile": "-", "nodaemon": True}, "json", "info")
        service.setServiceParent(application)
        self.assertIsNotNone(application.getComponent(ILogObserver, None))

    def test_debug_lines_are_wanted(self) -> None:
        """What makes a debug line for each request knows whether the log has these."""
        for level, wanted in (("debug", True), ("info", False)):
            with case(level=level):
                service = LoggedService(Service(), {"logfile": "-", "nodaemon": True}, "text", level)
                service.setServiceParent(Application("a"))
                self.assertIs(debug_lines.wanted, wanted)

    def test_control_characters(self) -> None:
        """What a sender wrote neither ends a line nor reaches the terminal as a command; the JSON has it whole."""
        name = "m1\n2024-01-01 [fake] all is well\x1b[2J\x9b1m\ud83d"
        stream = io.StringIO()
        observer = make_observer(stream, "text", "info")
        Logger(observer=observer).info("Message {name} is parked", name=name)
        try:
            raise ValueError(name)
        except ValueError:
            Logger(observer=observer).failure("It failed on {name}", name=name)
        lines = stream.getvalue().splitlines()
        self.assertIn(r"Message m1\n2024-01-01 [fake] all is well\x1b[2J\x9b1m\ud83d is parked", lines[0])
        self.assertIn(r"It failed on m1\n2024", lines[1])
        for line in lines[2:]:
            with case(line=line):
                self.assertTrue(line.startswith("\t"))
        self.assertTrue(all(c.isprintable() or c in "\n\t" for c in stream.getvalue()))
        stream = io.StringIO()
        Logger(observer=make_observer(stream, "json", "info")).info("Message {name} is parked", name=name)
        self.assertEqual(json.loads(stream.getvalue())["name"], name)

    def test_older_messages(self) -> None:
        """The lines of a message of Twisted's older logging stay lines, each but the first with a tab."""
        stream = io.StringIO()
        make_observer(stream, "text", "info")(
            {"log_namespace": "log_legacy", "log_level": LogLevel.info, "log_format": "{log_text}", "log_text": "a\nb"}
        )
        self.assertTrue(stream.getvalue().endswith("a\n\tb\n"), stream.getvalue())

    def test_syslog(self) -> None:
        """With twistd's --syslog the lines go there, and addresses stay out of them there too."""
        lines: list[tuple[str, Optional[str]]] = []

        class Syslog:
            def __init__(self, prefix: str) -> None:
                self._prefix = prefix

            def emit(self, event: Any) -> None:
                lines.append((self._prefix, textFromEventDict(event)))

        self.patch(syslog, "SyslogObserver", Syslog)
        log = Logger("some.module", observer=observer_for({"syslog": True, "prefix": "bridge"}, "text", "info"))
        log.info("message {message_id} is held", message_id="m1")
        log.debug("to {address}", address="+26612345678")
        self.assertEqual(lines, [("bridge", "message m1 is held")])

    def test_twistd_log(self) -> None:
        """As a daemon without a name for the log, it goes to twistd.log, as twistd's own does."""
        folder = Path(self.mktemp())
        folder.mkdir()
        here = Path.cwd()
        os.chdir(folder)
        self.addCleanup(os.chdir, here)
        observer = observer_for({"logfile": None, "nodaemon": False}, "json", "info")
        Logger("some.module", observer=observer).info("hello")
        self.assertEqual(json.loads(Path("twistd.log").read_text())["message"], "hello")

    def test_logfile(self) -> None:
        """With twistd's --logfile the log goes there."""
        path = self.mktemp()
        observer = observer_for({"logfile": path}, "text", "info")
        Logger("some.module", observer=observer).info("hello")
        with open(path) as file:
            self.assertIn("hello", file.read())


class ConnectorTests(SynchronousTestCase):
    """What a channel logs names its connector."""

    def event(self, **fields: Any) -> dict[str, Any]:
        return {
            "log_time": 0.0,
            "log_level": LogLevel.info,
            "log_namespace": "vumi_turn.some",
            "log_format": "A line",
            **fields,
        }

    def test_text(self) -> None:
        """In text it stands before the message, also for a failure's line; a queue's name says it too."""
        try:
            raise RuntimeError
        except RuntimeError:
            failure = Failure()
        for fields in ({"connector": "ussd"}, {"queue": "ussd.inbound"}, {"connector": "ussd", "log_failure": failure}):
            line = text_line(self.event(**fields))
            assert line is not None
            self.assertTrue(line.splitlines()[0].endswith("[vumi_turn.some#info] ussd: A line"), line)
        self.assertTrue(str(text_line(self.event())).endswith("] A line\n"))

    def test_json(self) -> None:
        """In JSON it is a field of its own, and the message stays as it is."""
        for fields in ({"connector": "ussd"}, {"queue": "ussd.inbound"}):
            line = json.loads(json_line(self.event(**fields)))
            self.assertEqual((line["connector"], line["message"]), ("ussd", "A line"))
        self.assertNotIn("connector", json.loads(json_line(self.event())))
