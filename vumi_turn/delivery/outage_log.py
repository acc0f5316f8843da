"""
What the log says while Turn is away, or does not let us in.
"""

from __future__ import annotations

from typing import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..timing.limited_log import RateLimitedLogger
from ..timing.named_log import named

log = Logger()

#: While Turn is away the log says so every so many seconds.
REMINDER = 60.0


class OutageLog:
    """
    A line when an outage begins, one a minute while it lasts, and one when it
    ends. Outages that follow each other within a minute have one line.

    :param clock: what is measured by.
    :param waiting: says how many requests wait for Turn.
    :param connector: whose they are.
    """

    def __init__(self, clock: IReactorTime, waiting: Callable[[], int], connector: str = "") -> None:
        self._clock = clock
        self._log = named(log, connector)
        self._waiting = waiting
        self._errors = RateLimitedLogger(self._log, clock, lines=1, tell=False)
        self._since = 0.0
        self._what = ""
        self._misconfigured = False
        self._announced = False
        self._last_announced = float("-inf")
        #: An error was logged whose end was not.
        self._complained = False
        self._reminder: IDelayedCall | None = None

    @property
    def what(self) -> str:
        """What came of the last request of the last outage, in a few words."""
        return self._what

    def away(self, what: str, misconfigured: bool) -> None:
        """
        Turn is away.

        :param what: came of the last request, in a few words.
        :param misconfigured: it is there, but does not let us in.
        """
        self._since = self._clock.seconds()
        self.update(what, misconfigured)
        self._announced = self._since - self._last_announced >= REMINDER
        if self._announced:
            self._last_announced = self._since
            if misconfigured:
                self.misconfigured(what)
            else:
                self._log.warn("Turn is away ({what}): what goes there is held until it is back", what=what)
        self._reminder = self._clock.callLater(REMINDER, self._remind)

    def update(self, what: str, misconfigured: bool) -> None:
        """Turn is still away, or not, with this."""
        self._what, self._misconfigured = what, misconfigured

    def misconfigured(self, what: str) -> None:
        """Turn does not let us in."""
        if self._errors.error("Turn does not let us in ({what}): check auth_token and turn_api_url", what=what):
            self._complained = True

    def back(self, what: str = "") -> None:
        """
        Turn is back after an outage.

        :param what: its answer, where that was not that it has taken a request.
        """
        self.stop()
        if self._announced or self._complained:
            self._complained = False
            seconds = round(self._clock.seconds() - self._since, 1)
            but = f", but did not take what was sent ({what})" if what else ""
            self._log.warn("Turn is back after {seconds} s{but}", seconds=seconds, but=but)

    def let_in(self) -> None:
        """Turn takes what it did not let in, and was not away meanwhile."""
        if self._complained:
            self._complained = False
            self._log.warn("Turn lets us in again")

    def stop(self) -> None:
        """Leave no timer."""
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None

    def _remind(self) -> None:
        self._reminder = self._clock.callLater(REMINDER, self._remind)
        self._announced = True
        self._last_announced = self._clock.seconds()
        if self._misconfigured:
            self.misconfigured(self._what)
        else:
            self._log.warn(
                "Turn has been away for {seconds} s ({what}); {waiting} wait for it",
                seconds=round(self._clock.seconds() - self._since),
                what=self._what,
                waiting=self._waiting(),
            )
