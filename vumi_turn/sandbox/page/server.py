"""
The sandbox's page, and what the JSON API under it shows.

Everything the page does goes through this API, so scripts can do it too.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from ...http.server_sent_events import EventStreams
from ...http.static_files import StaticFiles, design_files
from ..faults import FaultsError
from ..phone_network.phones import USSD_CODE, PhoneError
from ..simulation import Simulation
from ..web import NotThere, argument, as_json, json_app, number_argument
from .actions import Actions

#: Where the simulated Turn is, below the page's address.
TURN_PREFIX = "/turn"


class SandboxServer:
    """
    :param simulation: what the page shows.
    :param clock: for what is sent to idle pages.
    """

    def __init__(self, simulation: Simulation, clock: IReactorTime) -> None:
        self._simulation = simulation
        self._streams = EventStreams(simulation.traffic.subscribe, clock)
        self.app = json_app()
        self._errors()
        self._files()
        self._reads()
        Actions(simulation).add_routes(self.app)
        if simulation.simulator is not None:
            simulation.simulator.api.add_routes(self.app, TURN_PREFIX)

    def stop(self) -> None:
        """End the pages' streams."""
        self._streams.stop()

    def _errors(self) -> None:
        @self.app.handle_errors(PhoneError, FaultsError)
        def refused(request: IRequest, failure: Failure) -> bytes:
            return as_json(request, {"errors": [{"code": 400, "details": str(failure.value)}]}, 400)

    # -- the page ----------------------------------------------------------------

    def _files(self) -> None:
        page, design = StaticFiles("vumi_turn.sandbox.page", "static"), design_files()

        @self.app.route("/", methods=["GET"])
        def index(request: IRequest) -> bytes:
            return _file(request, page, "index.html")

        @self.app.route("/<name>", methods=["GET"])
        def page_file(request: IRequest, name: str) -> bytes:
            return _file(request, page, name)

        @self.app.route("/design/<name>", methods=["GET"])
        def design_file(request: IRequest, name: str) -> bytes:
            return _file(request, design, name)

    # -- what there is to see ------------------------------------------------------

    def _reads(self) -> None:
        app, simulation = self.app, self._simulation

        @app.route("/api/state", methods=["GET"])
        def state(request: IRequest) -> bytes:
            return as_json(request, self._state())

        @app.route("/api/messages", methods=["GET"])
        def messages(request: IRequest) -> bytes:
            return as_json(request, {"messages": simulation.messages.to_list()})

        @app.route("/api/traffic", methods=["GET"])
        def traffic(request: IRequest) -> bytes:
            lines = simulation.traffic.lines(number_argument(request, "since"), argument(request, "message"))
            return as_json(request, {"lines": lines})

        @app.route("/api/health", methods=["GET"])
        def health(request: IRequest) -> bytes:
            return as_json(request, simulation.health())

        @app.route("/api/faults", methods=["GET"])
        def faults(request: IRequest) -> bytes:
            return as_json(request, simulation.faults.to_dict())

        @app.route("/api/events", methods=["GET"])
        def events(request: IRequest) -> Deferred[None]:
            return self._streams.open(request)

    def _state(self) -> dict[str, Any]:
        simulation = self._simulation
        turn = "none" if simulation.webhook is None else "real" if simulation.turn is None else "simulated"
        return {
            "setup": {
                "connector": simulation.options.connector_name,
                "worker": type(simulation.worker).__name__,
                "sms_number": simulation.network.sms_number if simulation.network is not None else None,
                "ussd_code": USSD_CODE,
                "webhook": simulation.webhook,
                "turn_api_url": getattr(simulation.options, "turn_api_url", None),
                "phones": simulation.network is not None,
                "turn": turn,
                "broker": "memory" if simulation.memory_broker is not None else "RabbitMQ",
            },
            "phones": simulation.phones(),
            "conversations": simulation.conversations(),
            "messages": simulation.messages.to_list(),
            "traffic": simulation.traffic.lines(),
            "faults": simulation.faults.to_dict(),
            "health": simulation.health(),
            "journey": simulation.turn is not None and simulation.turn.journey_on,
        }


def _file(request: IRequest, files: StaticFiles, name: str) -> bytes:
    body = files.respond(request, name)
    if body is None:
        raise NotThere("there is no such page")
    return body
