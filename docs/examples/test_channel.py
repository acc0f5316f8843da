"""A whole channel's test, with a middleware of one's own: python -m twisted.trial test_channel"""

from vumi_turn.testing import ChannelHelper, TurnFaults, VumiTestCase

CONFIG = {
    "middleware": [{"hours": "opening_hours.OpeningHours"}],
    "hours": {"opens": 6, "closes": 15, "line": "(Closed)"},
}


class ChannelTests(VumiTestCase):
    """Between queues in memory and a simulated Turn. The helper's clock begins at midnight."""

    def setUp(self) -> None:
        self.helper = self.add_helper(ChannelHelper())
        self.successResultOf(self.helper.get_channel(CONFIG))

    async def test_answer_and_statuses(self) -> None:
        """Turn sees what a person writes; its answer goes out with the middleware's line, and its statuses come."""
        await self.helper.make_dispatch_inbound("Hello")
        self.assertEqual([entry.text for entry in self.helper.get_conversation()], ["Hello"])
        answer = await self.helper.turn_sends("Hello Thandi!")
        [message] = self.helper.get_dispatched_outbound()
        self.assertEqual((message.content, message.message_id), ("Hello Thandi!\n(Closed)", answer.id))
        await self.helper.make_dispatch_ack(message)
        await self.helper.make_dispatch_delivery_report(message)
        self.assertEqual(answer.statuses, ["sent", "delivered"])

    async def test_turn_is_away(self) -> None:
        """What a person writes while Turn is away reaches it once Turn is back."""
        self.helper.set_turn_faults(TurnFaults(mode="down"))
        await self.helper.make_dispatch_inbound("Is anybody there?")
        self.assertEqual(self.helper.get_conversation(), [])
        self.helper.set_turn_faults()
        await self.helper.advance(60)
        self.assertEqual([entry.text for entry in self.helper.get_conversation()], ["Is anybody there?"])

    async def test_turn_refuses(self) -> None:
        """What Turn refuses for good is parked, with Turn's words."""
        self.helper.set_turn_faults(TurnFaults(mode="error", status=400))
        await self.helper.make_dispatch_inbound("Take this")
        [failure] = self.helper.get_parked()
        self.assertIn("400", failure.reason)
