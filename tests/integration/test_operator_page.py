"""
The operator's page of the real worker, in a real browser. Each test leaves
pictures in ``artefacts/``; look at them after the page was changed.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from tests.integration.operator_case import CONTENT, PERSON, TOO_WIDE, OperatorCase
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import event, inbound
from tests.integration.waiting import SOON, wait_for

ENTER = "\ue007"
ROWS = "#parked-table tbody tr"
#: Seconds for a look at 10,000 parked messages on a busy machine.
PAGING = 90.0


def failure(number: int) -> dict[str, Any]:
    """A message that was parked two days ago, as the worker parks it."""
    when = (datetime.now(timezone.utc) - timedelta(days=2)).strftime("%Y-%m-%d %H:%M:%S.%f")
    turn = {"queue": "inbound", "attempts": 4, "last_status": 500, "failed_at": when}
    return {
        "message_type": "failure_message",
        "message_version": "20110921",
        "timestamp": when,
        "helper_metadata": {"turn": turn},
        "message": inbound(),
        "failure_code": "temporary",
        "reason": f"Turn failed on it, reason {number % 10}.",
    }


class ChannelsTests(OperatorCase):
    """All channels, live."""

    def test_all_well(self) -> None:
        """Each channel is a row that says how it is; rates and queues follow what happens."""
        self.open()
        self.shows("#summary", "3 channels, all well")
        self.browser.picture("operator-all-well")
        self.say("ussd_lesotho")
        row = "#channel-table tr[data-key=ussd_lesotho]"
        wait_for(
            lambda: self.browser.script(f"return document.querySelector('{row} td:nth-child(3)').innerText") != "0.0",
            "a rate",
            SOON,
        )
        self.browser.colours("dark")
        self.browser.picture("operator-all-well-dark")

    def test_away(self) -> None:
        """A channel whose Turn is away says for how long, how many wait and when the next try is; then it is well."""
        self.open()
        self.other_turn.decide = lambda request: TurnResponse(503)
        for _ in range(25):
            self.say("sms_lesotho")
        said = self.shows("#channel-table", "Turn away (status 503: Service Unavailable) for")
        self.shows("#channel-table", "25 wait, next try")
        self.assertLess(said.index("sms_lesotho"), said.index("ussd_lesotho"), "the worst is first")
        self.shows("#summary", "3 channels, 1 in trouble")
        self.shows("#trouble", "1")
        self.assertIn(
            "sms_lesotho: Turn away", self.browser.script("return document.querySelector('#announce').textContent")
        )
        self.browser.picture("operator-away")
        self.browser.click("#show-trouble")
        self.gone("#channel-table", "ussd_lesotho")
        self.browser.resize(390, 844)
        self.browser.picture("operator-away-narrow")
        self.assertFalse(self.browser.script(TOO_WIDE))
        self.browser.resize(1440, 900)
        self.browser.click("#channel-table button.link")
        self.shows("#channel-remarks", "Turn away")
        self.shows("#latest-table", "tried: status 503")
        self.browser.picture("operator-channel")
        self.other_turn.decide = lambda request: TurnResponse()
        self.shows("#channel-remarks", "All well", 70.0)

    def test_focus(self) -> None:
        """What changes in a row does not take the focus from what stays in it."""
        self.open()
        self.shows("#channel-table", "ussd_lesotho")
        self.browser.script("document.querySelector('tr[data-key=ussd_lesotho] button').focus()")
        self.say("ussd_lesotho")
        row = "document.querySelector('tr[data-key=ussd_lesotho]')"
        wait_for(lambda: self.browser.script(f"return {row}.children[2].innerText") != "0.0", "a rate", SOON)
        self.assertTrue(self.browser.script(f"return {row}.contains(document.activeElement)"))

    def test_wrong_token(self) -> None:
        """A token that Turn does not accept is said as such."""
        self.open()
        self.other_turn.decide = lambda request: TurnResponse(401)
        self.say("sms_lesotho")
        self.shows("#channel-table", "Turn refuses the token or the URL (status 401: Unauthorized)")

    def test_search(self) -> None:
        """Channels are found by a part of their name, which is marked."""
        self.open()
        self.browser.fill("#channel-search", "ZAM")
        self.gone("#channel-table", "lesotho")
        self.assertEqual(self.browser.text("#channel-table mark"), "zam")
        self.browser.fill("#channel-search", "nothing like it")
        self.shows("#channels .nothing", "No channel matches")


class ManyTests(OperatorCase):
    more = 97

    def test_hundred(self) -> None:
        """With 100 channels the page shows each, and goes on being told."""
        self.open()
        self.shows("#summary", "100 channels, all well", 60.0)
        self.assertEqual(len(self.browser.all("#channel-table tbody tr")), 100)
        self.other_turn.decide = lambda request: TurnResponse(503)
        self.say("sms_lesotho")
        self.shows("#channel-table tbody tr:first-child", "Turn away", 30.0)
        self.browser.picture("operator-hundred")
        self.assertEqual(self.axe(), [])


class LostTests(OperatorCase):
    complaints = ("net::ERR_",)

    def test_reconnects(self) -> None:
        """While the worker is away the page says so, and goes on by itself when it is back."""
        self.open()
        self.shows("#summary", "3 channels")
        self.worker.stop()
        self.shows("#connection", "Reconnecting")
        wait_for(lambda: self.browser.find("#lost").is_displayed(), "the banner", SOON)
        self.browser.picture("operator-lost")
        self.worker.start()
        self.shows("#connection", "Live", 20.0)
        wait_for(lambda: not self.browser.find("#lost").is_displayed(), "the banner to go", SOON)

    def test_parked_failed(self) -> None:
        """A list that cannot be had is an error in the page, not an empty list."""
        self.open("parked")
        self.shows("#parked .nothing", "Nothing is parked here")
        self.worker.stop()
        self.browser.choose("#filter-status", "500")
        self.shows("#parked .nothing", "The server does not answer")


class ParkedTests(OperatorCase):
    """What is parked."""

    def test_list_and_replay(self) -> None:
        """What is parked is listed with Turn's words and a person's hash, without content; one is replayed."""
        first, second = self.park(count=2)
        self.open("parked")
        said = self.shows("#parked-table", second)
        self.assertIn("Turn refused it (status 400: Bad Request).", said)
        self.assertIn("Turn says: 1008 Bad parameter: *** has said '***' in no template", said)
        self.assertNotIn(CONTENT, said)
        self.assertNotIn(PERSON[1:], said)
        self.browser.picture("operator-parked")
        self.browser.find(f"button[aria-label='Replay {first}']").click()
        self.give_password("wrong")
        self.shows("dialog .problem", "That is not the password.")
        self.browser.picture("operator-password")
        self.give_password()
        self.shows(".toasts", "1 message replayed.")
        self.turn.wait_for("messages", first)
        self.gone("#parked-table", first)
        self.shows("#parked-table", second)
        self.browser.picture("operator-replayed")
        self.assertNotIn(PERSON[1:], self.worker.log)

    complaints = ("401",)

    def test_choose_and_drop(self) -> None:
        """Those that are chosen are dropped after a question; Escape leaves them."""
        ids = self.park(count=3)
        self.open("parked")
        self.shows("#parked-table", ids[2])
        for name in ids[:2]:
            self.browser.find(f"input[aria-label='Choose {name}']").click()
        self.shows("#drop", "Drop 2")
        self.browser.click("#drop")
        self.shows("dialog", "Drop 2 messages?")
        self.browser.press("\ue00c")
        self.assertEqual(len(self.browser.all(ROWS)), 3)
        self.browser.click("#drop")
        self.browser.click("dialog .danger")
        self.give_password()
        self.shows(".toasts", "2 messages dropped.")
        wait_for(lambda: len(self.browser.all(ROWS)) == 1, "one row", SOON)
        self.shows("#parked-table", ids[2])

    def test_filter_and_all(self) -> None:
        """A filter leaves what it names, and all of that is replayed."""
        self.park("ussd_lesotho", 2)
        (other,) = self.park("sms_lesotho", 1)
        self.open()
        self.browser.find("button[aria-label='1 parked of sms_lesotho']").click()
        self.shows("#parked-table", other)
        self.assertEqual(len(self.browser.all(ROWS)), 1)
        self.shows("#replay", "Replay all 1")
        self.browser.click("#replay")
        self.give_password()
        self.shows(".toasts", "1 message replayed.")
        self.shows("#parked .nothing", "Nothing is parked here.")
        self.browser.choose("#filter-connector", "")
        wait_for(lambda: len(self.browser.all(ROWS)) == 2, "the others", SOON)
        self.browser.fill("#filter-reason", "nothing like it")
        self.shows("#parked .nothing", "Nothing is parked here.")

    def test_news(self) -> None:
        """What is parked while the page is open appears by itself."""
        self.open("parked")
        self.shows("#parked .nothing", "Nothing is parked here.")
        (name,) = self.park()
        self.shows("#parked-table", name, 20.0)
        self.shows("#parked-count", "1")

    def test_trace(self) -> None:
        """A parked message's id leads to its trace; a person's address finds all of that person's."""
        (name,) = self.park()
        self.open("parked")
        self.shows("#parked-table", name)
        self.browser.find("#parked-table td.lead button").click()
        said = self.shows("#traces", "Tried: status 400: Bad Request, refused")
        self.assertIn("Turn says: 1008 Bad parameter: *** has said '***'", said)
        self.assertIn("Parked after 1 try", said)
        self.browser.picture("operator-trace")
        self.browser.fill("#trace-query", PERSON)
        self.browser.press(ENTER)
        self.shows("#traces", name)
        self.assertNotIn(PERSON[1:], self.browser.driver.current_url)
        self.browser.driver.back()
        self.shows("#parked-table", name)


