"""The sandbox as a process: what the terminal says, its API, its flags, real brokers and a Turn of another kind."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Mapping, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.legacy_case import TELNET, Telnet
from tests.integration.legacy_vumi import LegacyWorker, legacy_python, needs_amqp_0_8
from tests.integration.process import PATIENCE, run_process, run_twistd
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST, shared_rabbitmq
from tests.integration.requirements import free_port
from tests.integration.sandbox_process import Sandbox
from tests.integration.turn_server import TurnServer
from tests.integration.vumi_words import event, inbound
from tests.integration.waiting import SOON, wait_for

SCRIPT = Path(__file__).parent.parent.parent / "etc" / "ussd_journey.py"
NUMBER = "+26612345678"


class SandboxCase(SynchronousTestCase):
    def start(self, *flags: str, variables: Optional[Mapping[str, str]] = None) -> Sandbox:
        """A sandbox that ends with the test."""
        sandbox = Sandbox(*flags, variables=variables)
        self.addCleanup(sandbox.close)
        return sandbox

    def config(self, **options: Any) -> str:
        """The path of a config."""
        folder = Path(tempfile.mkdtemp(prefix="vumi_turn_sandbox_"))
        self.addCleanup(shutil.rmtree, folder, True)
        (folder / "worker.yaml").write_text(json.dumps(options))
        return str(folder / "worker.yaml")

    def refused(self, *flags: str, variables: Optional[Mapping[str, str]] = None) -> str:
        """What a command says that ends at once, with status 1."""
        done = run_twistd("-n", "--pidfile=", "vumi_turn_sandbox", *flags, variables=variables)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertNotIn("Traceback", done.stdout)
        return done.stdout


class TerminalTests(SandboxCase):
    """What somebody sees who starts it."""

    def test_start_and_end(self) -> None:
        """The address and what to do there: nothing else is said, from the start to the end."""
        sandbox = self.start()
        sandbox.sms(NUMBER, "Hello")
        wait_for(lambda: sandbox.texts(NUMBER), "the answer", SOON)
        self.assertEqual(sandbox.process.stop(), -15)
        said = [line.strip() for line in sandbox.process.log.splitlines() if line.strip()]
        self.assertEqual(said[0], f"The sandbox is at {sandbox.url}")
        self.assertIn("press Call on the phone: it dials *120*8864#", said[1])
        self.assertEqual(len(said), 4, said)

    def test_port_in_use(self) -> None:
        """A port that is taken is one line, which names the flag for another."""
        sandbox = self.start()
        said = self.refused("--http", f"127.0.0.1:{sandbox.port}")
        self.assertEqual(len(said.splitlines()), 1, said)
        self.assertIn(f"127.0.0.1:{sandbox.port}: Address already in use; --http names another place", said)
        said = self.refused("--http", f"127.0.0.1:{free_port()}", "--worker-http", f"127.0.0.1:{sandbox.worker_port}")
        self.assertIn("Address already in use", said)
        self.assertIn("--worker-http names another place", said)
        self.assertNotIn("The sandbox is at", said)

    def test_wrong_flags(self) -> None:
        """What cannot be is said in a sentence, and is the end."""
        self.assertIn("--http must be host:port", self.refused("--http", "8010"))
        said = self.refused("--config", self.config(max_retries=-1, http_bnd="x"))
        self.assertIn("vumi_turn_sandbox: max_retries", said)


class ApiTests(SandboxCase):
    """The API under the page."""

    def test_script(self) -> None:
        """The script in ``etc`` goes through a journey, and then through it again."""
        sandbox = self.start()
        for _ in range(2):
            done = run_process([sys.executable, str(SCRIPT), sandbox.url])
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            self.assertIn("> 3\nYour visit is booked for Friday. Goodbye.", done.stdout)
            self.assertIn("Turn has 3 answers, each of them sent.", done.stdout)
        self.assertLessEqual(len(SCRIPT.read_text().splitlines()), 60)

    def test_script_says_what_is_missing(self) -> None:
        """The script ends with a failure where a screen does not come."""
        sandbox = self.start()
        sandbox.api.put("/api/journey", {"on": False})
        text = SCRIPT.read_text().replace("monotonic() + 10", "monotonic() + 0.5")
        done = run_process([sys.executable, "-c", text, sandbox.url])
        self.assertEqual(done.returncode, 1)
        self.assertIn("waited in vain for a screen with 'Book a visit'", done.stderr)

    def test_refusals(self) -> None:
        """What cannot be done is said in JSON, with a status."""
        api = self.start().api
        for method, path, body, status, words in (
            ("POST", f"/api/phones/{NUMBER}/answer", {"text": "1"}, 400, "no USSD session is open"),
            ("POST", f"/api/phones/{NUMBER}/dial", {"code": "120"}, 400, "a USSD code starts with *"),
            ("POST", f"/api/phones/{NUMBER}/sms", {}, 400, "text must be a string"),
            ("POST", "/api/phones/nobody/sms", {"text": "x"}, 400, "a phone number has"),
            ("POST", f"/api/phones/{NUMBER}/fly", {}, 404, "a phone can dial, answer, hangup, sms, not fly"),
            ("PUT", "/api/faults", {"turn": {"mode": "odd"}}, 400, "turn.mode must be one of up, down"),
            ("PUT", "/api/faults", {"moon": "full"}, 400, "moon cannot be broken"),
            ("PUT", "/api/faults", {}, 400, "say what to break"),
            ("PUT", "/api/journey", {"on": 1}, 400, "on must be true or false"),
            ("POST", "/api/parked/replay", {"ids": "x"}, 400, "ids must be a list"),
            ("GET", "/api/traffic?since=x", None, 400, "since must be a whole number"),
            ("GET", "/api/nothing", None, 404, "there is nothing here"),
            ("DELETE", "/api/faults", None, 405, "method not allowed"),
        ):
            answer = api.call(method, path, body)
            self.assertEqual(answer[0], status, (path, answer))
            self.assertIn(words, answer[1]["errors"][0]["details"])

    def test_other_sites(self) -> None:
        """A page of another site can do nothing here: neither by a form, nor by a name of its own."""
        api = self.start().api
        body = json.dumps({"text": "x"}).encode()
        status, _, answer = api.request("POST", f"/api/phones/{NUMBER}/sms", body, {"Content-Type": "text/plain"})
        self.assertEqual((status, b"application/json" in answer), (400, True))
        status, _, _ = api.request("GET", "/api/state", None, {"Host": "evil.example"})
        self.assertEqual(status, 403)

    def test_traffic_of_one_message(self) -> None:
        """The traffic can be asked for what is new, and for one message's lines; no secret is in it."""
        sandbox = self.start("--config", self.config(auth_token="marker-token", turn_hmac_secret="marker-secret"))
        name = sandbox.sms(NUMBER, "Hello")
        wait_for(lambda: sandbox.texts(NUMBER), "the answer", SOON)
        lines = sandbox.api.get(f"/api/traffic?message={name}")["lines"]
        self.assertEqual([line["what"] for line in lines[:3]], ["publish", "deliver", "request"])
        self.assertTrue(all(name in line["ids"] for line in lines))
        self.assertEqual(lines[2]["headers"]["Authorization"], "***")
        later = sandbox.api.get(f"/api/traffic?since={lines[1]['number']}")["lines"]
        self.assertEqual(later[0]["number"], lines[1]["number"] + 1)
        everything = sandbox.api.request("GET", "/api/state")[2]
        self.assertNotIn(b"marker-", everything)
        self.assertNotIn("marker-", sandbox.process.log)

    def test_events(self) -> None:
        """Events come as they happen."""
        sandbox = self.start()
        connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=SOON)
        self.addCleanup(connection.close)
        connection.request("GET", "/api/events")
        stream = connection.getresponse()
        self.assertEqual(stream.getheader("Content-Type"), "text/event-stream")
        sandbox.dial(NUMBER)
        while stream.readline() != b"event: phone\n":
            pass
        phone = json.loads(stream.readline()[len(b"data: ") :])
        self.assertEqual((phone["number"], phone["session"]["code"]), (NUMBER, "*120*8864#"))

    def test_faults_by_script(self) -> None:
        """Turn's faults can be scripted request by request; the worker tries until it is fair."""
        sandbox = self.start("--config", self.config(retry_delay_base=0.1))
        sandbox.faults(turn_script=[{"mode": "down"}, {"mode": "error", "status": 503}, {"mode": "lost_answer"}])
        sandbox.sms(NUMBER, "Hello")
        wait_for(lambda: sandbox.texts(NUMBER), "the answer", SOON)
        self.assertEqual([entry["text"] for entry in sandbox.entries(NUMBER)].count("Hello"), 1)
        self.assertEqual(sandbox.health()["counters"]["since_start"]["recovered"], 1)

    def test_own_options(self) -> None:
        """``--config`` tries one's own options and middlewares."""
        config = self.config(
            connector_name="mine", empty_message_body="(nothing)", middleware=[{"plain": "UnidecodeMiddleware"}]
        )
        sandbox = self.start("--config", config)
        sandbox.api.put("/api/journey", {"on": False})
        sandbox.dial(NUMBER)
        wait_for(lambda: sandbox.entries(NUMBER), "the message", SOON)
        texts = [entry["text"] for entry in sandbox.entries(NUMBER) if entry["direction"] == "inbound"]
        self.assertEqual(texts, ["(nothing)"])
        sandbox.api.post(f"/api/conversations/{NUMBER}", {"text": "caf\u00e9", "waiting": True})
        sandbox.wait_for_screen(NUMBER, "cafe")
        self.assertEqual(sandbox.api.get("/api/state")["setup"]["connector"], "mine")


