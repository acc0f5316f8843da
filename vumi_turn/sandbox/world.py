"""
The sandbox's world: phone network, broker, worker and Turn, wired together.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any, Mapping, Optional

import treq
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.web.client import Agent, HTTPConnectionPool

from ..channels_api import TurnChannelsApi
from ..failures import FAILURES, body_of, original_of
from ..vumi.broker import Broker, Delivery, Outcome
from ..vumi.memory_broker import MemoryBroker
from ..vumi.message import generate_id
from .journey import Journey
from .network import NetworkWeather, PhoneNetwork
from .simulator import WEBHOOK_TIMEOUT, Entry, RateLimit, TurnSimulator, Weather
from .wire import ObservedBroker, Wire

log = Logger()

#: The page gets the worker's health this often, in seconds.
HEALTH_EVERY = 1.0

DEFAULT_CONFIG: dict[str, Any] = {
    "connector_name": "phones",
    "default_from_addr": "8864",
    "retry_delay_exponent": 1,
    "retry_delay_base": 2,
}


class World(MultiService):
    """
    :param reactor: the reactor.
    :param config: the worker's options, over the sandbox's own defaults.
    :param worker_bind: ``host:port`` for the worker's webhook.
    :param turn_url: the simulated Turn's, or the real Turn's, API URL.
    :param simulate: whether Turn is simulated.
    :param broker: a real broker; None for the one in memory.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        config: Mapping[str, Any],
        worker_bind: str,
        turn_url: str,
        simulate: bool = True,
        broker: Optional[Broker] = None,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self.wire = Wire(reactor)
        self.memory_broker = MemoryBroker(reactor) if broker is None else None
        self.broker = ObservedBroker(broker if broker is not None else self.memory_broker, self.wire)  # type: ignore[arg-type]
        settings = {
            "auth_token": generate_id(),
            "turn_hmac_secret": generate_id(),
            **DEFAULT_CONFIG,
            **config,
            "http_bind": worker_bind,
            "turn_api_url": turn_url,
        }
        self.connector = settings["connector_name"]
        self._pool = HTTPConnectionPool(reactor)
        self._agent = Agent(reactor, connectTimeout=WEBHOOK_TIMEOUT, pool=self._pool)
        self.journey = Journey()
        self.journey_on = simulate
        self.turn: Optional[TurnSimulator] = None
        if simulate:
            self.turn = self._simulated_turn(settings, f"http://{worker_bind}")
        self.network = PhoneNetwork(self.broker, self.connector, reactor, observe=self.wire.say)
        self.worker = TurnChannelsApi(settings, broker=self.broker, reactor=reactor)
        self.worker.setServiceParent(self)
        self._health_call: Optional[IDelayedCall] = None
        self._parked: list[tuple[Delivery, Deferred[Outcome]]] = []

    def _simulated_turn(self, settings: Mapping[str, Any], worker_url: str) -> TurnSimulator:
        path = str(settings.get("vumi_api_path", "")).rstrip("/")
        turn = TurnSimulator(
            self._reactor,
            token=settings["auth_token"],
            secret=settings["turn_hmac_secret"],
            webhook=f"{worker_url}{path}/messages",
            post=self._post,
            limit=RateLimit(self._reactor),
            observe=self._turn_said,
        )
        turn.on_message = self._journey_answers
        return turn

    # -- starting and stopping ------------------------------------------------

    def startService(self) -> None:
        super().startService()
        self.network.start()
        parked = self.broker.consume(f"{self.connector}.{FAILURES}", self._hold_parked, 1000)
        parked.unpause()
        self._tell_health()

    def stopService(self) -> Deferred[None]:
        if self._health_call is not None:
            self._health_call.cancel()
            self._health_call = None
        self.network.stop()
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        await MultiService.stopService(self)
        await self._pool.closeCachedConnections()

    # -- Turn -------------------------------------------------------------------

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """POST to the worker's webhook, and show it on the wire."""
        status: Optional[int] = None
        try:
            response = await treq.post(
                url, data=body, headers=headers, agent=self._agent, timeout=WEBHOOK_TIMEOUT, reactor=self._reactor
            )
            answer = await response.content()
            status = response.code
            return status, answer
        finally:
            self.wire.http("Turn POST", url, body, status, headers)

    def _turn_said(self, name: str, details: dict[str, Any]) -> None:
        if name == "request":
            body = details["body"].encode("utf-8")
            self.wire.http("worker POST", details["path"], body, details["status"], details["request_headers"])
        else:
            self._tell_conversation(details.get("address"))

    def _tell_conversation(self, address: Optional[str]) -> None:
        if self.turn is not None and address is not None:
            entries = self.conversations().get(address, [])
            self.wire.say("conversation", {"address": address, "entries": entries})

    def conversations(self) -> dict[str, list[dict[str, Any]]]:
        """Each person's conversation as Turn sees it."""
        if self.turn is None:
            return {}
        return {
            address: [asdict(entry) for entry in entries]
            for address, entries in self.turn.conversations.items()
        }

    def _journey_answers(self, person: str, message: dict[str, Any]) -> None:
        if not self.journey_on or self.turn is None:
            return
        answer = self.journey.answer(person, message["text"]["body"])
        # Turn answers after it has answered the POST, as a flow does.
        self._reactor.callLater(
            0.05, self._background, self.turn.send(person, answer.text, reply_to=message["id"], waiting=answer.waiting)
        )

    async def agent_sends(self, to: str, text: str, waiting: bool, reply_to: Optional[str]) -> Entry:
        """An agent in the simulated Turn writes to a person; the repeats of a failed POST go on by themselves."""
        assert self.turn is not None
        return await self.turn.send(to, text, waiting=waiting, reply_to=reply_to)

    # -- weather ------------------------------------------------------------------

    def weather(self) -> dict[str, Any]:
        """The weather as JSON; ``fixed`` names what is real and cannot be switched."""
        fixed = [name for name, part in (("turn", self.turn), ("broker", self.memory_broker)) if part is None]
        return {
            "turn": asdict(self.turn.weather) if self.turn is not None else None,
            "network": asdict(self.network.weather),
            "broker": "up" if self.memory_broker is None or self.broker.state != "connecting" else "away",
            "fixed": fixed,
        }

    def set_weather(self, change: Mapping[str, Any]) -> None:
        """
        Change the weather.

        :param change: ``turn`` and ``network``: their weather's fields;
            ``broker``: ``up`` or ``away``.
        :raises ValueError: what is wrong with it.
        """
        unknown = set(change) - {"turn", "network", "broker"}
        if unknown:
            raise ValueError(f"there is no weather for {', '.join(sorted(unknown))}")
        turn = _weather(Weather, change["turn"], "turn") if "turn" in change else None
        network = _weather(NetworkWeather, change["network"], "network") if "network" in change else None
        if turn is not None:
            if self.turn is None:
                raise ValueError("Turn is the real one: its weather cannot be changed")
            self.turn.weather = turn
        if network is not None:
            self.network.weather = network
        if "broker" in change:
            self._set_broker(change["broker"])
        self.wire.say("weather", self.weather())

    def _set_broker(self, wanted: Any) -> None:
        if self.memory_broker is None:
            raise ValueError("the broker is a real one: it cannot be sent away from here")
        if wanted not in ("up", "away"):
            raise ValueError("broker must be up or away")
        if wanted == "away" and self.broker.state != "connecting":
            self.memory_broker.go_away()
        elif wanted == "up" and self.broker.state == "connecting":
            self.memory_broker.come_back()

    # -- health and what is parked --------------------------------------------------

    def health(self) -> dict[str, Any]:
        """What ``/health`` says, with counters and what is parked."""
        status, report = self.worker.health.report()
        courier = self.worker.courier
        return {
            **report,
            "counters": {
                "in flight": courier.in_flight,
                "held": courier.held,
                "parked": len(self._parked),
                "remembered": self.worker.cache.size,
                "reconnects": self.broker.reconnects,
            },
            "parked": [_parked_line(delivery) for delivery, _ in self._parked],
        }

    def _tell_health(self) -> None:
        self._health_call = self._reactor.callLater(HEALTH_EVERY, self._tell_health)
        if self.worker.ready:
            self.wire.say("health", self.health())

    async def _hold_parked(self, delivery: Delivery) -> Outcome:
        """What is parked stays unsettled here until it is replayed."""
        settled: Deferred[Outcome] = Deferred()
        item = (delivery, settled)
        self._parked.append(item)
        delivery.on_lost(lambda: self._forget_parked(item))
        return await settled

    def _forget_parked(self, item: tuple[Delivery, Deferred[Outcome]]) -> None:
        if item in self._parked:
            self._parked.remove(item)
            item[1].callback(Outcome.REQUEUE)

    async def replay(self, ids: Optional[list[str]] = None) -> int:
        """
        Put parked messages back into their queue.

        :param ids: which; None is all.
        :return: how many.
        """
        chosen = [item for item in self._parked if ids is None or _parked_line(item[0])["id"] in ids]
        for item in chosen:
            failure = json.loads(item[0].body)
            queue = failure["helper_metadata"]["turn"]["queue"]
            await self.broker.publisher(f"{self.connector}.{queue}").publish(body_of(failure["message"]))
            if item in self._parked:
                self._parked.remove(item)
                item[1].callback(Outcome.ACK)
        return len(chosen)

    def _background(self, awaitable: Any) -> None:
        done: Deferred[Any] = ensureDeferred(awaitable)
        done.addErrback(lambda f: log.failure("The simulated Turn failed", f))


def _weather(kind: Any, fields: Any, name: str) -> Any:
    if not isinstance(fields, dict):
        raise ValueError(f"{name} must be an object")
    try:
        return replace(kind(), **fields)
    except TypeError:
        raise ValueError(f"{name} has a field that is not known, or of the wrong type") from None


def _parked_line(delivery: Delivery) -> dict[str, Any]:
    failure = original_of(delivery.body)
    assert isinstance(failure, dict)
    original = failure["message"]
    ids = [original.get("event_id"), original.get("message_id")] if isinstance(original, dict) else []
    return {"id": next((i for i in ids if i), "?"), "reason": failure["reason"], "code": failure["failure_code"]}
