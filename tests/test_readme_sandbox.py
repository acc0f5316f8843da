"""README.rst says what the sandbox can do: its lists are compared with the code."""

from __future__ import annotations

import re

from klein import Klein
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.readme import ROOT, table_rows
from vumi_turn.sandbox.page.server import SandboxServer
from vumi_turn.sandbox.service import SandboxOptions
from vumi_turn.sandbox.simulation import Simulation
from vumi_turn.sandbox.turn_simulator.api import simulator_app
from vumi_turn.sandbox.turn_simulator.service import SimulatorOptions
from vumi_turn.sandbox.turn_simulator.simulator import TurnSimulator
from vumi_turn.service.options import VumiOptions


def routes_of(app: Klein) -> set[tuple[str, str]]:
    """Method and path of each route, its variables in capitals."""
    found = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(\w+)>", lambda match: match[1].upper(), rule.rule)
        found |= {(method, path) for method in rule.methods or () if method != "HEAD"}
    return found


class ReadmeSandboxTests(SynchronousTestCase):
    def api_routes(self) -> set[tuple[str, str]]:
        reactor = MemoryReactorClock()
        simulation = Simulation(reactor, config={}, worker_bind="127.0.0.1:8011", turn_url="http://127.0.0.1:8010/turn")
        return {route for route in routes_of(SandboxServer(simulation, reactor).app) if route[1].startswith("/api/")}

    def test_api(self) -> None:
        """Each request of the sandbox's API is in the table, and nothing else is."""
        told = set()
        for row in table_rows("The sandbox's API"):
            method, path = row[0].partition("?")[0].split(" ")
            told.add((method, re.sub(r"(/phones/NUMBER)/\w+", r"\1/ACTION", path)))
        routes = {(method, path.replace("ADDRESS", "NUMBER")) for method, path in self.api_routes()}
        self.assertEqual(told, routes)

    def test_flags(self) -> None:
        """Each flag of the sandbox's own is in the table, and no flag that there is not."""
        rows = " ".join(row[0] for row in table_rows("Its flags"))
        told = set(re.findall(r"--([a-z-]+)", rows))
        flags = {flag.rstrip("=") for flag in SandboxOptions().longOpt} - {"help", "version"}
        brokers = {parameter[0] for parameter in VumiOptions.optParameters}
        self.assertLessEqual(flags - brokers, told)
        self.assertLessEqual(told, flags)

    def test_simulator(self) -> None:
        """Each flag of the simulated Turn, and each request that drives it, is told."""
        text = (ROOT / "README.rst").read_text("utf-8").partition("The Turn simulator\n~~~")[2].partition("\n~~~")[0]
        for flag in {flag.rstrip("=") for flag in SimulatorOptions().longOpt} - {"help", "version"}:
            self.assertIn(f"--{flag}", text)
        turn = TurnSimulator(MemoryReactorClock(), token="t", secret="s", webhook="http://x/", post=None)  # type: ignore
        for _, path in routes_of(simulator_app(turn)):
            if not path.startswith("/v1/"):
                self.assertIn(path, text)
