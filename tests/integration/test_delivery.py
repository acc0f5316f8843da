"""What becomes of messages at a Turn that refuses, fails, hangs or throttles, on the real wires."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

from tests.integration.bridge_case import BridgeCase
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import event, inbound, new_id, new_person
from tests.integration.waiting import wait_for


class DeliveryCase(BridgeCase):
    config = {
        "mo_message_url_timeout": 0.5,
        "event_url_timeout": 0.5,
        "max_retries": 1,
        "shutdown_timeout": 1,
    }

    def say_many(self, count: int, people: int = 0) -> list[dict[str, Any]]:
        """So many messages, each of another person, or of so many people in turn."""
        addresses = [new_person() for _ in range(people or count)]
        return [self.say(inbound(from_addr=addresses[number % len(addresses)])) for number in range(count)]

    def turn_state(self) -> dict[str, Any]:
        """What ``/health`` says of Turn."""
        answer = self.http.get("/health")
        self.assertEqual(answer.status, 200)
        state: dict[str, Any] = answer.json["components"]["turn"]
        return state

    def parked_ids(self) -> list[str]:
        """The ids of all that is parked, taken out."""
        bodies = self.peer.take_all(self.rig.queue("turn_failures"))
        return [json.loads(body)["message"].get("message_id") for body in bodies]

    def accepted(self) -> list[str]:
        """The ids of what Turn has accepted, in order."""
        done = [request for request in self.turn.of("messages") if request.status == 200]
        return [request.id for request in sorted(done, key=lambda request: request.ended or 0)]

    def all_accepted(self, said: list[dict[str, Any]], timeout: float = 60) -> None:
        """Wait until Turn has accepted all of them, each person's in order, and the queue is empty."""
        wanted = [message["message_id"] for message in said]
        wait_for(lambda: set(wanted) <= set(self.accepted()), "Turn to have all", timeout)
        first = {name: place for place, name in reversed(list(enumerate(self.accepted())))}
        for person in {message["from_addr"] for message in said}:
            places = [first[m["message_id"]] for m in said if m["from_addr"] == person]
            self.assertEqual(places, sorted(places), person)
        wait_for(lambda: self.rig.held("inbound") == 0, "the queue to be empty")


