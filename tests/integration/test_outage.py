"""
Turn away for a while under load, and a storm of 429.

Short by default. ``VUMI_TURN_OUTAGE_SECONDS=65`` and ``VUMI_TURN_STORM=60/60``
(requests in so many seconds) make them as long as they are in life.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Iterable

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.turn_server import MESSAGES, Request, TurnResponse
from tests.integration.vumi_words import event, inbound, new_id, new_person
from tests.integration.waiting import wait_for

OUTAGE_SECONDS = float(os.environ.get("VUMI_TURN_OUTAGE_SECONDS", "12"))

#: So many requests in so many seconds.
STORM_LIMIT, STORM_WINDOW = (int(part) for part in os.environ.get("VUMI_TURN_STORM", "15/3").split("/"))

#: What the worker's memory may grow by while Turn is away, in bytes.
FLAT = 4 * 1024 * 1024

#: Seconds that an answer may need to the worker, through its busy machine.
ON_ITS_WAY = 0.3


class Load:
    """
    People and the network, who go on speaking: a message each time, and for
    every fourth of them an ack and a report.

    :param rate: of messages, a second.
    """

    def __init__(self, port: int, connector: str, rate: float) -> None:
        self._port = port
        self._connector = connector
        self._rate = rate
        self._people = [new_person() for _ in range(50)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: What was said, in order, in each line: a person's, or a message's.
        self.said: dict[str, list[str]] = defaultdict(list)

    def start(self) -> None:
        """Begin to speak."""
        self._thread.start()

    def stop(self) -> None:
        """Say nothing more."""
        self._over.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the load did not end"

    def speak(self, peer: AmqpPeer, number: int) -> None:
        """Say the next thing."""
        person = self._people[number * 7 % len(self._people)]
        message = inbound(from_addr=person)
        peer.publish_json(f"{self._connector}.inbound", message)
        self.said[person].append(message["message_id"])
        if number % 4 == 0:
            ours = new_id()
            for kind, status in (("ack", "sent"), ("delivery_report", "delivered")):
                peer.publish_json(f"{self._connector}.event", event(kind, ours))
                self.said[ours].append(f"{ours} {status}")

    @property
    def number(self) -> int:
        """How much was said."""
        return sum(len(line) for line in list(self.said.values()))

    def _run(self) -> None:
        peer = AmqpPeer(self._port)
        began = time.monotonic()
        for number in count():
            if self._over.wait(max(began + number / self._rate - time.monotonic(), 0)):
                break
            self.speak(peer, number)
        peer.close()


def key_of(request: Request) -> str:
    """How :class:`Load` names what a request is about."""
    if request.kind == MESSAGES:
        return request.id
    return f"{request.id} {request.json['status']['status']}"


class OutageCase(BridgeCase):
    """What both kinds of trouble must leave behind."""

    def taken(self, requests: Iterable[Request]) -> list[str]:
        """What Turn has accepted, in that order."""
        return [key_of(request) for request in requests if request.status == 200]

    def all_taken(self, load: Load, timeout: float) -> list[str]:
        """Once Turn has taken everything: each once, in its line's order, and nothing is parked."""
        wait_for(
            lambda: sum(request.status == 200 for request in list(self.turn.requests)) >= load.number,
            "Turn to have taken everything",
            timeout,
        )
        taken = self.taken(self.turn.requests)
        self.assertEqual(len(taken), len(set(taken)))
        place = {key: number for number, key in enumerate(taken)}
        for line in load.said.values():
            self.assertEqual(line, sorted(line, key=place.__getitem__))
        self.assertEqual(self.peer.take_all(self.rig.queue("turn_failures")), [])
        for kind in ("inbound", "event"):
            self.peer.wait_until_empty(self.rig.queue(kind))
        return taken

    def figures(self, **figures: object) -> None:
        """For whoever reads the tests' output."""
        print(f"\n    {type(self).__name__}: " + ", ".join(f"{k} {v}" for k, v in figures.items()))


