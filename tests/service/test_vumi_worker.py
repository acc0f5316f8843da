"""The command ``vumi_worker``: its flags, and the worker that they make."""

from __future__ import annotations

import gc
import io
import sys
from pathlib import Path
from typing import Any, Callable, Optional

import yaml
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.broker.amqp.parameters import ConnectionParameters
from vumi_turn.channel.config import TurnChannelsApiConfig
from vumi_turn.service import vumi_worker as servicemaker
from vumi_turn.service.vumi_worker import (
    DEFAULTS,
    StartWorkerOptions,
    end_with_failure,
    makeService,
    parameters_from_options,
)
from vumi_turn.vumi.application import ApplicationWorker

BRIDGE = "vumi_turn.TurnChannelsApi"
ECHO = "vumi_turn.vumi.examples.EchoWorker"


class Undocumented(ApplicationWorker):
    __doc__ = None


class OptionsCase(SynchronousTestCase):
    """Files in a folder of their own, and what is printed."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())

    def file(self, name: str, data: Any) -> str:
        path = self.folder / name
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
        return str(path)

    def options(self, *flags: str, worker_class: Optional[str] = ECHO) -> StartWorkerOptions:
        """What these flags mean."""
        options = StartWorkerOptions()
        named = ("--worker-class", worker_class) if worker_class else ()
        options.parseOptions([*named, *flags])
        return options

    def warned(self) -> list[str]:
        """The lines on stderr since the last time; each is all that a warning is."""
        lines = self.err.getvalue().splitlines()
        self.err.truncate(0)
        self.err.seek(0)
        return lines

    def refusal(self, *flags: str, **options: Any) -> str:
        """Why the flags are refused."""
        return str(self.assertRaises(UsageError, self.options, *flags, **options))

    def ended(self, run: Callable[..., Any], *args: Any, **options: Any) -> list[str]:
        """The lines with which the start ends, with the status of a failure."""
        self.err.truncate(0)
        self.err.seek(0)
        ending = self.assertRaises(SystemExit, run, *args, **options)
        self.assertEqual(ending.code, 1)
        lines = self.err.getvalue().splitlines()
        for line in lines:
            self.assertTrue(line.startswith("vumi_worker: "), line)
        return [line[len("vumi_worker: ") :] for line in lines]


class BrokerFlagTests(OptionsCase):
    def parameters(self, *flags: str) -> ConnectionParameters:
        """Where these flags find the broker."""
        parameters: ConnectionParameters = parameters_from_options(self.options(*flags).vumi_options)
        return parameters

    def test_defaults(self) -> None:
        """Without flags it is legacy vumi's own set-up on this machine, with heartbeats."""
        self.assertEqual(self.options().vumi_options, dict(DEFAULTS))
        self.assertEqual(
            self.parameters(), ConnectionParameters("127.0.0.1", 5672, "vumi", "vumi", "/develop", 30.0, False, None)
        )

    def test_flags(self) -> None:
        """Each flag of legacy vumi's, and the new ones, arrive."""
        found = self.parameters(
            "--hostname", "rabbit.example", "--port", "5673", "--username", "u", "--password", "p: ä",
            "--vhost", "/x", "--heartbeat", "5", "--amqp-ca-file", "ca.pem",
        )  # fmt: skip
        self.assertEqual(found, ConnectionParameters("rabbit.example", 5673, "u", "p: ä", "/x", 5.0, False, "ca.pem"))

    def test_file(self) -> None:
        """``--vumi-config`` gives any of them, with hyphens or underscores; empty ones keep their default."""
        path = self.file(
            "vumi.yaml",
            {"hostname": "rabbit", "port": 5673, "system-id": "x", "amqp_ca_file": "ca.pem", "vhost": None},
        )
        options = self.options("--vumi-config", path)
        self.assertEqual(
            options.vumi_options,
            {**DEFAULTS, "hostname": "rabbit", "port": 5673, "system-id": "x", "amqp-ca-file": "ca.pem"},
        )
        self.assertEqual(self.warned(), [])

    def test_precedence(self) -> None:
        """A flag wins over the file, and the file over the default; also where the flag says the default."""
        path = self.file("vumi.yaml", {"hostname": "file", "port": 1, "vhost": "/file", "heartbeat": 7})
        found = self.parameters("--vumi-config", path, "--hostname", "flag", "--port", "5672")
        self.assertEqual((found.hostname, found.port, found.vhost, found.username), ("flag", 5672, "/file", "vumi"))
        self.assertEqual(found.heartbeat, 7.0)

    def test_file_with_environment(self) -> None:
        """The file may take values from the environment."""
        self.patch(servicemaker.os, "environ", {"AMQP_PASSWORD": "from the environment"})
        path = self.file("vumi.yaml", "password: !env AMQP_PASSWORD\nport: !env [AMQP_PORT, 5673]\n")
        found = self.parameters("--vumi-config", path)
        self.assertEqual((found.password, found.port), ("from the environment", 5673))

    def test_file_that_is_not_there(self) -> None:
        """A file that cannot be used is named."""
        self.assertIn("nowhere.yaml: cannot be read", self.refusal("--vumi-config", "nowhere.yaml"))
        self.assertIn("vumi.yaml", self.refusal("--vumi-config", self.file("vumi.yaml", "- a\n")))

    def test_file_with_others(self) -> None:
        """What is no option of vumi's is ignored with a warning that names it; so is a worker's."""
        path = self.file("vumi.yaml", {"hostnam": "x", "worker-class": "y"})
        self.assertEqual(self.options("--vumi-config", path).vumi_options, dict(DEFAULTS))
        expected = [
            f"warning: {path}: {name} is no option of vumi, and is ignored" for name in ("hostnam", "worker-class")
        ]
        self.assertEqual(self.warned(), expected)

    def test_specfile(self) -> None:
        """``--specfile`` is accepted and ignored, with a warning."""
        self.options("--specfile", "amqp-spec-0-8.xml")
        self.assertEqual(self.warned(), ["warning: --specfile is ignored: the AMQP definition is built in"])

    def test_arguments(self) -> None:
        """Whatever is no flag is refused by name."""
        expected = "vumi.yaml is not expected here: each value comes after its flag"
        self.assertEqual(self.refusal("vumi.yaml"), expected)
        self.assertEqual(self.refusal("vumi.yaml", "--port", "1"), expected)

    def test_port(self) -> None:
        """A port that is none is refused by name, from a flag and from the file."""
        for port in ("rabbit", "0", "65536", "-1", "5672.5", ""):
            expected = f"port must be a number from 1 to 65535, not {port!r}"
            self.assertEqual(self.refusal("--port", port), expected)
            self.assertEqual(self.refusal("--vumi-config", self.file("vumi.yaml", {"port": port})), expected)

    def test_heartbeat(self) -> None:
        """Heartbeats are from 0, which is off, to 65535 seconds; else they are refused by name."""
        for text, heartbeat in (("0", 0.0), ("0.5", 0.5), ("65535", 65535.0)):
            self.assertEqual(self.parameters("--heartbeat", text).heartbeat, heartbeat)
        for text in ("-1", "65536", "soon", "nan", "inf", ""):
            expected = f"heartbeat must be a number of seconds from 0 to 65535, not {text!r}"
            self.assertEqual(self.refusal("--heartbeat", text), expected)
            self.assertEqual(self.refusal("--vumi-config", self.file("vumi.yaml", {"heartbeat": text})), expected)

    def test_hostname(self) -> None:
        """A broker without a name is refused."""
        self.assertEqual(self.refusal("--hostname", ""), "hostname must not be empty")

    def test_url(self) -> None:
        """``--amqp-url`` names all at once and wins over the single flags, but not over heartbeat and CA file."""
        found = self.parameters(
            "--amqp-url", "amqps://u:p%40@rabbit.example/%2Fx", "--hostname", "other", "--heartbeat", "5",
            "--amqp-ca-file", "ca.pem",
        )  # fmt: skip
        self.assertEqual(found, ConnectionParameters("rabbit.example", 5671, "u", "p@", "/x", 5.0, True, "ca.pem"))

    def test_url_in_the_file(self) -> None:
        """A single flag wins over its part of a URL that the file has; what stands beside that URL does not."""
        url = "amqps://u:p@rabbit.example/%2Fx"
        path = self.file("vumi.yaml", {"amqp-url": url, "hostname": "beside", "vhost": "/beside"})
        found = self.parameters("--vumi-config", path, "--vhost", "/flag", "--port", "5673")
        self.assertEqual(found, ConnectionParameters("rabbit.example", 5673, "u", "p", "/flag", 30.0, True))
        expected = "port must be a number from 1 to 65535, not 'rabbit'"
        self.assertEqual(self.refusal("--vumi-config", path, "--port", "rabbit"), expected)

    def test_wrong_url(self) -> None:
        """A URL that is none is refused without its password."""
        for url in ("http://u:marker@h", "amqp://u:marker@h:99999/", "amqp://u:marker@/"):
            sentence = self.refusal("--amqp-url", url)
            self.assertIn("the AMQP URL", sentence)
            self.assertNotIn("marker", sentence)


