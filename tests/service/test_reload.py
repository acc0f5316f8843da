"""SIGHUP: the configuration is read again, and the worker goes on with it."""

from __future__ import annotations

import signal
from typing import Any, Callable, Optional

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.broker.interface import BrokerState
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
    listening: dict[str, list[str]] = {}

    async def setup_application(self) -> None:
        for address in self.listening.get(self.transport_name, ()):
            await self.listen(address, Named(self.transport_name))
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
    """A reactor that notes how it is told to stop, and the ports that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.ports: dict[int, Port] = {}

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        assert port not in self.ports, f"{port} is taken"
        self.ports[port] = Port(self, port, factory)
        return self.ports[port]

    def callFromThread(self, call: Callable[[], None]) -> None:
        call()

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], None]) -> None:
        self.told.append(event)

    def stop(self) -> None:
        self.told.append("stop")


class Port:
    """A port that notes what is done with it."""

    def __init__(self, reactor: FakeReactor, number: int, factory: Any) -> None:
        self.reactor, self.number, self.factory = reactor, number, factory
        self.reading = True
        factory.doStart()

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self.number)

    def startReading(self) -> None:
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False

    def stopListening(self) -> None:
        del self.reactor.ports[self.number]
        self.factory.doStop()


class Named(Factory):
    """A factory whose protocols are known by its name."""

    noisy = False

    def __init__(self, name: str) -> None:
        self.name = name

    def buildProtocol(self, addr: Optional[IAddress]) -> Any:
        return self


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
        self.patch(Echo, "listening", {})
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


class PortTests(HostCase):
    """The ports of a worker that is replaced."""

    def setUp(self) -> None:
        super().setUp()
        Echo.listening.update(demo=["tcp:1", "tcp:2"], other=["tcp:2", "tcp:3"])
        self.host.startService()
        self.clock.pump([0.1] * 3)

    def accepting(self) -> dict[int, str]:
        """The open ports, and which worker has what comes to them; empty while they wait."""
        return {
            number: port.factory.buildProtocol(None).name if port.reading else ""
            for number, port in self.clock.ports.items()
        }

    def test_kept(self) -> None:
        """A port on which the next worker listens too is never closed; the others are."""
        self.assertEqual(self.accepting(), {1: "demo", 2: "demo"})
        second = self.clock.ports[2]
        self.hang_up(connector_name="other")
        self.assertEqual(self.accepting(), {2: "other", 3: "other"})
        self.assertIs(self.clock.ports[2], second)

    def test_waiting(self) -> None:
        """While no worker is ready connections wait."""
        Echo.setting_up["other"] = Deferred()
        self.patch(MemoryBroker, "state", BrokerState.CONNECTING)
        self.hang_up(connector_name="other")
        self.assertEqual(self.accepting(), {1: "", 2: "", 3: "other"})
        Echo.setting_up["other"].callback(None)
        self.clock.pump([0.1] * 3)
        self.assertEqual(self.accepting(), {2: "", 3: "other"})
        self.patch(MemoryBroker, "state", BrokerState.CONNECTED)
        self.clock.pump([0.1] * 3)
        self.assertEqual(self.accepting(), {2: "other", 3: "other"})

    def test_cannot_start(self) -> None:
        """The worker before, which comes back, has its ports again."""
        Echo.failing.add("other")
        ports = dict(self.clock.ports)
        self.hang_up(connector_name="other")
        self.assertEqual(self.accepting(), {1: "demo", 2: "demo"})
        self.assertEqual(self.clock.ports, ports)

    def test_stopped(self) -> None:
        """At the process's end all are closed, also in the middle of a restart."""
        for overtaken in (False, True):
            with case(overtaken=overtaken):
                if overtaken:
                    Echo.setting_up["other"] = Deferred()
                    self.hang_up(connector_name="other")
                self.successResultOf(maybeDeferred(self.host.stopService))
                self.clock.pump([0.1] * 30)
                self.assertEqual(self.clock.ports, {})
                self.config.update(connector_name="demo")
                self.host = WorkerHost(self.make, self.read, self.read(), self.clock, TwistdProcess(None))
                self.host.startService()
                self.clock.pump([0.1] * 3)


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
