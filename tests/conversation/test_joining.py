"""Several messages for one input, shown as one."""

from __future__ import annotations

import gc
from typing import Any, Optional, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.conversation.documents import FakeDocuments
from vumi_turn.broker.interface import BrokerUnavailable, Delivery, Outcome
from vumi_turn.conversation.answers import ANSWER, AnswerState, Finish, InputAnswers
from vumi_turn.conversation.joined_notes import JOINED, TURN_IDS
from vumi_turn.conversation.joining import MOST_WINDOWS, Joiner, Part
from vumi_turn.vumi.messages import MalformedMessage, TransportUserMessage

WINDOW = 1.0


async def stop_joiner(joiner: Joiner, timeout: float) -> None:
    """As a channel stops it."""
    await joiner.drain(timeout)
    joiner.give_back()


class Flow:
    """Publishes into a list; can be told to fail, or to take its time."""

    def __init__(self) -> None:
        self.published: list[tuple[list[str], str, bool]] = []
        self.failed: list[str] = []
        self.late_parts = 0
        self.goes_on = True
        self.answers: list[Deferred[None]] = []

    async def publish_joined(self, parts: Sequence[Part], message_id: str, waits: bool) -> None:
        if self.answers:
            await self.answers.pop(0)
        self.published.append(([part.id for part in parts], message_id, waits))

    async def session_goes_on(self, original: TransportUserMessage) -> bool:
        return self.goes_on

    async def fail_part(self, part: Part, delivery: Delivery) -> Outcome:
        self.failed.append(part.id)
        return Outcome.ACK

    def late(self, count: int) -> None:
        self.late_parts += count


class JoinerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.documents = FakeDocuments()
        self.answers = InputAnswers(self.documents)
        self.flow = Flow()
        self.joiner = self.make()

    def make(self) -> Joiner:
        return Joiner(self.clock, WINDOW, self.documents, self.answers, self.flow)

    def run_now(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def part(self, name: str, input_id: str = "i1", waits: bool = False) -> Part:
        original = TransportUserMessage.send(
            "*120#", None, from_addr="+26612345678", session_event="resume", message_id=input_id
        )
        return Part(name, original, {"type": "text", "text": {"body": name}}, name, waits)

    def put(
        self, name: str, input_id: str = "i1", waits: bool = False, joiner: Optional[Joiner] = None
    ) -> tuple[Delivery, Deferred[Outcome]]:
        """A part comes from the queue, as a worker has put it there."""
        part = self.part(name, input_id, waits)
        self.run_now(self.answers.begin_waiting(input_id, name) if waits else self.answers.begin_part(input_id, name))
        delivery = Delivery("c.turn_joining", part.to_json(), redelivered=False, received=0.0)
        return delivery, Deferred.fromCoroutine((joiner or self.joiner).take(part, delivery))


class JoinTests(JoinerCase):
    def test_close(self) -> None:
        """What comes within the window is one message, in order, which ends the session."""
        _, one = self.put("one")
        self.clock.advance(0.9)
        _, two = self.put("two")
        self.clock.advance(0.9)
        self.assertEqual((self.flow.published, self.joiner.held), ([], 2))
        self.clock.advance(0.1)
        self.assertEqual(self.flow.published, [(["one", "two"], "one", False)])
        self.assertEqual((self.successResultOf(one), self.successResultOf(two)), (Outcome.ACK, Outcome.ACK))
        self.assertEqual((self.joiner.held, self.clock.getDelayedCalls()), (0, []))

    def test_waits(self) -> None:
        """A message that waits closes the joining at once, and the session goes on."""
        self.put("one")
        _, two = self.put("two", waits=True)
        self.assertEqual(self.flow.published, [(["one", "two"], "one", True)])
        self.assertEqual(self.successResultOf(two), Outcome.ACK)
        self.assertIs(self.run_now(self.answers.state_of("i1")), AnswerState.ANSWERED)

    def test_three_windows(self) -> None:
        """What never stops coming is published after three windows."""
        for number in range(10):
            self.put(f"p{number}")
            self.clock.advance(0.5)
        self.assertEqual(self.flow.published[0][0], [f"p{number}" for number in range(6)])
        self.assertEqual(MOST_WINDOWS, 3)

    def test_inputs_apart(self) -> None:
        """Each input has a message of its own."""
        self.put("one", "i1")
        self.put("two", "i2")
        self.clock.advance(1)
        self.assertEqual([ids for ids, _, _ in self.flow.published], [["one"], ["two"]])

    def test_ids(self) -> None:
        """It is noted what was joined into what, before it is published and after."""
        self.flow.answers = [Deferred()]
        pending = self.flow.answers[0]
        self.put("one")
        self.put("two")
        self.clock.advance(1)
        self.assertEqual(self.run_now(self.documents.get(JOINED, "two")), {"id": "one"})
        self.assertEqual(self.run_now(self.documents.get(TURN_IDS, "one")), ["one", "two"])
        pending.callback(None)
        self.assertEqual(self.run_now(self.documents.get(JOINED, "two")), {"id": "one", "published": True})

    def test_other_session(self) -> None:
        """What is held for a session that is over is not published: Turn is told."""
        _, one = self.put("one")
        self.flow.goes_on = False
        self.clock.advance(1)
        self.assertEqual((self.flow.published, self.flow.failed), ([], ["one"]))
        self.assertEqual(self.successResultOf(one), Outcome.ACK)

    def test_waiting_under_way(self) -> None:
        """While a message that waits is on its way to the queue nothing is closed."""
        self.put("one")
        self.run_now(self.answers.begin_waiting("i1", "m9"))
        self.clock.advance(1)
        self.assertEqual((self.flow.published, self.joiner.held), ([], 1))
        self.put("two", waits=True)
        self.assertEqual(self.flow.published, [(["one", "two"], "one", True)])

    def test_waiting_that_never_comes(self) -> None:
        """After three windows what is held is published, and the session goes on."""
        self.put("one")
        self.run_now(self.answers.begin_waiting("i1", "m9"))
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.flow.published, [(["one"], "one", True)])

    def test_late(self) -> None:
        """What comes when the input has been answered is a message of its own, and closes nothing."""
        part = self.part("two")
        self.put("one")
        self.run_now(self.answers.begin_part("i1", "m9"))
        self.clock.advance(1)
        delivery = Delivery("c.turn_joining", part.to_json(), redelivered=False, received=0.0)
        Deferred.fromCoroutine(self.joiner.take(part, delivery))
        self.clock.advance(1)
        self.assertEqual(self.flow.published, [(["one"], "one", False), (["two"], "two", True)])
        self.assertEqual(self.flow.late_parts, 1)

    def test_while_publishing(self) -> None:
        """What comes while the message is being published waits for its confirmation."""
        pending: Deferred[None] = Deferred()
        self.flow.answers = [pending]
        self.put("one", waits=True)
        self.put("two")
        self.clock.advance(1)
        self.assertEqual(self.flow.published, [])
        pending.callback(None)
        self.clock.advance(1)
        self.assertEqual([ids for ids, _, _ in self.flow.published], [["one"], ["two"]])

    def test_stood_still(self) -> None:
        """A window that ends late, because the process stood still, begins anew: what came meanwhile is not read."""
        self.put("one")
        self.clock.advance(5)
        self.assertEqual((self.flow.published, self.joiner.held), ([], 1))
        self.clock.advance(0.5)
        self.put("two", waits=True)
        self.assertEqual(self.flow.published, [(["one", "two"], "one", True)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stood_still_for_ever(self) -> None:
        """It begins anew once only, and what nothing joins is published when it is over."""
        for name, seconds in (("one", 1.0), ("two", 5.0)):
            self.put(name, input_id=f"of {name}")
            self.clock.advance(5)
            self.clock.advance(seconds)
        self.assertEqual(self.flow.published, [(["one"], "one", False), (["two"], "two", False)])


class TroubleTests(JoinerCase):
    def test_broker_refuses(self) -> None:
        """What the broker has not taken is published again, whole, under the same id."""
        refused: Deferred[None] = Deferred()
        self.flow.answers = [refused, succeed(None)]
        _, one = self.put("one")
        self.clock.advance(1)
        refused.errback(BrokerUnavailable("away"))
        self.assertNoResult(one)
        self.clock.advance(1)
        self.assertEqual(self.flow.published, [(["one"], "one", False)])
        self.assertEqual(self.successResultOf(one), Outcome.ACK)

    def test_lost_while_held(self) -> None:
        """A part whose delivery is lost is let go: it comes again."""
        delivery, one = self.put("one")
        delivery.lose()
        self.assertEqual((self.successResultOf(one), self.joiner.held), (Outcome.REQUEUE, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.put("one")
        self.clock.advance(1)
        self.assertEqual(self.flow.published, [(["one"], "one", False)])

    def test_lost_while_another_is_published(self) -> None:
        """A part that waits for another publish of its input, and is lost meanwhile, leaves nothing to be done."""
        pending: Deferred[None] = Deferred()
        self.flow.answers = [pending]
        self.put("one", waits=True)
        delivery, two = self.put("two", waits=True)
        delivery.lose()
        pending.callback(None)
        self.clock.advance(1)
        self.assertEqual(self.flow.published, [(["one"], "one", True)])
        self.assertEqual(self.successResultOf(two), Outcome.REQUEUE)
        gc.collect()  # what no Deferred's errback has taken is logged then
        self.assertEqual((self.clock.getDelayedCalls(), self.flushLoggedErrors()), ([], []))

    def test_redelivered(self) -> None:
        """A part that is delivered again begins the window anew."""
        self.put("one")
        self.clock.advance(0.5)
        delivery, _ = self.put("two")
        self.clock.advance(0.9)
        delivery.lose()
        part = self.part("two")
        Deferred.fromCoroutine(self.joiner.take(part, Delivery("c.turn_joining", b"", True)))
        self.clock.advance(0.9)
        self.assertEqual((self.flow.published, self.joiner.held), ([], 2))
        self.clock.advance(0.1)
        self.assertEqual(self.flow.published, [(["one", "two"], "one", False)])

    def test_killed_before_the_publish(self) -> None:
        """Parts that were noted and not published are published under the id that was noted, and close."""
        stuck: Deferred[None] = Deferred()
        self.flow.answers = [stuck]
        self.put("one")
        self.put("two")
        self.clock.advance(1)
        self.flow.answers = []
        other = self.make()
        for name in ("two", "one"):
            part = self.part(name)
            Deferred.fromCoroutine(other.take(part, Delivery("c.turn_joining", b"", True)))
        self.clock.advance(1)
        self.assertEqual(self.flow.published, [(["two", "one"], "one", False)])

    def test_killed_after_the_publish(self) -> None:
        """A part that was published is acknowledged when it comes again, and not published."""
        self.put("one")
        self.clock.advance(1)
        part = self.part("one")
        again = Deferred.fromCoroutine(self.make().take(part, Delivery("c.turn_joining", b"", True)))
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(again), Outcome.ACK)
        self.assertEqual(len(self.flow.published), 1)

    def test_killed_before_the_200(self) -> None:
        """A part that Turn has repeated is in the queue twice, and shown once; also when the rest comes later."""
        self.put("one")
        _, again = self.put("one")
        self.put("two", waits=True)
        self.assertEqual(self.flow.published, [(["one", "two"], "one", True)])
        self.assertEqual(self.successResultOf(again), Outcome.ACK)
        _, repeated = self.put("one")
        self.clock.advance(1)
        self.assertEqual((len(self.flow.published), self.successResultOf(repeated)), (1, Outcome.ACK))

    def test_killed_while_closing(self) -> None:
        """What was to end the session ends it also when it is published again, its pages too."""
        self.flow.answers = [Deferred()]
        self.put("one")
        self.clock.advance(1)
        self.run_now(self.answers.answered("i1", "one", page=True))
        other = self.make()
        Deferred.fromCoroutine(other.take(self.part("one"), Delivery("c.turn_joining", b"", True)))
        self.clock.advance(1)
        self.assertEqual(self.flow.published, [(["one"], "one", False)])

    def test_ids_of_the_rest(self) -> None:
        """Where only some parts come again, the joined message keeps the ids of all."""
        self.flow.answers = [Deferred()]
        self.put("one")
        self.put("two")
        self.clock.advance(1)
        other = self.make()
        Deferred.fromCoroutine(other.take(self.part("two"), Delivery("c.turn_joining", b"", True)))
        self.clock.advance(1)
        self.assertEqual(self.run_now(self.documents.get(TURN_IDS, "one")), ["one", "two"])

    def test_cache_away(self) -> None:
        """With the cache away parts are joined all the same."""
        self.put("one")
        self.documents.away = True
        part = self.part("two")
        Deferred.fromCoroutine(self.joiner.take(part, Delivery("c.turn_joining", b"", False)))
        self.clock.advance(1)
        self.assertEqual(self.flow.published, [(["one", "two"], "one", False)])

    def test_bug(self) -> None:
        """Parts on which our own code fails go back to their queue."""
        self.flow.answers = [Deferred()]
        broken = self.flow.answers[0]
        _, one = self.put("one")
        self.clock.advance(1)
        broken.errback(ZeroDivisionError("marker"))
        self.assertEqual(self.successResultOf(one), Outcome.REQUEUE)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop(self) -> None:
        """When stopping windows run out, and POSTs that join are taken; then parts go back."""
        _, one = self.put("one")
        stopped = Deferred.fromCoroutine(stop_joiner(self.joiner, 10))
        self.clock.advance(0.5)
        self.put("two")
        self.assertNoResult(stopped)
        self.clock.pump([0.05] * 30)
        self.assertEqual(self.flow.published, [(["one", "two"], "one", False)])
        self.successResultOf(stopped)
        _, late = self.put("three", "i3")
        self.assertEqual(self.successResultOf(late), Outcome.REQUEUE)

    def test_stop_in_time(self) -> None:
        """Parts whose window is longer than there is time go back to their queue."""
        _, one = self.put("one")
        stopped = Deferred.fromCoroutine(stop_joiner(self.joiner, 0.5))
        self.clock.pump([0.05] * 12)
        self.successResultOf(stopped)
        self.assertEqual((self.successResultOf(one), self.flow.published), (Outcome.REQUEUE, []))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PartTests(JoinerCase):
    def test_json(self) -> None:
        """A part is in the queue as a whole."""
        part = self.part("one", waits=True)
        again = Part.from_json(part.to_json())
        self.assertEqual((again.id, again.turn, again.content, again.waits), ("one", part.turn, "one", True))
        self.assertEqual(again.original.to_json(), part.original.to_json())

    def test_junk(self) -> None:
        """What is no part is said to be none."""
        for body in (b"", b"[]", b"{}", b'{"id": 7}', b"\xff"):
            self.assertRaises(MalformedMessage, Part.from_json, body)


class AnswerTests(JoinerCase):
    def test_states(self) -> None:
        """How an input was answered before is told to whoever answers it."""
        begin_part, begin_waiting = self.answers.begin_part, self.answers.begin_waiting
        self.assertIs(self.run_now(begin_waiting("i1", "m9")), AnswerState.NONE)
        self.assertIs(self.run_now(begin_part("i1", "m9")), AnswerState.NONE)
        self.assertIs(self.run_now(begin_part("i1", "m9")), AnswerState.JOINING)
        self.assertIs(self.run_now(begin_waiting("i1", "m9")), AnswerState.JOINING)
        self.run_now(self.answers.answered("i2", "m2"))
        self.assertIs(self.run_now(begin_part("i2", "m9")), AnswerState.ANSWERED)
        self.assertIs(self.run_now(begin_waiting("i2", "m9")), AnswerState.ANSWERED)

    def test_repeats(self) -> None:
        """A message of Turn's that comes again is no second answer: as a part it is known in the queue."""
        begin_part, begin_waiting = self.answers.begin_part, self.answers.begin_waiting
        self.run_now(self.answers.answered("i1", "m1"))
        self.assertIs(self.run_now(begin_waiting("i1", "m1")), AnswerState.NONE)
        self.run_now(self.answers.finish("i2", "m1", False, ["m1", "m2"]))
        for name, state in (("m1", AnswerState.JOINING), ("m2", AnswerState.JOINING), ("m3", AnswerState.CLOSED)):
            self.assertIs(self.run_now(begin_part("i2", name)), state)
            self.assertIs(self.run_now(begin_waiting("i2", name)), state)

    def test_more_of_the_same(self) -> None:
        """What comes late to a message that was about to be published is known as joined into it, once."""
        finish = self.answers.finish
        self.run_now(finish("i1", "m1", False, ["m1"]))
        self.assertIs(self.run_now(finish("i1", "m1", False, ["m1", "m2"])), Finish.CLOSE)
        self.assertEqual(self.run_now(self.documents.get(ANSWER, "i1"))["ids"], ["m1", "m2"])
        self.assertIs(self.run_now(self.answers.begin_part("i1", "m2")), AnswerState.JOINING)
        self.assertIs(self.run_now(self.answers.begin_part("i1", "m3")), AnswerState.CLOSED)

    def test_page(self) -> None:
        """An input that a page has answered is known as such."""
        self.run_now(self.answers.answered("i1", "m1", page=True))
        self.run_now(self.answers.answered("i2", "m2"))
        self.assertEqual(
            [self.run_now(self.answers.shows_page(name)) for name in ("i1", "i2", "i3")], [True, False, False]
        )
