"""The page about simulating says what the sandbox can do: its lists are compared with the code."""

from __future__ import annotations

import re

from klein import Klein
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.pages import requests, table_rows
from vumi_turn.sandbox.page.server import SandboxServer
from vumi_turn.sandbox.service import SandboxOptions
from vumi_turn.sandbox.simulation import Simulation
from vumi_turn.sandbox.turn_simulator.api import simulator_app
from vumi_turn.sandbox.turn_simulator.service import SimulatorOptions
from vumi_turn.sandbox.turn_simulator.simulator import TurnSimulator
from vumi_turn.service.options import VumiOptions

PAGE = "docs/simulate.rst"


def routes_of(app: Klein) -> set[tuple[str, str]]:
    """Method and path of each route, its variables as (number)."""
    found = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<\w+>", "(number)", rule.rule)
        found |= {(method, path) for method in rule.methods or () if method != "HEAD"}
    return found


def documented(api: bool) -> set[tuple[str, str]]:
    """Method and path of each request on the page: of the sandbox's API, or of the simulator's."""
    return {(one.method, one.path) for one in requests(PAGE) if one.path.startswith("/api/") == api}


class SandboxPageTests(SynchronousTestCase):
    def test_api(self) -> None:
        """Each request of the sandbox's API is on the page, and nothing else is."""
        reactor = MemoryReactorClock()
        simulation = Simulation(reactor, config={}, worker_bind="127.0.0.1:8011", turn_url="http://127.0.0.1:8010/turn")
        routes = {route for route in routes_of(SandboxServer(simulation, reactor).app) if route[1].startswith("/api/")}
        # One route serves all that a phone can do.
        told = {
            (method, re.sub(r"(/phones/\(number\))/\w+", r"\1/(number)", path)) for method, path in documented(True)
        }
        self.assertEqual(told, routes)

    def test_flags(self) -> None:
        """Each flag of the sandbox's own is in the table, and no flag that there is not."""
        rows = " ".join(row[0] for row in table_rows(PAGE, "The sandbox's flags"))
        told = set(re.findall(r"--([a-z-]+)", rows))
        flags = {flag.rstrip("=") for flag in SandboxOptions().longOpt} - {"help", "version"}
        brokers = {parameter[0] for parameter in VumiOptions.optParameters}
        self.assertLessEqual(flags - brokers, told)
        self.assertLessEqual(told, flags)

    def test_simulator(self) -> None:
        """Each flag of the simulated Turn, and each request that drives it, is on the page."""
        rows = " ".join(row[0] for row in table_rows(PAGE, "The Turn simulator"))
        told = set(re.findall(r"--([a-z-]+)", rows))
        self.assertEqual(told, {flag.rstrip("=") for flag in SimulatorOptions().longOpt} - {"help", "version"})
        turn = TurnSimulator(MemoryReactorClock(), token="t", secret="s", webhook="http://x/", post=None)  # type: ignore
        driving = {route for route in routes_of(simulator_app(turn)) if not route[1].startswith("/v1/")}
        self.assertEqual(documented(False), driving)
