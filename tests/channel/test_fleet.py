"""Many channels in one process, in memory."""

from __future__ import annotations

from typing import Any, Mapping

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.channel.test_fleet_config import channel
from tests.channel.test_worker import OK, FakeTurn
from tests.http.case import Client, Response, request
from tests.http.resolving import ResolvingReactor
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.channel.fleet import SET_UP_AGAIN, TurnChannels
from vumi_turn.channel.worker import TurnChannelsApi
from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.vumi.messages import TransportUserMessage


class FleetWorker(TurnChannelsApi):
    """A channel with a fake Turn, which can fail at its set-up."""

    failing: set[str] = set()
    turns: dict[str, FakeTurn] = {}

    def make_turn_client(self) -> Any:
        name = self.config.connector_name
        if name in self.failing:
            raise ConfigErrors([f"{name} cannot be set up"])
        return self.turns.setdefault(name, FakeTurn())


WORKER = f"{__name__}.FleetWorker"


def config(*names: str, **top: Any) -> dict[str, Any]:
    """A configuration with these channels."""
    return {
        "http_bind": "127.0.0.1:8080",
        "defaults": {"worker_class": WORKER, "join_window": 0},
        "channels": [channel(name) for name in names],
        **top,
    }


class FleetCase(SynchronousTestCase):
    """A started fleet of two channels."""

    def setUp(self) -> None:
        FleetWorker.failing = set()
        FleetWorker.turns = {}
        self.reactor = ResolvingReactor()
        self.broker = MemoryBroker(self.reactor)
        self.fleet = self.start(config("one", "two"))

    def start(self, options: dict[str, Any]) -> TurnChannels:
        fleet = TurnChannels(options, broker=self.broker, reactor=self.reactor)
        fleet.startService()
        self.addCleanup(self.stop, fleet)
        self.run_for(0)
        return fleet

    def stopped(self, worker: Any) -> Deferred[None]:
        stopped: Deferred[None] = worker.stopService()
        for _ in range(100):
            if stopped.called:
                break
            self.reactor.advance(1)
        return stopped

    def stop(self, fleet: TurnChannels) -> None:
        self.successResultOf(self.stopped(fleet))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def run_for(self, seconds: float) -> None:
        for _ in range(10):
            self.reactor.advance(0)
        for _ in range(int(seconds)):
            self.reactor.advance(1)
        for _ in range(10):
            self.reactor.advance(0)

    def say(self, connector: str, message_id: str = "i1") -> None:
        message = TransportUserMessage.send("8864", "Hello", from_addr="+26612345678", message_id=message_id)
        self.broker.push(f"{connector}.inbound", message.to_json())
        self.run_for(0)

    def reload(self, options: dict[str, Any]) -> None:
        reloaded = Deferred.fromCoroutine(self.fleet.reload(options))
        for _ in range(100):
            if reloaded.called:
                break
            self.reactor.advance(0.1)
        self.successResultOf(reloaded)
        self.run_for(0)

    def health(self) -> dict[str, Any]:
        report: dict[str, Any] = self.fleet.health.report()[1]
        return report


class NamedCache(MemoryMessageCache):
    """A cache that notes whose it is and how it is configured: a Redis' keys are made of that."""

    made: list[tuple[str, Mapping[str, Any]]] = []

    def __init__(self, config: Mapping[str, Any], clock: Any, process: Any = None, *, connector: str = "") -> None:
        self.made.append((connector, config))
        super().__init__(config, clock, process, connector=connector)


class CacheTests(FleetCase):
    def test_moving_in(self) -> None:
        """A channel's cache is the same in a process of its own and in a fleet: its keys stay readable."""
        self.stop(self.fleet)
        NamedCache.made = []
        options = {"message_cache_class": f"{__name__}.NamedCache", "message_cache_config": {"timeout": 60}}
        self.start({**config("one", "two"), "defaults": {"worker_class": WORKER, **options}})
        own = {**channel("two"), **options, "http_bind": "127.0.0.1:8081"}
        alone = FleetWorker(own, broker=MemoryBroker(self.reactor), reactor=self.reactor)
        alone.startService()
        self.run_for(0)
        self.successResultOf(self.stopped(alone))
        self.assertEqual(NamedCache.made, [(name, {"timeout": 60}) for name in ("one", "two", "two")])


