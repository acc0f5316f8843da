"""Hangman's tests, written as for legacy vumi: only the imports are other ones."""

import string
from typing import Any, Generator, Optional

from hangman import HangmanGame, HangmanWorker
from twisted.internet.defer import Deferred, inlineCallbacks

from vumi_turn.testing import ApplicationHelper, VumiTestCase
from vumi_turn.vumi.messages import TransportUserMessage

#: What an inlineCallbacks function gives back.
Steps = Generator[Deferred[Any], Any, None]


def mkstate(word: str, guesses: str, msg: str) -> dict[str, str]:
    return {"word": word, "guesses": guesses, "msg": msg}


class TestHangmanGame(VumiTestCase):
    def play(self, word: str, guesses: Any) -> HangmanGame:
        game = HangmanGame(word)
        for each in guesses:
            game.event(each)
        return game

    def test_easy_game(self) -> None:
        """Who guesses each letter at once has a flawless victory."""
        game = self.play("moo", "mo")
        self.assertTrue(game.won())
        self.assertEqual(game.state(), mkstate("moo", "mo", "Flawless victory!"))

    def test_guesses(self) -> None:
        """Each guess is answered, right, wrong or known."""
        for guesses, state in (
            ("fg", mkstate("moo", "fg", "Word contains no 'g'. :(")),
            ("o", mkstate("moo", "o", "Word contains at least one 'o'! :D")),
            ("ff", mkstate("moo", "f", "You've already guessed 'f'.")),
        ):
            self.assertEqual(self.play("moo", guesses).state(), state)

    def test_button_mashing(self) -> None:
        """Who tries all letters has won too."""
        game = self.play("moo", string.ascii_lowercase.replace("o", "") + "o")
        self.assertEqual(game.state(), mkstate("moo", string.ascii_lowercase, "Button mashing!"))

    def test_end(self) -> None:
        """Anything after a victory is a new game; 0 ends it."""
        self.assertEqual(self.play("moo", "mo-").exit_code, HangmanGame.DONE_WANTS_NEW)
        game = self.play("elephant", "0")
        self.assertEqual((game.exit_code, game.draw_board()), (HangmanGame.DONE, "Adieu!"))

    def test_garbage_input(self) -> None:
        """What is no letter is no guess."""
        self.assertEqual(self.play("zoo", [":", "!", "\x00", "+", "abc", "", "ü"]).guesses, set())


class TestHangmanWorker(VumiTestCase):
    @inlineCallbacks
    def setUp(self) -> Steps:  # type: ignore[override]
        self.app_helper = self.add_helper(ApplicationHelper(HangmanWorker))
        self.worker = yield self.app_helper.get_application({"words": ["elephant"]})

    def send(self, content: Optional[str], session_event: Optional[str] = None) -> Deferred[TransportUserMessage]:
        return self.app_helper.make_dispatch_inbound(content, session_event=session_event)

    @inlineCallbacks
    def recv(self, n: int = 0) -> Generator[Deferred[Any], Any, list[tuple[str, str]]]:
        msgs = yield self.app_helper.wait_for_dispatched_outbound(n)
        codes = {TransportUserMessage.SESSION_CLOSE: "end"}
        return [(codes.get(msg["session_event"], "reply"), msg["content"]) for msg in msgs]

    @inlineCallbacks
    def test_full_session(self) -> Steps:
        """A game from the first letter to victory, the next one, and its end."""
        yield self.send(None, TransportUserMessage.SESSION_NEW)
        for event in "elphanot":
            yield self.send(event, TransportUserMessage.SESSION_RESUME)
        replies = yield self.recv(9)
        new_game = "New game!\nWord: ________\nLetters guessed so far: \nEnter next guess (0 to quit):\n"
        self.assertEqual(replies[0], ("reply", new_game))
        self.assertEqual(
            replies[-1],
            (
                "reply",
                "Epic victory!\nWord: elephant\nLetters guessed so far: aehlnopt\n"
                "Enter anything to start a new game (0 to quit):\n",
            ),
        )
        yield self.send("1")
        yield self.send("0")
        replies = yield self.recv(11)
        self.assertEqual(replies[-2:], [("reply", new_game), ("end", "Adieu!")])

    @inlineCallbacks
    def test_close_session(self) -> Steps:
        """A session that ends is not answered, and its game waits."""
        yield self.send("e")
        yield self.send(None, TransportUserMessage.SESSION_CLOSE)
        replies = yield self.recv()
        self.assertEqual(len(replies), 1)
        game = yield Deferred.fromCoroutine(self.worker.load_game("+41791234567"))
        self.assertEqual(game.guesses, {"e"})