class VerdictTests(DeliveryCase):
    connector = "delivery"

    def test_refuses_everything(self) -> None:
        """A Turn that answers 400 to everything gets 20 parked; the others are held, and delivered afterwards."""
        self.delivered(self.say(inbound()))
        self.turn.decide = lambda request: TurnResponse(400)
        said = self.say_many(60)
        wait_for(lambda: self.turn_state()["state"] == "misconfigured", "the worker to understand")
        time.sleep(3)  # some probes are refused
        wait_for(lambda: self.rig.held("inbound") == 40, "the parked ones to be acknowledged, and no other")
        parked = self.parked_ids()
        self.assertEqual(len(set(parked) & {message["message_id"] for message in said}), 20)
        self.assertIn("check auth_token and turn_api_url", self.worker.log)
        self.turn.decide = lambda request: TurnResponse(200)
        self.all_accepted([message for message in said if message["message_id"] not in parked])
        self.assertEqual(self.turn_state()["state"], "ok")
        self.assertEqual(self.parked_ids(), [])

    def test_fails_on_everything(self) -> None:
        """A Turn that answers 500 to everything gets nothing parked, and all in order when it is well."""
        self.turn.decide = lambda request: TurnResponse(500)
        said = self.say_many(40, people=5)
        wait_for(lambda: len(self.turn.requests) >= 6, "some tries")
        time.sleep(2)
        self.assertLess(len(self.turn.requests), 40)
        self.turn.decide = lambda request: TurnResponse(200)
        self.all_accepted(said)
        self.assertEqual(self.parked_ids(), [])

    def test_stands_still(self) -> None:
        """An answer that arrives while the process stands still counts, and Turn gets nothing twice."""
        self.turn.script(*[TurnResponse(delay=0.2)] * 5)
        said = self.say_many(5)
        wait_for(lambda: len(self.turn.messages()) == 5, "Turn to get them")
        os.kill(self.worker.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: len(self.accepted()) == 5, "Turn to have answered")
            time.sleep(1)  # longer than a POST may take
        finally:
            os.kill(self.worker.pid, signal.SIGCONT)
        self.all_accepted(said)
        self.assertEqual(len(self.turn.messages()), 5)

    def test_wrong_token(self) -> None:
        """Where Turn does not let us in each is tried at most once a probe, held, and delivered afterwards."""
        self.turn.decide = lambda request: TurnResponse(401)
        said = self.say_many(10)
        wait_for(lambda: self.turn_state()["state"] == "misconfigured", "the worker to understand")
        self.assertEqual(self.http.get("/health").json["health"], "degraded")
        time.sleep(2.5)
        self.assertLessEqual(len(self.turn.requests), 13)
        probes = [request.id for request in self.turn.requests][-2:]
        self.assertEqual(len(set(probes)), len(probes), "another one each time")
        self.turn.decide = lambda request: TurnResponse(200)
        self.all_accepted(said)
        self.assertEqual(self.parked_ids(), [])

    def test_poison(self) -> None:
        """One message on which Turn always hangs never stops the others, and is parked after three rounds."""
        said = [inbound() for _ in range(40)]
        poison = said[10]["message_id"]
        self.turn.decide = lambda request: TurnResponse(hang=request.id == poison)
        for message in said:
            self.say(message)
        behind = self.say(inbound(from_addr=said[10]["from_addr"]))
        others = [message for message in said if message["message_id"] != poison]
        self.all_accepted_but(others)
        while not self.peer.ready(self.rig.queue("turn_failures")):
            self.delivered(self.say(inbound()))
        parked = self.parked()
        self.assertEqual((parked["message"]["message_id"], parked["failure_code"]), (poison, "temporary"))
        self.assertEqual(parked["helper_metadata"]["turn"]["attempts"], 6)
        self.assertEqual(Counter(request.id for request in self.turn.requests)[poison], 6)
        self.delivered(behind)
        self.assertNotEqual(self.turn_state()["state"], "away")

    def all_accepted_but(self, said: list[dict[str, Any]]) -> None:
        wanted = {message["message_id"] for message in said}
        wait_for(lambda: wanted <= set(self.accepted()), "Turn to have the others")

    def test_not_found(self) -> None:
        """A 404 on one status is that status' affair; on a message it is a wrong URL, and all are held."""
        gone = new_id()
        self.turn.decide = lambda request: TurnResponse(404 if request.id == gone else 200)
        self.report(event("ack", gone))
        while not self.peer.ready(self.rig.queue("turn_failures")):
            self.delivered(self.say(inbound()))
        parked = self.parked()
        self.assertEqual(parked["message"]["user_message_id"], gone)
        self.assertEqual((parked["failure_code"], parked["helper_metadata"]["turn"]["last_status"]), ("temporary", 404))
        self.turn.decide = lambda request: TurnResponse(404)
        said = self.say_many(3)
        wait_for(lambda: self.turn_state()["state"] == "misconfigured", "the worker to understand")
        self.turn.decide = lambda request: TurnResponse(200)
        self.all_accepted(said)
        self.assertEqual(self.parked_ids(), [])

    def test_moved_from_another_queue(self) -> None:
        """A count that a message brought from another queue, from which it was moved, does not park it."""
        moved = inbound()
        self.peer.publish_json(self.rig.queue("inbound"), moved, {"x-delivery-count": 16})
        self.delivered(moved)
        self.assertEqual(self.parked_ids(), [])


class RateLimitTests(DeliveryCase):
    connector = "rate_limits"

    def waits(self, answer: TurnResponse, seconds: float) -> None:
        """After this answer nothing is sent for so long, neither message nor status; then all of it, once."""
        self.turn.requests.clear()
        self.turn.script(answer)
        first = self.say(inbound())
        # What comes before the worker has read the answer is sent at once.
        wait_for(lambda: self.http.metric("vumi_turn_throttled_seconds") > 0, "the worker to have the answer")
        others = [self.say(inbound()) for _ in range(3)]
        status = self.report(event("ack", new_id()))
        for message in [*others, first]:
            self.delivered(message)
        self.turn.wait_for("statuses", status["user_message_id"])
        told, *later = list(self.turn.requests)
        assert told.ended is not None
        gap = later[0].began - told.ended
        self.assertGreater(gap, seconds - 0.1)
        self.assertLess(gap, seconds + 1.5)
        # The last of the messages and the status may go together.
        self.assertEqual({request.kind for request in later[:-2]}, {"messages"}, "messages go first")
        self.assertEqual(len(later), 5 if answer.status == 429 else 4)
        self.assertEqual(self.parked_ids(), [])

    def test_retry_after(self) -> None:
        """``Retry-After`` is heeded in seconds and as a date."""
        self.waits(TurnResponse(429, headers={"Retry-After": "2"}), 2)
        date = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=4)
        # Dates have whole seconds: between 3 and 4 are left.
        self.waits(TurnResponse(429, headers={"Retry-After": format_datetime(date, usegmt=True)}), 3)

    def test_nothing_remains(self) -> None:
        """With nothing remaining, on a 200 too, the reset is waited for."""
        for status in (200, 429):
            reset = int(time.time()) + 3.5
            headers = {"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": str(reset)}
            self.waits(TurnResponse(status, headers=headers), 2.2)
