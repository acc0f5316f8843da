"""Several real workers on a connector, of which one consumes."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

from tests.integration.http_peer import outbound
from tests.integration.standby_case import StandbyCase
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import wait_for
from vumi_turn.channel.standby import LOOK


class StandbyTests(StandbyCase):
    """Two workers."""

    def test_one_consumes(self) -> None:
        """One consumes; the other says standby with 200, and both take Turn's POSTs."""
        (waiting,) = self.rig.waiting()
        self.assertIsNot(self.holder, waiting)
        answer = self.rig.http(waiting).get("/health")
        self.assertEqual((answer.status, answer.json["health"], answer.json["standby"]), (200, "ok", True))
        ids = [self.rig.post(worker, outbound(new_person())) for worker in self.workers]
        found = [json.loads(body)["message_id"] for body in self.peer.take_all(self.rig.queue("outbound"))]
        self.assertEqual(sorted(found), sorted(ids))

    def test_one_message_for_repeats(self) -> None:
        """A POST that comes to both at once is one message."""
        value = outbound(new_person())
        with ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(lambda worker: self.rig.post(worker, value), self.workers * 2))
        self.assertEqual(len(set(ids)), 1)
        self.assertEqual(len(self.peer.take_all(self.rig.queue("outbound"))), 1)

    def test_parts_to_both(self) -> None:
        """Two messages that answer one input, each POSTed to another worker, are joined to one."""
        message = inbound(session_event="new")
        self.peer.publish_json(self.rig.queue("inbound"), message)
        self.turn.wait_for("messages", message["message_id"])
        for worker, text, waits in zip(self.workers, ("That is no number.", "How old?"), (False, True), strict=True):
            asked = outbound(message["from_addr"], text, reply_to=message["message_id"], waiting_for_user_input=waits)
            self.rig.post(worker, asked)
        sent = self.peer.take_json(self.rig.queue("outbound"))
        self.assertEqual((sent["content"], sent["session_event"]), ("That is no number.\nHow old?", "resume"))
        self.assertEqual(self.peer.take_all(self.rig.queue("outbound")), [])

    def test_killed(self) -> None:
        """After SIGKILL another one takes over."""
        self.fail_over("kill")

    def test_stopped(self) -> None:
        """After SIGTERM another one takes over, and nothing is delivered twice."""
        self.assertEqual(self.fail_over("stop").twice, set())

    def test_frozen(self) -> None:
        """One that is frozen and thaws delivers nothing more than it had in flight."""
        self.fail_over("freeze")

    def test_no_errors_at_the_broker(self) -> None:
        """While one consumes and another looks whether it still does, RabbitMQ logs no error and closes no channel."""
        before = self.node.errors()
        looked = time.monotonic()
        message = inbound()
        self.peer.publish_json(self.rig.queue("inbound"), message)
        self.turn.wait_for("messages", message["message_id"])
        wait_for(lambda: time.monotonic() > looked + 3 * LOOK, "three looks")
        self.assertEqual(self.node.errors()[len(before) :], [])
        self.assertNotIn("Traceback", "".join(worker.log for worker in self.workers))
        self.peer.exists("nothing_of_this_name")
        wait_for(lambda: len(self.node.errors()) > len(before), "the error that this look makes")


class QuorumStandbyTests(StandbyCase):
    """Three workers, on quorum queues, which ignore exclusive consumers."""

    count = 3
    queue_type = "quorum"
    connector = "standby_quorum"

    def test_one_after_another(self) -> None:
        """After each SIGKILL exactly one takes over; one that is frozen and thaws delivers nothing more."""
        self.fail_over("kill", "kill", "freeze")
        self.assertEqual(len(self.rig.waiting()), 2)
