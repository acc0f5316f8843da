"""Two real workers that share a Redis, which goes away and comes back under traffic."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SkipTest

from tests.integration.bridge_case import SECRET, BridgeCase
from tests.integration.http_peer import HttpPeer, Response, outbound
from tests.integration.redis_server import RedisServer
from tests.integration.vumi_words import event, inbound, new_id, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

try:
    import txredisapi
except ImportError:
    txredisapi = None


class RedisWorkersTests(BridgeCase):
    """Each message is consumed by one of the two, and Turn speaks to either."""

    connector = "redis"

    def setUp(self) -> None:
        if txredisapi is None:
            raise SkipTest("needs txredisapi: pip install '.[redis]'")
        super().setUp()
        if self.rig.worker.running:
            self.rig.worker.stop()
        self.redis = RedisServer("marker-redis-password")
        self.addCleanup(self.redis.stop)
        self.redis.start()
        config = {
            **self.rig.worker.config,
            "message_cache_class": "RedisMessageCache",
            "message_cache_config": {"url": self.redis.url},
            "amqp_prefetch_count": 2,  # so that both get some
        }
        config.pop("http_bind")
        self.workers = [Worker(config, self.node.port) for _ in range(2)]
        for worker in self.workers:
            self.addCleanup(worker.close)
            worker.start()
        self.turns = [HttpPeer(worker.port, SECRET) for worker in self.workers]

    def said(self, count: int) -> list[dict[str, Any]]:
        """So many people say something, and Turn has got it."""
        messages = [self.say(inbound()) for _ in range(count)]
        for message in messages:
            self.delivered(message)
        return messages

    def reply(self, worker: int, message: dict[str, Any], named: bool = False) -> Response:
        """Turn answers a message through one of the workers, and the session goes on."""
        reply_to = message["message_id"] if named else None
        return self.turns[worker].post(outbound(message["from_addr"], reply_to=reply_to, waiting_for_user_input=True))

    def link_of(self, answer: Response) -> Any:
        """What the message that came of a POST answers."""
        self.assertEqual(answer.status, 200, answer.body)
        sent = self.sent()
        self.assertEqual(sent["message_id"], answer.message_id)
        return sent["in_reply_to"]

    def recipients(self, answers: list[Response]) -> list[Any]:
        """The recipients in the statuses that acks of these messages become."""
        for answer in answers:
            self.report(event("ack", answer.message_id))
        statuses = [self.turn.wait_for("statuses", answer.message_id).json["status"] for answer in answers]
        return [status.get("recipient_id") for status in statuses]

    def cache_of(self, worker: int) -> tuple[int, str, str]:
        """``/health``'s status and word, and what it says of the cache."""
        answer = self.turns[worker].get("/health")
        return answer.status, answer.json["health"], answer.json["components"]["cache"]["health"]

    def test_shared(self) -> None:
        """Either worker links a reply, finds a recipient, and still does after it was restarted."""
        messages = self.said(8)
        for message in messages:
            for worker in (0, 1):
                self.assertEqual(self.link_of(self.reply(worker, message)), message["message_id"])
        answers = [self.reply(worker, message, named=True) for message in messages for worker in (0, 1)]
        self.assertEqual({self.link_of(answer) for answer in answers}, {m["message_id"] for m in messages})
        to = [message["from_addr"] for message in messages for _ in (0, 1)]
        self.assertEqual(self.recipients(answers), to)
        self.workers[0].stop()
        self.workers[0].start()
        for message in messages:
            self.assertEqual(self.link_of(self.reply(0, message)), message["message_id"])

    def test_killed_and_restarted(self) -> None:
        """
        While Redis is away messages flow, each worker knows what it has seen
        itself, and the rest goes unlinked, or is 503 where Turn named it. When
        it is back both know everything that was said meanwhile.
        """
        before = self.said(10)
        half = [self.say(inbound()) for _ in range(30)]
        self.redis.kill()
        while_away = half + self.said(20)
        for message in while_away:
            self.delivered(message)
        for worker in (0, 1):
            wait_for(lambda: self.cache_of(worker) == (200, "degraded", "degraded"), "degraded")  # noqa: B023
        self.away(before + while_away)
        self.redis.start()
        for worker in (0, 1):
            wait_for(lambda: self.cache_of(worker) == (200, "ok", "ok"), "health")  # noqa: B023
        for message in [*self.said(4), *while_away[-20:]]:
            for worker in (0, 1):
                self.assertEqual(self.link_of(self.reply(worker, message)), message["message_id"])
        answer = self.reply(0, {**before[0], "message_id": new_id()}, named=True)
        self.assertEqual((answer.status, answer.error["title"]), (404, "MessageNotFound"))
        counts = [self.turn.messages().count(seen) for seen in self.turn.messages()]
        self.assertEqual(set(counts), {1})
        for worker_process in self.workers:
            worker_process.stop()
            lines = [line for line in worker_process.log.splitlines() if "is away (" in line]
            self.assertEqual(len(lines), 1, lines)
            self.assertIn("Redis at 127.0.0.1", lines[0])
            self.assertNotIn("Traceback", worker_process.log)
            self.assertNotIn("marker", worker_process.log)

    def test_hung(self) -> None:
        """A Redis that hangs costs a POST less than Turn's 5 s, and holds no message up."""
        (message,) = self.said(1)
        self.redis.freeze()
        self.addCleanup(self.redis.thaw)
        answers = [self.reply(worker, message) for worker in (0, 1)]
        self.assertLess(max(answer.seconds for answer in answers), 2)
        self.assertEqual(sorted(map(str, map(self.link_of, answers))), sorted([message["message_id"], "None"]))
        self.said(5)
        self.redis.thaw()
        for worker in (0, 1):
            wait_for(lambda: self.cache_of(worker) == (200, "ok", "ok"), "health")  # noqa: B023

    def away(self, messages: list[dict[str, Any]]) -> None:
        """What each worker does with these while Redis is away."""
        linked, unlinked, answers, to = [0, 0], 0, [], []
        for message in messages:
            known = []
            for worker in (0, 1):
                named = self.reply(worker, message, named=True)
                known.append(named.status == 200)
                if named.status != 200:
                    self.assertEqual((named.status, named.error["title"]), (503, "BrokerUnavailable"))
                    self.assertIn("retry-after", named.headers)
                    self.assertLess(named.seconds, 2)
                else:
                    self.assertEqual(self.link_of(named), message["message_id"])
                answer = self.reply(worker, message)
                link = self.link_of(answer)
                self.assertEqual(link, message["message_id"] if known[-1] else None)
                linked[worker] += known[-1]
                unlinked += not known[-1]
                answers.append(answer)
                to.append(message["from_addr"])
            # The one that has consumed it.
            self.assertEqual(sorted(known), [False, True])
        self.assertGreater(min(linked), 0, "both have consumed some")
        self.assertEqual(unlinked, len(messages))
        # First those of the one worker, then the other's: RabbitMQ deals acks out in turns.
        answers, to = answers[::2] + answers[1::2], to[::2] + to[1::2]
        found = self.recipients(answers)
        for person, recipient in zip(to, found, strict=True):
            self.assertIn(recipient, (person, None))
        self.assertIn(None, found)
        self.assertNotEqual(set(found), {None})
        stranger = self.turns[0].post(outbound(new_person()))
        self.assertIsNone(self.link_of(stranger))
