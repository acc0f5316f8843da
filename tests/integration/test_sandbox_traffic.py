"""What passes, what goes wrong and how it ends, on the sandbox's page in a real browser."""

from __future__ import annotations

import json

from tests.integration.sandbox_page import NUMBER, PageCase
from tests.integration.sandbox_process import Sandbox
from tests.integration.waiting import SOON, wait_for


class MessagesTests(PageCase):
    """One row for each message."""

    def test_rows(self) -> None:
        """Each message is one row, the newest last, and opens to its hops; the bubble leads to it."""
        self.sandbox.sms(NUMBER, "Hello")
        self.shows("#talk", "✓ delivered")
        wait_for(lambda: len(self.browser.all("#messages > li")) == 2, "two rows", SOON)
        self.shows("#messages li:nth-child(1)", "taken by Turn")
        self.shows("#messages li:nth-child(2)", "delivered")
        self.browser.click("#messages li:nth-child(1) > button")
        opened = self.shows("#messages li:nth-child(1) .opened", "POST /messages 200")
        for hop in ("Phone network → Broker", "Broker → Worker", "Worker → Turn"):
            self.assertIn(hop, opened)
        self.browser.click("#talk > li:nth-child(2) button[data-id]")
        opened = self.shows("#messages li:nth-child(2) .opened", "Turn → Worker")
        self.assertIn("POST /statuses delivered", opened)
        self.browser.picture("message-opened")

    def test_search_and_chips(self) -> None:
        """Words and chips leave what they name; a search that leaves nothing says so; Clear empties the list."""
        self.sandbox.sms(NUMBER, "Find me")
        self.shows("#talk", "✓ delivered")
        self.browser.fill("#search", "find ME")
        wait_for(lambda: len(self.browser.all("#messages > li")) == 1, "one row", SOON)
        self.browser.fill("#search", "no-such-words")
        self.shows("#messages-empty", "No message is left by this search")
        self.browser.fill("#search", "e")
        self.browser.click("[data-chip=out]")
        wait_for(lambda: len(self.browser.all("#messages > li.out")) == 1, "the answer", SOON)
        self.assertEqual(self.browser.all("#messages > li.in"), [])
        self.browser.click("[data-chip=errors]")
        self.shows("#messages-empty", "No message is left")
        self.browser.click("[data-chip=errors]")
        self.browser.click("#clear")
        self.shows("#messages-empty", "all were cleared")
        self.sandbox.sms(NUMBER, "Again")
        self.shows("#messages", "Welcome")

    def test_pause(self) -> None:
        """While it is paused nothing moves; then all that came is there."""
        self.browser.click("#pause")
        self.sandbox.sms(NUMBER, "Hello")
        self.shows("#talk", "✓ delivered")
        self.assertEqual(self.browser.all("#messages > li"), [])
        self.browser.click("#pause")
        self.shows("#messages", "Hello")

    def test_raw(self) -> None:
        """A line of Raw opens to its headers, with secrets masked, and its JSON; an id leaves its own lines."""
        name = self.sandbox.sms(NUMBER, "Hello")
        self.shows("#talk", "✓ delivered")
        self.browser.click("#tab-raw")
        self.browser.click("[data-chip=http]")
        wait_for(lambda: "AMQP" not in self.browser.text("#lines"), "the filter", SOON)
        self.browser.script(
            "[...document.querySelectorAll('#lines .line')].find((s) => s.textContent.includes('“Hello”')).click()"
        )
        opened = self.shows("#lines .opened", "Headers").lower()
        self.assertIn("authorization: ***", opened)
        self.assertIn('"body": "hello"', opened)
        self.browser.picture("raw-opened")
        self.browser.click("#lines .opened .link")
        self.assertEqual(self.browser.find("#search").get_attribute("value"), name)
        self.shows("#lines", "network → phones.inbound")
        self.assertNotIn("phones.event", self.browser.text("#lines"))
        self.assertNotIn("Bearer", self.browser.script("return document.documentElement.innerHTML"))


