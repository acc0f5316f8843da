"""The real worker with ``--sentry``, and what a Sentry of ours gets to see of it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.integration.bridge_case import SECRET, TOKEN, BridgeCase
from tests.integration.http_peer import HttpPeer, outbound, sign
from tests.integration.process import run_twistd
from tests.integration.sentry_server import SentryServer
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import SERVICE, event, inbound, new_id, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import WORKER_CLASS

CONTENT = "marker-content"
NAME = "marker-name"
FAILING = {"middleware": [{"bad": "tests.integration.failing_middleware.FailingMiddleware"}]}


class SentryTests(BridgeCase):
    """A run with errors of all kinds."""

    connector = "sentry"

    def setUp(self) -> None:
        super().setUp()
        self.sentry = SentryServer()
        self.addCleanup(self.sentry.close)

    def reports_of(self, words: str) -> list[Any]:
        """The reports that have come of one log line."""
        return [report for report in self.sentry.reports if words in report["logentry"]["message"]]

    def wait_for_report(self, words: str) -> Any:
        """The first report of a log line, once it is there."""
        return wait_for(lambda: self.reports_of(words), f"a report of {words!r}")[0]

    def test_failing_middleware(self) -> None:
        """
        A middleware that fails and tells everything: Sentry hears of each
        failure, and has no content, address, secret or password.
        """
        people = [new_person() for _ in range(4)]
        with self.started(FAILING, "--sentry", self.sentry.dsn, "--system-id", "production") as worker:
            worker.wait_until_healthy()
            self.say(inbound(content=CONTENT, from_addr=people[0], helper_metadata={"contact_name": NAME}))
            parked = self.parked()
            self.report(event("nack", new_id(), nack_reason=f"{CONTENT} {people[1]}"))
            self.parked()
            http = HttpPeer(worker.port, SECRET)
            answer = http.post(outbound(people[2], CONTENT))
            self.assertEqual(answer.status, 500, answer.body)
            self.wait_for_report("Handling a message from {queue} failed")
            # What Turn and the queues bring, and what the config holds, while there are errors.
            self.peer.publish(self.rig.queue("inbound"), f"{CONTENT} {people[3]}".encode())
            self.parked()
            body = json.dumps(outbound(people[3], CONTENT)).encode()
            self.assertEqual(http.post_bytes(body, "bWFya2Vy").status, 401)
            worker.stop()
            self.assertIn(CONTENT, worker.log)  # the log has what Sentry has not
        reports = self.sentry.reports
        ids = [report["extra"].get("error_id") for report in reports]
        self.assertIn(parked["reason"].rsplit(" ", 1)[1].rstrip("."), ids)
        self.assertIn(answer.error["details"].split()[-1].rstrip("."), [each for each in ids if each])
        kinds = [value["type"] for report in reports for value in report.get("exception", {}).get("values", [])]
        self.assertEqual(set(kinds), {"KeyError", "ValueError"})
        frames = [
            frame
            for report in reports
            for value in report.get("exception", {}).get("values", [])
            for frame in value["stacktrace"]["frames"]
        ]
        self.assertIn("tests/integration/failing_middleware.py", {frame["filename"] for frame in frames})
        self.assertEqual({report["server_name"] for report in reports}, {"production"})
        self.assert_clean(people, [TOKEN, SECRET, sign(SECRET, body), "bWFya2Vy"])

    def assert_clean(self, people: list[str], secrets: list[str]) -> None:
        self.assertGreater(len(self.sentry.received), 0)
        for received in self.sentry.received:
            for marker in ("marker", SERVICE, *(person.lstrip("+") for person in people), *secrets):
                self.assertNotIn(marker, received)

    def test_errors_of_servers(self) -> None:
        """
        What is wrong with Turn and RabbitMQ is told as it is logged, the
        password left out; what is logged while it stops is still sent.
        """
        flags = ("--sentry", self.sentry.dsn, "--password", "marker-password")
        with self.started({}, *flags) as worker:
            report = self.wait_for_report("RabbitMQ at {address}")
            self.assertIn(f"127.0.0.1:{self.node.port}", report["logentry"]["formatted"])
            self.assertIn("refuses the user name or password", report["logentry"]["formatted"])
            worker.stop()
        with self.started({}, "--sentry", self.sentry.dsn) as worker:
            worker.wait_until_healthy()
            self.turn.decide = lambda request: TurnResponse(401, body=CONTENT.encode())
            self.say(inbound(content=CONTENT))
            report = self.wait_for_report("Turn does not let us in")
            self.assertIn("401", report["logentry"]["formatted"])
            self.assertEqual(report["logger"].split(".")[0], "vumi_turn")
            worker.stop()
        self.assert_clean([], [TOKEN, SECRET])

    def test_sentry_hangs(self) -> None:
        """A Sentry that hangs does not hold the worker up, at the end for a moment only."""
        self.sentry.hang = True
        with self.started(FAILING, "--sentry", self.sentry.dsn) as worker:
            worker.wait_until_healthy()
            for _ in range(50):
                self.say(inbound(content=CONTENT))
            for _ in range(50):
                self.parked()
            http = HttpPeer(worker.port, SECRET)
            self.assertLess(http.get("/health").seconds, 1)
            began = time.monotonic()
            worker.stop()
            self.assertLess(time.monotonic() - began, 10)

    def test_sentry_is_away(self) -> None:
        """A Sentry that is not there costs nothing, and fills no log."""
        dsn = self.sentry.dsn
        self.sentry.close()
        with self.started(FAILING, "--sentry", dsn) as worker:
            worker.wait_until_healthy()
            for _ in range(20):
                self.say(inbound(content=CONTENT))
            for _ in range(20):
                self.parked()
            worker.stop()
            chatter = re.compile(r"\[stderr#|urllib3|Retrying|envelope")
            lines = [line for line in worker.log.splitlines() if chatter.search(line)]
            self.assertEqual(lines, [])
            self.assertNotIn("marker-sentry-key", worker.log)


class StartTests(BridgeCase):
    """``--sentry`` that cannot be."""

    connector = "sentry_start"

    def run_with(self, dsn: str, **more: Any) -> Any:
        return run_twistd("-n", "--pidfile=", "vumi_worker", "--worker-class", WORKER_CLASS, "--sentry", dsn, **more)

    def assert_one_line(self, done: Any, *words: str) -> None:
        self.assertEqual(done.returncode, 1, done.stdout)
        lines = [line for line in done.stdout.splitlines() if line.startswith("vumi_worker:")]
        self.assertEqual(len(lines), 1, done.stdout)
        self.assertNotIn("Traceback", done.stdout)
        for word in words:
            self.assertIn(word, lines[0])

    def test_wrong_dsn(self) -> None:
        """A wrong DSN stops the start with one line that says what one is, and does not quote it."""
        done = self.run_with("https://marker-key@sentry.example/project")
        self.assert_one_line(done, "sentry", "DSN", "https://key@")
        self.assertNotIn("marker", done.stdout)

    def test_missing_package(self) -> None:
        """Without sentry-sdk the start stops with one line that says how to get it."""
        folder = Path(tempfile.mkdtemp(prefix="vumi_turn_sentry_"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "sentry_sdk.py").write_text("raise ImportError('it is not installed')\n")
        done = self.run_with("https://key@sentry.example/1", variables={"PYTHONPATH": str(folder)}, folder=str(folder))
        self.assert_one_line(done, "pip install 'vumi_turn[sentry]'")
