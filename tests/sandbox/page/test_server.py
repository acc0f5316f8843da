"""The sandbox's API and its page's files, around a whole simulation in memory."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from treq.testing import StubTreq
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.sandbox.http import MemoryHttp
from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.http.static_files import TYPES, StaticFiles, design_files
from vumi_turn.sandbox.page.server import SandboxServer
from vumi_turn.sandbox.simulation import Simulation
from vumi_turn.sandbox.web import Guard
from vumi_turn.vumi.examples import EchoWorker

NUMBER = "+26612345678"
TURN_URL = "http://127.0.0.1:8010/turn/v1/numbers/sandbox"
PAGE = resources.files("vumi_turn.sandbox.page") / "static"
DESIGN = resources.files("vumi_turn.http") / "design"


class SimulationCase(SynchronousTestCase):
    """A running simulation. Its worker's requests to Turn reach nobody: there is no network."""

    def build(self, **options: Any) -> MemoryHttp:
        """The API of a simulation with these options."""
        self.reactor = MemoryReactorClock()
        settings = {"config": {}, "worker_bind": "127.0.0.1:8011", "turn_url": TURN_URL, **options}
        self.simulation = Simulation(self.reactor, **settings)
        self.server = SandboxServer(self.simulation, self.reactor)
        self.simulation.startService()
        self.addCleanup(self.end)
        self.turn_over()
        return MemoryHttp(self, self.server.app)

    def turn_over(self) -> None:
        self.reactor.pump([0.01] * 20)

    def end(self) -> None:
        """Nothing is left behind by a simulation that has stopped."""
        self.server.stop()
        stopped = self.simulation.stopService()
        self.reactor.pump([0.5] * 40)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class StateTests(SimulationCase):
    """What there is to see."""

    def test_beginning(self) -> None:
        """Everything the page needs is in one answer: no fault, a healthy worker, nobody yet."""
        status, state = self.build().call("GET", "/api/state")
        self.assertEqual(status, 200)
        self.assertEqual(
            state["setup"],
            {
                "connector": "phones",
                "worker": "TurnChannelsApi",
                "sms_number": "8864",
                "ussd_code": "*120*8864#",
                "webhook": "http://127.0.0.1:8011/messages",
                "turn_api_url": TURN_URL,
                "phones": True,
                "turn": "simulated",
                "broker": "memory",
            },
        )
        self.assertEqual((state["health"]["health"], state["journey"], state["phones"]), ("ok", True, []))
        self.assertEqual((state["faults"]["broker"], state["faults"]["turn"]["mode"]), ("up", "up"))

    def test_own_config(self) -> None:
        """One's own options are used, by their older names too; where it listens and what Turn is, is ours."""
        config = {"transport_name": "mine", "vumi_api_path": "/api/", "http_bind": "x", "default_from_addr": "*1#"}
        state = self.build(config=config).call("GET", "/api/state")[1]
        self.assertEqual(state["setup"]["connector"], "mine")
        self.assertEqual(state["setup"]["webhook"], "http://127.0.0.1:8011/api/messages")
        self.assertEqual(state["setup"]["sms_number"], "8864")

    def test_wrong_config(self) -> None:
        """A wrong option is an error that names it."""
        with self.assertRaises(ConfigErrors) as caught:
            Simulation(
                MemoryReactorClock(), config={"max_retries": -1}, worker_bind="127.0.0.1:8011", turn_url=TURN_URL
            )
        self.assertIn("max_retries", str(caught.exception))

    def test_health_is_told_when_it_changes(self) -> None:
        """Who listens is told of the health when it has changed, and not otherwise."""
        self.build()
        told: list[str] = []
        self.reactor.advance(1)
        self.simulation.traffic.subscribe(lambda name, details: told.append(name))
        self.reactor.advance(1)
        self.assertEqual(told, [])
        self.simulation.faults.set({"broker": "away"})
        self.reactor.advance(1)
        self.assertEqual(told, ["faults", "health"])


class RouteTests(SimulationCase):
    def test_messages(self) -> None:
        """The messages so far can be asked for; klein, which knows routes by name, has none of them twice."""
        http = self.build()
        self.assertEqual(http.call("GET", "/api/messages"), (200, {"messages": []}))
        rules = [rule for rule in self.server.app.url_map.iter_rules() if not rule.is_leaf or "<path" not in rule.rule]
        names = [rule.endpoint for rule in rules]
        self.assertEqual(sorted(names), sorted(set(names)))


