"""
Turn is away: one request probes it, another held parcel each time.
"""

from __future__ import annotations

from typing import Callable, Hashable, Optional

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..timing.backoff import ExponentialBackoff
from ..timing.limited_log import RateLimitedLogger
from ..turn.verdicts import HELD_CLASSES, Verdict
from .keyed_queues import DeliveryTask
from .rate_limiter import RateLimiter

log = Logger()

#: While Turn is away the log says so every so many seconds.
REMINDER = 60.0

#: After so many failed probes the one behind the probe is tried too.
PROBES_ALONE = 3

#: Of so many it is remembered that they have failed since Turn last took one.
MOST_REMEMBERED = 1000

_CHECK = "check auth_token and turn_api_url"


class CircuitBreaker:
    """
    Whether Turn is away, and the probes that find out when it is back.

    :param clock: what probes are timed by.
    :param gate: is shut while Turn is away.
    :param try_next: is given the journey of a probe that failed, if those
        before it did too, to try the one behind it; None if that is not done.

    :ivar away: Turn is away.
    :ivar troubled: there is something that an accepted parcel would end.
    """

    def __init__(
        self, clock: IReactorTime, gate: RateLimiter, try_next: Optional[Callable[[DeliveryTask], None]] = None
    ) -> None:
        self._clock = clock
        self._gate = gate
        self._try_next = try_next
        self.away = False
        self.troubled = False
        self._misconfigured: set[str] = set()
        self._stopped = False
        self._what = ""
        self._since = 0.0
        self._announced = False
        #: The log has an error whose end it does not have yet.
        self._complained = False
        self._last_announced = float("-inf")
        self._probing: Optional[DeliveryTask] = None
        self._failures = 0
        self._failed: dict[Hashable, int] = {}
        self._probes = 0
        self._due = False
        self._backoff = ExponentialBackoff()
        self._probe_timer: Optional[IDelayedCall] = None
        self._reminder: Optional[IDelayedCall] = None
        self._next_timer: Optional[IDelayedCall] = None
        self._errors = RateLimitedLogger(log, clock, lines=1, tell=False)

    @property
    def misconfigured(self) -> bool:
        """Turn refuses everything of some kind: the token or the URL is wrong."""
        return bool(self._misconfigured)

    # -- what answers mean ---------------------------------------------------

    def answered(self, journey: DeliveryTask, verdict: Optional[Verdict], what: str = "") -> None:
        """
        A request has ended.

        :param verdict: None if it was not sent after all.
        :param what: came of it, in a few words.
        """
        kind = journey.parcel.kind
        if verdict is not Verdict.DELIVERED:
            self._failures += 1
            journey.failed = self._failures
            if len(self._failed) < MOST_REMEMBERED:
                self._failed[journey.parcel.identity] = self._failures
        elif self._failed:
            self._failed.clear()
        if verdict is Verdict.DELIVERED:
            self._misconfigured.discard(kind)
            self._backoff.reset()
            self._end()
            self.troubled = self.misconfigured
        elif verdict is Verdict.MISCONFIGURED:
            self.troubled = True
            self._misconfigured.add(kind)
            if not self.away:
                self._say_misconfigured(what)
        if journey is self._probing:
            self._probing = None
            if self.away:
                self._probed(journey, verdict, what)

    def recall(self, journey: DeliveryTask) -> None:
        """Give a parcel that is delivered again what is known of it."""
        journey.failed = self._failed.get(journey.parcel.identity, 0)

    def begin(self, verdict: Verdict, what: str) -> None:
        """A held round has ended, and nothing was accepted meanwhile."""
        if self.away or self._stopped:
            return
        self.away = self.troubled = True
        self._probes = 0
        self._what = what
        self._since = self._clock.seconds()
        self._gate.shut()
        self._announced = self._since - self._last_announced >= REMINDER
        if self._announced:
            self._last_announced = self._since
            if self.misconfigured:
                self._say_misconfigured(what)
            else:
                log.warn("Turn is away ({what}): what goes there is held until it is back", what=what)
        self._reminder = self._clock.callLater(REMINDER, self._remind)
        self._probe_later()

    def _end(self, what: str = "") -> None:
        """
        Turn has answered.

        :param what: its answer, where that was not that it has taken one.
        """
        if not self.away:
            if self._complained and not self.misconfigured:
                self._complained = False
                log.warn("Turn lets us in again")
            return
        self.away = False
        self._probing = None
        self._cancel()
        self._gate.reopen()
        if self._announced or self._complained:
            self._complained = False
            seconds = round(self._clock.seconds() - self._since, 1)
            but = f", but did not take what was sent ({what})" if what else ""
            log.warn("Turn is back after {seconds} s{but}", seconds=seconds, but=but)

    # -- probing -------------------------------------------------------------

    def joined(self) -> None:
        """Somebody waits at the gate who may be a probe."""
        if self._due:
            self._probe()

    def _probe_later(self) -> None:
        if not self._stopped:
            self._probe_timer = self._clock.callLater(self._backoff.next(), self._probe_now)

    def _probe_now(self) -> None:
        self._probe_timer = None
        self._due = True
        self._probe()

    def _probe(self) -> None:
        journey = self._gate.candidate()
        if journey is None:
            return
        self._due = False
        if self._gate.remaining > 0:
            self._probe_timer = self._clock.callLater(self._gate.remaining, self._probe_now)
            return
        self._probing = journey
        self._gate.let_one(journey)

    def _probed(self, journey: DeliveryTask, verdict: Optional[Verdict], what: str) -> None:
        if verdict is None:
            # It was not sent, so it is another one's turn, as soon as it waits.
            if not self._stopped:
                self._probe_timer = self._clock.callLater(0, self._probe_now)
        elif verdict in HELD_CLASSES or verdict is Verdict.ERROR:
            if verdict is Verdict.UNAVAILABLE:
                self._misconfigured.clear()
            self._what = what or self._what
            self._probe_later()
            self._probes += 1
            alone = verdict is Verdict.UNAVAILABLE and self._probes >= PROBES_ALONE
            if alone and self._try_next is not None and not self._stopped:
                # Not before all that this answer means is known.
                self._next_timer = self._clock.callLater(0, self._try_the_next, journey)
        else:
            self._end(what)

    def _try_the_next(self, journey: DeliveryTask) -> None:
        self._next_timer = None
        if self.away and self._try_next is not None:
            self._try_next(journey)

    # -- the log -------------------------------------------------------------

    def _remind(self) -> None:
        self._reminder = self._clock.callLater(REMINDER, self._remind)
        self._announced = True
        self._last_announced = self._clock.seconds()
        if self.misconfigured:
            self._say_misconfigured(self._what)
        else:
            log.warn(
                "Turn has been away for {seconds} s ({what}); {waiting} wait for it",
                seconds=round(self._clock.seconds() - self._since),
                what=self._what,
                waiting=len(self._gate),
            )

    def _say_misconfigured(self, what: str) -> None:
        if self._errors.error("Turn does not let us in ({what}): " + _CHECK, what=what):
            self._complained = True

    # -- stopping ------------------------------------------------------------

    def stop(self) -> None:
        """No probe any more, and no timer is left."""
        self._stopped = True
        self._cancel()

    def _cancel(self) -> None:
        self._due = False
        for timer in (self._probe_timer, self._reminder, self._next_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._probe_timer = self._reminder = self._next_timer = None