class WorkerFlagTests(OptionsCase):
    def test_worker_class(self) -> None:
        """``--worker-class`` is needed."""
        self.assertEqual(self.options().worker_class_name, ECHO)
        self.assertEqual(self.refusal(worker_class=None), "please specify --worker-class")

    def test_old_name(self) -> None:
        """``--worker_class`` does the same and warns; beside the new one it is the new one that counts."""
        self.assertEqual(self.options("--worker_class", "old.Class", worker_class=None).worker_class_name, "old.Class")
        self.assertEqual(self.options("--worker_class", "old.Class").worker_class_name, ECHO)
        warnings = self.flushWarnings()
        self.assertEqual([warning["category"] for warning in warnings], [DeprecationWarning] * 2)
        self.assertIn("use --worker-class", warnings[0]["message"])

    def test_config(self) -> None:
        """``--config`` is the worker's file; without one there are no options."""
        self.assertEqual(self.options().worker_config, {})
        path = self.file("worker.yaml", {"connector_name": "demo", "max_retries": 5})
        self.assertEqual(self.options("--config", path).worker_config, {"connector_name": "demo", "max_retries": 5})

    def test_set_option(self) -> None:
        """``--set-option`` lays values over the file, as texts; the last of one name counts."""
        path = self.file("worker.yaml", {"connector_name": "demo", "max_retries": 5})
        options = self.options(
            "--config", path, "--set-option", "max_retries:6", "--set-option", "max_retries:7",
            "--set-option", "http_bind:[::1]:80", "--set-option", "turn_api_url:https://h:1/x",
            "--set-option", "empty:",
        )  # fmt: skip
        self.assertEqual(
            options.worker_config,
            {
                "connector_name": "demo",
                "max_retries": "7",
                "http_bind": "[::1]:80",
                "turn_api_url": "https://h:1/x",
                "empty": "",
            },
        )

    def test_set_option_without_a_name(self) -> None:
        """What is not ``key:value`` is refused, and a value is not shown."""
        self.assertEqual(self.refusal("--set-option", "key"), "--set-option wants key:value, not 'key'")
        self.assertNotIn("marker", self.refusal("--set-option", ":marker"))

    def test_set_option_shows_no_value(self) -> None:
        """What may be a secret with the wrong sign before it is not repeated."""
        for wrong in ("auth_token=marker", "auth_token marker"):
            self.assertEqual(self.refusal("--set-option", wrong), "--set-option wants key:value, not 'auth_token'…")

    def test_broken_file(self) -> None:
        """A file that cannot be used ends the start, and is named."""
        for path in ("nowhere.yaml", self.file("worker.yaml", "a: [1\nb: 2\n"), self.file("list.yaml", "- a\n")):
            (line,) = self.ended(self.options, "--config", path)
            self.assertTrue(line.startswith(path), line)

    def test_logs(self) -> None:
        """What a log can look like is told where it is asked for something else."""
        options = self.options("--log-format", "json", "--log-level", "debug")
        self.assertEqual((options["log-format"], options["log-level"]), ("json", "debug"))
        self.assertEqual(self.refusal("--log-format", "xml"), "--log-format must be one of text, json, not 'xml'")
        self.assertIn("debug, info, warn, error, not 'loud'", self.refusal("--log-level", "loud"))

    def test_maxthreads(self) -> None:
        """A number of threads that is none is refused by name."""
        for text in ("many", "0", "-1", "1.5"):
            self.assertEqual(
                self.refusal("--maxthreads", text), f"maxthreads must be a whole number, 1 or more, not {text!r}"
            )

    def test_help(self) -> None:
        """``--worker-help`` prints what the class and each option of its config is, and ends well."""
        ending = self.assertRaises(SystemExit, self.options, "--worker-help", worker_class=BRIDGE)
        self.assertEqual(ending.code, 0)
        self.assertIn("Connects a vumi connector to Turn's Channels API.", self.out.getvalue())
        for name in TurnChannelsApiConfig.known_names() - {"transport_name", "worker_concurrency"}:
            self.assertRegex(self.out.getvalue(), rf"(?m)^:param .* {name}:$")

    def test_help_without_words(self) -> None:
        """A class without documentation still shows its options; the file of its config is not needed."""
        flags = ("--worker-help", "--config", "nowhere.yaml")
        ending = self.assertRaises(SystemExit, self.options, *flags, worker_class=f"{__name__}.Undocumented")
        self.assertEqual(ending.code, 0)
        self.assertIn("connector_name", self.out.getvalue())

    def test_help_for_nothing(self) -> None:
        """``--worker-help`` for a class that is not there ends with a line that names it."""
        (line,) = self.ended(self.options, "--worker-help", worker_class="no.such.Worker")
        self.assertIn("no.such.Worker", line)


