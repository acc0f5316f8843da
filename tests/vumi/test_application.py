from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import FakeBroker, event, user_message
from vumi_turn import __version__
from vumi_turn.broker.interface import BrokerState, Nacked, Outcome
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.vumi.application import (
    ApplicationConfig,
    ApplicationWorker,
    BaseWorker,
    DuplicateConnectorError,
    InvalidEndpoint,
)
from vumi_turn.vumi.examples import EchoWorker
from vumi_turn.vumi.failed_messages import REQUEUE_DELAY
from vumi_turn.vumi.lifecycle import SHUTDOWN_TIMEOUT, STOP_MARGIN
from vumi_turn.vumi.messages import TransportUserMessage
from vumi_turn.vumi.middleware import MIDDLEWARE_TIMEOUT, BaseMiddleware
from vumi_turn.vumi.worker import _shown


class Recorder(ApplicationWorker):
    """Writes down what is called, and does what the test says."""

    broker: Any
    result: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.calls: list[Any] = []
        self.setup_result: Any = None
        self.teardown_result: Any = None
        super().__init__(*args, **kwargs)

    def setup_application(self) -> Any:
        self.calls.append(("setup", self.connectors["c"].paused))
        return self.setup_result

    def teardown_application(self) -> Any:
        self.calls.append(("teardown", self.connectors["c"].paused, list(self.broker.calls)))
        return self.teardown_result

    def _record(self, name: str, message: Any) -> Any:
        self.calls.append((name, message.get("message_id") or message["user_message_id"]))
        return self.result

    def consume_user_message(self, message: Any) -> Any:
        return self._record("user_message", message)

    def close_session(self, message: Any) -> Any:
        return self._record("close", message)

    def consume_ack(self, event: Any) -> Any:
        return self._record("ack", event)

    def consume_nack(self, event: Any) -> Any:
        return self._record("nack", event)

    def consume_delivery_report(self, event: Any) -> Any:
        return self._record("report", event)


class Observed(BaseMiddleware):
    """Tells its class what is done with it."""

    seen: list[str] = []
    setup_result: Any = None

    def setup_middleware(self) -> Any:
        self.seen.append(f"setup {self.name}")
        return self.setup_result

    def teardown_middleware(self) -> Any:
        self.seen.append(f"teardown {self.name}")

    def handle_outbound(self, message: Any, connector_name: str) -> Any:
        return message.replace(content=f"{message.content} {self.name}")


OBSERVED = f"{__name__}.Observed"


class WorkerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.broker = FakeBroker()
        self.fatal: list[None] = []
        Observed.seen = []
        Observed.setup_result = None

    def make(self, cls: Any = Recorder, reactor: Optional[Any] = None, **config: Any) -> Any:
        return cls(
            {"connector_name": "c", **config},
            broker=self.broker,
            reactor=reactor or self.clock,
            fatal=lambda: self.fatal.append(None),
        )

    def start(self, cls: Any = Recorder, **config: Any) -> Any:
        worker = self.make(cls, **config)
        worker.startService()
        return worker

    def deliver(self, queue: str, message: Any) -> Deferred[Outcome]:
        return self.broker.deliver(queue, message.to_json())[1]

    def outbound(self, queue: str = "c.outbound") -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.broker.publishers[queue].bodies]

    def lines(self, level: Any) -> list[str]:
        """What is logged at a level from now on."""
        lines: list[str] = []

        def observe(event: Any) -> None:
            if event["log_level"] is level and event.get("log_namespace", "").startswith("vumi_turn"):
                lines.append(formatEvent(event))

        observer: Any = observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return lines


