"""People who go on talking while workers that stand by for each other end, and what became of every message."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Optional

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.standby_rig import StandbyRig
from tests.integration.turn_server import Request
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import wait_for

#: Seconds around the end of a worker in which what it had asked of Turn may be
#: between its socket and Turn's, and its acknowledgement between it and RabbitMQ.
ON_THE_WAY = 0.5


class Load:
    """
    People who go on talking.

    :param port: the broker's.
    :param vhost: where.
    :param queue: the inbound queue.
    :param pause: seconds between two messages.
    """

    def __init__(self, port: int, vhost: str, queue: str, people: int = 20, pause: float = 0.02) -> None:
        self.said: dict[str, list[str]] = {new_person(): [] for _ in range(people)}
        self._peer = AmqpPeer(port, vhost)
        self._queue = queue
        self._pause = pause
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        while not self._ended.is_set():
            for person, ids in self.said.items():
                message = inbound(from_addr=person)
                self._peer.publish_json(self._queue, message)
                ids.append(message["message_id"])
                self._ended.wait(self._pause)

    def end(self) -> dict[str, list[str]]:
        """Stop talking; the ids of what each person has said, in order."""
        self._ended.set()
        self._thread.join(30)
        self._peer.close()
        return self.said


@dataclass(frozen=True)
class Result:
    """
    What was seen of all messages.

    :ivar messages: how many there were.
    :ivar gaps: for each end of a worker the longest time without a POST, in seconds.
    :ivar lost: ids that Turn never got.
    :ivar out_of_order: the people whose messages came in another order; a repeat may
        not come after a later message either.
    :ivar twice: ids that came more than once.
    :ivar unanswered: those of them that Turn had not answered when a worker ended.
    :ivar not_in_flight: those of them that Turn had answered long before, or got after.
    """

    messages: int
    gaps: tuple[float, ...]
    lost: frozenset[str]
    out_of_order: frozenset[str]
    twice: frozenset[str]
    unanswered: frozenset[str]
    not_in_flight: frozenset[str]


class FailOvers:
    """
    One load, and the ends of workers during it.

    :param rig: the workers.
    """

    def __init__(self, rig: StandbyRig) -> None:
        self._rig = rig
        self._load = Load(rig.node.port, rig.vhost, rig.queue("inbound"))
        self._ends: list[float] = []
        self._posts_since(time.monotonic(), 20)

    def end_holder(self, how: str) -> None:
        """
        End the worker that consumes. Returns when another one consumes and all
        are well again, the one that was ended too.

        :param how: ``kill``, ``freeze`` or ``stop``.
        """
        rig = self._rig
        holder = rig.wait_until_ready()
        self._posts_since(time.monotonic(), 20)
        others = [worker for worker in rig.workers if worker is not holder]
        if how == "freeze":
            os.kill(holder.pid, signal.SIGSTOP)
        self._ends.append(time.monotonic())
        if how != "freeze":
            {"kill": holder.kill, "stop": holder.stop}[how]()
        wait_for(lambda: any(rig.consumes(worker) for worker in others), "another one to take over", 30)
        self._posts_since(time.monotonic(), 20)
        if how == "freeze":
            os.kill(holder.pid, signal.SIGCONT)
        else:
            holder.start(wait=False)
        rig.wait_until_ready()

    def _posts_since(self, moment: float, count: int) -> None:
        def look() -> bool:
            return sum(request.began > moment for request in self._rig.turn.of("messages")) >= count

        wait_for(look, f"{count} POSTs", 30)

    def finish(self) -> Result:
        """Wait until everything that was said has been answered, and look at it."""
        said = self._load.end()
        everything = {message for ids in said.values() for message in ids}
        wait_for(lambda: not everything - self._answered(), "all messages", 60)
        requests = sorted(self._rig.turn.of("messages"), key=lambda request: request.began)
        return judge(said, [request for request in requests if request.id in everything], self._ends)

    def _answered(self) -> set[str]:
        return {request.id for request in self._rig.turn.of("messages") if request.status == 200}


def judge(said: dict[str, list[str]], requests: list[Request], ends: list[float]) -> Result:
    """
    :param said: each person's messages, in order.
    :param requests: what Turn got, in order.
    :param ends: when workers ended, by the monotonic clock.
    """
    ids = [request.id for request in requests]
    ours = {message for theirs in said.values() for message in theirs}
    place = {message: number for theirs in said.values() for number, message in enumerate(theirs)}
    out_of_order = set()
    for person, theirs in said.items():
        mine = set(theirs)
        places = [place[message] for message in ids if message in mine]
        if places != sorted(places):
            out_of_order.add(person)
    twice = {message for message, count in Counter(ids).items() if count > 1}
    in_flight = {request.id for request in requests if any(_in_flight(request, end, ON_THE_WAY) for end in ends)}
    unanswered = {request.id for request in requests if any(_in_flight(request, end, 0.0) for end in ends)}
    began = [request.began for request in requests]
    return Result(
        messages=len(ours),
        gaps=tuple(_longest_gap(began, end, after) for end, after in zip(ends, [*ends[1:], None], strict=True)),
        lost=frozenset(ours - set(ids)),
        out_of_order=frozenset(out_of_order),
        twice=frozenset(twice),
        unanswered=frozenset(twice & unanswered),
        not_in_flight=frozenset(twice - in_flight),
    )


def _in_flight(request: Request, end: float, on_the_way: float) -> bool:
    """Whether Turn had this request, and had not answered it, when a worker ended; within so many seconds."""
    return request.began < end + on_the_way and (request.ended is None or request.ended > end - on_the_way)


def _longest_gap(began: list[float], end: float, until: Optional[float]) -> float:
    """The longest time without a POST from just before a worker's end to the next one's."""
    near = [moment for moment in began if moment > end - 1 and (until is None or moment < until)]
    return max((later - sooner for sooner, later in zip(near, near[1:], strict=False)), default=0.0)
