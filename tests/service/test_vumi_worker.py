"""The worker that the flags of ``vumi_worker`` make."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.cases import case
from tests.service.case import BRIDGE, ECHO, OptionsCase
from vumi_turn.broker.interface import Broker
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.service import vumi_worker
from vumi_turn.service.vumi_worker import makeService

#: A channel's options without a default, but for where it listens.
CHANNEL = {
    "connector_name": "one",
    "default_from_addr": "8864",
    "turn_api_url": "http://turn.example",
    "auth_token": "token",
    "turn_hmac_secret": "secret",
}


class ServiceCase(OptionsCase):
    """Makes services that are never started."""

    GOOD = ("--set-option", "connector_name:demo")

    def setUp(self) -> None:
        super().setUp()
        self.measured: list[Any] = []
        self.patch(vumi_worker, "measure_monotonically", self.measured.append)

    def service(self, *flags: str, worker_class: str = ECHO) -> Any:
        """The worker that these flags make."""
        service: Any = makeService(self.options(*flags, worker_class=worker_class))
        (host,) = service
        return host.worker

    def stopped(self, *flags: str, **options: Any) -> list[str]:
        """The lines with which making the worker ends."""
        return self.ended(self.service, *flags, **options)


class ServiceTests(ServiceCase):
    def test_worker(self) -> None:
        """The worker is of the class that was named, with the config that was given, and not started."""
        worker = self.service(*self.GOOD, "--set-option", "amqp_prefetch_count:7")
        self.assertEqual(type(worker).__name__, "EchoWorker")
        config = worker.get_static_config()
        self.assertEqual((config.connector_name, config.amqp_prefetch_count), ("demo", 7))
        self.assertEqual((worker.running, worker.broker.state), (0, "connecting"))
        self.assertEqual(self.measured, [worker.reactor])

    def test_names_its_connector(self) -> None:
        """The broker of a worker of one connector names it in log lines; that of many channels is none's."""
        names: list[str] = []

        def broker(options: Any, reactor: Any, connector: str) -> Broker:
            names.append(connector)
            return MemoryBroker(Clock())

        self.patch(vumi_worker, "broker_from_options", broker)
        self.service(*self.GOOD)
        self.service("--config", self.file("worker.yaml", {"transport_name": "legacy"}))
        fleet = self.file("fleet.yaml", {"http_bind": "127.0.0.1:0", "connector_name": "none", "channels": []})
        self.stopped("--config", fleet, worker_class="vumi_turn.TurnChannels")
        self.assertEqual(names, ["demo", "legacy", ""])

    def test_heartbeat_of_a_standby(self) -> None:
        """Workers that stand by for each other have a heartbeat of 3 s, unless another one is given."""
        heartbeats: list[Any] = []

        def broker(options: Any, reactor: Any, connector: str) -> Broker:
            heartbeats.append(float(options["heartbeat"]))
            return MemoryBroker(Clock())

        self.patch(vumi_worker, "broker_from_options", broker)
        one = {**CHANNEL, "http_bind": "127.0.0.1:0"}
        fleet = {"http_bind": "127.0.0.1:0", "channels": [CHANNEL]}
        for worker_class, options in ((BRIDGE, one), ("vumi_turn.TurnChannels", fleet)):
            with case(worker_class=worker_class):
                heartbeats.clear()
                for standby, flags in ((True, ()), (False, ()), (True, ("--heartbeat", "20"))):
                    path = self.file("worker.yaml", {**options, "standby": standby})
                    self.service("--config", path, *flags, worker_class=worker_class)
                self.assertEqual(heartbeats, [3, 30, 20])

    def test_set_option_after_a_reload(self) -> None:
        """``--set-option`` lies over the file that is read again, too: over the defaults of many channels."""
        fleet: dict[str, Any] = {"http_bind": "127.0.0.1:0", "channels": [CHANNEL], "defaults": {"join_window": 1}}
        path = self.file("fleet.yaml", fleet)
        flags = ("--config", path, "--set-option", "join_window:3", "--set-option", "http_bind:127.0.0.1:9")
        service: Any = makeService(self.options(*flags, worker_class="vumi_turn.TurnChannels"))
        (host,) = service
        fleet["defaults"] = {"join_window": 2, "max_retries": 7}
        self.file("fleet.yaml", fleet)
        read = host._read()
        self.assertEqual(read["defaults"], {"join_window": "3", "max_retries": 7})
        self.assertEqual(read["http_bind"], "127.0.0.1:9")

    def test_set_option_by_another_name(self) -> None:
        """``--set-option`` wins over the file also where the two call an option by different names."""
        path = self.file("worker.yaml", {"transport_name": "file", "amqp_prefetch_count": 5})
        worker = self.service(
            "--config", path, "--set-option", "connector_name:set", "--set-option", "worker_concurrency:6"
        )
        config = worker.get_static_config()
        self.assertEqual((config.connector_name, config.amqp_prefetch_count), ("set", 6))

    def test_wrong_options(self) -> None:
        """Each wrong option is one line that names it; no secret is shown."""
        path = self.file(
            "worker.yaml",
            {"http_bind": 80, "max_retries": -1, "auth_token": "marker x", "vumi_api_path": "x",
             "message_cache_config": {"timeout": 0}, "middleware": ["no mapping"]},
        )  # fmt: skip
        lines = self.stopped("--config", path, worker_class=BRIDGE)
        self.assertEqual(
            sorted(line.split()[0].rstrip(":") for line in lines),
            sorted(
                ["connector_name", "http_bind", "vumi_api_path", "turn_api_url", "default_from_addr", "auth_token",
                 "turn_hmac_secret", "message_cache_config.timeout", "max_retries", "middleware"]
            ),
        )  # fmt: skip
        self.assertNotIn("marker", " ".join(lines))

    def test_no_worker(self) -> None:
        """A class that is not there, or is no worker, or cannot be imported, ends the start with one line."""
        broken = self.folder / "vumi_turn_broken_module.py"
        broken.write_text("raise ZeroDivisionError('first line\\nsecond line')\n")
        self.patch(sys, "path", [str(self.folder), *sys.path])
        for name, words in (
            ("no.such.Worker", "is it installed, or its folder on PYTHONPATH?"),
            ("vumi_turn.NoSuchWorker", "has no attribute 'NoSuchWorker'"),
            ("decimal.Decimal", "is not a worker of vumi_turn"),
            ("decimal", "is not a worker of vumi_turn"),
            ("vumi_turn_broken_module.Worker", "cannot be imported: first line"),
        ):
            with case(name=name, words=words):
                (line,) = self.stopped(worker_class=name)
                self.assertIn(f"--worker-class {name}", line)
                self.assertIn(words, line)

    def test_lines(self) -> None:
        """What is wrong is one line each, also where a middleware's own words were more."""
        broken = self.folder / "vumi_turn_broken_middleware.py"
        broken.write_text("raise ZeroDivisionError('first line\\nsecond line')\n")
        self.patch(sys, "path", [str(self.folder), *sys.path])
        path = self.file("worker.yaml", {"middleware": [{"m": "vumi_turn_broken_middleware.Middleware"}]})
        lines = self.stopped("--config", path, *self.GOOD)
        self.assertEqual(len(lines), 1)
        self.assertIn("middleware m: ", lines[0])
        self.assertIn("first line second line", lines[0])

    def test_ca_file(self) -> None:
        """A file of authorities that cannot be used ends the start, and is named."""
        bad = self.file("bad.pem", "no certificate")
        for path in (str(self.folder / "nowhere.pem"), bad):
            with case(path=path):
                (line,) = self.stopped(*self.GOOD, "--amqp-url", "amqps://h/", "--amqp-ca-file", path)
                self.assertIn(path, line)

    def test_sentry(self) -> None:
        """A Sentry DSN that is none ends the start, without being shown."""
        (line,) = self.stopped(*self.GOOD, "--sentry", "https://marker")
        self.assertIn("entry", line)
        self.assertNotIn("marker", line)

    def test_unknown_keys(self) -> None:
        """An option that is not known is a warning that names the nearest; middlewares' own are known."""
        path = self.file(
            "worker.yaml",
            {
                "connector_name": "demo",
                "amqp_prefetch_cout": 5,
                "zzz": 1,
                "amqp_url": "amqp://u:marker@h",
                "middlewares": [],
                "middleware": [{"log_all": "vumi_turn.vumi.middlewares.LoggingMiddleware"}],
                "log_all": {"log_level": "info"},
            },
        )
        events: list[LogEvent] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.service("--config", path)
        lines = [formatEvent(event) for event in events if event["log_level"].name == "warn"]
        self.assertEqual(
            sorted(lines),
            [
                "The option amqp_prefetch_cout is not known, and is ignored: did you mean amqp_prefetch_count?",
                "The option amqp_url is not known, and is ignored: the broker is named by flags (--amqp-url, "
                "--hostname, ...) or in the file of --vumi-config",
                "The option middlewares is not known, and is ignored: it is middleware here: a list of "
                "'name: dotted.Class', with the options under the name",
                "The option zzz is not known, and is ignored",
            ],
        )

    def test_misspelt(self) -> None:
        """Where an option is missing because it is misspelt, the end of the start says so too."""
        lines = self.stopped("--set-option", "conector_name:demo")
        self.assertTrue(lines[0].startswith("connector_name is missing"), lines)
        self.assertEqual(
            lines[1:], ["The option conector_name is not known, and is ignored: did you mean connector_name?"]
        )

    def test_garbage(self) -> None:
        """Looks for circular garbage are rare while a worker is loaded, and leave out later what was loaded."""
        plugin: Any = import_module("twisted.plugins.vumi_turn_plugin")
        thresholds: list[int] = []
        self.patch(gc, "set_threshold", thresholds.append)
        for maker in (plugin.vumi_worker, plugin.start_worker):
            with case(maker=maker.tapname):
                del thresholds[:], self.frozen[:]
                self.assertIs(maker.options, vumi_worker.Options)
                self.assertEqual((thresholds, self.frozen), ([plugin.OBJECTS_WHILE_LOADING], []))
                self.service(*self.GOOD)
                self.assertEqual((thresholds[1:], self.frozen), ([vumi_worker.YOUNG_OBJECTS], ["frozen"]))

    def test_maxthreads(self) -> None:
        """``--maxthreads`` bounds the reactor's threads; without it they are Twisted's affair."""
        sizes: list[int] = []
        self.patch(reactor, "suggestThreadPoolSize", sizes.append)
        self.service(*self.GOOD)
        self.assertEqual(sizes, [])
        self.service(*self.GOOD, "--maxthreads", "5")
        self.assertEqual(sizes, [5])
