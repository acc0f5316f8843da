"""The example application, started as a person would start it, on a real RabbitMQ."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import user_message
from tests.integration.amqp_peer import AmqpPeer
from tests.integration.process import PATIENCE, environment, installed, run_process, run_twistd, twistd
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST, shared_rabbitmq
from tests.integration.waiting import wait_for
from vumi_turn.vumi.application import ApplicationWorker
from vumi_turn.vumi.messages import TransportUserMessage

ECHO = "vumi_turn.vumi.examples.EchoWorker"


class FailingWorker(ApplicationWorker):
    """Cannot be set up."""

    async def setup_application(self) -> None:
        raise ZeroDivisionError("marker")


class Raising(ApplicationWorker):
    """Answers what it understands, and raises on the rest, until a file says that it is mended."""

    async def consume_user_message(self, message: TransportUserMessage) -> None:
        if message.content == "poison" and not os.path.exists("mended"):
            raise ZeroDivisionError("marker")
        await self.reply_to(message, f"got {message.content}")


CONFIG = """
connector_name: echo_demo
worker_name: echo_1
middleware:
  - log: vumi.middleware.LoggingMiddleware
  - ascii: UnidecodeMiddleware
"""


class EchoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.peer = AmqpPeer(self.node.port)
        self.addCleanup(self.peer.close)
        self.folder = Path(tempfile.mkdtemp(prefix="vumi_turn_echo_"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        (self.folder / "echo.yaml").write_text(CONFIG)
        self.flags = [
            *("-n", "--pidfile=", "vumi_worker", "--hostname", "127.0.0.1", "--port", str(self.node.port)),
            *("--vhost", VHOST, "--username", USERNAME, "--password", PASSWORD),
        ]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self, *flags: str, worker_class: str = ECHO) -> subprocess.Popen[bytes]:
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen(
                [*twistd(), *self.flags, "--worker-class", worker_class, *flags],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)

    def say(self, connector: str, message_id: str, content: str) -> dict[str, Any]:
        """What comes back."""
        self.peer.declare(f"{connector}.inbound")
        message = user_message(message_id, content=content, transport_name=connector)
        self.peer.publish(f"{connector}.inbound", message.to_json())
        answer: dict[str, Any] = self.peer.take_json(f"{connector}.outbound", PATIENCE)
        return answer

    def test_by_one_option(self) -> None:
        """The example answers what is said, with nothing but a connector's name to configure."""
        self.peer.declare("demo.outbound")
        process = self.start("--set-option", "connector_name:demo")
        reply = self.say("demo", "a" * 32, "h\u00e9llo")
        self.assertEqual((reply["content"], reply["in_reply_to"]), ("h\u00e9llo", "a" * 32))
        self.peer.wait_until_empty("demo.inbound")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), -signal.SIGTERM)
        self.assertIn("EchoWorker has stopped", self.log)

    def test_middlewares_and_heartbeats(self) -> None:
        """Legacy middlewares' names work, the log has no content, and heartbeats can be heard."""
        channel = self.peer.channel
        channel.exchange_declare("vumi.health", "direct", durable=True)
        channel.queue_declare("echo_heartbeats")
        channel.queue_bind("echo_heartbeats", "vumi.health", "heartbeat.inbound")
        self.peer.declare("echo_demo.outbound")
        process = self.start("--config", "echo.yaml")
        reply = self.say("echo_demo", "b" * 32, "\u017dlu\u0165ou\u010dk\u00fd secret")
        self.assertEqual(reply["content"], "Zlutoucky secret")
        self.assertIn(f"Consumed inbound message {'b' * 32} on echo_demo", self.log)
        self.assertIn(f"Publishing outbound message {reply['message_id']} on echo_demo", self.log)
        self.assertNotIn("secret", self.log)
        self.assertNotIn("+27820000001", self.log)
        beat = self.peer.take_json("echo_heartbeats", PATIENCE)
        self.assertEqual((beat["worker_id"], beat["pid"]), ("global:echo_1", process.pid))

    def test_failing_set_up(self) -> None:
        """A worker whose set-up fails ends by itself with status 1, and the log says why."""
        name = f"{__name__}.FailingWorker"
        result = run_twistd(*self.flags, "--worker-class", name, "--set-option", "connector_name:failing")
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn("FailingWorker cannot start (error ", result.stdout)
        self.assertIn("ZeroDivisionError: marker", result.stdout)
        self.assertIn("FailingWorker has stopped", result.stdout)

    def test_parked(self) -> None:
        """
        What an application raises on is parked after its tries, with one
        traceback; vumi_turn_failures lists it there, and replays it to the
        application once that is mended. Others are answered meanwhile.
        """
        queue = "raising.failures_of_application"
        self.peer.declare("raising.outbound")
        options = ("--set-option", "connector_name:raising", "--set-option", "max_failures:2")
        self.start(*options, worker_class=f"{__name__}.Raising")
        self.peer.declare("raising.inbound")
        poison = user_message("c" * 32, content="poison", transport_name="raising")
        self.peer.publish("raising.inbound", poison.to_json())
        self.assertEqual(self.say("raising", "d" * 32, "hello")["content"], "got hello")
        wait_for(lambda: self.peer.ready(queue) == 1, "the parked message", PATIENCE)
        self.assertEqual(self.log.count("Traceback"), 1, self.log)
        listed = self.failures("list")
        self.assertIn("c" * 32, listed)
        self.assertIn("ZeroDivisionError", listed + self.log)
        (self.folder / "mended").touch()
        self.failures("replay", "--all")
        self.assertEqual(self.peer.take_json("raising.outbound", PATIENCE)["in_reply_to"], "c" * 32)
        self.assertEqual(self.peer.ready(queue), 0)

    def failures(self, *arguments: str) -> str:
        """What vumi_turn_failures says of what the application has parked."""
        command = [
            *installed("vumi_turn_failures"),
            *("--hostname", "127.0.0.1", "--port", str(self.node.port), "--vhost", VHOST),
            *("--username", USERNAME, "--password", PASSWORD),
            *("--connector", "raising", "--queue", "failures_of_application", *arguments),
        ]
        done = run_process(command)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_wrong_middleware(self) -> None:
        """A start that can't work ends with status 1 and says what is wrong, without a traceback."""
        (self.folder / "wrong.yaml").write_text(json.dumps({"middleware": [{"x": "no.such.Thing"}]}))
        arguments = [*self.flags, "--worker-class", ECHO, "--config", os.fspath(self.folder / "wrong.yaml")]
        result = run_twistd(*arguments)
        self.assertEqual(result.returncode, 1)
        self.assertIn("connector_name is missing", result.stdout)
        self.assertIn("middleware x: 'no.such.Thing' cannot be imported", result.stdout)
        self.assertNotIn("Traceback", result.stdout)
