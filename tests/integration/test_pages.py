"""The commands of README.rst and of docs, run as they stand there; only addresses of servers are other ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import user_message
from tests.integration.amqp_peer import AmqpPeer
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.process import PATIENCE, end_process, environment, run_process, start_process
from tests.integration.rabbitmq import PASSWORD, USERNAME, shared_rabbitmq
from tests.integration.requirements import free_port
from tests.integration.sandbox_process import Api, Sandbox
from tests.integration.turn_server import NUMBER, TurnResponse, TurnServer
from tests.integration.waiting import wait_for
from tests.pages import block_with, command_with, commands, requests

CONNECTOR = "ussd_transport"

#: Words of the command that starts the worker.
WORKER = "--worker-class vumi_turn.TurnChannelsApi --config turn_channels.yaml"

#: Why no test runs a command; that its syntax is right is checked by tests.test_pages.
SYNTAX_ONLY = "it needs what is not on every machine"
TEST_COMMAND = "the checks of a clean clone run it"

#: Every command of the pages is named here by words of it: with the test that
#: runs it, or with why none does.
SHOWN = {
    "&& .venv/bin/twistd -n vumi_turn_sandbox": "tests.integration.test_readme_install",
    "&& .venv/bin/trial -j2 tests": TEST_COMMAND,
    ".venv/bin/trial -j2 tests": TEST_COMMAND,
    ".venv/bin/trial tests.": TEST_COMMAND,
    "-m tests.fast": TEST_COMMAND,
    "-m twisted.trial test_greeter": "tests.testing.test_examples",
    "apt-get install": "the checks of a clean clone install the same packages",
    "virtualenv -p python2.7": "the checks of a clean clone install the same packages",
    "VUMI_TURN_LEGACY_PYTHON=": "it is the test command with a variable set",
    "/opt/vumi_turn/bin/pip install": "the test command installs from the same folder",
    ".venv/bin/pre-commit install": SYNTAX_ONLY,
    ".venv/bin/sphinx-build": TEST_COMMAND,
    WORKER: "WorkerTests",
    "vumi_turn.TurnChannels --config channels.yaml": "it needs two channels; the fleet's tests start such a worker",
    "vumi_turn_failures --vhost /develop --connector": "WorkerTests",
    "--newer-than 2h --json": "WorkerTests",
    "rabbitmqctl": SYNTAX_ONLY,
    "greeter.Greeter": "GreeterTests",
    "twistd -n vumi_turn_sandbox": "tests.integration.test_sandbox",
    "vumi_turn_simulator": "SimulatorTests",
    "create --from-addr": "ChannelTests",
    "create --api-url http://127.0.0.1:8020": "tests.integration.test_simulator makes a channel there",
    "vumi_turn_channel check": "ChannelTests",
    "curl -X POST": SYNTAX_ONLY,
    "curl -u operator": "tests.monitoring has the same requests",
    "vumi_turn_trace": "tests.commands.test_trace has the same arguments",
    "cp etc/vumi_turn.service": SYNTAX_ONLY,
    "systemctl": SYNTAX_ONLY,
    "debootstrap": SYNTAX_ONLY,
    "mount --bind": SYNTAX_ONLY,
    "rabbitmq4": SYNTAX_ONLY,
    "done": "it ends a loop of a command that is here",
    "-m tests.integration.fail_over": "tests.integration.test_standby kills fewer of them",
    "docker build": SYNTAX_ONLY,
    "docker run": SYNTAX_ONLY,
    "-m tests.integration.chaos": "tests.integration.test_chaos does the same for a shorter time",
    "-m benchmarks": "tests.integration.test_benchmarks runs it, with little load",
    "tox -e": "it needs several versions of Python",
}


class CoverTests(SynchronousTestCase):
    def test_every_command(self) -> None:
        """No command of a page is without a test, or a reason for having none."""
        for command in commands():
            self.assertTrue(any(words in command for words in SHOWN), f"nothing runs: {command}")
        for words in SHOWN:
            self.assertTrue(any(words in command for command in commands()), f"no page has {words}")


class PageCase(SynchronousTestCase):
    """Commands run in a folder of their own, with the programs of this interpreter."""

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.peer = AmqpPeer(self.node.port)
        self.addCleanup(self.peer.close)
        self.folder = Path(tempfile.mkdtemp(prefix="vumi_turn_pages_"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.environ = environment({"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])})
        self.environ.pop("PYTHONPATH")
        self.broker = f"--port {self.node.port} --username {USERNAME} --password {PASSWORD}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self, command: str) -> subprocess.Popen[Any]:
        """Start a command that goes on until it is stopped."""
        with open(self.folder / "log", "ab") as log:
            process = start_process(
                ["sh", "-c", re.sub(r"(^|\S+=\S* )(?=twistd)", r"\1exec ", command, count=1)],
                folder=self.folder,
                environ=self.environ,
                stdout=log,
                stderr=log,
            )
        self.addCleanup(end_process, process, signal.SIGTERM)
        return process

    def run_command(self, command: str, answer: str = "") -> str:
        """Run a command that ends by itself, and well; what it printed."""
        done = run_process(
            ["sh", "-c", command], folder=self.folder, environ=self.environ, answer=answer, stderr=subprocess.STDOUT
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def say(self, message_id: str, **changes: Any) -> None:
        """A person's message goes into the queue."""
        self.peer.declare(f"{CONNECTOR}.inbound")
        message = user_message(message_id, transport_name=CONNECTOR, **changes)
        self.peer.publish(f"{CONNECTOR}.inbound", message.to_json())


