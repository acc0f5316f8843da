"""Stopping the worker while a journey's messages are held, or a page is being published: each is shown once."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Optional

import tests
from tests.integration.bridge_case import SECRET, BridgeCase
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

SLOW = ("--worker-class", "tests.integration.slow_publish.SlowTurnChannelsApi")
SHUTDOWN_TIMEOUT = 3.0
#: What closing connections and a busy machine may add to it, in seconds.
SLACK = 10.0


class StoppingJourneyTests(BridgeCase):
    connector = "stopping_journeys"
    config = {"shutdown_timeout": SHUTDOWN_TIMEOUT, "join_window": 1.5}

    def setUp(self) -> None:
        super().setUp()
        self.rig.worker.stop()
        self.peer.purge(self.rig.queue("turn_joining"))
        self.person = new_person()

    def started(self, *flags: str, **config: Any) -> Worker:  # type: ignore[override]
        """A worker in place of the class's own, to which the person has dialled."""
        root = str(Path(tests.__file__).resolve().parent.parent)
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
        options = {key: value for key, value in self.rig.worker.config.items() if key != "http_bind"}
        worker = Worker({**options, **config}, self.node.port, flags, {"PYTHONPATH": path})
        self.addCleanup(worker.close)
        worker.start()
        self.webhook = HttpPeer(worker.port, SECRET)
        self.delivered(self.say(inbound(from_addr=self.person, session_event="new", content="*120#")))
        return worker

    def post(self, text: str, waits: bool = False) -> None:
        """Turn says something, and has a 200."""
        answer = self.webhook.post(outbound(self.person, text, waiting_for_user_input=waits))
        self.assertEqual(answer.status, 200, answer.body)

    def tell_to_stop(self, worker: Worker) -> Any:
        """SIGTERM; its process."""
        process: Any = worker._process
        process.send_signal(signal.SIGTERM)
        return process

    def ended(self, process: Any, worker: Worker) -> None:
        """It ends in time."""
        self.assertIn(process.wait(SHUTDOWN_TIMEOUT + SLACK), (0, -signal.SIGTERM))
        self.assertNotIn("Traceback", worker.log)

    def next_worker(self, worker: Worker, window: Optional[float] = None) -> None:
        """The same once more, perhaps with another window; it shows nothing that was shown."""
        if window is not None:
            worker.config["join_window"] = window
        worker.start()
        wait_for(lambda: self.rig.held("turn_joining") == self.rig.held("inbound") == 0, "empty queues", 20)

    def test_window_runs_out(self) -> None:
        """What is held when it is told to stop is shown when its window is over, with what still joins it."""
        # There is time for a second POST on a busy machine.
        worker = self.started(join_window=3, shutdown_timeout=8)
        self.post("One.")
        process = self.tell_to_stop(worker)
        wait_for(lambda: self.webhook.get("/health").status == 503, "the worker to stop")
        self.post("Two.")
        self.ended(process, worker)
        sent = self.sent()
        self.assertEqual((sent["content"], sent["session_event"]), ("One.\nTwo.", "close"))
        self.next_worker(worker)
        self.nothing_sent()

    def test_longer_window(self) -> None:
        """What there is no time for is back in its queue, and shown by the next worker, once."""
        worker = self.started(join_window=600)
        self.post("One.")
        self.ended(self.tell_to_stop(worker), worker)
        self.nothing_sent()
        self.next_worker(worker, 0.2)
        self.assertEqual(self.sent()["content"], "One.")
        self.nothing_sent()

    def test_page(self) -> None:
        """A page that is being published is finished and its key acknowledged: nobody shows it again."""
        worker = self.started(*SLOW)
        self.post("word " * 60, waits=True)
        self.assertTrue(self.sent()["content"].endswith("98. More"))
        key = self.say(inbound(from_addr=self.person, session_event="resume", content="98"))
        page = self.sent()
        self.assertEqual(page["in_reply_to"], key["message_id"])
        self.ended(self.tell_to_stop(worker), worker)
        self.assertEqual(self.peer.ready(self.rig.queue("inbound")), 0)
        self.next_worker(worker)
        self.nothing_sent()
        self.assertNotIn(key["message_id"], [message["message"]["id"] for message in self.turn.messages()])
