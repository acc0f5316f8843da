"""The simulated Turn as a process, and the worker in another one, on a real RabbitMQ."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.process import run_process, run_twistd
from tests.integration.rabbitmq import shared_rabbitmq
from tests.integration.requirements import free_port
from tests.integration.sandbox_process import TwistdProcess
from tests.integration.turn_server import TurnServer
from tests.integration.vumi_words import event, inbound, new_person
from tests.integration.waiting import SOON, wait_for
from tests.integration.worker import Worker

TOKEN, SECRET = "marker-token", "marker-secret"
CONNECTOR = "simulated"


class SimulatorCase(SynchronousTestCase):
    def setUp(self) -> None:
        port, webhook_port = free_port(), free_port()
        self.simulator = TwistdProcess(
            "vumi_turn_simulator",
            *("--http", f"127.0.0.1:{port}", "--webhook", f"http://127.0.0.1:{webhook_port}/messages", "--limit", "0"),
            variables={"TURN_TOKEN": TOKEN, "TURN_HMAC_SECRET": SECRET},
        )
        self.addCleanup(self.simulator.close)
        self.webhook_port = webhook_port
        self.url = f"http://127.0.0.1:{port}/v1/numbers/test"
        self.turn = self.simulator.wait_for_api(port, "/faults")

    def asked(self, kind: str, name: str) -> list[Any]:
        """Requests of a kind about a message."""
        key = {"message": "message", "status": "status"}[kind]
        found = self.turn.get(f"/requests?kind={kind}")["requests"]
        return [one for one in found if one["body"][key]["id"] == name]

    def wait_for_status(self, kind: str, name: str, status: int) -> Any:
        """The request about a message that was answered with a status."""

        def look() -> Any:
            return next((one for one in self.asked(kind, name) if one["status"] == status), None)

        return wait_for(look, f"a {kind} of {name} to be answered {status}", SOON)


class WorkerTests(SimulatorCase):
    def setUp(self) -> None:
        super().setUp()
        node = shared_rabbitmq()
        self.peer = AmqpPeer(node.port)
        self.addCleanup(self.peer.close)
        config = {
            "http_bind": f"127.0.0.1:{self.webhook_port}",
            "connector_name": CONNECTOR,
            "turn_api_url": self.url,
            "auth_token": TOKEN,
            "turn_hmac_secret": SECRET,
            "default_from_addr": "8864",
            "retry_delay_base": 0.05,
        }
        self.worker = Worker(config, node.port)
        self.worker.port = self.worker.health_port = self.webhook_port
        self.addCleanup(self.worker.close)
        self.worker.start()

    def test_conversation_with_faults(self) -> None:
        """
        A message gets through scripted faults, its answer comes signed, a
        status follows, and everything is on record.
        """
        self.turn.put(
            "/faults", {"script": [{"mode": "down"}, {"mode": "error", "status": 503}, {"mode": "lost_answer"}]}
        )
        message = inbound(content="Hi", session_event="new")
        name, person = message["message_id"], message["from_addr"]
        self.peer.publish_json(f"{CONNECTOR}.inbound", message)
        taken = self.wait_for_status("message", name, 200)
        self.assertEqual(taken["body"]["message"]["text"], {"body": "Hi"})
        self.assertEqual(taken["headers"]["Authorization"], "***")
        self.assertEqual([one["status"] for one in self.asked("message", name)], [None, 503, None, 200])

        sent = self.turn.post("/send", {"to": person, "text": "Hello", "reply_to": name, "waiting": True})
        out = self.peer.take_json(f"{CONNECTOR}.outbound")
        self.assertEqual((out["message_id"], out["in_reply_to"]), (sent["id"], name))
        self.assertEqual((out["content"], out["session_event"]), ("Hello", "resume"))

        self.peer.publish_json(f"{CONNECTOR}.event", event("ack", sent["id"]))
        self.wait_for_status("status", sent["id"], 200)
        said = self.turn.get("/conversations")["conversations"][person]
        self.assertEqual([entry["text"] for entry in said], ["Hi", "Hello"])
        self.assertEqual(said[1]["statuses"], ["sent"])

    def test_rate_limit(self) -> None:
        """The worker waits as a 429 tells it, and what waited arrives."""
        self.turn.put("/faults", {"mode": "throttle", "retry_after": 1, "times": 1})
        message = inbound()
        self.peer.publish_json(f"{CONNECTOR}.inbound", message)
        refused = self.wait_for_status("message", message["message_id"], 429)
        taken = self.wait_for_status("message", message["message_id"], 200)
        self.assertGreaterEqual(taken["at"] - refused["at"], 0.9)

    def test_wrong_signature(self) -> None:
        """A worker with another secret refuses what is sent, which is said."""
        self.worker.stop()
        self.worker.config["turn_hmac_secret"] = "another"
        self.worker.start()
        status, answer = self.turn.call("POST", "/send", {"to": new_person(), "text": "Hello"})
        self.assertEqual(status, 502)
        self.assertTrue(answer["errors"][0]["details"].startswith("the channel answered 401: X-Turn-Hook-Signature"))


class StrictTests(SimulatorCase):
    """Without a worker."""

    def test_wrong_requests(self) -> None:
        """What a careless channel would send is answered 400 with what is wrong, or 401, and recorded."""
        good: dict[str, Any] = {
            "contact": {"id": "+266111", "profile": {"name": "+266111"}},
            "message": {"type": "text", "text": {"body": "x"}, "from": "+266111", "id": "m1", "timestamp": "1"},
        }
        wrong_time = {**good, "message": {**good["message"], "timestamp": 1}}
        for path, body, words in (
            ("messages", wrong_time, "message.timestamp must be a string"),
            ("messages", {**good, "extra": 1}, "the body.extra is not known"),
            ("messages", {"message": good["message"]}, "contact must be an object"),
            ("statuses", {"status": {"id": "o1", "status": "seen", "timestamp": "1"}}, "status.status must be one of"),
        ):
            status, answer = self.ask(path, json.dumps(body).encode())
            self.assertEqual(status, 400, answer)
            self.assertIn(words, answer["errors"][0]["details"])
        self.assertEqual(self.ask("messages", json.dumps(good).encode())[0], 200)
        self.assertEqual(self.ask("messages", b"{}", "Bearer other")[0], 401)
        found = self.turn.get("/requests")["requests"]
        self.assertEqual([one["status"] for one in found], [400, 400, 400, 400, 200, 401])
        self.assertNotIn("marker-", self.simulator.log)
        self.turn.post("/reset", {})
        self.assertEqual(self.turn.get("/requests")["requests"], [])

    def ask(self, path: str, body: bytes, authorization: str = f"Bearer {TOKEN}") -> tuple[int, Any]:
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        status, _, answer = self.turn.request("POST", f"/v1/numbers/test/{path}", body, headers)
        return status, json.loads(answer)

    def test_terminal(self) -> None:
        """It says where it is and what it does, and nothing else; a port that is taken is one line."""
        said = self.simulator.log
        self.assertIn(f"A channel's turn_api_url is {self.url}", said)
        self.assertEqual(len(said.split("\n  ")), 4, said)
        where = f"127.0.0.1:{self.turn.port}"
        done = run_twistd(
            *("-n", "--pidfile=", "vumi_turn_simulator", "--http", where, "--token", "t", "--secret", "s")
        )
        self.assertEqual((done.returncode, len(done.stdout.splitlines())), (1, 1), done.stdout)
        self.assertIn(f"{where}: Address already in use; --http names another place", done.stdout)


class NewChannelTests(SimulatorCase):
    def test_create(self) -> None:
        """``vumi_turn_channel create`` makes a channel there; messages go to it from then on."""
        folder = Path(tempfile.mkdtemp(prefix="vumi_turn_channel_"))
        self.addCleanup(shutil.rmtree, folder, True)
        channel = TurnServer(TOKEN)
        self.addCleanup(channel.close)
        file = folder / "turn_channels.yaml"
        done = run_process(
            [
                *(sys.executable, "-c", "from vumi_turn.commands.channel import main; main()"),
                *("create", "--from-addr", "*120#", "--name", "USSD"),
                *("--endpoint", f"http://127.0.0.1:{channel.port}/messages", "--connector", "ussd"),
                *("--api-url", self.url.rpartition("/")[0], "--output", str(file)),
            ],
            variables={"TURN_TOKEN": TOKEN},
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(SECRET, file.read_text())
        self.turn.call("POST", "/send", {"to": new_person(), "text": "Hello", "repeats": False})
        (request,) = channel.requests
        self.assertEqual(json.loads(request.body)["turn"], {"type": "text", "text": {"body": "Hello"}})
