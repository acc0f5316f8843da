"""Who uses the sandbox's page, and on what: keys alone, a screen reader, a small screen, in the dark."""

from __future__ import annotations

import re

from tests.integration.sandbox_page import DOWN, END, ENTER, NUMBER, RIGHT, PageCase
from tests.integration.waiting import SOON, wait_for


class KeyboardTests(PageCase):
    def test_session(self) -> None:
        """A USSD session and the tabs with nothing but keys; one always sees where one is."""
        self.tab_to("ussd-input")
        self.browser.press(ENTER)
        self.shows("#screen", "Welcome to the clinic line.")
        self.assertEqual(self.browser.focused(), "ussd-input")
        self.browser.press("2", ENTER)
        self.shows("#screen", "We are open Monday to Friday")
        self.browser.script("document.getElementById('tab-ussd').focus()")
        self.browser.press(RIGHT)
        self.assertEqual(self.browser.focused(), "tab-sms")
        self.tab_to("sms-input", most=8)

    def test_one_stop(self) -> None:
        """A list of many rows is one stop of Tab, its newest row; the arrow keys lead through it, Enter opens."""
        for number in range(8):
            self.sandbox.sms(NUMBER, f"Message {number}")
        self.shows("#messages", "Message 7")
        self.shows("#talk", "Message 7")
        reached = self.browser.script("return document.querySelectorAll('#messages button[tabindex=\"0\"]').length")
        self.assertEqual(reached, 1)
        self.browser.script("document.querySelector('#messages button[tabindex=\"0\"]').focus()")
        self.browser.press("\ue011", DOWN)  # Home
        self.browser.press(ENTER)
        self.shows("#messages li.open .opened", "Id")
        self.browser.press(END)
        self.tab_to("turn-send", most=14)

    def test_skip_link(self) -> None:
        """The first Tab leads to a link that skips to the parts of the page."""
        self.tab_to("A", most=1)
        self.browser.press(ENTER)
        self.assertEqual(self.browser.focused(), "main")


class ScreenTests(PageCase):
    def show_all(self) -> None:
        """Something of everything."""
        self.sandbox.dial(NUMBER)
        self.sandbox.wait_for_screen(NUMBER, "Welcome")
        self.sandbox.sms(NUMBER, "Hello")
        self.shows("#talk", "✓ delivered")
        self.sandbox.faults(turn={"mode": "error", "status": 400}, network={"mode": "nack"})
        self.sandbox.sms(NUMBER, "Refused")
        # Read where it stands: a screen that shows one part at a time may hide the tab. Statuses of what was said
        # before may be refused and parked too.
        text = "return document.querySelector('#tab-parked').textContent"
        wait_for(lambda: re.search("[1-9]", self.browser.script(text)), "a parked message", SOON)
        self.sandbox.api.post(f"/api/conversations/{NUMBER}", {"text": "nobody gets this"})
        self.shows("#talk", "the network refuses messages")

    def part(self, name: str) -> None:
        """Choose a part, on a screen that shows one at a time."""
        self.browser.click(f"#parts [data-part={name}]")

    def test_nothing_wider(self) -> None:
        """No screen, however narrow, has to be moved sideways, in any part of the page."""
        self.show_all()
        for width in (320, 375, 480, 720, 721, 1024, 1179, 1180, 1440):
            self.browser.resize(width, 800)
            for name in ("phone", "turn", "messages", "parked") if width < 1180 else ("",):
                if name:
                    self.part(name)
                found = self.browser.script("return document.documentElement.scrollWidth")
                self.assertEqual(found, width, name)

    def test_one_part_at_a_time(self) -> None:
        """On a narrow screen and at 1024 px one part is shown at a time, with the latest hop above it."""
        self.show_all()
        for width, height in ((390, 844), (1024, 768)):
            self.browser.resize(width, height)
            for name, there, gone in (
                ("phone", "#display", "#talk"),
                ("turn", "#talk", "#display"),
                ("messages", "#messages", "#talk"),
                ("parked", "#parked", "#messages"),
            ):
                self.part(name)
                self.assertFalse(self.hidden(there), (width, name))
                self.assertTrue(self.hidden(gone), (width, name))
                self.shows("#strip-text", "→")
                self.browser.script("window.scrollTo(0, 0)")
                self.browser.picture(f"{width}-{name}")
        self.browser.resize(390, 844)
        self.part("phone")
        code = "return [...document.querySelectorAll('#handset button')].map((b) => b.offsetHeight)"
        self.assertGreaterEqual(min(self.browser.script(code)), 40)

    def test_newest_in_sight(self) -> None:
        """A part that is looked at again shows what came meanwhile; no view's tab is out of sight at 390 px."""
        self.browser.resize(1024, 768)
        for number in range(12):
            self.sandbox.sms(NUMBER, f"Message {number}")
        self.shows("#messages", "Message 11")
        self.part("turn")
        code = (
            "const e = document.getElementById('talk');"
            "return e.scrollTop > 0 && e.scrollHeight - e.scrollTop - e.clientHeight < 2"
        )
        wait_for(lambda: self.browser.script(code), "the newest to be in sight", SOON)
        self.browser.resize(390, 844)
        self.part("messages")
        code = "const e = document.getElementById('views'); return e.scrollWidth > e.clientWidth"
        self.assertFalse(self.browser.script(code))

    def test_order(self) -> None:
        """What comes first in the page is seen first, so that Tab goes the way that eyes go."""
        self.browser.resize(1440, 900)
        code = (
            "return ['phone', 'traffic', 'turn'].map((id) => document.getElementById(id).getBoundingClientRect().left)"
        )
        found = self.browser.script(code)
        self.assertEqual(found, sorted(found))

    def test_axe(self) -> None:
        """axe-core finds nothing wrong, in each view, wide, narrow and dark."""
        self.assertEqual(self.axe(), [], "at first")
        self.show_all()
        self.browser.click("#messages li > button")
        for scheme in ("light", "dark"):
            self.browser.colours(scheme)
            for view in ("messages", "raw", "parked", "counters"):
                self.browser.click(f"#tab-{view}")
                self.assertEqual(self.axe(), [], f"{scheme} {view}")
            self.browser.click("#tab-messages")
            self.browser.picture(f"all-{scheme}")
        self.browser.click("#tab-sms")
        self.browser.click("#words-open")
        self.assertEqual(self.axe(), [], "words")
        self.browser.click("#words .primary")
        for width in (1024, 390):
            self.browser.resize(width, 844)
            for name in ("phone", "turn", "messages", "parked"):
                self.part(name)
                self.assertEqual(self.axe(), [], f"{width} {name}")
        self.browser.click("#flow-fold")
        self.assertEqual(self.axe(), [], "broken things, narrow")
        self.browser.picture("390-broken")
