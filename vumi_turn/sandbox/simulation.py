"""The whole sandbox: phone network, broker, worker and Turn, connected to each other."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import Any, Callable, Mapping, Optional

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall

from ..broker.interface import Broker
from ..broker.memory import MemoryBroker
from ..channel.worker import TurnChannelsApi
from ..timing.clock import wall_clock_of
from ..vumi.messages import generate_id
from ..vumi.worker import BaseWorker
from .fault_controls import FaultControls
from .messages import MessageHistory
from .observers import Announced, ObservedBroker, ObservedChannel, observed
from .parked import ParkedMessages
from .phone_network.network import PhoneNetwork
from .phone_network.phones import Phone
from .phone_network.screen import SCREEN_SIZE
from .post_counters import PostCounters
from .traffic import TrafficLog
from .turn_side import TurnSide
from .turn_simulator.journey import Journey
from .turn_simulator.records import Conversation
from .turn_simulator.simulator import TurnSimulator

#: Of so many messages the page is told when they are tried again.
MOST_NEXT_TRIES = 50

#: The page is told how the worker is this often, in seconds, where that has changed.
HEALTH_EVERY = 0.5

#: Any worker's options where its config says nothing else.
DEFAULT_CONFIG: dict[str, Any] = {"connector_name": "phones"}

#: Those of a channel's worker. The retries are quick, because somebody watches them.
CHANNEL_CONFIG: dict[str, Any] = {"default_from_addr": "8864", "retry_delay_exponent": 1, "shutdown_timeout": 3}


class Simulation(MultiService):
    """
    :param reactor: the reactor.
    :param config: the worker's options, over the sandbox's own defaults.
    :param worker_bind: ``host:port`` for the worker's webhook.
    :param turn_url: the simulated Turn's, or the real Turn's, API URL.
    :param worker_class: of a channel; or an application, and then there is no Turn.
    :param simulate: whether Turn is simulated.
    :param broker: a real broker; None for the one in memory.
    :param phones: whether there is a phone network; there is none where a
        real transport is on the connector.
    :param ready: called when the worker is there.
    :param fatal: called when the worker cannot start.
    :raises ConfigErrors: with everything that is wrong with ``config``.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        config: Mapping[str, Any],
        worker_bind: str,
        turn_url: str,
        worker_class: type[BaseWorker[Any]] = TurnChannelsApi,
        simulate: bool = True,
        broker: Optional[Broker] = None,
        phones: bool = True,
        ready: Callable[[], None] = lambda: None,
        fatal: Optional[Callable[[], None]] = None,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._wall = wall_clock_of(reactor)
        self.traffic = TrafficLog(reactor)
        channel = issubclass(worker_class, TurnChannelsApi)
        self.messages = MessageHistory(self._message_changed, self._message_forgotten, application=not channel)
        self.traffic.on_line = self.messages.add
        self.post_counters = PostCounters()
        self.memory_broker = MemoryBroker(reactor) if broker is None else None
        self._inner: Broker = broker or self.memory_broker  # type: ignore[assignment]
        settings = _channel_settings(config, worker_bind, turn_url) if channel else {**DEFAULT_CONFIG, **config}
        watched = ObservedBroker(self._inner, self.traffic, "worker")
        self.worker: Announced = observed(worker_class)(_named(settings), broker=watched, reactor=reactor, fatal=fatal)
        self.worker.ready = ready
        self.worker.setServiceParent(self)
        self.options = self.worker.get_static_config()
        #: Where Turn POSTs what is for people; None where there is no Turn.
        self.webhook = _webhook(worker_bind, self.options.vumi_api_path) if channel else None
        self.turn: Optional[TurnSide] = self._simulated_turn() if channel and simulate else None
        if isinstance(self.worker, ObservedChannel) and not simulate:
            self.worker.traffic, self.worker.posted = self.traffic, self.post_counters.count
        self.parked: Optional[ParkedMessages] = None
        if channel:
            self.parked = ParkedMessages(
                ObservedBroker(self._inner, self.traffic, "page"), self.options.connector_name, reactor
            )
        self.network: Optional[PhoneNetwork] = self._phone_network() if phones else None
        self.faults = FaultControls(self.simulator, self.network, self.memory_broker, reactor, self._faults_changed)
        self._health_call: Optional[IDelayedCall] = None
        self._last_health: Optional[dict[str, Any]] = None

    @property
    def simulator(self) -> Optional[TurnSimulator]:
        """The simulated Turn, where there is one."""
        return None if self.turn is None else self.turn.simulator

    def _simulated_turn(self) -> TurnSide:
        # Only a channel that renders journeys for phones takes more than texts.
        journey = Journey()
        turn = TurnSide(self._reactor, self.options, str(self.webhook), self.traffic, self.post_counters, journey)
        turn.simulator.on_conversation = self._conversation_changed
        return turn

    def _phone_network(self) -> PhoneNetwork:
        number = str(getattr(self.options, "default_from_addr", None) or "8864")
        return PhoneNetwork(
            ObservedBroker(self._inner, self.traffic, "network"),
            self.options.connector_name,
            self._reactor,
            sms_number=number if number.isascii() and number.isdigit() else "8864",
            screen_size=max(SCREEN_SIZE, getattr(self.options, "screen_size", SCREEN_SIZE)),
            changed=self._phone_changed,
            session_changed=self._session_changed,
            failed=self._message_failed,
        )

    # -- starting and stopping ------------------------------------------------

    def startService(self) -> None:
        super().startService()
        if self.network is not None:
            self.network.start()
        if self.parked is not None:
            self.parked.start()
        self._tell_health()

    def stopService(self) -> Deferred[None]:
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        if self._health_call is not None:
            self._health_call.cancel()
            self._health_call = None
        if self.network is not None:
            self.network.stop()
        if self.turn is not None:
            self.turn.simulator.stop()
        if self.parked is not None:
            self.parked.stop()
        await MultiService.stopService(self)
        if self.turn is not None:
            await self.turn.stop()

    def reset(self) -> None:
        """Forget everything that happened, and mend everything; what is parked is dropped."""
        self.faults.reset()
        if self.network is not None:
            self.network.reset()
        if self.turn is not None:
            self.turn.reset()
        if self.parked is not None:
            self.parked.drop()
        self.post_counters.clear()
        self.messages.clear()
        self.traffic.clear()
        self.traffic.say("reset", {})

    # -- what pages are told ----------------------------------------------------

    def _message_changed(self, message: Mapping[str, Any]) -> None:
        self.traffic.say("message", message)

    def _message_forgotten(self, key: str) -> None:
        self.traffic.say("message", {"key": key, "gone": True})

    def _conversation_changed(self, conversation: Conversation) -> None:
        self.traffic.say("conversation", conversation_json(conversation))

    def _phone_changed(self, phone: Phone) -> None:
        self.traffic.say("phone", phone.to_dict())

    def _session_changed(self, number: str, text: str) -> None:
        if self.simulator is not None:
            self.simulator.note(number, text)

    def _message_failed(self, message_id: str, reason: str) -> None:
        if self.simulator is not None:
            self.simulator.note_failure(message_id, reason)

    def _faults_changed(self, faults: Mapping[str, Any]) -> None:
        self.traffic.say("faults", faults)

    def conversations(self) -> list[dict[str, Any]]:
        """Each person's conversation as Turn sees it."""
        return [] if self.simulator is None else [conversation_json(one) for one in self.simulator.conversations()]

    def phones(self) -> list[dict[str, Any]]:
        """Each phone that was used."""
        return [] if self.network is None else [phone.to_dict() for phone in self.network.phones()]

    # -- how the worker is -----------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """What ``/health`` says, with counters, what is parked, and when Turn is asked again (Unix seconds)."""
        worker = self.worker
        channel = isinstance(worker, ObservedChannel)
        counts = worker.counts() if isinstance(worker, ObservedChannel) else {}
        report = worker.report_health() if counts or not channel else {"health": "down", "components": {}}
        parked = [] if self.parked is None else self.parked.lines()
        now = {**counts, **self._queued(), **({} if self.parked is None else {"parked": len(parked)})}
        return {
            **report,
            "counters": {"now": now, "since_start": self.post_counters.to_dict() if channel else {}},
            "parked": parked,
            "limit": self.faults.limit(),
            **self._next_tries(),
        }

    def _next_tries(self) -> dict[str, Any]:
        """When Turn is asked again, by anybody and by message."""
        worker = self.worker
        if not isinstance(worker, ObservedChannel):
            return {"next_try": None, "next_tries": {}}
        when, pauses = worker.next_try, islice(worker.pauses.items(), MOST_NEXT_TRIES)
        return {
            "next_try": None if when is None else self._by_wall_clock(when),
            "next_tries": {name: self._by_wall_clock(until) for name, until in pauses},
        }

    def _by_wall_clock(self, when: float) -> float:
        """What waits is measured by the monotonic clock; pages count down by their own."""
        seconds: float = self._wall() + when - self._reactor.seconds()
        return round(seconds, 1)

    def _queued(self) -> dict[str, int]:
        """What waits in the queues, or is in hand; of a real broker that is not known here."""
        if self.memory_broker is None:
            return {}
        connector, contents = self.options.connector_name, self.memory_broker.queue_contents
        return {f"{kind}_queue": len(contents(f"{connector}.{kind}")) for kind in ("inbound", "event", "outbound")}

    def _tell_health(self) -> None:
        self._health_call = self._reactor.callLater(HEALTH_EVERY, self._tell_health)
        health = self.health()
        if health != self._last_health:
            self._last_health = health
            self.traffic.say("health", health)


def conversation_json(conversation: Conversation) -> dict[str, Any]:
    """A conversation as JSON."""
    return {"address": conversation.address, "entries": [asdict(entry) for entry in conversation.entries]}


def _channel_settings(config: Mapping[str, Any], worker_bind: str, turn_url: str) -> dict[str, Any]:
    """A channel's options: the sandbox's, over those that were given, over the defaults."""
    secrets = {"auth_token": generate_id(), "turn_hmac_secret": generate_id()}
    defaults = {**DEFAULT_CONFIG, **CHANNEL_CONFIG, **secrets}
    return {**defaults, **config, "http_bind": worker_bind, "turn_api_url": turn_url}


def _named(settings: dict[str, Any]) -> dict[str, Any]:
    """The options without our own connector's name where they name one by its older option."""
    if "transport_name" not in settings:
        return settings
    return {name: value for name, value in settings.items() if name != "connector_name"}


def _webhook(worker_bind: str, api_path: str) -> str:
    return "/".join([f"http://{worker_bind}", *api_path.strip("/").split(), "messages"])
