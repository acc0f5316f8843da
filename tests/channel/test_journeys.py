"""What a channel counts, notes and publishes, and in which order, while a journey goes by on a phone."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from tests.cases import case
from tests.channel.test_conversations import LIST, LONG, ConversationCase
from tests.channel.test_worker import OK, inbound, request
from tests.fakes import FakeBroker
from vumi_turn.broker.interface import Outcome
from vumi_turn.caches import CacheUnavailable
from vumi_turn.channel.outgoing import Outgoing
from vumi_turn.channel.parts_queue import PartsQueue
from vumi_turn.conversation.answers import ANSWER
from vumi_turn.conversation.conversations import INPUT, PERSON
from vumi_turn.conversation.joining import Part
from vumi_turn.turn.client import TurnResponse
from vumi_turn.vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage

ADDRESS = "26612345678"


class JourneyCase(ConversationCase):
    def run_now(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def count(self, name: str, **labels: str) -> float:
        """A number of this channel's."""
        assert self.worker.host is not None
        shown = ",".join(f'{key}="{value}"' for key, value in sorted({"connector": "c", **labels}.items()))
        wanted = f"vumi_turn_{name}{{{shown}}} "
        lines = self.worker.host.management.metrics.render().decode().splitlines()
        (value,) = [line.removeprefix(wanted) for line in lines if line.startswith(wanted)] or ["0"]
        return float(value)

    def document(self, kind: Any, key: str) -> Any:
        """What the cache has."""
        return self.run_now(self.worker.cache.documents.get(kind, key))


class CountingTests(JourneyCase):
    def test_reduced(self) -> None:
        """What was carried only by its content, or lost a medium, is counted by type, in a session and outside."""
        self.ask("m1", {"type": "template"}, content="Hi")
        self.say("i1", None, "new")
        self.ask("m2", {"type": "image", "image": {"id": "1", "caption": "Look"}}, waiting_for_user_input=True)
        self.ask("m3", {"type": "order"}, content="Hi")
        counted = [
            self.count("reduced_total", type=type_, how=how)
            for type_, how in (("template", "content"), ("image", "medium"), ("other", "content"), ("image", "content"))
        ]
        self.assertEqual(counted, [1, 1, 1, 0])

    def test_choices(self) -> None:
        """Choices made, typed through and out of range are counted, and pages shown."""
        self.say("i1", None, "new")
        self.ask("m1", LIST, waiting_for_user_input=True)
        for name, typed in (("i2", "1"), ("i3", "perhaps"), ("i4", "9")):
            self.say(name, typed)
        outcomes = ("made", "typed_through", "out_of_range", "cache_away")
        self.assertEqual([self.count("choices_total", outcome=outcome) for outcome in outcomes], [1, 1, 1, 0])
        self.ask("m2", LONG, waiting_for_user_input=True)
        self.say("i5", "98")
        self.assertEqual(self.count("pages_shown_total"), 1)
        self.assertEqual(self.count("settled_total", kind="message", result="page"), 1)

    def test_parts(self) -> None:
        """Parts that were joined, that came late, and that were not shown are counted."""
        outcomes = ("joined", "late", "failed")
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.ask("m2", "Two?", waiting_for_user_input=True)
        self.assertEqual([self.count("parts_total", outcome=outcome) for outcome in outcomes], [2, 0, 0])
        self.ask("m3", "Three.")
        self.assertEqual([self.count("parts_total", outcome=outcome) for outcome in outcomes], [2, 1, 0])
        self.say("i2", "x")
        self.ask("m4", "Four.")
        self.say("i3", None, "new")
        self.wait(1.1)
        self.assertEqual([self.count("parts_total", outcome=outcome) for outcome in outcomes], [2, 1, 1])