class FaultTests(PageCase):
    """What goes wrong, and how it ends."""

    def test_first_minute(self) -> None:
        """The guide leads from the first call to a replay, step by step, and can be dismissed for good."""
        self.shows("#guide", "1 of 7")
        self.browser.click("#ussd-send")
        self.shows("#guide", "2 of 7")
        self.shows("#screen", "Welcome")
        self.write("#ussd-input", "1")
        self.shows("#guide", "3 of 7")
        self.shows("#screen", "Which day")
        self.break_part("turn", "down")
        self.shows("#guide", "4 of 7")
        self.shows("#faults-banner", "You switched Turn off.")
        self.write("#ussd-input", "2")
        self.shows("#guide", "5 of 7")
        self.shows("#holding", "Holding 1 message")
        self.browser.picture("turn-down")
        self.browser.click("#restore")
        self.shows("#screen", "Your visit is booked for Wednesday")
        self.shows("#guide", "6 of 7")
        self.browser.choose("#turn-more", "error400")
        self.shows("#faults-banner", "You let Turn refuse everything with 400.")
        self.send_sms("Take this")
        self.shows(".toast", "Parked: “Take this”")
        self.browser.picture("parked-toast")
        self.shows("#guide", "7 of 7")
        self.browser.click("#restore")
        self.browser.click("#tab-parked")
        self.shows("#parked", "Take this")
        self.browser.picture("parked")
        self.browser.click("#parked button[aria-label^=Replay]")
        self.shows("#talk", "Take this")
        self.shows("#view-parked", "Nothing is parked.")
        self.shows("#guide", "Done")
        self.browser.click("#guide-close")
        self.reload()
        self.assertTrue(self.hidden("#guide"))

    def test_retries_are_folded(self) -> None:
        """Tries in vain are one hop with their number; the counters lead to what they count."""
        self.break_part("turn", "down")
        self.sandbox.sms(NUMBER, "Is anybody there?")
        self.wait_for_counter("held", 1)
        self.browser.click("#messages li > button")
        self.shows("#messages .opened", "tries")
        self.assertEqual(len(self.browser.all("#messages .timeline > li.bad")), 1)
        self.browser.picture("retries")
        self.break_part("turn", "up")
        self.shows("#messages li:nth-child(1)", "taken by Turn")
        self.wait_for_counter("recovered", 1, "since_start")
        self.browser.click("#tab-counters")
        self.shows("#view-counters", "Since the start")
        self.browser.picture("counters")
        self.browser.script("document.querySelector('#counters section:last-of-type button').click()")
        self.shows("#lines", "POST /messages")

    def test_drop(self) -> None:
        """What is dropped, after a question, is parked no more; its message says so."""
        self.browser.choose("#turn-more", "error400")
        self.sandbox.sms(NUMBER, "Forget this")
        self.shows("#tab-parked", "1")
        self.browser.click("#tab-parked")
        self.shows("#parked", "told to answer 400")
        self.browser.click("#parked button[aria-label^=Drop]")
        self.shows("dialog[open]", "Drop this message?")
        self.browser.click("dialog[open] .danger")
        self.shows("#view-parked", "Nothing is parked.")
        self.wait_for_counter("parked", 0)
        self.browser.click("#tab-messages")
        self.shows("#messages", "dropped")

    def test_why_it_failed(self) -> None:
        """An answer that the network refuses, or reports undelivered, or that is too long, says why."""
        for value, number, words in (
            ("nack", "+26611111111", "the network refuses messages"),
            ("fail", "+26622222222", "the network reports that it was not delivered"),
        ):
            self.break_part("network", value)
            self.browser.fill("#number", number)
            self.sandbox.sms(number, "Hello")
            self.shows("#talk > li:nth-child(2)", "✕ failed")
            self.shows("#talk > li:nth-child(2)", words)
        self.browser.picture("failed")

    def test_rate_limit(self) -> None:
        """The rate limit can be switched off and on, and counts down."""
        self.shows("#limit-text", "60 calls in 1 min")
        self.sandbox.sms(NUMBER, "Hello")
        self.shows("#limit-text", "calls left, new in")
        self.browser.click("#limit")
        self.shows("#limit-text", "off")
        self.assertIsNone(self.sandbox.api.get("/api/faults")["limit"])

    def test_reset(self) -> None:
        """A reset, after a question, leaves a page as at the beginning."""
        self.sandbox.sms(NUMBER, "Hello")
        self.shows("#talk", "✓ delivered")
        self.break_part("network", "nack")
        self.shows("#faults-banner", "You let the phone network refuse messages.")
        self.browser.click("#reset")
        self.browser.click("dialog[open] .danger")
        self.shows("#messages-empty", "Press Call")
        self.assertEqual(self.browser.all("#talk > li"), [])
        self.assertTrue(self.hidden("#faults-banner"))


