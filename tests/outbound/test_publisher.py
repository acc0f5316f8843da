"""One message for each request of Turn's, from the request's bytes to the answer's."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from tests.cases import case
from tests.outbound.case import ADDRESS, Nacked, OutboundCase, outbound
from vumi_turn.outbound.answers import ANSWER_TIMEOUT, FLUSH_TIME
from vumi_turn.outbound.publisher import WRITING_TIME
from vumi_turn.turn.errors import MessageNotFound


class TimeTests(OutboundCase):
    def test_not_confirmed_in_time(self) -> None:
        """A broker that does not confirm within publish_timeout is a 503; the publishing goes on."""
        self.post()
        self.clock.advance(3.9)
        self.assertTrue(self.client.silent())
        self.clock.advance(0.1)
        self.assertBusy(self.client.response())
        self.assertFalse(self.confirms[0].called)

    def test_building_too_long(self) -> None:
        """The whole handling is bounded by request_timeout: 504."""
        self.build_waits = Deferred()
        self.post()
        self.clock.advance(239)
        self.assertTrue(self.client.silent())
        self.clock.advance(1)
        self.assertEqual(self.client.response().error, (504, 504, "TimeoutError"))
        self.build_waits.callback(None)

    def test_time_of_the_broker(self) -> None:
        """publish_timeout begins with the publishing, not with the building before it."""
        self.build_waits = Deferred()
        self.post()
        self.clock.advance(60)
        self.build_waits.callback(None)
        self.clock.advance(3.9)
        self.assertTrue(self.client.silent())
        self.clock.advance(0.1)
        self.assertBusy(self.client.response())

    def test_shorter_request_timeout(self) -> None:
        """A request_timeout that is shorter than publish_timeout holds, also after some building."""
        _, self.site = self.make(request_timeout=3.0)
        self.build_waits = Deferred()
        client = self.post(client=self.another())
        self.clock.advance(1)
        self.build_waits.callback(None)
        self.clock.advance(1.9)
        self.assertTrue(client.silent())
        self.clock.advance(0.1)
        self.assertEqual(client.response().error, (504, 504, "TimeoutError"))


class RepeatTests(OutboundCase):
    def test_joins(self) -> None:
        """The same body while it is being published is the same message: one publish, one id, two answers."""
        self.post()
        second = self.post(client=self.another())
        self.assertEqual(self.ids_published(), ["m1"])
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")
        self.assertEqual(second.response().message_id, "m1")

    def test_joins_the_building(self) -> None:
        """It joins a message that is still being built, too."""
        self.build_waits = Deferred()
        self.post()
        second = self.post(client=self.another())
        self.build_waits.callback(None)
        self.assertEqual(self.ids_published(), ["m1"])
        self.confirm()
        self.assertEqual(second.response().message_id, "m1")
        self.assertEqual(self.client.response().message_id, "m1")

    def test_joins_after_a_timeout(self) -> None:
        """After a 503 for want of time the repeat joins the same publish, and gets its id."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        self.post()
        self.clock.advance(3.9)
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1"])

    def test_a_late_confirm_counts(self) -> None:
        """A confirm that came when nobody waited answers the repeat at once, with nothing published."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        self.confirm()
        self.assertEqual(self.answer().message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1"])

    def test_known_as_published(self) -> None:
        """A repeat of what was not confirmed is answered without a publish, where it is known to be there."""
        self.post()
        self.confirm(Nacked())
        self.assertBusy(self.client.response())
        self.known = {"m1"}
        self.assertEqual(self.answer(client=self.another()).message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1"])

    def test_hung_broker(self) -> None:
        """While the broker hangs each repeat waits publish_timeout, and nothing more is published."""
        for _ in range(5):
            self.post()
            self.clock.advance(4)
            self.assertBusy(self.client.response())
        self.assertEqual(self.ids_published(), ["m1"])

    def test_double_delivery(self) -> None:
        """The same body shortly after its 200 is the same message, however often it comes."""
        self.at_once = True
        for _ in range(8):
            self.assertEqual(self.answer().message_id, "m1")
            self.clock.advance(0.03)
        self.assertEqual(self.ids_published(), ["m1"])

    def test_eight_at_once(self) -> None:
        """Eight clients with the same body at once are one message."""
        clients = [self.post(client=self.another()) for _ in range(8)]
        self.confirm()
        self.assertEqual({client.response().message_id for client in clients}, {"m1"})
        self.assertEqual(self.ids_published(), ["m1"])

    def test_after_the_window_it_is_new(self) -> None:
        """Later than that after its last 200 the same body is another message: people repeat themselves."""
        self.at_once = True
        self.assertEqual(self.answer().message_id, "m1")
        self.clock.advance(4)
        self.assertEqual(self.answer().message_id, "m1")
        self.clock.advance(5)
        self.post()
        self.pump()
        self.assertEqual(self.client.response().message_id, self.published[-1].message_id)
        self.assertEqual(len(set(self.ids_published())), 2)

    def test_asked_again(self) -> None:
        """The same body is another message at once where the person has said something since the 200."""
        self.at_once = True
        self.heard[ADDRESS] = "in1"
        self.assertEqual(self.answer().message_id, "m1")
        self.heard[ADDRESS] = "in2"
        self.post()
        self.pump()
        self.assertNotEqual(self.client.response().message_id, "m1")
        self.assertEqual(len(self.published), 2)

    def test_late_bytes_of_a_client_that_has_gone(self) -> None:
        """A request that arrives when its repeat was answered and its client is gone publishes nothing."""
        self.at_once = True
        self.assertEqual(self.answer(client=self.another()).message_id, "m1")
        self.clock.advance(60)
        self.post()
        self.client.leave()
        self.pump()
        self.assertEqual(self.ids_published(), ["m1"])
        self.assertEqual(self.titles, ["ok", "ClientGone"])

    def test_late_bytes_and_half_a_connection(self) -> None:
        """So does one whose client has closed its side; it is told to come again, if it can still hear."""
        self.at_once = True
        self.assertEqual(self.answer(client=self.another()).message_id, "m1")
        self.clock.advance(60)
        self.post()
        self.client.half_close()
        self.pump()
        self.assertBusy(self.client.response())
        self.assertEqual(self.ids_published(), ["m1"])

    def test_late_bytes_and_one_who_waits(self) -> None:
        """Where another client waits for the same body it is published for that one."""
        self.at_once = True
        self.assertEqual(self.answer(client=self.another()).message_id, "m1")
        self.clock.advance(60)
        self.post()
        self.client.leave()
        second = self.post(client=self.another())
        self.pump()
        self.assertEqual(second.response().message_id, self.published[1].message_id)
        self.assertEqual(len(self.published), 2)

    def test_published_again(self) -> None:
        """After a nack the repeat publishes the same message again, with the same id."""
        self.post()
        self.confirm(Nacked())
        self.assertBusy(self.client.response())
        self.post()
        self.assertEqual(self.ids_published(), ["m1", "m1"])
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")

    def test_nacked_after_a_timeout(self) -> None:
        """A nack that came when nobody waited lets the repeat publish again, with the same id."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        self.confirm(Nacked())
        self.at_once = True
        self.assertEqual(self.answer().message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1", "m1"])

    def test_nack_with_two_waiting(self) -> None:
        """All that wait for a message hear that it was not taken."""
        self.post()
        second = self.post(client=self.another())
        self.confirm(Nacked())
        self.assertBusy(self.client.response())
        self.assertBusy(second.response())

    def test_unknown_outcome_keeps_the_id(self) -> None:
        """After an unexpected exception in publishing the broker may have it: the repeat has the same id."""
        self.at_once = KeyError("oops")
        self.assertEqual(self.answer().status, 500)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.at_once = True
        self.assertEqual(self.answer().message_id, "m1")

    def test_store_is_told(self) -> None:
        """Whatever kept a message from being published, the store is told: other workers wait for this one's end."""
        refused: list[str] = []
        tell = self.store.refused

        def note(key: bytes, message_id: str) -> None:
            refused.append(message_id)
            tell(key, message_id)

        self.patch(self.store, "refused", note)
        for error, status in ((Nacked(), 503), (KeyError("oops"), 500)):
            with case(error=error):
                self.at_once = error
                self.assertEqual(self.answer().status, status)
                self.assertEqual(refused, ["m1"])
                refused.clear()
        self.flushLoggedErrors(KeyError)
        self.build_error = MessageNotFound()
        self.assertEqual(self.answer().status, 404)
        self.assertEqual(refused, ["m1"], "it may be there all the same, so its repeats keep the id")

    def test_what_could_not_be_built(self) -> None:
        """What could not be built is forgotten: its repeat is looked at afresh."""
        self.build_error = MessageNotFound()
        self.assertEqual(self.answer().status, 404)
        self.build_error = None
        self.at_once = True
        self.assertNotEqual(self.answer().message_id, "m1")
        self.assertEqual(len(self.built), 2)

    def test_other_bodies_are_other_messages(self) -> None:
        """Bodies that differ in a byte are different messages."""
        self.post()
        self.post(outbound() + b" ", client=self.another())
        self.assertEqual(self.ids_published(), ["m1", "m2"])

    def test_client_goes_away(self) -> None:
        """A client that goes away cancels nothing, and its repeat joins what it began."""
        self.post()
        self.client.leave()
        self.assertFalse(self.confirms[0].called)
        self.assertEqual(self.titles, ["ClientGone"])
        second = self.post(client=self.another())
        self.confirm()
        self.assertEqual(second.response().message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1"])

    def test_gone_before_the_confirm(self) -> None:
        """Where nobody was left to be told, the repeat gets the id with nothing published."""
        self.post()
        self.client.leave()
        self.confirm()
        self.assertEqual(self.answer(client=self.another()).message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1"])

    def test_gone_while_building(self) -> None:
        """A client that goes away while its message is built does not end that, either."""
        self.build_waits = Deferred()
        self.post()
        self.client.leave()
        self.build_waits.callback(None)
        self.assertEqual(self.ids_published(), ["m1"])
        self.confirm()

    def test_one_of_two_goes_away(self) -> None:
        """One client that goes away takes nothing from the other."""
        self.post()
        second = self.post(client=self.another())
        self.client.leave()
        self.confirm()
        self.assertEqual(second.response().message_id, "m1")


class WrittenTests(OutboundCase):
    """Statuses that wait for the 200 with their message's id."""

    def written(self, message_id: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self.publisher.written(message_id))

    def test_unknown(self) -> None:
        """Where no answer is to come nothing is waited for."""
        self.assertIsNone(self.successResultOf(self.written("m1")))

    def test_written(self) -> None:
        """A status waits until the 200 with its message's id has been written."""
        self.post()
        written = self.written("m1")
        other = self.written("m2")
        self.assertNoResult(written)
        self.successResultOf(other)
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")
        late = self.written("m1")
        self.assertNoResult(written)  # it is finished, and leaves with the reactor's next rounds
        self.assertNoResult(late)
        self.clock.advance(FLUSH_TIME)
        self.assertIsNone(self.successResultOf(written))
        self.assertIsNone(self.successResultOf(late))
        self.assertIsNone(self.successResultOf(self.written("m1")))

    def test_not_for_ever(self) -> None:
        """It waits for 5 seconds at most, also where Turn never asks again."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        self.confirm()
        written = self.written("m1")
        self.clock.advance(ANSWER_TIMEOUT - 0.1)
        self.assertNoResult(written)
        self.clock.advance(0.1)
        self.assertIsNone(self.successResultOf(written))

    def test_clients_that_have_gone(self) -> None:
        """Messages whose clients have gone delay statuses by 5 seconds once, not one after another."""
        for n in range(20):
            self.post(outbound(to=f"+{n}"), client=self.another()).leave()
        while self.confirms:
            self.confirm()
        self.clock.advance(1)
        first = self.written("m1")
        self.clock.advance(ANSWER_TIMEOUT - 1)
        self.successResultOf(first)
        for n in range(2, 21):
            self.successResultOf(self.written(f"m{n}"))

    def test_repeat_after_a_503(self) -> None:
        """A status that came between a 503 and the repeat's 200 waits for that."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        written = self.written("m1")
        self.clock.advance(1)
        self.post()
        self.clock.advance(1)
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")
        self.assertNoResult(written)
        self.clock.advance(FLUSH_TIME)
        self.successResultOf(written)

    def test_another_worker(self) -> None:
        """Where another worker has yet to write the 200 it is asked again, for 5 seconds at most."""
        asked: list[str] = []
        until = 0.19

        async def elsewhere(message_id: str) -> bool:
            asked.append(message_id)
            return self.clock.seconds() < until

        self.patch(self.store, "awaits_answer", elsewhere)
        self.publisher, _ = self.make()
        written = self.written("o1")
        self.assertNoResult(written)
        for _ in range(4):
            self.clock.advance(0.05)
        self.successResultOf(written)
        self.assertEqual(set(asked), {"o1"})
        until = 1000.0
        written = self.written("o1")
        for _ in range(99):
            self.clock.advance(0.05)
        self.assertNoResult(written)
        for _ in range(3):
            self.clock.advance(0.05)
        self.successResultOf(written)

    def test_many_wait(self) -> None:
        """Several statuses of one message wait side by side, and one that times out disturbs none."""
        self.post()
        first = self.written("m1")
        self.clock.advance(3)
        second = self.written("m1")
        self.clock.advance(2)
        self.successResultOf(first)
        self.assertNoResult(second)
        self.assertBusy(self.client.response())
        self.confirm()
        self.assertEqual(self.answer().message_id, "m1")
        self.clock.advance(FLUSH_TIME)
        self.successResultOf(second)

    def test_who_stops_waiting(self) -> None:
        """A wait that is cancelled leaves no timer, and disturbs no other one."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        other = self.written("m1")
        timers = set(self.clock.getDelayedCalls())
        written = self.written("m1")
        written.cancel()
        self.failureResultOf(written, CancelledError)
        self.assertEqual(set(self.clock.getDelayedCalls()), timers)
        self.confirm()
        self.assertEqual(self.answer().message_id, "m1")
        self.clock.advance(FLUSH_TIME)
        self.successResultOf(other)


class StopTests(OutboundCase):
    def drain(self, timeout: float = 10.0) -> Deferred[None]:
        return Deferred.fromCoroutine(self.publisher.drain(timeout))

    def written(self, drained: Deferred[None]) -> None:
        """It is over as soon as the last answer can be on its way."""
        self.clock.advance(WRITING_TIME)
        self.successResultOf(drained)

    def test_no_new_ones(self) -> None:
        """A worker that stops takes no new messages."""
        self.publisher.stop()
        self.assertBusy(self.answer())
        self.assertEqual(self.built, [])
        self.assertEqual(self.answer(signature=b"wrong").status, 401)

    def test_one_that_joins(self) -> None:
        """A message that joins one which is held is taken: the person waits for it."""
        self.publisher.stop()
        self.at_once = True
        self.assertEqual(self.answer(outbound(turn={"type": "text", "text": {"body": "joins"}})).status, 200)

    def test_repeats(self) -> None:
        """A repeat of what is under way is no new message: after the stop it would be a second one."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        self.publisher.stop()
        self.post()
        drained = self.drain()
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")
        self.written(drained)
        self.assertEqual(self.ids_published(), ["m1"])

    def test_repeat_of_a_refused_one(self) -> None:
        """A repeat that would have to be published again is left to the next worker."""
        self.post()
        self.confirm(Nacked())
        self.assertBusy(self.client.response())
        self.publisher.stop()
        self.assertBusy(self.answer())
        self.assertEqual(self.ids_published(), ["m1"])

    def test_idle(self) -> None:
        """Where nothing is under way only the last answers are waited for: to leave for the network."""
        self.at_once = True
        self.assertEqual(self.answer().status, 200)
        self.publisher.stop()
        drained = self.drain()
        self.assertNoResult(drained)
        self.written(drained)

    def test_drained(self) -> None:
        """Draining waits for what is under way, and that is answered."""
        self.post()
        self.publisher.stop()
        drained = self.drain()
        self.assertNoResult(drained)
        self.confirm()
        self.written(drained)
        self.assertEqual(self.client.response().message_id, "m1")

    def test_publishing_without_a_client(self) -> None:
        """It waits for a publish that no client waits for, too."""
        self.post()
        self.client.leave()
        drained = self.drain()
        self.assertNoResult(drained)
        self.confirm()
        self.written(drained)

    def test_not_for_ever(self) -> None:
        """Draining is over after its time, however much is under way."""
        self.post()
        drained = self.drain(3.0)
        self.clock.advance(2.9)
        self.assertNoResult(drained)
        self.clock.advance(0.1)
        self.written(drained)
