"""Hangman, as among legacy vumi's demos: one game for each person, kept between sessions."""

import random
import string
from typing import Any, Optional

from vumi_turn.caches.session_store import SessionManager
from vumi_turn.configuration.fields import ConfigList, ConfigSecretDict
from vumi_turn.vumi.application import ApplicationConfig, ApplicationWorker
from vumi_turn.vumi.messages import TransportUserMessage

#: How many times as many letters as the word has were needed at most, and what is said then.
PRAISE = ((1, "Flawless"), (1.5, "Epic"), (2, "Standard"), (3, "Sub-par"), (4, "Random"))


class HangmanGame:
    """
    One game.

    :param word: what is guessed.
    :param guesses: the letters that were guessed.
    :param msg: what is said of the last guess.
    """

    NOT_DONE, DONE, DONE_WANTS_NEW = range(3)

    def __init__(self, word: str, guesses: str = "", msg: str = "New game!") -> None:
        self.word = word
        self.guesses = set(guesses)
        self.msg = msg
        self.exit_code = self.NOT_DONE

    def state(self) -> dict[str, str]:
        """What a session keeps of it."""
        return {"word": self.word, "guesses": "".join(sorted(self.guesses)), "msg": self.msg}

    def won(self) -> bool:
        """Whether every letter was guessed."""
        return set(self.word) <= self.guesses

    def event(self, typed: str) -> None:
        """A person has typed something."""
        guess = typed.lower()
        if guess == "0":
            self.exit_code, self.msg = self.DONE, "Game ended."
        elif len(guess) == 1 and self.won():
            self.exit_code = self.DONE_WANTS_NEW
        else:
            self.msg = self._guess(guess)
        if self.won():
            self.msg = self._victory()

    def _guess(self, guess: str) -> str:
        if len(guess) != 1:
            return "Single characters only please." if guess else "Some input required please."
        if guess not in string.ascii_lowercase:
            return "Letters of the alphabet only please."
        if guess in self.guesses:
            return f"You've already guessed '{guess}'."
        self.guesses.add(guess)
        found = guess in self.word
        return f"Word contains at least one '{guess}'! :D" if found else f"Word contains no '{guess}'. :("

    def _victory(self) -> str:
        needed = len(self.guesses) / len(set(self.word))
        return next((f"{name} victory!" for most, name in PRAISE if needed <= most), "Button mashing!")

    def draw_board(self) -> str:
        """What the person sees."""
        if self.exit_code != self.NOT_DONE:
            return "Adieu!"
        word = "".join(each if each in self.guesses else "_" for each in self.word)
        prompt = "Enter anything to start a new game" if self.won() else "Enter next guess"
        letters = "".join(sorted(self.guesses))
        return f"{self.msg}\nWord: {word}\nLetters guessed so far: {letters}\n{prompt} (0 to quit):\n"


class HangmanConfig(ApplicationConfig):
    """Options of hangman."""

    words = ConfigList("The words to guess.", default=["elephant", "giraffe", "zebra"])
    sessions = ConfigSecretDict("Where games are kept: with url in Redis, else in memory.", default={})


class HangmanWorker(ApplicationWorker[HangmanConfig]):
    """Plays hangman."""

    CONFIG_CLASS = HangmanConfig

    async def setup_application(self) -> None:
        self.random = random.Random()
        self.session_manager = await SessionManager.from_config(self.config.sessions, self.reactor, "hangman:")

    async def teardown_application(self) -> None:
        await self.session_manager.stop()

    async def consume_user_message(self, message: TransportUserMessage) -> Any:
        user_id = message.user()
        game = await self.load_game(user_id) or await self.new_game(user_id)
        if message["content"] is None:  # a new session: show where the game is
            return await self.reply_to(message, game.draw_board())
        game.event(message["content"].strip())
        ended = game.exit_code == game.DONE
        if ended:
            await self.session_manager.clear_session(user_id)
        elif game.exit_code == game.DONE_WANTS_NEW:
            game = await self.new_game(user_id)
        else:
            await self.session_manager.save_session(user_id, game.state())
        return await self.reply_to(message, game.draw_board(), continue_session=not ended)

    def close_session(self, message: TransportUserMessage) -> None:
        """The game waits until the person comes back."""

    async def load_game(self, user_id: str) -> Optional[HangmanGame]:
        """A person's game."""
        state = await self.session_manager.load_session(user_id)
        return HangmanGame(state["word"], state["guesses"], state["msg"]) if state else None

    async def new_game(self, user_id: str) -> HangmanGame:
        """Begin a game."""
        game = HangmanGame(self.random.choice(self.config.words))
        await self.session_manager.create_session(user_id, **game.state())
        return game
