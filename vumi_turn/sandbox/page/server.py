"""
The sandbox's page and the JSON API under it.

Everything the page does goes through this API, so scripts can do it too.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from ...http.server_sent_events import EventStreams
from ..faults import FaultsError
from ..phone_network.network import PhoneNetwork
from ..phone_network.phones import USSD_CODE, PhoneError
from ..simulation import Simulation, conversation_json
from ..turn_simulator.simulator import TurnSimulator
from ..web import (
    BadRequest,
    NotTaken,
    NotThere,
    argument,
    as_json,
    change,
    flag_of,
    ids_of_body,
    json_app,
    number_argument,
    text_of,
)

#: Where the simulated Turn is, below the page's address.
TURN_PREFIX = "/turn"

#: The page's files, and their types.
FILES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    **{
        f"{name}.js": "text/javascript; charset=utf-8"
        for name in ("app", "bubbles", "common", "faults", "phone", "traffic", "turn")
    },
    "icon.svg": "image/svg+xml",
}


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
        self._phones()
        self._conversations()
        self._fault_routes()
        if simulation.turn is not None:
            simulation.turn.add_routes(self.app, TURN_PREFIX)

    def stop(self) -> None:
        """End the pages' streams."""
        self._streams.stop()

    def _errors(self) -> None:
        @self.app.handle_errors(PhoneError, FaultsError)
        def refused(request: IRequest, failure: Failure) -> bytes:
            return as_json(request, {"errors": [{"code": 400, "details": str(failure.value)}]}, 400)

    # -- the page ----------------------------------------------------------------

    def _files(self) -> None:
        @self.app.route("/", methods=["GET"])
        def index(request: IRequest) -> bytes:
            return _file(request, "index.html")

        @self.app.route("/<name>", methods=["GET"])
        def file(request: IRequest, name: str) -> bytes:
            return _file(request, name)

    # -- what there is to see ------------------------------------------------------

    def _reads(self) -> None:
        app, simulation = self.app, self._simulation

        @app.route("/api/state", methods=["GET"])
        def state(request: IRequest) -> bytes:
            return as_json(request, self._state())

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
            return self._streams.open(request)  # type: ignore[arg-type]

    def _state(self) -> dict[str, Any]:
        simulation = self._simulation
        return {
            "setup": {
                "connector": simulation.options.connector_name,
                "sms_number": simulation.network.sms_number if simulation.network is not None else None,
                "ussd_code": USSD_CODE,
                "webhook": simulation.webhook,
                "turn_api_url": simulation.options.turn_api_url,
                "phones": simulation.network is not None,
                "turn": "simulated" if simulation.turn is not None else "real",
                "broker": "memory" if simulation.memory_broker is not None else "RabbitMQ",
            },
            "phones": simulation.phones(),
            "conversations": simulation.conversations(),
            "traffic": simulation.traffic.lines(),
            "faults": simulation.faults.to_dict(),
            "health": simulation.health(),
            "journey": simulation.journey_on,
        }

    # -- phones ---------------------------------------------------------------------

    def _phones(self) -> None:
        actions: dict[str, Callable[[str, dict[str, Any]], Awaitable[Any]]] = {
            "dial": lambda number, body: self._network().dial(number, text_of(body, "code")),
            "answer": lambda number, body: self._network().answer(number, text_of(body, "text")),
            "hangup": lambda number, body: self._network().hang_up(number),
            "sms": lambda number, body: self._network().sms(number, text_of(body, "text")),
        }

        @self.app.route("/api/phones/<number>", methods=["GET"])
        def phone(request: IRequest, number: str) -> bytes:
            return as_json(request, self._network().phone(number).to_dict())

        @self.app.route("/api/phones/<number>/<action>", methods=["POST"])
        def act(request: IRequest, number: str, action: str) -> Deferred[bytes]:
            async def do(body: dict[str, Any]) -> dict[str, Any]:
                if action not in actions:
                    raise NotThere(f"a phone can {', '.join(actions)}, not {action}")
                return {"id": (await actions[action](number, body)).message_id}

            return change(request, do)

    def _network(self) -> PhoneNetwork:
        if self._simulation.network is None:
            raise NotThere("there are no phones here: a real transport is on the connector")
        return self._simulation.network

    # -- Turn -----------------------------------------------------------------------

    def _conversations(self) -> None:
        simulation = self._simulation

        @self.app.route("/api/conversations/<address>", methods=["GET"])
        def conversation(request: IRequest, address: str) -> bytes:
            for known in self._turn().conversations():
                if known.address.lstrip("+") == address.lstrip("+"):
                    return as_json(request, conversation_json(known))
            return as_json(request, {"address": address, "entries": []})

        @self.app.route("/api/conversations/<address>", methods=["POST"])
        def send(request: IRequest, address: str) -> Deferred[bytes]:
            return change(request, lambda body: self._send(address, body))

        @self.app.route("/api/journey", methods=["PUT"])
        def journey(request: IRequest) -> Deferred[bytes]:
            async def switch(body: dict[str, Any]) -> dict[str, bool]:
                self._turn()
                simulation.journey_on = flag_of(body, "on")
                simulation.traffic.say("journey", {"on": simulation.journey_on})
                return {"on": simulation.journey_on}

            return change(request, switch)

    async def _send(self, address: str, body: dict[str, Any]) -> dict[str, Any]:
        reply_to = text_of(body, "reply_to") if body.get("reply_to") is not None else None
        entry = await self._turn().send(
            address,
            text_of(body, "text"),
            reply_to=reply_to,
            waiting=flag_of(body, "waiting", False),
            repeats=flag_of(body, "repeats", True),
        )
        if entry.error is not None:
            raise NotTaken(entry.error)
        return {"id": entry.id}

    def _turn(self) -> TurnSimulator:
        if self._simulation.turn is None:
            raise NotThere("Turn is the real one: its conversations are there")
        return self._simulation.turn

    # -- faults --------------------------------------------------------------------

    def _fault_routes(self) -> None:
        simulation = self._simulation

        async def set_faults(body: dict[str, Any]) -> dict[str, Any]:
            if not body:
                raise BadRequest("say which faults: turn, turn_script, network or broker")
            simulation.faults.set(body)
            return simulation.faults.to_dict()

        async def replay(body: dict[str, Any]) -> dict[str, int]:
            return {"replayed": await simulation.parked.replay(ids_of_body(body))}

        @self.app.route("/api/faults", methods=["PUT"])
        def faults_route(request: IRequest) -> Deferred[bytes]:
            return change(request, set_faults)

        @self.app.route("/api/parked", methods=["GET"])
        def parked(request: IRequest) -> bytes:
            return as_json(request, {"parked": simulation.parked.lines()})

        @self.app.route("/api/parked/replay", methods=["POST"])
        def replay_route(request: IRequest) -> Deferred[bytes]:
            return change(request, replay)


def _file(request: Any, name: str) -> bytes:
    if name not in FILES:
        raise NotThere("there is no such page")
    request.setHeader("Content-Type", FILES[name])
    request.setHeader("Cache-Control", "no-cache")
    return (resources.files("vumi_turn.sandbox.page") / "static" / name).read_bytes()
