"""What passes, what goes wrong and how it ends, on the sandbox's page in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.integration.sandbox_page import NUMBER, PageCase
from tests.integration.sandbox_process import Sandbox
from tests.integration.waiting import SOON, wait_for

SIMULATE = Path(__file__).parent.parent.parent / "docs" / "simulate.rst"


def steps_of_first_minute() -> list[str]:
    """What the documentation says that the page says, step by step."""
    return re.findall(r"^#\. \*\*(.+?)\*\*", SIMULATE.read_text("utf-8"), re.M)


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
        self.browser.press_anywhere("/")
        self.assertEqual(self.browser.focused(), "search")
        self.browser.fill("#search", "find ME")
        self.shows("#messages mark", "Find me")
        wait_for(lambda: len(self.browser.all("#messages > li")) == 1, "one row", SOON)
        number = self.browser.script("return document.querySelector('#messages > li').one.id")
        self.browser.fill("#search", number[-12:])
        self.shows("#messages > li", f"id: {number[:20]}")
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

    def test_link(self) -> None:
        """A link to a message opens the page at that message, which says when it came in both ways."""
        name = self.sandbox.sms(NUMBER, "Hello")
        self.shows("#talk", "✓ delivered")
        self.browser.open("about:blank")
        self.browser.open(f"{self.sandbox.url}#message={name}")
        opened = self.shows("#messages li.open .opened", "ago")
        self.assertIn("Came", opened)
        self.assertIn(name, opened)
        self.assertEqual(len(self.browser.all("#messages li.open")), 1)

    def test_keys(self) -> None:
        """Single keys lead to the parts of the page, are listed, and can be switched off."""
        for key, focused in (("m", "tab-messages"), ("r", "tab-raw"), ("p", "tab-parked"), ("s", "sms-input")):
            self.browser.press_anywhere(key)
            self.assertEqual(self.browser.focused(), focused)
        self.browser.press("d")
        self.assertEqual(self.browser.find("#sms-input").get_attribute("value"), "d")
        self.browser.press_anywhere("?")
        self.shows("#words", "Write an SMS")
        self.browser.picture("keys")
        self.browser.click("#keys")
        self.browser.click("#words .primary")
        self.browser.press_anywhere("r")
        self.assertNotEqual(self.browser.focused(), "tab-raw")

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
        """The guide leads from the first call to a replay, as the documentation says, and can be dismissed for good."""
        self.steps = steps_of_first_minute()
        self.assertEqual(len(self.steps), 7)
        self.guided(1)
        self.browser.click("#ussd-send")
        self.guided(2)
        self.shows("#screen", "Welcome")
        self.write("#ussd-input", "1")
        self.guided(3)
        self.shows("#screen", "Which day")
        self.break_part("turn", "down")
        self.guided(4)
        self.shows("#faults-banner", "You switched Turn off.")
        self.write("#ussd-input", "2")
        self.guided(5)
        self.shows("#holding", "Holding 1 message")
        self.browser.picture("turn-down")
        self.browser.click("#restore")
        self.shows("#screen", "Your visit is booked for Wednesday.")
        self.guided(6)
        self.browser.choose("#turn-more", "error400")
        self.shows("#faults-banner", "You let Turn refuse everything with 400.")
        self.send_sms("Take this")
        self.shows(".toast", "Parked: “Take this”")
        self.browser.picture("parked-toast")
        self.guided(7)
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

    def guided(self, step: int) -> None:
        """The guide shows this step, in the documentation's words."""
        self.shows("#guide", f"{step} of 7")
        self.assertEqual(self.browser.text("#guide-text"), self.steps[step - 1])

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

    def test_next_try(self) -> None:
        """Between two tries of a round the row says when the next one is."""
        self.sandbox.faults(turn={"mode": "error", "status": 503})
        for number in range(8):  # a pause is drawn at random, and may be none
            self.sandbox.sms(f"+2661111111{number}", "Is anybody there?")
        code = """
        for (const item of document.querySelectorAll("#messages > li.in:not(.open) > button")) item.click();
        return document.querySelector("#messages .timeline").closest("#messages").innerText;
        """
        wait_for(lambda: "next in" in self.browser.script(code), "a next try", SOON)
        self.browser.picture("next-try")

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
        self.sandbox.faults(limit={})
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
        self.shows(".toast", "Everything is reset.")
        self.shows("#messages-empty", "Press Call")
        wait_for(lambda: not self.browser.all("#talk > li"), "an empty conversation")
        wait_for(lambda: self.hidden("#faults-banner"), "the banner to go")


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
    own = True
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