class PhoneTests(SimulationCase):
    """Phones by the API."""

    def test_dial(self) -> None:
        """Dialling opens a session, and the message goes to the worker."""
        http = self.build()
        asked = http.start("POST", f"/api/phones/{NUMBER}/dial", {"code": "*120#"})
        self.turn_over()
        status, answer = http.read(asked)
        self.assertEqual(status, 200)
        phone = http.call("GET", f"/api/phones/{NUMBER}")[1]
        self.assertEqual(phone["session"], {"code": "*120#", "waiting": True})
        lines = http.call("GET", f"/api/traffic?message={answer['id']}")[1]["lines"]
        self.assertEqual(
            [(line["what"], line["who"], line["where"]) for line in lines],
            [("publish", "network", "phones.inbound"), ("deliver", "worker", "phones.inbound")],
        )

    def test_broker_away(self) -> None:
        """Without the broker a phone's message is answered 503."""
        http = self.build()
        http.call("PUT", "/api/faults", {"broker": "away"})
        status, details = http.details("POST", f"/api/phones/{NUMBER}/sms", {"text": "x"})
        self.assertEqual(status, 503)
        self.assertIn("the broker has not taken it", details)

    def test_no_phones(self) -> None:
        """Where a real transport has the connector there are no phones."""
        http = self.build(phones=False)
        self.assertEqual(http.details("GET", f"/api/phones/{NUMBER}")[0], 404)
        self.assertIsNone(http.call("GET", "/api/faults")[1]["network"])
        status, details = http.details("PUT", "/api/faults", {"network": {"mode": "up"}})
        self.assertEqual((status, details), (400, "the phone network is a real one: it cannot be broken from here"))


class TurnTests(SimulationCase):
    """Turn by the API."""

    def test_journey(self) -> None:
        """The journey can be switched off; pages are told."""
        http = self.build()
        told: list[Any] = []
        self.simulation.traffic.subscribe(lambda name, details: told.append((name, dict(details))))
        self.assertEqual(http.call("PUT", "/api/journey", {"on": False}), (200, {"on": False}))
        self.assertEqual(told, [("journey", {"on": False})])
        self.assertFalse(http.call("GET", "/api/state")[1]["journey"])

    def test_nobody_yet(self) -> None:
        """A person without a conversation has an empty one."""
        answer = self.build().call("GET", f"/api/conversations/{NUMBER}")
        self.assertEqual(answer, (200, {"address": NUMBER, "entries": []}))

    def test_real_turn(self) -> None:
        """Of a real Turn there is no conversation, no journey and no faults here."""
        http = self.build(simulate=False)
        for method, path, body in (
            ("GET", f"/api/conversations/{NUMBER}", None),
            ("POST", f"/api/conversations/{NUMBER}", {"text": "x"}),
            ("PUT", "/api/journey", {"on": True}),
        ):
            with case(method=method, path=path, body=body):
                status, details = http.details(method, path, body)
                self.assertEqual((status, details), (404, "Turn is the real one: its conversations are there"))
        self.assertEqual(http.details("PUT", "/api/faults", {"turn": {"mode": "down"}})[0], 400)
        self.assertEqual(http.call("GET", "/api/faults")[1]["turn"], None)


class FaultsTests(SimulationCase):
    """The faults by the API."""

    def test_all_or_nothing(self) -> None:
        """A change with one wrong part changes nothing."""
        http = self.build()
        wrong = {"turn": {"mode": "down"}, "network": {"mode": "rain"}}
        status, details = http.details("PUT", "/api/faults", wrong)
        self.assertEqual((status, details[:29]), (400, "network.mode must be one of u"))
        self.assertEqual(http.call("GET", "/api/faults")[1]["turn"]["mode"], "up")

    def test_all_parts(self) -> None:
        """Each part can be changed, all at once, and the script replaces Turn's faults."""
        http = self.build()
        faults = http.call(
            "PUT", "/api/faults", {"turn": {"mode": "hang"}, "network": {"mode": "late", "delay": 3}, "broker": "away"}
        )[1]
        self.assertEqual(
            (faults["turn"]["mode"], faults["network"], faults["broker"]),
            ("hang", {"mode": "late", "delay": 3}, "away"),
        )
        faults = http.call("PUT", "/api/faults", {"turn_script": [{"mode": "down", "times": 2}], "broker": "up"})[1]
        self.assertEqual((faults["turn"]["mode"], faults["broker"]), ("up", "up"))
        self.assertEqual([(one["mode"], one["times"]) for one in faults["turn_script"]], [("down", 2)])

    def test_nothing_parked(self) -> None:
        """Nothing is parked in the beginning, and replaying it is nothing."""
        http = self.build()
        self.assertEqual(http.call("GET", "/api/parked"), (200, {"parked": []}))
        self.assertEqual(http.call("POST", "/api/parked/replay", {}), (200, {"replayed": 0}))