class FlowTests(FleetCase):
    def test_each_to_its_own(self) -> None:
        """Each channel's messages go to its own Turn, and its replies to its own connector."""
        self.say("one")
        self.say("two", "i2")
        self.assertEqual([len(FleetWorker.turns[name].messages) for name in ("one", "two")], [1, 1])
        self.assertEqual(FleetWorker.turns["two"].messages[0]["message"]["id"], "i2")

    def test_names(self) -> None:
        """Health and metrics name each channel."""
        self.assertEqual(sorted(self.health()["channels"]), ["one", "two"])
        self.say("one")
        shown = self.fleet.management.metrics.render()
        self.assertIn(b'vumi_turn_consumed_total{connector="one",kind="message"} 1.0', shown)
        self.assertIn(b'vumi_turn_consumed_total{connector="two",kind="message"} 0.0', shown)

    def test_all_wrong_at_once(self) -> None:
        """All that is wrong with any channel is told at once, by its place and name."""
        wrong = config("one", "two", "two")
        del wrong["channels"][0]["auth_token"]
        wrong["channels"][1]["max_retries"] = -1
        wrong["http_bind"] = 7
        with self.assertRaises(ConfigErrors) as caught:
            TurnChannels(wrong, broker=self.broker, reactor=self.reactor)
        text = "\n".join(caught.exception.errors)
        for part in (
            "http_bind",
            "channels[0] (one).auth_token is missing",
            "channels[1] (two).max_retries",
            "channels[2] (two).connector_name is that of channels[1] (two) too",
        ):
            self.assertIn(part, text)


class SetUpTests(FleetCase):
    def test_one_fails(self) -> None:
        """A channel that cannot be set up is down with its reason, the others run, and it is tried again."""
        self.stop(self.fleet)
        FleetWorker.failing = {"one"}
        self.fleet = self.start(config("one", "two"))
        self.run_for(2)
        channels = self.health()["channels"]
        self.assertEqual((channels["one"]["health"], channels["one"]["reason"]), ("down", "one cannot be set up"))
        self.assertEqual((channels["two"]["health"], self.health()["health"]), ("ok", "degraded"))
        self.say("two")
        self.assertEqual(len(FleetWorker.turns["two"].messages), 1)
        FleetWorker.failing = set()
        self.run_for(SET_UP_AGAIN + 2)
        self.assertEqual(self.health()["health"], "ok")
        self.say("one")
        self.assertEqual(len(FleetWorker.turns["one"].messages), 1)


class NotReadyTests(FleetCase):
    """Turn gives up on 4xx: what works later is 503."""

    def answer(self, path: str, method: str = "POST") -> Response:
        """What a request gets that is not signed with the channel's secret."""
        client = Client(self.fleet._site(self.fleet._routes))
        client.send(request(path=path, method=method, body=b"{}"))
        response = client.response()
        client.leave()
        return response

    def assert_not_ready(self, path: str) -> None:
        response = self.answer(path)
        self.assertEqual(response.error, (503, 503, "BrokerUnavailable"))
        self.assertEqual(response.headers["retry-after"], "1")

    def test_set_up_fails(self) -> None:
        """A POST to a channel that cannot be set up is 503 until it is, and others are answered."""
        self.stop(self.fleet)
        FleetWorker.failing = {"one"}
        self.fleet = self.start(config("one", "two"))
        for _ in range(int(SET_UP_AGAIN) - 1):
            self.assert_not_ready("/one/messages")
            self.run_for(1)
        self.assertEqual(self.answer("/one/messages", "GET").error, (405, 405, "MethodNotAllowed"))
        self.assertEqual(self.answer("/two/messages").error, (401, 401, "SignatureMismatchError"))
        self.assertEqual(self.answer("/three/messages").error, (404, 404, "NotFound"))
        FleetWorker.failing = set()
        self.run_for(SET_UP_AGAIN + 2)
        self.assertEqual(self.answer("/one/messages").error, (401, 401, "SignatureMismatchError"))

    def test_being_set_up(self) -> None:
        """So it is while a channel starts, or is started anew by SIGHUP."""
        setting_up: Deferred[None] = Deferred()

        async def wait(worker: FleetWorker) -> None:
            await setting_up
            await set_up(worker)

        set_up = FleetWorker.setup_application
        self.patch(FleetWorker, "setup_application", wait)
        changed = config("one", "two", "three")
        changed["channels"][0]["max_retries"] = 7
        changed["channels"][1]["vumi_api_path"] = "/other"
        self.reload(changed)
        for path in ("/one/messages", "/other/messages", "/three/messages"):
            with case(path=path):
                self.assert_not_ready(path)
        self.assertEqual(self.answer("/two/messages").status, 404)
        setting_up.callback(None)
        self.run_for(0)
        for path in ("/one/messages", "/other/messages", "/three/messages"):
            with case(path=path):
                self.assertEqual(self.answer(path).status, 401)
        self.reload(config("two"))
        self.assertEqual(self.answer("/one/messages").status, 404)


