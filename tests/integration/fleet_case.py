"""A test case with many channels in one worker, between a real RabbitMQ and a Turn for each channel."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any, Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.http_peer import HttpPeer
from tests.integration.rabbitmq import VHOST, shared_rabbitmq
from tests.integration.turn_server import TurnServer
from tests.integration.vumi_words import inbound
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

TOKEN = "marker-auth-token"
SECRET = "marker-hmac-secret"

FLEET = "vumi_turn.TurnChannels"

#: What a connector of ours may have on the broker.
QUEUES = ("inbound", "event", "outbound", "turn_failures", "turn_joining")


class FleetCase(SynchronousTestCase):
    """
    Each test begins with a worker of its own.

    :cvar names: the connectors that it begins with.
    :cvar top: options of the process.
    :cvar defaults: options of each channel.
    """

    names: tuple[str, ...] = ("fleet_a", "fleet_b")
    top: dict[str, Any] = {}
    defaults: dict[str, Any] = {}

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.peer = AmqpPeer(self.node.port)
        self.addCleanup(self.peer.close)
        self.turns: dict[str, TurnServer] = {}
        self.used: set[str] = set()
        self.addCleanup(self.remove_queues)
        # Workers of other tests may still be connected.
        self.before: set[str] = set()
        self.before = set(self.connections())
        self.fleet = Worker(self.config(*self.names), self.amqp_port(), worker_class=FLEET)
        self.addCleanup(self.fleet.close)

    def amqp_port(self) -> int:
        """Where the worker takes its broker to be."""
        return self.node.port

    def remove_queues(self) -> None:
        """Leave nothing on the broker."""
        for name in self.used:
            for kind in QUEUES:
                self.peer.delete(f"{name}.{kind}")

    def channel(self, name: str, **changes: Any) -> dict[str, Any]:
        """The options of one channel, with a Turn of its own."""
        if name not in self.turns:
            self.turns[name] = TurnServer(TOKEN)
            self.addCleanup(self.turns[name].close)
        self.used.add(name)
        return {
            "connector_name": name,
            "turn_api_url": self.turns[name].url,
            "auth_token": TOKEN,
            "turn_hmac_secret": SECRET,
            "default_from_addr": "8864",
            **changes,
        }

    def config(self, *names: str) -> dict[str, Any]:
        """The options of a fleet of these."""
        return {
            **self.top,
            "defaults": {"retry_delay_base": 0.05, "join_window": 0, **self.defaults},
            "channels": [self.channel(name) for name in names],
        }

    def http(self, name: str) -> HttpPeer:
        """What speaks to one channel."""
        return HttpPeer(self.fleet.port, SECRET, f"/{name}")

    def health(self) -> dict[str, Any]:
        """What ``/health`` says."""
        report: dict[str, Any] = self.http("").get("/health").json
        return report

    def start(self) -> None:
        """Start the worker; returns when all its channels are well."""
        self.fleet.start()
        for item in self.fleet.config["channels"]:
            self.wait_for_channel(item["connector_name"], "ok")

    def say(self, name: str, **changes: Any) -> dict[str, Any]:
        """A person says something on a channel."""
        message = inbound(**changes)
        self.peer.publish_json(f"{name}.inbound", message)
        return message

    def delivered(self, name: str, message: dict[str, Any]) -> Any:
        """What the channel's Turn got of it."""
        return self.turns[name].wait_for("messages", message["message_id"]).json

    def connections(self) -> list[str]:
        """The names of the AMQP connections that are neither the test's own nor older than its worker."""
        listed = self.node.ctl("list_connections", "--no-table-headers", "pid", "client_properties")
        ours = [line.split("\t")[0] for line in listed.splitlines() if "pika" not in line and "vumi_turn" in line]
        return [name for name in ours if name not in self.before]

    @contextmanager
    def untouched(self, *names: str) -> Iterator[None]:
        """Messages of these channels are delivered once each, none late, whatever happens meanwhile."""
        said = {name: [self.say(name)] for name in names}
        yield
        for name in names:
            began = time.monotonic()
            said[name].append(self.say(name))
            for message in said[name]:
                self.delivered(name, message)
            self.assertLess(time.monotonic() - began, 5)
            ids = [request.id for request in self.turns[name].of("messages")]
            self.assertEqual(sorted(ids), sorted(set(ids)))

    def wait_for_channel(self, name: str, health: str) -> dict[str, Any]:
        """Wait until ``/health`` says this of a channel; what it says."""
        return wait_for(
            lambda: (found := self.health()["channels"].get(name, {})).get("health") == health and found,
            f"{name} to be {health}",
        )


__all__ = ["FLEET", "SECRET", "TOKEN", "VHOST", "FleetCase"]
