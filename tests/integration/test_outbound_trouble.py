"""
What Turn POSTs while RabbitMQ has its troubles: 503 in time, never a 200 for
what no queue holds, and one message for all repeats of a body.
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import Response, outbound
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import wait_for

PUBLISH_TIMEOUT = 1.5

REPEAT_WINDOW = 2.0

#: What a busy machine may add to it, in seconds.
SLACK = 1.5


class OutboundTroubleTests(BridgeCase):
    connector = "outbound_trouble"
    config = {"publish_timeout": PUBLISH_TIMEOUT, "repeat_window": REPEAT_WINDOW}

    # What the tests look at

    def body(self) -> bytes:
        """A body that no other test has."""
        return json.dumps(outbound(new_person())).encode()

    def accepted(self, body: bytes) -> str:
        """A POST that is answered 200; the message's id."""
        answer = self.http.post_bytes(body)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.message_id

    def busy(self, body: bytes) -> Response:
        """A POST that is answered 503 in time, with when to come back."""
        answer = self.http.post_bytes(body)
        self.assertEqual((answer.status, answer.error["title"]), (503, "BrokerUnavailable"), answer.body)
        self.assertGreater(int(answer.headers["retry-after"]), 0)
        self.assertLess(answer.seconds, PUBLISH_TIMEOUT + SLACK)
        return answer

    def until_accepted(self, body: bytes) -> str:
        """POST as Turn repeats, until it is answered 200; the message's id."""
        answers: list[Response] = []

        def post() -> bool:
            answers.append(self.http.post_bytes(body))
            self.assertIn(answers[-1].status, (200, 503), answers[-1].body)
            return answers[-1].status == 200

        wait_for(post, "a 200", 60)
        return answers[-1].message_id

    def queued(self) -> list[str]:
        """The ids of all messages in the queue, taken out."""
        return [json.loads(body)["message_id"] for body in self.peer.take_all(self.rig.queue("outbound"))]

    def wait_for_metric(self, name: str, value: float) -> None:
        """Wait until a counter has reached a value."""
        wait_for(lambda: self.http.metric(name) >= value, f"{name} to be {value:g}")

    # The tests

    def test_nacked(self) -> None:
        """What RabbitMQ refuses is 503 at once; its repeat is published, once, when there is room."""
        queue = self.rig.queue("outbound")
        limit = {"max-length": 1, "overflow": "reject-publish"}
        self.accepted(self.body())
        self.node.ctl("set_policy", "-p", "/develop", "--apply-to", "queues", "full", f"^{queue}$", json.dumps(limit))
        try:
            body = self.body()
            wait_for(lambda: self.http.post_bytes(self.body()).status == 503, "the policy to hold")
            for _ in range(3):
                self.assertLess(self.busy(body).seconds, PUBLISH_TIMEOUT)
            self.queued()
            kept = self.accepted(body)
        finally:
            self.node.ctl("clear_policy", "-p", "/develop", "full")
        self.assertEqual(self.queued(), [kept])

    def test_hanging(self) -> None:
        """
        A broker that hangs and goes on: repeats are 503 in time, and all of
        them, and those whose client has gone, are one message.
        """
        repeated, left, forgotten = self.body(), self.body(), self.body()
        self.node.pause()
        try:
            self.http.post_and_leave(left)
            self.http.post_and_leave(forgotten)
            for _ in range(3):
                self.busy(repeated)
            self.http.post_and_leave(left)
            health = self.http.get("/health")
            self.assertEqual(health.status, 200)  # nobody can tell yet that it hangs
        finally:
            self.node.resume()
        ids = [self.until_accepted(body) for body in (repeated, left)]
        queued = self.queued()
        self.assertEqual(len(queued), 3, "one of each, the one that nobody asked for again too")
        self.assertEqual(set(ids) - set(queued), set())

    def test_after_a_200(self) -> None:
        """The same body shortly after its 200 is the same message; later it is another one."""
        body = self.body()
        first = self.accepted(body)
        self.assertEqual(self.accepted(body), first)
        time.sleep(REPEAT_WINDOW + 0.1)
        second = self.accepted(body)
        self.assertEqual(self.queued(), [first, second])
        self.assertNotEqual(first, second)

    def test_asked_again(self) -> None:
        """Shortly after its 200 the same body is another message where its person has answered the first."""
        person = new_person()
        body = json.dumps(outbound(person, waiting_for_user_input=True)).encode()
        first = self.accepted(body)
        self.delivered(self.say(inbound(from_addr=person)))
        second = self.accepted(body)
        self.assertEqual(self.queued(), [first, second])

    def test_eight_at_once(self) -> None:
        """Eight deliveries of one request at once are one message."""
        body = self.body()
        with ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(self.accepted, [body] * 8))
        self.assertEqual(self.queued(), list(ids))

    def test_reset_with_the_200_unread(self) -> None:
        """Clients that reset the connection before they read their 200: what they send again is one message."""
        bodies = [self.body() for _ in range(20)]
        for _ in range(3):
            for body in bodies:
                self.http.post_and_reset(body)
        time.sleep(REPEAT_WINDOW + 0.1)
        ids = [self.accepted(body) for body in bodies]
        self.assertEqual(sorted(self.queued()), sorted(ids))

    def test_segments_of_a_client_that_has_gone(self) -> None:
        """Requests whose last bytes come after their repeats were answered, from clients that have gone, do nothing."""
        bodies = [self.body() for _ in range(20)]
        late = [self.http.post_all_but_the_end(body) for body in bodies]
        ids = [self.accepted(body) for body in bodies]
        time.sleep(REPEAT_WINDOW + 0.1)
        for finish in late:
            finish()
        wait_for(lambda: self.http.metric('vumi_turn_outbound_total{answer="BrokerUnavailable"}') >= 20, "them")
        self.assertEqual(sorted(self.queued()), sorted(ids))

    def test_half_closed(self) -> None:
        """A client that closes its side after its request gets its answer."""
        self.assertIn(b"HTTP/1.1 200 ", self.http.post_and_half_close(self.body()))
        self.assertEqual(len(self.queued()), 1)

    def test_blocked(self) -> None:
        """While RabbitMQ is short of memory repeats are 503 in time; afterwards they are one message."""
        body, other = self.body(), self.body()
        self.node.block()
        try:
            self.busy(body)  # makes RabbitMQ say that it is blocked
            wait_for(lambda: self.http.get("/health").json["health"] != "ok", "the worker to know")
            self.busy(body)
            self.assertLess(self.busy(other).seconds, PUBLISH_TIMEOUT / 2)
        finally:
            self.node.unblock()
        ids = [self.until_accepted(body), self.until_accepted(other)]
        self.assertEqual(sorted(self.queued()), sorted(ids))

    def test_not_bound(self) -> None:
        """A queue that has lost its binding gets it back, and the message, before Turn hears 200."""
        queue = self.rig.queue("outbound")
        self.peer.channel.queue_unbind(queue, "vumi", queue)
        kept = self.accepted(self.body())
        self.assertEqual(self.queued(), [kept])

    def test_exchange_deleted(self) -> None:
        """With the exchange gone a POST is 503 and its repeat is published once; people's messages come again."""
        self.peer.channel.exchange_delete("vumi")
        body = self.body()
        self.busy(body)
        kept = self.until_accepted(body)
        self.assertEqual(self.queued(), [kept])
        self.worker.wait_until_healthy()
        self.delivered(self.say(inbound()))

    def test_killed_under_load(self) -> None:
        """SIGKILL amid POSTs: each id that Turn was told is in the queue, only what was in flight twice."""
        told: dict[str, list[Response]] = {}
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                body = self.body()
                answers = told.setdefault(body.decode(), [])
                while not answers or answers[-1].status != 200:
                    answers.append(self.http.post_bytes(body))
                    if answers[-1].status != 200:
                        stop.wait(0.2)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: len(told) > 200, "some load")
            self.node.kill()
            self.node.start()
            before = len(told)
            wait_for(lambda: len(told) > before + 100, "more of it", 60)
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        answers = [each for each in told.values() if each]
        self.assertTrue(all({r.status for r in each} <= {200, 503} for each in answers))
        ids = {each[-1].message_id for each in answers}
        queued = self.queued()
        self.assertEqual(ids - set(queued), set(), "told to Turn, and in no queue")
        twice = {name for name in queued if queued.count(name) > 1}
        repeated = {each[-1].message_id for each in answers if len(each) > 1}
        self.assertEqual(twice - repeated, set())
        self.assertLessEqual(len(queued) - len(set(queued)), len(threads))

    def test_too_many_unconfirmed(self) -> None:
        """No more than 1,000 wait for the broker; the next one is 503 at once, and nothing is lost of them."""
        answered = 'vumi_turn_outbound_total{answer="BrokerUnavailable"}'
        before = self.http.metric(answered)
        bodies = [self.body() for _ in range(1000)]
        one_more = self.body()
        self.node.pause()
        try:
            for start in range(0, 1000, 250):  # that many connections are open until publish_timeout
                for body in bodies[start : start + 250]:
                    self.http.post_and_leave(body)
                self.wait_for_metric(answered, before + start + 250)
            self.assertLess(self.busy(one_more).seconds, PUBLISH_TIMEOUT / 2)
        finally:
            self.node.resume()
        wait_for(lambda: self.peer.ready(self.rig.queue("outbound")) == 1000, "what was pending")
        ids = [self.accepted(body) for body in [*bodies, one_more]]
        self.assertEqual(self.queued(), ids)


class BurstTests(BridgeCase):
    """More clients at once than there may be connections."""

    connector = "burst"
    # A busy machine sees a repeat seconds after it was sent, and a client that leaves may have its 200 half read.
    config = {"repeat_window": 5.0}

    def test_burst(self) -> None:
        """900 clients at once, who go away after 5 s as Turn does and come again: 900 messages."""
        bodies = [json.dumps(outbound(new_person())).encode() for _ in range(900)]
        ids = self.http.burst(bodies, patience=5.0)
        self.assertEqual(len(set(ids)), 900)
        queued = [json.loads(body)["message_id"] for body in self.peer.take_all(self.rig.queue("outbound"))]
        self.assertEqual(sorted(queued), sorted(ids))
