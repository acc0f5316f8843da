"""Two real workers that share a Redis, which goes away and comes back under traffic."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

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


class RedisWorkersCase(BridgeCase):
    """Each message is consumed by one of the two, and Turn speaks to either."""

    connector = "redis"
    config: dict[str, Any] = {}

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
            "join_window": 0,  # each answer is published by itself, at once
            "amqp_prefetch_count": 2,  # so that both get some
        }
        config.pop("http_bind")
        self.workers = [Worker(config, self.node.port) for _ in range(2)]
        for worker in self.workers:
            self.addCleanup(worker.close)
            worker.start()
        self.turns = [HttpPeer(worker.port, SECRET) for worker in self.workers]

    def cache_of(self, worker: int) -> tuple[int, str, str]:
        """``/health``'s status and word, and what it says of the cache."""
        answer = self.turns[worker].get("/health")
        return answer.status, answer.json["health"], answer.json["components"]["cache"]["health"]


class RedisWorkersTests(RedisWorkersCase):
    """What both know, and what becomes of it while Redis is away."""

    # The tests repeat their POSTs.
    config = {"repeat_window": 0}

    def said(self, count: int) -> list[dict[str, Any]]:
        """So many people say something, and Turn has got it."""
        messages = [self.say(inbound()) for _ in range(count)]
        for message in messages:
            self.delivered(message)
        return messages

    def reply(self, worker: int, message: dict[str, Any], named: bool = False) -> Response:
        """Turn answers a message through one of the workers, each time with another text; the session goes on."""
        reply_to = message["message_id"] if named else None
        return self.turns[worker].post(
            outbound(message["from_addr"], new_id(), reply_to=reply_to, waiting_for_user_input=True)
        )

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
        While Redis is away messages flow; what a worker has seen itself is
        answered where Turn names it, and everything else is 503, so that Turn
        asks again. When it is back both know all that was said meanwhile.
        """
        before = self.said(4)
        # Each waits 5 s for Redis, and four do so at a time; what is looked at then is so for 30 s.
        half = [self.say(inbound()) for _ in range(6)]
        self.redis.kill()
        while_away = half + [self.say(inbound()) for _ in range(4)]
        for message in while_away:
            self.delivered(message)
        for worker in (0, 1):
            wait_for(lambda: self.cache_of(worker) == (200, "degraded", "degraded"), "degraded")  # noqa: B023
        self.away(before + while_away)
        self.redis.start()
        self.both_ok()
        for message in [*self.said(4), *before, *while_away]:
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

    def test_restarted(self) -> None:
        """A Redis that is killed and started again at once, empty."""
        self.no_older_session(self.redis.kill, self.redis.start, seconds=0)

    def test_away_for_a_while(self) -> None:
        """A Redis that is away for 8 s."""
        self.no_older_session(self.redis.kill, self.redis.start)

    def test_paused(self) -> None:
        """A Redis that hangs for 8 s costs a POST less than Turn's 5 s."""
        self.addCleanup(self.redis.thaw)
        self.no_older_session(self.redis.freeze, self.redis.thaw)

    def test_out_of_memory(self) -> None:
        """A Redis without memory for more, which can still be read."""
        self.no_older_session(
            lambda: self.redis.ask("CONFIG", "SET", "maxmemory", "1"),
            lambda: self.redis.ask("CONFIG", "SET", "maxmemory", "0"),
        )

    def test_read_only(self) -> None:
        """A Redis that has become a replica of another one, which is away."""
        self.no_older_session(
            lambda: self.redis.ask("REPLICAOF", "127.0.0.1", "1"),
            lambda: self.redis.ask("REPLICAOF", "NO", "ONE"),
        )

    def test_password_changed(self) -> None:
        """A Redis that has another password, and the old one again."""

        def change() -> None:
            self.redis.ask("CONFIG", "SET", "requirepass", "other")
            self.redis.password = "other"
            self.redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        def restore() -> None:
            self.redis.ask("CONFIG", "SET", "requirepass", "marker-redis-password")
            self.redis.password = "marker-redis-password"

        self.no_older_session(change, restore)

    def test_alone(self) -> None:
        """A worker that was alone answers from its memory while Redis is away."""
        self.workers[1].stop()
        wait_for(lambda: self.redis.ask("SCARD", "vumi_turn:redis:workers") == "1", "the worker to have left")
        time.sleep(3.5)  # until the other one's heartbeat has seen it
        messages = self.said(3)
        self.redis.kill()
        for message in messages:
            for named in (True, False):
                self.assertEqual(self.link_of(self.reply(0, message, named)), message["message_id"])

    def test_strange_keys(self) -> None:
        """Keys of another type under our prefix are replaced; nobody else's message is affected."""
        message = inbound()
        other = self.said(1)[0]
        for key in (f"person:{message['from_addr'][1:]}", f"in:{message['message_id']}"):
            self.redis.ask("RPUSH", f"vumi_turn:redis:{key}", "strange")
        self.say(message)
        self.delivered(message)
        for worker in (0, 1):
            for said in (message, other):
                self.assertEqual(self.link_of(self.reply(worker, said)), said["message_id"])
            self.assertEqual(self.cache_of(worker), (200, "ok", "ok"))

    def both_ok(self) -> None:
        """Wait until both workers' caches are well."""
        for worker in (0, 1):
            wait_for(lambda: self.cache_of(worker) == (200, "ok", "ok"), "health", 30)  # noqa: B023

    def no_older_session(self, begin: Callable[[], Any], end: Callable[[], Any], seconds: float = 8) -> None:
        """
        Each of some people has a session that one worker knows. While
        something is wrong with Redis each begins another one. A POST that
        names nobody's message is linked to the latest that Turn knows, or it
        is 503; within seconds of the end it is linked.
        """
        people = [new_person() for _ in range(4)]
        for person in people:
            self.delivered(self.say(inbound(from_addr=person, transport_metadata={"session_id": "s1"})))
        begin()
        started = time.monotonic()
        latest = {}
        for person in people:
            message = inbound(from_addr=person, session_event="new", transport_metadata={"session_id": "s2"})
            latest[person] = self.say(message)
        for message in latest.values():  # each may wait 5 s for what the cache knows of its person's menu
            self.delivered(message)
        linked = refused = 0
        for person in people * 2:
            for worker in (0, 1):
                answer = self.reply(worker, latest[person])
                if time.monotonic() > started + 25:  # on a slow machine: after 30 s they go unlinked
                    break
                self.assertLess(answer.seconds, 2)
                if answer.status == 503:
                    self.assertIn("retry-after", answer.headers)
                    refused += 1
                else:
                    self.assertEqual(self.link_of(answer), latest[person]["message_id"])
                    linked += 1
        self.assertGreater(linked + refused, 0, "the machine is too slow for this test")
        if seconds:
            self.assertEqual(linked, 0)
        time.sleep(max(0.0, started + seconds - time.monotonic()))
        end()
        ended = time.monotonic()
        for person in people:
            for worker in (0, 1):
                answer = self.reply(worker, latest[person])
                while answer.status == 503 and time.monotonic() < ended + 25:
                    time.sleep(0.2)
                    answer = self.reply(worker, latest[person])
                self.assertEqual(self.link_of(answer), latest[person]["message_id"])
        self.both_ok()

    def away(self, messages: list[dict[str, Any]]) -> None:
        """What each worker does with these in the first seconds in which Redis is away."""
        answers, to = [], []
        linked = [0, 0]
        for message in messages:
            known = []
            for worker in (0, 1):
                named = self.reply(worker, message, named=True)
                known.append(named.status == 200)
                if named.status == 200:
                    self.assertEqual(self.link_of(named), message["message_id"])
                    answers.append(named)
                    to.append(message["from_addr"])
                    linked[worker] += 1
                for answer in [self.reply(worker, message), *([] if known[-1] else [named])]:
                    self.assertEqual((answer.status, answer.error["title"]), (503, "BrokerUnavailable"))
                    self.assertIn("retry-after", answer.headers)
                    self.assertLess(answer.seconds, 2)
            # The one that has consumed it.
            self.assertEqual(sorted(known), [False, True])
        self.assertGreater(min(linked), 0, "both have consumed some")
        for person, recipient in zip(to, self.recipients(answers), strict=True):
            self.assertIn(recipient, (person, None))
        self.assertEqual(self.turns[0].post(outbound(new_person())).status, 503)


