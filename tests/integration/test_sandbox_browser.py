"""
The sandbox's page in a real browser. Each test leaves pictures in
``artefacts/``; look at them after the page was changed.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from pathlib import Path
from typing import Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.browser import Browser
from tests.integration.sandbox_process import Sandbox
from tests.integration.waiting import SOON, wait_for

NUMBER = "+26612345678"
ENTER, TAB, RIGHT = "\ue007", "\ue004", "\ue014"

#: Rounds of tries that are over soon.
CONFIG = {"max_retries": 1, "retry_delay_exponent": 1}

#: No text is harder to read than this (WCAG 2.1, AA).
CONTRAST = 4.5

#: Gives texts that are hard to read: contrast, colours, text.
HARD_TO_READ = """
const rgb = (css) => css.match(/[\\d.]+/g).map(Number);
const light = (c) => { c /= 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
const luminance = ([r, g, b]) => .2126 * light(r) + .7152 * light(g) + .0722 * light(b);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const back = rgb(getComputedStyle(e).backgroundColor);
    if (back.length < 4 || back[3] > 0) return back;
  }
  return [255, 255, 255];
};
const found = [];
for (const e of document.querySelectorAll("body *")) {
  const text = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join("") || e.value || "";
  if (!text || e.disabled || !e.checkVisibility() || e.tagName === "OPTION" || e.closest(".new")) continue;
  const [one, other] = [luminance(rgb(getComputedStyle(e).color)), luminance(behind(e))].sort((a, b) => b - a);
  const ratio = (one + .05) / (other + .05);
  if (ratio < arguments[0]) found.push([ratio.toFixed(2), e.className || e.id || e.tagName, text.slice(0, 40)]);
}
return found;
"""

#: Whether what has the focus shows that, and what it is.
FOCUS = """
const e = document.activeElement, style = getComputedStyle(e);
return [style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2, e.id || e.tagName];
"""

_browser: Optional[Browser] = None


def shared_browser() -> Browser:
    """One browser for all tests: its start is slow."""
    global _browser
    if _browser is None:
        _browser = Browser()
        atexit.register(_browser.close)
    return _browser


class BrowserCase(SynchronousTestCase):
    """A page of a sandbox of its own. Unless a test says so, the page has nothing to complain about."""

    complaints: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.browser = shared_browser()
        folder = Path(tempfile.mkdtemp(prefix="vumi_turn_browser_"))
        self.addCleanup(shutil.rmtree, folder, True)
        config = folder / "worker.yaml"
        config.write_text(json.dumps(CONFIG))
        self.sandbox = Sandbox("--config", str(config))
        self.addCleanup(self.sandbox.close)
        self.addCleanup(self.leave)
        self.browser.colours("light")
        self.browser.resize(1360, 900)
        self.browser.open(self.sandbox.url)
        self.shows("#connection", "Live")
        self.browser.console()

    def leave(self) -> None:
        """Leave the page before its sandbox ends; it has nothing to complain about."""
        for line in self.browser.console():
            self.assertTrue(any(words in line for words in self.complaints), line)
        self.browser.open("about:blank")

    def shows(self, selector: str, words: str) -> str:
        return self.browser.wait_for_text(selector, words)

    def write(self, selector: str, text: str) -> None:
        """Type into a field, and send it."""
        self.browser.fill(selector, text)
        self.browser.press(ENTER)

    def counter(self, name: str) -> str:
        return self.browser.script(f"return document.querySelector('[data-counter={name}] dd').textContent")

    def wait_for_counter(self, name: str, value: str) -> None:
        wait_for(lambda: self.counter(name) == value, f"{name} to be {value}", SOON)

    def tab_to(self, name: str, most: int = 45) -> None:
        """Press Tab until an element has the focus; each on the way shows its own, and has a name."""
        for _ in range(most):
            self.browser.press(TAB)
            visible, where = self.browser.script(FOCUS)
            self.assertTrue(visible, f"one does not see that {where} has the focus")
            active = self.browser.driver.switch_to.active_element
            self.assertTrue(active.accessible_name, f"{where} has no name for who cannot see it")
            if where == name:
                return
        self.fail(f"{most} times Tab do not lead to {name}")


class FlowTests(BrowserCase):
    """What a person, a journey and an agent say to each other."""

    def test_ussd_session(self) -> None:
        """A USSD session from dialling to closing, with the keypad, in three steps."""
        self.browser.picture("first-sight")
        self.shows("#session", "No session")
        self.browser.click("#ussd-send")
        self.shows("#screen", "Welcome to the clinic line.")
        self.shows("#session", "Session open on *120*8864#")
        self.browser.click("#keypad button:nth-child(1)")
        self.browser.click("#ussd-send")
        self.shows("#screen", "Which day suits you?")
        self.shows("#talk li:nth-child(4)", "✓ sent")
        self.browser.picture("ussd-open")
        self.browser.click("#keypad button:nth-child(2)")
        self.browser.click("#ussd-send")
        self.shows("#screen", "Your visit is booked for Wednesday.")
        self.shows("#session", "Session closed")
        self.shows("#talk li:nth-child(6)", "✓ sent")
        self.assertEqual(len(self.browser.all("#talk li")), 6)
        self.shows("#lines", "network → phones.inbound · resume “2”")
        self.shows("#lines", "worker → Turn POST /statuses · sent")
        self.browser.picture("ussd-closed")

    def test_dial_again(self) -> None:
        """After a session, Call dials the last code again; End ends a session."""
        self.browser.click("#ussd-send")
        self.shows("#screen", "Welcome")
        self.browser.click("#ussd-end")
        self.shows("#session", "No session")
        self.browser.click("#ussd-send")
        self.shows("#session", "Session open on *120*8864#")

    def test_sms_delivered(self) -> None:
        """An SMS is answered, and the answer's statuses tick in: sent, then delivered."""
        self.browser.click("#tab-sms")
        self.write("#sms-input", "Hello")
        self.shows("#talk li:nth-child(1)", "Hello")
        self.shows("#sms-log li:nth-child(2)", "Welcome to the clinic line.")
        self.shows("#talk li:nth-child(2)", "✓ sent")
        self.shows("#talk li:nth-child(2)", "✓ delivered")
        self.shows("#lines", "worker → Turn POST /statuses · delivered")
        self.browser.picture("sms-delivered")

    def test_agent(self) -> None:
        """Without the journey an agent answers: the tick keeps a USSD session open, without it the session closes."""
        self.browser.click("#journey")
        wait_for(lambda: not self.sandbox.api.get("/api/state")["journey"], "the journey to be off")
        self.browser.click("#ussd-send")
        self.shows("#talk", "*120*8864#")
        self.browser.click("#waiting")
        self.write("#turn-input", "What is your name?")
        self.shows("#screen", "What is your name?")
        self.shows("#session", "Session open")
        self.write("#ussd-input", "Thandi")
        self.shows("#talk", "Thandi")
        self.browser.click("#waiting")
        self.write("#turn-input", "Goodbye Thandi.")
        self.shows("#screen", "Goodbye Thandi.")
        self.shows("#session", "Session closed")

    def test_two_people(self) -> None:
        """Each number has a phone and a conversation of its own, and an SMS that was not looked at is told."""
        self.sandbox.sms("+26687654321", "I am somebody else")
        wait_for(lambda: len(self.browser.all("#person option")) == 2, "the other conversation", SOON)
        self.assertEqual(self.browser.all("#talk li"), [])
        self.browser.find("#person option:first-child").click()
        self.shows("#talk", "I am somebody else")
        self.assertEqual(self.browser.find("#number").get_attribute("value"), "+26687654321")
        self.shows("#tab-sms", "SMS (1 new)")
        self.browser.click("#tab-sms")
        self.shows("#sms-log", "Welcome to the clinic line.")
        self.assertEqual(self.browser.text("#tab-sms"), "SMS")
        self.browser.open(self.sandbox.url)
        self.shows("#connection", "Live")
        self.browser.find("#person option:first-child").click()
        self.shows("#talk", "I am somebody else")
        self.assertEqual(self.browser.text("#tab-sms"), "SMS")


