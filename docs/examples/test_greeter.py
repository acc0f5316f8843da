"""The greeter's test: python -m twisted.trial test_greeter"""

from greeter import Greeter

from vumi_turn.testing import ApplicationHelper, VumiTestCase


class GreeterTests(VumiTestCase):
    """What the greeter says."""

    def setUp(self) -> None:
        self.helper = self.add_helper(ApplicationHelper(Greeter, transport_type="ussd"))
        self.successResultOf(self.helper.get_application({"sessions": {"max_session_length": 60}}))

    async def say(self, *words: str) -> list[str | None]:
        """Dial, and say these words; all answers."""
        await self.helper.make_dispatch_inbound(None, session_event="new")
        for each in words:
            await self.helper.make_dispatch_inbound(each, session_event="resume")
        return [message.content for message in self.helper.get_dispatched_outbound()]

    async def test_conversation(self) -> None:
        """A person is asked for a name and a place, and the second answer ends the session."""
        answers = await self.say("Thandi", "Maseru")
        self.assertEqual(answers[0], "What is your name?")
        self.assertEqual(answers[1:], ["Hello Thandi! Where do you live?", "Thandi of Maseru, goodbye!"])
        self.assertEqual(self.helper.get_dispatched_outbound()[-1].session_event, "close")

    async def test_timeout(self) -> None:
        """After a minute the name is forgotten."""
        await self.say("Thandi")
        await self.helper.advance(60)
        await self.helper.make_dispatch_inbound("Maseru", session_event="resume")
        self.assertEqual(self.helper.get_dispatched_outbound()[-1].content, "Hello Maseru! Where do you live?")
