"""
The whole sandbox: phone network, broker, worker and Turn, connected to each other.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Awaitable, Callable, Mapping, Optional
from urllib.parse import urlsplit

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ..broker.interface import Broker
from ..broker.memory import MemoryBroker
from ..timing.timeouts import Timeouts
from ..vumi.messages import generate_id
from .fault_controls import FaultControls
from .observers import ObservedBroker, ObservedWorker
from .parked import ParkedMessages
from .phone_network.network import PhoneNetwork
from .phone_network.phones import Phone
from .post_counters import PostCounters
from .traffic import TrafficLog, ids_of, json_of
from .turn_simulator.journey import Journey
from .turn_simulator.rate_limit import RateLimit
from .turn_simulator.records import Conversation, Record
from .turn_simulator.simulator import TurnSimulator
from .turn_simulator.webhook_client import ChannelAnswer, WebhookClient

log = Logger()

#: The page is told how the worker is this often, in seconds, where that has changed.
HEALTH_EVERY = 0.5

#: The journey answers so long after Turn has taken a message, in seconds.
THINKING = 0.05

#: The worker's options where ``--config`` says nothing else. The retries are
#: quick, because somebody watches them.
DEFAULT_CONFIG: dict[str, Any] = {
    "connector_name": "phones",
    "default_from_addr": "8864",
    "retry_delay_exponent": 1,
    "shutdown_timeout": 3,
}


class Simulation(MultiService):
    """
    :param reactor: the reactor.
    :param config: the worker's options, over the sandbox's own defaults.
    :param worker_bind: ``host:port`` for the worker's webhook.
    :param turn_url: the simulated Turn's, or the real Turn's, API URL.
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
        simulate: bool = True,
        broker: Optional[Broker] = None,
        phones: bool = True,
        ready: Callable[[], None] = lambda: None,
        fatal: Optional[Callable[[], None]] = None,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self.traffic = TrafficLog(reactor)
        self.post_counters = PostCounters()
        self.memory_broker = MemoryBroker(reactor) if broker is None else None
        inner: Broker = broker or self.memory_broker  # type: ignore[assignment]
        self.broker = ObservedBroker(inner, self.traffic, "worker")
        settings = _settings(config, worker_bind, turn_url)
        self.worker = ObservedWorker(settings, broker=self.broker, reactor=reactor, fatal=fatal)
        self.worker.ready = ready
        self.worker.setServiceParent(self)
        self.options = self.worker.get_static_config()
        self.journey = Journey()
        self.journey_on = simulate
        self._webhook_client = WebhookClient(reactor)
        #: Where Turn POSTs what is for people.
        self.webhook = "/".join([f"http://{worker_bind}", *self.options.vumi_api_path.strip("/").split(), "messages"])
        self.turn: Optional[TurnSimulator] = None
        if simulate:
            self.turn = self._simulated_turn()
        else:
            self.worker.traffic, self.worker.posted = self.traffic, self.post_counters.count
        connector = self.options.connector_name
        self.parked = ParkedMessages(ObservedBroker(inner, self.traffic, "replay"), connector, reactor)
        self.network: Optional[PhoneNetwork] = None
        if phones:
            number = self.options.default_from_addr
            number = number if number.isascii() and number.isdigit() else "8864"
            phones_broker = ObservedBroker(inner, self.traffic, "network")
            self.network = PhoneNetwork(
                phones_broker, connector, reactor, sms_number=number, changed=self._phone_changed
            )
        self.faults = FaultControls(self.turn, self.network, self.memory_broker, self._faults_changed)
        self._health_call: Optional[IDelayedCall] = None
        self._last_health: Optional[dict[str, Any]] = None
        self._waits = Timeouts(reactor)
        self._stopping = False

    def _simulated_turn(self) -> TurnSimulator:
        turn = TurnSimulator(
            self._reactor,
            token=self.options.auth_token,
            secret=self.options.turn_hmac_secret,
            webhook=self.webhook,
            post=self._post,
            limit=RateLimit(self._reactor),
        )
        turn.on_message = self._journey_answers
        turn.on_request = self._show_request
        turn.on_conversation = self._conversation_changed
        return turn

    # -- starting and stopping ------------------------------------------------

    def startService(self) -> None:
        super().startService()
        if self.network is not None:
            self.network.start()
        self.parked.start()
        self._tell_health()

    def stopService(self) -> Deferred[None]:
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        self._waits.end(lambda: CancelledError())
        if self._health_call is not None:
            self._health_call.cancel()
            self._health_call = None
        if self.network is not None:
            self.network.stop()
        if self.turn is not None:
            self.turn.stop()
        self.parked.stop()
        await MultiService.stopService(self)
        await self._webhook_client.close()

    # -- Turn -------------------------------------------------------------------

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> ChannelAnswer:
        """POST to the worker's webhook, and show it on the traffic."""
        where = f"POST {urlsplit(url).path}"
        ids = self.traffic.http("request", "turn", where, body, headers=headers)
        status, answer_headers, answer_body = None, None, b""
        try:
            answer = await self._webhook_client.post(url, headers, body)
            status, answer_headers, answer_body = answer.status, answer.headers, answer.body
            return answer
        finally:
            self.traffic.http("response", "turn", where, answer_body, headers=answer_headers, status=status, ids=ids)

    def _show_request(self, record: Record) -> None:
        """Show a request of the worker's to the simulated Turn on the traffic, when it comes and when it is settled."""
        where = f"POST /{record.path.rpartition('/')[2]}"
        if not record.answered:
            self.traffic.http("request", "worker", where, record.body, headers=record.headers)
            return
        name = _name_of(record)
        self.post_counters.count(record.kind, name, record.status)
        headers = record.answer_headers if record.status is not None else None
        body = record.answer if record.status is not None else b""
        self.traffic.http("response", "worker", where, body, headers=headers, status=record.status, ids=(name,))

    def _journey_answers(self, person: str, message: dict[str, Any]) -> None:
        if self.journey_on:
            self._background(self._journey_answer(person, message["id"], message["text"]["body"]))

    async def _journey_answer(self, person: str, message_id: str, text: str) -> None:
        """Answer, after Turn has answered the POST, as a flow does."""
        assert self.turn is not None
        await self._waits.sleep(THINKING)
        if not self._stopping:
            answer = self.journey.answer(person, text)
            await self.turn.send(person, answer.text, reply_to=message_id, waiting=answer.waiting)

    def _conversation_changed(self, conversation: Conversation) -> None:
        self.traffic.say("conversation", conversation_json(conversation))

    def conversations(self) -> list[dict[str, Any]]:
        """Each person's conversation as Turn sees it."""
        return [] if self.turn is None else [conversation_json(one) for one in self.turn.conversations()]

    # -- phones -------------------------------------------------------------------

    def _phone_changed(self, phone: Phone) -> None:
        self.traffic.say("phone", phone.to_dict())

    def phones(self) -> list[dict[str, Any]]:
        """Each phone that was used."""
        return [] if self.network is None else [phone.to_dict() for phone in self.network.phones()]

    def _faults_changed(self, faults: Mapping[str, Any]) -> None:
        self.traffic.say("faults", faults)

    # -- how the worker is -----------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """What ``/health`` says, with counters and what is parked."""
        report = self.worker.health_report() or {"health": "down", "components": {}}
        counters = {
            **self.worker.counts(),
            **self._queued(),
            "parked": len(self.parked),
            **self.post_counters.to_dict(),
        }
        return {**report, "counters": counters, "parked": self.parked.lines()}

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

    def _background(self, awaitable: Awaitable[Any]) -> None:
        done: Deferred[Any] = ensureDeferred(awaitable)  # type: ignore[arg-type]
        done.addErrback(lambda failure: log.failure("The simulated Turn failed", failure))


def conversation_json(conversation: Conversation) -> dict[str, Any]:
    """A conversation as JSON."""
    return {"address": conversation.address, "entries": [asdict(entry) for entry in conversation.entries]}


def _settings(config: Mapping[str, Any], worker_bind: str, turn_url: str) -> dict[str, Any]:
    """The worker's options: the sandbox's, over those that were given, over the defaults."""
    defaults = dict(DEFAULT_CONFIG, auth_token=generate_id(), turn_hmac_secret=generate_id())
    if "transport_name" in config:
        del defaults["connector_name"]  # the same option by its older name
    return {**defaults, **config, "http_bind": worker_bind, "turn_api_url": turn_url}


def _name_of(record: Record) -> str:
    """The id of what a request was about."""
    return next(iter(ids_of(json_of(record.body))), "?")