class ReloadTests(FleetCase):
    def test_new_and_gone(self) -> None:
        """What is new starts, what is gone stops and leaves no number, and the rest is not touched."""
        kept = self.fleet.worker_of("two")
        self.reload(config("two", "three"))
        self.assertEqual(sorted(self.health()["channels"]), ["three", "two"])
        self.assertIs(self.fleet.worker_of("two"), kept)
        self.assertNotIn(b'connector="one"', self.fleet.management.metrics.render())
        self.say("three")
        self.assertEqual(len(FleetWorker.turns["three"].messages), 1)
        self.say("one", "i9")
        self.assertNotIn("i9", [m["message"]["id"] for m in FleetWorker.turns["one"].messages])

    def test_changed(self) -> None:
        """What has changed is restarted, and nothing else."""
        one, two = self.fleet.worker_of("one"), self.fleet.worker_of("two")
        changed = config("one", "two")
        changed["channels"][0]["max_retries"] = 7
        self.reload(changed)
        self.assertIsNot(self.fleet.worker_of("one"), one)
        self.assertIs(self.fleet.worker_of("two"), two)
        self.assertEqual(self.health()["health"], "ok")

    def test_in_flight_elsewhere(self) -> None:
        """A message in flight of a channel that stays is neither sent again nor given back."""
        pending: Deferred[Any] = Deferred()
        FleetWorker.turns["two"].answers.append(pending)
        self.say("two", "i2")
        self.reload(config("two"))
        pending.callback(OK)
        self.run_for(0)
        self.assertEqual(len(FleetWorker.turns["two"].messages), 1)
        self.assertEqual(self.broker.queue_contents("two.inbound"), [])

    def test_the_process_s_own(self) -> None:
        """What is the process's own and has changed restarts no channel; it needs a restart of the process."""
        workers = [self.fleet.worker_of(name) for name in ("one", "two")]
        for _ in range(2):
            self.reload(config("one", "two", shutdown_timeout=3, standby=True))
        self.assertEqual([self.fleet.worker_of(name) for name in ("one", "two")], workers)
        self.reload(config("one", "two", "three", shutdown_timeout=3))
        self.assertEqual(self.fleet.worker_of("three").config.shutdown_timeout, 10)

    def test_wrong(self) -> None:
        """A file with an error changes nothing."""
        wrong = config("one", "three")
        del wrong["channels"][1]["auth_token"]
        failed = self.failureResultOf(Deferred.fromCoroutine(self.fleet.reload(wrong)), ConfigErrors)
        self.assertIn("channels[1] (three).auth_token", failed.getErrorMessage())
        self.assertEqual(sorted(self.health()["channels"]), ["one", "two"])

    def test_same(self) -> None:
        """The same file touches nothing."""
        workers = [self.fleet.worker_of(name) for name in ("one", "two")]
        self.reload(config("one", "two"))
        self.assertEqual([self.fleet.worker_of(name) for name in ("one", "two")], workers)