class RedisRepeatsTests(RedisWorkersCase):
    """Requests of Turn's that come twice, to either."""

    connector = "redis_repeats"
    # A worker may take longer than 5 s to start again on a busy machine.
    config = {"repeat_window": 60}

    def body(self) -> bytes:
        """A body that no other test has."""
        return json.dumps(outbound(new_person())).encode()

    def post(self, worker: int, body: bytes) -> str:
        """A POST that is answered 200, repeated as long as it is 503; the message's id."""
        answer = self.turns[worker].post_bytes(body)
        while answer.status == 503:
            time.sleep(0.2)
            answer = self.turns[worker].post_bytes(body)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.message_id

    def queued(self) -> list[str]:
        """The ids of all messages in the queue, taken out."""
        return [json.loads(body)["message_id"] for body in self.peer.take_all(self.rig.queue("outbound"))]

    def test_to_the_other(self) -> None:
        """A repeat that reaches the other worker has the same id, and is published once."""
        bodies = [self.body() for _ in range(20)]
        first = [self.post(0, body) for body in bodies]
        self.assertEqual([self.post(1, body) for body in bodies], first)
        self.assertEqual(self.queued(), first)

    def test_at_once(self) -> None:
        """Eight deliveries of a request at once, to both, are one message."""
        for _ in range(5):
            body = self.body()
            with ThreadPoolExecutor(8) as pool:
                ids = set(pool.map(lambda worker: self.post(worker, body), (0, 1) * 4))  # noqa: B023
            self.assertEqual(self.queued(), list(ids))

    def test_asked_again(self) -> None:
        """It is another message where the person's answer was consumed since, by whichever worker."""
        person = new_person()
        body = json.dumps(outbound(person)).encode()
        ids = []
        for n in range(6):
            ids.append(self.post(n % 2, body))
            self.delivered(self.say(inbound(from_addr=person)))
        self.assertEqual(self.queued(), ids)
        self.assertEqual(len(set(ids)), 6)

    def test_after_a_restart(self) -> None:
        """A worker that was killed right after a 200 and has started again knows the message by its id."""
        for seconds in (0.0, 0.2):
            body = self.body()
            first = self.post(0, body)
            time.sleep(seconds)
            self.workers[0].kill()
            self.workers[0].start()
            self.assertEqual(self.post(0, body), first)
            queued = self.queued()
            self.assertEqual(set(queued), {first})
            if seconds:  # else Redis may not know of the 200, and the same message is published again
                self.assertEqual(len(queued), 1)

    def test_killed_while_publishing(self) -> None:
        """What a worker was publishing when it was killed is published under the same id by the other one."""
        bodies = [self.body() for _ in range(10)]
        self.node.pause()
        try:
            with ThreadPoolExecutor(10) as pool:
                answers = list(pool.map(self.turns[0].post_bytes, bodies))
            self.assertEqual({answer.status for answer in answers}, {503})
            self.workers[0].kill()
        finally:
            self.node.resume()
        ids = [self.post(1, body) for body in bodies]
        queued = self.queued()
        self.assertEqual(set(queued), set(ids))
        self.assertLessEqual(len(queued), 2 * len(ids))
        self.workers[0].start()

    def test_redis_away(self) -> None:
        """A Redis that is away refuses nothing, and one worker alone still knows its own."""
        self.workers[1].stop()
        self.redis.kill()
        body = self.body()
        first = self.post(0, body)
        self.assertEqual(self.post(0, body), first)
        self.assertEqual(self.queued(), [first])
