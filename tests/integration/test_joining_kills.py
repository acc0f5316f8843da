"""
Messages that are joined, while the worker, the broker or Redis is killed:
every text that Turn has a 200 for is shown.

Each instant at which a worker may be killed is tried once, in one of the
set-ups; ``VUMI_TURN_JOINING_KILLS=9`` tries all nine in each of them.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from twisted.trial.unittest import SkipTest

import tests
from tests.integration.bridge_case import SECRET, BridgeCase
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.kill_instants import ARMED_BY, INSTANTS, KILL_AT
from tests.integration.redis_server import RedisServer
from tests.integration.test_journeys import SHOW
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

try:
    import txredisapi
except ImportError:
    txredisapi = None

#: At how many instants a worker is killed in each set-up.
KILLS = int(os.environ.get("VUMI_TURN_JOINING_KILLS", "3"))

#: Seconds for which parts are held.
WINDOW = 0.3
#: People in sessions; every second one is asked something in the end.
PEOPLE = 4
#: Seconds that Turn waits for an answer, for how long it asks again, and how long it waits between.
PATIENCE, TRYING, PAUSE = 5.0, 60.0, 0.1

KILLED = ["--worker-class", "tests.integration.killed_worker.KilledTurnChannelsApi"]


@dataclass
class Figures:
    """
    What came of the texts of one trial.

    :ivar shown: for each text the messages that show it, as (id, session_event).
    """

    accepted: list[str] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def take(self, bodies: Sequence[bytes]) -> None:
        """More of the outbound queue."""
        self.messages += [json.loads(body) for body in bodies]

    def of(self, text: str) -> list[dict[str, Any]]:
        """The messages that show a text."""
        return [message for message in self.messages if text in message["content"].split("\n")]

    @property
    def lost(self) -> list[str]:
        """Accepted, and shown nowhere."""
        return [text for text in self.accepted if not self.of(text)]

    @property
    def twice(self) -> list[str]:
        """Shown more than once."""
        return [text for text in self.accepted if len(self.of(text)) > 1]

    @property
    def under_other_ids(self) -> list[str]:
        """Shown by messages with different ids."""
        return [text for text in self.accepted if len({m["message_id"] for m in self.of(text)}) > 1]

    def line(self, title: str) -> str:
        """For a table."""
        published = len(self.accepted) - len(self.lost)
        return (
            f"{title:36} accepted {len(self.accepted):3}  published {published:3}  "
            f"lost {len(self.lost)}  twice {len(self.twice)}  (other id {len(self.under_other_ids)})"
        )


class JoiningKillsTests(BridgeCase):
    """People in sessions, and a Turn that answers each with several messages, and repeats what has no 200."""

    connector = "joining_kills"
    config: dict[str, Any] = {"join_window": WINDOW, "amqp_prefetch_count": 2}
    worker_runs = False

    def setUp(self) -> None:
        super().setUp()
        self.peer.purge(self.rig.queue("turn_joining"))

    # -- the parts of a trial ----------------------------------------------------

    def workers(self, count: int, redis: Optional[RedisServer]) -> list[Worker]:
        """Workers, the first of which consumes the parts, since it was there first."""
        config = {key: value for key, value in self.rig.worker.config.items() if key != "http_bind"}
        if redis is not None:
            config.update(message_cache_class="RedisMessageCache", message_cache_config={"url": redis.url})
        root = str(Path(tests.__file__).resolve().parent.parent)
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
        found = []
        for _ in range(count):
            worker = Worker(config, self.node.port, KILLED, {"PYTHONPATH": path})
            self.addCleanup(worker.close)
            worker.start()
            found.append(worker)
        return found

    def redis(self) -> RedisServer:
        """A Redis of the test's own."""
        if txredisapi is None:
            raise SkipTest("needs txredisapi: pip install '.[redis]'")
        redis = RedisServer()
        self.addCleanup(redis.stop)
        redis.start()
        return redis

    def arm(self, worker: Worker, instant: str) -> None:
        """A worker is to be killed at an instant."""
        path = worker.folder / KILL_AT
        path.write_text(instant)
        os.kill(worker.pid, ARMED_BY)
        wait_for(lambda: not path.exists(), "the worker to know when it is killed")

    def trial(
        self,
        workers: Sequence[Worker],
        strike: Callable[[], None],
        restarts: Optional[Worker] = None,
        people: int = PEOPLE,
    ) -> Figures:
        """
        Everybody dials, Turn answers, and what was accepted is looked for.

        :param strike: called when the first parts are held, or before.
        :param restarts: ends meanwhile, and is started again.
        :param people: how many there are; those with an odd number are asked something in the end.
        """
        webhooks = [HttpPeer(worker.port, SECRET) for worker in workers]
        persons = [self.dials() for _ in range(people)]
        figures = Figures()
        if restarts is not None:
            strike()
        with ThreadPoolExecutor(PEOPLE) as pool:
            turns = [pool.submit(self._answer, webhooks, p, n, figures) for n, p in enumerate(persons, 1)]
            if restarts is None:
                strike()
            else:
                wait_for(lambda: not restarts.running, "the worker to be killed")
                restarts.start(wait=False)
            for each in turns:
                each.result()
        for worker in workers:
            worker.wait_until_healthy()
        wait_for(lambda: self._drained(figures), "all texts", 40)
        # The queue keeps its order: what comes again is before one more person's.
        last = Figures()
        self._answer(webhooks, self.dials(), 0, last)
        wait_for(lambda: self._drained(last), "the last texts", 40)
        figures.messages += last.messages
        return figures

    def dials(self) -> str:
        """Somebody begins a session, and Turn has heard of it."""
        person = new_person()
        self.delivered(self.say(inbound(from_addr=person, session_event="new", content="*120#")))
        return person

    def _answer(self, webhooks: Sequence[HttpPeer], person: str, number: int, figures: Figures) -> None:
        """Turn's messages to one person: two that don't wait, and for every second person one that does."""
        texts = [("one", False), ("two", False), *([("three?", True)] if number % 2 else [])]
        for nth, (name, waits) in enumerate(texts):
            text = f"{name} {person}"
            body = json.dumps(outbound(person, text, waiting_for_user_input=waits)).encode()
            self._ask(webhooks, nth + number, body)
            figures.accepted.append(text)

    def _ask(self, webhooks: Sequence[HttpPeer], first: int, body: bytes) -> None:
        """The same request until it is answered 200, each time at another worker."""
        ends = time.monotonic() + TRYING
        turn = first
        answers: list[object] = []
        while time.monotonic() < ends:
            try:
                answer = webhooks[turn % len(webhooks)].post_bytes(body, timeout=PATIENCE)
                if answer.status == 200:
                    return
                answers.append((answer.status, answer.body))
            except (OSError, HTTPException) as error:
                answers.append(repr(error))  # it is down, or was killed meanwhile
            turn += 1
            time.sleep(PAUSE)
        raise AssertionError(f"no 200: {answers[-5:]}")

    def _drained(self, figures: Figures) -> bool:
        figures.take(self.peer.take_all(self.rig.queue("outbound")))
        return not figures.lost

    def show(self, figures: Figures, title: str) -> None:
        """Print the figures where the environment asks for it."""
        if os.environ.get(SHOW):
            print(f"\n{figures.line(title)}")

    def some_instants(self, count: int, shared: bool) -> None:
        """One trial for each of some instants: nothing is lost."""
        workers = self.workers(count, self.redis() if shared else None)
        # Another third of them first in each set-up.
        first = count + shared
        instants = [instant for nth in range(first, first + 3) for instant in [*INSTANTS][nth % 3 :: 3]]
        for nth, instant in enumerate(instants[:KILLS]):
            with self.case(instant):
                # The one that is killed consumes the parts; while it is away the next one takes over.
                victim = workers[nth % count]
                # One person, where others' messages would be a step behind.
                people = 1 if instant in ("noted", "acknowledging") else PEOPLE
                figures = self.trial(workers, partial(self.arm, victim, instant), victim, people)
                self.show(figures, f"{count} worker(s){', Redis' if shared else ''}: {instant}")
                self.assertEqual(figures.lost, [])
                if shared:
                    self.assertEqual(figures.under_other_ids, [])
                    if not instant.startswith("flush"):
                        self.assertEqual(figures.twice, [])
        for worker in workers:
            self.assertNotIn("Traceback", worker.log)

    # -- the worker -----------------------------------------------------------------

    def test_one_worker(self) -> None:
        """Without Redis a text may be shown twice, and none is lost."""
        self.some_instants(1, shared=False)

    def test_one_worker_and_redis(self) -> None:
        """With Redis twice only what was being published, and under its own id."""
        self.some_instants(1, shared=True)

    def test_two_workers(self) -> None:
        """The other worker takes over what is held."""
        self.some_instants(2, shared=True)

    # -- the broker and Redis ----------------------------------------------------------

    def test_broker_restarted(self) -> None:
        """Parts outlive the broker, with one worker and with two."""
        redis = self.redis()
        workers: list[Worker] = []
        for count in (1, 2):
            with self.case(f"{count} workers"):
                workers += self.workers(1, redis)
                figures = self.trial(workers, self._kill_broker)
                self.show(figures, f"{count} worker(s), Redis: broker killed")
                self.assertEqual((figures.lost, figures.under_other_ids), ([], []))

    def _kill_broker(self) -> None:
        time.sleep(WINDOW / 2)
        self.node.kill()
        self.node.start()

    def test_redis_killed(self) -> None:
        """Without Redis parts go on, with one worker and with two."""
        redis = self.redis()

        def strike() -> None:
            time.sleep(WINDOW / 2)
            redis.kill()
            time.sleep(2)
            redis.start()

        workers: list[Worker] = []
        for count in (1, 2):
            with self.case(f"{count} workers"):
                workers += self.workers(1, redis)
                figures = self.trial(workers, strike)
                self.show(figures, f"{count} worker(s), Redis killed")
                self.assertEqual(figures.lost, [])
