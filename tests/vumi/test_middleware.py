from __future__ import annotations

import sys
from typing import Any
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.fakes import event, user_message
from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.timing.timeouts import Timeouts
from vumi_turn.vumi.messages import FailureMessage
from vumi_turn.vumi.middleware import MIDDLEWARE_TIMEOUT, BaseMiddleware, MiddlewareError, MiddlewareStack, apply
from vumi_turn.vumi.middlewares import (
    LoggingMiddleware,
    UnidecodeMiddleware,
    create_middlewares,
    middleware_class,
    middleware_names,
)


class Trace(BaseMiddleware):
    """Writes its name at the end of the content."""

    def handle_inbound(self, message: Any, connector_name: str) -> Any:
        return message.replace(content=f"{message.content} {self.name}")

    handle_outbound = handle_inbound


class PlainName(Trace):
    """A class that a dotted name can find."""


def trace(name: str, consume: int = 0, publish: int = 0) -> Trace:
    return Trace(name, {"consume_priority": consume, "publish_priority": publish}, None)


class ApplyCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.waits = Timeouts(self.clock)

    def through(self, direction: str, kind: str, message: Any, *middlewares: BaseMiddleware) -> Deferred[Any]:
        steps = MiddlewareStack(middlewares).steps(direction, kind)
        return ensureDeferred(apply(steps, message, "c", self.waits, self.clock))

    def one(self, result: Any) -> Deferred[Any]:
        """Leads a message through a middleware that gives back ``result``."""

        class One(BaseMiddleware):
            def handle_inbound(self, message: Any, connector_name: str) -> Any:
                return result

        return self.through("consume", "inbound", user_message("m1", content="x"), One("mine", {}, None))


class OrderTests(ApplyCase):
    def test_consume_order(self) -> None:
        """Consumed messages pass in the order of the list."""
        done = self.through("consume", "inbound", user_message(content="x"), trace("a"), trace("b"))
        self.assertEqual(self.successResultOf(done).content, "x a b")

    def test_publish_order(self) -> None:
        """Published messages pass in the reverse order of the list."""
        done = self.through("publish", "outbound", user_message(content="x"), trace("a"), trace("b"))
        self.assertEqual(self.successResultOf(done).content, "x b a")

    def test_priorities(self) -> None:
        """Lower priorities come first, of their own for each direction; equal ones keep the order."""
        those = (trace("a", consume=2, publish=-1), trace("b", publish=3), trace("c"))
        consumed = self.through("consume", "inbound", user_message(content="x"), *those)
        published = self.through("publish", "inbound", user_message(content="x"), *those)
        self.assertEqual(self.successResultOf(consumed).content, "x b c a")
        self.assertEqual(self.successResultOf(published).content, "x a c b")

    def test_only_those_that_look(self) -> None:
        """A middleware without a method of its own for a kind of message is not in its way."""
        stack = MiddlewareStack([trace("a")])
        self.assertEqual(len(stack.steps("consume", "inbound")), 1)
        self.assertEqual(stack.steps("consume", "event"), ())
        self.assertEqual(stack.steps("publish", "failure"), ())

    def test_every_method_name(self) -> None:
        """Each kind and direction calls its own method, which by default calls the older one."""
        called: list[str] = []

        class Older(BaseMiddleware):
            def handle_inbound(self, message: Any, connector_name: str) -> Any:
                called.append(f"inbound {connector_name}")
                return message

            def handle_outbound(self, message: Any, connector_name: str) -> Any:
                called.append("outbound")
                return message

            def handle_event(self, event: Any, connector_name: str) -> Any:
                called.append("event")
                return event

            def handle_failure(self, failure: Any, connector_name: str) -> Any:
                called.append("failure")
                return failure

        class Newer(Older):
            def handle_publish_outbound(self, message: Any, connector_name: str) -> Any:
                called.append("publish_outbound")
                return super().handle_publish_outbound(message, connector_name)

        failure = FailureMessage(message="x", failure_code="permanent", reason="A reason.")
        messages = {
            "inbound": user_message(),
            "outbound": user_message(),
            "event": event(),
            "failure": failure,
        }
        for direction in ("consume", "publish"):
            with case(direction=direction):
                for kind, message in messages.items():
                    with case(kind=kind, message=message):
                        done = self.through(direction, kind, message, Newer("n", {}, None))
                        self.assertIs(self.successResultOf(done), message)
        once = ["inbound c", "outbound", "event", "failure"]
        self.assertEqual(called, [*once, "inbound c", "publish_outbound", "outbound", "event", "failure"])


