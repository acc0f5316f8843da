"""Flags and options with which a worker runs, each with one worker of its own."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import yaml

from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import HttpPeer
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST
from tests.integration.requirements import free_port
from tests.integration.vumi_words import inbound


class OptionTests(BridgeCase):
    """One option or flag after another."""

    connector = "options"

    def folder(self) -> Path:
        """A folder that goes with the test."""
        folder = Path(tempfile.mkdtemp(prefix="vumi_turn_options_"))
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def test_amqp_url(self) -> None:
        """``--amqp-url`` names the broker as the single flags do."""
        with self.running({}, "--amqp-url", self.node.url, "--heartbeat", "5") as worker:
            self.carries(worker)

    def test_legacy_flags(self) -> None:
        """What a legacy set-up passes along is taken, also where we ignore it, which is said."""
        flags = ("--specfile", "amqp-spec-0-8.xml", "--maxthreads", "5")
        with self.running({}, *flags) as worker:
            self.carries(worker)
            self.assertIn("specfile", worker.log)

    def test_vumi_config(self) -> None:
        """``--vumi-config`` gives AMQP options, and flags win over it."""
        broker = {"hostname": "127.0.0.1", "port": 1, "username": USERNAME, "password": PASSWORD, "vhost": VHOST}
        path = self.folder() / "vumi.yaml"
        path.write_text(yaml.safe_dump(broker))
        with self.running({}, "--vumi-config", str(path)) as worker:
            self.carries(worker)

    def test_set_option(self) -> None:
        """``--set-option`` is laid over the file, and its values are YAML."""
        with self.running({}, "--set-option", "empty_message_body:hello there") as worker:
            self.carries(worker)
            message = self.say(inbound(content=None))
            self.assertEqual(self.delivered(message)["message"]["text"], {"body": "hello there"})

    def test_other_names_of_options(self) -> None:
        """Two options go by legacy vumi's and earlier programs' names too."""
        connector = self.rig.worker.config.pop("connector_name")
        try:
            with self.running({"transport_name": connector, "worker_concurrency": 5}) as worker:
                self.carries(worker)
        finally:
            self.rig.worker.config["connector_name"] = connector

    def test_endpoint(self) -> None:
        """``http_bind`` may be an endpoint as Twisted writes it."""
        with self.running({"http_bind": "tcp:{port}:interface=127.0.0.1"}) as worker:
            self.carries(worker)

    def test_management_bind(self) -> None:
        """``/health`` and ``/metrics`` move to an address of their own, and leave the other one."""
        port = free_port()
        with self.running({"management_bind": f"127.0.0.1:{port}"}) as worker:
            management, webhook = HttpPeer(port, ""), HttpPeer(worker.port, "")
            for path in ("/health", "/metrics"):
                self.assertEqual(management.get(path).status, 200)
                self.assertEqual(webhook.get(path).status, 404)
            self.assertEqual(management.request("POST", "/messages", b"{}").status, 404)
            self.carries(worker)

    def test_max_message_age(self) -> None:
        """What a session said too long ago is parked; outside of a session it is still of use."""
        old = (datetime.now(timezone.utc) - timedelta(hours=2)).strftime("%Y-%m-%d %H:%M:%S.%f")
        with self.running({"max_message_age": 3600}):
            stale = self.say(inbound(timestamp=old))
            letter = self.say(inbound(timestamp=old, session_event=None))
            fresh = self.say(inbound())
            self.delivered(letter)
            self.delivered(fresh)
            parked = self.parked()
            self.assertEqual(parked["message"], stale)
            self.assertNotIn(stale["message_id"], [m["message"]["id"] for m in self.turn.messages()])

    def test_heartbeats(self) -> None:
        """A worker with a name says that it lives; no queue is made for that."""
        self.peer.delete("heartbeat.inbound")  # legacy vumi's monitor makes one
        channel = self.peer.channel
        channel.exchange_declare("vumi.health", "direct", durable=True)
        channel.queue_declare("options_heartbeats", exclusive=True)
        channel.queue_bind("options_heartbeats", "vumi.health", "heartbeat.inbound")
        with self.running({"worker_name": "bridge_1"}, "--system-id", "production") as worker:
            beat = self.peer.take_json("options_heartbeats")
            self.assertEqual(
                set(beat),
                {"version", "system_id", "worker_id", "worker_name", "hostname", "pid", "timestamp"},
            )
            self.assertEqual(
                (beat["version"], beat["system_id"], beat["worker_id"], beat["worker_name"], beat["pid"]),
                ("20130319", "production", "production:bridge_1", "bridge_1", worker.pid),
            )
            self.assertIsInstance(beat["timestamp"], float)
        self.assertFalse(self.peer.exists("heartbeat.inbound"))
