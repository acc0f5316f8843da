"""A real browser, without a window: Chromium by Selenium."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.integration.requirements import find_program, missing
from tests.integration.waiting import SOON, wait_for

#: Pictures of the tests are kept here, of the project; git ignores it.
ARTEFACTS = Path(__file__).resolve().parent.parent.parent / "artefacts"

APT = "apt-get install chromium chromium-driver"

#: Without a window, as any user, and speaking to nobody but the test.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--hide-scrollbars",
)

#: Keys, as WebDriver has them (W3C WebDriver, Keyboard actions).
CONTROL, DELETE = "\ue009", "\ue017"


class Browser:
    """
    One Chromium.

    :ivar driver: Selenium's.
    """

    def __init__(self) -> None:
        try:
            from selenium import webdriver
            from selenium.webdriver.chrome.service import Service
        except ImportError:
            missing("selenium", "pip install '.[test]'")
        chromium = find_program("VUMI_TURN_CHROMIUM", ["chromium", "chromium-browser"], "Chromium", APT)
        driver = find_program("VUMI_TURN_CHROMEDRIVER", ["chromedriver"], "ChromeDriver", APT)
        self._profile = tempfile.mkdtemp(prefix="vumi_turn_chromium_")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={self._profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.resize(1360, 900)

    # Looking

    def open(self, url: str) -> None:
        """Show a page."""
        self.driver.get(url)

    def find(self, selector: str) -> Any:
        """The first element of a CSS selector."""
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        """All elements of a CSS selector."""
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def text(self, selector: str) -> str:
        """What an element shows."""
        text: str = self.find(selector).text
        return text

    def script(self, code: str, *arguments: Any) -> Any:
        """What a piece of JavaScript gives."""
        return self.driver.execute_script(code, *arguments)

    def wait_for_text(self, selector: str, words: str, timeout: float = SOON) -> str:
        """What an element shows, once it has these words."""
        # Asked of the page in one step: an element may be replaced between two.
        code = "const e = document.querySelector(arguments[0]); return e ? e.innerText : ''"

        def look() -> str:
            text: str = self.script(code, selector)
            return text if words in text else ""

        try:
            return wait_for(look, f"{selector} to show {words!r}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {self.script(code, selector)!r}") from None

    def console(self) -> list[str]:
        """What the page had to complain about."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def picture(self, name: str) -> Path:
        """Keep a picture of the window."""
        folder = Path(os.environ.get("VUMI_TURN_ARTEFACTS", ARTEFACTS))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        self.script("for (const one of document.getAnimations()) try { one.finish() } catch {}")
        self.driver.save_screenshot(str(path))
        return path

    # Doing

    def fill(self, selector: str, text: str) -> None:
        """Type into a field that is emptied first."""
        field = self.find(selector)
        if text:
            field.clear()
            field.send_keys(text)
        else:
            # As a person does it: chromedriver's clear tells the page of no input.
            field.send_keys(CONTROL, "a")
            field.send_keys(DELETE)

    def click(self, selector: str) -> None:
        """Click on an element."""
        self.find(selector).click()

    def choose(self, selector: str, value: str) -> None:
        """Choose one of a select's values."""
        self.find(f'{selector} option[value="{value}"]').click()

    def press(self, *keys: str) -> None:
        """Keys for whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def press_anywhere(self, key: str) -> None:
        """A key for the page, while nothing is typed in."""
        self.script("document.activeElement.blur()")
        self.find("body").send_keys(key)

    def focused(self) -> str:
        """The id of what has the focus."""
        return str(self.driver.switch_to.active_element.get_attribute("id"))

    def resize(self, width: int, height: int) -> None:
        """The size of the page, in CSS pixels."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def colours(self, scheme: str) -> None:
        """``light`` or ``dark``."""
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )

    def close(self) -> None:
        """End it."""
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)