class TrafficLogTests(BrowserCase):
    """What passed, in detail."""

    def test_line(self) -> None:
        """A line opens to its headers, with secrets masked, and its JSON; an id leaves only that message's lines."""
        name = self.sandbox.sms(NUMBER, "Hello")
        self.shows("#talk", "✓ delivered")
        self.browser.choose("#wire-protocol", "http")
        wait_for(lambda: "AMQP" not in self.browser.text("#lines"), "the filter", SOON)
        self.browser.script(
            "[...document.querySelectorAll('#lines summary')].find((s) => s.textContent.includes('“Hello”')).click()"
        )
        opened = self.shows("#lines .opened", "Headers").lower()
        self.assertIn("authorization: ***", opened)
        self.assertIn('"body": "hello"', opened)
        self.browser.picture("wire-opened")
        self.browser.click("#lines .ids button")
        self.browser.choose("#wire-protocol", "amqp")
        self.assertEqual(self.browser.find("#wire-message").get_attribute("value"), name)
        gists = [line.text.split("\n")[-1] for line in self.browser.all("#lines li")]
        self.assertIn("network → phones.inbound · “Hello”", " | ".join(gists))
        self.assertNotIn("phones.event", " | ".join(gists))
        self.browser.click("#wire-clear")
        self.shows("#lines", "phones.event")
        self.assertNotIn("Bearer", self.browser.script("return document.documentElement.innerHTML"))

    def test_filter_that_leaves_nothing(self) -> None:
        """A filter that leaves nothing says so."""
        self.sandbox.sms(NUMBER, "Hello")
        self.shows("#talk", "✓ delivered")
        self.browser.fill("#wire-message", "no-such-id")
        self.shows("#wire-empty", "No line is left")


