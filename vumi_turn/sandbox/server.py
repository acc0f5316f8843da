"""
The sandbox's page and the JSON API under it.

Everything the page does goes through this API, so scripts can do it too.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Callable

from klein import Klein
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.iweb import IRequest

from .network import PhoneError
from .world import World

#: A comment goes to each listening page this often, in seconds, so that nobody
#: between takes the connection for a dead one.
KEEP_ALIVE = 15.0

#: A request's body may have so many bytes.
MAX_BODY = 65536

TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


class BadRequest(Exception):
    """The request cannot be carried out; the text says why."""


class SandboxServer:
    """
    :param world: what the page shows.
    :param clock: for what is sent to idle pages.
    """

    def __init__(self, world: World, clock: IReactorTime) -> None:
        self._world = world
        self._clock = clock
        self.app = Klein()
        self._files()
        self._reads()
        self._phones()
        self._turn()
        self._weather()

    # -- the page ----------------------------------------------------------------

    def _files(self) -> None:
        app = self.app

        @app.route("/")
        def index(request: IRequest) -> bytes:
            return _file(request, "index.html")

        @app.route("/<name>")
        def file(request: IRequest, name: str) -> bytes:
            return _file(request, name)

        if self._world.turn is not None:

            @app.route("/turn/", branch=True)
            def turn(request: IRequest) -> Any:
                assert self._world.turn is not None
                return self._world.turn.app.resource()

    # -- what there is to see ------------------------------------------------------

    def _reads(self) -> None:
        app, world = self.app, self._world

        @app.route("/api/state", methods=["GET"])
        def state(request: IRequest) -> bytes:
            return _json(
                request,
                {
                    "phones": {number: phone.to_dict() for number, phone in world.network.phones.items()},
                    "conversations": world.conversations(),
                    "lines": world.wire.lines(),
                    "weather": world.weather(),
                    "health": world.health(),
                    "journey": world.journey_on,
                },
            )

        @app.route("/api/wire", methods=["GET"])
        def wire(request: IRequest) -> bytes:
            since = _argument(request, "since", "0")
            if not since.isdigit():
                raise BadRequest("since must be a whole number")
            return _json(request, {"lines": world.wire.lines(int(since), _argument(request, "message", "") or None)})

        @app.route("/api/health", methods=["GET"])
        def health(request: IRequest) -> bytes:
            return _json(request, world.health())

        @app.route("/api/events", methods=["GET"])
        def events(request: IRequest) -> Deferred[None]:
            return self._stream(request)  # type: ignore[arg-type]

        @app.handle_errors(BadRequest, PhoneError, ValueError)
        def bad(request: IRequest, failure: Failure) -> bytes:
            request.setResponseCode(400)
            return _json(request, {"errors": [{"code": 400, "details": str(failure.value)}]})

    def _stream(self, request: Request) -> Deferred[None]:
        """Server-sent events, until the page goes away."""
        request.setHeader("Content-Type", "text/event-stream")
        request.setHeader("Cache-Control", "no-store")
        request.write(b": welcome\n\n")

        def send(event: dict[str, Any]) -> None:
            data = json.dumps(event).encode("ascii")
            request.write(b"event: " + event["event"].encode("ascii") + b"\ndata: " + data + b"\n\n")

        unsubscribe = self._world.wire.subscribe(send)
        pulse = LoopingCall(request.write, b": still here\n\n")
        pulse.clock = self._clock
        pulse.start(KEEP_ALIVE, now=False)

        def gone(_: Any) -> None:
            unsubscribe()
            pulse.stop()

        finished: Deferred[None] = request.notifyFinish()
        return finished.addBoth(gone)

    # -- phones, Turn, weather --------------------------------------------------------

    def _phones(self) -> None:
        network = self._world.network

        async def dial(number: str, body: dict[str, Any]) -> Any:
            return {"id": (await network.dial(number, _text(body, "code"))).message_id}

        async def answer(number: str, body: dict[str, Any]) -> Any:
            return {"id": (await network.answer(number, _text(body, "text"))).message_id}

        async def hang_up(number: str, body: dict[str, Any]) -> Any:
            await network.hang_up(number)
            return {}

        async def sms(number: str, body: dict[str, Any]) -> Any:
            return {"id": (await network.sms(number, _text(body, "text"))).message_id}

        actions = {"dial": dial, "answer": answer, "hangup": hang_up, "sms": sms}

        @self.app.route("/api/phones/<number>/<action>", methods=["POST"])
        def act(request: IRequest, number: str, action: str) -> Deferred[bytes]:
            if action not in actions:
                raise BadRequest(f"a phone can {', '.join(actions)}, not {action}")
            return self._change(request, lambda body: actions[action](number, body))

        @self.app.route("/api/phones/<number>", methods=["GET"])
        def phone(request: IRequest, number: str) -> bytes:
            return _json(request, network.phone(number).to_dict())

    def _turn(self) -> None:
        world = self._world

        async def send(address: str, body: dict[str, Any]) -> Any:
            if world.turn is None:
                raise BadRequest("Turn is the real one: write there")
            text, reply_to = _text(body, "text"), body.get("reply_to")
            if not text:
                raise BadRequest("text must not be empty")
            entry = await world.agent_sends(address, text, body.get("waiting") is True, reply_to)
            if entry.error is not None:
                raise BadRequest(entry.error)
            return {"id": entry.id}

        async def journey(body: dict[str, Any]) -> Any:
            world.journey_on = body.get("on") is True
            return {"on": world.journey_on}

        @self.app.route("/api/turn/<address>/send", methods=["POST"])
        def send_route(request: IRequest, address: str) -> Deferred[bytes]:
            return self._change(request, lambda body: send(address, body))

        @self.app.route("/api/turn/journey", methods=["PUT"])
        def journey_route(request: IRequest) -> Deferred[bytes]:
            return self._change(request, journey)

        @self.app.route("/api/turn/<address>", methods=["GET"])
        def conversation(request: IRequest, address: str) -> bytes:
            return _json(request, {"entries": world.conversations().get(address, [])})

    def _weather(self) -> None:
        world = self._world

        async def change(body: dict[str, Any]) -> Any:
            world.set_weather(body)
            return world.weather()

        async def replay(body: dict[str, Any]) -> Any:
            ids = body.get("ids")
            if ids is not None and not isinstance(ids, list):
                raise BadRequest("ids must be a list")
            return {"replayed": await world.replay(ids)}

        @self.app.route("/api/weather", methods=["PUT"])
        def weather_route(request: IRequest) -> Deferred[bytes]:
            return self._change(request, change)

        @self.app.route("/api/parked/replay", methods=["POST"])
        def replay_route(request: IRequest) -> Deferred[bytes]:
            return self._change(request, replay)

    def _change(self, request: Any, act: Callable[[dict[str, Any]], Any]) -> Deferred[bytes]:
        """Do what a request with a JSON body asks for."""

        async def run() -> bytes:
            return _json(request, await act(_body(request)))

        return ensureDeferred(run())


def _body(request: Request) -> dict[str, Any]:
    """
    The JSON object that a request carries. The content type is asked for
    because no other site's page can send it without being allowed to.
    """
    content_type = (request.getHeader("content-type") or "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise BadRequest("the Content-Type must be application/json")
    data = request.content.read(MAX_BODY + 1)
    if len(data) > MAX_BODY:
        raise BadRequest(f"the body must not have more than {MAX_BODY} bytes")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadRequest("the body must be JSON") from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    return value


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a string")
    return value


def _argument(request: Any, name: str, default: str) -> str:
    values = request.args.get(name.encode("ascii"), [])
    return values[0].decode("utf-8", "replace") if values else default


def _json(request: Any, value: Any) -> bytes:
    request.setHeader("Content-Type", "application/json")
    request.setHeader("Cache-Control", "no-store")
    return json.dumps(value).encode("ascii")


def _file(request: Any, name: str) -> bytes:
    path = resources.files("vumi_turn.sandbox") / "page" / name
    kind = TYPES.get(name.rpartition(".")[2])
    if kind is None or "/" in name or not path.is_file():
        request.setResponseCode(404)
        return _json(request, {"errors": [{"code": 404, "details": "there is no such page"}]})
    request.setHeader("Content-Type", kind)
    request.setHeader("Cache-Control", "no-cache")
    request.setHeader("Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'")
    return path.read_bytes()
