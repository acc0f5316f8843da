"""Several workers that stand by for each other, under load, and what became of every message."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.rabbitmq import VHOST, shared_rabbitmq
from tests.integration.redis_server import RedisServer
from tests.integration.turn_server import Request, TurnResponse, TurnServer
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

TOKEN, SECRET = "marker-auth-token", "marker-hmac-secret"

#: Seconds within which another worker has to take over.
TAKEN_OVER = 10.0


class Load:
    """
    People who go on talking, each message numbered by its person.

    :param port: the broker's.
    :param vhost: where.
    :param queue: the inbound queue.
    """

    def __init__(self, port: int, vhost: str, queue: str, people: int = 10, pause: float = 0.02) -> None:
        self.said: dict[str, list[str]] = {new_person(): [] for _ in range(people)}
        self._peer = AmqpPeer(port, vhost)
        self._queue = queue
        self._pause = pause
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        while not self._ended.is_set():
            for person, ids in self.said.items():
                message = inbound(from_addr=person)
                self._peer.publish_json(self._queue, message)
                ids.append(message["message_id"])
                self._ended.wait(self._pause)

    def end(self) -> dict[str, list[str]]:
        """Stop talking; what each person has said."""
        self._ended.set()
        self._thread.join(30)
        self._peer.close()
        return self.said


class StandbyCase(SynchronousTestCase):
    """
    :cvar count: how many workers there are.
    :cvar queue_type: of the virtual host's queues.
    """

    count = 2
    queue_type = "classic"
    connector = "standby"

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.vhost = VHOST
        if self.queue_type != "classic":
            self.vhost = f"/standby_{self.queue_type}"
            self.node.ctl("add_vhost", self.vhost, "--default-queue-type", self.queue_type)
            self.addCleanup(self.node.ctl, "delete_vhost", self.vhost)
            self.node.ctl("set_permissions", "-p", self.vhost, "vumi", ".*", ".*", ".*")
        self.peer = AmqpPeer(self.node.port, self.vhost)
        self.addCleanup(self.peer.close)
        self.redis = RedisServer()
        self.addCleanup(self.redis.stop)
        self.redis.start()
        self.turn = TurnServer(TOKEN)
        self.addCleanup(self.turn.close)
        self.turn.decide = self.decide
        self.workers = [self.worker() for _ in range(self.count)]
        for worker in self.workers:
            worker.start()
        self.addCleanup(self.remove_queues)
        wait_for(self.holder, "one of them to consume")

    def decide(self, request: Request) -> TurnResponse:
        """Turn takes a moment, so that there is always something in flight."""
        return TurnResponse(delay=0.05)

    def worker(self) -> Worker:
        """One more worker, not started."""
        config = {
            "connector_name": self.connector,
            "turn_api_url": self.turn.url,
            "auth_token": TOKEN,
            "turn_hmac_secret": SECRET,
            "default_from_addr": "8864",
            "standby": True,
            "message_cache_class": "RedisMessageCache",
            "message_cache_config": {"url": self.redis.url},
        }
        worker = Worker(config, self.node.port, ("--vhost", self.vhost))
        self.addCleanup(worker.close)
        return worker

    def remove_queues(self) -> None:
        """Leave nothing on the broker."""
        for worker in self.workers:
            worker.close()
        for kind in ("inbound", "event", "outbound", "turn_failures", "turn_joining"):
            self.peer.delete(f"{self.connector}.{kind}")

    # -- who is what -------------------------------------------------------------

    def http(self, worker: Worker) -> HttpPeer:
        """What speaks to one of them."""
        return HttpPeer(worker.port, SECRET)

    def health(self, worker: Worker) -> tuple[int, dict[str, Any]]:
        """What it says of itself."""
        answer = self.http(worker).get("/health")
        return answer.status, answer.json

    def holder(self) -> Optional[Worker]:
        """The worker that consumes; None where there is none or more than one."""
        found = []
        for worker in self.workers:
            if worker.running:
                try:
                    if not self.health(worker)[1]["standby"]:
                        found.append(worker)
                except (OSError, ValueError):
                    pass
        return found[0] if len(found) == 1 else None

    def waiting(self) -> list[Worker]:
        """Those that stand by."""
        return [worker for worker in self.workers if worker.running and self.health(worker)[1]["standby"]]

    # -- a fail-over ---------------------------------------------------------------

    def fail_over(self, how: str, load: float = 2.0) -> dict[str, Any]:
        """
        End the holder under load, and look at all that was said.

        :param how: ``kill``, ``freeze`` or ``stop``.
        :return: the gap in seconds, and how many messages came more than once.
        """
        holder = wait_for(self.holder, "a holder")
        assert holder is not None
        before = len(self.turn.of("messages"))
        people = Load(self.node.port, self.vhost, f"{self.connector}.inbound")
        wait_for(lambda: len(self.turn.of("messages")) > before + 20, "the load")
        began = time.monotonic()
        in_flight = {"kill": holder.kill, "freeze": lambda: os.kill(holder.pid, signal.SIGSTOP), "stop": holder.stop}
        in_flight[how]()
        gone = time.monotonic() if how != "stop" else began
        flying = [request.id for request in self.turn.of("messages") if request.status is None]
        if how == "freeze":
            # What the frozen one had sent is answered meanwhile; it takes no notice.
            time.sleep(14)
            flying += [request.id for request in self.turn.of("messages") if abs(request.began - gone) < 0.5]
            os.kill(holder.pid, signal.SIGCONT)
        time.sleep(load)
        wait_for(lambda: self._posted_since(gone + 0.3), "another one to take over", 30)
        said = people.end()
        everything = [message for ids in said.values() for message in ids]
        wait_for(lambda: self._answered() >= set(everything), "all messages", 60)
        if not holder.running:
            holder.start()
        return self._judge(said, gone, set(flying))

    def _posted_since(self, moment: float) -> bool:
        return any(request.began > moment for request in self.turn.of("messages"))

    def _answered(self) -> set[str]:
        return {request.id for request in self.turn.of("messages") if request.status == 200}

    def _judge(self, said: dict[str, list[str]], gone: float, flying: set[str]) -> dict[str, Any]:
        requests = sorted(self.turn.of("messages"), key=lambda request: request.began)
        ours = {message for ids in said.values() for message in ids}
        requests = [request for request in requests if request.id in ours]
        after = [request.began for request in requests if request.began > gone - 1]
        gap = max((later - sooner for sooner, later in zip(after, after[1:], strict=False)), default=0.0)
        by_id = {request.id: request.json["contact"]["id"] for request in requests}
        first = list(dict.fromkeys(request.id for request in requests))
        out_of_order = [
            person
            for person, ids in said.items()
            if [each for each in first if by_id[each].lstrip("+") == person.lstrip("+")] != ids
        ]
        twice = [message for message, count in Counter(request.id for request in requests).items() if count > 1]
        return {
            "gap": gap,
            "lost": len(ours - set(first)),
            "out_of_order": len(out_of_order),
            "twice": len(twice),
            "prefetch": 20,
        }

    def assert_good(self, result: dict[str, Any]) -> None:
        """A gap of less than 10 s, nothing lost, everybody's order kept, twice at most what was in flight."""
        self.assertLess(result["gap"], TAKEN_OVER, result)
        self.assertEqual((result["lost"], result["out_of_order"]), (0, 0), result)
        self.assertLessEqual(result["twice"], result["prefetch"], result)


__all__ = ["SECRET", "Load", "StandbyCase", "json", "outbound"]
