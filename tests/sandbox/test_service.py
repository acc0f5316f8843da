"""The flags of the sandbox and of the simulated Turn."""

from __future__ import annotations

import io
import json
import os
import sys
import webbrowser
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.logger import globalLogPublisher
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.sandbox import service
from vumi_turn.sandbox import service as sandbox_service
from vumi_turn.sandbox.listening import Listening, address, host_and_port, reachable
from vumi_turn.sandbox.service import SandboxOptions, makeService
from vumi_turn.sandbox.turn_simulator.service import SimulatorOptions

VARIABLES = ("TURN_TOKEN", "TURN_HMAC_SECRET", "AMQP_PASSWORD")
REAL_TURN = ("--turn-url", "https://turn.example/v1/numbers/x")


class FlagCase(SynchronousTestCase):
    """The environment has no secrets, unless a test puts them there."""

    options: type[usage.Options] = SandboxOptions

    def setUp(self) -> None:
        for name in VARIABLES:
            self.patch(os, "environ", {key: value for key, value in os.environ.items() if key != name})

    def parse(self, *flags: str, **variables: str) -> Any:
        os.environ.update(variables)
        options = self.options()
        options.parseOptions(list(flags))
        return options

    def wrong(self, *flags: str) -> str:
        with self.assertRaises(usage.UsageError) as caught:
            self.parse(*flags)
        return str(caught.exception)


class SandboxFlagTests(FlagCase):
    def test_none(self) -> None:
        """Without a flag everything is simulated, on this machine's own address."""
        options = self.parse()
        self.assertEqual((options.page, options.worker), (("127.0.0.1", 8010), ("127.0.0.1", 8011)))
        self.assertEqual((options.real_broker, options.config, options["no-phones"]), (False, {}, 0))

    def test_secrets_alone(self) -> None:
        """Secrets of the environment alone change nothing: they may be another program's."""
        options = self.parse(TURN_TOKEN="t", TURN_HMAC_SECRET="s", AMQP_PASSWORD="p")
        self.assertEqual((options.real_broker, options.config), (False, {}))

    def test_real_turn(self) -> None:
        """The real Turn's secrets come by flags, by the environment, or by the config; flags win."""
        expected = {"auth_token": "t", "turn_hmac_secret": "s"}
        self.assertEqual(self.parse(*REAL_TURN, "--auth-token", "t", "--secret", "s").config, expected)
        path = Path(self.mktemp())
        path.write_text(json.dumps(expected))
        self.assertEqual(self.parse(*REAL_TURN, "--config", str(path)).config, expected)
        options = self.parse(*REAL_TURN, "--auth-token", "t", TURN_TOKEN="other", TURN_HMAC_SECRET="s")
        self.assertEqual(options.config, expected)

    def test_real_turn_without_secrets(self) -> None:
        """A real Turn without its secrets, or secrets without it, are refused."""
        self.assertIn("--turn-url needs --auth-token and --secret", self.wrong(*REAL_TURN, "--auth-token", "t"))
        self.assertIn("--turn-url is missing", self.wrong("--secret", "s"))

    def test_real_broker(self) -> None:
        """An AMQP flag means a real broker, whose password may be in the environment; the flag wins."""
        options = self.parse("--hostname", "rabbit.example", AMQP_PASSWORD="p")
        self.assertTrue(options.real_broker)
        self.assertEqual(options.vumi_options["hostname"], "rabbit.example")
        self.assertEqual(options.vumi_options["password"], "p")
        options = self.parse("--hostname", "rabbit.example", "--password", "q", AMQP_PASSWORD="p")
        self.assertEqual(options.vumi_options["password"], "q")
        self.assertTrue(self.parse("--amqp-url", "amqp://u:p@rabbit.example/").real_broker)

    def test_no_phones(self) -> None:
        """Without phones there must be a broker that others can join."""
        self.assertIn("--no-phones needs a real RabbitMQ", self.wrong("--no-phones"))
        self.assertTrue(self.parse("--no-phones", "--hostname", "rabbit.example")["no-phones"])

    def test_wrong(self) -> None:
        """What cannot be is refused with a sentence."""
        for flags, words in (
            (["--http", "8010"], "--http must be host:port, as 127.0.0.1:8010, not '8010'"),
            (["--worker-http", "127.0.0.1:0"], "--worker-http must be host:port"),
            (["--config", "/no/such.yaml"], "/no/such.yaml"),
            (["--log-level", "loud"], "--log-level must be one of debug, info, warn, error, not 'loud'"),
        ):
            with case(flags=flags, words=words):
                self.assertIn(words, self.wrong(*flags))


class ThreadReactor(MemoryReactor):
    """Remembers what it was to do in a thread."""

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        super().__init__()
        self._calls = calls

    def callInThread(self, *call: Any) -> None:
        self._calls.append(call)


class WelcomeTests(SynchronousTestCase):
    """What is said when all is there."""

    def setUp(self) -> None:
        self.said: list[str] = []
        self.opened: list[tuple[Any, ...]] = []
        self.patch(service, "tell", self.said.append)
        self.reactor = ThreadReactor(self.opened)

    def test_told(self) -> None:
        """The page's address, and what to do there; no browser is opened."""
        service._welcome(self.reactor, "http://127.0.0.1:8010/", False)
        self.assertIn("The sandbox is at http://127.0.0.1:8010/\n", self.said[0])
        self.assertIn("press Call on the phone: it dials *120*8864#. Then answer 1.", self.said[0])
        self.assertEqual(self.opened, [])

    def test_open(self) -> None:
        """With ``--open`` the page is opened in a browser, in a thread of its own."""
        service._welcome(self.reactor, "http://127.0.0.1:8010/", True)
        self.assertEqual(self.opened, [(webbrowser.open, "http://127.0.0.1:8010/")])