class BrokerTests(PageCase):
    # The page asks for what cannot be done now, and shows the answer.
    complaints = ("the server responded with a status of 503",)

    def test_broker_away(self) -> None:
        """Without the broker an SMS stays unsent, once, and can be sent again; Turn repeats; all goes on after."""
        self.sandbox.sms(NUMBER, "Hello")
        self.shows("#talk > li:nth-child(2)", "✓ delivered")
        self.break_part("broker", "away")
        self.shows("#health", "down")
        self.send_sms("Lost?")
        self.shows("#phone-problem", "the broker has not taken it")
        self.shows("#texts > li:nth-child(3)", "not sent: the broker is away")
        self.assertEqual(self.browser.find("#sms-input").get_attribute("value"), "")
        self.write("#turn-input", "Are you there?")
        self.shows("#talk > li:nth-child(3)", "the channel answered 503")
        self.browser.picture("broker-away")
        self.break_part("broker", "up")
        self.shows("#health", "ok")
        self.shows("#talk > li:nth-child(3)", "✓ delivered")
        self.browser.click("#texts > li:nth-child(3) button.link")
        self.shows("#talk > li:nth-child(4)", "Lost?")


class LiveTests(PageCase):
    # The browser complains of a server that is not there.
    complaints = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET")

    def test_reconnects(self) -> None:
        """A page whose sandbox went away says so; with another at its address it lives, and its errors are gone."""
        self.sandbox.sms(NUMBER, "Before")
        self.shows("#talk", "Before")
        self.sandbox.process.stop()
        self.shows("#connection", "does not answer; trying again")
        self.browser.click("#ussd-send")
        self.shows("#phone-problem", "does not answer")
        self.browser.picture("lost")
        again = Sandbox(ports=(self.sandbox.port, self.sandbox.worker_port))
        self.addCleanup(again.close)
        self.shows("#connection", "Live")
        self.assertEqual((self.browser.all("#talk > li"), self.browser.text("#phone-problem")), ([], ""))
        again.sms(NUMBER, "After")
        self.shows("#talk", "After")


class CopyTests(PageCase):
    def test_copies(self) -> None:
        """A message is copied as JSON and as a curl command without secrets, for a terminal."""
        self.browser.script(
            "window.copied = []; navigator.clipboard.writeText = async (text) => { window.copied.push(text); }"
        )
        name = self.sandbox.sms(NUMBER, "It's me")
        self.shows("#talk", "✓ delivered")
        self.browser.click("#messages li:nth-child(1) > button")
        self.browser.click("#messages [data-act=copy]")
        self.browser.click("#messages [data-act=curl]")
        self.browser.click("#copy-all")
        self.shows(".toast", "copied")
        one, command, everything = self.browser.script("return window.copied")
        self.assertEqual(json.loads(one)["id"], name)
        self.assertIn("$TURN_TOKEN", command)
        self.assertIn("It'\\''s me", command)
        self.assertEqual([each["id"] for each in json.loads(everything)][0], name)
