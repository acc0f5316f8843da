"""
Publishes dead letters, until the broker has confirmed them.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..failures.dead_letter import DeadLetter
from ..timing.backoff import Backoff
from ..timing.limited_log import RateLimitedLogger
from ..timing.named_log import named
from ..turn.verdicts import Verdict
from .request import Result
from .task import DeliveryTask, Event, State

log = Logger()


class DeadLetterPublisher:
    """
    Parks requests.

    :param clock: what delays are measured by.
    :param connector: whose requests they are.
    :ivar failing: how many requests could not be parked yet.
    :ivar last_error: why not, the last time, in a word.
    """

    def __init__(self, clock: IReactorTime, connector: str = "") -> None:
        self._log = named(log, connector)
        self.failing = 0
        self.last_error = ""
        self._clock = clock
        self._parked = RateLimitedLogger(self._log, clock)
        self._failed = RateLimitedLogger(self._log, clock, lines=10)

    async def park(self, task: DeliveryTask, dead_letter: DeadLetter) -> Result:
        """Park a request; where that fails, again after 1 s, doubling to 60 s."""
        task.on(Event.PARK)
        try:
            await task.request.park(dead_letter)
        except Exception as error:  # a boundary: whatever it is, the request must not be lost
            self._say_failed(task, error)
        else:
            return self._done(task, dead_letter)
        self.failing += 1
        try:
            return await self._park_again(task, dead_letter)
        finally:
            self.failing -= 1

    async def _park_again(self, task: DeliveryTask, dead_letter: DeadLetter) -> Result:
        backoff = Backoff()
        while True:
            task.on(Event.PARK_FAILED)
            forced = task.forced_result
            if forced is not None:
                return forced
            await deferLater(self._clock, backoff.next())
            task.on(Event.PARK)
            try:
                await task.request.park(dead_letter)
            except Exception as error:  # a boundary, as above
                self._say_failed(task, error)
            else:
                return self._done(task, dead_letter)

    def _say_failed(self, task: DeliveryTask, error: Exception) -> None:
        self.last_error = type(error).__name__
        if task.state is not State.ENDED:
            self._failed.warn(
                "{message_id} could not be parked ({error}); that is tried again",
                message_id=task.request.name,
                error=type(error).__name__,
            )
            self._log.debug("Parking failed: {error!r}", error=error)

    def _done(self, task: DeliveryTask, dead_letter: DeadLetter) -> Result:
        self._parked.warn(
            "{message_id} is parked ({code}): {reason}",
            message_id=task.request.name,
            code=dead_letter.code,
            reason=_loggable(dead_letter),
        )
        return Result.LOST if task.request.lost else Result.PARKED


def _loggable(dead_letter: DeadLetter) -> str:
    """The reason without words of the message itself: what is malformed is told by quoting it."""
    if dead_letter.verdict is Verdict.MALFORMED:
        return "it is not a vumi message; vumi_turn_failures list says why"
    return dead_letter.reason