class FaultsTests(BrowserCase):
    """What goes wrong, and how it ends."""

    def test_turn_down(self) -> None:
        """A message waits while Turn is down, and arrives when it is back."""
        self.browser.choose("#faults-turn", "down")
        self.browser.click("#tab-sms")
        self.write("#sms-input", "Is anybody there?")
        self.shows("#health", "turn")
        self.wait_for_counter("held", "1")
        self.shows("#lines", "no answer")
        self.assertEqual(self.browser.all("#talk li"), [])
        self.browser.picture("turn-down")
        self.browser.choose("#faults-turn", "up")
        self.shows("#talk li:nth-child(1)", "Is anybody there?")
        self.wait_for_counter("held", "0")
        self.wait_for_counter("recovered", "1")
        self.shows("#sms-log li:nth-child(2)", "Welcome to the clinic line.")
        self.browser.picture("turn-back")

    def test_parked(self) -> None:
        """What Turn refuses is parked with the reason, and arrives when it is replayed."""
        self.browser.choose("#faults-turn", "error400")
        self.browser.click("#tab-sms")
        self.write("#sms-input", "Take this")
        self.shows("#parked", "Turn refused it (status 400")
        self.wait_for_counter("parked", "1")
        self.browser.picture("parked")
        self.browser.choose("#faults-turn", "up")
        button = self.browser.find("#parked li > button")
        self.browser.script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
        button.click()
        self.shows("#talk li:nth-child(1)", "Take this")
        self.wait_for_counter("parked", "0")
        self.shows("#parked-part", "What Turn refuses for good")

    def test_network(self) -> None:
        """An answer that the network refuses, and one that it reports undelivered, have failed at Turn."""
        for mode in ("nack", "fail"):
            self.browser.choose("#faults-network", mode)
            number = {"nack": "+26611111111", "fail": "+26622222222"}[mode]
            self.browser.fill("#number", number)
            self.sandbox.sms(number, "Hello")
            self.shows("#talk li:nth-child(2)", "✕ failed")
        self.browser.picture("failed")


class BrokerTests(BrowserCase):
    # The page asks for what cannot be done now, and shows the answer.
    complaints = ("the server responded with a status of 503",)

    def test_broker_away(self) -> None:
        """Without the broker a phone cannot send, the worker is down, and Turn repeats; all goes on when it is back."""
        self.sandbox.sms(NUMBER, "Hello")
        self.shows("#talk li:nth-child(2)", "✓ delivered")
        self.browser.choose("#faults-broker", "away")
        self.shows("#health", "down")
        self.browser.click("#tab-sms")
        self.write("#sms-input", "Lost?")
        self.shows("#phone-error", "the broker has not taken it")
        self.shows("#sms-log li:nth-child(3)", "not sent: the broker is away")
        self.write("#turn-input", "Are you there?")
        self.shows("#talk li:nth-child(3)", "the channel answered 503; trying again")
        self.browser.picture("broker-away")
        self.browser.choose("#faults-broker", "up")
        self.shows("#health", "ok")
        self.shows("#talk li:nth-child(3)", "✓ delivered")
        self.shows("#sms-log", "Are you there?")
        self.browser.picture("broker-back")


