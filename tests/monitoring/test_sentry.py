"""What Sentry is told of logged errors, and what it is not."""

from __future__ import annotations

import ast
import builtins
import json
from pathlib import Path
from typing import Any, Callable
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import Logger, globalLogPublisher
from twisted.python import log as legacy_log
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import vumi_turn
from tests.cases import case
from vumi_turn.monitoring.sentry import ABOUT_SERVERS, LEFT_OUT, PERIOD, REPORTS, SentryMissing, install

try:
    from sentry_sdk.transport import Transport
except ImportError:
    Transport = None

DSN = "https://marker-key@sentry.example/42"
ID = "0123456789abcdef0123456789abcdef"
CONTENT = "marker-content"
PERSON = "+26612345678"
OURS = Logger("vumi_turn.somewhere")


class Stopping(Clock):
    """A clock that is stopped as a reactor is."""

    def __init__(self) -> None:
        super().__init__()
        self.triggers: list[tuple[str, str, Callable[..., Any], tuple[Any, ...]]] = []

    def addSystemEventTrigger(
        self, phase: str, event: str, call: Callable[..., Any], *arguments: Any
    ) -> tuple[Any, ...]:
        self.triggers.append((phase, event, call, arguments))
        return self.triggers[-1]

    def removeSystemEventTrigger(self, trigger: Any) -> None:
        self.triggers.remove(trigger)


class SentryCase(SynchronousTestCase):
    """Sentry with a transport that keeps what it is given."""

    def setUp(self) -> None:
        if Transport is None:
            raise SkipTest("needs sentry-sdk: pip install '.[sentry]'")
        reports = self.reports = []  # type: ignore[var-annotated]
        flushes = self.flushes = []  # type: ignore[var-annotated]

        class Kept(Transport):
            def capture_envelope(self, envelope: Any) -> None:
                reports.append(envelope.serialize())

            def flush(self, timeout: float, callback: Any = None) -> None:
                flushes.append(timeout)

        self.reactor = Stopping()
        uninstall = install(DSN, server_name="production", worker="some.Worker", reactor=self.reactor, transport=Kept)
        self.addCleanup(uninstall)

    def report(self) -> Any:
        """The one report; nothing of it may be a marker."""
        (envelope,) = self.reports
        self.assert_clean(envelope)
        header, item, payload = envelope.split(b"\n")[:3]
        self.assertEqual(json.loads(item)["type"], "event")
        return json.loads(payload)

    def assert_clean(self, envelope: bytes) -> None:
        # The key of the DSN is in the envelope's header, where Sentry wants it.
        found = envelope.split(b"\n", 1)[1].decode("utf-8")
        for marker in ("marker", PERSON.lstrip("+")):
            with case(marker=marker):
                self.assertNotIn(marker, found)