class StartTests(WorkerCase):
    def test_order(self) -> None:
        """The broker is started, the application set up on a paused connector, then messages are taken."""
        self.broker.state = BrokerState.CONNECTING
        worker = self.start(middleware=[{"a": OBSERVED}, {"b": OBSERVED}], amqp_prefetch_count=3)
        self.assertEqual(self.broker.calls, ["start"])
        self.assertEqual(worker.calls, [("setup", True)])
        self.assertEqual(Observed.seen, ["setup a", "setup b"])
        self.assertFalse(worker.connectors["c"].paused)
        self.assertEqual({one.prefetch for one in self.broker.consumers.values()}, {3})
        self.assertEqual(self.fatal, [])

    def test_nothing_before_the_set_up(self) -> None:
        """Messages are taken only when a set-up that takes its time is done."""
        worker = self.make()
        worker.setup_result = Deferred()
        worker.startService()
        self.assertTrue(worker.connectors["c"].paused)
        worker.setup_result.callback(None)
        self.assertFalse(worker.connectors["c"].paused)

    def test_application_that_unpauses_itself(self) -> None:
        """With UNPAUSE_CONNECTORS False it is the application that begins."""

        class Later(Recorder):
            UNPAUSE_CONNECTORS = False

        worker = self.start(Later)
        self.assertTrue(worker.connectors["c"].paused)
        self.successResultOf(worker.unpause_connectors())
        self.assertFalse(worker.connectors["c"].paused)
        self.successResultOf(worker.pause_connectors())
        self.assertTrue(worker.connectors["c"].paused)

    def test_failing_set_up_is_fatal(self) -> None:
        """An exception in the set-up is logged once with an id, and stops the process."""
        critical = self.lines(LogLevel.critical)
        worker = self.make()
        worker.setup_result = fail(ZeroDivisionError("no"))
        worker.startService()
        self.assertEqual(len(self.fatal), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        [line] = critical
        self.assertRegex(line, r"Recorder cannot start \(error [0-9a-f]{32}\)")
        self.assertTrue(worker.connectors["c"].paused)

    def test_what_a_person_can_mend_has_no_traceback(self) -> None:
        """A wrong configuration or a taken address is one line that says what, and stops the process."""
        critical = self.lines(LogLevel.critical)
        errors = (
            ConfigErrors(["a is wrong", "b is wrong"]),
            CannotListenError("", 8080, OSError(98, "in use")),
        )
        for error in errors:
            worker = self.make()
            worker.setup_result = fail(error)
            worker.startService()
        self.assertEqual(len(self.fatal), 2)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(critical[0], "Recorder cannot start: a is wrong; b is wrong")
        self.assertIn("8080", critical[1])

    def test_validate_config(self) -> None:
        """A worker's validate_config can stop the start."""

        class Choosy(Recorder):
            def validate_config(self) -> None:
                raise ConfigErrors(["x must be y"])

        worker = self.start(Choosy)
        self.assertEqual((worker.calls, len(self.fatal)), ([], 1))

    def test_middleware_that_never_gets_ready(self) -> None:
        """A middleware's set-up that takes too long is fatal and named."""
        Observed.setup_result = Deferred()
        worker = self.start(middleware=[{"slow": OBSERVED}])
        self.assertEqual(worker.calls, [])
        self.clock.advance(MIDDLEWARE_TIMEOUT)
        self.assertEqual(len(self.fatal), 1)
        [failure] = self.flushLoggedErrors()
        self.assertIn("the middleware slow took longer than 60 s", failure.getErrorMessage())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_wrong_configuration(self) -> None:
        """What is wrong with the options and with the middlewares is raised together."""
        error = self.assertRaises(
            ConfigErrors, Recorder, {"middleware": [{"m": "NoSuch"}]}, broker=self.broker, reactor=self.clock
        )
        self.assertEqual(len(error.errors), 2)
        self.assertIn("connector_name is missing", error.errors[0])
        self.assertIn("NoSuch", error.errors[1])

    def test_options_of_nothing(self) -> None:
        """Options that are there without a value are as if they were not."""
        worker = self.start(send_to=None, middleware=None, worker_name=None)
        self.successResultOf(worker.send_to("+27820000009", "Hi"))
        self.assertEqual((self.fatal, worker.middlewares), ([], []))

    def test_middleware_that_is_no_list(self) -> None:
        """A middleware option that is no list is reported once."""
        error = self.assertRaises(ConfigErrors, self.make, middleware={"log": "x"})
        self.assertEqual(len(error.errors), 1)
        self.assertIn("middleware must be a list", error.errors[0])

    def test_base_worker(self) -> None:
        """A worker without hooks of its own starts and stops."""
        worker = self.start(BaseWorker)
        self.assertEqual((worker.connectors, self.fatal), ({}, []))
        self.assertIsNone(self.successResultOf(worker.stopService()))

    def test_legacy_names(self) -> None:
        """transport_name, get_config and CONFIG_CLASS are there as a vumi developer knows them."""
        worker = self.start()
        self.assertIs(worker.CONFIG_CLASS, ApplicationConfig)
        self.assertEqual(worker.transport_name, "c")
        config = self.successResultOf(Deferred.fromCoroutine(worker.get_config(user_message())))
        self.assertEqual(config.connector_name, "c")


class ConnectorsTests(WorkerCase):
    def test_another_connector(self) -> None:
        """A worker can set up more connectors, of both kinds, each name once."""
        worker = self.start()
        inbound = self.successResultOf(worker.setup_ri_connector("d"))
        outbound = self.successResultOf(worker.setup_ro_connector("t"))
        self.assertIs(worker.connectors["d"], inbound)
        self.assertIs(worker.connectors["t"], outbound)
        self.assertIn("d.inbound", self.broker.consumers)
        self.assertIn("t.outbound", self.broker.consumers)
        self.assertRaises(DuplicateConnectorError, worker.setup_ri_connector, "c")

    def test_without_middleware(self) -> None:
        """A connector that is set up without middleware sends past them."""
        worker = self.start(middleware=[{"a": OBSERVED}])
        plain = self.successResultOf(worker.setup_ri_connector("d", middleware=False))
        plain.publish_outbound(user_message("o1", content="x"))
        worker.connectors["c"].publish_outbound(user_message("o2", content="x"))
        self.assertEqual(self.outbound("d.outbound")[0]["content"], "x")
        self.assertEqual(self.outbound("c.outbound")[0]["content"], "x a")


class DispatchTests(WorkerCase):
    def test_messages_by_session(self) -> None:
        """Messages go to consume_user_message, closes to close_session, whatever the endpoint."""
        worker = self.start()
        for number, session_event in enumerate((None, "new", "resume", "close")):
            message = user_message(f"m{number}", session_event=session_event)
            self.assertIs(self.successResultOf(self.deliver("c.inbound", message)), Outcome.ACK)
        self.deliver("c.inbound", user_message("m4").with_endpoint("other"))
        names = [("user_message", f"m{n}") for n in range(3)]
        self.assertEqual(worker.calls[1:], [*names, ("close", "m3"), ("user_message", "m4")])

    def test_new_session_of_its_own(self) -> None:
        """An application may take new sessions apart."""

        class Sessions(Recorder):
            def new_session(self, message: Any) -> Any:
                return self._record("new", message)

        worker = self.start(Sessions)
        self.deliver("c.inbound", user_message("m1", session_event="new"))
        self.deliver("c.inbound", user_message("m2", session_event="resume"))
        self.assertEqual(worker.calls[1:], [("new", "m1"), ("user_message", "m2")])

    def test_events_by_type(self) -> None:
        """Each type of event goes to its own method."""
        worker = self.start()
        self.deliver("c.event", event("o1"))
        self.deliver("c.event", event("o2", event_type="nack", nack_reason="full"))
        self.deliver("c.event", event("o3", event_type="delivery_report", delivery_status="failed"))
        self.assertEqual(worker.calls[1:], [("ack", "o1"), ("nack", "o2"), ("report", "o3")])

    def test_outcome(self) -> None:
        """What a method gives back is what becomes of the delivery."""
        worker = self.start()
        worker.result = succeed(Outcome.REQUEUE)
        self.assertIs(self.successResultOf(self.deliver("c.inbound", user_message())), Outcome.REQUEUE)
        worker.result = Outcome.REQUEUE
        self.assertIs(self.successResultOf(self.deliver("c.event", event())), Outcome.REQUEUE)

    def test_failed_message_goes_back_later(self) -> None:
        """A message on which a method fails is logged with an id and requeued after a while."""
        critical = self.lines(LogLevel.critical)
        worker = self.start()
        worker.result = fail(ZeroDivisionError("no"))
        outcome = self.deliver("c.inbound", user_message("m1"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertRegex(critical[0], r"message from c.inbound failed; it goes back \(error [0-9a-f]{32}\)")
        self.clock.advance(0.9)
        self.assertNoResult(outcome)
        self.clock.advance(0.1)
        self.assertIs(self.successResultOf(outcome), Outcome.REQUEUE)

    def test_malformed_goes_back_later(self) -> None:
        """Where nothing is parked, what is not a message is logged with an id and requeued after a while."""
        errors = self.lines(LogLevel.error)
        self.start(max_failures=0)
        _, outcome = self.broker.deliver("c.event", b"[]")
        self.assertRegex(errors[0], r"c.event is not a vumi message \(.+\); it goes back \(error [0-9a-f]{32}\)")
        self.assertNoResult(outcome)
        self.clock.advance(REQUEUE_DELAY)
        self.assertIs(self.successResultOf(outcome), Outcome.REQUEUE)

    def test_overridden_failed_and_malformed(self) -> None:
        """A worker can decide itself what becomes of what failed; it sees the delivery and the message."""

        class Decides(Recorder):
            async def malformed(self, delivery: Any, error: Any) -> Outcome:
                self.calls.append(("malformed", delivery.body))
                return Outcome.ACK

            async def failed(self, delivery: Any, message: Any, failure: Any) -> Outcome:
                self.calls.append(("failed", message.message_id, failure.type, delivery.queue))
                return Outcome.ACK

        worker = self.start(Decides)
        self.assertIs(self.successResultOf(self.broker.deliver("c.inbound", b"{}")[1]), Outcome.ACK)
        worker.result = fail(KeyError("x"))
        self.assertIs(self.successResultOf(self.deliver("c.inbound", user_message("m1"))), Outcome.ACK)
        self.assertEqual(worker.calls[1], ("malformed", b"{}"))
        self.assertEqual(worker.calls[-1], ("failed", "m1", KeyError, "c.inbound"))


class SendingTests(WorkerCase):
    def test_reply(self) -> None:
        """A reply goes to the sender by the message's endpoint; it is given back when the broker has it."""
        self.broker.confirms = False
        worker = self.start()
        self.clock.advance(1628345678)
        original = user_message("m1", helper_metadata={"x": 1}).with_endpoint("ussd")
        done = worker.reply_to(original, "Pick one")
        self.assertNoResult(done)
        self.broker.publishers["c.outbound"].pending[0].callback(None)
        sent = self.successResultOf(done)
        [reply] = self.outbound()
        self.assertEqual(sent.to_dict(), reply)
        self.assertEqual((reply["to_addr"], reply["from_addr"]), ("+27820000001", "*120*1#"))
        self.assertEqual((reply["in_reply_to"], reply["content"]), ("m1", "Pick one"))
        self.assertEqual((reply["session_event"], reply["transport_name"]), (None, "ussd_transport"))
        self.assertEqual(reply["routing_metadata"]["endpoint_name"], "ussd")
        self.assertEqual(reply["timestamp"], "2021-08-07 14:14:38.000000")

    def test_reply_that_ends_the_session(self) -> None:
        """continue_session False closes; a session_event of one's own wins; a message_id can be given."""
        worker = self.start()
        worker.reply_to(user_message(), "Bye", continue_session=False)
        worker.reply_to(user_message(), "Go on", session_event="resume", message_id="o2")
        first, second = self.outbound()
        self.assertEqual((first["session_event"], second["session_event"]), ("close", "resume"))
        self.assertEqual(second["message_id"], "o2")

    def test_fields_of_a_reply(self) -> None:
        """A reply may have metadata and keys of its own, as in legacy vumi."""
        worker = self.start()
        original = user_message(helper_metadata={"x": 1})
        worker.reply_to(original, "Hi", helper_metadata={"y": 2}, to_addr_type="msisdn", campaign=7)
        worker.reply_to(original, "Hi")
        first, second = self.outbound()
        self.assertEqual((first["helper_metadata"], first["to_addr_type"], first["campaign"]), ({"y": 2}, "msisdn", 7))
        self.assertEqual((second["helper_metadata"], second["to_addr_type"]), ({"x": 1}, None))
        self.assertNotIn("campaign", second)

    def test_fields_that_a_reply_takes_from_its_original(self) -> None:
        """Where a reply goes to is the original's to say; another one is refused, and nothing is sent."""
        worker = self.start()
        for field in (
            "to_addr", "from_addr", "group", "in_reply_to", "provider", "transport_name", "transport_type",
            "transport_metadata",
        ):  # fmt: skip
            error = self.assertRaises(TypeError, worker.reply_to, user_message(), "Hi", **{field: "x"})
            self.assertIn(f"{field!r} may not be overridden", str(error))
        self.assertEqual(self.outbound(), [])

    def test_reply_to_group(self) -> None:
        """A reply to a group has no to_addr; without a group it is a plain reply."""
        worker = self.start()
        worker.reply_to_group(user_message(group="#chat"), "Hello all")
        worker.reply_to_group(user_message(), "Hello you")
        first, second = self.outbound()
        self.assertEqual((first["to_addr"], first["group"]), (None, "#chat"))
        self.assertEqual(second["to_addr"], "+27820000001")

    def test_send_to(self) -> None:
        """A new message has what send_to configures for its endpoint, under what the caller gives."""
        send_to: dict[str, Any] = {
            "default": {
                "from_addr": "8008",
                "transport_type": "sms",
                "transport_metadata": {"tag": "x"},
                "campaign": 7,
            },
            "other": {"transport_name": "elsewhere"},
        }

        class Anywhere(Recorder):
            ALLOWED_ENDPOINTS = None

        worker = self.start(Anywhere, send_to=send_to)
        sent = self.successResultOf(worker.send_to("+27820000009", "Hi"))
        worker.send_to("+27820000009", "Hi", endpoint="other", from_addr="9009")
        first, second = self.outbound()
        self.assertEqual(sent["message_id"], first["message_id"])
        self.assertEqual((first["to_addr"], first["content"], first["in_reply_to"]), ("+27820000009", "Hi", None))
        self.assertEqual((first["from_addr"], first["transport_name"]), ("8008", "c"))
        self.assertEqual((first["transport_type"], first["transport_metadata"]), ("sms", {"tag": "x"}))
        self.assertEqual((first["campaign"], first["routing_metadata"]["endpoint_name"]), (7, "default"))
        self.assertEqual((second["from_addr"], second["transport_name"]), ("9009", "elsewhere"))
        self.assertEqual(second["routing_metadata"]["endpoint_name"], "other")
        self.assertEqual(send_to["default"]["transport_metadata"], {"tag": "x"})

    def test_send_to_by_another_connector(self) -> None:
        """A connector named in send_to is the one that the message goes by."""

        class Two(Recorder):
            async def setup_application(self) -> None:
                await self.setup_ri_connector("d")

        worker = self.start(Two, send_to={"default": {"connector": "d"}})
        worker.send_to("+27820000009", "Hi")
        self.assertEqual(self.outbound("c.outbound"), [])
        self.assertEqual(self.outbound("d.outbound")[0]["content"], "Hi")
        self.assertNotIn("connector", self.outbound("d.outbound")[0])

    def test_wrong_send_to(self) -> None:
        """A send_to that can't work stops the start, all of it reported at once."""
        critical = self.lines(LogLevel.critical)
        self.start(send_to={"default": {"connector": "d"}, "sms": "8008"})
        self.assertEqual(len(self.fatal), 1)
        self.assertIn("send_to default: connector must be one of c, not 'd'", critical[0])
        self.assertIn("send_to sms must be a mapping of fields, not str", critical[0])

    def test_endpoints_that_are_not_allowed(self) -> None:
        """An endpoint that the application does not list is refused, and nothing is sent."""
        worker = self.start()
        error = self.assertRaises(InvalidEndpoint, worker.send_to, "+27820000009", "Hi", endpoint="sms")
        self.assertIn("'sms'", str(error))
        self.assertEqual(self.outbound(), [])

    def test_broker_refuses(self) -> None:
        """A reply that the broker does not take is the caller's to know."""
        self.broker.confirms = False
        worker = self.start()
        done = worker.reply_to(user_message(), "Hi")
        self.broker.publishers["c.outbound"].pending[0].errback(Nacked("no"))
        self.failureResultOf(done, Nacked)


class StopTests(WorkerCase):
    def test_order(self) -> None:
        """Stopping pauses, takes the application down, then middlewares in reverse, and the broker last."""
        worker = self.start(middleware=[{"a": OBSERVED}, {"b": OBSERVED}], worker_name="w")
        Observed.seen.clear()
        worker.teardown_result = Deferred()
        stopped = worker.stopService()
        self.assertEqual(worker.calls[-1], ("teardown", True, ["start"]))
        self.assertEqual(Observed.seen, [])
        self.assertTrue(worker.stopping)
        worker.teardown_result.callback(None)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(Observed.seen, ["teardown b", "teardown a"])
        self.assertEqual(self.broker.calls, ["start", "stop 3.0"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bounded(self) -> None:
        """An application that never finishes, and a broker that never closes, do not keep the process."""
        errors = self.lines(LogLevel.error)
        worker = self.start()
        worker.teardown_result = Deferred()
        self.broker.stop_result = Deferred()
        stopped = worker.stopService()
        self.clock.advance(SHUTDOWN_TIMEOUT + STOP_MARGIN)
        self.assertEqual(self.broker.calls[-1], "stop 3.0")
        self.assertNoResult(stopped)
        self.clock.advance(4)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(len(errors), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failing_teardown(self) -> None:
        """A teardown that fails is logged, and the rest is stopped all the same."""
        worker = self.start(middleware=[{"a": OBSERVED}])
        worker.teardown_result = fail(ZeroDivisionError("no"))
        self.assertIsNone(self.successResultOf(worker.stopService()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("teardown a", Observed.seen)
        self.assertEqual(self.broker.calls[-1], "stop 3.0")

    def test_stopped_while_it_is_set_up(self) -> None:
        """A worker told to stop during its set-up gives it up quietly, and does not take it down."""
        worker = self.make()
        worker.setup_result = Deferred()
        worker.startService()
        self.assertIsNone(self.successResultOf(worker.stopService()))
        self.assertTrue(worker.setup_result.called)
        self.assertEqual([call[0] for call in worker.calls], ["setup"])
        self.assertEqual((self.fatal, self.flushLoggedErrors()), ([], []))
        self.assertTrue(worker.connectors["c"].paused)

    def test_what_rests_goes_back(self) -> None:
        """A failed message that waits to be requeued goes back as soon as the worker stops."""
        worker = self.start()
        worker.result = fail(ZeroDivisionError("no"))
        outcome = self.deliver("c.inbound", user_message())
        self.assertNoResult(outcome)
        worker.stopService()
        self.assertIs(self.successResultOf(outcome), Outcome.REQUEUE)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_publishing_while_it_finishes(self) -> None:
        """An application may still publish while it is taken down."""

        class Goodbye(Recorder):
            async def teardown_application(self) -> None:
                await self.send_to("+27820000009", "Bye")

        self.assertIsNone(self.successResultOf(self.start(Goodbye, middleware=[{"a": OBSERVED}]).stopService()))
        self.assertEqual([one["content"] for one in self.outbound()], ["Bye a"])


class PartsTests(WorkerCase):
    def test_heartbeats(self) -> None:
        """A worker with a name has heartbeats, with attributes of its own, until it stops."""

        class Named(Recorder):
            def custom_heartbeat_attrs(self) -> dict[str, Any]:
                return {"mine": 1}

        worker = self.start(Named, worker_name="turn_1")
        self.clock.advance(10)
        [beat] = self.outbound("vumi.health/heartbeat.inbound")
        self.assertEqual((beat["worker_id"], beat["mine"]), ("global:turn_1", 1))
        self.assertIsInstance(beat["pid"], int)
        self.assertIsInstance(beat["hostname"], str)
        worker.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_heartbeats(self) -> None:
        """A worker without a name has none."""
        self.start()
        self.clock.advance(30)
        self.assertNotIn("vumi.health/heartbeat.inbound", self.broker.publishers)

    def test_listen(self) -> None:
        """A worker listens at an endpoint's description, until it has stopped; the log says where."""
        said = self.lines(LogLevel.info)
        reactor = MemoryReactorClock()
        worker = self.make(reactor=reactor)
        worker.startService()
        done = Deferred.fromCoroutine(worker.listen("tcp:8080:interface=127.0.0.1", Factory()))
        port = self.successResultOf(done)
        self.assertEqual((reactor.tcpServers[0][0], reactor.tcpServers[0][3]), (8080, "127.0.0.1"))
        # What such a reactor says of all its ports.
        self.assertEqual(said, [f"Recorder is starting (vumi_turn {__version__})", "Recorder listens on 0.0.0.0:8080"])
        stopped: list[None] = []
        self.patch(type(port), "stopListening", lambda _: stopped.append(None))
        self.assertIsNone(self.successResultOf(worker.stopService()))
        self.assertEqual(len(stopped), 1)

    def test_address(self) -> None:
        """Addresses are shown as one would type them."""
        for address, text in (
            (IPv4Address("TCP", "127.0.0.1", 8080), "127.0.0.1:8080"),
            (IPv6Address("TCP", "::1", 8080), "[::1]:8080"),
            (UNIXAddress(b"/run/turn.sock"), "/run/turn.sock"),
            ("somewhere", "somewhere"),
        ):
            self.assertEqual(_shown(address), text)

    def test_cannot_listen(self) -> None:
        """An endpoint whose file cannot be made is named, with the reason, and is no bug of ours."""

        class Listener(Recorder):
            async def setup_application(self) -> None:
                await self.listen("unix:/no/such/folder/turn.sock", Factory())

        class Reactor(MemoryReactorClock):
            def listenUNIX(self, *args: Any, **kwargs: Any) -> Any:
                raise FileNotFoundError(2, "No such file or directory", "7", None, "/no/such/folder/turn.sock.lock")

        critical = self.lines(LogLevel.critical)
        self.make(Listener, reactor=Reactor()).startService()
        self.assertEqual(
            critical,
            ["Listener cannot start: it cannot listen on unix:/no/such/folder/turn.sock (No such file or directory)"],
        )
        self.assertEqual((len(self.fatal), self.flushLoggedErrors()), (1, []))

    def test_health(self) -> None:
        """The health is the worst of the parts': no broker, or stopping, is down; more parts can be added."""
        worker = self.start()
        self.assertEqual(
            worker.report_health(),
            {"health": "ok", "components": {"amqp": {"health": "ok", "state": "connected"}}},
        )
        self.broker.state = BrokerState.BLOCKED
        self.assertEqual(worker.report_health()["health"], "down")
        self.broker.state = BrokerState.CONNECTED

        class More(Recorder):
            def health_components(self) -> dict[str, dict[str, Any]]:
                return {**super().health_components(), "cache": {"health": "degraded"}}

        more = self.make(More)
        self.assertEqual(more.report_health()["health"], "degraded")
        more.stopping = True
        self.assertEqual(more.report_health()["health"], "down")


class OnMemoryBrokerTests(SynchronousTestCase):
    def test_echo(self) -> None:
        """The example answers what is said before and after the broker is there, and acknowledges it."""
        clock = Clock()
        broker = MemoryBroker(clock)
        broker.go_away()
        worker = EchoWorker({"connector_name": "demo"}, broker=broker, reactor=clock)
        worker.startService()
        broker.push("demo.inbound", user_message("m1", content="one").to_json())
        clock.pump([0.1] * 5)
        self.assertEqual(broker.queue_contents("demo.outbound"), [])
        broker.come_back()
        broker.push("demo.inbound", user_message("m2", content=None).to_json())
        clock.pump([0.1] * 5)
        replies = [TransportUserMessage.from_json(body) for body in broker.queue_contents("demo.outbound")]
        self.assertEqual([(one.in_reply_to, one.content) for one in replies], [("m1", "one"), ("m2", "Hello!")])
        self.assertEqual(broker.queue_contents("demo.inbound"), [])
        self.successResultOf(worker.stopService())
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_reply_that_the_broker_refuses(self) -> None:
        """A message whose reply was nacked goes back and is answered when it comes again."""
        clock = Clock()
        broker = MemoryBroker(clock)
        worker = EchoWorker({"connector_name": "demo"}, broker=broker, reactor=clock)
        worker.startService()
        broker.nack_next()
        broker.push("demo.inbound", user_message("m1", content="one").to_json())
        clock.pump([0.1] * 5)
        self.assertEqual(len(broker.queue_contents("demo.inbound")), 1)
        clock.pump([REQUEUE_DELAY, 0.1, 0.1, 0.1])
        self.assertEqual(len(broker.queue_contents("demo.outbound")), 1)
        self.assertEqual(broker.queue_contents("demo.inbound"), [])
        self.successResultOf(worker.stopService())