class ReachTests(BrowserCase):
    """Who uses it, and on what."""

    def test_keyboard_alone(self) -> None:
        """A USSD session, the wire and the tabs with nothing but keys; one always sees where one is."""
        self.tab_to("ussd-input", most=15)
        self.browser.press(ENTER)
        self.shows("#screen", "Welcome to the clinic line.")
        self.assertEqual(self.browser.focused(), "ussd-input")
        self.browser.picture("keyboard")
        self.browser.press("2", ENTER)
        self.shows("#screen", "We are open Monday to Friday")
        self.shows("#session", "Session closed")
        self.shows("#talk li:nth-child(4)", "✓ sent")
        self.tab_to("SUMMARY")
        self.browser.press(ENTER)
        self.shows("#lines .opened", "Only the lines of")
        self.browser.script("document.getElementById('tab-ussd').focus()")
        self.browser.press(RIGHT)
        self.assertEqual(self.browser.focused(), "tab-sms")
        self.tab_to("sms-input", most=5)

    def test_skip_links(self) -> None:
        """The first Tab leads to links that skip to each part."""
        self.tab_to("A", most=1)
        self.browser.press(ENTER)
        self.assertEqual(self.browser.focused(), "phone")

    def test_narrow_screen(self) -> None:
        """On a phone's screen nothing is wider than it, the phone comes first, and a finger hits its keys."""
        self.browser.resize(375, 740)
        self.browser.open(self.sandbox.url)
        self.shows("#connection", "Live")
        top, bottom = self.browser.script(
            "const box = document.getElementById('display').getBoundingClientRect(); return [box.top, box.bottom]"
        )
        self.assertTrue(0 < top < bottom < 740, (top, bottom))
        self.browser.click("#ussd-send")
        self.shows("#screen", "Welcome to the clinic line.")
        self.shows("#talk li:nth-child(2)", "✓ sent")
        self.browser.script("window.scrollTo(0, 0)")
        self.browser.picture("narrow")
        self.browser.click("#flow summary")
        self.shows("#counters", "accepted")
        for width in (320, 375, 480, 719, 721, 900, 1101):
            self.browser.resize(width, 740)
            self.assertEqual(self.browser.script("return document.documentElement.scrollWidth"), width)
        self.browser.resize(375, 3000)
        code = "return [...document.querySelectorAll('#ussd button')].map((b) => b.offsetHeight)"
        self.assertGreaterEqual(min(self.browser.script(code)), 40)
        self.browser.picture("narrow-all")

    def test_contrast(self) -> None:
        """In light and in dark each text can be read, also where something is wrong."""
        self.sandbox.sms(NUMBER, "Hello")
        self.sandbox.dial(NUMBER)
        self.shows("#talk", "✓ delivered")
        self.sandbox.faults(turn={"mode": "error", "status": 400}, network={"mode": "nack"})
        self.sandbox.sms(NUMBER, "Refused")
        self.shows("#parked", "status 400")
        self.sandbox.api.post(f"/api/conversations/{NUMBER}", {"text": "nobody gets this"})
        backs: list[str] = []
        back = "return getComputedStyle(document.body).backgroundColor"
        self.browser.resize(1600, 1000)
        for scheme in ("light", "dark"):
            self.browser.colours(scheme)
            wait_for(lambda: self.browser.script(back) not in backs, f"the colours to be {scheme}", SOON)
            for tab in ("#tab-sms", "#tab-ussd"):
                self.browser.click(tab)
                self.assertEqual(self.browser.script(HARD_TO_READ, CONTRAST), [], scheme)
            backs.append(self.browser.script(back))
            self.browser.picture(scheme)


class LiveTests(BrowserCase):
    # The browser complains of a server that is not there.
    complaints = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET")

    def test_reconnects(self) -> None:
        """A page whose sandbox went away says so, and lives again when there is another at its address."""
        self.sandbox.sms(NUMBER, "Before")
        self.shows("#talk", "Before")
        self.sandbox.process.stop()
        self.shows("#connection", "does not answer; trying again")
        again = Sandbox(ports=(self.sandbox.port, self.sandbox.worker_port))
        self.addCleanup(again.close)
        self.shows("#connection", "Live")
        self.assertEqual(self.browser.all("#talk li"), [])
        again.sms(NUMBER, "After")
        self.shows("#talk", "After")
