"""Somebody sets the machine's clock while the worker waits for Turn: nothing is delivered late, early or elsewhere."""

from __future__ import annotations

import time

from tests.integration.bridge_case import SECRET, BridgeCase
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.turn_server import MESSAGES, TurnResponse
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import wait_for
from tests.integration.wall_clock import WallClock
from tests.integration.worker import Worker

HOUR, DAY = 3600.0, 86400.0

#: Seconds that a POST may take, that Turn asks for with its 429, and after which an absent Turn is tried again.
POST_TIMEOUT, RETRY_AFTER, NEXT_PROBE = 0.5, 1.0, 1.0

#: Seconds over those which a busy machine may need.
SLACK = 5.0


class WallClockTests(BridgeCase):
    """One process, whose wall clock is set back by an hour and then forward by a day."""

    connector = "wall_clock"
    config = {"mo_message_url_timeout": POST_TIMEOUT, "max_retries": 0}

    def test_set_while_waiting(self) -> None:
        """What waits for Turn is delivered when it is due by the monotonic clock, and a session lives on."""
        clock = WallClock()
        self.addCleanup(clock.close)
        with self.running({}, variables=clock.variables) as worker:
            for name, seconds in (("back", -HOUR), ("forward", DAY)):
                with self.case(name):
                    before = self.stamp_of(worker)
                    said = self.say(inbound(session_event="new"))
                    self.delivered(said)
                    self.away(worker, clock, seconds)
                    self.throttled(clock, seconds)
                    self.hanging(clock, seconds)
                    self.assertEqual(self.link_of(worker, said["from_addr"]), said["message_id"])
                    again = self.say(inbound(from_addr=said["from_addr"], session_event="new"))
                    self.delivered(again)
                    self.assertEqual(self.link_of(worker, said["from_addr"]), again["message_id"])
                    # That the clock was set at all: three times.
                    self.assertLess(abs(self.stamp_of(worker) - before - 3 * seconds), 60)

    def away(self, worker: Worker, clock: WallClock, seconds: float) -> None:
        """The clock is set while Turn is away."""
        self.turn.refuse()
        message = self.say(inbound())
        http = HttpPeer(worker.port, SECRET)
        wait_for(lambda: http.get("/health").json["health"] == "degraded", "health to tell")
        clock.set_by(seconds)
        self.turn.listen()
        self.turn.wait_for(MESSAGES, message["message_id"], NEXT_PROBE + SLACK)
        wait_for(lambda: http.get("/health").json["health"] == "ok", "health to tell")

    def throttled(self, clock: WallClock, seconds: float) -> None:
        """The clock is set while the worker waits as a 429 says: no message is sent earlier than that."""
        self.turn.script(TurnResponse(429, {"Retry-After": f"{RETRY_AFTER:g}"}))
        took = self.seconds_to_deliver(clock, seconds, RETRY_AFTER)
        self.assertGreaterEqual(took, RETRY_AFTER)

    def hanging(self, clock: WallClock, seconds: float) -> None:
        """The clock is set while a POST hangs: it is given up after its timeout, and no earlier."""
        self.turn.script(TurnResponse(hang=True))
        took = self.seconds_to_deliver(clock, seconds, POST_TIMEOUT + NEXT_PROBE)
        self.assertGreaterEqual(took, POST_TIMEOUT)
        self.turn.release()

    def seconds_to_deliver(self, clock: WallClock, seconds: float, due: float) -> float:
        """Send a message whose first POST fails, set the clock then, and say how long after that it came."""
        before = len(self.turn.of(MESSAGES))
        message = self.say(inbound())
        wait_for(lambda: len(self.turn.of(MESSAGES)) > before, "the first POST")
        began = self.turn.of(MESSAGES)[before].began
        clock.set_by(seconds)
        return self.turn.wait_for(MESSAGES, message["message_id"], due + SLACK).began - began

    def link_of(self, worker: Worker, person: str) -> object:
        """The message that an answer for a person is linked to."""
        answer = HttpPeer(worker.port, SECRET).post(outbound(person, waiting_for_user_input=True))
        self.assertEqual(answer.status, 200, answer.body)
        return self.sent()["in_reply_to"]

    def stamp_of(self, worker: Worker) -> float:
        """The worker's wall clock, by the timestamp of a message that it sends."""
        answer = HttpPeer(worker.port, SECRET).post(outbound(new_person()))
        self.assertEqual(answer.status, 200, answer.body)
        return time.mktime(time.strptime(self.sent()["timestamp"].split(".")[0], "%Y-%m-%d %H:%M:%S"))