class ManyParkedTests(OperatorCase):
    def test_ten_thousand(self) -> None:
        """10,000 parked messages are paged and filtered; 1,000 of them are replayed."""
        for number in range(10_000):
            self.peer.publish_json("ussd_lesotho.turn_failures", failure(number))
        self.open("parked")
        self.shows("#range", "1 to 50 of 10000", PAGING)
        self.assertEqual(len(self.browser.all(ROWS)), 50)
        self.browser.picture("operator-ten-thousand")
        self.assertEqual(self.axe(), [])
        self.browser.click("#next")
        self.shows("#range", "51 to 100 of 10000", PAGING)
        self.browser.fill("#filter-reason", "reason 7.")
        self.shows("#range", "1 to 50 of 1000", PAGING)
        self.browser.choose("#filter-age", "newer_than=3600")
        self.shows("#parked .nothing", "Nothing is parked here.", PAGING)
        self.browser.choose("#filter-age", "older_than=86400")
        self.shows("#range", "1 to 50 of 1000", PAGING)
        self.browser.click("#replay")
        self.shows("dialog", "Replay 1000 messages?", PAGING)
        self.browser.click("dialog .danger")
        self.give_password()
        self.say("sms_zambia")
        self.shows(".toasts", "1000 messages replayed.", 120.0)
        self.browser.fill("#filter-reason", "")
        self.shows("#range", "1 to 50 of 9000", PAGING)
        self.assertEqual(self.peer.ready("ussd_lesotho.turn_failures"), 9000)


