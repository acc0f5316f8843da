"""``/health`` and ``/metrics``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Optional

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.broker.interface import BrokerState
from vumi_turn.http.server import BoundedSite
from vumi_turn.monitoring.health import ChannelHealth, FleetHealth
from vumi_turn.monitoring.management import add_management_routes, management_resource
from vumi_turn.monitoring.metrics import MetricsRegistry
from vumi_turn.monitoring.watched import watch_channel


@dataclass
class StubBroker:
    """What is looked at of a broker."""

    state: BrokerState = BrokerState.CONNECTED
    reconnects: int = 2
    reason: str = ""


@dataclass
class StubScheduler:
    """What is looked at of a scheduler."""

    held: int = 0
    waiting: int = 0
    away: bool = False
    misconfigured: bool = False
    unparked: int = 0
    throttled_until: Optional[float] = None
    oldest: Optional[float] = None
    park_error: str = ""
    posting: dict[str, int] = field(default_factory=lambda: {"message": 0, "status": 0})

    def in_flight_of(self, kind: str) -> int:
        return self.posting[kind]


@dataclass
class StubCache:
    """What is looked at of a cache."""

    healthy: bool = True
    size: int = 0
    replaced_keys: int = 0


@dataclass
class StubTurn:
    """What is looked at of Turn's client."""

    rate_limit: Optional[int] = None
    rate_limit_remaining: Optional[int] = None