class ResultTests(ApplyCase):
    def test_value_deferred_coroutine(self) -> None:
        """A method may give back a message, a Deferred of one, or a coroutine."""
        other = user_message("m2")

        async def coroutine() -> Any:
            return other

        for result in (other, succeed(other), coroutine()):
            with case(result=result):
                self.assertIs(self.successResultOf(self.one(result)), other)

    def test_none_is_named(self) -> None:
        """A middleware that gives back None is an error that names its class, method and name."""
        for result in (None, succeed(None)):
            with case(result=result):
                failure = self.failureResultOf(self.one(result), MiddlewareError)
                text = "One.handle_consume_inbound (mine) must return a TransportUserMessage, not None"
                self.assertEqual(failure.getErrorMessage(), text)

    def test_other_types_are_named(self) -> None:
        """A middleware that gives back something else than a message is an error that says what it was."""
        for result, kind in (({}, "a dict"), (event(), "a TransportEvent"), (True, "a bool")):
            with case(result=result, kind=kind):
                failure = self.failureResultOf(self.one(result), MiddlewareError)
                self.assertIn(kind, failure.getErrorMessage())

    def test_bound_for_all_together(self) -> None:
        """The bound is for all middlewares of a message together; the slow one is cancelled and named."""
        kept: list[Deferred[Any]] = []

        class Slow(BaseMiddleware):
            def handle_inbound(self, message: Any, connector_name: str) -> Any:
                kept.append(Deferred())
                return kept[-1].addCallback(lambda _: message)

        slow = (Slow("first", {}, None), Slow("second", {}, None))
        done = self.through("consume", "inbound", user_message(), *slow)
        self.clock.advance(MIDDLEWARE_TIMEOUT - 1)
        kept[0].callback(None)
        self.clock.advance(0.9)
        self.assertNoResult(done)
        self.clock.advance(0.2)
        self.assertIn("(second)", self.failureResultOf(done, MiddlewareError).getErrorMessage())
        self.assertTrue(kept[1].called)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_deaf_to_cancellation(self) -> None:
        """The bound holds for a middleware too that goes on after it was cancelled."""
        never: Deferred[None] = Deferred()
        after: Deferred[None] = Deferred()

        async def deaf() -> Any:
            try:
                await never
            except CancelledError:
                await after

        done = self.one(deaf())
        self.clock.advance(MIDDLEWARE_TIMEOUT)
        self.failureResultOf(done, MiddlewareError)
        after.errback(ZeroDivisionError())
        self.assertEqual(self.flushLoggedErrors(), [])


class ConfigurationTests(SynchronousTestCase):
    def test_vumi2(self) -> None:
        """An item as vumi2 writes it is refused with what it is called here."""
        for item in ({"class_path": "a.B", "enabled": True}, {"a": {"class_path": "a.B"}}):
            with case(item=item):
                (error,) = self.errors({"middleware": [item]})
                self.assertIn("what vumi2 calls class_path is the class here", error)

    def errors(self, config: dict[str, Any]) -> list[str]:
        return list(self.assertRaises(ConfigErrors, create_middlewares, config, None).errors)

    def test_legacy_form(self) -> None:
        """Items are a name with a class, or with a class and priorities; options stand under the name."""
        config = {
            "middleware": [
                {"log": "vumi.middleware.logging.LoggingMiddleware"},
                {"mine": {"class": f"{__name__}.PlainName", "consume_priority": "3", "publish_priority": -2}},
            ],
            "log": {"log_level": "debug"},
        }
        worker = object()
        log, mine = create_middlewares(config, worker)
        self.assertIsInstance(log, LoggingMiddleware)
        self.assertEqual((log.name, log.config.log_level, log.worker), ("log", "debug", worker))
        self.assertEqual((log.consume_priority, log.publish_priority), (0, 0))
        self.assertEqual(type(mine).__name__, "PlainName")
        self.assertEqual((mine.name, mine.consume_priority, mine.publish_priority), ("mine", 3, -2))
        self.assertEqual(config["log"], {"log_level": "debug"})

    def test_none(self) -> None:
        """A configuration without middlewares has none."""
        self.assertEqual(create_middlewares({}, None), [])
        self.assertEqual(create_middlewares({"middleware": None}, None), [])

    def test_names_of_ours(self) -> None:
        """Short names, and legacy vumi's and vumi2's dotted names, mean our middlewares."""
        for name in (
            "LoggingMiddleware",
            "vumi.middleware.LoggingMiddleware",
            "vumi.middleware.logging.LoggingMiddleware",
            "vumi2.middlewares.LoggingMiddleware",
            "vumi_turn.vumi.middlewares.LoggingMiddleware",
        ):
            with case(name=name):
                self.assertIs(middleware_class(name), LoggingMiddleware)
        self.assertIs(middleware_class("vumi_unidecode.UnidecodeMiddleware"), UnidecodeMiddleware)

    def test_all_errors_at_once(self) -> None:
        """Everything that is wrong is reported together, each with the name of its middleware."""
        config = {
            "middleware": [
                "LoggingMiddleware",
                {"a": "NoSuch"},
                {"b": "vumi.middleware.TaggingMiddleware"},
                {"c": 7},
                {"d": {"consume_priority": 1}},
                {"e": {"class": "LoggingMiddleware", "publish_priority": "high"}},
                {"f": "LoggingMiddleware"},
                {"g": "LoggingMiddleware"},
                {"h": "vumi_turn.vumi.middlewares.SHORT_NAMES"},
            ],
            "f": {"log_level": "loud"},
            "g": ["log_level"],
        }
        errors = self.errors(config)
        starts = ["item 1", "a:", "b:", "c:", "d:", "e:", "f:", "g:", "h:"]
        self.assertEqual(len(errors), len(starts))
        for error, start in zip(errors, starts, strict=True):
            with case(error=error, start=start):
                self.assertIn(start, error)
                self.assertTrue(error.startswith("middleware"))
        self.assertIn("'NoSuch' is neither a dotted name nor one of BaseMiddleware, LoggingMiddleware", errors[1])
        self.assertIn("log_level must be one of debug, info, warning, error, critical, not 'loud'", errors[6])

    def test_not_a_list(self) -> None:
        """A middleware option that is no list is named."""
        self.assertEqual(self.errors({"middleware": {"log": "x"}}), ["middleware must be a list, not dict"])

    def test_names(self) -> None:
        """The names of middlewares are keys that the configuration may have, however wrong it is."""
        self.assertEqual(middleware_names({"middleware": [{"a": "x"}, {"b": {}}, "c", 7]}), {"a", "b"})
        self.assertEqual(middleware_names({"middleware": "a"}), set())

    def test_unidecode_missing(self) -> None:
        """Without its package the unidecode middleware says how to get it."""
        with mock.patch.dict(sys.modules, {"unidecode": None}):
            [error] = self.errors({"middleware": [{"ascii": "UnidecodeMiddleware"}]})
        self.assertIn("middleware ascii: ", error)
        self.assertIn("vumi_turn[unidecode]", error)