class RealBrokerTests(SandboxCase):
    """A real RabbitMQ instead of the one in memory."""

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.flags = ["--hostname", "127.0.0.1", "--port", str(self.node.port), "--vhost", VHOST]
        self.flags += ["--username", USERNAME]
        self.secrets = {"AMQP_PASSWORD": PASSWORD}
        self.peer = AmqpPeer(self.node.port)
        self.addCleanup(self.peer.close)

    def test_phones(self) -> None:
        """The simulated phones speak over RabbitMQ; its password may be in the environment."""
        sandbox = self.start(*self.flags, "--config", self.config(connector_name="sandbox_a"), variables=self.secrets)
        wait_for(lambda: self.peer.consumers("sandbox_a.inbound") == 1, "the worker to consume", SOON)
        sandbox.dial(NUMBER)
        sandbox.wait_for_screen(NUMBER, "Welcome to the clinic line.")
        self.assertEqual(sandbox.api.get("/api/state")["setup"]["broker"], "RabbitMQ")
        self.assertIsNone(sandbox.api.get("/api/faults")["broker"])

    def test_amqp_peer(self) -> None:
        """With ``--no-phones`` any vumi transport joins: here one that is a few lines of AMQP."""
        self.peer.declare("sandbox_b.outbound")
        config = self.config(connector_name="sandbox_b")
        sandbox = self.start(*self.flags, "--no-phones", "--config", config, variables=self.secrets)
        message = inbound(transport_name="sandbox_b", session_event="new", content=None)
        self.peer.publish_json("sandbox_b.inbound", message)
        answer = self.peer.take_json("sandbox_b.outbound")
        self.assertIn("Welcome to the clinic line.", answer["content"])
        self.assertEqual((answer["in_reply_to"], answer["session_event"]), (message["message_id"], "resume"))
        self.peer.publish_json("sandbox_b.event", event("ack", answer["message_id"]))
        person = message["from_addr"]
        wait_for(lambda: sandbox.entries(person)[-1]["statuses"] == ["sent"], "the status", SOON)
        status, _ = sandbox.api.call("POST", f"/api/phones/{NUMBER}/sms", {"text": "x"})
        self.assertEqual(status, 404)

    def test_legacy_transport(self) -> None:
        """Legacy vumi's own telnet transport joins: a person at a terminal goes through the journey."""
        legacy_python()  # skips
        needs_amqp_0_8(self.node)
        port = free_port()
        config = {
            "transport_name": "sandbox_c",
            "twisted_endpoint": f"tcp:interface=127.0.0.1:port={port}",
            "to_addr": "*120*8864#",
            "transport_type": "ussd",
        }
        worker = LegacyWorker(TELNET, config, self.node.port)
        self.addCleanup(worker.close)
        flags = [*self.flags, "--no-phones", "--config", self.config(connector_name="sandbox_c")]
        sandbox = self.start(*flags, variables=self.secrets)

        def transport_consumes() -> int:
            worker.check()
            return self.peer.consumers("sandbox_c.outbound")

        wait_for(transport_consumes, "the transport", PATIENCE)
        person = Telnet(port)
        self.addCleanup(person.close)
        self.assertEqual([person.reads() for _ in range(4)][0], "Welcome to the clinic line. What can we do for you?")
        person.types("2")
        self.assertEqual(person.reads(), "We are open Monday to Friday, 8:00 to 16:00. Goodbye.")
        wait_for(lambda: sandbox.entries(person.address)[-1]["statuses"] == ["sent"], "the status", SOON)
        texts = [entry["text"] for entry in sandbox.entries(person.address) if entry["direction"] == "inbound"]
        self.assertEqual(texts, ["*120*8864#", "Opening hours"])


