"""A Turn with faults, on the tests' local HTTP server."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Optional

from tests.integration.chaos.ledger import (
    ACCEPTED,
    CUT,
    DROPPED,
    FAILED,
    HUNG,
    LIED,
    MESSAGE,
    POISON,
    REFUSED,
    STATUS,
    THROTTLED,
    TURN,
    Death,
    Ledger,
    Seen,
)
from tests.integration.chaos.plan import ERRORS, HANG, LIE, REFUSE, SEVER, SLOW, THROTTLE, TurnFault
from tests.integration.chaos.process_faults import FaultClock
from tests.integration.requirements import free_port
from tests.integration.turn_server import MESSAGES, Request, TurnResponse, TurnServer


def key_of(request: Request) -> tuple[str, str]:
    """What a request is about: its kind, and how the ledger names it."""
    if request.kind == MESSAGES:
        return MESSAGE, request.id
    return STATUS, f"{request.id} {request.json['status']['status']}"


class FaultyTurn:
    """
    :param timeout: the worker's, for each POST, in seconds: what a lie has to outlast.
    :param seed: decides, with the message and the number of the try, who meets a fault.
    """

    def __init__(self, token: str, ledger: Ledger, timeout: float, seed: int) -> None:
        self._ledger = ledger
        self._timeout = timeout
        self._seed = seed
        self._turn_fault: Optional[TurnFault] = None
        self._tries: Counter[str] = Counter()
        self._server = TurnServer(token)
        self._server.refuse()
        self._server.port = free_port()  # one that nobody takes while Turn refuses
        self._server.listen()
        self._server.decide = self._decide
        self.url = self._server.url

    def live(self, turn_fault: TurnFault, fault_clock: FaultClock) -> None:
        """Have a fault for its time."""
        self._ledger.count_fault(f"Turn {turn_fault.name}")
        self._turn_fault = turn_fault
        if turn_fault.name == REFUSE:
            began = time.monotonic()
            self._server.refuse()
            self._ledger.deaths.append(Death(TURN, "cut", began, time.monotonic()))
        end = fault_clock.left - turn_fault.seconds
        while fault_clock.left > max(end, 0):
            fault_clock.wait(0.2)
            if turn_fault.name == SEVER:
                self._server.release()
        self._turn_fault = None
        if turn_fault.name == REFUSE:
            self._server.listen()
        self._server.release()

    def close(self) -> None:
        """Refuse everything from now on."""
        self._server.close()

    # What it answers

    def _decide(self, request: Request) -> TurnResponse:
        kind, key = key_of(request)
        with self._ledger.lock:
            self._tries[key] += 1
            number = self._tries[key]
        said = self._ledger.said.get(key)
        rng = random.Random(f"{self._seed} {key[-8:]} {number}")
        turn_fault = self._turn_fault
        if turn_fault is not None and rng.random() < turn_fault.share:
            fate, answer = self._faulty_answer(turn_fault.name, rng)
        else:
            fate, answer = ACCEPTED, TurnResponse()
        if fate in (ACCEPTED, LIED, CUT) and said is not None:
            # What Turn will never take, whatever its fault.
            if said.expect == REFUSED:
                fate, answer = FAILED, TurnResponse(400, body=b'{"errors": []}')
            elif said.expect == POISON:
                fate, answer = FAILED, TurnResponse(504)
        self._ledger.see(Seen(kind, key, fate, request.began, request))
        return answer

    def _faulty_answer(self, turn_fault: str, rng: random.Random) -> tuple[str, TurnResponse]:
        if turn_fault == HANG:
            return HUNG, TurnResponse(hang=True)
        if turn_fault == THROTTLE:
            return THROTTLED, TurnResponse(429, headers={"Retry-After": "1"})
        if turn_fault == SEVER:
            return rng.choice(
                (
                    (DROPPED, TurnResponse(cut=True)),
                    (CUT, TurnResponse(cut=True)),
                    (CUT, TurnResponse(drip=True)),  # until the next release
                )
            )
        if turn_fault == ERRORS:
            return FAILED, TurnResponse(rng.choice((500, 500, 502, 503, 504, 408)))
        if turn_fault == LIE:
            return LIED, TurnResponse(delay=self._timeout + rng.uniform(0.3, 1.0))
        if turn_fault == SLOW:
            return ACCEPTED, TurnResponse(delay=rng.uniform(0.05, 0.4))
        return ACCEPTED, TurnResponse()
