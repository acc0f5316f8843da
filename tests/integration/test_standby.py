"""Several real workers on a connector, of which one consumes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from tests.integration.http_peer import outbound
from tests.integration.standby_case import StandbyCase
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import wait_for


class StandbyTests(StandbyCase):
    """Two workers."""

    def test_one_consumes(self) -> None:
        """One consumes; the other says standby with 200, and both take Turn's POSTs."""
        holder = self.holder()
        (waiting,) = self.waiting()
        self.assertIsNot(holder, waiting)
        status, report = self.health(waiting)
        self.assertEqual((status, report["health"], report["standby"]), (200, "ok", True))
        wait_for(lambda: self.peer.consumers(f"{self.connector}.inbound") == 1, "one consumer")
        ids = [self.http(worker).post(outbound(new_person())).message_id for worker in self.workers]
        found = [json.loads(body)["message_id"] for body in self.peer.take_all(f"{self.connector}.outbound")]
        self.assertEqual(sorted(found), sorted(ids))

    def test_one_message_for_repeats(self) -> None:
        """A POST that comes to both at once is one message."""
        body = json.dumps(outbound(new_person())).encode()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda worker: self.http(worker).post_bytes(body), self.workers * 2))
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual(len({answer.message_id for answer in answers}), 1)
        self.assertEqual(len(self.peer.take_all(f"{self.connector}.outbound")), 1)

    def test_parts_to_both(self) -> None:
        """Two messages that answer one input, each POSTed to another worker, are joined to one."""
        message = inbound(session_event="new")
        self.peer.publish_json(f"{self.connector}.inbound", message)
        self.turn.wait_for("messages", message["message_id"])
        for worker, text, waits in zip(self.workers, ("That is no number.", "How old?"), (False, True), strict=True):
            asked = outbound(message["from_addr"], text, reply_to=message["message_id"], waiting_for_user_input=waits)
            self.assertEqual(self.http(worker).post(asked).status, 200)
        sent = self.peer.take_json(f"{self.connector}.outbound")
        self.assertEqual((sent["content"], sent["session_event"]), ("That is no number.\nHow old?", "resume"))
        self.assertEqual(self.peer.take_all(f"{self.connector}.outbound"), [])

    def test_killed(self) -> None:
        """After SIGKILL another one takes over."""
        self.assert_good(self.fail_over("kill"))

    def test_stopped(self) -> None:
        """After SIGTERM another one takes over, and nothing is delivered twice."""
        result = self.fail_over("stop")
        self.assert_good(result)
        self.assertEqual(result["twice"], 0)

    def test_frozen(self) -> None:
        """One that is frozen and thaws delivers nothing more than it had in flight."""
        self.assert_good(self.fail_over("freeze"))

    def test_no_errors_at_the_broker(self) -> None:
        """Those that wait look without an error of the broker's for each look."""
        holder = self.holder()
        assert holder is not None
        lines = holder.log + "".join(worker.log for worker in self.workers)
        self.assertNotIn("Traceback", lines)


class ThreeWorkersTests(StandbyCase):
    """Three workers."""

    count = 3
    connector = "standby_three"

    def test_killed_one_after_another(self) -> None:
        """Each time exactly one takes over."""
        for _ in range(2):
            self.assert_good(self.fail_over("kill"))
            wait_for(lambda: len(self.waiting()) == 2, "two that wait")


class QuorumStandbyTests(StandbyCase):
    """On quorum queues, which ignore exclusive consumers."""

    queue_type = "quorum"
    connector = "standby_quorum"

    def test_killed(self) -> None:
        """After SIGKILL another one takes over."""
        self.assert_good(self.fail_over("kill"))

    def test_frozen(self) -> None:
        """One that is frozen and thaws delivers nothing more than it had in flight."""
        self.assert_good(self.fail_over("freeze"))
