"""Stopping the worker while it is busy: nothing lost, nothing sent twice, and in time."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from typing import Any

from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import Response, outbound
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import event, inbound, new_person
from tests.integration.waiting import wait_for

SHUTDOWN_TIMEOUT = 6.0

#: What closing connections and a busy machine may add to it, in seconds.
SLACK = 6.0


class StoppingTests(BridgeCase):
    connector = "stopping"
    config = {"shutdown_timeout": SHUTDOWN_TIMEOUT, "mo_message_url_timeout": 30, "event_url_timeout": 30}

    def tearDown(self) -> None:
        self.turn.reset()

    def ended(self, began: float) -> float:
        """Wait for the end of a worker that was told to stop: clean, and how long it took."""
        process: Any = self.worker._process
        status = process.wait(SHUTDOWN_TIMEOUT + SLACK + 20)
        seconds = time.monotonic() - began
        self.assertIn(status, (0, -signal.SIGTERM))
        self.assertNotIn("Traceback", self.worker.log)
        return seconds

    def tell_to_stop(self) -> float:
        """SIGTERM; when that was."""
        process: Any = self.worker._process
        process.send_signal(signal.SIGTERM)
        return time.monotonic()

    def busy_with(self, count: int, **answer: Any) -> list[dict[str, Any]]:
        """So many messages, each of another person, are being POSTed to a Turn that answers so."""
        self.turn.decide = lambda request: TurnResponse(**answer)
        said = [self.say(inbound()) for _ in range(count)]
        wait_for(lambda: len(self.turn.of("messages")) == count, f"{count} POSTs under way")
        return said

    def test_under_way(self) -> None:
        """
        SIGTERM amid 20 POSTs: they are finished and acknowledged, none is sent
        twice, what waits goes back at once, and nothing new is taken.
        """
        said = self.busy_with(20, delay=3.0)
        behind = [self.say(inbound(from_addr=message["from_addr"])) for message in said]
        began = self.tell_to_stop()
        queue = self.rig.queue("inbound")
        wait_for(lambda: self.peer.consumers(queue) == 0, "the consumer to be gone")
        wait_for(lambda: self.peer.ready(queue) == 20, "what waits to be back in the queue")
        self.assertLess(time.monotonic() - began, 2.8, "while the POSTs are under way")
        self.assertEqual(self.http.get("/health").status, 503)
        self.assertEqual(self.http.get("/health").json["health"], "down")
        refused = self.http.post(outbound(new_person()))
        self.assertEqual((refused.status, refused.error["title"]), (503, "BrokerUnavailable"))
        self.assertIn("retry-after", refused.headers)
        seconds = self.ended(began)
        self.assertLess(seconds, SHUTDOWN_TIMEOUT + SLACK)
        sent = Counter(request.id for request in self.turn.of("messages"))
        self.assertEqual(sent, Counter(message["message_id"] for message in said))
        left = [json.loads(body)["message_id"] for body in self.peer.take_all(queue)]
        self.assertEqual(left, [message["message_id"] for message in behind])

    def test_turn_hangs(self) -> None:
        """With a Turn that hangs they go back after ``shutdown_timeout``, in order, for the next worker."""
        said = self.busy_with(5, hang=True)
        person = said[0]["from_addr"]
        said += [self.say(inbound(from_addr=person)) for _ in range(3)]
        began = self.tell_to_stop()
        queue = self.rig.queue("inbound")
        wait_for(lambda: self.peer.ready(queue) == 3, "what waits to be back in the queue")
        self.assertLess(time.monotonic() - began, SHUTDOWN_TIMEOUT - 1)
        seconds = self.ended(began)
        self.assertGreater(seconds, SHUTDOWN_TIMEOUT - 0.5)
        self.assertLess(seconds, SHUTDOWN_TIMEOUT + SLACK)
        wait_for(lambda: self.peer.ready(queue) == 8, "all to be back in the queue")
        self.turn.reset()
        self.worker.start()
        for message in said:
            self.delivered(message)
        theirs = [m["message"]["id"] for m in self.turn.messages() if m["contact"]["id"] == person]
        self.assertEqual(theirs, [m["message_id"] for m in said if m["from_addr"] == person])

    def test_nothing_to_do(self) -> None:
        """A worker that has nothing to do stops at once."""
        self.delivered(self.say(inbound()))
        self.assertLess(self.ended(self.tell_to_stop()), SHUTDOWN_TIMEOUT - 1)

    def test_held(self) -> None:
        """What is held for a Turn that is away goes back at once, unsent and in order."""
        self.turn.refuse()
        person = new_person()
        said = [self.say(inbound(from_addr=person)) for _ in range(5)]
        wait_for(lambda: self.http.get("/health").json["health"] == "degraded", "the worker to know")
        self.assertLess(self.ended(self.tell_to_stop()), SHUTDOWN_TIMEOUT - 1)
        wait_for(lambda: self.peer.ready(self.rig.queue("inbound")) == 5, "all to be back in the queue")
        left = [json.loads(body)["message_id"] for body in self.peer.take_all(self.rig.queue("inbound"))]
        self.assertEqual(left, [message["message_id"] for message in said])

    def test_publishing(self) -> None:
        """A publish that is under way is finished, and its repeat answered; its status is the next worker's."""
        body = json.dumps(outbound(new_person())).encode()
        answers: list[Response] = []
        asking = threading.Thread(target=lambda: answers.append(self.http.post_bytes(body)))
        self.leave_hanging(body)
        try:
            began = self.tell_to_stop()
            wait_for(lambda: self.http.get("/health").status == 503, "the worker to stop")
            self.assertEqual(self.http.post(outbound(new_person())).status, 503)
            asking.start()
        finally:
            self.node.resume()
        asking.join(20)
        self.assertLess(self.ended(began), SHUTDOWN_TIMEOUT + SLACK)
        self.assertEqual(answers[0].status, 200, answers[0].body)
        sent = self.sent()
        self.assertEqual(sent["message_id"], answers[0].message_id)
        self.nothing_sent()
        self.report(event("ack", sent["message_id"]))
        self.worker.start()
        self.turn.wait_for("statuses", sent["message_id"])

    def test_status_that_waits(self) -> None:
        """A status that waits until Turn knows its message's id goes back at once."""
        self.leave_hanging(json.dumps(outbound(new_person())).encode())
        self.node.resume()
        sent = self.sent()
        self.report(event("ack", sent["message_id"]))
        # It waits for 5 s at most.
        wait_for(lambda: self.http.metric("vumi_turn_waiting") == 1, "the worker to have it")
        self.assertLess(self.ended(self.tell_to_stop()), SHUTDOWN_TIMEOUT - 1)
        wait_for(lambda: self.peer.ready(self.rig.queue("event")) == 1, "the event to be back in its queue")
        self.assertEqual(self.turn.statuses(), [])

    def leave_hanging(self, body: bytes) -> None:
        """RabbitMQ hangs, and a client that has POSTed this goes away without an answer."""
        gone = self.http.gone()
        self.node.pause()
        self.http.post_and_abort(body)
        wait_for(lambda: self.http.gone() == gone + 1, "the worker to have read it")
