"""
DeadLetter, until it has worked.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..failures.dead_letter import DeadLetter
from ..timing.backoff import ExponentialBackoff
from ..timing.limited_log import RateLimitedLogger
from ..turn.verdicts import Verdict
from .keyed_queues import DeliveryTask, State
from .request import Result

log = Logger()


class DeadLetterPublisher:
    """
    Parks parcels.

    :param clock: what pauses are measured by.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._parked = RateLimitedLogger(log, clock)
        self._failed = RateLimitedLogger(log, clock, lines=10)

    async def park(self, journey: DeliveryTask, parking: DeadLetter) -> Result:
        """Park a parcel; where that fails, again after 1 s, doubling to 60 s."""
        parcel = journey.parcel
        backoff = ExponentialBackoff()
        while True:
            journey.state = State.PARKING
            try:
                await parcel.park(parking)
            except Exception as error:  # a boundary: whatever it is, the parcel must not be lost
                if not journey.over:
                    self._failed.warn(
                        "{message_id} could not be parked ({error}); that is tried again",
                        message_id=parcel.name,
                        error=type(error).__name__,
                    )
                    log.debug("Parking failed: {error!r}", error=error)
            else:
                self._parked.warn(
                    "{message_id} is parked ({code}): {reason}",
                    message_id=parcel.name,
                    code=parking.code,
                    reason=_loggable(parking),
                )
                return Result.LOST if parcel.lost else Result.PARKED
            ended = journey.interrupted
            if ended is not None:
                return ended
            journey.state = State.UNPARKED
            await deferLater(self._clock, backoff.next())


def _loggable(parking: DeadLetter) -> str:
    """The reason without words of the message itself: what is malformed is told by quoting it."""
    if parking.verdict is Verdict.MALFORMED:
        return "it is not a vumi message; vumi_turn_failures list says why"
    return parking.reason