class StubWorker:
    """The parts of a worker, and what is made of them."""

    def __init__(self) -> None:
        self.clock: Any = Clock()
        self.broker = StubBroker()
        self.scheduler = StubScheduler()
        self.cache = StubCache()
        self.turn = StubTurn()
        self.metrics = MetricsRegistry()
        self.channel_metrics = self.metrics.channel("c")
        parts: dict[str, Any] = {"broker": self.broker, "scheduler": self.scheduler, "cache": self.cache}
        self.health = ChannelHealth("c", **parts)
        self.queues = {"inbound": 3, "event": 0, "turn_failures": 2}
        parts["queues"] = lambda: self.queues
        watch_channel(self.channel_metrics, self.clock, turn=self.turn, **parts)  # type: ignore[arg-type]

    def ask(self, request: bytes, resource: Any = None) -> tuple[int, dict[str, str], bytes]:
        """What the management address answers: status, headers, body."""
        resource = resource or management_resource(self.health, self.metrics, self.clock)
        site = BoundedSite(resource, self.clock, 65536)
        channel = site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(request + b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        head, _, body = transport.value().partition(b"\r\n\r\n")
        status, *headers = head.decode("ascii").split("\r\n")
        channel.connectionLost(None)
        pairs = (header.split(": ", 1) for header in headers)
        return int(status.split()[1]), {name.lower(): value for name, value in pairs}, body


def a_worker() -> StubWorker:
    """One with which all is well."""
    return StubWorker()


class HealthTests(SynchronousTestCase):
    """What ``/health`` says."""

    def setUp(self) -> None:
        self.worker = a_worker()

    def report(self) -> tuple[int, str]:
        status, report = self.worker.health.report()
        return status, report["health"]

    def component(self, name: str) -> dict[str, Any]:
        component: dict[str, Any] = self.worker.health.report()[1]["components"][name]
        return component

    def test_ok(self) -> None:
        """All is well: 200, and each component says so."""
        status, report = self.worker.health.report()
        self.assertEqual((status, report["health"]), (200, "ok"))
        self.assertEqual(
            {name: part["health"] for name, part in report["components"].items()},
            {"amqp": "ok", "turn": "ok", "cache": "ok", "parking": "ok"},
        )
        self.assertEqual(self.component("amqp"), {"health": "ok", "state": "connected", "reason": "", "reconnects": 2})

    def test_standby(self) -> None:
        """One that waits for another to end is well, and says that it stands by."""
        waits = True
        parts: dict[str, Any] = {
            "broker": self.worker.broker,
            "scheduler": self.worker.scheduler,
            "cache": self.worker.cache,
        }
        health = ChannelHealth("c", **parts, stands_by=lambda: waits)
        for waits in (True, False):
            status, report = health.report()
            self.assertEqual((status, report["health"], report["standby"]), (200, "ok", waits))

    def test_no_broker(self) -> None:
        """Without a broker the worker is down: 503."""
        for state in (BrokerState.CONNECTING, BrokerState.CLOSED):
            self.worker.broker.state = state
            self.assertEqual(self.report(), (503, "down"))
            self.worker.broker.reason = "one.inbound: 406 PRECONDITION_FAILED"
            found = self.component("amqp")
            self.assertEqual((found["health"], found["state"]), ("down", state.value))
            self.assertEqual(found["reason"], "one.inbound: 406 PRECONDITION_FAILED")

    def test_cannot_park(self) -> None:
        """While something cannot be parked the channel is degraded, and says how much and why."""
        self.worker.scheduler.unparked = 3
        self.worker.scheduler.park_error = "BrokerUnavailable"
        self.assertEqual(self.report(), (200, "degraded"))
        self.assertEqual(
            self.component("parking"),
            {"health": "degraded", "state": "failing", "unparked": 3, "reason": "BrokerUnavailable"},
        )

    def test_blocked(self) -> None:
        """While the broker blocks publishing what people say still flows: degraded."""
        self.worker.broker.state = BrokerState.BLOCKED
        self.assertEqual(self.report(), (200, "degraded"))
        self.assertEqual(self.component("amqp")["health"], "degraded")

    def test_away(self) -> None:
        """Turn being away is degraded, and how much is held for it is said."""
        self.worker.scheduler.away = True
        self.worker.scheduler.held = 7
        self.assertEqual(self.report(), (200, "degraded"))
        turn = self.component("turn")
        self.assertEqual((turn["health"], turn["state"], turn["held"]), ("degraded", "away", 7))

    def test_misconfigured(self) -> None:
        """A token that Turn does not accept is degraded, and more telling than Turn being away."""
        self.worker.scheduler.away = self.worker.scheduler.misconfigured = True
        self.assertEqual(self.report(), (200, "degraded"))
        self.assertEqual(self.component("turn")["state"], "misconfigured")

    def test_throttled(self) -> None:
        """A rate limit is an ordinary thing: ok, and said."""
        self.worker.scheduler.throttled_until = 12.0
        self.assertEqual(self.report(), (200, "ok"))
        self.assertEqual(self.component("turn")["state"], "throttled")

    def test_cache_away(self) -> None:
        """The cache being away is degraded."""
        self.worker.cache.healthy = False
        self.assertEqual(self.report(), (200, "degraded"))
        self.assertEqual(self.component("cache"), {"health": "degraded", "state": "away"})

    def test_worst(self) -> None:
        """The worst of the components is the whole's."""
        self.worker.cache.healthy = False
        self.worker.broker.state = BrokerState.CONNECTING
        self.assertEqual(self.report(), (503, "down"))

    def test_stopping(self) -> None:
        """A worker that stops is down, however well it is."""
        self.worker.health.stopping = True
        self.assertEqual(self.report(), (503, "down"))
        self.assertEqual(self.component("amqp")["health"], "ok")
        self.assertIs(self.worker.health.report()[1]["stopping"], True)


class FleetHealthTests(SynchronousTestCase):
    """What ``/health`` says of many channels."""

    def setUp(self) -> None:
        self.fleet = FleetHealth()
        self.workers = {name: a_worker() for name in ("one", "two")}
        for name, worker in self.workers.items():
            self.fleet.add(name, worker.health)

    def report(self) -> tuple[int, str]:
        status, report = self.fleet.report()
        return status, report["health"]

    def test_ok(self) -> None:
        """Each channel says how it is, by name."""
        status, report = self.fleet.report()
        self.assertEqual((status, report["health"], report["stopping"]), (200, "ok", False))
        self.assertEqual({name: one["health"] for name, one in report["channels"].items()}, {"one": "ok", "two": "ok"})
        self.assertEqual(report["channels"]["one"]["components"]["cache"], {"health": "ok", "state": "ok"})

    def test_one_down(self) -> None:
        """One channel that does not work is degraded for the process: the others do."""
        self.workers["one"].broker.state = BrokerState.CONNECTING
        self.assertEqual(self.report(), (200, "degraded"))

    def test_all_down(self) -> None:
        """Where no channel works the process is down, and while it stops."""
        for worker in self.workers.values():
            worker.broker.state = BrokerState.CONNECTING
        self.assertEqual(self.report(), (503, "down"))
        for worker in self.workers.values():
            worker.broker.state = BrokerState.CONNECTED
        self.fleet.stopping = True
        self.assertEqual(self.report(), (503, "down"))

    def test_failed(self) -> None:
        """A channel that cannot be set up says why, until it works."""
        self.fleet.failed("one", "queue one.inbound: PRECONDITION_FAILED")
        status, report = self.fleet.report()
        self.assertEqual((status, report["health"]), (200, "degraded"))
        found = report["channels"]["one"]
        self.assertEqual((found["health"], found["reason"]), ("down", "queue one.inbound: PRECONDITION_FAILED"))
        self.fleet.add("one", self.workers["one"].health)
        self.assertEqual(self.report(), (200, "ok"))

    def test_starting(self) -> None:
        """A channel that is being set up does not work yet, so a process that begins is down."""
        fleet = FleetHealth()
        fleet.starting("one")
        status, report = fleet.report()
        self.assertEqual((status, report["channels"]["one"]["state"]), (503, "starting"))
        fleet.add("one", self.workers["one"].health)
        self.assertEqual(fleet.report()[0], 200)

    def test_removed(self) -> None:
        """A channel that has gone is not told of."""
        self.fleet.remove("one")
        self.assertEqual(list(self.fleet.report()[1]["channels"]), ["two"])


class WatchTests(SynchronousTestCase):
    """What the worker's parts show."""

    def setUp(self) -> None:
        self.worker = a_worker()

    def value(self, name: str, **labels: str) -> Optional[float]:
        for family in text_string_to_metric_families(self.worker.metrics.render().decode("utf-8")):
            for sample in family.samples:
                if (sample.name, sample.labels) == (f"vumi_turn_{name}", {"connector": "c", **labels}):
                    number: float = sample.value
                    return number
        return None

    def test_broker(self) -> None:
        """The broker's state is 1 of its states, and losses are counted."""
        self.assertEqual(self.value("amqp_connected"), 1)
        self.worker.broker.state = BrokerState.BLOCKED
        self.assertEqual(self.value("amqp_connected"), 0)
        states = ["connecting", "connected", "blocked", "closed"]
        self.assertEqual([self.value("amqp_state", state=state) for state in states], [0, 0, 1, 0])
        self.assertEqual(self.value("amqp_reconnects_total"), 2)

    def test_scheduler(self) -> None:
        """How much waits, is held and is under way."""
        scheduler = self.worker.scheduler
        scheduler.waiting, scheduler.held, scheduler.posting = 9, 4, {"message": 3, "status": 2}
        self.assertEqual((self.value("waiting"), self.value("held")), (9, 4))
        self.assertEqual(self.value("in_flight", kind="message"), 3)
        self.assertEqual(self.value("in_flight", kind="status"), 2)

    def test_what_waits(self) -> None:
        """How old the oldest is, what cannot be parked, and what each queue has; nothing while that is not known."""
        self.assertEqual((self.value("oldest_seconds"), self.value("unparked")), (0, 0))
        self.worker.clock.advance(100)
        self.worker.scheduler.oldest, self.worker.scheduler.unparked = 90.0, 3
        self.assertEqual((self.value("oldest_seconds"), self.value("unparked")), (10, 3))
        self.assertEqual((self.value("queue_messages", queue="inbound"), self.value("parked")), (3, 2))
        self.worker.queues.clear()
        self.assertEqual((self.value("queue_messages", queue="inbound"), self.value("parked")), (None, None))

    def test_turn(self) -> None:
        """Whether Turn is there and lets us in."""
        self.assertEqual((self.value("away"), self.value("misconfigured")), (0, 0))
        self.worker.scheduler.away = self.worker.scheduler.misconfigured = True
        self.assertEqual((self.value("away"), self.value("misconfigured")), (1, 1))

    def test_throttled(self) -> None:
        """The wait that is left, never less than none."""
        self.assertEqual(self.value("throttled_seconds"), 0)
        self.worker.clock.advance(100)
        self.worker.scheduler.throttled_until = 130.0
        self.assertEqual(self.value("throttled_seconds"), 30)
        self.worker.clock.advance(40)
        self.assertEqual(self.value("throttled_seconds"), 0)

    def test_rate_limit(self) -> None:
        """Turn's limit, once it has said it."""
        self.assertEqual((self.value("rate_limit"), self.value("rate_limit_remaining")), (None, None))
        self.worker.turn.rate_limit, self.worker.turn.rate_limit_remaining = 60, 0
        self.assertEqual((self.value("rate_limit"), self.value("rate_limit_remaining")), (60, 0))

    def test_cache(self) -> None:
        """How much the cache holds, and whether it is there."""
        self.worker.cache.size = 5
        self.assertEqual((self.value("cache_entries"), self.value("cache_healthy")), (5, 1))
        self.worker.cache.healthy = False
        self.assertEqual(self.value("cache_healthy"), 0)

    def test_replaced_keys(self) -> None:
        """Keys of the cache that were somebody else's or not readable are a counter, at 0 from the start."""
        self.assertEqual(self.value("cache_replaced_keys_total"), 0)
        self.worker.cache.replaced_keys = 2
        self.assertEqual(self.value("cache_replaced_keys_total"), 2)


class RouteTests(SynchronousTestCase):
    """The HTTP side."""

    def setUp(self) -> None:
        self.worker = a_worker()

    def test_health(self) -> None:
        """``GET /health`` answers the report as JSON, which nobody may keep."""
        status, headers, body = self.worker.ask(b"GET /health")
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        self.assertEqual(headers["cache-control"], "no-store")
        self.assertEqual(json.loads(body), self.worker.health.report()[1])

    def test_down(self) -> None:
        """``GET /health`` answers 503 while the worker is down."""
        self.worker.broker.state = BrokerState.CONNECTING
        status, _, body = self.worker.ask(b"GET /health")
        self.assertEqual((status, json.loads(body)["health"]), (503, "down"))

    def test_metrics(self) -> None:
        """``GET /metrics`` answers Prometheus' text and says so."""
        self.worker.channel_metrics.consumed("message")
        status, headers, body = self.worker.ask(b"GET /metrics")
        self.assertEqual((status, headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertIn(b'\nvumi_turn_consumed_total{connector="c",kind="message"} 1.0\n', body)
        self.assertIn(b'\nvumi_turn_amqp_connected{connector="c"} 1.0\n', body)

    def test_many_channels(self) -> None:
        """A long text is rendered in parts, and the reactor does other things in between."""
        for number in range(60):
            self.worker.metrics.channel(f"another-{number}")
        site = BoundedSite(
            management_resource(self.worker.health, self.worker.metrics, self.worker.clock), self.worker.clock, 65536
        )
        channel = site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
        self.assertEqual(transport.value(), b"")  # others had their turn before the first byte
        self.worker.clock.advance(0)
        body = transport.value().partition(b"\r\n\r\n")[2]
        ours = [line for line in body.splitlines() if b"vumi_turn_" in line]
        self.assertEqual(ours, [line for line in self.worker.metrics.render().splitlines() if b"vumi_turn_" in line])
        channel.connectionLost(None)

    def test_live(self) -> None:
        """``GET /live`` answers 200 as long as the process does, also when it is down."""
        self.worker.health.stopping = True
        status, _, body = self.worker.ask(b"GET /live")
        self.assertEqual((status, json.loads(body)), (200, {"live": True}))

    def test_query(self) -> None:
        """What is asked beside the path changes nothing."""
        self.assertEqual(self.worker.ask(b"GET /health?verbose=1")[0], 200)

    def test_head(self) -> None:
        """HEAD answers the headers of GET and no body."""
        for path in (b"/health", b"/metrics"):
            status, headers, body = self.worker.ask(b"HEAD " + path)
            self.assertEqual((status, body), (200, b""))
            self.assertGreater(int(headers["content-length"]), 0)

    def test_head_down(self) -> None:
        """HEAD tells a worker that is down as well."""
        self.worker.health.stopping = True
        status, _, body = self.worker.ask(b"HEAD /health")
        self.assertEqual((status, body), (503, b""))

    def test_other_method(self) -> None:
        """Other methods are answered 405, as JSON, with those there are."""
        for path in (b"/health", b"/metrics"):
            status, headers, body = self.worker.ask(b"POST " + path)
            self.assertEqual(status, 405)
            self.assertEqual(sorted(headers["allow"].split(", ")), ["GET", "HEAD"])
            self.assertEqual(json.loads(body)["errors"][0]["title"], "MethodNotAllowed")

    def test_other_path(self) -> None:
        """Other paths are answered 404, as JSON."""
        for path in (b"/", b"/health/", b"/health/x", b"/messages", b"/Metrics"):
            status, headers, body = self.worker.ask(b"GET " + path)
            self.assertEqual((status, headers["content-type"]), (404, "application/json"), path)
            self.assertEqual(json.loads(body)["errors"][0]["title"], "NotFound")

    def test_no_server(self) -> None:
        """No answer tells which software, in which version, runs here."""
        for request in (b"GET /health", b"GET /metrics", b"POST /health", b"GET /x"):
            self.assertNotIn("server", self.worker.ask(request)[1])

    def test_bug(self) -> None:
        """A bug is answered 500 with an id that is in the log, and no word of the exception."""

        def broken() -> tuple[int, dict[str, Any]]:
            raise KeyError("secret")

        self.worker.health.report = broken  # type: ignore[method-assign]
        status, _, body = self.worker.ask(b"GET /health")
        self.assertEqual((status, json.loads(body)["errors"][0]["title"]), (500, "InternalError"))
        self.assertNotIn(b"secret", body)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_mounted(self) -> None:
        """The routes can be given to another klein application."""
        from klein import Klein

        app = Klein()
        add_management_routes(app, self.worker.health, self.worker.metrics, self.worker.clock)
        self.assertEqual(self.worker.ask(b"GET /health", app.resource())[0], 200)
        self.assertEqual(self.worker.ask(b"GET /metrics", app.resource())[0], 200)
