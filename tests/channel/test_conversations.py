"""Menus, pages and joined messages through a whole channel, in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from tests.channel.test_worker import OK, BridgeCase, inbound, request
from vumi_turn.channel.outgoing import Outgoing
from vumi_turn.conversation.joining import Part
from vumi_turn.failures.headers import replay_headers
from vumi_turn.turn.client import TurnResponse
from vumi_turn.vumi.messages import TransportEvent, TransportUserMessage

LIST = {
    "type": "interactive",
    "interactive": {
        "type": "list",
        "body": {"text": "Choose"},
        "action": {"sections": [{"rows": [{"id": "a", "title": "Yes"}, {"id": "b", "title": "No"}]}]},
    },
}
LONG = " ".join(f"word{number:02}" for number in range(60))


class ConversationCase(BridgeCase):
    """A USSD session with a channel whose window is a second."""

    def setUp(self) -> None:
        super().setUp()
        self.stop(self.worker)
        self.worker = self.start(join_window=1.0, page_back_key="0")
        self.turn = self.worker.fake_turn

    def say(self, name: str, content: Any, session_event: Any = "resume") -> None:
        """A person's input."""
        fields = {"session_event": session_event, "transport_type": "ussd", "to_addr": "*120#"}
        self.push("inbound", inbound(message_id=name, content=content, **fields))

    def ask(self, message_id: str, text: Any = None, **fields: Any) -> Any:
        """Turn POSTs a message; what became of it."""
        turn = {"type": "text", "text": {"body": text}} if isinstance(text, str) else text
        content = text if isinstance(text, str) else None
        asked = request(**{"text": content, "turn": turn, **fields})
        outgoing = self.successResultOf(Deferred.fromCoroutine(self.worker.channel.build_outbound(asked, message_id)))
        published = Deferred.fromCoroutine(self.worker.channel.publish_outbound(outgoing))
        self.turns()
        self.successResultOf(published)
        return outgoing

    def sent(self) -> list[TransportUserMessage]:
        """What the transport has got."""
        return [TransportUserMessage.from_json(body) for body in self.queue("outbound")]

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.reactor.advance(0.1)
        self.turns()


class MenuTests(ConversationCase):
    def test_number(self) -> None:
        """A choice by its number reaches Turn as its title."""
        self.say("i1", None, "new")
        self.ask("m1", LIST, waiting_for_user_input=True)
        self.assertEqual(self.sent()[0].content, "Choose\n1. Yes\n2. No")
        self.say("i2", "2")
        self.assertEqual(self.turn.messages[-1]["message"]["text"], {"body": "No"})

    def test_interactive(self) -> None:
        """With answer_as: interactive it is sent as if it had been tapped."""
        self.stop(self.worker)
        self.worker = self.start(answer_as="interactive")
        self.turn = self.worker.fake_turn
        self.say("i1", None, "new")
        self.ask("m1", LIST, waiting_for_user_input=True)
        self.say("i2", " yes. ")
        message = self.turn.messages[-1]["message"]
        self.assertEqual(
            (message["type"], message["interactive"]),
            ("interactive", {"type": "list_reply", "list_reply": {"id": "a", "title": "Yes"}}),
        )
        self.assertNotIn("text", message)

    def test_sms(self) -> None:
        """So it is on SMS."""
        self.push("inbound", inbound(message_id="i1"))
        self.ask("m1", LIST)
        self.push("inbound", inbound(message_id="i2", content="1"))
        self.assertEqual(self.turn.messages[-1]["message"]["text"], {"body": "Yes"})

    def test_replayed(self) -> None:
        """A choice that was parked is used again when it is replayed, whatever is known by then."""
        self.say("i1", None, "new")
        self.ask("m1", LIST, waiting_for_user_input=True)
        self.turn.answers.append(TurnResponse(status=400, error=None, wait=None, detail=""))
        self.say("i2", "2")
        (parked,) = self.parked()
        self.stop(self.worker)
        self.worker = self.start()
        self.turn = self.worker.fake_turn
        choice = parked.helper_metadata["turn"]["choice"]
        self.broker.push("c.inbound", json.dumps(parked.message).encode(), headers=replay_headers(choice))
        self.turns()
        self.assertEqual(self.turn.messages[-1]["message"]["text"], {"body": "No"})


