"""
While Turn is away nothing is sent but probes, another request each time.
"""

from __future__ import annotations

import enum
from typing import Hashable, Optional

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..timing.backoff import Backoff
from ..turn.verdicts import HELD_CLASSES, Verdict
from .admission import AdmissionControl
from .outage_log import OutageLog
from .task import DeliveryTask

#: Maximum failed identities kept.
MOST_FAILED = 2000

#: After so many seconds of an outage that only one person's requests have
#: shown, another person's is sent at once.
SECOND_OPINION = 1.0


class BreakerState(enum.Enum):
    """The states of a circuit breaker."""

    #: Turn is there: requests go.
    CLOSED = "closed"
    #: Turn is away: requests wait, and the next probe is not due yet.
    OPEN = "open"
    #: Turn is away, and a probe is under way, or goes as soon as there is a request.
    HALF_OPEN = "half-open"


class BreakerEvent(enum.Enum):
    """What moves a circuit breaker."""

    #: A round of tries has failed, and nothing was accepted meanwhile.
    ROUND_FAILED = "round failed"
    #: It is time for the next probe.
    PROBE_DUE = "probe due"
    #: A request that tells something new waits: see :data:`SECOND_OPINION`.
    SECOND_OPINION = "second opinion"
    #: The probe was not answered, or not let in.
    PROBE_FAILED = "probe failed"
    #: Turn accepted a request, or answered the probe otherwise.
    ANSWERED = "answered"


TRANSITIONS: dict[tuple[BreakerState, BreakerEvent], BreakerState] = {
    (BreakerState.CLOSED, BreakerEvent.ROUND_FAILED): BreakerState.OPEN,
    (BreakerState.OPEN, BreakerEvent.PROBE_DUE): BreakerState.HALF_OPEN,
    (BreakerState.OPEN, BreakerEvent.SECOND_OPINION): BreakerState.HALF_OPEN,
    (BreakerState.OPEN, BreakerEvent.ANSWERED): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_DUE): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.SECOND_OPINION): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.PROBE_FAILED): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.ANSWERED): BreakerState.CLOSED,
}