class OnlyShowsTests(OperatorCase):
    options = {"management_password": None}

    def test_no_password(self) -> None:
        """Without a password there is nothing to press, and the page says why."""
        self.park()
        self.open("parked")
        self.shows("#only-shows", "This page only shows.")
        self.assertEqual(self.browser.all("#parked-table input, #parked-table .danger"), [])
        self.assertFalse(self.browser.find("#actions").is_displayed())


class ContentTests(OperatorCase):
    options = {"management_content": True}

    def test_content(self) -> None:
        """Where it is configured, the page shows what people wrote."""
        self.park()
        self.open("parked")
        self.shows("#parked-table", CONTENT)


class OwnMessagesTests(OperatorCase):
    def test_trace_of_ours(self) -> None:
        """The trace of a message from Turn: accepted, published, and what the network and Turn said to its status."""
        from tests.integration.http_peer import HttpPeer, outbound

        http = HttpPeer(self.worker.port, "s", "/ussd_lesotho")
        answer = http.post(outbound(PERSON, CONTENT))
        self.assertEqual(answer.status, 200, answer.body)
        self.peer.publish_json("ussd_lesotho.event", event("ack", answer.message_id))
        self.turn.wait_for("statuses", answer.message_id)
        self.open(f"trace/{answer.message_id}")
        said = self.shows("#traces", "Delivered (status)")
        for step in (
            "From Turn to a person",
            "Accepted",
            "Published after",
            "Event ack",
            "Tried (status): status 200: OK",
        ):
            self.assertIn(step, said)
        self.assertNotIn(CONTENT, said)
        self.browser.picture("operator-trace-ours")
