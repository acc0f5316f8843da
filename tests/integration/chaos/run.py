"""One run: a while with faults, then none until all has drained, and the account."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Mapping

import tests
from tests.integration.amqp_peer import AmqpPeer
from tests.integration.chaos.account import Account, account_for
from tests.integration.chaos.ledger import MESSAGE, POISON, QUIET, STATUS, STAY, Ledger, Parked
from tests.integration.chaos.load import Asker, Loads, Network, Speaker
from tests.integration.chaos.plan import plan_of
from tests.integration.chaos.process_faults import FaultClock, ProcessFaults
from tests.integration.chaos.turn import FaultyTurn
from tests.integration.http_peer import HttpPeer
from tests.integration.rabbitmq import RabbitMQ
from tests.integration.worker import Worker

TOKEN, SECRET = "chaos-token", "chaos-secret"

#: The queues that other programs use.
QUEUES = ("inbound", "event", "outbound", "turn_failures")

#: Seconds for a POST of the worker's.
TIMEOUT = 1.5

PREFETCH = 20

#: Without faults something has to move within so many seconds, as long as anything is left ...
STANDSTILL = 25.0
#: ... and all has to be over within so many.
DRAIN = 90.0


@dataclass
class Report:
    """
    What came of a run.

    :ivar seconds: it took; ``draining`` of them after the last fault.
    """

    seed: int
    seconds: float
    draining: float
    account: Account

    def text(self) -> str:
        """For people."""
        return f"seed {self.seed}, {self.seconds:.0f} s, {self.draining:.0f} s of them draining\n" + (
            self.account.text()
        )


class Run:
    """
    :param node: a RabbitMQ that runs, and that may be killed.
    :param messages: from people; half as many from Turn, and statuses of those.
    :param seconds: with faults.
    :param stay: seconds after which a held message goes back to its queue.
    """

    def __init__(self, node: RabbitMQ, seed: int, messages: int, seconds: float, stay: float) -> None:
        self._node = node
        self._seed = seed
        self._seconds = seconds
        self._plan = plan_of(seed, messages, seconds)
        self._connector = f"chaos_{seed}_{int(time.time())}"
        self._ledger = Ledger()
        self._turn = FaultyTurn(TOKEN, self._ledger, TIMEOUT, seed)
        config = {
            "connector_name": self._connector,
            "turn_api_url": self._turn.url,
            "auth_token": TOKEN,
            "turn_hmac_secret": SECRET,
            "default_from_addr": "8864",
            "mo_message_url_timeout": TIMEOUT,
            "event_url_timeout": TIMEOUT,
            "max_retries": 1,
            "retry_delay_base": 0.2,
            "publish_timeout": 1,
            "shutdown_timeout": 2,
            "amqp_prefetch_count": PREFETCH,
        }
        root = str(Path(tests.__file__).resolve().parent.parent)
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
        self._worker = Worker(
            config,
            node.port,
            ["--worker-class", "tests.integration.chaos.impatient.ImpatientTurnChannelsApi"],
            {"PYTHONPATH": path, STAY: str(stay)},
        )

    def run(self) -> Report:
        """All of it."""
        began = time.monotonic()
        loads = Loads()
        try:
            self._declare()
            self._worker.start()
            draining = self._storm(loads)
            loads.over.set()
            loads.join(30)
            self._worker.stop()
            self._collect()
        finally:
            loads.over.set()
            self._log = self._worker.log
            self._worker.close()
            self._turn.close()
        self._ledger.tracebacks = _tracebacks(self._log)
        account = account_for(self._ledger, TIMEOUT, PREFETCH)
        ended = time.monotonic()
        return Report(self._seed, ended - began, ended - draining, account)

    @property
    def log(self) -> str:
        """What the worker has written."""
        return self._log

    @property
    def history(self) -> str:
        """What happened to everything."""
        return self._ledger.history()

    def _declare(self) -> None:
        peer = AmqpPeer(self._node.port)
        for kind in QUEUES:
            peer.declare(f"{self._connector}.{kind}")
        peer.close()

    def _storm(self, loads: Loads) -> float:
        """The load with faults, and then without; gives the moment at which that began."""
        ledger, port, seed = self._ledger, self._node.port, self._seed
        speaker = Speaker(ledger, loads, port, self._connector, self._plan.sayings, seed)
        asker = Asker(ledger, loads, HttpPeer(self._worker.port, SECRET), self._plan.askings, seed)
        network = Network(ledger, loads, port, self._connector, asker.refused, seed)
        fault_clock = FaultClock(self._seconds)
        process_faults = ProcessFaults(ledger, self._node, self._worker, self._plan.process_faults, fault_clock)
        bad = Loads()
        bad.start(lambda: self._turn_faults(fault_clock), process_faults.run)
        loads.start(speaker.run, network.run, *[asker.run] * Asker.THREADS)
        bad.join(4 * self._seconds + 120)
        fine = time.monotonic()
        network.hurry = True
        self._drain(loads, lambda: speaker.done and not asker.open)
        return fine

    def _turn_faults(self, fault_clock: FaultClock) -> None:
        for turn_fault in self._plan.turn_faults:
            if not fault_clock.wait(turn_fault.fine):
                break
            self._turn.live(turn_fault, fault_clock)

    def _drain(self, loads: Loads, load_is_over: object) -> None:
        """Until everything is somewhere, or nothing moves any more."""
        assert callable(load_is_over)
        peer = AmqpPeer(self._node.port)
        deadline = time.monotonic() + DRAIN
        moved, state = time.monotonic(), None
        while time.monotonic() < min(deadline, moved + STANDSTILL) and not loads.over.is_set():
            self._take_parked(peer)
            left = self._left()
            if load_is_over() and left <= 0 and not self._shown(peer):
                break
            now = (left, len(self._ledger.seen), len(self._ledger.found), load_is_over())
            if now != state:
                moved, state = time.monotonic(), now
            time.sleep(0.2)
        peer.close()

    def _left(self) -> int:
        """
        How many Turn has not taken, and are not parked. One that it never takes may stay in the
        queue, with the same person's others: alone, it cannot show that it is
        not Turn that is away.
        """
        ledger = self._ledger
        with ledger.lock:
            stuck = {said.line for said in ledger.said.values() if said.expect == POISON}
            done = ledger.taken | {parked.key for parked in ledger.parked}
            return sum(
                said.certain and said.expect not in QUIET and said.line not in stuck and key not in done
                for key, said in ledger.said.items()
            )

    def _shown(self, peer: AmqpPeer) -> int:
        """How many messages are on their way to people: ready, or held to be joined."""
        with self._ledger.lock:
            found = {each.marker for each in list(self._ledger.found.values())}
            told = self._ledger.told("failed") | self._ledger.told("sent")
        held = sum(
            asked.answer is not None and asked.marker not in found and asked.answer.message_id not in told
            for asked in self._ledger.asked
        )
        return held + peer.ready(f"{self._connector}.outbound")

    def _take_parked(self, peer: AmqpPeer) -> None:
        for body in peer.take_all(f"{self._connector}.turn_failures"):
            self._ledger.parked.append(_parked(json.loads(body)))

    def _collect(self) -> None:
        """What is left in the queues, now that nobody takes from them."""
        peer = AmqpPeer(self._node.port)
        self._take_parked(peer)
        for kind in ("inbound", "event"):
            for body in peer.take_all(f"{self._connector}.{kind}"):
                self._ledger.queued.add(_key_of(json.loads(body)))
        peer.delete(*(f"{self._connector}.{kind}" for kind in (*QUEUES, "turn_joining")))
        peer.close()


def _key_of(message: Mapping[str, object]) -> str:
    if "event_id" not in message:
        return str(message["message_id"])
    status = {"ack": "sent", "nack": "failed"}.get(str(message["event_type"]), "delivered")
    return f"{message['user_message_id']} {status}"


def _parked(failure: dict[str, dict[str, dict[str, object]]]) -> Parked:
    about = failure["helper_metadata"]["turn"]
    moment = datetime.strptime(str(about["failed_at"]), "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)
    status = about["last_status"]
    return Parked(
        MESSAGE if about["queue"] == "inbound" else STATUS,
        _key_of(failure["message"]),
        str(failure["failure_code"]),
        status if isinstance(status, int) else None,
        moment.timestamp() - time.time() + time.monotonic(),
    )


def _tracebacks(log: str) -> list[str]:
    """The last line of each."""
    found = []
    lines = log.splitlines()
    for number, line in enumerate(lines):
        if "Traceback" in line:
            ends = (each.strip() for each in lines[number + 1 :] if each.strip() and not each.startswith((" ", "\t")))
            found.append(next(ends, line)[:200])
    return found