class OurMiddlewaresTests(ApplyCase):
    def logged(self, direction: str, kind: str, message: Any, **options: Any) -> list[tuple[Any, str]]:
        events: list[Any] = []
        observe: Any = events.append
        globalLogPublisher.addObserver(observe)
        try:
            done = self.through(direction, kind, message, LoggingMiddleware("log", options, None))
            self.assertIs(self.successResultOf(done), message)
        finally:
            globalLogPublisher.removeObserver(observe)
        ours = [one for one in events if one.get("log_namespace", "").endswith("LoggingMiddleware")]
        return [(one["log_level"], formatEvent(one)) for one in ours]

    def test_logging(self) -> None:
        """A message's id is logged; its content and addresses only with the level debug."""
        message = user_message("m1", content="secret words")
        lines = self.logged("consume", "inbound", message)
        self.assertEqual(lines, [(LogLevel.info, "Consumed inbound message m1 on c")])
        lines = self.logged("consume", "inbound", message, log_level="debug")
        self.assertEqual([level for level, _ in lines], [LogLevel.debug] * 2)
        self.assertIn("secret words", lines[1][1])

    def test_logging_of_others(self) -> None:
        """Events are logged with the message's id, failures with their code at error, others as they go."""
        self.assertEqual(self.logged("consume", "event", event("o1"))[0][1], "Consumed ack of message o1 on c")
        published = self.logged("publish", "outbound", user_message("o2"), log_level="warning")
        self.assertEqual(published[0], (LogLevel.warn, "Publishing outbound message o2 on c"))
        failure = FailureMessage(message="x", failure_code="permanent", reason="A reason.")
        self.assertEqual(self.logged("publish", "failure", failure)[0][0], LogLevel.error)

    def test_unidecode(self) -> None:
        """Content is written in ASCII both ways; what is ASCII, or nothing, stays the same message."""
        ascii_only = UnidecodeMiddleware("ascii", {}, None)
        for direction, kind in (("consume", "inbound"), ("publish", "outbound")):
            with case(direction=direction, kind=kind):
                message = user_message("m1", content="\u017dlu\u0165ou\u010dk\u00fd")
                done = self.successResultOf(self.through(direction, kind, message, ascii_only))
                self.assertEqual((done.content, done.message_id), ("Zlutoucky", "m1"))
                for content in ("plain", None):
                    with case(content=content):
                        message = user_message(content=content)
                        self.assertIs(self.successResultOf(self.through(direction, kind, message, ascii_only)), message)
