"""The sandbox's page in a real browser: what its tests share."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.browser import Browser
from tests.integration.requirements import missing
from tests.integration.sandbox_process import Sandbox
from tests.integration.waiting import SOON, wait_for

NUMBER = "+26612345678"
ENTER, TAB, RIGHT, UP, DOWN, END = "\ue007", "\ue004", "\ue014", "\ue013", "\ue015", "\ue010"

#: Seconds without a line in which a journey would have answered.
QUIET = 0.2

#: Rounds of tries that are over soon.
CONFIG = {"max_retries": 1, "retry_delay_exponent": 1}

#: Whether what has the focus shows that, and what it is.
FOCUS = """
const e = document.activeElement, style = getComputedStyle(e);
return [style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2, e.id || e.tagName];
"""

#: Gives what axe-core finds: each rule with the first elements that break it.
AXE = """
const done = arguments[arguments.length - 1];
// What fades in has its own colours only when it is there.
const still = Promise.all(document.getAnimations().map((one) => one.finished.catch(() => null)));
still.then(() => axe.run(document, {resultTypes: ["violations"]})).then(
  (found) => done(found.violations.map((one) => [one.id, one.nodes.slice(0, 3).map((node) => node.html)])),
  (error) => done([String(error)]));
"""

_browser: Optional[Browser] = None


def shared_browser() -> Browser:
    """One browser for all tests: its start is slow."""
    global _browser
    if _browser is None:
        _browser = Browser()
        atexit.register(_browser.close)
    return _browser


def axe_source() -> str:
    """axe-core's code, of the file that the environment names."""
    path = os.environ.get("VUMI_TURN_AXE", "")
    if not Path(path).is_file():
        missing("axe-core", "npm pack axe-core, and name its axe.min.js in VUMI_TURN_AXE")
    return Path(path).read_text("utf-8")


_sandbox: Optional[Sandbox] = None


def shared_sandbox() -> Sandbox:
    """One sandbox for all tests that change nothing which a reset does not mend: its start is slow too."""
    global _sandbox
    if _sandbox is None:
        folder = Path(tempfile.mkdtemp(prefix="vumi_turn_browser_"))
        atexit.register(shutil.rmtree, folder, True)
        _sandbox = start_sandbox(folder, CONFIG)
        atexit.register(_sandbox.close)
    return _sandbox


def start_sandbox(folder: Path, config: Any, *flags: str) -> Sandbox:
    """A sandbox whose worker has these options."""
    path = folder / "worker.yaml"
    path.write_text(json.dumps(config))
    return Sandbox("--worker-config", str(path), *flags, folder=folder)


class PageCase(SynchronousTestCase):
    """
    The page of a sandbox, which is reset after each test. Unless a test says
    so, the page has nothing to complain about.

    :cvar own: whether each test has a sandbox of its own.
    """

    complaints: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    config: Any = CONFIG
    own = False

    def setUp(self) -> None:
        self.browser = shared_browser()
        if self.own:
            self.folder = Path(tempfile.mkdtemp(prefix="vumi_turn_browser_"))
            self.addCleanup(shutil.rmtree, self.folder, True)
            self.prepare()
            self.sandbox = start_sandbox(self.folder, self.config, *self.flags)
            self.addCleanup(self.sandbox.close)
        else:
            self.sandbox = shared_sandbox()
            self.addCleanup(self.reset)
        self.addCleanup(self.leave)
        self.browser.colours("light")
        self.browser.resize(1440, 900)
        self.reload()
        self.browser.console()

    def reset(self) -> None:
        """Leave a sandbox as at its start to the next test; the worker ends first what it has in hand."""
        api = self.sandbox.api
        mended: dict[str, Any] = {"turn": {}, "network": {}, "broker": "up", "limit": {}}
        self.sandbox.faults(**mended)
        wait_for(self.is_quiet, "the sandbox to be quiet", SOON)
        api.put("/api/journey", {"on": True})
        api.post("/api/reset", {})

    def is_quiet(self) -> bool:
        """Whether nothing is in hand, and nothing passes any more; reports that come later are forgotten by a reset."""
        before = self.sandbox.api.get("/api/traffic")["lines"][-1:]
        time.sleep(QUIET)
        idle = self.sandbox.health()["counters"]["now"]["waiting"] == 0
        return bool(idle and self.sandbox.api.get("/api/traffic")["lines"][-1:] == before)

    def prepare(self) -> None:
        """Put what the sandbox needs into the folder that it is started in."""

    def reload(self) -> None:
        """Show the page anew."""
        self.browser.open(self.sandbox.url)
        self.shows("#connection", "Live")

    def leave(self) -> None:
        """Leave the page before its sandbox ends; it has nothing to complain about."""
        for line in self.browser.console():
            self.assertTrue(any(words in line for words in self.complaints), line)
        self.browser.script("try { localStorage.clear() } catch {}")
        self.browser.open("about:blank")

    def shows(self, selector: str, words: str) -> str:
        """What an element shows, once it has these words."""
        return self.browser.wait_for_text(selector, words)

    def hidden(self, selector: str) -> bool:
        """Whether an element is not to be seen."""
        return not self.browser.find(selector).is_displayed()

    def write(self, selector: str, text: str) -> None:
        """Type into a field, and send it."""
        self.browser.fill(selector, text)
        self.browser.press(ENTER)

    def break_part(self, part: str, value: str) -> None:
        """Press a button that breaks, or mends, a part."""
        self.browser.click(f"[data-fault={part}] [data-value={value}]")

    def wait_for_counter(self, name: str, value: int, since: str = "now") -> None:
        """Wait for one of the worker's counters."""
        wait_for(lambda: self.sandbox.health()["counters"][since][name] == value, f"{name} to be {value}", SOON)

    def send_sms(self, text: str) -> None:
        """Write an SMS on the phone."""
        self.browser.click("#tab-sms")
        self.write("#sms-input", text)

    def tab_to(self, name: str, most: int = 60) -> int:
        """Press Tab until an element has the focus; each on the way shows its own, and has a name."""
        for number in range(most):
            self.browser.press(TAB)
            visible, where = self.browser.script(FOCUS)
            self.assertTrue(visible, f"one does not see that {where} has the focus")
            active = self.browser.driver.switch_to.active_element
            self.assertTrue(active.accessible_name, f"{where} has no name for who cannot see it")
            if where == name:
                return number + 1
        self.fail(f"{most} times Tab do not lead to {name}")

    def axe(self) -> Any:
        """What axe-core finds wrong with the page as it is."""
        self.browser.driver.set_script_timeout(60)
        self.browser.script(axe_source())
        return self.browser.driver.execute_async_script(AXE)