class AwayTests(OutageCase):
    """Turn is away while everybody goes on speaking."""

    connector = "outage_away"
    config = {"mo_message_url_timeout": 2, "event_url_timeout": 2}

    def rss(self) -> int:
        """The worker's memory, in bytes."""
        pages = int(Path(f"/proc/{self.worker.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def ask(self) -> None:
        """Turn, which is away, can still ask."""
        answer = HttpPeer(self.worker.port, self.http.secret).post(outbound(new_person()))
        self.assertEqual(answer.status, 200, answer.body)

    def test_under_load(self) -> None:
        """
        The worker's memory is flat, its log says when Turn goes, once a minute
        that it is away and when it is back, and all is delivered in order.
        """
        load = Load(self.node.port, self.connector, 100)
        load.start()
        self.addCleanup(load.stop)
        wait_for(lambda: len(self.turn.requests) > 300, "the load to flow")
        lines = len(self.worker.log.splitlines())
        before = load.number
        self.turn.refuse()
        began = time.monotonic()
        wait_for(lambda: self.http.get("/health").json["health"] == "degraded", "health to tell")
        memory = [self.rss()]
        while time.monotonic() < began + OUTAGE_SECONDS:
            self.ask()
            time.sleep(0.25)
            memory.append(self.rss())
        waiting = load.number - before
        self.turn.listen()
        back = time.monotonic()
        wait_for(lambda: "Turn is back" in self.worker.log, "the worker to find Turn back", 70)
        found = time.monotonic() - back
        load.stop()
        self.all_taken(load, 60 + OUTAGE_SECONDS)
        drained = time.monotonic() - back
        said = [line for line in self.worker.log.splitlines()[lines:] if line and "recorder#info" not in line]
        self.figures(
            away=f"{OUTAGE_SECONDS:g} s",
            waiting=waiting,
            memory_MB=f"{memory[0] / 2**20:.1f} to {max(memory) / 2**20:.1f}",
            log_lines=len(said),
            found_back=f"after {found:.1f} s",
            drained=f"after {drained:.1f} s",
        )
        self.assertLess(max(memory) - memory[0], FLAT)
        gone, *reminders, again = said
        self.assertIn("Turn is away", gone)
        self.assertIn("Turn is back after", again)
        seconds = float(again.partition("Turn is back after ")[2].split()[0])
        self.assertEqual(len(reminders), int(seconds // 60), said)
        for line in reminders:
            self.assertIn("Turn has been away", line)


class CallTimeout:
    """
    Turn's rate limit: so many requests in each period, which begins with its
    first; the others get a 429 that says how long to wait.

    :param tells: say with each answer how many are left, too.
    """

    def __init__(self, tells: bool) -> None:
        self._tells = tells
        self._lock = threading.Lock()
        self._began = -math.inf
        self._used = 0
        #: For each 429: when it was decided, by the monotonic clock, and the seconds it told.
        self.told: list[tuple[float, int]] = []

    def decide(self, request: Request) -> TurnResponse:
        """For :attr:`TurnServer.decide`."""
        with self._lock:
            now = time.monotonic()
            if now >= self._began + STORM_WINDOW:
                self._began, self._used = now, 0
            left = self._began + STORM_WINDOW - now
            self._used += 1
            headers = {}
            if self._tells:
                headers = {
                    "X-Ratelimit-Limit": str(STORM_LIMIT),
                    "X-Ratelimit-Remaining": str(max(STORM_LIMIT - self._used, 0)),
                    "X-Ratelimit-Reset": f"{time.time() + left:.3f}",
                }
            if self._used <= STORM_LIMIT:
                return TurnResponse(headers=headers)
            seconds = math.ceil(left)
            self.told.append((now, seconds))
            return TurnResponse(429, headers={"Retry-After": str(seconds), **headers}, body=b"{}")


class StormTests(OutageCase):
    """Turn takes fewer requests than there are."""

    connector = "outage_storm"

    def storm(self, tells: bool) -> None:
        """Three and a half periods' worth of messages and statuses, all at once."""
        limit = CallTimeout(tells)
        self.turn.decide = limit.decide
        load = Load(self.node.port, self.connector, 0)
        began = time.monotonic()
        # Six requests for each four messages.
        for number in range(int(3.5 * STORM_LIMIT / 6) * 4):
            load.speak(self.peer, number)
        self.all_taken(load, 5 * STORM_WINDOW + 30)
        too_early = [
            (round(request.began - told, 2), seconds)
            for told, seconds in limit.told
            for request in self.turn.requests
            if told + ON_ITS_WAY < request.began < told + seconds
        ]
        self.figures(
            limit=f"{STORM_LIMIT} in {STORM_WINDOW} s",
            told_before=tells,
            things=load.number,
            requests=len(self.turn.requests),
            refused_429=len(limit.told),
            sent_while_told_to_wait=len(too_early),
            took=f"{time.monotonic() - began:.1f} s",
        )
        self.assertEqual(too_early, [])
        self.assertTrue(limit.told or tells, "the storm was none")

    def test_retry_after(self) -> None:
        """After a 429 nothing is sent until Turn said so; nothing is lost, parked or sent twice."""
        self.storm(tells=False)

    def test_remaining(self) -> None:
        """Told how many are left, the worker waits before it is refused; the rest is the same."""
        self.storm(tells=True)


class PoisonTests(OutageCase):
    """One message on which Turn always times out."""

    connector = "outage_poison"
    config = {"amqp_prefetch_count": 5, "max_retries": 0}

    def test_a_line_that_fills_the_window(self) -> None:
        """
        It stops nobody, though the same person's are more than the prefetch: others are delivered at once, and
        show that Turn is not away, so that it is parked, and the rest of that person's is delivered in order.
        """
        person = new_person()
        said = [inbound(from_addr=person) for _ in range(9)] + [inbound() for _ in range(3)]
        bad = said[0]["message_id"]
        self.turn.decide = lambda request: TurnResponse(504 if request.id == bad else 200)
        for message in said:
            self.say(message)
        for message in said[9:]:
            self.turn.wait_for("messages", message["message_id"], 2)
        while not self.peer.ready(self.rig.queue("turn_failures")):
            said.append(inbound())
            self.say(said[-1])
            self.turn.wait_for("messages", said[-1]["message_id"], 2)
            time.sleep(0.5)
        for message in said[1:9]:
            self.turn.wait_for("messages", message["message_id"], 10)
        self.assertEqual(self.parked()["message"], said[0])
        taken = self.taken(self.turn.requests)
        self.assertEqual(len(taken), len(said) - 1)
        theirs = [message["message_id"] for message in said[1:9]]
        self.assertEqual([name for name in taken if name in theirs], theirs)
        self.peer.wait_until_empty(self.rig.queue("inbound"))