class PageTests(ConversationCase):
    def test_pages(self) -> None:
        """A key shows the next page in the same session, and Turn hears nothing of it, nor of its status."""
        self.say("i1", None, "new")
        self.ask("m1", LONG)
        self.wait(1.1)  # it does not wait for input: others might have joined it
        first = self.sent()[0]
        assert first.content is not None
        self.assertEqual((first.message_id, first.session_event), ("m1", "resume"))
        self.assertTrue(first.content.endswith("\n98. More") and len(first.content) <= 160)
        self.say("i2", "98")
        self.say("i3", "98")
        pages = self.sent()
        self.assertEqual([page.in_reply_to for page in pages], ["i1", "i2", "i3"])
        self.assertEqual([page.session_event for page in pages], ["resume", "resume", "close"])
        self.assertEqual(len(self.turn.messages), 1)
        self.push("event", TransportEvent(user_message_id=pages[1].message_id, event_type="ack", sent_message_id="7"))
        self.push("event", TransportEvent(user_message_id="m1", event_type="ack", sent_message_id="8"))
        self.assertEqual([status["status"]["id"] for status in self.turn.statuses], ["m1"])

    def test_other_session(self) -> None:
        """But not into a later session."""
        self.say("i1", None, "new")
        self.ask("m1", LONG, waiting_for_user_input=True)
        self.say("i2", "98")
        self.say("i3", None, "new")
        self.say("i4", "1")
        self.ask("m2", "Thanks", reply_to="i1", waiting_for_user_input=True)
        self.assertEqual(self.sent()[-1].in_reply_to, "i1")

    def test_key_again(self) -> None:
        """A key that is delivered again shows the same page under the same id."""
        self.say("i1", None, "new")
        self.ask("m1", LONG, waiting_for_user_input=True)
        key = inbound(message_id="i2", content="98", session_event="resume", transport_type="ussd", to_addr="*120#")
        self.push("inbound", key)
        self.broker.push("c.inbound", key.to_json(), redelivered=True)
        self.turns()
        pages = self.sent()[1:]
        self.assertEqual({(page.message_id, page.content) for page in pages}, {(pages[0].message_id, pages[0].content)})

    def test_network_closes(self) -> None:
        """A close from the network ends pages: the key is an answer then."""
        self.say("i1", None, "new")
        self.ask("m1", LONG, waiting_for_user_input=True)
        self.say("i2", None, "close")
        self.say("i3", "98", None)
        self.assertEqual(self.turn.messages[-1]["message"]["text"], {"body": "98"})

    def test_notice_keeps_pages(self) -> None:
        """What asks for nothing leaves the pages that are shown."""
        self.say("i1", None, "new")
        self.ask("m1", LONG, waiting_for_user_input=True)
        self.ask("m2", "A notice.")
        self.say("i2", "98")
        self.assertEqual(self.sent()[-1].in_reply_to, "i2")

    def test_answer_to_a_page(self) -> None:
        """Turn's reply to an input that a page has answered goes to the latest input of the session."""
        self.say("i1", None, "new")
        self.ask("m1", LONG, waiting_for_user_input=True)
        self.say("i2", "98")
        self.say("i3", "my answer")
        self.ask("m2", "Thanks", reply_to="i1", waiting_for_user_input=True)
        self.assertEqual(self.sent()[-1].in_reply_to, "i3")


