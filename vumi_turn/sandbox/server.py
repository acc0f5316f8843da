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

from .events import EventStreams
from .faults import FaultsError
from .network import PhoneNetwork
from .phones import USSD_CODE, PhoneError
from .simulator import TurnSimulator
from .web import (
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
from .world import World, conversation_json

#: Where the simulated Turn is, below the page's address.
TURN_PREFIX = "/turn"

#: The page's files, and their types.
FILES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    **{
        f"{name}.js": "text/javascript; charset=utf-8"
        for name in ("app", "bubbles", "common", "phone", "turn", "weather", "wire")
    },
    "icon.svg": "image/svg+xml",
}


class SandboxServer:
    """
    :param world: what the page shows.
    :param clock: for what is sent to idle pages.
    """

    def __init__(self, world: World, clock: IReactorTime) -> None:
        self._world = world
        self._streams = EventStreams(world.wire, clock)
        self.app = json_app()
        self._errors()
        self._files()
        self._reads()
        self._phones()
        self._conversations()
        self._weather()
        if world.turn is not None:
            world.turn.add_routes(self.app, TURN_PREFIX)

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
        app, world = self.app, self._world

        @app.route("/api/state", methods=["GET"])
        def state(request: IRequest) -> bytes:
            return as_json(request, self._state())

        @app.route("/api/wire", methods=["GET"])
        def wire(request: IRequest) -> bytes:
            lines = world.wire.lines(number_argument(request, "since"), argument(request, "message"))
            return as_json(request, {"lines": lines})

        @app.route("/api/health", methods=["GET"])
        def health(request: IRequest) -> bytes:
            return as_json(request, world.health())

        @app.route("/api/weather", methods=["GET"])
        def weather(request: IRequest) -> bytes:
            return as_json(request, world.weather())

        @app.route("/api/events", methods=["GET"])
        def events(request: IRequest) -> Deferred[None]:
            return self._streams.open(request)  # type: ignore[arg-type]

    def _state(self) -> dict[str, Any]:
        world = self._world
        return {
            "setup": {
                "connector": world.options.connector_name,
                "sms_number": world.network.sms_number if world.network is not None else None,
                "ussd_code": USSD_CODE,
                "webhook": world.webhook,
                "turn_api_url": world.options.turn_api_url,
                "phones": world.network is not None,
                "turn": "simulated" if world.turn is not None else "real",
                "broker": "memory" if world.memory_broker is not None else "RabbitMQ",
            },
            "phones": world.phones(),
            "conversations": world.conversations(),
            "lines": world.wire.lines(),
            "weather": world.weather(),
            "health": world.health(),
            "journey": world.journey_on,
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
        if self._world.network is None:
            raise NotThere("there are no phones here: a real transport is on the connector")
        return self._world.network

    # -- Turn -----------------------------------------------------------------------

    def _conversations(self) -> None:
        world = self._world

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
                world.journey_on = flag_of(body, "on")
                world.wire.say("journey", {"on": world.journey_on})
                return {"on": world.journey_on}

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
        if self._world.turn is None:
            raise NotThere("Turn is the real one: its conversations are there")
        return self._world.turn

    # -- weather --------------------------------------------------------------------

    def _weather(self) -> None:
        world = self._world

        async def set_weather(body: dict[str, Any]) -> dict[str, Any]:
            if not body:
                raise BadRequest("say which weather: turn, turn_script, network or broker")
            world.set_weather(body)
            return world.weather()

        async def replay(body: dict[str, Any]) -> dict[str, int]:
            return {"replayed": await world.parked.replay(ids_of_body(body))}

        @self.app.route("/api/weather", methods=["PUT"])
        def weather_route(request: IRequest) -> Deferred[bytes]:
            return change(request, set_weather)

        @self.app.route("/api/parked", methods=["GET"])
        def parked(request: IRequest) -> bytes:
            return as_json(request, {"parked": world.parked.lines()})

        @self.app.route("/api/parked/replay", methods=["POST"])
        def replay_route(request: IRequest) -> Deferred[bytes]:
            return change(request, replay)


def _file(request: Any, name: str) -> bytes:
    if name not in FILES:
        raise NotThere("there is no such page")
    request.setHeader("Content-Type", FILES[name])
    request.setHeader("Cache-Control", "no-cache")
    return (resources.files("vumi_turn.sandbox") / "page" / name).read_bytes()
