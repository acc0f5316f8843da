"""
Legacy vumi's own telnet and USSD transports, dispatchers and heartbeat monitor,
beside the real worker on one RabbitMQ.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any, Mapping

from tests.integration.legacy_case import SERVICE, LegacyCase, Telnet
from tests.integration.legacy_ussd import LegacyUssdCase
from tests.integration.redis_server import RedisServer
from tests.integration.vumi_words import new_person
from tests.integration.waiting import wait_for

#: A conversation: what the person types and reads, what Turn gets and says.
CONVERSATION = f"""\
the person connects
Turn gets:   {SERVICE}
Turn says:   Welcome to the clinic. 1. Opening times 2. Ask a nurse
the person:  Welcome to the clinic. 1. Opening times 2. Ask a nurse
Turn gets:   the status sent
the person types:  2
Turn gets:   2
Turn says:   What is your question?
the person:  What is your question?
Turn gets:   the status sent
the person types:  Lumela, ke na le potso: café 😀?
Turn gets:   Lumela, ke na le potso: café 😀?
Turn says:   Kea leboha 🙏 A nurse will call you. (the session ends)
the person:  Kea leboha 🙏 A nurse will call you.
Turn gets:   the status sent
the connection is closed
"""


class Conversation:
    """One person and Turn, written down as it happens."""

    def __init__(self, case: LegacyCase) -> None:
        self._case = case
        self._person = Telnet(case.telnet_port)
        case.addCleanup(self._person.close)
        self._heard = 0
        self.lines = ["the person connects"]

    def turn_gets(self) -> None:
        text = self._case.turn_hears(self._person.address, self._heard)
        self._heard += 1
        self.lines.append(f"Turn gets:   {text}")

    def turn_says(self, text: str, more: bool = True) -> None:
        self.lines.append(f"Turn says:   {text}" + ("" if more else " (the session ends)"))
        message_id = self._case.turn_says(self._person.address, text, more)
        self.lines.append(f"the person:  {self._person.reads()}")
        status = self._case.status_of(message_id)
        self._case.assertEqual(status["recipient_id"], self._person.address)
        self.lines.append(f"Turn gets:   the status {status['status']}")

    def types(self, text: str) -> None:
        self.lines.append(f"the person types:  {text}")
        self._person.types(text)

    def ends(self) -> None:
        self._case.assertIsNone(self._person.reads())
        self.lines.append("the connection is closed")

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


class TelnetTests(LegacyCase):
    """The transport on the worker's own connector; and the monitor that watches the worker."""

    connector = telnet = "legacy_telnet"
    config = {"worker_name": "bridge"}
    consumed = (f"{connector}.outbound", "heartbeat.inbound")
    redis: RedisServer

    def legacy_workers(self) -> Mapping[str, Mapping[str, Any]]:
        redis = type(self).redis = RedisServer()
        redis.start()
        self.keep(redis.stop)
        watched = {"workers": {"the bridge": {"name": "bridge", "min_procs": 1}}, "system_id": "global"}
        monitor = {
            "deadline": 1,
            "redis_manager": {"host": "127.0.0.1", "port": redis.port, "key_prefix": "vumi"},
            "monitored_systems": {"ours": watched},
        }
        name = "vumi.blinkenlights.heartbeat.monitor.HeartBeatMonitor"
        return {**super().legacy_workers(), name: monitor}

    def test_conversation(self) -> None:
        """A person types, Turn gets it; Turn answers, the person reads it, and its ack is a status."""
        conversation = Conversation(self)
        conversation.turn_gets()
        conversation.turn_says("Welcome to the clinic. 1. Opening times 2. Ask a nurse")
        conversation.types("2")
        conversation.turn_gets()
        conversation.turn_says("What is your question?")
        conversation.types("Lumela, ke na le potso: café 😀?")
        conversation.turn_gets()
        conversation.turn_says("Kea leboha 🙏 A nurse will call you.", more=False)
        conversation.ends()
        self.assertEqual(conversation.text, CONVERSATION)
        wait_for(lambda: self.rig.held("inbound") == 0, "the close to be taken")
        self.assertEqual(len(self.turn.messages()), 3)

    def test_after_the_session(self) -> None:
        """Whom the transport does not know it refuses, and its nack is a status."""
        person = Telnet(self.telnet_port)
        self.turn_hears(person.address)
        person.close()
        wait_for(lambda: self.rig.held("inbound") == 0, "the close to be taken")
        status = self.status_of(self.turn_says(person.address, "Are you there?"))
        self.assertEqual((status["status"], status["recipient_id"]), ("failed", person.address))

    def test_two_people(self) -> None:
        """Two people at once each read their own answers only."""
        people = [Telnet(self.telnet_port) for _ in range(2)]
        for person in people:
            self.addCleanup(person.close)
            self.turn_hears(person.address)
        for person in people:
            self.turn_says(person.address, f"for {person.address}")
        self.assertEqual([p.reads() for p in people], [f"for {p.address}" for p in people])

    def test_when_it_was_written(self) -> None:
        """Turn is told when the person wrote, as the transport's timestamp has it."""
        before = int(time.time())
        person = Telnet(self.telnet_port)
        self.addCleanup(person.close)
        self.turn_hears(person.address)
        [message] = self.turn.messages()
        self.assertTrue(before <= int(message["message"]["timestamp"]) <= time.time(), message)

    def test_heartbeats(self) -> None:
        """Legacy vumi's heartbeat monitor sees one process of the worker, on this host."""

        def look() -> Any:
            text = self.redis.ask("--raw", "get", "vumi:system:global")
            [worker] = json.loads(text)["workers"] if text else [{"hosts": []}]
            return worker if worker["hosts"] else None

        worker = wait_for(look, "the monitor to see the worker")
        self.assertEqual(worker["hosts"], [{"host": socket.gethostname(), "proc_count": 1}])
        self.assertEqual((worker["id"], worker["name"]), ("global:bridge", "bridge"))