class LineTests(SentryCase):
    """Log lines."""

    def test_error(self) -> None:
        """An error is reported with its words and the fields that are harmless, and from where."""
        OURS.error("Sending {message_id} from {queue} failed ({why})", message_id=ID, queue="c.inbound", why=CONTENT)
        report = self.report()
        self.assertEqual((report["level"], report["logger"]), ("error", "vumi_turn.somewhere"))
        self.assertEqual(
            report["logentry"],
            {
                "message": "Sending {message_id} from {queue} failed ({why})",
                "formatted": f"Sending {ID} from c.inbound failed ({LEFT_OUT})",
            },
        )
        self.assertEqual(report["extra"], {"message_id": ID, "queue": "c.inbound"})
        self.assertEqual(
            (report["server_name"], report["tags"]), ("production", {"worker": "some.Worker", "connector": "c"})
        )
        self.assertEqual(report["release"], f"vumi_turn@{vumi_turn.__version__}")

    def test_parts(self) -> None:
        """A report has these parts and no other: no command line, packages, breadcrumbs, locals or requests."""
        OURS.error("That failed")
        parts = set(self.report())
        needed = {"level", "logger", "logentry", "extra", "tags", "server_name", "release", "event_id", "timestamp"}
        self.assertEqual(needed - parts, set())
        self.assertEqual(parts - needed - {"environment", "platform", "sdk", "contexts"}, set())
        self.assertEqual(set(self.report().get("contexts", {})) - {"trace"}, set())

    def test_critical(self) -> None:
        """What is critical is fatal for Sentry."""
        OURS.critical("It cannot start")
        self.assertEqual(self.report()["level"], "fatal")

    def test_lower_levels(self) -> None:
        """Warnings and less are not reported, with an exception neither."""
        for write in (OURS.debug, OURS.info, OURS.warn):
            write("odd", log_failure=Failure(ValueError("odd")))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 3)
        self.assertEqual(self.reports, [])

    def test_printed(self) -> None:
        """What is printed is logged by twistd as an error, and is none."""
        Logger("stderr").error("{log_io}", log_io=CONTENT)
        self.assertEqual(self.reports, [])

    def test_id_that_is_none(self) -> None:
        """An id that does not look like one of ours may be anything: an address."""
        OURS.error("Sending {message_id} failed", message_id=PERSON)
        self.assertEqual(self.report()["logentry"]["formatted"], f"Sending {LEFT_OUT} failed")

    def test_line_about_a_server(self) -> None:
        """What is wrong with RabbitMQ is told; a login and a number that may be a person's are not."""
        Logger("vumi_turn.broker.amqp.broker").error(
            "RabbitMQ at {address}: {reason}",
            address="10.0.0.1:5672",
            reason=f"amqp://vumi:marker-password@host/ was refused, {PERSON}",
        )
        self.assertEqual(
            self.report()["logentry"]["formatted"],
            f"RabbitMQ at 10.0.0.1:5672: amqp://host/ was refused, {LEFT_OUT}",
        )

    def test_modules_about_servers(self) -> None:
        """Each module whose fields are told is there, and logs these fields: what has moved keeps its words."""
        for module, fields in ABOUT_SERVERS.items():
            with case(module=module):
                place = Path(vumi_turn.__file__).parent.joinpath(*module.split(".")[1:])
                files = list(place.glob("*.py")) or [place.with_suffix(".py")]
                logged = "".join(file.read_text() for file in files)
                for field in fields:
                    self.assertIn(f"{field}=", logged)

    def test_other_fields(self) -> None:
        """The same field of a module that speaks of people is not told."""
        OURS.error("{reason}", reason=CONTENT)
        self.assertEqual(self.report()["logentry"]["formatted"], LEFT_OUT)

    def test_field_of_a_field(self) -> None:
        """A line that looks into its fields does not give them away."""
        OURS.error("{parts.said} and {call()}", parts=mock.Mock(said=CONTENT), call=lambda: CONTENT)
        self.assertEqual(self.report()["logentry"]["message"], "{parts.said} and {call()}")

    def test_words_of_others(self) -> None:
        """The words of a line that is not ours may be anything; an error_id is told."""
        Logger("company.middleware").error(f"{CONTENT} for {PERSON} {{error_id}}", error_id=ID, queue=CONTENT)
        report = self.report()
        self.assertEqual(report["logger"], "company.middleware")
        self.assertIn("company.middleware", report["logentry"]["message"])
        self.assertEqual(report["extra"], {"error_id": ID})

    def test_legacy_error(self) -> None:
        """The old ``log.err`` is reported too, without its words."""
        legacy_log.err(Failure(ValueError(CONTENT)), f"why: {CONTENT}")
        self.flushLoggedErrors(ValueError)
        self.assertEqual(self.report()["exception"]["values"][0]["type"], "ValueError")

    def test_our_words_are_fixed(self) -> None:
        """Each log line of ours has words that are fixed in the program, which is why they may be told."""
        for path in Path(vumi_turn.__file__).parent.rglob("*.py"):
            with case(path=path):
                for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                    with case(node=node):
                        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                            continue
                        owner = node.func.value
                        if not (isinstance(owner, ast.Name) and owner.id == "log") or node.func.attr == "emit":
                            continue
                        self.assertIsInstance(node.args[0], ast.Constant, f"{path}, line {node.lineno}")


