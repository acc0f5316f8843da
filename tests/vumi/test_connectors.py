from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.fakes import FakeBroker, event, user_message
from vumi_turn.broker.interface import BrokerUnavailable, Delivery, Nacked, Outcome
from vumi_turn.vumi.connectors import IgnoreMessage, NoHandler, ReceiveInboundConnector, ReceiveOutboundConnector
from vumi_turn.vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage
from vumi_turn.vumi.middleware import MIDDLEWARE_TIMEOUT, BaseMiddleware, MiddlewareError


class SlowMiddleware(BaseMiddleware):
    """Keeps each message until the test lets it go."""

    def setup_middleware(self) -> None:
        self.kept: dict[str, Deferred[None]] = {}
        self.order: list[str] = []

    async def handle_inbound(self, message: Any, connector_name: str) -> Any:
        return await self._keep(message.message_id, message)

    async def handle_outbound(self, message: Any, connector_name: str) -> Any:
        return await self._keep(message.message_id, message)

    async def handle_event(self, event: Any, connector_name: str) -> Any:
        return await self._keep(event.event_id, event)

    async def _keep(self, name: str, message: Any) -> Any:
        self.order.append(name)
        self.kept[name] = Deferred()
        await self.kept[name]
        return message


class ConnectorCase(SynchronousTestCase):
    """A connector of the name ``c``, and what it tells its worker."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.broker = FakeBroker()
        self.malformed: list[tuple[Delivery, MalformedMessage]] = []
        self.errors: list[tuple[Delivery, Any, Failure]] = []
        self.seen: list[Any] = []

    def connector(self, *middlewares: BaseMiddleware, cls: Any = ReceiveInboundConnector, name: str = "c") -> Any:
        connector = cls(
            name,
            self.broker,
            prefetch=7,
            middlewares=middlewares,
            clock=self.clock,
            on_malformed=self.on_malformed,
            on_error=self.on_error,
        )
        return connector

    def slow(self) -> SlowMiddleware:
        middleware = SlowMiddleware("slow", {}, None)
        middleware.setup_middleware()
        return middleware

    async def on_malformed(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        self.malformed.append((delivery, error))
        return Outcome.REQUEUE

    async def on_error(self, delivery: Delivery, message: Any, failure: Failure) -> Outcome:
        self.errors.append((delivery, message, failure))
        return Outcome.REQUEUE

    async def see(self, message: Any) -> Optional[Outcome]:
        self.seen.append(message)
        return None

    def deliver(self, queue: str, message: Any) -> tuple[Delivery, Deferred[Outcome]]:
        return self.broker.deliver(queue, message.to_json())


class ReceivingTests(ConnectorCase):
    def test_queues_and_prefetch(self) -> None:
        """An application's connector consumes inbound and event, paused, with the prefetch it was given."""
        connector = self.connector()
        self.assertEqual(sorted(self.broker.consumers), ["c.event", "c.inbound"])
        self.assertEqual({one.prefetch for one in self.broker.consumers.values()}, {7})
        self.assertTrue(connector.paused)
        connector.unpause()
        self.assertEqual([one.paused for one in self.broker.consumers.values()], [False, False])
        connector.pause()
        self.assertEqual([one.paused for one in self.broker.consumers.values()], [True, True])

    def test_name_in_lower_case(self) -> None:
        """A connector's name with upper case letters is refused, as legacy vumi refuses it."""
        error = self.assertRaises(ValueError, self.connector, name="Demo")
        self.assertIn("'Demo'", str(error))

    def test_message_reaches_handler_with_its_delivery(self) -> None:
        """A handler gets the decoded message, which knows its delivery; returning nothing acknowledges."""
        self.connector().set_inbound_handler(self.see)
        delivery, outcome = self.deliver("c.inbound", user_message("m1", content="h\u00e9llo"))
        self.assertIs(self.successResultOf(outcome), Outcome.ACK)
        [message] = self.seen
        self.assertEqual((message.message_id, message.content), ("m1", "h\u00e9llo"))
        self.assertIs(message.delivery, delivery)

    def test_event_reaches_event_handler(self) -> None:
        """Events are decoded as events and go to the event handler only."""
        connector = self.connector()
        connector.set_event_handler(self.see)
        _, outcome = self.deliver("c.event", event("o1", event_type="nack", nack_reason="full"))
        self.assertIs(self.successResultOf(outcome), Outcome.ACK)
        self.assertIsInstance(self.seen[0], TransportEvent)
        self.assertEqual((self.seen[0].user_message_id, self.seen[0].nack_reason), ("o1", "full"))

    def test_outcome_of_the_handler(self) -> None:
        """A handler's REQUEUE is the delivery's, from a coroutine, a Deferred or a plain return."""

        async def coroutine(message: Any) -> Outcome:
            return Outcome.REQUEUE

        handlers = (coroutine, lambda message: succeed(Outcome.REQUEUE), lambda message: Outcome.REQUEUE)
        for middlewares in ((), (Upper("upper", {}, None),)):
            with case(middlewares=middlewares):
                for handler in handlers:
                    with case(handler=handler):
                        self.connector(*middlewares).set_inbound_handler(handler)
                        _, outcome = self.deliver("c.inbound", user_message())
                        self.assertIs(self.successResultOf(outcome), Outcome.REQUEUE)

    def test_other_results_acknowledge(self) -> None:
        """A handler that gives back something of its own is done with the message."""
        self.connector().set_inbound_handler(lambda message: succeed([None, None]))
        _, outcome = self.deliver("c.inbound", user_message())
        self.assertIs(self.successResultOf(outcome), Outcome.ACK)

    def test_outcome_waits_for_the_handler(self) -> None:
        """A delivery is settled only after its handler is done."""
        done: Deferred[None] = Deferred()
        self.connector().set_inbound_handler(lambda message: done)
        _, outcome = self.deliver("c.inbound", user_message())
        self.assertNoResult(outcome)
        done.callback(None)
        self.assertIs(self.successResultOf(outcome), Outcome.ACK)

    def test_endpoints(self) -> None:
        """A message goes to its endpoint's handler, else to the default handler."""
        connector = self.connector()
        named: list[str] = []
        connector.set_inbound_handler(lambda message: named.append(message.message_id), "sms")
        connector.set_default_inbound_handler(self.see)
        self.deliver("c.inbound", user_message("m1").with_endpoint("sms"))
        self.deliver("c.inbound", user_message("m2").with_endpoint("other"))
        self.deliver("c.inbound", user_message("m3"))
        self.assertEqual(named, ["m1"])
        self.assertEqual([message.message_id for message in self.seen], ["m2", "m3"])

    def test_no_handler(self) -> None:
        """A message that nobody has a handler for is an error, not an acknowledged loss."""
        self.connector().set_inbound_handler(self.see, "sms")
        _, outcome = self.deliver("c.inbound", user_message("m1"))
        self.assertIs(self.successResultOf(outcome), Outcome.REQUEUE)
        [(_, message, failure)] = self.errors
        self.assertEqual(message.message_id, "m1")
        failure.trap(NoHandler)

    def test_malformed(self) -> None:
        """What is not a message goes to on_malformed, whose outcome counts, and the next one is handled."""
        self.connector().set_inbound_handler(self.see)
        for body in (b"not json", b"[]", b"{}", b"\xff", event().to_json()):
            with case(body=body):
                delivery, outcome = self.broker.deliver("c.inbound", body)
                self.assertIs(self.successResultOf(outcome), Outcome.REQUEUE)
                self.assertIs(self.malformed[-1][0], delivery)
        self.assertEqual((len(self.malformed), self.seen, self.errors), (5, [], []))
        self.deliver("c.inbound", user_message("m9"))
        self.assertEqual([message.message_id for message in self.seen], ["m9"])

    def test_handler_fails(self) -> None:
        """A handler's exception goes to on_error with the message, also a MalformedMessage of its own."""
        connector = self.connector()

        def broken(error: Exception) -> Any:
            def handler(message: Any) -> None:
                raise error

            return handler

        async def broken_later(message: Any) -> None:
            raise ZeroDivisionError("later")

        cases = (
            broken(KeyError("x")),
            broken(MalformedMessage("mine")),
            broken_later,
            lambda _: fail(OSError()),
        )
        for handler in cases:
            with case(handler=handler):
                connector.set_inbound_handler(handler)
                _, outcome = self.deliver("c.inbound", user_message("m1"))
                self.assertIs(self.successResultOf(outcome), Outcome.REQUEUE)
        self.assertEqual(
            [failure.type for _, _, failure in self.errors],
            [KeyError, MalformedMessage, ZeroDivisionError, OSError],
        )
        self.assertEqual({message.message_id for _, message, _ in self.errors}, {"m1"})
        self.assertEqual(self.malformed, [])


