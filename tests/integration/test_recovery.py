"""A RabbitMQ that is not there, not ours yet, cut off, frozen or strict: the worker mends it without a restart."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.link import RobustConnection
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import event, inbound, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

#: How often the link is cut in the test that looks for leaks.
CUTS = int(os.environ.get("VUMI_TURN_CUTS", "60"))


class RecoveryTests(BridgeCase):
    connector = "recovery"
    config = {"publish_timeout": 1.5, "mo_message_url_timeout": 30}

    # What the tests look at

    def unavailable(self, worker: Worker) -> None:
        """HTTP listens, and says that it is down."""

        def look() -> bool:
            return worker.health() == 503

        wait_for(look, "the worker to listen, and to be down", 60)
        refused = HttpPeer(worker.port, self.http.secret).post(outbound(new_person()))
        self.assertEqual((refused.status, refused.error["title"]), (503, "BrokerUnavailable"))
        self.assertLess(refused.seconds, 3)

    def one_consumer_each(self) -> None:
        for kind in ("inbound", "event"):
            self.assertEqual(self.peer.consumers(self.rig.queue(kind)), 1, kind)

    def errors(self, worker: Worker) -> list[str]:
        """The log's lines of errors."""
        return [line for line in worker.log.splitlines() if "#error]" in line or "#critical]" in line]

    # The tests

    def test_not_up_yet(self) -> None:
        """A worker that is started before RabbitMQ listens, says 503, and works when RabbitMQ is there."""
        self.node.stop()
        try:
            with self.started({}) as worker:
                self.unavailable(worker)
                self.node.start()
                worker.wait_until_healthy()
                self.carries(worker)
                self.one_consumer_each()
                self.assertEqual(len(self.errors(worker)), 1, worker.log)
        finally:
            if not self.node.running:
                self.node.start()

    def test_wrong_password(self) -> None:
        """A wrong password is one line that says so and does not show it; once it is right all works."""
        user = f"u{uuid.uuid4().hex[:8]}"
        self.node.ctl("add_user", user, "another")
        self.node.ctl("set_permissions", "-p", "/develop", user, ".*", ".*", ".*")
        try:
            with self.started({}, "--username", user, "--password", "marker-mistaken") as worker:
                self.unavailable(worker)
                wait_for(lambda: self.errors(worker), "a line")
                self.node.ctl("change_password", user, "marker-mistaken")
                worker.wait_until_healthy()
                self.carries(worker)
                self.one_consumer_each()
                (line,) = self.errors(worker)
                self.assertIn(f"user name or password of user '{user}'", line)
                self.assertNotIn("marker-mistaken", worker.log)
        finally:
            self.node.ctl("delete_user", user)

    def test_frozen(self) -> None:
        """
        A link on which nothing moves any more, without a word: POSTs are 503
        in time, the heartbeat finds out, and what was in hand comes again.
        """
        with self.link() as link:
            with self.running({}, "--port", str(link.port), "--heartbeat", "1") as worker:
                http = HttpPeer(worker.port, self.http.secret)
                self.carries(worker)
                self.turn.script(TurnResponse(delay=1.0))
                said = self.say(inbound())
                wait_for(lambda: self.turn.of("messages")[-1].id == said["message_id"], "Turn to have it")
                link.freeze()
                body = outbound(new_person())
                frozen = http.post(body)
                self.assertEqual(frozen.status, 503)
                self.assertLess(frozen.seconds, 3)
                wait_for(lambda: worker.health() == 503, "the heartbeat to find out")
                link.cut()
                link.thaw()
                worker.wait_until_healthy()
                wait_for(lambda: self.rig.held("inbound") == 0, "the message to be acknowledged")
                sent = Counter(request.id for request in self.turn.of("messages"))
                self.assertEqual(sent[said["message_id"]], 1, "Turn had accepted it")
                again = http.post(body)
                self.assertEqual(again.status, 200, again.body)
                self.assertEqual(self.sent()["message_id"], again.message_id)
                self.carries(worker)
                self.one_consumer_each()

    def test_acknowledged_too_late(self) -> None:
        """
        RabbitMQ closes a channel that holds a message for too long. The copy
        that then comes waits for the POST that is running, and is acknowledged
        with it.
        """
        self.node.ctl("eval", "application:set_env(rabbit, consumer_timeout, 2000).")
        self.node.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 1000).")
        try:
            with self.running({}) as worker:
                self.turn.script(TurnResponse(delay=8.0))
                said = self.say(inbound())
                wait_for(lambda: "PRECONDITION_FAILED" in worker.log, "RabbitMQ to lose patience")
                request = self.turn.wait_for("messages", said["message_id"])
                wait_for(lambda: self.rig.held("inbound") == 0, "the copy to be acknowledged")
                self.assertEqual([each.id for each in self.turn.of("messages")], [request.id])
                self.assertNotIn("Lost the connection", worker.log)
                self.carries(worker)
                self.one_consumer_each()
        finally:
            self.node.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000).")
            self.node.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 60000).")

    def test_killed_before_parking(self) -> None:
        """What Turn refuses while there is no broker to park it is parked when there is one again."""
        self.turn.decide = lambda request: TurnResponse(400, delay=1.5)
        said = [self.say(inbound()) for _ in range(5)]
        wait_for(lambda: len(self.turn.of("messages")) == 5, "Turn to have them")
        self.node.kill()
        wait_for(lambda: all(request.ended for request in self.turn.of("messages")), "Turn to refuse them")
        self.turn.decide = lambda request: TurnResponse(400)
        self.node.start()
        self.worker.wait_until_healthy()
        wait_for(lambda: self.rig.held("inbound") == 0, "the originals to be acknowledged")
        bodies = self.peer.take_all(self.rig.queue("turn_failures"))
        parked = {json.loads(body)["message"]["message_id"] for body in bodies}
        self.assertEqual(parked, {message["message_id"] for message in said})
        self.assertEqual(self.turn_of_parked(bodies), {"inbound"})
        self.assertFalse(self.peer.exists(self.rig.queue("failures")), "that is the transports' own")

    def turn_of_parked(self, bodies: list[bytes]) -> set[str]:
        """The queues that parked messages say they came from."""
        return {json.loads(body)["helper_metadata"]["turn"]["queue"] for body in bodies}

    def test_many_cuts(self) -> None:
        """
        The link is cut again and again under traffic both ways: nothing is
        lost, one consumer is left for each queue, and no file and no message
        in the worker that was not there before.
        """
        with self.link() as link:
            with self.running({}, "--port", str(link.port)) as worker:
                http = HttpPeer(worker.port, self.http.secret)
                self.carries(worker)
                self.cut(worker, link, 5)
                files = self.files(worker)
                said, told = self.cut(worker, link, CUTS)
                for message in said:
                    self.delivered(message)
                queued = [body.decode() for body in self.peer.take_all(self.rig.queue("outbound"))]
                self.assertEqual([name for name in told if not any(name in body for body in queued)], [])
                for name in told:
                    self.report(event("ack", name))
                for name in told:
                    self.turn.wait_for("statuses", name)
                wait_for(lambda: self.rig.held("event") + self.rig.held("inbound") == 0, "all to be acknowledged")
                self.assertEqual(http.metric("vumi_turn_waiting"), 0)
                self.assertEqual(link.connections, 2)
                self.one_consumer_each()
                self.assertEqual(http.get("/health").json["components"]["amqp"]["reconnects"], 2 * (CUTS + 5))
                wait_for(lambda: self.files(worker) <= files, f"no more than {files} files")
                ids = Counter(request.id for request in self.turn.of("messages"))
                print(
                    f"\n{CUTS} cuts: {len(said)} said, {len(told)} told, "
                    f"{sum(ids.values()) - len(ids)} sent twice, {files} files before and after",
                    flush=True,
                )

    # What they do

    @contextmanager
    def link(self) -> Iterator[RobustConnection]:
        """A link, closed in the end."""
        link = RobustConnection(self.node.port)
        try:
            yield link
        finally:
            link.close()

    def cut(self, worker: Worker, link: RobustConnection, times: int) -> tuple[list[dict[str, Any]], list[str]]:
        """Cut a link so many times, with something under way both ways each time; what was said, and told to Turn."""
        http = HttpPeer(worker.port, self.http.secret)
        said: list[dict[str, Any]] = []
        told: list[str] = []
        for _ in range(times):
            wait_for(lambda: worker.health() == 200, "the worker to be connected")
            said.append(self.say(inbound()))
            answer = http.post(outbound(new_person()))
            if answer.status == 200:
                told.append(answer.message_id)
            lost = http.metric("vumi_turn_amqp_reconnects_total")
            link.cut()
            wait_for(
                lambda lost=lost: http.metric("vumi_turn_amqp_reconnects_total") == lost + 2,  # type: ignore[misc]
                "the worker to notice",
            )
        wait_for(lambda: worker.health() == 200, "the worker to be connected")
        return said, told

    def files(self, worker: Worker) -> int:
        """How many files and sockets the worker has open; the idle ones to Turn are closed first."""
        self.turn.cut()
        return len(list(Path(f"/proc/{worker.pid}/fd").iterdir()))
