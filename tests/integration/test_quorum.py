"""
Quorum queues, which some hosted brokers make of every queue: RabbitMQ counts
how often a message went back, and puts it back in another place than a classic
queue does.
"""

from __future__ import annotations

from typing import Any

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import HttpPeer
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

VHOST = "/quorum"
FLAGS = ("--vhost", VHOST)


class QuorumTests(BridgeCase):
    connector = "quorum"
    config = {"max_retries": 0}

    def setUp(self) -> None:
        super().setUp()
        self.node.ctl("add_vhost", VHOST, "--default-queue-type", "quorum")
        self.addCleanup(self.node.ctl, "delete_vhost", VHOST)
        self.node.ctl("set_permissions", "-p", VHOST, "vumi", ".*", ".*", ".*")
        self.peer = AmqpPeer(self.node.port, VHOST)
        self.addCleanup(self.peer.close)
        for kind in ("inbound", "event", "outbound", "turn_failures"):
            self.peer.declare(self.rig.queue(kind))

    def wait_until_away(self, worker: Worker) -> None:
        """Wait until the worker has understood that Turn is away."""
        http = HttpPeer(worker.port, self.http.secret)
        wait_for(lambda: http.get("/health").json["components"]["turn"]["state"] == "away", "it to understand")

    def in_order(self, person: str) -> list[str]:
        """The ids of a person's messages as Turn first got them."""
        theirs = [m["message"]["id"] for m in self.turn.messages() if m["contact"]["id"] == person]
        return list(dict.fromkeys(theirs))

    def test_flows(self) -> None:
        """All works as on classic queues, also over a lost connection."""
        with self.running({}, *FLAGS) as worker:
            self.carries(worker)
            self.turn.script(TurnResponse(400))
            refused = self.say(inbound())
            self.assertEqual(self.parked()["message"], refused)
            self.node.ctl("close_all_connections", "--vhost", VHOST, "maintenance")
            worker.wait_until_healthy()
            self.carries(worker)
            listed = self.node.ctl("-p", VHOST, "list_queues", "--no-table-headers", "type")
            self.assertEqual(set(listed.split()), {"quorum"})

    def test_order(self) -> None:
        """What is held when the worker stops, or loses its connection, comes again in its order."""
        person = new_person()
        self.turn.refuse()
        said = [self.say(inbound(from_addr=person)) for _ in range(8)]
        for restart in (True, False):
            with self.running({}, *FLAGS) as worker:
                self.wait_until_away(worker)
                if not restart:
                    self.node.ctl("close_all_connections", "--vhost", VHOST, "maintenance")
                    worker.wait_until_healthy()
                    self.turn.listen()
                    for message in said:
                        self.delivered(message)
        self.assertEqual(self.in_order(person), [message["message_id"] for message in said])

    def test_back_too_often(self) -> None:
        """One that has gone back 15 times is parked before RabbitMQ drops it; one of 14 times is sent."""
        often, once_less = inbound(), inbound()
        queue = self.rig.queue("inbound")
        for count, message in ((14, once_less), (15, often)):
            self.peer.publish_json(queue, message)
            for gone_back in range(count):
                method, properties, _ = wait_for(lambda: self.got(queue), "the message")
                self.assertEqual((properties.headers or {}).get("x-delivery-count", 0), gone_back)
                self.peer.channel.basic_reject(method.delivery_tag, requeue=True)  # counts, also in RabbitMQ 4.3
            with self.running({}, *FLAGS):
                if message is once_less:
                    self.delivered(message)
                else:
                    self.assertEqual(self.parked()["message"], message)
        self.assertEqual([request.id for request in self.turn.requests], [once_less["message_id"]])

    def got(self, queue: str) -> Any:
        """The next message of a queue, unacknowledged; None if it is empty."""
        found = self.peer.channel.basic_get(queue)
        return None if found[0] is None else found