class FailureTests(SentryCase):
    """Exceptions."""

    def log_failure(self, raises: Callable[[], Any]) -> Any:
        try:
            raises()
        except Exception:
            OURS.failure("Handling failed (error {error_id})", error_id=ID)
        self.flushLoggedErrors()
        return self.report()

    def test_failure(self) -> None:
        """An exception is told by its class and where it was raised, not by its text or any variable."""

        def inner(said: str) -> None:
            secret = f"{said} marker-secret"
            raise ValueError(secret)

        report = self.log_failure(lambda: inner(CONTENT))
        (value,) = report["exception"]["values"]
        self.assertEqual((value["type"], value["module"]), ("ValueError", "builtins"))
        self.assertIn(LEFT_OUT, value["value"])
        frame = value["stacktrace"]["frames"][-1]
        self.assertEqual((frame["function"], frame["filename"]), ("inner", "tests/monitoring/test_sentry.py"))
        self.assertGreater(frame["lineno"], 0)
        self.assertNotIn("vars", frame)
        self.assertEqual(report["extra"], {"error_id": ID})

    def test_causes(self) -> None:
        """What caused an exception is told before it, without its text too."""

        def outer() -> None:
            try:
                json.loads(f"{CONTENT} {PERSON}")
            except ValueError as error:
                raise KeyError(CONTENT) from error

        values = self.log_failure(outer)["exception"]["values"]
        self.assertEqual([value["type"] for value in values], ["JSONDecodeError", "KeyError"])
        self.assertIn("outer", [frame["function"] for frame in values[0]["stacktrace"]["frames"]])

    def test_endless(self) -> None:
        """A long story is cut: the innermost calls and the last causes are told."""

        def deep(level: int) -> None:
            if level == 0:
                raise ValueError(CONTENT)
            deep(level - 1)

        def caused(level: int) -> None:
            try:
                deep(200) if level == 0 else caused(level - 1)
            except ValueError as error:
                raise ValueError(CONTENT) from error

        values = self.log_failure(lambda: caused(30))["exception"]["values"]
        self.assertEqual(len(values), 6)
        for value in values:
            with case(value=value):
                self.assertLessEqual(len(value["stacktrace"]["frames"]), 50)


class AmountTests(SentryCase):
    """How much is told, and when."""

    def test_storm(self) -> None:
        """A minute has so many reports; the next one says how many were left out."""
        for _ in range(REPORTS + 7):
            OURS.error("again")
        self.assertEqual(len(self.reports), REPORTS)
        self.reports.clear()
        self.reactor.advance(PERIOD)
        OURS.error("again")
        self.assertEqual(self.report()["extra"], {"reports_left_out": 7})

    def test_sent_at_the_end(self) -> None:
        """When the reactor has stopped, what waits is sent, for up to two seconds."""
        ((phase, event, call, arguments),) = self.reactor.triggers
        self.assertEqual((phase, event, self.flushes), ("after", "shutdown", []))
        call(*arguments)
        self.assertEqual(self.flushes, [2.0])


class InstallTests(SynchronousTestCase):
    """What cannot be installed."""

    def test_wrong_dsn(self) -> None:
        """A wrong DSN is an error that says what one is, does not quote it and leaves nothing behind."""
        if Transport is None:
            raise SkipTest("needs sentry-sdk: pip install '.[sentry]'")
        before = list(globalLogPublisher._observers)
        for dsn in (
            "marker", "ftp://marker@host/1", "https://host/1", "https://marker@/1", "https://marker@host/x",
            "https://marker@host:port/1", "https://marker@[host/1",
        ):  # fmt: skip
            with case(dsn=dsn):
                reactor = Stopping()
                with self.assertRaises(ValueError) as caught:
                    install(dsn, server_name="s", worker="w", reactor=reactor)
                self.assertIn("must be a Sentry DSN", str(caught.exception))
                self.assertNotIn("marker", str(caught.exception))
                self.assertEqual(reactor.triggers, [])
        self.assertEqual(globalLogPublisher._observers, before)

    def test_missing(self) -> None:
        """Without the package the error says how to get it."""
        real = builtins.__import__

        def without(name: str, *arguments: Any, **more: Any) -> Any:
            if name.startswith("sentry_sdk"):
                raise ImportError(name)
            return real(name, *arguments, **more)

        with mock.patch.object(builtins, "__import__", without):
            with self.assertRaises(SentryMissing) as caught:
                install(DSN, server_name="s", worker="w", reactor=Stopping())
        self.assertIn("pip install 'vumi_turn[sentry]'", str(caught.exception))
