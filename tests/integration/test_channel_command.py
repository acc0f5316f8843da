"""The installed command ``vumi_turn_channel``, on a real RabbitMQ and a local Turn."""

from __future__ import annotations

import json
import os
import pty
import signal
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Iterator, Sequence

import pika
import yaml
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import SynchronousTestCase

from tests.http.authority import Authority
from tests.integration.bridge_case import SECRET, TOKEN, BridgeCase
from tests.integration.process import end_process, environment, installed, run_process, start_process
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST
from tests.integration.requirements import free_port
from tests.integration.turn_server import NUMBER, TurnResponse, TurnServer
from tests.integration.vumi_words import inbound
from tests.integration.waiting import wait_for

MADE = {"number": {"uuid": NUMBER}, "webhook": {"uuid": NUMBER, "hmac_secret": "marker-new-secret"}}
TIMEOUT = 60


class CommandCase(SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.path = self.folder / "turn_channels.yaml"

    def run_command(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it; neither traceback nor secret comes out."""
        command = [*installed("vumi_turn_channel"), *arguments]
        done = run_process(command, folder=self.folder, variables=variables, timeout=TIMEOUT)
        said = done.stdout + done.stderr
        self.assertNotIn("Traceback", said)
        self.assertNotIn("marker", said)
        return done


class CreateCommandTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.turn = TurnServer(TOKEN)
        self.addCleanup(self.turn.close)

    def flags(self, *more: str) -> list[str]:
        url = f"http://127.0.0.1:{self.turn.port}/v1/numbers"
        names = ["--from-addr", "*120*8864#", "--name", "USSD", "--connector", "ussd"]
        where = ["--endpoint", "https://our.host/messages", "--api-url", url]
        return ["create", *names, *where, *(more or ("--output", str(self.path)))]

    def made(self) -> None:
        self.turn.script(TurnResponse(status=201, body=json.dumps(MADE).encode()))

    def test_create(self) -> None:
        """A channel is registered, and what is written has its URL and its secret."""
        self.made()
        done = self.run_command(*self.flags(), TURN_TOKEN=TOKEN)
        self.assertEqual(done.returncode, 0, done.stderr)
        [request] = self.turn.of("numbers")
        self.assertEqual(request.headers["authorization"], f"Bearer {TOKEN}")
        self.assertEqual(
            request.json,
            {
                "backend_type": "channel",
                "number_type": "channel_http_api",
                "from_addr": "*120*8864#",
                "name": "USSD",
                "endpoint": "https://our.host/messages",
            },
        )
        text = self.path.read_text()
        self.assertIn(f"http://127.0.0.1:{self.turn.port}/v1/numbers/{NUMBER}", text)
        self.assertIn("marker-new-secret", text)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        again = self.run_command(*self.flags(), TURN_TOKEN=TOKEN)
        self.assertEqual((again.returncode, len(self.turn.of("numbers"))), (1, 1))
        self.assertIn("is there already", again.stderr)

    def test_refusals(self) -> None:
        """Each refusal is one line on stderr and exit status 1, and leaves no file."""
        slow = {"details": "from_addr has been taken"}
        for answer, words in (
            (TurnResponse(status=403), "does not let this token"),
            (TurnResponse(status=422, body=json.dumps({"errors": [slow]}).encode()), "(422): from_addr has been taken"),
            (TurnResponse(status=429, headers={"Retry-After": "9"}), "try again in 9 s"),
            (TurnResponse(status=502, body=b"<html>"), "Turn has failed (502)"),
            (TurnResponse(status=200, body=b"<html>"), "is --api-url right?"),
            (TurnResponse(cut=True), "the connection was lost"),
        ):
            self.turn.script(answer)
            done = self.run_command(*self.flags(), TURN_TOKEN=TOKEN)
            self.refused(done, words)
        self.refused(self.run_command(*self.flags(), TURN_TOKEN="marker-wrong"), "does not accept the token (401")
        self.refused(self.run_command(*self.flags(), TURN_TOKEN=""), "set TURN_TOKEN")
        nowhere = self.flags("--output", str(self.path), "--api-url", f"http://127.0.0.1:{free_port()}")
        self.refused(self.run_command(*nowhere, TURN_TOKEN=TOKEN), "no connection (ConnectionRefusedError)")

    def refused(self, done: subprocess.CompletedProcess[str], words: str) -> None:
        last = done.stderr.splitlines()[-1]
        self.assertIn(words, last)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_interrupted(self) -> None:
        """Who stops it while Turn has not answered is told to look there, and no file is left."""
        self.turn.script(TurnResponse(hang=True))
        process = start_process(
            [*installed("vumi_turn_channel"), *self.flags()],
            variables={"TURN_TOKEN": TOKEN},
            stderr=subprocess.PIPE,
        )
        self.addCleanup(end_process, process)
        wait_for(lambda: self.turn.of("numbers"), "the request", 60)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=TIMEOUT)[1]
        self.assertIn("look in Turn before you try again", said)
        self.assertNotIn("Traceback", said)
        self.assertNotEqual(process.returncode, 0)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_typed(self) -> None:
        """On a terminal the token is asked for, and what is typed is not shown."""
        self.made()
        pid, terminal = pty.fork()
        if pid == 0:
            command = [*installed("vumi_turn_channel"), *self.flags()]
            os.execvpe(command[0], command, environment({"TURN_TOKEN": ""}))
        self.addCleanup(os.close, terminal)
        self.assertIn("Token of a number", self.read_until(terminal, "Turn: "))
        os.write(terminal, TOKEN.encode() + b"\n")
        self.assertNotIn("marker", self.read_until(terminal, None))
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        [request] = self.turn.of("numbers")
        self.assertEqual(request.headers["authorization"], f"Bearer {TOKEN}")

    def read_until(self, terminal: int, words: Any) -> str:
        """What a terminal shows, up to these words or to the end."""
        said = b""
        while words is None or not said.endswith(words.encode()):
            try:
                said += os.read(terminal, 1024)
            except OSError:  # the program has ended
                break
        return said.decode()

    def test_certificates(self) -> None:
        """A certificate that is not to be trusted is named, and one of an authority that is given is taken."""
        authority, name = Authority("ours"), "localhost"
        ca_file = self.folder.parent / "ca.pem"
        ca_file.write_bytes(authority.pem)
        for certificate, words in (
            (authority.issue(name, self_signed=True), "self-signed"),
            (authority.issue("other.example"), "another host name"),
            (authority.issue(name), ""),
        ):
            with https_server(certificate, self.folder.parent / "key.pem") as port:
                flags = self.flags("--output", str(self.path), "--api-url", f"https://{name}:{port}/v1/numbers")
                done = self.run_command(*flags, TURN_TOKEN=TOKEN, SSL_CERT_FILE=str(ca_file))
            if words:
                self.refused(done, words)
            else:
                self.assertEqual(done.returncode, 0, done.stderr)


@contextmanager
def https_server(certificate: PrivateCertificate, path: Path) -> Iterator[int]:
    """A server with this certificate that makes the channel whoever asks; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps(MADE).encode()
            self.send_response(201)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Server(HTTPServer):
        def get_request(self) -> Any:
            connection, address = super().get_request()
            connection.settimeout(10)
            return context.wrap_socket(connection, server_side=True), address

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away is nobody's error."""

    pem = certificate.dumpPEM()
    key = certificate.privateKey.dump(1)  # 1 is PEM
    path.write_bytes(key + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class CheckCommandTests(CommandCase, BridgeCase):
    connector = "channel_check"

    def setUp(self) -> None:
        super().setUp()
        self.turn.decide = lambda request: TurnResponse(status=422, body=b'{"errors": []}')

    def check(self, *flags: str, config: Any = (), status: int = 0) -> list[str]:
        """The lines of a check of the running worker's config, with changes."""
        self.path.write_text(yaml.safe_dump({**self.worker.config, **dict(config)}))
        broker = ["--port", str(self.node.port), "--username", USERNAME, "--password", PASSWORD, "--vhost", VHOST]
        done = self.run_command("check", "--config", str(self.path), *broker, *flags)
        self.assertEqual((done.returncode, done.stderr), (status, ""), done.stdout)
        return done.stdout.splitlines()

    def failed(self, lines: Sequence[str]) -> list[str]:
        return [line for line in lines if line.startswith("failed")]

    def test_beside_the_worker(self) -> None:
        """Beside a running worker nothing fails; its port and its consumers are warnings."""
        lines = self.check()
        for line in (
            f"ok      broker: RabbitMQ answers at 127.0.0.1:{self.node.port}",
            "ok      vhost: user 'vumi' may use '/develop'",
            "ok      exchange vumi: durable and direct, as it has to be",
            "ok      turn: reached, and it takes the token: 422 to an empty request, as it should be",
            "ok      message cache: MemoryMessageCache is ready",
            "warning http_bind: in use, by the worker that runs already it seems",
        ):
            self.assertIn(line, lines)
        self.assertEqual(len([line for line in lines if "takes people's messages already" in line]), 1)
        self.assertEqual([(r.kind, r.json) for r in self.turn.requests], [("messages", {})])

    def test_before_going_live(self) -> None:
        """Where nobody is there yet, nothing is made and nothing fails."""
        port = free_port()
        config = {"connector_name": "channel_fresh", "http_bind": f"127.0.0.1:{port}"}
        lines = self.check(config=config)
        self.assertIn(f"ok      http_bind: tcp:{port}:interface=127.0.0.1 is free", lines)
        self.assertIn("ok      queue channel_fresh.inbound: not there yet; the worker makes it", lines)
        of_legacy_vumi = [line for line in lines if line.startswith("warning") and "AMQP 0-8" in line]
        self.assertEqual(len(of_legacy_vumi), int(self.node.version[:1] >= (4,)), lines)
        warnings = 2 + len(of_legacy_vumi)
        self.assertEqual(lines[-1].partition(" ok, ")[2], f"{warnings} warning, 0 failed")
        table = self.node.ctl("-p", VHOST, "list_queues", "--no-table-headers", "name")
        self.assertNotIn("channel_fresh", table)

    def test_broker(self) -> None:
        """Wrong address, password and vhost are told from each other."""
        for flags, start in (
            (["--port", str(free_port())], "failed  broker: "),
            (["--password", "marker-wrong"], "failed  credentials: "),
            (["--vhost", "/nowhere"], "failed  vhost: "),
        ):
            [line] = self.failed(self.check(*flags, status=1))
            self.assertTrue(line.startswith(start), line)

    def test_queues(self) -> None:
        """A queue with other arguments is explained, a waiting message is counted, and both stay as they are."""
        credentials = pika.PlainCredentials(USERNAME, PASSWORD)
        parameters = pika.ConnectionParameters("127.0.0.1", self.node.port, VHOST, credentials)
        connection = pika.BlockingConnection(parameters)
        self.addCleanup(connection.close)
        channel = connection.channel()
        self.addCleanup(channel.queue_delete, "channel_odd.outbound")
        channel.queue_declare("channel_odd.outbound", durable=True, arguments={"x-max-length": 5})
        channel.queue_declare("channel_odd.inbound", durable=True)
        channel.queue_bind("channel_odd.inbound", "vumi", "channel_odd.inbound")
        self.addCleanup(channel.queue_delete, "channel_odd.inbound")
        self.peer.publish_json("channel_odd.inbound", inbound())
        lines = self.check(config={"connector_name": "channel_odd", "http_bind": f"127.0.0.1:{free_port()}"}, status=1)
        self.assertIn("ok      queue channel_odd.inbound: 1 message for the worker", lines)
        [line] = self.failed(lines)
        self.assertIn("queue channel_odd.outbound: it is there with other properties (PRECONDITION_FAILED", line)
        self.assertIn("x-max-length", line)

    def test_turn(self) -> None:
        """A wrong token and a wrong URL are said, and the clocks are compared all the same."""
        [line] = self.failed(self.check(config={"auth_token": "marker-wrong"}, status=1))
        self.assertIn("turn: it does not take auth_token: 401 (Unauthorized)", line)
        self.turn.script(TurnResponse(status=404))
        lines = self.check(status=1)
        self.assertIn("turn_api_url is not a channel's: 404", self.failed(lines)[0])
        self.assertEqual(len([line for line in lines if line.startswith("ok      clock: ours is ")]), 1)

    def test_config_and_cache(self) -> None:
        """A wrong config is named, and a Redis that is not there is said with its address."""
        lines = self.check("--set-option", "max_retries:many", status=1)
        self.assertIn("config: max_retries must be", self.failed(lines)[0])
        port = free_port()
        cache = {"message_cache_class": "RedisMessageCache"}
        url = {"message_cache_config": {"url": f"redis://:{SECRET}@127.0.0.1:{port}/0"}}
        [line] = self.failed(self.check(config={**cache, **url}, status=1))
        self.assertIn(f"message cache: RedisMessageCache cannot be used (Redis at 127.0.0.1:{port}: Conn", line)
