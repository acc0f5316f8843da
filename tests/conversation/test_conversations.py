"""What people were shown, and what they mean by what they type."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.conversation.documents import FakeDocuments
from vumi_turn.conversation.conversations import CACHE_WAIT, Conversations, InputArrival, PageTurned, Shown
from vumi_turn.conversation.menus import Choice
from vumi_turn.conversation.rendering import render
from vumi_turn.conversation.screen_options import ScreenOptions
from vumi_turn.vumi.messages import TransportUserMessage

PERSON = "+26612345678"
LIST: dict[str, Any] = {
    "type": "interactive",
    "interactive": {
        "type": "list",
        "body": {"text": "Choose"},
        "action": {"button": "Open", "sections": [{"rows": [{"id": "a", "title": "Yes"}, {"id": "b", "title": "No"}]}]},
    },
}
LONG = {"type": "text", "text": {"body": " ".join(f"word{number:02}" for number in range(60))}}


class Counts:
    """Counts."""

    def __init__(self) -> None:
        self.choices: list[str] = []
        self.pages = 0

    def choice(self, outcome: str) -> None:
        self.choices.append(outcome)

    def page_shown(self) -> None:
        self.pages += 1


class ConversationsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.documents = FakeDocuments()
        self.counts = Counts()
        self.ids = iter(range(100))
        self.conversations = Conversations(
            self.documents,
            self.clock,
            ScreenOptions(back_key="0"),
            lambda: f"page-{next(self.ids)}",
            self.counts,
        )

    def run_now(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def show(self, *turns: dict[str, Any], waits: bool = True, in_session: bool = True) -> Shown:
        """What a person is shown, remembered."""
        rendered = [render(turn) for turn in turns]
        shown = self.conversations.compose(rendered, waits=waits, in_session=in_session, goes_on=waits)
        self.run_now(self.conversations.note_shown(PERSON, shown))
        return shown

    def message(self, content: Optional[str], message_id: str, session_event: Optional[str]) -> TransportUserMessage:
        return TransportUserMessage.send(
            "*120#", content, from_addr=PERSON, session_event=session_event, message_id=message_id
        )

    def say(
        self,
        content: Optional[str],
        message_id: str = "i1",
        session_event: Optional[str] = "resume",
        first: bool = True,
    ) -> Any:
        """What an input means."""
        arrival = InputArrival.FIRST if first else InputArrival.AGAIN
        return self.run_now(self.conversations.read_input(self.message(content, message_id, session_event), arrival))


class MenuTests(ConversationsCase):
    def test_choice(self) -> None:
        """A number chooses from the last menu, on SMS as on USSD, more than once."""
        shown = self.show(LIST, in_session=False)
        self.assertEqual(shown.text, "Choose\n1. Yes\n2. No")
        for message_id, session_event in (("i1", None), ("i2", "resume")):
            with case(message_id=message_id, session_event=session_event):
                chosen = self.say("2", message_id, session_event)
                self.assertIsInstance(chosen, Choice)
                self.assertEqual((chosen.id, chosen.title), ("b", "No"))
        self.assertEqual(self.counts.choices, ["made", "made"])

    def test_as_typed(self) -> None:
        """What is no choice is what was typed, and counted."""
        self.show(LIST)
        self.assertIsNone(self.say("perhaps"))
        self.assertIsNone(self.say("7", "i2"))
        self.assertEqual(self.counts.choices, ["typed_through", "out_of_range"])

    def test_replayed(self) -> None:
        """What was parked and is replayed means what it meant; where that is not known it is what was typed."""
        self.show(LIST)
        self.say("1", "i1")
        for message_id, chosen in (("i1", "Yes"), ("i2", None)):
            message = self.message("1", message_id, "resume")
            meant = self.run_now(self.conversations.read_input(message, InputArrival.REPLAYED))
            self.assertEqual(meant and meant.title, chosen)

    def test_no_menu(self) -> None:
        """Without a menu nothing is chosen, counted or kept."""
        self.show({"type": "text", "text": {"body": "1. Yes\n2. No"}})
        self.assertIsNone(self.say("1"))
        self.assertEqual((self.counts.choices, self.documents.stored), ([], {}))

    def test_made_once(self) -> None:
        """A message that comes again means what it meant, whatever the person has been shown since."""
        self.show(LIST)
        first = self.say("1")
        typed = self.say("Maybe", "i2")
        self.show(
            {
                **LIST,
                "interactive": {
                    **LIST["interactive"],
                    "action": {"sections": [{"rows": [{"id": "z", "title": "Maybe"}]}]},
                },
            }
        )
        self.assertEqual(self.say("1", first=False), first)
        self.assertIsNone(typed)
        self.assertIsNone(self.say("Maybe", "i2", first=False))
        self.assertEqual(self.counts.choices, ["made", "typed_through"])

    def test_replaced(self) -> None:
        """A message that waits replaces the menu; one that does not leaves it."""
        self.show(LIST)
        self.show({"type": "text", "text": {"body": "Hold on"}}, waits=False)
        self.assertIsInstance(self.say("1"), Choice)
        self.show({"type": "text", "text": {"body": "Your name?"}})
        self.assertIsNone(self.say("1", "i2"))

    def test_new_session(self) -> None:
        """A new session ends the menu."""
        self.show(LIST)
        self.assertIsNone(self.say("1", session_event="new"))
        self.assertIsNone(self.say("1", "i2"))


class PageTests(ConversationsCase):
    def test_turned(self) -> None:
        """The keys turn pages, forward and back, each under an id of its own."""
        shown = self.show(LONG)
        assert shown.pages is not None
        texts = shown.pages.texts
        self.assertGreater(len(texts), 2)
        self.assertEqual((shown.text, shown.session_event), (texts[0], "resume"))
        self.assertEqual(self.say("98"), PageTurned(texts[1], "page-0", False))
        self.assertEqual(self.say("98", "i2"), PageTurned(texts[2], "page-1", False))
        self.assertEqual(self.say("0", "i3"), PageTurned(texts[1], "page-2", False))
        self.assertEqual(self.counts.pages, 3)

    def test_redelivered_key(self) -> None:
        """A key that is delivered again shows the same page under the same id."""
        self.show(LONG)
        first = self.say("98")
        self.assertEqual(self.say("98", first=False), first)
        self.assertEqual(self.counts.pages, 1)

    def test_outside_a_session(self) -> None:
        """Only an input of a session turns a page; an SMS is not divided."""
        shown = self.show(LONG, in_session=False)
        self.assertIsNone(shown.pages)
        self.show(LONG)
        self.assertIsNone(self.say("98", session_event=None))

    def test_last_page_ends(self) -> None:
        """Only the last page ends a session that is to end; nothing can be turned after it."""
        shown = self.show(LONG, waits=False)
        assert shown.pages is not None
        self.assertEqual(shown.session_event, "resume")
        last = None
        for number in range(1, len(shown.pages.texts)):
            last = self.say("98", f"i{number}")
        assert isinstance(last, PageTurned)
        self.assertTrue(last.ends_session)

    def test_answer(self) -> None:
        """Anything but a key is an answer to the whole message, and so is a key where there is no page."""
        shown = self.show(LONG)
        assert shown.pages is not None
        self.assertIsNone(self.say("hello"))
        self.assertIsNone(self.say("0", "i2"))

    def test_another_message(self) -> None:
        """Another message takes the place of pages."""
        self.show(LONG)
        self.show({"type": "text", "text": {"body": "Your name?"}})
        self.assertIsNone(self.say("98"))

    def test_menu_on_pages(self) -> None:
        """Choices on later pages can be made at once, and no choice has a key's number."""
        rows = [{"id": f"r{n}", "title": f"Choice number {n}"} for n in range(1, 100)]
        turn = {
            "type": "interactive",
            "interactive": {"type": "list", "body": {"text": "Choose"}, "action": {"sections": [{"rows": rows}]}},
        }
        self.show(turn)
        chosen = self.say("99")
        self.assertEqual((chosen.number, chosen.id), (99, "r98"))

    def test_end_of_session(self) -> None:
        """With the session the pages are gone; the menu stays for an SMS."""
        self.show(LONG)
        self.show(LIST)
        self.say(None, session_event="close")
        self.assertIsNone(self.say("98", "i2"))
        self.assertIsInstance(self.say("1", "i3", None), Choice)


class AwayTests(ConversationsCase):
    def test_waits(self) -> None:
        """An input waits for a cache that is soon back."""
        self.show(LIST)
        self.documents.away = True
        meant = Deferred.fromCoroutine(
            self.conversations.read_input(self.message("1", "i1", "resume"), InputArrival.FIRST)
        )
        self.clock.pump([0.25] * 8)
        self.assertNoResult(meant)
        self.documents.away = False
        self.clock.advance(0.25)
        self.assertIsInstance(self.successResultOf(meant), Choice)

    def test_gives_up(self) -> None:
        """After five seconds the input is what was typed, and counted."""
        self.documents.away = True
        meant = Deferred.fromCoroutine(
            self.conversations.read_input(self.message("1", "i1", "resume"), InputArrival.FIRST)
        )
        self.clock.pump([0.25] * int(CACHE_WAIT / 0.25))
        self.assertIsNone(self.successResultOf(meant))
        self.assertEqual(self.counts.choices, ["cache_away"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unreadable(self) -> None:
        """What cannot be read in the cache is as if it were not there."""
        self.show(LIST)
        (key,) = self.documents.stored
        self.documents.stored[key] = '{"menu": 7, "pages": []}'
        self.assertIsNone(self.say("1"))
