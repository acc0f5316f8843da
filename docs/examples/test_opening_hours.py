"""The middleware's test: python -m twisted.trial test_opening_hours"""

from vumi_turn.testing import ApplicationHelper, VumiTestCase
from vumi_turn.vumi.examples import EchoWorker

CONFIG = {
    "middleware": [{"hours": "opening_hours.OpeningHours"}],
    "hours": {"opens": 6, "closes": 15, "line": "(Closed)"},
}


class OpeningHoursTests(VumiTestCase):
    """What people are told, by the hour. The helper's clock begins at midnight."""

    async def test_hours(self) -> None:
        """The line is added before six and from three in the afternoon on."""
        helper = self.add_helper(ApplicationHelper(EchoWorker))
        await helper.get_application(CONFIG)
        await helper.make_dispatch_inbound("night")
        await helper.advance(6 * 3600)
        await helper.make_dispatch_inbound("morning")
        await helper.advance(9 * 3600)
        await helper.make_dispatch_inbound("evening")
        said = [message.content for message in helper.get_dispatched_outbound()]
        self.assertEqual(said, ["night\n(Closed)", "morning", "evening\n(Closed)"])
