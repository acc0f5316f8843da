"""The worker in bad times: each end without restarting it, nothing lost, and Turn told 503 meanwhile."""

from __future__ import annotations

from typing import Any

from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import outbound
from tests.integration.redis_server import RedisServer
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import event, inbound, new_person
from tests.integration.waiting import wait_for

#: Turn waits for 5 s, so a refusal has to come before.
TURNS_PATIENCE = 5.0


class BrokerTroubleTests(BridgeCase):
    """What happens to RabbitMQ."""

    connector = "trouble_broker"

    def unavailable(self) -> None:
        """A POST is answered 503 in time, with when to come back."""
        answer = self.http.post(outbound(new_person()))
        self.assertEqual((answer.status, answer.error["title"]), (503, "BrokerUnavailable"), answer.body)
        self.assertEqual(answer.error["code"], 503)
        self.assertRegex(answer.headers["retry-after"], "^[0-9]+$")
        self.assertLess(answer.seconds, TURNS_PATIENCE)

    def works(self) -> None:
        """Messages go both ways."""
        self.worker.wait_until_healthy()
        self.delivered(self.say(inbound()))
        answer = self.http.post(outbound(new_person()))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(self.sent()["message_id"], answer.message_id)

    def test_killed(self) -> None:
        """A broker that dies costs nothing that was confirmed; the worker finds it again by itself."""
        kept = self.http.post(outbound(new_person()))
        self.assertEqual(kept.status, 200)
        self.turn.script(TurnResponse(hang=True))
        held = self.say(inbound())
        wait_for(lambda: self.turn.requests, "Turn to hang")
        self.node.kill()
        self.unavailable()
        health = self.http.get("/health")
        self.assertEqual((health.status, health.json["health"]), (503, "down"))
        self.turn.release()
        self.node.start()
        self.delivered(held)
        self.assertEqual(self.sent()["message_id"], kept.message_id)
        self.works()
        for kind in ("inbound", "event"):
            self.assertEqual(self.peer.consumers(self.rig.queue(kind)), 1)

    def test_blocked(self) -> None:
        """A broker short of memory takes nothing; what people say is still delivered and acknowledged."""
        self.works()
        self.node.block()
        try:
            # The first one makes RabbitMQ say that it is blocked.
            self.http.post(outbound(new_person()))
            self.unavailable()
            self.assertNotEqual(self.http.get("/health").json["health"], "ok")
        finally:
            self.node.unblock()
        self.worker.wait_until_healthy()
        self.peer.take_all(self.rig.queue("outbound"))
        self.works()

    def test_queues_deleted(self) -> None:
        """Queues that somebody deletes are there again, and consumed from."""
        self.works()
        for kind in ("inbound", "event", "outbound", "turn_failures"):
            self.peer.delete(self.rig.queue(kind))
        wait_for(lambda: self.peer.consumers(self.rig.queue("inbound")), "the worker to consume again")
        wait_for(lambda: self.peer.consumers(self.rig.queue("event")), "the worker to consume again")
        self.works()
        self.turn.script(TurnResponse(400))
        message = self.say(inbound())
        self.assertEqual(self.parked()["message"], message)

    def test_connections_closed(self) -> None:
        """Connections that an operator closes are made again, with one consumer for each queue."""
        self.works()
        self.node.ctl("close_all_connections", "--vhost", "/develop", "maintenance")
        self.works()
        self.assertEqual(self.peer.consumers(self.rig.queue("inbound")), 1)


