"""The API by which a test, or a person with curl, drives the simulated Turn."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from ..faults import FaultsError, from_json
from ..traffic import json_of, masked
from ..web import (
    BadRequest,
    NotTaken,
    argument,
    as_json,
    change,
    content_of,
    flag_of,
    json_app,
    number_argument,
    optional_text_of,
    text_of,
    turn_of,
)
from .faults import TurnFaults
from .records import Record
from .simulator import TurnSimulator


def simulator_app(turn: TurnSimulator) -> Klein:
    """A simulated Turn, and the API by which a test drives it."""
    app = json_app()
    turn.api.add_routes(app)

    @app.handle_errors(FaultsError)
    def refused(request: IRequest, failure: Any) -> bytes:
        return as_json(request, {"errors": [{"code": 400, "details": str(failure.value)}]}, 400)

    @app.route("/requests", methods=["GET"])
    def requests(request: IRequest) -> bytes:
        since, kind = number_argument(request, "since"), argument(request, "kind")
        if kind not in (None, "message", "status", "channel"):
            raise BadRequest("kind must be message, status or channel")
        found = [r for r in turn.api.records if r.number > since and kind in (None, r.kind)]
        return as_json(request, {"requests": [_record_json(record) for record in found]})

    @app.route("/conversations", methods=["GET"])
    def conversations(request: IRequest) -> bytes:
        found = {one.address: [asdict(entry) for entry in one.entries] for one in turn.conversations()}
        return as_json(request, {"conversations": found})

    @app.route("/faults", methods=["GET"])
    def faults(request: IRequest) -> bytes:
        return as_json(request, _faults_json(turn))

    @app.route("/faults", methods=["PUT"])
    def set_faults(request: IRequest) -> Deferred[bytes]:
        return change(request, lambda body: _set_faults(turn, body))

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


async def _set_faults(turn: TurnSimulator, body: dict[str, Any]) -> dict[str, Any]:
    script = body.get("script")
    if script is None:
        turn.api.plan.set(from_json(TurnFaults, body, "faults"))
    elif len(body) > 1 or not isinstance(script, list):
        raise BadRequest("script must be a list of faults, and come alone")
    else:
        turn.api.plan.script([from_json(TurnFaults, one, f"script[{n}]") for n, one in enumerate(script)])
    return _faults_json(turn)


async def _send(turn: TurnSimulator, body: dict[str, Any]) -> dict[str, Any]:
    entry = await turn.send(
        text_of(body, "to"),
        content_of(body),
        turn=turn_of(body),
        reply_to=optional_text_of(body, "reply_to"),
        waiting=flag_of(body, "waiting", False),
        repeats=flag_of(body, "repeats", True),
    )
    if entry.error is not None:
        raise NotTaken(entry.error)
    return {"id": entry.id, "tries": entry.tries}


def _faults_json(turn: TurnSimulator) -> dict[str, Any]:
    return {**asdict(turn.api.plan.now), "script": [asdict(one) for one in turn.api.plan.to_list()]}


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
