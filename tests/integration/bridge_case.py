"""A test case in which a worker runs between a real RabbitMQ and a local Turn."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.rabbitmq import VHOST, RabbitMQ, shared_rabbitmq
from tests.integration.shared_rig import SharedRig
from tests.integration.turn_server import TurnServer
from tests.integration.vumi_words import inbound, new_person
from tests.integration.worker import Worker

TOKEN = "marker-auth-token"
SECRET = "marker-hmac-secret"
FROM_ADDR = "8864"


class Rig:
    """
    RabbitMQ, Turn, the worker between them, and who speaks to it.

    :param connector: the worker's connector.
    :param config: options over those of every rig.
    :ivar declared: the queues are there, since the worker has run.
    """

    def __init__(self, connector: str, config: dict[str, Any], flags: tuple[str, ...] = ()) -> None:
        self.node: RabbitMQ = shared_rabbitmq()
        self.turn = TurnServer(TOKEN)
        self.peer = AmqpPeer(self.node.port)
        self.connector = connector
        self.worker = Worker(
            {
                "connector_name": connector,
                "turn_api_url": self.turn.url,
                "auth_token": TOKEN,
                "turn_hmac_secret": SECRET,
                "default_from_addr": FROM_ADDR,
                # Rounds that are over soon.
                "retry_delay_base": 0.05,
                **config,
            },
            self.node.port,
            flags,
        )
        self.http = HttpPeer(self.worker.port, SECRET, config.get("vumi_api_path", ""))
        self.declared = False

    def queue(self, kind: str) -> str:
        """The name of one of the connector's queues."""
        return f"{self.connector}.{kind}"

    def held(self, kind: str) -> int:
        """How many messages one of its queues holds, those that are delivered and unsettled too."""
        table = self.node.ctl("-p", VHOST, "list_queues", "--no-table-headers", "name", "messages")
        counts = dict(line.split("\t") for line in table.splitlines())
        return int(counts.get(self.queue(kind), 0))

    def close(self) -> None:
        """End the worker and Turn."""
        self.worker.close()
        self.turn.close()
        self.peer.close()


_shared: SharedRig[Rig] = SharedRig()


class BridgeCase(SynchronousTestCase):
    """
    All tests of a class share one rig; each finds empty queues and a Turn that
    has seen nothing and answers 200.

    :cvar connector: the worker's connector; each class has another one.
    :cvar config: options over those of every rig.
    :cvar worker_runs: the class's own worker runs in each test; else it
        has only declared the queues.
    """

    connector = "bridge"
    config: dict[str, Any] = {}
    worker_runs = True

    def setUp(self) -> None:
        rig = self.rig = _shared.of(type(self), lambda: Rig(self.connector, self.config))
        if not rig.worker.running and (self.worker_runs or not rig.declared):
            rig.worker.start()
            rig.declared = True
        if not self.worker_runs and rig.worker.running:
            rig.worker.stop()
        self.node, self.turn, self.peer = rig.node, rig.turn, rig.peer
        self.worker, self.http = rig.worker, rig.http
        self.turn.reset()
        self.peer.purge(*(rig.queue(kind) for kind in ("inbound", "event", "outbound", "turn_failures")))

    # What many tests do

    @contextmanager
    def case(self, name: str) -> Iterator[None]:
        """One row of a test's table: a failure names it."""
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error

    @contextmanager
    def running(
        self, config: dict[str, Any], *flags: str, variables: Optional[Mapping[str, str]] = None
    ) -> Iterator[Worker]:
        """
        A worker with these options over those of every test, healthy, and
        stopped in the end. The class's own is stopped first: two on the same
        queues would share what people say. Nothing may go wrong in it.
        """
        with self.started(config, *flags, variables=variables) as worker:
            worker.wait_until_healthy()
            yield worker
            worker.stop()
            self.assertNotIn("Traceback", worker.log)

    @contextmanager
    def started(
        self, config: dict[str, Any], *flags: str, variables: Optional[Mapping[str, str]] = None
    ) -> Iterator[Worker]:
        """A worker instead of the class's own, started; what may go wrong in it is the test's affair."""
        if self.rig.worker.running:
            self.rig.worker.stop()
        worker = Worker({**self.rig.worker.config, **config}, self.node.port, flags, variables)
        worker.config["http_bind"] = config.get("http_bind", "127.0.0.1:{port}").format(port=worker.port)
        if "management_bind" in config:
            worker.health_port = int(config["management_bind"].rsplit(":", 1)[1])
        try:
            worker.start(wait=False)
            yield worker
        finally:
            worker.close()

    def carries(self, worker: Worker) -> None:
        """Messages go both ways through this worker."""
        self.delivered(self.say(inbound()))
        answer = HttpPeer(worker.port, self.http.secret).post(outbound(new_person()))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(self.sent()["message_id"], answer.message_id)

    def say(self, message: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """A person's message goes into the queue; returned as it was sent."""
        message = {**message, **changes}
        self.peer.publish_json(self.rig.queue("inbound"), message)
        return message

    def report(self, event: dict[str, Any]) -> dict[str, Any]:
        """An event goes into the queue; returned as it was sent."""
        self.peer.publish_json(self.rig.queue("event"), event)
        return event

    def delivered(self, message: dict[str, Any]) -> Any:
        """What Turn got for a person's message, once it is answered."""
        return self.turn.wait_for("messages", message["message_id"]).json

    def sent(self) -> Any:
        """The next message of the outbound queue, taken out."""
        return self.peer.take_json(self.rig.queue("outbound"))

    def parked(self) -> Any:
        """The next failure message, taken out."""
        return self.peer.take_json(self.rig.queue("turn_failures"))

    def nothing_sent(self) -> None:
        """Fail if the outbound queue holds a message."""
        self.assertEqual(self.peer.take_all(self.rig.queue("outbound")), [])