class TurnTroubleTests(BridgeCase):
    """What happens to Turn."""

    connector = "trouble_turn"
    config = {
        "mo_message_url_timeout": 0.5,
        "event_url_timeout": 0.5,
        "max_retries": 1,
        "shutdown_timeout": 1,
    }

    def test_away(self) -> None:
        """While Turn is away all is kept, and delivered in order when it is back; nothing is parked."""
        self.turn.refuse()
        person = new_person()
        said = [self.say(inbound(from_addr=person)) for _ in range(3)] + [self.say(inbound())]
        wait_for(lambda: self.http.get("/health").json["health"] == "degraded", "health to tell")
        self.assertEqual(self.http.get("/health").status, 200)
        self.assertEqual(self.rig.held("inbound"), 4)
        self.turn.listen()
        for message in said:
            self.delivered(message)
        wait_for(lambda: self.http.get("/health").json["health"] == "ok", "health to tell")
        theirs = [m["message"]["id"] for m in self.turn.messages() if m["contact"]["id"] == person]
        self.assertEqual(list(dict.fromkeys(theirs)), [m["message_id"] for m in said[:3]])
        self.assertEqual(self.peer.take_all(self.rig.queue("turn_failures")), [])

    def test_hanging(self) -> None:
        """A try that hangs, before its headers or in an error's body, ends by its timeout; the next one delivers."""
        for trouble in (TurnResponse(hang=True), TurnResponse(500, drip=True)):
            self.turn.script(trouble)
            message = self.say(inbound())
            self.delivered(message)
            self.turn.release()
            tries = [r for r in self.turn.of("messages") if r.id == message["message_id"]]
            self.assertEqual(len(tries), 2)

    def test_hanging_after_a_yes(self) -> None:
        """A 2xx whose body never ends is a yes: the message is acknowledged, and sent once."""
        self.turn.script(TurnResponse(200, drip=True))
        message = self.say(inbound())
        wait_for(lambda: self.turn.of("messages"), "Turn to get it")
        wait_for(lambda: self.rig.held("inbound") == 0, "its acknowledgement")
        self.turn.release()
        self.delivered(self.say(inbound(from_addr=message["from_addr"])))
        self.assertEqual([r.id for r in self.turn.of("messages")].count(message["message_id"]), 1)

    def test_throttled(self) -> None:
        """After a 429 nothing is sent, message or status, until Turn said that it may be."""
        for status, headers in ((429, {"Retry-After": "2"}), (200, {})):
            self.turn.script(TurnResponse(status, headers=headers))
            self.say(inbound())
            if status == 429:
                # What comes before the worker has read the answer is sent at once.
                wait_for(lambda: self.http.metric("vumi_turn_throttled_seconds") > 0, "the worker to have the 429")
                self.report(event("ack", "a" * 32))
        last = self.turn.wait_for("statuses", "a" * 32)
        first, *later = self.turn.requests
        assert first.ended is not None and last.ended is not None
        for request in later:
            self.assertGreater(request.began - first.ended, 1.9)
        self.assertEqual(self.peer.take_all(self.rig.queue("turn_failures")), [])

    def test_stopping(self) -> None:
        """A worker that is stopped while Turn hangs gives back what it has, in time, for the next worker."""
        self.turn.decide = lambda request: TurnResponse(hang=True)
        said = [self.say(inbound()) for _ in range(5)]
        wait_for(lambda: len(self.turn.requests) >= 5, "Turn to hang")
        self.worker.stop()
        wait_for(lambda: self.peer.ready(self.rig.queue("inbound")) == 5, "all to be back in the queue")
        self.turn.reset()
        self.worker.start()
        for message in said:
            self.delivered(message)

    def test_killed(self) -> None:
        """What a killed worker had in hand goes to the next one, with the same ids."""
        self.turn.decide = lambda request: TurnResponse(hang=True)
        said = [self.say(inbound()) for _ in range(5)]
        wait_for(lambda: len(self.turn.requests) >= 5, "Turn to hang")
        self.worker.kill()
        self.turn.reset()
        self.worker.start()
        for message in said:
            self.delivered(message)


class RedisTests(BridgeCase):
    """A worker whose memory of messages is Redis: it outlives the worker."""

    connector = "trouble_redis"
    redis: RedisServer

    def setUp(self) -> None:
        self.redis = RedisServer()
        self.redis.start()
        self.addCleanup(self.redis.stop)
        self.config = {
            "message_cache_class": "RedisMessageCache",
            "message_cache_config": {"url": self.redis.url, "key_prefix": "integration"},
        }
        super().setUp()

    def replies(self, said: dict[str, Any]) -> Any:
        """What goes out for an answer to a person."""
        answer = self.http.post(outbound(said["from_addr"], waiting_for_user_input=True))
        self.assertEqual(answer.status, 200, answer.body)
        return self.sent()

    def test_after_a_restart(self) -> None:
        """
        A reply and a status are linked by a worker that has never seen the
        message; with Redis away an answer goes unlinked, and one by id is told
        to come later.
        """
        said = self.say(inbound())
        self.delivered(said)
        ours = self.replies(said)
        self.assertEqual(ours["in_reply_to"], said["message_id"])
        self.worker.stop()
        self.worker.start()
        again = self.replies(said)
        self.assertEqual(again["in_reply_to"], said["message_id"])
        for message in (ours, again):
            self.report(event("ack", message["message_id"]))
            status = self.turn.wait_for("statuses", message["message_id"]).json["status"]
            self.assertEqual(status["recipient_id"], said["from_addr"])
        self.redis.kill()
        self.assertIsNone(self.replies(said)["in_reply_to"])
        by_id = self.http.post(outbound(said["from_addr"], reply_to=said["message_id"]))
        self.assertEqual((by_id.status, by_id.error["title"]), (503, "BrokerUnavailable"))
        self.delivered(self.say(inbound()))
        health = self.http.get("/health")
        self.assertEqual((health.status, health.json["health"]), (200, "degraded"))
        self.assertNotIn("Traceback", self.worker.log)
