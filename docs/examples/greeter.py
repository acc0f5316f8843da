"""An application with state: asks for a name and a place, and greets."""

from vumi_turn.caches.session_store import SessionManager
from vumi_turn.configuration.fields import ConfigSecretDict, ConfigText
from vumi_turn.vumi.application import ApplicationConfig, ApplicationWorker
from vumi_turn.vumi.messages import TransportUserMessage


class GreeterConfig(ApplicationConfig):
    """Options of the greeter."""

    question = ConfigText("What is asked first.", default="What is your name?")
    sessions = ConfigSecretDict("Where sessions are kept: with url in Redis, else in memory.", default={})


class Greeter(ApplicationWorker[GreeterConfig]):
    """Asks two questions, and greets."""

    CONFIG_CLASS = GreeterConfig

    async def setup_application(self) -> None:
        self.sessions = await SessionManager.from_config(self.config.sessions, self.reactor, "greeter:")

    async def teardown_application(self) -> None:
        await self.sessions.stop()

    async def new_session(self, message: TransportUserMessage) -> None:
        await self.sessions.create_session(message.user())
        await self.reply_to(message, self.config.question)

    async def consume_user_message(self, message: TransportUserMessage) -> None:
        session = await self.sessions.load_session(message.user())
        if "name" not in session:
            await self.reply_to(message, f"Hello {message.content}! Where do you live?")
            await self.sessions.save_session(message.user(), {"name": message.content})
        else:
            await self.reply_to(message, f"{session['name']} of {message.content}, goodbye!", continue_session=False)
            await self.sessions.clear_session(message.user())
