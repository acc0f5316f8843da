"""Several workers that stand by for each other on a connector, with the broker, Redis and Turn that they share."""

from __future__ import annotations

import json
from typing import Any, Optional

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.http_peer import HttpPeer
from tests.integration.process import PATIENCE
from tests.integration.rabbitmq import VHOST, shared_rabbitmq
from tests.integration.redis_server import RedisServer
from tests.integration.turn_server import Request, TurnResponse, TurnServer
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

TOKEN, SECRET = "marker-auth-token", "marker-hmac-secret"

#: The connector's queues.
QUEUES = ("inbound", "event", "outbound", "turn_failures", "turn_joining")

#: Seconds that Turn takes for an answer, so that there is always something in flight.
TURN_TAKES = 0.1


def standby_config(connector: str, turn_url: str, redis_url: str) -> dict[str, Any]:
    """The options of one of several workers on a connector."""
    return {
        "connector_name": connector,
        "turn_api_url": turn_url,
        "auth_token": TOKEN,
        "turn_hmac_secret": SECRET,
        "default_from_addr": "8864",
        "standby": True,
        # Longer than a busy machine takes for two POSTs that are to be one screen.
        "join_window": 5,
        "message_cache_class": "RedisMessageCache",
        "message_cache_config": {"url": redis_url},
    }


class StandbyRig:
    """
    Running from the beginning; :meth:`close` leaves nothing behind.

    :param connector: the workers' connector.
    :param count: how many workers there are.
    :param queue_type: what a queue of the virtual host is; other than classic, the host is one of its own.
    :ivar workers: all of them.
    """

    def __init__(self, connector: str, count: int = 2, queue_type: str = "classic") -> None:
        self.connector = connector
        self.node = shared_rabbitmq()
        self.vhost = VHOST
        if queue_type != "classic":
            self.vhost = f"/{connector}"
            self.node.ctl("add_vhost", self.vhost, "--default-queue-type", queue_type)
            self.node.ctl("set_permissions", "-p", self.vhost, "vumi", ".*", ".*", ".*")
        self.peer = AmqpPeer(self.node.port, self.vhost)
        self.redis = RedisServer()
        self.redis.start()
        self.turn = TurnServer(TOKEN)
        self.workers = [self._worker() for _ in range(count)]
        self.reset()
        for worker in self.workers:
            worker.start(wait=False)
        self.wait_until_ready()

    def _worker(self) -> Worker:
        config = standby_config(self.connector, self.turn.url, self.redis.url)
        return Worker(config, self.node.port, ("--vhost", self.vhost))

    def reset(self) -> None:
        """Turn has seen nothing and takes its time; nothing is in the queues."""
        self.turn.reset()
        self.turn.decide = self._decide
        self.peer.purge(*(self.queue(kind) for kind in QUEUES))

    @staticmethod
    def _decide(request: Request) -> TurnResponse:
        return TurnResponse(delay=TURN_TAKES)

    def close(self) -> None:
        """End everything, and leave nothing on a broker that goes on."""
        for worker in self.workers:
            worker.close()
        self.turn.close()
        self.redis.stop()
        if self.node.running and self.vhost == VHOST:
            self.peer.delete(*(self.queue(kind) for kind in QUEUES))
        self.peer.close()
        if self.node.running and self.vhost != VHOST:
            self.node.ctl("delete_vhost", self.vhost)

    # -- who is what -------------------------------------------------------------

    def queue(self, kind: str) -> str:
        """The name of one of the connector's queues."""
        return f"{self.connector}.{kind}"

    def http(self, worker: Worker) -> HttpPeer:
        """What speaks to one of them."""
        return HttpPeer(worker.port, SECRET)

    def post(self, worker: Worker, value: Any) -> str:
        """
        POST as Turn does, which asks again after a 503: a Redis that takes more than half a
        second for an answer, on a busy machine, is away for workers that are several.

        :return: the message's id.
        """
        body = json.dumps(value).encode()

        def ask() -> Optional[str]:
            answer = self.http(worker).post_bytes(body)
            assert answer.status in (200, 503), answer
            return answer.message_id if answer.status == 200 else None

        found = wait_for(ask, "a 200", PATIENCE)
        assert found is not None
        return found

    def health(self, worker: Worker) -> dict[str, Any]:
        """What one says of itself; empty where it says nothing."""
        if not worker.running:
            return {}
        try:
            report: dict[str, Any] = self.http(worker).get("/health").json
            return report
        except (OSError, ValueError):
            return {}

    def consumes(self, worker: Worker) -> bool:
        """Whether it says that it has the lock."""
        return self.health(worker).get("standby") is False

    def waiting(self) -> list[Worker]:
        """Those that stand by."""
        return [worker for worker in self.workers if self.health(worker).get("standby")]

    def wait_until_ready(self) -> Worker:
        """Wait until all are well, one of them consumes and the others wait; the one that consumes."""

        def look() -> Optional[Worker]:
            reports = [self.health(worker) for worker in self.workers]
            if any(report.get("health") != "ok" for report in reports):
                return None
            found = [w for w, report in zip(self.workers, reports, strict=True) if not report["standby"]]
            # Its consumer is on the broker a moment after the lock is.
            return found[0] if len(found) == 1 and self.peer.consumers(self.queue("inbound")) == 1 else None

        try:
            found = wait_for(look, "all to be well, and one to consume", PATIENCE)
        except AssertionError as error:
            logs = "\n".join(f"--- {worker.port}\n{worker.log[-3000:]}" for worker in self.workers)
            raise AssertionError(f"{error}: {[self.health(w) for w in self.workers]}\n{logs}") from None
        assert found is not None
        return found