class SimulatorFlagTests(FlagCase):
    options = SimulatorOptions

    def test_secrets(self) -> None:
        """Token and secret are needed, by flags or by the environment."""
        self.assertEqual(self.wrong(), "--token is required, or TURN_TOKEN in the environment")
        self.assertEqual(self.wrong("--token", "t"), "--secret is required, or TURN_HMAC_SECRET in the environment")
        options = self.parse("--token", "t", TURN_TOKEN="other", TURN_HMAC_SECRET="s")
        self.assertEqual((options["token"], options["secret"]), ("t", "s"))

    def test_wrong(self) -> None:
        """What cannot be is refused with a sentence."""
        for flags, words in (
            (["--webhook", "127.0.0.1:8080"], "--webhook must be a URL"),
            (["--limit", "-1"], "--limit must be a whole number, 0 or more, not '-1'"),
            (["--limit", "x"], "--limit must be a whole number, 0 or more, not 'x'"),
            (["--http", "x"], "--http must be host:port"),
            (["--log-level", "loud"], "--log-level must be one of"),
        ):
            with case(flags=flags, words=words):
                self.assertIn(words, self.wrong(*flags))


class WhereTests(SynchronousTestCase):
    """Hosts and ports."""

    def test_host_and_port(self) -> None:
        """``host:port``, with brackets around IPv6."""
        self.assertEqual(host_and_port("localhost:80", "--http"), ("localhost", 80))
        self.assertEqual(host_and_port("[::1]:8010", "--http"), ("::1", 8010))
        for wrong in ("", "8010", ":8010", "host:", "host:x", "host:99999", "u@host:1", "host:1/", "http://host:1"):
            with case(wrong=wrong):
                with self.assertRaises(usage.UsageError):
                    host_and_port(wrong, "--http")

    def test_reachable(self) -> None:
        """What listens everywhere is reached by this machine's own address."""
        self.assertEqual(address(reachable("0.0.0.0"), 80), "127.0.0.1:80")
        self.assertEqual(address(reachable("::"), 80), "[::1]:80")
        self.assertEqual(address(reachable("10.0.0.1"), 80), "10.0.0.1:80")


class ListeningTests(SynchronousTestCase):
    """A service that listens."""

    def listening(self, reactor: Any) -> Listening:
        self.said: list[str] = []
        return Listening(
            reactor,
            "The thing",
            ("127.0.0.1", 8010),
            Factory(),
            ready=lambda: self.said.append("ready"),
            fatal=lambda: self.said.append("fatal"),
        )

    def test_ready(self) -> None:
        """It is ready once the port is its own, and gives it back."""
        reactor = MemoryReactor()
        listening = self.listening(reactor)
        listening.startService()
        self.assertEqual((self.said, [server[0] for server in reactor.tcpServers]), (["ready"], [8010]))
        self.assertEqual(listening.url, "http://127.0.0.1:8010/")
        self.successResultOf(listening.stopService())

    def test_port_in_use(self) -> None:
        """A port that is taken is fatal, said in one line that names the flag for another."""

        class Taken(MemoryReactor):
            def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
                raise CannotListenError(interface, port, OSError(98, "Address already in use"))

        lines: list[Any] = []
        observer: Any = lines.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        listening = self.listening(Taken())
        listening.startService()
        self.assertEqual(self.said, ["fatal"])
        (line,) = [one for one in lines if one.get("log_level") and one["log_level"].name == "critical"]
        text = line["log_format"].format(**line)
        self.assertEqual(
            text, "The thing cannot start: 127.0.0.1:8010: Address already in use; --http names another place"
        )
        self.successResultOf(listening.stopService())


class MakeServiceTests(FlagCase):
    """Making a sandbox that cannot be."""

    def stopped(self, *flags: str) -> list[str]:
        """The lines with which it ends, with the status of a failure."""
        err = io.StringIO()
        self.patch(sys, "stderr", err)
        self.patch(sandbox_service, "measure_monotonically", lambda reactor: None)  # it is trial's
        options = self.parse(*flags)
        self.assertEqual(self.assertRaises(SystemExit, makeService, options).code, 1)
        return err.getvalue().splitlines()

    def test_wrong_config(self) -> None:
        """Each wrong option of the worker is one line."""
        path = Path(self.mktemp())
        path.write_text(json.dumps({"max_retries": -1, "publish_timeout": "soon"}))
        self.assertEqual(
            self.stopped("--config", str(path)),
            [
                "vumi_turn_sandbox: publish_timeout must be a number, not 'soon'",
                "vumi_turn_sandbox: max_retries must be a whole number, 0 or more, not -1",
            ],
        )

    def test_ca_file(self) -> None:
        """A file of authorities that cannot be used is one line."""
        (line,) = self.stopped("--amqp-url", "amqps://h/", "--amqp-ca-file", "/no/such.pem")
        self.assertIn("vumi_turn_sandbox: the AMQP CA file /no/such.pem cannot be used", line)
