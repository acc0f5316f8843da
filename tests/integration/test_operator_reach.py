"""Who uses the operator's page, and on what: keys alone, a screen reader, a small screen, in the dark."""

from __future__ import annotations

from tests.integration.operator_case import TOO_WIDE, OperatorCase
from tests.integration.sandbox_page import DOWN, ENTER, RIGHT
from tests.integration.turn_server import TurnResponse
from tests.integration.waiting import SOON, wait_for

ESCAPE = "\ue00c"
#: What does not fit into its place, and so lies over what is beside it.
CUT = """
const all = [...document.querySelectorAll("h2, .badge, td")].filter((one) => one.offsetParent);
return all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent);
"""
ROWS = "#parked-table tbody tr"


class ReachTests(OperatorCase):
    """For everybody, on every screen."""

    def test_axe(self) -> None:
        """axe-core finds nothing in any view, wide, narrow and dark; nothing is wider than the screen."""
        (name,) = self.park()
        self.other_turn.decide = lambda request: TurnResponse(503)
        self.say("sms_lesotho")
        wait_for(lambda: self.api("api/channels/sms_lesotho")["state"] == "bad", "Turn to be away", SOON)
        for view, selector, words in (
            ("channels", "#channel-table", "Turn away"),
            ("channel/sms_lesotho", "#latest-table", "to Turn"),
            ("parked", "#parked-table", name),
            (f"trace/{name}", "#traces", "Parked"),
        ):
            for width, scheme in ((1440, "light"), (1024, "dark"), (390, "light"), (390, "dark")):
                self.browser.resize(width, 900)
                self.browser.colours(scheme)
                self.open(view)
                self.shows(selector, words)
                self.assertEqual(self.axe(), [], f"{view} {width} {scheme}")
                self.assertFalse(self.browser.script(TOO_WIDE), f"{view} {width}")
                self.assertEqual(self.browser.script(CUT), [], f"{view} {width}")
                self.browser.picture(f"operator-{view.partition('/')[0]}-{width}-{scheme}")

    def test_keys(self) -> None:
        """``/`` leads to the search, ``j`` and ``k`` from row to row, Escape back to the row that was opened."""
        first, second = self.park(count=2)
        self.open("parked")
        self.shows("#parked-table", first)
        self.shows("#parked-table", second)
        shown = [one.text for one in self.browser.all(f"{ROWS} td.lead")]
        self.browser.press_anywhere("/")
        self.assertEqual(self.browser.focused(), "filter-reason")
        self.browser.press("PARAMETER")
        self.shows("#parked-table .words mark", "parameter")
        self.browser.press_anywhere("j")
        self.browser.press("j", "k", DOWN)
        self.assertEqual(self.focused_text(), shown[1])
        self.browser.press(ENTER)
        self.shows("#traces", shown[1])
        self.browser.press_anywhere(ESCAPE)
        wait_for(lambda: self.focused_text() == shown[1], "the row to have the focus again", SOON)
        self.browser.click("#keys")
        self.browser.press_anywhere("/")
        self.assertNotEqual(self.browser.focused(), "filter-reason")
        self.browser.click("#keys")

    def focused_text(self) -> str:
        """The words of what has the focus."""
        return str(self.browser.script("return document.activeElement.textContent"))

    def test_keyboard(self) -> None:
        """A message is replayed with the keyboard alone, and each step shows where one is."""
        (name,) = self.park()
        self.open()
        self.shows("#channel-table", "1")
        self.tab_to("tab-channels")
        self.browser.press(RIGHT)
        self.assertEqual(self.browser.focused(), "tab-parked")
        self.shows("#parked-table", name)
        self.tab_to("replay")
        self.browser.press(ENTER)
        self.give_password()
        self.turn.wait_for("messages", name)
        self.shows(".toasts", "1 message replayed.")