class WorkerTests(PageCase):
    """The worker, as the pages start it."""

    def setUp(self) -> None:
        super().setUp()
        self.turn = TurnServer("the-channels-token")
        self.addCleanup(self.turn.close)
        self.port = free_port()
        config = block_with("connector_name: ussd_transport")
        config = config.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        config = re.sub(r"(?m)^turn_api_url: .*", f"turn_api_url: {self.turn.url}", config)
        (self.folder / "turn_channels.yaml").write_text(config)
        self.environ.update(TURN_CHANNEL_TOKEN="the-channels-token", TURN_HMAC_SECRET="the secret")
        for kind in ("inbound", "event", "outbound", "turn_failures"):
            self.peer.declare(f"{CONNECTOR}.{kind}")
            self.peer.purge(f"{CONNECTOR}.{kind}")

    def start_worker(self) -> HttpPeer:
        """The worker, ready."""
        self.start(command_with(WORKER) + " " + self.broker)
        http = HttpPeer(self.port, "the secret")
        try:
            wait_for(lambda: "ok" in _health_of(http), "the worker's health", PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{self.log[-3000:]}") from None
        return http

    def failures(self, words: str, message_id: str = "", answer: str = "") -> str:
        """Run the pages' command for parked messages that holds these words."""
        command = command_with(f"--connector {CONNECTOR} {words}")
        command = command.replace("vumi_turn_failures", f"vumi_turn_failures {self.broker}")
        return self.run_command(command.replace("MESSAGE_ID ...", message_id), answer)

    def test_there_and_back(self) -> None:
        """What a person says gets to Turn, and what Turn answers is in the transport's queue."""
        http = self.start_worker()
        self.say("a" * 32, content="Hello")
        self.assertEqual(self.turn.wait_for("messages", "a" * 32).json["message"]["text"]["body"], "Hello")
        answered = http.post(outbound(str(user_message("x" * 32).from_addr), "Hi"))
        self.assertEqual(answered.status, 200, self.log)
        reply = self.peer.take_json(f"{CONNECTOR}.outbound")
        self.assertEqual((reply["content"], reply["in_reply_to"]), ("Hi", "a" * 32))

    def test_parked_messages(self) -> None:
        """Parked messages are listed, replayed, and dropped, while the worker runs."""
        self.start_worker()
        self.turn.script(*[TurnResponse(400)] * 3)
        for name in "abc":
            self.say(name * 32, from_addr=f"+2782000000{name}", content="Hello")
        wait_for(lambda: self.peer.ready(f"{CONNECTOR}.turn_failures") == 3, "three parked messages")
        shown = self.failures("list")
        for name in "abc":
            self.assertIn(name * 32, shown)
        self.assertNotIn("Hello", shown)
        chosen = command_with("--newer-than 2h --json").replace(
            "vumi_turn_failures", f"vumi_turn_failures {self.broker}"
        )
        objects = [json.loads(line) for line in self.run_command(chosen).splitlines() if line.startswith("{")]
        # The last object has the numbers.
        self.assertEqual({one["id"] for one in objects[:-1]}, {name * 32 for name in "abc"})
        self.failures("drop MESSAGE_ID", "c" * 32, answer="yes\n")
        self.failures("replay MESSAGE_ID", "a" * 32)
        self.failures("replay --all")
        wait_for(lambda: len(self.turn.of("messages")) == 5, "the replayed messages at Turn")
        self.assertEqual(self.peer.ready(f"{CONNECTOR}.turn_failures"), 0)


class ChannelTests(PageCase):
    """A channel is made, its configuration tried, and the worker started with it."""

    def test_from_nothing_to_the_worker(self) -> None:
        """What create writes is what check finds right and what the worker starts with."""
        turn = TurnServer("the-token")
        self.addCleanup(turn.close)
        made = {"number": {"uuid": NUMBER}, "webhook": {"uuid": NUMBER, "hmac_secret": "the secret"}}
        turn.script(TurnResponse(status=201, body=json.dumps(made).encode()))
        port = free_port()
        here = f"--http-bind 127.0.0.1:{port} --api-url {turn.url.rpartition('/')[0]}"
        self.environ.update(TURN_TOKEN="the-token", TURN_CHANNEL_TOKEN="the-token")
        self.run_command(command_with("create --from-addr") + " " + here)
        turn.script(TurnResponse(status=422))
        lines = self.run_command(command_with("vumi_turn_channel check") + " " + self.broker)
        self.assertIn("ok      turn: reached, and it takes the token", lines)
        self.start(command_with(WORKER) + " " + self.broker)
        wait_for(lambda: "ok" in _health_of(HttpPeer(port, "the secret")), "the worker's health", PATIENCE)


class GreeterTests(PageCase):
    def test_conversation(self) -> None:
        """The example application asks for a name, and greets."""
        (self.folder / "greeter.py").write_text(block_with("class Greeter"))
        self.peer.declare(f"{CONNECTOR}.outbound")
        self.peer.purge(f"{CONNECTOR}.outbound")
        self.start(command_with("greeter.Greeter --set-option") + " " + self.broker)
        self.say("a" * 32, session_event="new", content=None)
        asked = self.peer.take_json(f"{CONNECTOR}.outbound", PATIENCE)
        self.assertEqual((asked["content"], asked["session_event"]), ("What is your name?", None), self.log)
        self.say("b" * 32, session_event="resume", content="Thandi")
        greeted = self.peer.take_json(f"{CONNECTOR}.outbound", PATIENCE)
        self.assertEqual((greeted["content"], greeted["session_event"]), ("Hello Thandi!", "close"), self.log)
        self.assertEqual(greeted["in_reply_to"], "b" * 32)


def _health_of(http: HttpPeer) -> str:
    try:
        return str(http.get("/health").json["health"])
    except OSError:
        return ""


class SimulatorTests(PageCase):
    def test_message(self) -> None:
        """The simulated Turn takes a message with the token of the command, at the URL that the page names."""
        port = free_port()
        self.start(command_with("twistd -n vumi_turn_simulator") + f" --http 127.0.0.1:{port}")
        simulator = Api(port)

        def post(token: str) -> tuple[int, bytes]:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            try:
                status, _, answer = simulator.request("POST", "/v1/numbers/test/messages", b"{}", headers)
            except OSError:
                return 0, b""
            return status, answer

        wait_for(lambda: post("another-token")[0] == 401, "a simulator that checks the token", PATIENCE)
        status, answer = post("test-token")
        self.assertEqual(status, 400)
        self.assertIn(b"contact", answer)


class SandboxApiTests(SynchronousTestCase):
    def test_every_request(self) -> None:
        """Each request of the page is one that the sandbox knows, and the bodies that it shows are good."""
        sandbox = Sandbox()
        self.addCleanup(sandbox.close)
        shown = [request for request in requests("docs/simulate.rst") if request.path.startswith("/api/")]
        self.assertGreater(len(shown), 10)
        for request in shown:
            if request.path == "/api/events":
                continue  # never ends
            path = request.path.replace("(number)", "+26612345678")
            body = None if request.method == "GET" else json.loads(request.body or "null")
            if path.endswith("/answer"):
                sandbox.wait_for_screen("+26612345678", "1.")
            if "conversations" in path and body:
                body["reply_to"] = None  # there is no message of the id that the page shows
            if path.endswith("/replay"):
                body = {}  # nothing is parked under the id that the page shows
            status, answer = sandbox.api.call(request.method, path, body)
            self.assertEqual(status, 200, f"{request.method} {path} {body}: {answer}")