class ServiceCase(OptionsCase):
    """Makes services that are never started."""

    GOOD = ("--set-option", "connector_name:demo")

    def service(self, *flags: str, worker_class: str = ECHO) -> Any:
        """The worker that these flags make."""
        (worker,) = makeService(self.options(*flags, worker_class=worker_class))  # type: ignore[call-overload]
        return worker

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
            {"http_bind": 80, "max_retries": -1, "auth_token": "marker\n", "vumi_api_path": "x",
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
                "middleware": [{"log_all": "vumi_turn.vumi.middlewares.LoggingMiddleware"}],
                "log_all": {"log_level": "info"},
            },
        )
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.service("--config", path)
        lines = [formatEvent(event) for event in events if event["log_level"].name == "warn"]
        self.assertEqual(
            lines,
            [
                "The option amqp_prefetch_cout is not known, and is ignored: did you mean amqp_prefetch_count?",
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

    def test_maxthreads(self) -> None:
        """``--maxthreads`` bounds the reactor's threads; without it they are Twisted's affair."""
        sizes: list[int] = []
        self.patch(reactor, "suggestThreadPoolSize", sizes.append)
        self.service(*self.GOOD)
        self.assertEqual(sizes, [])
        self.service(*self.GOOD, "--maxthreads", "5")
        self.assertEqual(sizes, [5])


class FakeReactor(Clock):
    """A reactor that only notes that it is stopped, and what is to happen after that."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0
        self.triggers: list[tuple[str, str, Callable[[], None]]] = []

    def stop(self) -> None:
        self.stops += 1

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], None]) -> None:
        self.triggers.append((phase, event, call))


class EndTests(OptionsCase):
    def test_end_with_failure(self) -> None:
        """A worker that cannot start stops the reactor in its next turn; the process then ends with status 1."""
        clock = FakeReactor()
        statuses: list[int] = []
        self.patch(servicemaker.os, "_exit", statuses.append)
        end_with_failure(clock)
        self.assertEqual((clock.stops, statuses), (0, []))
        clock.advance(0)
        self.assertEqual((clock.stops, statuses), (1, []))
        ((phase, event, call),) = clock.triggers
        self.assertEqual((phase, event), ("after", "shutdown"))
        call()
        self.assertEqual(statuses, [1])
