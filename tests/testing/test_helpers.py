"""The helpers for tests of applications."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.testing import (
    ApplicationHelper,
    MessageDispatchHelper,
    MessageHelper,
    VumiTestCase,
    WorkerHelper,
    WorkerNotStarted,
)
from vumi_turn.vumi.application import ApplicationWorker
from vumi_turn.vumi.examples import EchoWorker
from vumi_turn.vumi.messages import TransportEvent, TransportUserMessage
from vumi_turn.vumi.worker import BaseWorker


class Slow(ApplicationWorker):
    """Answers when it is told to, and notes events."""

    def setup_application(self) -> None:
        self.waiting: list[Deferred[None]] = []
        self.events: list[tuple[str, str]] = []

    async def consume_user_message(self, message: TransportUserMessage) -> None:
        self.waiting.append(Deferred())
        await self.waiting[-1]
        await self.reply_to(message, "at last")

    def consume_ack(self, event: TransportEvent) -> None:
        self.events.append((event.event_type, event.user_message_id))

    consume_nack = consume_delivery_report = consume_ack


class Broken(ApplicationWorker):
    """Cannot be set up."""

    def setup_application(self) -> Any:
        return fail(ZeroDivisionError("no"))


class Transport(BaseWorker):
    """Takes messages to people, and acknowledges each."""

    async def setup_worker(self) -> None:
        connector = await self.setup_ro_connector("sphex")

        async def send(message: TransportUserMessage) -> None:
            event = TransportEvent(event_type="ack", user_message_id=message.message_id, sent_message_id="1")
            await connector.publish_event(event)

        connector.set_default_outbound_handler(send)
        await self.unpause_connectors()


class MessageHelperTests(SynchronousTestCase):
    def test_messages(self) -> None:
        """Messages have the helper's values, or those that the test gives."""
        helper = MessageHelper(transport_name="t", mobile_addr="+1")
        inbound, outbound = helper.make_inbound("Hi", to_addr="5"), helper.make_outbound("Hello", endpoint="e")
        self.assertEqual((inbound.from_addr, inbound.to_addr, inbound.transport_name), ("+1", "5", "t"))
        self.assertEqual((outbound.from_addr, outbound.to_addr, outbound.endpoint_name), ("9292", "+1", "e"))
        self.assertEqual((inbound.user(), inbound.session_event), ("+1", None))
        self.assertEqual(helper.make_reply(inbound, "Yes").in_reply_to, inbound.message_id)

    def test_events(self) -> None:
        """Events are about the message that is given; their values are legacy vumi's."""
        helper = MessageHelper()
        message = helper.make_outbound("Hi")
        ack, nack = helper.make_ack(message), helper.make_nack(message)
        report = helper.make_delivery_report(message, delivery_status="failed")
        self.assertEqual({each.user_message_id for each in (ack, nack, report)}, {message.message_id})
        self.assertEqual(ack.sent_message_id, message.message_id)
        self.assertEqual((nack.nack_reason, report.delivery_status), ("sunspots", "failed"))
        self.assertEqual(len(helper.make_ack().user_message_id), 32)