class JoinTests(ConversationCase):
    def test_two_for_one_input(self) -> None:
        """An error and the question again are one screen, and the session goes on."""
        self.say("i1", None, "new")
        self.assertIsInstance(self.ask("m1", "That is no number."), Part)
        self.assertEqual(self.sent(), [])
        self.ask("m2", "How old are you?", waiting_for_user_input=True)
        (joined,) = self.sent()
        self.assertEqual(joined.content, "That is no number.\nHow old are you?")
        self.assertEqual((joined.message_id, joined.session_event, joined.in_reply_to), ("m1", "resume", "i1"))
        self.assertEqual(self.queue("turn_joining"), [])

    def test_close(self) -> None:
        """When the window is over what there is ends the session."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.ask("m2", "Two.")
        self.wait(1.1)
        (joined,) = self.sent()
        self.assertEqual((joined.content, joined.session_event), ("One.\nTwo.", "close"))

    def test_statuses(self) -> None:
        """The joined message's event is a status for each of Turn's ids."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.ask("m2", "Two.", waiting_for_user_input=True)
        self.push("event", TransportEvent(user_message_id="m1", event_type="ack", sent_message_id="7"))
        self.assertEqual(
            [(status["status"]["id"], status["status"]["status"]) for status in self.turn.statuses],
            [("m1", "sent"), ("m2", "sent")],
        )

    def test_session_over(self) -> None:
        """What is held when another session begins is not published, and Turn is told."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.say("i2", None, "new")
        self.wait(1.1)
        self.assertEqual(self.sent(), [])
        self.assertEqual(
            [(status["status"]["id"], status["status"]["status"]) for status in self.turn.statuses], [("m1", "failed")]
        )
        self.assertEqual(self.queue("turn_joining"), [])

    def test_session_over_and_lost(self) -> None:
        """A part that comes again after Turn was told that it failed is acknowledged, and not told again."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.say("i2", None, "new")
        answer: Deferred[TurnResponse] = Deferred()
        self.turn.answers = [answer]
        self.wait(1.1)
        self.broker.go_away()
        self.turns()
        self.broker.come_back()
        self.turns()
        answer.callback(OK)
        self.wait(1.1)
        self.assertEqual([status["status"]["id"] for status in self.turn.statuses], ["m1"])
        self.assertEqual(self.queue("turn_joining"), [])

    def test_failed_parts_wait_as_long_as_others(self) -> None:
        """Twenty minutes after its own delivery a part goes back, whatever the parts before it waited for."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.ask("m2", "Two.")
        self.say("i2", None, "new")
        self.turn.answers = [Deferred(), Deferred()]
        self.wait(1.1)
        given_back: list[bytes] = []
        requeue = self.broker.server.requeue

        def note(name: str, message: Any) -> None:
            given_back.append(message.body)
            requeue(name, message)

        self.patch(self.broker.server, "requeue", note)
        for _ in range(26):
            self.reactor.advance(60)
            self.turns()
        self.assertEqual([Part.from_json(body).id for body in given_back], ["m1", "m2"])

    def test_late(self) -> None:
        """What answers an input that was answered is published at once, and closes nothing."""
        self.say("i1", None, "new")
        self.ask("m1", "One?", waiting_for_user_input=True)
        self.ask("m2", "Two.")
        self.assertEqual([message.session_event for message in self.sent()], ["resume", "resume"])

    def test_late_keeps_the_menu(self) -> None:
        """What came too late and asks nothing leaves the menu that the person sees, though the session goes on."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.ask("m2", LIST, waiting_for_user_input=True)
        left = Part(
            "m3", inbound(message_id="i1", session_event="new").bare(), {"text": {"body": "Late."}}, None, False
        )
        self.broker.push("c.turn_joining", left.to_json())
        self.wait(1.1)
        self.assertEqual([(m.content, m.session_event) for m in self.sent()[1:]], [("Late.", "resume")])
        self.say("i2", "2")
        self.assertEqual(self.turn.messages[-1]["message"]["text"], {"body": "No"})

    def test_late_in_pages(self) -> None:
        """Nor does the last page of what came too late close the session."""
        self.say("i1", None, "new")
        self.ask("m1", "One?", waiting_for_user_input=True)
        self.ask("m2", LONG)
        for name in ("i2", "i3"):
            self.say(name, "98")
        self.assertEqual([message.session_event for message in self.sent()], ["resume"] * 4)

    def test_outside_a_session(self) -> None:
        """An SMS is held for nothing."""
        self.push("inbound", inbound(message_id="i1"))
        self.ask("m1", "One.")
        self.assertEqual([message.content for message in self.sent()], ["One."])

    def test_known_as_published(self) -> None:
        """Of a part it is known whether it was shown, also when its session is over."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        known = self.worker.channel.is_published
        self.assertIs(self.successResultOf(Deferred.fromCoroutine(known("m1"))), False)
        self.wait(1.1)
        self.assertIs(self.successResultOf(Deferred.fromCoroutine(known("m1"))), True)

    def test_restarted(self) -> None:
        """After a restart without Redis parts are published: nothing says that their session is over."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.stop(self.worker)
        self.worker = self.start(join_window=1.0)
        self.wait(1.1)
        self.assertEqual([message.content for message in self.sent()], ["One."])

    def test_resumed_in_another_session(self) -> None:
        """What is held is not published into a later session that has gone on either."""
        self.say("i1", None, "new")
        self.ask("m1", "One.")
        self.say("i2", None, "new")
        self.say("i3", "x")
        self.wait(1.1)
        self.assertEqual(self.sent(), [])

    def test_without_a_window(self) -> None:
        """With join_window: 0 nothing is put into the queue, and what is left there is published."""
        self.stop(self.worker)
        self.worker = self.start(join_window=0)
        self.say("i1", None, "new")
        self.assertIsInstance(self.ask("m1", "One."), Outgoing)
        left = Part(
            "m0", inbound(message_id="i0", session_event="resume").bare(), {"text": {"body": "Left."}}, None, False
        )
        self.broker.push("c.turn_joining", left.to_json())
        self.wait(0.1)
        self.assertEqual([message.content for message in self.sent()], ["One.", "Left."])

    def test_junk(self) -> None:
        """What is no part, or has no text, is parked, and cannot be replayed into another queue."""
        empty = Part("m1", inbound(session_event="resume").bare(), {"type": "reaction"}, None, False)
        for body in (b"junk", empty.to_json()):
            self.broker.push("c.turn_joining", body)
            self.turns()
        self.assertEqual([p.helper_metadata["turn"]["queue"] for p in self.parked()], ["turn_joining"] * 2)
        self.assertEqual(self.queue("turn_joining"), [])