class ApplicationTests(SimulationCase):
    """A worker that is an application has no Turn."""

    def test_echo(self) -> None:
        """What a person says goes to the application, whose answer comes to the phone."""
        http = self.build(worker_class=EchoWorker)
        state = http.call("GET", "/api/state")[1]
        self.assertEqual((state["setup"]["turn"], state["setup"]["worker"]), ("none", "EchoWorker"))
        self.assertEqual((state["health"]["health"], state["health"]["parked"]), ("ok", []))
        asked = http.start("POST", f"/api/phones/{NUMBER}/sms", {"text": "Hello"})
        self.turn_over()
        http.read(asked)
        texts = http.call("GET", f"/api/phones/{NUMBER}")[1]["texts"]
        self.assertEqual([(one["direction"], one["text"]) for one in texts], [("out", "Hello"), ("in", "Hello")])

    def test_no_turn(self) -> None:
        """What would be Turn's is not there."""
        http = self.build(worker_class=EchoWorker)
        for method, path in (("GET", f"/api/conversations/{NUMBER}"), ("GET", "/api/parked")):
            with case(method=method, path=path):
                status, details = http.details(method, path)
                self.assertEqual((status, details[-30:]), (404, "e: the worker is an application"[-30:]))


class ResetTests(SimulationCase):
    def test_everything(self) -> None:
        """After a reset nothing is broken and nothing is remembered, and pages are told."""
        http = self.build()
        asked = http.start("POST", f"/api/phones/{NUMBER}/dial", {"code": "*120#"})
        self.turn_over()
        http.read(asked)
        http.call("PUT", "/api/faults", {"turn": {"mode": "down"}, "limit": None, "network": {"mode": "nack"}})
        told: list[str] = []
        self.simulation.traffic.subscribe(lambda name, details: told.append(name))
        self.assertEqual(http.call("POST", "/api/reset", {}), (200, {}))
        state = http.call("GET", "/api/state")[1]
        for name in ("phones", "conversations", "messages", "traffic"):
            with case(name=name):
                self.assertEqual(state[name], [])
        self.assertEqual((state["faults"]["turn"]["mode"], state["faults"]["network"]["mode"]), ("up", "up"))
        self.assertEqual(state["faults"]["limit"]["calls"], 60)
        self.assertEqual(told[-1], "reset")


class PageTests(SimulationCase):
    """The page's files."""

    def test_served(self) -> None:
        """Each file of the page is served with its type; nothing else of the package is."""
        self.build()
        treq = StubTreq(Guard(self.server.app.resource(), "127.0.0.1"))
        files = {path.name for path in PAGE.iterdir()} | {f"design/{name}" for name in design_files().names()}
        for name in {"", *files}:
            with case(name=name):
                answer = self.successResultOf(treq.get(f"http://127.0.0.1:8010/{name}"))
                content_type = TYPES["." + (name or "index.html").rpartition(".")[2]]
                self.assertEqual((answer.code, answer.headers.getRawHeaders("content-type")), (200, [content_type]))
                self.assertIn("default-src 'self'", answer.headers.getRawHeaders("content-security-policy")[0])
        for name in ("server.py", "..%2Fserver.py", "page", "design/app.js"):
            with case(name=name):
                self.assertEqual(self.successResultOf(treq.get(f"http://127.0.0.1:8010/{name}")).code, 404)

    def test_nothing_from_elsewhere(self) -> None:
        """The page needs no other site: all that it loads is one of its files."""
        files = StaticFiles("vumi_turn.sandbox.page", "static").names()
        known = files | {f"design/{name}" for name in design_files().names()}
        for name in files:
            with case(name=name):
                text = (PAGE / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
                self.assertNotRegex(text, "https?://", name)
                loaded = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]*)"', text)
                loaded += [one[2:] for one in re.findall(r'from "([^"]*)"', text)]
                self.assertLessEqual(set(loaded), known, name)

    def test_ids(self) -> None:
        """Each element that a script looks up is in the page, once."""
        ids = re.findall(r' id="([^"]+)"', (PAGE / "index.html").read_text("utf-8"))
        self.assertEqual(len(ids), len(set(ids)))
        scripts = "".join(path.read_text("utf-8") for path in PAGE.iterdir() if path.name.endswith(".js"))
        named = set(re.findall(r'\$\("([^"]+)"\)', scripts)) | set(re.findall(r'attempt\("([^"]+)"', scripts))
        self.assertGreater(len(named), 50)
        self.assertLessEqual(named, set(ids))

    def test_colours(self) -> None:
        """The page has no colour of its own but those of the handset."""
        for path in PAGE.iterdir():
            if path.name.endswith(".css") and path.name != "phone.css":
                self.assertNotRegex(path.read_text("utf-8"), r"#[0-9a-f]{3,8}\b|rgb", path.name)

    def test_icons(self) -> None:
        """Each icon that the page names is there."""
        there = set(re.findall(r'symbol id="([^"]+)"', (DESIGN / "icons.svg").read_text("utf-8")))
        text = "".join(path.read_text("utf-8") for path in PAGE.iterdir())
        named = set(re.findall(r'data-icon="([^"]+)"', text)) | set(re.findall(r'icon\("([^"]+)"\)', text))
        self.assertGreater(len(named), 20)
        self.assertLessEqual(named, there)