class ChoiceTests(JourneyCase):
    def test_noted_before_the_post(self) -> None:
        """A choice is written before Turn hears of it."""
        self.say("i1", None, "new")
        self.ask("m1", LIST, waiting_for_user_input=True)
        answer: Deferred[TurnResponse] = Deferred()
        self.turn.answers = [answer]
        self.say("i2", "2")
        self.assertEqual(len(self.turn.messages), 2)
        self.assertEqual(self.document(INPUT, "i2")["choice"]["title"], "No")
        answer.callback(OK)
        self.turns()

    def test_redelivered(self) -> None:
        """What is delivered again means what it meant, though the person has another menu by now."""
        self.say("i1", None, "new")
        self.ask("m1", LIST, waiting_for_user_input=True)
        self.turn.answers = [TurnResponse(status=None, error="lost", wait=None, detail="")]
        key = inbound(message_id="i2", content="2", session_event="resume", transport_type="ussd", to_addr="*120#")
        self.push("inbound", key)
        self.ask("m2", "Your name?", waiting_for_user_input=True, reply_to="i1")
        self.assertNotIn("menu", self.document(PERSON, ADDRESS) or {})
        self.broker.go_away()
        self.broker.come_back()
        self.wait(70)
        self.assertEqual([m["message"]["text"] for m in self.turn.messages[1:]], [{"body": "No"}] * 2)

    def test_timeout(self) -> None:
        """A menu lives as long as the cache's timeout."""
        self.stop(self.worker)
        self.worker = self.start(join_window=1.0, message_cache_config={"timeout": 5})
        self.turn = self.worker.fake_turn
        self.say("i1", None, "new")
        self.ask("m1", LIST, waiting_for_user_input=True)
        self.wait(4)
        self.say("i2", "2")
        self.wait(6)
        self.say("i3", "2")
        self.assertEqual([m["message"]["text"]["body"] for m in self.turn.messages[1:]], ["No", "2"])


class RedeliveredTests(JourneyCase):
    """What the broker delivers again undoes nothing that came after it."""

    def again(self, name: str, session_event: str, session: str = "s1") -> None:
        """An input without words is delivered once more."""
        self.broker.push("c.inbound", self.input(name, session_event, session).to_json(), redelivered=True)
        self.turns()

    def input(self, name: str, session_event: str, session: str) -> TransportUserMessage:
        fields = {"session_event": session_event, "transport_type": "ussd", "to_addr": "*120#"}
        return inbound(message_id=name, content=None, transport_metadata={"session": session}, **fields)

    def test_new(self) -> None:
        """The begin of a session leaves the menu that the person was shown since."""
        self.say("i1", None, "new")
        self.ask("m1", LIST, waiting_for_user_input=True)
        self.again("i1", "new")
        self.say("i2", "2")
        self.assertEqual(self.turn.messages[-1]["message"]["text"], {"body": "No"})

    def test_answer(self) -> None:
        """What answered no menu and no pages then is what was typed, whatever the person was shown since."""
        self.say("i1", None, "new")
        answer: Deferred[TurnResponse] = Deferred()
        self.turn.answers = [answer]
        key = inbound(message_id="i2", content="98", session_event="resume", transport_type="ussd", to_addr="*120#")
        self.push("inbound", key)
        self.ask("m1", LONG, waiting_for_user_input=True)
        self.broker.push("c.inbound", key.to_json(), redelivered=True)
        answer.callback(OK)
        self.turns()
        self.assertEqual(len(self.sent()), 1)
        self.say("i3", "98")
        self.assertEqual([page.in_reply_to for page in self.sent()], ["i2", "i3"])
        self.assertIn("word25", self.sent()[1].content or "")

    def test_away_for_long(self) -> None:
        """A choice, or a page, is what it was however long an input goes to and fro between its queue and us."""
        self.stop(self.worker)
        self.worker = self.start(join_window=1.0, message_cache_config={"timeout": 3000})
        self.turn = self.worker.fake_turn
        self.say("i1", None, "new")
        self.ask("m1", LIST, waiting_for_user_input=True)
        self.turn.answers = [TurnResponse(status=503, error=None, wait=None, detail="")] * 1000
        self.say("i2", "2")
        for _ in range(5):
            for _ in range(20):
                self.reactor.advance(60)
            self.broker.go_away()
            self.turns()
            self.broker.come_back()
            self.turns()
        self.turn.answers = []
        self.wait(120)
        self.assertEqual(self.queue("inbound"), [])
        typed = {str(message["message"].get("text")) for message in self.turn.messages[1:]}
        self.assertEqual(typed, {str({"body": "No"})})

    def test_never_consumed(self) -> None:
        """What was delivered before, and did not get as far as the cache, means what it would have meant then."""
        self.say("i1", None, "new")
        self.ask("m1", LIST, waiting_for_user_input=True)
        key = inbound(message_id="i2", content="2", session_event="resume", transport_type="ussd", to_addr="*120#")
        self.broker.push("c.inbound", key.to_json(), redelivered=True)
        self.turns()
        self.assertEqual(self.turn.messages[-1]["message"]["text"], {"body": "No"})

    def test_close(self) -> None:
        """The end of a session leaves the pages of the next one."""
        self.push("inbound", self.input("i1", "new", "s1"))
        self.push("inbound", self.input("i2", "close", "s1"))
        self.push("inbound", self.input("i3", "new", "s1"))
        self.ask("m1", LONG, waiting_for_user_input=True)
        self.again("i2", "close")
        self.say("i4", "98")
        self.assertEqual(self.sent()[-1].in_reply_to, "i4")

    def test_late_close(self) -> None:
        """The end of another session, which comes late, leaves the pages of this one."""
        self.push("inbound", self.input("i1", "new", "s0"))
        self.push("inbound", self.input("i3", "new", "s1"))
        self.ask("m1", LONG, waiting_for_user_input=True)
        self.push("inbound", self.input("i2", "close", "s0"))
        self.say("i4", "98")
        self.assertEqual(self.sent()[-1].in_reply_to, "i4")