class Upper(BaseMiddleware):
    """Shouts."""

    def handle_inbound(self, message: Any, connector_name: str) -> Any:
        return message.replace(content=f"{message.content.upper()} by {connector_name}")

    handle_outbound = handle_inbound


class Fresh(BaseMiddleware):
    """Makes a message of its own instead of a changed one."""

    def handle_inbound(self, message: Any, connector_name: str) -> Any:
        return TransportUserMessage.from_dict(message.to_dict())


class MiddlewareTests(ConnectorCase):
    def test_consumed_message_is_changed(self) -> None:
        """A handler sees what the middleware made of the message, with the delivery still known."""
        self.connector(Upper("upper", {}, None), Fresh("fresh", {}, None)).set_inbound_handler(self.see)
        delivery, outcome = self.deliver("c.inbound", user_message("m1", content="hi"))
        self.assertIs(self.successResultOf(outcome), Outcome.ACK)
        self.assertEqual(self.seen[0].content, "HI by c")
        self.assertIs(self.seen[0].delivery, delivery)

    def test_person_in_order(self) -> None:
        """One person's messages reach the handler in queue order though middlewares take their time."""
        slow = self.slow()
        self.connector(slow).set_inbound_handler(self.see)
        outcomes = [self.deliver("c.inbound", user_message(name))[1] for name in ("m1", "m2", "m3")]
        self.assertEqual(slow.order, ["m1"])
        slow.kept["m1"].callback(None)
        self.assertEqual(slow.order, ["m1", "m2"])
        slow.kept["m2"].callback(None)
        slow.kept["m3"].callback(None)
        self.assertEqual([message.message_id for message in self.seen], ["m1", "m2", "m3"])
        self.assertEqual([self.successResultOf(outcome) for outcome in outcomes], [Outcome.ACK] * 3)

    def test_people_do_not_wait_for_each_other(self) -> None:
        """A message that a middleware keeps holds up nobody else's."""
        slow = self.slow()
        self.connector(slow).set_inbound_handler(self.see)
        self.deliver("c.inbound", user_message("m1", from_addr="+27820000001"))
        self.deliver("c.inbound", user_message("m2", from_addr="+27820000002"))
        slow.kept["m2"].callback(None)
        self.assertEqual([message.message_id for message in self.seen], ["m2"])

    def test_running_handler_does_not_hold_the_line(self) -> None:
        """The next message's handler is called while the one before is still running."""
        called: list[str] = []
        running: Deferred[None] = Deferred()

        async def handler(message: Any) -> None:
            called.append(message.message_id)
            await running

        self.connector(Upper("upper", {}, None)).set_inbound_handler(handler)
        first = self.deliver("c.inbound", user_message("m1"))[1]
        self.deliver("c.inbound", user_message("m2"))
        self.assertEqual(called, ["m1", "m2"])
        self.assertNoResult(first)
        running.callback(None)
        self.assertIs(self.successResultOf(first), Outcome.ACK)

    def test_events_in_order_by_message(self) -> None:
        """Events of one message reach the handler in queue order; those of others don't wait."""
        slow = self.slow()
        self.connector(slow).set_event_handler(self.see)
        for event_id, message_id in (("e1", "o1"), ("e2", "o1"), ("e3", "o2")):
            self.deliver("c.event", event(message_id, event_id=event_id))
        self.assertEqual(slow.order, ["e1", "e3"])
        slow.kept["e3"].callback(None)
        slow.kept["e1"].callback(None)
        slow.kept["e2"].callback(None)
        self.assertEqual([one.event_id for one in self.seen], ["e3", "e1", "e2"])

    def test_long_line(self) -> None:
        """A line of thousands is served without deep recursion."""
        slow = self.slow()

        class First(BaseMiddleware):
            def handle_inbound(self, message: Any, connector_name: str) -> Any:
                return slow.handle_inbound(message, connector_name) if message.message_id == "m0" else message

        self.connector(First("first", {}, None)).set_inbound_handler(self.see)
        outcomes = [self.deliver("c.inbound", user_message(f"m{n}"))[1] for n in range(3000)]
        self.assertEqual(self.seen, [])
        slow.kept["m0"].callback(None)
        self.assertEqual([message.message_id for message in self.seen], [f"m{n}" for n in range(3000)])
        self.assertEqual({self.successResultOf(outcome) for outcome in outcomes}, {Outcome.ACK})

    def test_middleware_fails(self) -> None:
        """A middleware's exception goes to on_error with the message, and the line goes on."""

        class Broken(BaseMiddleware):
            def handle_inbound(self, message: Any, connector_name: str) -> Any:
                if message.message_id == "m1":
                    raise ZeroDivisionError("oops")
                return message

        self.connector(Broken("broken", {}, None)).set_inbound_handler(self.see)
        first = self.deliver("c.inbound", user_message("m1"))[1]
        second = self.deliver("c.inbound", user_message("m2"))[1]
        self.assertIs(self.successResultOf(first), Outcome.REQUEUE)
        self.assertIs(self.successResultOf(second), Outcome.ACK)
        [(_, message, failure)] = self.errors
        self.assertEqual(message.message_id, "m1")
        failure.trap(ZeroDivisionError)
        self.assertEqual([message.message_id for message in self.seen], ["m2"])

    def test_handler_fails_behind_middleware(self) -> None:
        """A handler's exception goes to on_error with middlewares too, and the line goes on."""

        def handler(message: Any) -> None:
            self.seen.append(message)
            raise KeyError("x")

        self.connector(Upper("upper", {}, None)).set_inbound_handler(handler)
        outcomes = [self.deliver("c.inbound", user_message(name))[1] for name in ("m1", "m2")]
        self.assertEqual([self.successResultOf(outcome) for outcome in outcomes], [Outcome.REQUEUE] * 2)
        self.assertEqual([failure.type for _, _, failure in self.errors], [KeyError, KeyError])

    def test_ignored(self) -> None:
        """What a middleware or a handler wants ignored is acknowledged, and is no error."""

        def ignore(*args: Any) -> Any:
            raise IgnoreMessage("opted out")

        class OptOut(BaseMiddleware):
            def handle_inbound(self, message: Any, connector_name: str) -> Any:
                ignore()

        connector = self.connector(OptOut("opt_out", {}, None))
        connector.set_inbound_handler(self.see)
        connector.set_event_handler(ignore)
        for queue, message in (("c.inbound", user_message("m1")), ("c.event", event("o1"))):
            with case(queue=queue, message=message):
                _, done = self.deliver(queue, message)
                self.assertIs(self.successResultOf(done), Outcome.ACK)
        self.assertEqual((self.seen, self.errors), ([], []))

    def test_middleware_too_slow(self) -> None:
        """A middleware that keeps a message too long is an error that names it; the next message goes on."""
        slow = self.slow()
        self.connector(slow).set_inbound_handler(self.see)
        first = self.deliver("c.inbound", user_message("m1"))[1]
        second = self.deliver("c.inbound", user_message("m2"))[1]
        self.clock.advance(MIDDLEWARE_TIMEOUT - 1)
        self.assertNoResult(first)
        self.clock.advance(1)
        self.assertIs(self.successResultOf(first), Outcome.REQUEUE)
        self.errors[0][2].trap(MiddlewareError)
        self.assertIn("SlowMiddleware.handle_consume_inbound (slow)", self.errors[0][2].getErrorMessage())
        slow.kept["m2"].callback(None)
        self.assertIs(self.successResultOf(second), Outcome.ACK)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost_while_it_waits(self) -> None:
        """A message whose connection is gone is not handled: the broker brings it again."""
        slow = self.slow()
        self.connector(slow).set_inbound_handler(self.see)
        first, first_outcome = self.deliver("c.inbound", user_message("m1"))
        second, second_outcome = self.deliver("c.inbound", user_message("m2"))
        first.lose()
        second.lose()
        slow.kept["m1"].callback(None)
        self.assertIs(self.successResultOf(first_outcome), Outcome.REQUEUE)
        self.assertIs(self.successResultOf(second_outcome), Outcome.REQUEUE)
        self.assertEqual((self.seen, slow.order, self.errors), ([], ["m1"], []))

    def test_stop_requeues_what_waits(self) -> None:
        """After stop_consuming what waits for middlewares goes back, nothing new comes, and it stays so."""
        slow = self.slow()
        connector = self.connector(slow)
        connector.set_inbound_handler(self.see)
        connector.unpause()
        outcomes = [self.deliver("c.inbound", user_message(name))[1] for name in ("m1", "m2")]
        connector.stop_consuming()
        connector.unpause()
        self.assertTrue(connector.paused)
        outcomes.append(self.deliver("c.inbound", user_message("m3"))[1])
        self.assertEqual([self.successResultOf(one) for one in outcomes], [Outcome.REQUEUE] * 3)
        self.assertEqual((self.seen, self.errors), ([], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AllowMoreTests(ConnectorCase):
    """A queue whose messages cannot move."""

    def test_one_queue_only(self) -> None:
        """More is allowed for the queue that is named, and not for the connector's others."""
        connector = self.connector()
        connector.allow_more("inbound", 5)
        more = {name: consumer.additional for name, consumer in self.broker.consumers.items()}
        self.assertEqual(more, {"c.inbound": 5, "c.event": 0})

    def test_not_consumed(self) -> None:
        """A queue that the connector does not consume is a mistake of the caller's."""
        with self.assertRaises(KeyError):
            self.connector().allow_more("outbound", 1)


class PublishingTests(ConnectorCase):
    def published(self, queue: str) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.broker.publishers[queue].bodies]

    def test_done_when_confirmed(self) -> None:
        """publish_outbound gives the message when the broker has confirmed it, and fails as the broker fails."""
        self.broker.confirms = False
        connector = self.connector()
        first = connector.publish_outbound(user_message("o1"))
        second = connector.publish_outbound(user_message("o2"))
        self.assertNoResult(first)
        confirm, refuse = self.broker.publishers["c.outbound"].pending
        confirm.callback(None)
        refuse.errback(Nacked("no"))
        self.assertEqual(self.successResultOf(first).message_id, "o1")
        self.failureResultOf(second, Nacked)
        self.assertEqual([one["message_id"] for one in self.published("c.outbound")], ["o1", "o2"])

    def test_endpoint(self) -> None:
        """A message goes out by the endpoint that is named, else by its own."""
        connector = self.connector()
        connector.publish_outbound(user_message("o1"), endpoint_name="sms")
        connector.publish_outbound(user_message("o2").with_endpoint("ussd"))
        endpoints = [one["routing_metadata"]["endpoint_name"] for one in self.published("c.outbound")]
        self.assertEqual(endpoints, ["sms", "ussd"])

    def test_middleware_before_the_broker(self) -> None:
        """What is published has passed the middlewares; their exceptions come by the Deferred."""
        self.broker.confirms = False
        connector = self.connector(Upper("upper", {}, None))
        done = connector.publish_outbound(user_message("o1", content="hi"))
        self.assertEqual(self.published("c.outbound")[0]["content"], "HI by c")
        self.assertNoResult(done)
        self.broker.publishers["c.outbound"].pending[0].callback(None)
        self.assertEqual(self.successResultOf(done).content, "HI by c")
        self.failureResultOf(connector.publish_outbound(user_message("o2", content=None)), AttributeError)
        self.assertEqual(len(self.published("c.outbound")), 1)

    def test_what_cannot_be_written(self) -> None:
        """A message that has no JSON fails by the Deferred, not by an exception beside it."""
        message = user_message("o1", helper_metadata={"x": float("nan")})
        self.failureResultOf(self.connector().publish_outbound(message), ValueError)
        self.assertEqual(self.published("c.outbound"), [])

    def test_teardown(self) -> None:
        """Publishing goes on after stop_consuming; teardown fails what still waits for a middleware."""
        slow = self.slow()
        connector = self.connector(slow)
        first = connector.publish_outbound(user_message("o1"))
        connector.stop_consuming()
        second = connector.publish_outbound(user_message("o2"))
        slow.kept["o1"].callback(None)
        self.assertEqual(self.successResultOf(first).message_id, "o1")
        connector.teardown()
        self.failureResultOf(second, BrokerUnavailable)
        self.assertEqual([one["message_id"] for one in self.published("c.outbound")], ["o1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TransportSideTests(ConnectorCase):
    def test_outbound_comes_in(self) -> None:
        """A transport's connector consumes outbound only, and has endpoints as well."""
        connector = self.connector(cls=ReceiveOutboundConnector)
        self.assertEqual(list(self.broker.consumers), ["c.outbound"])
        connector.set_outbound_handler(self.see)
        other: list[Any] = []
        connector.set_default_outbound_handler(other.append)
        self.deliver("c.outbound", user_message("o1"))
        self.deliver("c.outbound", user_message("o2").with_endpoint("x"))
        self.assertEqual([message.message_id for message in self.seen], ["o1"])
        self.assertEqual([message.message_id for message in other], ["o2"])

    def test_ignored(self) -> None:
        """A message that is to be ignored is acknowledged, and refused with a nack that says why."""
        connector = self.connector(cls=ReceiveOutboundConnector)

        def ignore(message: Any) -> None:
            raise IgnoreMessage("opted out")

        connector.set_outbound_handler(ignore)
        _, done = self.deliver("c.outbound", user_message("o1"))
        self.assertIs(self.successResultOf(done), Outcome.ACK)
        nack = TransportEvent.from_json(self.broker.publishers["c.event"].bodies[0])
        self.assertEqual((nack.event_type, nack.user_message_id, nack.nack_reason), ("nack", "o1", "opted out"))

    def test_inbound_and_events_go_out(self) -> None:
        """A transport publishes people's messages and events, each to its queue."""
        connector = self.connector(cls=ReceiveOutboundConnector)
        self.assertEqual(self.successResultOf(connector.publish_inbound(user_message("m1"))).message_id, "m1")
        published = self.successResultOf(connector.publish_event(event("o1"), endpoint_name="sms"))
        self.assertEqual(published.endpoint_name, "sms")
        inbound = TransportUserMessage.from_json(self.broker.publishers["c.inbound"].bodies[0])
        sent = TransportEvent.from_json(self.broker.publishers["c.event"].bodies[0])
        self.assertEqual((inbound.message_id, sent.user_message_id, sent.endpoint_name), ("m1", "o1", "sms"))
