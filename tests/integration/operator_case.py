"""A worker of several channels with its operator's page, and a browser that shows it."""

from __future__ import annotations

import json
import urllib.request
from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.rabbitmq import shared_rabbitmq
from tests.integration.requirements import free_port
from tests.integration.sandbox_page import AXE, FOCUS, axe_source, shared_browser
from tests.integration.turn_server import TurnResponse, TurnServer
from tests.integration.vumi_words import inbound
from tests.integration.waiting import SOON, wait_for
from tests.integration.worker import Worker

TOKEN = "marker-auth-token"
PASSWORD = "marker-password"
PERSON = "+26650000001"
CONTENT = "marker content of a person"
FLEET = ("--worker-class", "vumi_turn.channel.fleet.TurnChannels")

REFUSAL = {
    "errors": [{"code": 1008, "title": "Bad parameter", "details": f"{PERSON} has said '{CONTENT}' in no template"}]
}

#: What does not fit the width of the window.
TOO_WIDE = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"


class OperatorCase(SynchronousTestCase):
    """
    The page of a worker with some channels: ``ussd_lesotho`` and ``sms_zambia`` have one Turn,
    ``sms_lesotho`` has another.

    :cvar more: how many channels there are beside these.
    :cvar options: of the process, over those of every test.
    :cvar complaints: what the browser may complain about.
    """

    more = 0
    options: dict[str, Any] = {}
    complaints: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.browser = shared_browser()
        self.node = shared_rabbitmq()
        self.turn, self.other_turn = TurnServer(TOKEN), TurnServer(TOKEN)
        self.addCleanup(self.turn.close)
        self.addCleanup(self.other_turn.close)
        self.peer = AmqpPeer(self.node.port)
        self.addCleanup(self.peer.close)
        self.names = [
            "ussd_lesotho",
            "sms_lesotho",
            "sms_zambia",
            *(f"more_{number:02}" for number in range(self.more)),
        ]
        for name in self.names:
            self.peer.purge(*(f"{name}.{queue}" for queue in ("inbound", "event", "outbound", "turn_failures")))
        self.worker = self.make_worker(free_port())
        self.addCleanup(self.worker.close)
        self.worker.start()
        self.url = f"http://127.0.0.1:{self.worker.health_port}/"
        self.addCleanup(self.leave)
        self.browser.colours("light")
        self.browser.resize(1440, 900)
        self.browser.console()

    def make_worker(self, port: int) -> Worker:
        """The worker, with its page on a port."""
        config = {
            "management_bind": f"127.0.0.1:{port}",
            "management_password": PASSWORD,
            "defaults": {"retry_delay_base": 0.05, "default_from_addr": "*120*8864#", "turn_hmac_secret": "s"},
            "channels": [self.channel(name) for name in self.names],
            **self.options,
        }
        worker = Worker(config, self.node.port, FLEET)
        worker.health_port = port
        return worker

    def channel(self, name: str) -> dict[str, Any]:
        """A channel's own options."""
        turn = self.other_turn if name == "sms_lesotho" else self.turn
        return {"connector_name": name, "turn_api_url": turn.url, "auth_token": TOKEN}

    def open(self, view: str = "") -> None:
        """Show a view of the page."""
        self.browser.open("about:blank")
        self.browser.open(f"{self.url}#/{view}")
        self.shows("#connection", "Live")

    def leave(self) -> None:
        """Leave the page before its worker ends; it has nothing to complain about."""
        for line in self.browser.console():
            self.assertTrue(any(words in line for words in self.complaints), line)
        self.browser.open("about:blank")

    # -- what many tests do ------------------------------------------------------

    def shows(self, selector: str, words: str, timeout: float = SOON) -> str:
        """What an element shows, once it has these words."""
        return self.browser.wait_for_text(selector, words, timeout)

    def gone(self, selector: str, words: str) -> None:
        """Wait until an element does not show these words any more."""
        code = "const e = document.querySelector(arguments[0]); return e ? e.innerText : ''"
        wait_for(
            lambda: words not in self.browser.script(code, selector), f"{words!r} to be gone from {selector}", SOON
        )

    def api(self, path: str, body: Optional[Any] = None) -> Any:
        """What the page's API says."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (a server of the test's own)
            return json.load(answer)

    def say(self, connector: str, **changes: Any) -> str:
        """A person's message goes into a channel's queue; its id."""
        message = inbound(**changes)
        self.peer.publish_json(f"{connector}.inbound", message)
        name: str = message["message_id"]
        return name

    def park(self, connector: str = "ussd_lesotho", count: int = 1) -> list[str]:
        """Turn refuses so many messages; their ids."""
        turn = self.other_turn if connector == "sms_lesotho" else self.turn
        turn.script(*(TurnResponse(400, body=json.dumps(REFUSAL).encode()) for _ in range(count)))
        ids = [self.say(connector, from_addr=PERSON, content=CONTENT) for _ in range(count)]
        wait_for(lambda: self.worker.log.count("is parked") >= count, f"{count} to be parked", SOON)
        return ids

    def axe(self) -> Any:
        """What axe-core finds wrong with the page as it is."""
        self.browser.driver.set_script_timeout(60)
        self.browser.script(axe_source())
        return self.browser.driver.execute_async_script(AXE)

    def tab_to(self, name: str, most: int = 60) -> None:
        """Press Tab until an element has the focus; each on the way shows its own, and has a name."""
        for _ in range(most):
            self.browser.press("\ue004")
            visible, where = self.browser.script(FOCUS)
            self.assertTrue(visible, f"one does not see that {where} has the focus")
            active = self.browser.driver.switch_to.active_element
            self.assertTrue(active.accessible_name, f"{where} has no name for who cannot see it")
            if where == name:
                return
        self.fail(f"{most} times Tab do not lead to {name}")

    def give_password(self, password: str = PASSWORD) -> None:
        """Type the password that the page asks for."""
        self.shows("dialog", "operator's password")
        self.browser.fill("#password", password)
        self.browser.press("\ue007")