class CircuitBreaker:
    """
    Whether Turn is away, and the probes that find out when it is back.

    One probe is under way at a time. But where all failures since Turn last
    accepted a request are one person's, the fault may be that person's: then
    another person's request does not wait for the next probe to be due, nor for
    the one that is under way.

    :param clock: what probes are timed by.
    :param admission: admits nothing but probes while Turn is away.
    :param connector: named in log lines.
    :ivar state: changed by :meth:`_move` only.
    :ivar troubled: there is something that an accepted request would end.
    """

    def __init__(self, clock: IReactorTime, admission: AdmissionControl, connector: str = "") -> None:
        self.state = BreakerState.CLOSED
        self.troubled = False
        self._clock = clock
        self._admission = admission
        self._log = OutageLog(clock, lambda: len(admission), connector)
        self._misconfigured: set[str] = set()
        self._opened = 0.0
        #: Probes under way: one, or a second one of another person's.
        self._probes: dict[DeliveryTask, None] = {}
        #: The identities that failed, the latest last, and whose they were since Turn last accepted one.
        self._failed: dict[Hashable, int] = {}
        self._failures = 0
        self._failed_people: set[str] = set()
        self._backoff = Backoff()
        self._timer: Optional[IDelayedCall] = None
        self._stopped = False

    @property
    def away(self) -> bool:
        """Turn is away."""
        return self.state is not BreakerState.CLOSED

    @property
    def away_since(self) -> Optional[float]:
        """Since when Turn has been away, in the clock's seconds, or None."""
        return self._opened if self.away else None

    @property
    def away_reason(self) -> str:
        """What came of the last request that showed it, in a few words; empty while Turn is there."""
        return self._log.what if self.away else ""

    @property
    def misconfigured(self) -> bool:
        """Turn refuses everything of some kind: the token or the URL is wrong."""
        return bool(self._misconfigured)

    @property
    def next_probe(self) -> Optional[float]:
        """When the next probe is due, in the clock's seconds, or None."""
        return None if self._timer is None else self._timer.getTime()

    def _move(self, event: BreakerEvent) -> None:
        self.state = TRANSITIONS[self.state, event]

    # -- what answers mean ----------------------------------------------------

    def answered(self, task: DeliveryTask, verdict: Optional[Verdict], what: str = "") -> None:
        """
        A request has ended.

        :param verdict: None if it was not sent after all.
        :param what: came of it, in a few words.
        """
        kind = task.request.kind
        if verdict is not Verdict.DELIVERED:
            self._note_failure(task, verdict)
        if verdict is Verdict.DELIVERED:
            self._misconfigured.discard(kind)
            self._backoff.reset()
            self._failed_people.clear()
            self._close()
            self.troubled = self.misconfigured
        elif verdict is Verdict.MISCONFIGURED:
            self._misconfigured.add(kind)
            if not self.away:
                self._log.misconfigured(what)
        if task in self._probes:
            del self._probes[task]
            self._probed(verdict, what)

    def round_failed(self, what: str) -> None:
        """A round of tries has failed, and nothing was accepted meanwhile."""
        if self.away or self._stopped:
            return
        self._move(BreakerEvent.ROUND_FAILED)
        self.troubled = True
        self._opened = self._clock.seconds()
        self._admission.suspend()
        self._log.away(what, self.misconfigured)
        self._probe_later()

    def _note_failure(self, task: DeliveryTask, verdict: Optional[Verdict]) -> None:
        self._failures += 1
        self._failed.pop(task.request.identity, None)
        self._failed[task.request.identity] = self._failures
        if len(self._failed) > MOST_FAILED:
            del self._failed[next(iter(self._failed))]
        if verdict is not None:
            self.troubled = True
            if len(self._failed_people) < 2:
                self._failed_people.add(task.request.person)

    def _close(self, what: str = "") -> None:
        """
        Turn has answered.

        :param what: its answer, where that was not that it has taken a request.
        """
        if self.away:
            self._move(BreakerEvent.ANSWERED)
            self._probes.clear()
            self._cancel()
            self._admission.resume()
            self._log.back(what)
        elif not self.misconfigured:
            self._log.let_in()

    # -- probing --------------------------------------------------------------

    def waits(self, task: DeliveryTask) -> None:
        """This task waits to be admitted; it may be a probe."""
        if not self.away:
            return
        if self.state is BreakerState.HALF_OPEN and not self._probes and self._timer is None:
            self._probe()
        elif self._is_second_opinion(task):
            self._cancel()
            self._move(BreakerEvent.SECOND_OPINION)
            self._send(task)

    def _is_second_opinion(self, task: DeliveryTask) -> bool:
        """Whether it tells something new: nobody else's request has failed or is under way."""
        return (
            len(self._failed_people) == 1
            and task.request.person not in self._failed_people
            and all(probe.request.person in self._failed_people for probe in self._probes)
            and self._clock.seconds() - self._opened >= SECOND_OPINION
            and self._admission.remaining(task.request.kind) <= 0
        )

    def _probe_later(self) -> None:
        if not self._stopped:
            self._timer = self._clock.callLater(self._backoff.next(), self._probe)

    def _probe(self) -> None:
        """A probe is due: send one, if there is one to send."""
        self._timer = None
        self._move(BreakerEvent.PROBE_DUE)
        waiting = self._admission.waiting()
        if self._probes:
            waiting = [task for task in waiting if self._is_second_opinion(task)]
        if not waiting:
            return
        waits = {kind: self._admission.remaining(kind) for kind in {task.request.kind for task in waiting}}
        shortest = min(waits.values())
        if shortest > 0:
            self._timer = self._clock.callLater(shortest, self._probe)
            return
        # One that never failed, else the one whose failure is the longest ago.
        may_go = [task for task in waiting if waits[task.request.kind] <= 0]
        self._send(min(may_go, key=lambda task: self._failed.get(task.request.identity, 0)))

    def _send(self, task: DeliveryTask) -> None:
        self._probes[task] = None
        self._admission.admit_one(task)

    def _probed(self, verdict: Optional[Verdict], what: str) -> None:
        if verdict is None:
            # It was not sent, so it is another one's turn, as soon as one waits.
            if not self._stopped and self._timer is None:
                self._timer = self._clock.callLater(0, self._probe)
        elif verdict in HELD_CLASSES or verdict is Verdict.ERROR:
            if verdict is Verdict.UNAVAILABLE:
                self._misconfigured.clear()
            self._log.update(what, self.misconfigured)
            if not self._probes:
                self._cancel()
                self._move(BreakerEvent.PROBE_FAILED)
                self._probe_later()
        else:
            self._close(what)

    # -- stopping -------------------------------------------------------------

    def stop(self) -> None:
        """Send no probe any more, and leave no timer."""
        self._stopped = True
        self._cancel()
        self._log.stop()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