class RealTurnTests(SandboxCase):
    """Another Turn instead of the simulated one, which a small HTTP server stands for here."""

    def test_turn_url(self) -> None:
        """A phone's words go to that Turn with the token of the environment, its answers come, the wire shows both."""
        turn = TurnServer("marker-token")
        self.addCleanup(turn.close)
        secrets = {"TURN_TOKEN": "marker-token", "TURN_HMAC_SECRET": "marker-secret"}
        sandbox = self.start("--turn-url", turn.url, variables=secrets)
        name = sandbox.dial(NUMBER)
        self.assertEqual(turn.wait_for("messages", name).json["message"]["text"]["body"], "*120*8864#")
        peer = HttpPeer(sandbox.worker_port, "marker-secret")
        answer = peer.post(outbound(NUMBER, "From afar", waiting_for_user_input=True))
        self.assertEqual(answer.status, 200, answer.body)
        sandbox.wait_for_screen(NUMBER, "From afar")
        self.assertEqual(turn.wait_for("statuses", answer.message_id).json["status"]["status"], "sent")
        shown = sandbox.api.request("GET", "/api/traffic")[2].decode()
        for words in ("POST /messages", "POST /statuses", "From afar"):
            self.assertIn(words, shown)
        self.assertNotIn("marker-", shown)
        self.assertEqual(sandbox.api.call("GET", f"/api/conversations/{NUMBER}")[0], 404)
        self.assertIsNone(sandbox.api.get("/api/faults")["turn"])