class ToAddrRouterTests(LegacyCase):
    """
    ToAddrRouter between the telnet transport and the worker: the connector is
    chosen by what was dialled. It throws events away, so there are no statuses.
    """

    connector = "legacy_clinic"
    telnet = "legacy_clinic_telnet"
    consumed = (f"{telnet}.inbound", f"{telnet}.event", f"{telnet}.outbound", f"{connector}.outbound")

    def legacy_workers(self) -> Mapping[str, Mapping[str, Any]]:
        dispatcher = {
            "router_class": "vumi.dispatchers.ToAddrRouter",
            "transport_names": [self.telnet],
            "exposed_names": [self.connector],
            "toaddr_mappings": {self.connector: r"^\*120\*8864"},
            # For messages that answer none: they name the connector.
            "transport_mappings": {self.connector: self.telnet},
        }
        return {**super().legacy_workers(), "vumi.dispatchers.BaseDispatchWorker": dispatcher}

    def test_there_and_back(self) -> None:
        """What a person types gets to Turn through the router, and the answer back; so does a new message."""
        person = Telnet(self.telnet_port)
        self.addCleanup(person.close)
        self.assertEqual(self.turn_hears(person.address), SERVICE)
        person.types("1")
        self.assertEqual(self.turn_hears(person.address, 1), "1")
        self.turn_says(person.address, "one")
        self.assertEqual(person.reads(), "one")
        person.close()
        wait_for(lambda: self.rig.held("inbound") == 0, "the close to be taken")
        other = Telnet(self.telnet_port)
        self.addCleanup(other.close)
        self.turn_hears(other.address)
        self.turn_says(person.address, "Are you there?")
        self.assertEqual(other.reads(), f"UNKNOWN ADDR [{person.address}]: Are you there?")
        self.assertEqual(self.turn.statuses(), [])


class UssdTests(LegacyUssdCase):
    """
    RoutingTableDispatcher between an HTTP transport for USSD and the worker:
    each answer has to be the reply to its own request, for as long as that is
    open.
    """

    connector = "legacy_ussd"
    transport = "legacy_ussd_http"
    consumed = (f"{transport}.inbound", f"{transport}.event", f"{transport}.outbound", f"{connector}.outbound")

    def test_session(self) -> None:
        """Each request of a session gets its own answer, each answer's ack is a status, and the end is the end."""
        screen = self.dials(self.person, SERVICE)
        self.assertEqual(self.turn_hears(self.person), SERVICE)
        first = self.turn_says(self.person, "Your name?")
        self.assertEqual(screen.result(), ("Your name?", "request"))
        screen = self.dials(self.person, "Palesa ❤")
        self.assertEqual(self.turn_hears(self.person, 1), "Palesa ❤")
        second = self.turn_says(self.person, "Hello Palesa ❤", more=False)
        self.assertEqual(screen.result(), ("Hello Palesa ❤", "end"))
        for message_id in (first, second):
            status = self.status_of(message_id)
            self.assertEqual((status["status"], status["recipient_id"]), ("sent", self.person))

    def test_no_session(self) -> None:
        """A message that nobody waits for is refused by the transport, and its nack is the status failed."""
        status = self.status_of(self.turn_says(self.person, "Are you there?", more=False))
        self.assertEqual((status["status"], status["recipient_id"]), ("failed", self.person))

    def test_people_at_once(self) -> None:
        """Several people at once each see the answer that is theirs."""
        people = [new_person() for _ in range(4)]
        screens = [self.dials(person, SERVICE) for person in people]
        for person in people:
            self.turn_hears(person)
        for person in reversed(people):
            self.turn_says(person, f"for {person}")
        self.assertEqual([screen.result() for screen in screens], [(f"for {person}", "request") for person in people])
