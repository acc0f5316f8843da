"""What can be done in the sandbox by its JSON API: with phones, as an agent, with faults and with what is parked."""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from ..parked import ParkedMessages
from ..phone_network.network import PhoneNetwork
from ..simulation import Simulation, conversation_json
from ..turn_side import TurnSide
from ..web import (
    BadRequest,
    NotTaken,
    NotThere,
    as_json,
    change,
    content_of,
    flag_of,
    ids_of_body,
    optional_text_of,
    text_of,
    turn_of,
)


class Actions:
    """
    :param simulation: what is changed.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def add_routes(self, app: Klein) -> None:
        """Serve all changes, and what is read of one phone or one conversation."""
        self._phones(app)
        self._conversations(app)
        self._faults(app)
        self._parked(app)

    # -- phones ---------------------------------------------------------------------

    def _phones(self, app: Klein) -> None:
        actions: dict[str, Callable[[str, dict[str, Any]], Awaitable[Any]]] = {
            "dial": lambda number, body: self._network().dial(number, text_of(body, "code")),
            "answer": lambda number, body: self._network().answer(number, text_of(body, "text")),
            "hangup": lambda number, body: self._network().hang_up(number),
            "sms": lambda number, body: self._network().sms(number, text_of(body, "text")),
        }

        @app.route("/api/phones/<number>", methods=["GET"])
        def phone(request: IRequest, number: str) -> bytes:
            return as_json(request, self._network().phone(number).to_dict())

        @app.route("/api/phones/<number>/<action>", methods=["POST"])
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

    def _conversations(self, app: Klein) -> None:
        @app.route("/api/conversations/<address>", methods=["GET"])
        def conversation(request: IRequest, address: str) -> bytes:
            for known in self._turn().simulator.conversations():
                if known.address.lstrip("+") == address.lstrip("+"):
                    return as_json(request, conversation_json(known))
            return as_json(request, {"address": address, "entries": []})

        @app.route("/api/conversations/<address>", methods=["POST"])
        def send(request: IRequest, address: str) -> Deferred[bytes]:
            return change(request, lambda body: self._send(address, body))

        @app.route("/api/journey", methods=["PUT"])
        def journey(request: IRequest) -> Deferred[bytes]:
            async def switch(body: dict[str, Any]) -> dict[str, bool]:
                turn = self._turn()
                turn.journey_on = flag_of(body, "on")
                self._simulation.traffic.say("journey", {"on": turn.journey_on})
                return {"on": turn.journey_on}

            return change(request, switch)

    async def _send(self, address: str, body: dict[str, Any]) -> dict[str, Any]:
        entry = await self._turn().simulator.send(
            address,
            content_of(body),
            turn=turn_of(body),
            reply_to=optional_text_of(body, "reply_to"),
            waiting=flag_of(body, "waiting", False),
            repeats=flag_of(body, "repeats", True),
        )
        if entry.error is not None:
            raise NotTaken(entry.error)
        return {"id": entry.id}

    def _turn(self) -> TurnSide:
        if self._simulation.webhook is None:
            raise NotThere("there is no Turn here: the worker is an application")
        if self._simulation.turn is None:
            raise NotThere("Turn is the real one: its conversations are there")
        return self._simulation.turn

    # -- faults, and everything -------------------------------------------------------

    def _faults(self, app: Klein) -> None:
        simulation = self._simulation

        async def set_faults(body: dict[str, Any]) -> dict[str, Any]:
            if not body:
                raise BadRequest("say what to break: turn, turn_script, limit, network or broker")
            simulation.faults.set(body)
            return simulation.faults.to_dict()

        async def reset(body: dict[str, Any]) -> dict[str, Any]:
            simulation.reset()
            return {}

        @app.route("/api/faults", methods=["PUT"])
        def faults_route(request: IRequest) -> Deferred[bytes]:
            return change(request, set_faults)

        @app.route("/api/reset", methods=["POST"])
        def reset_route(request: IRequest) -> Deferred[bytes]:
            return change(request, reset)

    # -- what is parked -----------------------------------------------------------------

    def _parked(self, app: Klein) -> None:
        async def replay(body: dict[str, Any]) -> dict[str, int]:
            return {"replayed": await self._parked_messages().replay(ids_of_body(body))}

        async def drop(body: dict[str, Any]) -> dict[str, int]:
            return {"dropped": self._parked_messages().drop(ids_of_body(body))}

        @app.route("/api/parked", methods=["GET"])
        def parked(request: IRequest) -> bytes:
            return as_json(request, {"parked": self._parked_messages().lines()})

        @app.route("/api/parked/replay", methods=["POST"])
        def replay_route(request: IRequest) -> Deferred[bytes]:
            return change(request, replay)

        @app.route("/api/parked/drop", methods=["POST"])
        def drop_route(request: IRequest) -> Deferred[bytes]:
            return change(request, drop)

    def _parked_messages(self) -> ParkedMessages:
        if self._simulation.parked is None:
            raise NotThere("nothing is parked here: the worker is an application")
        return self._simulation.parked
