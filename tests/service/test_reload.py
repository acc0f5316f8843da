"""SIGHUP: the configuration is read again, and the worker goes on with it."""

from __future__ import annotations

import signal
from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.configuration.files import SettingsError
from vumi_turn.service.reload import WorkerHost
from vumi_turn.service.twistd_process import TwistdProcess
from vumi_turn.vumi.application import ApplicationWorker

GOOD = {"connector_name": "demo"}


class Echo(ApplicationWorker):
    """A worker whose set-up can fail, or take its time."""

    failing: set[str] = set()
    setting_up: dict[str, Deferred[None]] = {}

    async def setup_application(self) -> None:
        if self.transport_name in self.setting_up:
            await self.setting_up[self.transport_name]
        if self.transport_name in self.failing:
            raise ConfigErrors(["the port is taken"])


class Live(Echo):
    """A worker that takes other options without a restart."""

    reloaded: list[dict[str, Any]] = []

    async def reload(self, config: dict[str, Any]) -> None:
        if config.get("connector_name") == "Wrong":
            raise ConfigErrors(["connector_name must be in lower case", "and more"])
        self.reloaded.append(config)


class FakeReactor(Clock):
    """A clock that notes how it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def callFromThread(self, call: Callable[[], None]) -> None:
        call()

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], None]) -> None:
        self.told.append(event)

    def stop(self) -> None:
        self.told.append("stop")


class HostCase(SynchronousTestCase):
    """A host of a worker on a broker in memory."""

    worker_class: type[Echo] = Echo

    def setUp(self) -> None:
        self.clock = FakeReactor()
        self.told = self.clock.told
        self.config: dict[str, Any] = dict(GOOD)
        self.wrong: list[str] = []
        self.signals: dict[int, Callable[..., None]] = {}
        self.patch(signal, "signal", self.signals.__setitem__)
        self.patch(Echo, "failing", set())
        self.patch(Echo, "setting_up", {})
        self.patch(Live, "reloaded", [])
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.workers: list[Echo] = []
        self.host = WorkerHost(self.make, self.read, self.read(), self.clock, TwistdProcess(None))

    def make(self, config: dict[str, Any], fatal: Callable[[], None]) -> Echo:
        worker = self.worker_class(config, broker=MemoryBroker(self.clock), reactor=self.clock, fatal=fatal)
        self.workers.append(worker)
        return worker

    def read(self) -> dict[str, Any]:
        if self.wrong:
            raise SettingsError(self.wrong[0])
        return dict(self.config)

    def hang_up(self, **config: Any) -> None:
        """SIGHUP, with these options changed."""
        self.config.update(config)
        self.signals[signal.SIGHUP](signal.SIGHUP, None)
        self.clock.pump([0.1] * 30)

    def said(self, level: str) -> list[str]:
        """What was logged at a level since the last time."""
        lines = [str(formatEvent(event)) for event in self.events if event["log_level"].name == level]
        self.events.clear()
        return lines


class RestartTests(HostCase):
    def setUp(self) -> None:
        super().setUp()
        self.host.startService()
        self.clock.pump([0.1] * 3)
        self.events.clear()

    def test_changed(self) -> None:
        """A worker that is not Reloadable is replaced by one with the new options, once the old one has stopped."""
        self.hang_up(amqp_prefetch_count=5)
        old, new = self.workers
        self.assertIs(self.host.worker, new)
        self.assertEqual((old.running, new.running, new.config.amqp_prefetch_count), (0, 1, 5))
        self.assertEqual(old.broker.state, "closed")
        self.assertEqual(self.told, [])

    def test_unchanged(self) -> None:
        """Where nothing has changed, nothing is touched."""
        self.hang_up()
        self.assertEqual(len(self.workers), 1)
        self.assertEqual(self.said("info"), ["The configuration was read again; nothing in it has changed"])

    def test_wrong(self) -> None:
        """A wrong configuration changes nothing; each error is a line."""
        self.hang_up(connector_name="Demo", amqp_prefetch_count=0)
        self.assertEqual(len(self.said("error")), 2)
        self.wrong = ["worker.yaml: cannot be read"]
        self.hang_up()
        self.assertIn("worker.yaml: cannot be read", self.said("error")[0])
        self.assertEqual((self.host.worker, self.workers[0].running), (self.workers[0], 1))

    def test_cannot_start(self) -> None:
        """Options with which a worker cannot start are given up: the worker before comes back."""
        Echo.failing.add("other")
        self.hang_up(connector_name="other")
        self.assertEqual([worker.transport_name for worker in self.workers], ["demo", "other", "demo"])
        self.assertEqual([worker.running for worker in self.workers], [0, 0, 1])
        self.assertIn("the one before is used again", self.said("error")[0])
        self.assertEqual(self.told, [])
        Echo.failing.clear()
        self.hang_up()
        self.assertEqual(self.host.worker.config.connector_name, "other")

    def test_twice(self) -> None:
        """A signal during a restart is heeded after it."""
        Echo.setting_up["slow"] = Deferred()
        self.hang_up(connector_name="slow")
        self.hang_up(connector_name="last")
        self.assertEqual(self.host.worker.config.connector_name, "slow")
        Echo.setting_up["slow"].callback(None)
        self.clock.pump([0.1] * 3)
        self.assertEqual(self.host.worker.config.connector_name, "last")

    def test_stopped(self) -> None:
        """A restart that is overtaken by the process's end starts nothing more."""
        Echo.setting_up["slow"] = Deferred()
        self.hang_up(connector_name="slow")
        self.host.stopService()
        self.clock.pump([0.1] * 30)
        self.assertEqual([worker.running for worker in self.workers], [0, 0])


class FirstStartTests(HostCase):
    def test_fatal(self) -> None:
        """A first start that fails stops the process."""
        Echo.failing.add("demo")
        self.host.startService()
        self.clock.pump([0.1] * 3)
        self.assertEqual(self.told, ["shutdown", "stop"])


class LiveTests(HostCase):
    worker_class = Live

    def test_reload(self) -> None:
        """A Reloadable worker is handed the new options, and goes on."""
        self.host.startService()
        self.hang_up(amqp_prefetch_count=5)
        self.assertEqual(Live.reloaded, [{**GOOD, "amqp_prefetch_count": 5}])
        self.assertEqual(len(self.workers), 1)
        self.hang_up(connector_name="Wrong")
        self.assertEqual([line.rsplit(": ", 1)[1] for line in self.said("error")],
                         ["connector_name must be in lower case", "and more"])  # fmt: skip
        self.hang_up(connector_name="demo")
        self.assertEqual(len(Live.reloaded), 1)
