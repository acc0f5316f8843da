"""Tic-tac-toe, as among legacy vumi's demos: whoever dials next plays with the one who waits."""

from typing import Any, Optional

from vumi_turn.vumi.application import ApplicationWorker
from vumi_turn.vumi.messages import TransportUserMessage

LINE = "+---+---+---+"

#: The fields of each line that wins, counted from 0 by rows.
WINNING = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


class TicTacToeGame:
    """
    One game.

    :param player_X: who begins it.
    """

    def __init__(self, player_X: str) -> None:
        self.player_X = player_X
        self.player_O: Optional[str] = None
        self.fields = [" "] * 9

    @property
    def players(self) -> list[str]:
        """Those that there are."""
        return [player for player in (self.player_X, self.player_O) if player is not None]

    def other(self, player: str) -> Optional[str]:
        """Whom a player plays with."""
        return self.player_O if player == self.player_X else self.player_X

    def move(self, player: str, field: int) -> bool:
        """
        Take a field.

        :return: False if it is taken.
        """
        if self.fields[field] != " ":
            return False
        self.fields[field] = "X" if player == self.player_X else "O"
        return True

    def check_win(self) -> Optional[str]:
        """Who has a line: X, O or None."""
        for line in WINNING:
            first, second, third = (self.fields[field] for field in line)
            if first == second == third != " ":
                return first
        return None

    def check_draw(self) -> bool:
        """Whether no field is left."""
        return " " not in self.fields

    def draw_board(self) -> str:
        """What the players see."""
        rows = [f"| {' | '.join(self.fields[start : start + 3])} |" for start in (0, 3, 6)]
        return "\n".join([LINE, *(part for row in rows for part in (row, LINE))])


class TicTacToeWorker(ApplicationWorker):
    """Lets pairs of people play."""

    def setup_application(self) -> None:
        self.games: dict[str, TicTacToeGame] = {}
        self.open_game: Optional[TicTacToeGame] = None
        self.messages: dict[str, TransportUserMessage] = {}

    async def new_session(self, message: TransportUserMessage) -> None:
        player = message.user()
        self.messages[player] = message
        game = self.open_game
        if game is None:
            game = self.open_game = TicTacToeGame(player)
        else:
            game.player_O, self.open_game = player, None
            await self.reply(game.player_X, game.draw_board())
        self.games[player] = game

    async def consume_user_message(self, message: TransportUserMessage) -> None:
        player = message.user()
        self.messages[player] = message
        game = self.games.get(player)
        if game is None:
            return
        typed = (message["content"] or "").strip()[:1]
        if not typed or typed not in "123456789":
            await self.end(game, dict.fromkeys(game.players, "Cheerio."))
            return
        other = game.other(player)
        game.move(player, int(typed) - 1)
        if game.check_win():
            await self.end(game, {player: "You won!", **({other: "You lost!"} if other else {})})
        elif game.check_draw():
            await self.end(game, dict.fromkeys(game.players, "Draw. :-("))
        elif other is not None:
            await self.reply(other, game.draw_board())

    async def close_session(self, message: TransportUserMessage) -> None:
        game = self.games.get(message.user())
        if game is not None:
            self.messages.pop(message.user(), None)
            await self.end(game, dict.fromkeys(game.players, "Other side timed out."))

    async def end(self, game: TicTacToeGame, words: dict[str, str]) -> None:
        """Tell each player how it ended, and forget the game."""
        if self.open_game is game:
            self.open_game = None
        for player, content in words.items():
            self.games.pop(player, None)
            await self.reply(player, content, continue_session=False)

    async def reply(self, player: str, content: str, **how: Any) -> None:
        """Answer a player's last message, once; a phone shows nothing that it did not ask for."""
        message = self.messages.pop(player, None)
        if message is not None:
            await self.reply_to(message, content, **how)
