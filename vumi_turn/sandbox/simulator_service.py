"""
``twistd vumi_turn_simulator``: a simulated Turn on its own, for the
integration tests of any channel.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from klein import Klein
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.python import usage
from twisted.web.iweb import IRequest

from ..service.logs import LEVELS, LoggedService
from ..service.vumi_worker import VumiOptions, end_with_failure
from .faults import FaultsError, RateLimit, TurnFaults, from_json
from .listening import Listening, address, host_and_port, reachable, tell
from .records import Record
from .simulator import TurnSimulator
from .web import BadRequest, NotTaken, argument, as_json, change, flag_of, json_app, number_argument, text_of
from .wire import json_of, masked

#: What the terminal says.
WELCOME = """
  The simulated Turn is at {url}
  A channel's turn_api_url is {url}/v1/numbers/test; messages for people are POSTed to {webhook}
  GET /requests shows what came, PUT /weather sets how it behaves, POST /send sends. Control-C ends it.
"""


class SimulatorOptions(usage.Options):
    """
    Flags of ``vumi_turn_simulator``.

    :ivar where: host and port.
    """

    longdesc = (
        "Takes messages and statuses at /v1/numbers/<any>/messages and /statuses, and says what is wrong with "
        "a bad one. GET /requests shows all that came, PUT /weather sets how it behaves, POST /send makes it "
        "POST a signed message to the webhook."
    )
    optParameters = [
        ["http", None, "127.0.0.1:8020", "host:port to listen on"],
        ["webhook", None, "http://127.0.0.1:8080/messages", "The channel's URL for messages"],
        ["token", None, None, "The bearer token that a channel must send (environment: TURN_TOKEN)"],
        ["secret", None, None, "What messages are signed with (environment: TURN_HMAC_SECRET)"],
        ["limit", None, 60, "Calls allowed in 60 s; 0 is no limit"],
        ["log-level", None, "warn", "The lowest level that is logged: debug, info, warn, error"],
    ]

    parseArgs = VumiOptions.parseArgs

    def postOptions(self) -> None:
        """Check the flags."""
        self.where = host_and_port(self["http"], "--http")
        if not self["webhook"].startswith(("http://", "https://")):
            raise usage.UsageError("--webhook must be a URL, as http://127.0.0.1:8080/messages")
        limit = str(self["limit"])
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
            raise usage.UsageError(f"--limit must be a whole number, 0 or more, not {limit!r}")
        self["limit"] = int(limit)
        if self["log-level"] not in LEVELS:
            raise usage.UsageError(f"--log-level must be one of {', '.join(LEVELS)}, not {self['log-level']!r}")
        for name, variable in (("token", "TURN_TOKEN"), ("secret", "TURN_HMAC_SECRET")):
            self[name] = self[name] or os.environ.get(variable)
            if not self[name]:
                raise usage.UsageError(f"--{name} is required, or {variable} in the environment")


def simulator_app(turn: TurnSimulator) -> Klein:
    """A simulated Turn, and the API by which a test drives it."""
    app = json_app()
    turn.add_routes(app)

    @app.handle_errors(FaultsError)
    def refused(request: IRequest, failure: Any) -> bytes:
        return as_json(request, {"errors": [{"code": 400, "details": str(failure.value)}]}, 400)

    @app.route("/requests", methods=["GET"])
    def requests(request: IRequest) -> bytes:
        since, kind = number_argument(request, "since"), argument(request, "kind")
        if kind not in (None, "message", "status"):
            raise BadRequest("kind must be message or status")
        found = [r for r in turn.records if r.number > since and kind in (None, r.kind)]
        return as_json(request, {"requests": [_record_json(record) for record in found]})

    @app.route("/conversations", methods=["GET"])
    def conversations(request: IRequest) -> bytes:
        found = {one.address: [asdict(entry) for entry in one.entries] for one in turn.conversations()}
        return as_json(request, {"conversations": found})

    @app.route("/weather", methods=["GET"])
    def weather(request: IRequest) -> bytes:
        return as_json(request, _weather_json(turn))

    @app.route("/weather", methods=["PUT"])
    def set_weather(request: IRequest) -> Deferred[bytes]:
        return change(request, lambda body: _set_weather(turn, body))

    @app.route("/send", methods=["POST"])
    def send(request: IRequest) -> Deferred[bytes]:
        return change(request, lambda body: _send(turn, body))

    @app.route("/reset", methods=["POST"])
    def reset(request: IRequest) -> Deferred[bytes]:
        async def forget(body: dict[str, Any]) -> dict[str, Any]:
            turn.reset()
            return {}

        return change(request, forget)

    return app


async def _set_weather(turn: TurnSimulator, body: dict[str, Any]) -> dict[str, Any]:
    script = body.get("script")
    if script is None:
        turn.forecast.set(from_json(TurnFaults, body, "weather"))
    elif len(body) > 1 or not isinstance(script, list):
        raise BadRequest("script must be a list of weathers, and come alone")
    else:
        turn.forecast.script([from_json(TurnFaults, one, f"script[{n}]") for n, one in enumerate(script)])
    return _weather_json(turn)


async def _send(turn: TurnSimulator, body: dict[str, Any]) -> dict[str, Any]:
    entry = await turn.send(
        text_of(body, "to"),
        text_of(body, "text"),
        reply_to=text_of(body, "reply_to") if body.get("reply_to") is not None else None,
        waiting=flag_of(body, "waiting", False),
        repeats=flag_of(body, "repeats", True),
    )
    if entry.error is not None:
        raise NotTaken(entry.error)
    return {"id": entry.id, "tries": entry.tries}


def _weather_json(turn: TurnSimulator) -> dict[str, Any]:
    return {**asdict(turn.forecast.now), "script": [asdict(one) for one in turn.forecast.to_list()]}


def _record_json(record: Record) -> dict[str, Any]:
    return {
        "number": record.number,
        "at": record.at,
        "kind": record.kind,
        "path": record.path,
        "headers": masked(record.headers),
        "body": json_of(record.body),
        "answered": record.answered,
        "status": record.status,
        "answer": json_of(record.answer) if record.answer else None,
    }


def makeService(options: SimulatorOptions) -> IService:
    """The simulated Turn that the flags ask for."""
    from twisted.internet import reactor

    from .poster import Poster
    from .web import site_of

    poster = Poster(reactor)
    turn = TurnSimulator(
        reactor,  # type: ignore[arg-type]
        token=options["token"],
        secret=options["secret"],
        webhook=options["webhook"],
        post=poster.post,
        limit=RateLimit(reactor, options["limit"]) if options["limit"] else None,  # type: ignore[arg-type]
    )

    def stop() -> Deferred[None]:
        turn.stop()
        return poster.close()

    where = f"http://{address(reachable(options.where[0]), options.where[1])}"
    service = Listening(
        reactor,
        "The simulated Turn",
        options.where,
        site_of(simulator_app(turn), reactor, options.where[0]),  # type: ignore[arg-type]
        ready=lambda: tell(WELCOME.format(url=where, webhook=options["webhook"])),
        stopping=stop,
        fatal=lambda: end_with_failure(reactor),
    )
    return LoggedService(service, options.parent, "text", options["log-level"])


Options = SimulatorOptions