class WorkerHelperTests(SynchronousTestCase):
    def helper(self, cls: Any = EchoWorker, **values: str) -> ApplicationHelper[Any]:
        helper: ApplicationHelper[Any] = ApplicationHelper(cls, **values)
        helper.setup()
        self.addCleanup(lambda: self.successResultOf(helper.cleanup()))
        return helper

    def test_answer(self) -> None:
        """What an application answers is there when the message was dispatched."""
        helper = self.helper()
        self.successResultOf(helper.get_application())
        sent = self.successResultOf(helper.make_dispatch_inbound("Hi"))
        [answer] = helper.get_dispatched_outbound()
        self.assertEqual((answer.content, answer.in_reply_to), ("Hi", sent.message_id))
        self.assertEqual(helper.get_outbound(), [answer])
        self.assertEqual(helper.get_dispatched_inbound(), [sent])
        helper.clear_dispatched_outbound()
        self.assertEqual((helper.get_outbound(), len(helper.get_dispatched_inbound())), ([], 1))
        helper.clear_all_dispatched()
        self.assertEqual(helper.get_dispatched_inbound(), [])

    def test_wait(self) -> None:
        """Waiting for messages ends with the last of them."""
        helper = self.helper(Slow)
        app = self.successResultOf(helper.get_application())
        self.successResultOf(helper.make_dispatch_inbound("Hi"))
        waited = helper.wait_for_dispatched_outbound(1)
        self.assertNoResult(waited)
        app.waiting[0].callback(None)
        self.assertEqual([each.content for each in self.successResultOf(waited)], ["at last"])
        self.assertEqual(self.successResultOf(helper.wait_for_dispatched_events()), [])
        self.assertEqual(len(self.successResultOf(helper.wait_for_dispatched_inbound(1))), 1)

    def test_events(self) -> None:
        """Each kind of event comes to the application."""
        helper = self.helper(Slow)
        app = self.successResultOf(helper.get_application())
        message = helper.make_outbound("Hi")
        for dispatch in (
            helper.make_dispatch_ack,
            helper.make_dispatch_nack,
            helper.make_dispatch_delivery_report,
        ):
            self.successResultOf(dispatch(message))
        self.assertEqual(app.events, [(kind, message.message_id) for kind in ("ack", "nack", "delivery_report")])
        helper.clear_dispatched_events()
        self.assertEqual(helper.get_dispatched_events(), [])

    def test_transport(self) -> None:
        """A transport can be tested too; what it consumed is still shown."""
        helper = WorkerHelper("sphex")
        helper.setup()
        self.addCleanup(lambda: self.successResultOf(helper.cleanup()))
        dispatcher = MessageDispatchHelper(MessageHelper(), helper)
        self.successResultOf(helper.get_worker(Transport, {}))
        sent = self.successResultOf(dispatcher.make_dispatch_outbound("Hi"))
        reply = self.successResultOf(dispatcher.make_dispatch_reply(dispatcher.msg_helper.make_inbound("?"), "!"))
        self.assertEqual(helper.get_dispatched_outbound(), [sent, reply])
        acked = [event.user_message_id for event in helper.get_dispatched_events()]
        self.assertEqual(acked, [sent.message_id, reply.message_id])

    def test_time(self) -> None:
        """Time passes only where the test says so, and what is due on the way happens at its moment."""
        helper = self.helper()
        moments: list[float] = []

        def note() -> None:
            moments.append(helper.clock.seconds())
            if len(moments) < 3:
                helper.clock.callLater(2, note)

        helper.clock.callLater(1, note)
        self.successResultOf(helper.kick_delivery())
        self.assertEqual(moments, [])
        self.successResultOf(helper.advance(5))
        self.assertEqual((moments, helper.clock.seconds()), ([1, 3, 5], 5))

    def test_loop(self) -> None:
        """What needs no time and never ends is an error, and not a test that hangs."""
        helper = self.helper()

        def again() -> None:
            self.call = helper.clock.callLater(0, again)

        again()
        self.assertIn("loops", str(self.assertRaises(AssertionError, helper.kick_delivery)))

    def test_not_started(self) -> None:
        """A worker whose set-up fails is no worker: the failure is logged, and raised."""
        helper = self.helper(Broken)
        self.failureResultOf(helper.get_application(), WorkerNotStarted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_wrong_options(self) -> None:
        """Wrong options are raised."""
        self.failureResultOf(self.helper().get_application({"amqp_prefetch_count": 0}), ConfigErrors)

    def test_started_later(self) -> None:
        """A worker can be made without being started; a test has its broker and its connector."""
        helper = self.helper(transport_name="other")
        app = self.successResultOf(helper.get_application(start=False))
        self.successResultOf(helper.make_dispatch_inbound("Hi"))
        self.assertEqual(helper.get_dispatched_outbound(), [])
        self.successResultOf(Deferred.fromCoroutine(helper.start_worker(app)))
        self.assertEqual(len(helper.get_dispatched_outbound("other")), 1)
        self.successResultOf(Deferred.fromCoroutine(helper.cleanup_worker(app)))
        self.successResultOf(helper.make_dispatch_inbound("Hi"))
        self.assertEqual(len(helper.get_dispatched_outbound()), 1)

    def test_no_connector(self) -> None:
        """A helper without a connector wants one to be named."""
        self.assertRaises(ValueError, WorkerHelper().get_dispatched_outbound)

    def test_raw(self) -> None:
        """Bytes that are no message can be dispatched; they are parked, as in life."""
        helper = self.helper()
        self.successResultOf(helper.get_application())
        self.successResultOf(helper.dispatch_raw("sphex.inbound", b"junk"))
        self.assertEqual(len(helper.broker.queue_contents("sphex.failures_of_application")), 1)


class CaseTests(VumiTestCase):
    async def test_helper(self) -> None:
        """A helper is set up when it is added, and cleaned up after the test."""
        calls: list[str] = []

        class Noting:
            def setup(self) -> None:
                calls.append("setup")

            def cleanup(self) -> None:
                calls.append("cleanup")

        case = _Inner("test_nothing")
        case.helper = Noting()
        case.debug()
        self.assertEqual(calls, ["setup", "cleanup"])

    def test_async_set_up(self) -> None:
        """A helper whose set-up gives back a Deferred is refused."""

        class Asynchronous(MessageHelper):
            def setup(self) -> Any:
                return Deferred()

        self.assertRaises(TypeError, self.add_helper, Asynchronous())

    def test_older_names(self) -> None:
        """Assertions have the names that older tests call them by."""
        self.assertEquals(1, 1)
        self.assertNotEquals(1, 2)
        self.assertRaises(self.failureException, self.assertEquals, 1, 2)
        done: list[int] = []
        self.add_cleanup(done.append, 1)
        self.doCleanups()
        self.assertEqual(done, [1])


class _Inner(VumiTestCase):
    helper: Any = None

    def test_nothing(self) -> None:
        if self.helper is not None:
            self.add_helper(self.helper)
