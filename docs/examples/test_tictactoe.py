"""Tic-tac-toe's tests, written as for legacy vumi: only the imports are other ones."""

from typing import Any, Generator

from tictactoe import TicTacToeGame, TicTacToeWorker
from twisted.internet.defer import Deferred, inlineCallbacks

from vumi_turn.testing import ApplicationHelper, VumiTestCase
from vumi_turn.vumi.messages import TransportUserMessage

USER1, USER2 = "+27831234567", "+27831234568"

#: What an inlineCallbacks function gives back.
Steps = Generator[Deferred[Any], Any, None]


class TestTicTacToeGame(VumiTestCase):
    def get_game(self, *fields: int) -> TicTacToeGame:
        game = TicTacToeGame("pX")
        game.player_O = "pO"
        for number, field in enumerate(fields):
            game.move("pO" if number % 2 else "pX", field)
        return game

    def test_move(self) -> None:
        """A field can be taken once."""
        game = self.get_game(0, 1)
        self.assertFalse(game.move("pX", 1))
        self.assertEquals(["X", "O", " "], game.fields[:3])

    def test_draw_board(self) -> None:
        """The board is drawn row by row."""
        line = "+---+---+---+"
        rows = [line, "| X | O |   |", line, "|   |   |   |", line, "|   | X |   |", line]
        self.assertEqual("\n".join(rows), self.get_game(0, 1, 7).draw_board())

    def test_end(self) -> None:
        """A line wins; a full board without one is a draw."""
        self.assertEqual(None, self.get_game(0, 3, 7, 4, 6, 1).check_win())
        self.assertEqual("X", self.get_game(0, 3, 7, 4, 6, 1, 8).check_win())
        full = self.get_game(0, 1, 2, 4, 3, 5, 7, 6, 8)
        self.assertEqual((None, True), (full.check_win(), full.check_draw()))


class TestTicTacToeWorker(VumiTestCase):
    @inlineCallbacks
    def setUp(self) -> Steps:  # type: ignore[override]
        self.app_helper = self.add_helper(ApplicationHelper(TicTacToeWorker))
        self.worker = yield self.app_helper.get_application({})

    def start(self, user: str) -> Deferred[TransportUserMessage]:
        return self.app_helper.make_dispatch_inbound(
            None, from_addr=user, session_event=TransportUserMessage.SESSION_NEW
        )

    @inlineCallbacks
    def test_new_sessions(self) -> Steps:
        """The second who dials plays with the first, who is shown the board."""
        self.assertEquals(({}, None), (self.worker.games, self.worker.open_game))
        yield self.start(USER1)
        game = self.worker.open_game
        self.assertEquals({USER1: game}, self.worker.games)
        yield self.start(USER2)
        self.assertEquals(None, self.worker.open_game)
        self.assertEquals({USER1: game, USER2: game}, self.worker.games)
        [msg] = self.app_helper.get_dispatched_outbound()
        self.assertTrue(msg["content"].startswith("+---+---+---+"))

    @inlineCallbacks
    def test_full_game(self) -> Steps:
        """Each move is shown to the other one; the last tells both who has won."""
        yield self.start(USER1)
        game = self.worker.open_game
        yield self.start(USER2)
        for count, (user, content) in enumerate(
            [(USER1, "1"), (USER2, "4"), (USER1, "2"), (USER2, "5"), (USER1, "3")], start=2
        ):
            yield self.app_helper.make_dispatch_inbound(content, from_addr=user)
            self.assertEquals(min(count, 5) + count // 6 * 2, len(self.app_helper.get_dispatched_outbound()))
        self.assertEqual("X", game.check_win())
        [end1, end2] = self.app_helper.get_dispatched_outbound()[-2:]
        self.assertEqual((USER1, "You won!"), (end1["to_addr"], end1["content"]))
        self.assertEqual((USER2, "You lost!"), (end2["to_addr"], end2["content"]))

    @inlineCallbacks
    def test_other_side_leaves(self) -> Steps:
        """Who hangs up ends the game for both."""
        yield self.start(USER1)
        yield self.start(USER2)
        yield self.app_helper.make_dispatch_inbound(
            None, from_addr=USER1, session_event=TransportUserMessage.SESSION_CLOSE
        )
        msg = self.app_helper.get_dispatched_outbound()[-1]
        self.assertEqual((USER2, "Other side timed out.", "close"), (msg.to_addr, msg.content, msg.session_event))
        self.assertEqual({}, self.worker.games)
