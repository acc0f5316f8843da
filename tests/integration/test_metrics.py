"""``/metrics`` and ``/health`` of the real worker after some traffic, as Prometheus reads them."""

from __future__ import annotations

import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.integration.bridge_case import SECRET, TOKEN, BridgeCase
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import event, inbound, new_id, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

CONTENT = "marker-content"
LIMIT = {"X-Ratelimit-Limit": "60", "X-Ratelimit-Remaining": "57"}


class Scrape:
    """What ``/metrics`` has said."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, sample: str, **labels: str) -> Any:
        """One sample's number, None if it is not there; ``labels`` are those beside ``connector``."""
        if sample != "build_info":
            labels["connector"] = MetricsTests.connector
        for family in self.families.values():
            for one in family.samples:
                if one.name == f"vumi_turn_{sample}" and one.labels == labels:
                    return one.value
        return None


class MetricsTests(BridgeCase):
    """One worker, of which all traffic is known."""

    connector = "metrics"

    def scrape(self, worker: Worker) -> Scrape:
        """What the worker says now."""
        answer = HttpPeer(worker.port, "").get("/metrics")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        self.text = answer.body.decode("utf-8")
        return Scrape(self.text)

    def traffic(self, worker: Worker) -> list[str]:
        """Messages and statuses that end in several ways; the addresses of those who took part."""
        people = [new_person() for _ in range(6)]
        self.turn.decide = lambda request: TurnResponse(200, LIMIT)
        for person in people[:3]:
            self.delivered(self.say(inbound(from_addr=person, content=CONTENT)))
        self.turn.script(TurnResponse(400), TurnResponse(503))
        self.say(inbound(from_addr=people[3], content=CONTENT))
        self.parked()
        self.delivered(self.say(inbound(from_addr=people[4], content=CONTENT)))  # at its second try
        self.peer.publish(self.rig.queue("inbound"), CONTENT.encode())
        self.parked()
        self.say(inbound(from_addr=people[0], content=None, session_event="close"))
        http = HttpPeer(worker.port, SECRET)
        # While the session is open an answer that does not wait is held, and published later.
        closed = 'vumi_turn_settled_total{kind="message",result="nothing"}'
        wait_for(lambda: http.metric(closed) == 1, "the session to be closed")
        answer = http.post(outbound(people[0], CONTENT))
        self.assertEqual(answer.status, 200)
        self.assertEqual(http.post(outbound(people[5], CONTENT, reply_to=new_id())).status, 404)
        self.assertEqual(http.post_bytes(b"{}", "d3Jvbmc=").status, 401)
        for user_message_id in (answer.message_id, new_id()):
            self.report(event("ack", user_message_id))
            self.turn.wait_for("statuses", user_message_id)
        wait_for(lambda: self.rig.held("inbound") + self.rig.held("event") == 0, "everything to be settled")
        return people

    def test_after_traffic(self) -> None:
        """Prometheus' own parser reads what was counted; no address, content, id or secret is among it."""
        with self.running({}) as worker:
            people = self.traffic(worker)
            seen = self.scrape(worker)
            expected = [
                (7, "consumed_total", {"kind": "message"}),
                (2, "consumed_total", {"kind": "status"}),
                (4, "settled_total", {"kind": "message", "result": "delivered"}),
                (2, "settled_total", {"kind": "message", "result": "parked"}),
                (1, "settled_total", {"kind": "message", "result": "nothing"}),
                (2, "settled_total", {"kind": "status", "result": "delivered"}),
                (4, "tries_total", {"kind": "message", "verdict": "delivered"}),
                (1, "tries_total", {"kind": "message", "verdict": "refused"}),
                (1, "tries_total", {"kind": "message", "verdict": "unavailable"}),
                (2, "tries_total", {"kind": "status", "verdict": "delivered"}),
                (6, "answer_seconds_count", {"kind": "message"}),
                (2, "answer_seconds_count", {"kind": "status"}),
                (4, "queue_to_turn_seconds_count", {"kind": "message"}),
                (2, "queue_to_turn_seconds_count", {"kind": "status"}),
                (1, "confirm_seconds_count", {}),
                (1, "outbound_total", {"answer": "ok"}),
                (1, "outbound_total", {"answer": "MessageNotFound"}),
                (1, "outbound_total", {"answer": "SignatureMismatchError"}),
                (0, "outbound_total", {"answer": "BrokerUnavailable"}),
                (1, "statuses_without_recipient_total", {}),
                (1, "amqp_connected", {}),
                (1, "amqp_state", {"state": "connected"}),
                (0, "amqp_state", {"state": "connecting"}),
                (0, "amqp_reconnects_total", {}),
                (0, "held", {}),
                (0, "waiting", {}),
                (0, "in_flight", {"kind": "message"}),
                (0, "away", {}),
                (0, "misconfigured", {}),
                (0, "throttled_seconds", {}),
                (60, "rate_limit", {}),
                (57, "rate_limit_remaining", {}),
                (1, "cache_healthy", {}),
                (0, "cache_replaced_keys_total", {}),
            ]
            found = [(seen.value(name, **labels), name, labels) for _, name, labels in expected]
            self.assertEqual(found, expected)
            self.assertGreaterEqual(seen.value("cache_entries"), 6)
            for basic in ("process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds", "python_info"):
                self.assertIn(basic, seen.families)
            health = HttpPeer(worker.port, "").get("/health")
            self.assertEqual((health.status, health.json["health"]), (200, "ok"))
            for told in (self.text, health.body.decode()):
                for secret in (CONTENT, TOKEN, SECRET, *(person.lstrip("+") for person in people)):
                    self.assertNotIn(secret, told)
                self.assertIsNone(re.search(r"[0-9a-f]{32}", told))

    def test_while_it_is_bad(self) -> None:
        """What is in flight, held and throttled is seen while it is."""
        with self.running({"max_retries": 0}) as worker:
            self.turn.script(TurnResponse(hang=True))
            self.say(inbound())
            wait_for(lambda: self.scrape(worker).value("in_flight", kind="message") == 1, "a POST under way")
            self.turn.decide = lambda request: TurnResponse(503)
            self.turn.release()
            wait_for(lambda: self.scrape(worker).value("away") == 1, "Turn to be away")
            self.assertEqual(self.scrape(worker).value("held"), 1)
            self.turn.decide = lambda request: TurnResponse()
            wait_for(lambda: self.scrape(worker).value("held") == 0, "the message to be sent")
            self.turn.script(TurnResponse(429, {"Retry-After": "2"}))
            self.say(inbound())
            wait_for(lambda: 0 < self.scrape(worker).value("throttled_seconds") <= 2, "the rate limit")
            wait_for(lambda: self.scrape(worker).value("waiting") == 0, "the message to be sent")

    def test_names(self) -> None:
        """Names follow Prometheus' conventions: our prefix, base units, _total for what only grows, some help."""
        with self.running({}) as worker:
            families = self.scrape(worker).families
            lines = self.text.splitlines()
        ours = {name: family for name, family in families.items() if name.startswith("vumi_turn_")}
        self.assertGreater(len(ours), 15)
        for name, family in ours.items():
            self.assertRegex(name, r"^[a-z][a-z_]*[a-z]$")
            self.assertTrue(family.documentation.endswith("."), name)
            self.assertIn(family.type, ("counter", "gauge", "histogram"), name)
            for sample in family.samples:
                self.assertEqual(sample.name.endswith("_total"), family.type == "counter", sample.name)
            self.assertIsNone(re.search(r"_(milliseconds|ms|minutes|hours|kilobytes|mb)$", name), name)
        self.assertEqual(len({line.split()[2] for line in lines if line.startswith("# TYPE")}), len(families))