class PageTests(JourneyCase):
    def paged(self) -> None:
        """A question in pages, at its first page."""
        self.say("i1", None, "new")
        self.ask("m1", LONG, waiting_for_user_input=True)

    def test_behind_earlier_messages(self) -> None:
        """A key shows its page behind the person's earlier messages."""
        self.paged()
        answer: Deferred[TurnResponse] = Deferred()
        self.turn.answers = [answer]
        self.say("i2", "hello")
        self.say("i3", "98")
        self.assertEqual(len(self.sent()), 1)
        answer.callback(OK)
        self.turns()
        self.assertEqual([message.in_reply_to for message in self.sent()], ["i1", "i3"])

    def test_acknowledged_when_confirmed(self) -> None:
        """A key is the broker's until its page is confirmed; a page that is refused is published again, the same."""
        self.paged()
        self.broker.nack_next(2)
        self.say("i2", "98")
        self.assertEqual((len(self.sent()), len(self.queue("inbound"))), (1, 1))
        noted = self.document(INPUT, "i2")
        self.wait(5)
        self.assertEqual((len(self.sent()), self.queue("inbound")), (2, []))
        page = self.sent()[1]
        self.assertEqual((page.message_id, page.content), (noted["id"], noted["page"]))

    def test_key_is_lost(self) -> None:
        """A key whose delivery is lost before its page is confirmed is left to whoever gets it next."""
        self.paged()
        self.broker.nack_next(1)
        self.push("inbound", self.key("i2"))
        self.broker.go_away()
        self.turns()
        consumer = self.worker.connectors["c"]
        consumer.pause()
        self.broker.come_back()
        self.wait(5)
        self.assertEqual(len(self.sent()), 1, "another worker may have the key")
        consumer.unpause()
        self.wait(1)
        self.assertEqual([page.in_reply_to for page in self.sent()], ["i1", "i2"])
        self.assertEqual((self.parked(), self.queue("inbound")), ([], []))

    def key(self, name: str) -> TransportUserMessage:
        """A person asks for the next page."""
        return inbound(message_id=name, content="98", session_event="resume", transport_type="ussd", to_addr="*120#")

    def test_lost(self) -> None:
        """Where the cache has lost the pages, or has none, a key goes to Turn as it was typed."""
        self.paged()
        self.run_now(self.worker.cache.documents.put(PERSON, {ADDRESS: None}))
        self.say("i2", "98")
        self.assertEqual(self.turn.messages[-1]["message"]["text"], {"body": "98"})

    def test_answered_by_a_page(self) -> None:
        """What answers an input that a page has answered is published at once, and does not close."""
        self.paged()
        self.say("i2", "98")
        self.assertIsInstance(self.ask("m2", "By the way."), Outgoing)
        last = self.sent()[-1]
        self.assertEqual((last.content, last.in_reply_to, last.session_event), ("By the way.", "i2", "resume"))

    def test_statuses_of_a_joined_text(self) -> None:
        """The first page of a joined text has a status for each of Turn's ids, the others have none."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.ask("m2", LONG, waiting_for_user_input=True)
        self.say("i2", "98")
        first, second = self.sent()
        for page in (second, first):
            self.push("event", _ack(page.message_id))
        self.assertEqual([status["status"]["id"] for status in self.turn.statuses], ["m1", "m2"])


class TraceTests(JourneyCase):
    def steps(self, message_id: str) -> list[str]:
        """What the trace has of a message."""
        assert self.worker.host is not None
        (found,) = self.worker.host.management.traces.find(message_id)
        return [step["step"] for step in found["steps"]]

    def test_paged(self) -> None:
        """The trace says that a message was shown in pages, and which page an input was answered with."""
        self.say("i1", None, "new")
        self.ask("m1", LONG, waiting_for_user_input=True)
        self.say("i2", "98")
        first, second = self.sent()
        self.push("event", _ack(first.message_id))
        self.assertEqual(self.steps("m1"), ["accepted", "published", "paged", "event ack", "tried", "delivered"])
        self.assertEqual(self.steps("i2"), ["received", "paged", "page"])
        assert self.worker.host is not None
        traces = self.worker.host.management.traces
        (pages,) = [step["pages"] for step in traces.find("m1")[0]["steps"] if step["step"] == "paged"]
        self.assertGreater(pages, 1)
        (shown_by,) = [step["id"] for step in traces.find("i2")[0]["steps"] if step["step"] == "paged"]
        self.assertEqual(shown_by, second.message_id)

    def test_empty_close(self) -> None:
        """The end of a session without a word has a trace and a line in the log, as every message that is settled."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.say("i1", None, "close")
        self.assertEqual(self.steps("i1"), ["received", "nothing"])
        lines = [formatEvent(event) for event in events if event["log_level"].name == "info"]
        self.assertEqual(lines, ["message i1: nothing after 0 tries, 0 ms"])
        assert self.worker.host is not None
        self.assertEqual(len(self.worker.host.management.traces.of_person(ADDRESS)), 1)

    def test_joined(self) -> None:
        """The trace of a part says into which message it was joined; that of a message in one screen has no pages."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.ask("m2", "Two.", waiting_for_user_input=True)
        self.assertEqual(self.steps("m1"), ["accepted", "held to be joined", "published", "joined"])
        self.assertEqual(self.steps("m2"), ["accepted", "held to be joined", "joined"])


class PartTests(JourneyCase):
    def test_whole(self) -> None:
        """A part is put there as Turn sent it, not as text; joined parts are numbered on, and paged as one text."""
        self.say("i1", None, "new")
        odd = {**LIST, "unknown": [1]}
        part = self.ask("m1", odd)
        assert isinstance(part, Part)
        self.assertEqual(Part.from_json(part.to_json()).turn, odd)
        self.ask("m2", {"type": "text", "text": {"body": LONG[:125]}})
        self.ask("m3", LIST, waiting_for_user_input=True)
        self.say("i2", "98")
        first, second = (page.content or "" for page in self.sent())
        whole = first.removesuffix("\n98. More") + "\n" + second.removesuffix("\n0. Back")
        self.assertEqual(whole, f"Choose\n1. Yes\n2. No\n{LONG[:125].strip()}\nChoose\n3. Yes\n4. No")
        self.say("i3", "4")
        self.assertEqual(self.turn.messages[-1]["message"]["text"], {"body": "No"})

    def test_mark(self) -> None:
        """Every worker knows that parts are held before the first of them is put into the queue."""
        self.say("i1", None, "new")
        self.run_now(self.worker.channel.build_outbound(request(), "m1"))
        self.assertEqual(self.queue("turn_joining"), [])
        self.assertEqual(self.document(ANSWER, "i1")["state"], "joining")
        waiting = self.run_now(self.worker.channel.build_outbound(request(waiting_for_user_input=True), "m2"))
        self.assertIsInstance(waiting, Part)

    def test_confirmed_first(self) -> None:
        """A message that joins what is held is taken once the broker has it in the queue of parts."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        waiting = self.run_now(self.worker.channel.build_outbound(request(waiting_for_user_input=True), "m2"))
        taken = Deferred.fromCoroutine(self.worker.channel.publish_outbound(waiting))
        self.assertNoResult(taken)
        self.turns()
        self.successResultOf(taken)

    def test_network_closes(self) -> None:
        """What is held when the network ends the session is not published, and Turn is told for each."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.ask("m2", "Two.")
        self.say("i2", None, "close")
        self.wait(1.1)
        self.assertEqual((self.sent(), self.queue("turn_joining")), ([], []))
        told = [(status["status"]["id"], status["status"]["status"]) for status in self.turn.statuses]
        self.assertEqual(told, [("m1", "failed"), ("m2", "failed")])

    def test_queue(self) -> None:
        """The queue of parts has one active consumer, which is given up to 10,000."""
        broker = FakeBroker()

        async def take(part: Part, delivery: Any) -> Outcome:
            return Outcome.ACK

        async def malformed(delivery: Any, error: MalformedMessage) -> Outcome:
            return Outcome.ACK

        PartsQueue(broker, "c", take, malformed)
        consumer = broker.consumers["c.turn_joining"]
        self.assertEqual((consumer.prefetch, consumer.single_active), (10_000, True))
        self.assertTrue(broker.publishers["c.turn_joining"].single_active)

    def test_stands_by(self) -> None:
        """A worker that stands by takes parts too, where no other one does."""
        self.stop(self.worker)
        other = self.broker.another()
        other.start()
        self.assertTrue(self.run_now(other.lock("c.turn_standby").acquire()))
        self.worker = self.start(join_window=1.0, standby=True)
        self.turn = self.worker.fake_turn
        self.say("i1", "hello")
        self.assertEqual(self.turn.messages, [])
        left = Part("m0", inbound(message_id="i0", session_event="resume").bare(), _text("Left."), None, False)
        self.broker.push("c.turn_joining", left.to_json())
        self.wait(1.2)
        self.assertEqual([message.content for message in self.sent()], ["Left."])
        self.successResultOf(other.stop())


class DirectTests(JourneyCase):
    def test_direct(self) -> None:
        """What waits with nothing held, and what is outside a session, is not put into the queue of parts."""
        self.say("i1", None, "new")
        self.assertIsInstance(self.ask("m1", "One?", waiting_for_user_input=True), Outgoing)
        for fields in ({"to": "+26699"}, {"to": "+26699", "waiting_for_user_input": True}):
            with case(fields=fields):
                self.assertIsInstance(self.ask("m2", "Two.", **fields), Outgoing)

    def test_late_without_a_window(self) -> None:
        """Nor does what answers an answered input close its session where nothing is held: it is counted too."""
        self.stop(self.worker)
        self.worker = self.start(join_window=0)
        self.turn = self.worker.fake_turn
        self.say("i1", None, "new")
        self.ask("m1", "One?", waiting_for_user_input=True)
        self.ask("m2", "Two.")
        self.assertEqual([message.session_event for message in self.sent()], ["resume", "resume"])
        self.assertEqual(self.count("parts_total", outcome="late"), 1)
        self.say("i2", "x")
        self.ask("m3", "Bye.")
        self.assertEqual(self.sent()[-1].session_event, "close")

    def test_outside_costs_nothing(self) -> None:
        """A plain text outside a session asks nothing of the cache that a worker without joining would not."""
        self.push("inbound", inbound(message_id="i1"))
        asked: list[str] = []
        documents = self.worker.cache.documents
        for name in ("get", "put", "update"):
            original = getattr(documents, name)

            def asking(*args: Any, original: Any = original, name: str = name) -> Any:
                asked.append(name)
                return original(*args)

            self.patch(documents, name, asking)
        self.ask("m1", "One.")
        self.assertEqual(asked, [])

    def test_cache_away(self) -> None:
        """With the cache away what waits goes through the queue too, where there are several workers."""
        self.say("i1", None, "new")
        documents = self.worker.cache.documents

        def away(*_: Any) -> Any:
            raise CacheUnavailable("away")

        for name in ("get", "put", "update"):
            self.patch(documents, name, away)
        for alone, kind in ((True, Outgoing), (False, Part)):
            with case(alone=alone):
                self.patch(type(self.worker.cache), "alone", alone)
                waits = self.run_now(self.worker.channel.build_outbound(request(waiting_for_user_input=True), "m1"))
                self.assertIsInstance(waits, kind)
                self.assertIsInstance(self.run_now(self.worker.channel.build_outbound(request(), "m2")), Part)


def _text(body: str) -> dict[str, Any]:
    return {"type": "text", "text": {"body": body}}


def _ack(message_id: str) -> Any:
    return TransportEvent(user_message_id=message_id, event_type="ack", sent_message_id="7")
