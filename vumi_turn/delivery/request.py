"""
What the delivery policy carries, and the words it ends with.
"""

from __future__ import annotations

import abc
import enum
from typing import Callable, Hashable, Optional, Protocol

from ..failures.dead_letter import DeadLetter
from ..turn.verdicts import TurnResponse


class Result(enum.Enum):
    """How a parcel's journey ended; there is exactly one for each."""

    #: Turn has it: acknowledge it.
    DELIVERED = "delivered"
    #: It is kept where what cannot be delivered is kept: acknowledge it.
    PARKED = "parked"
    #: Give it back to its queue.
    REQUEUE = "requeue"
    #: Its delivery is gone, and will come again: there is nothing to do.
    LOST = "lost"


class DeliveryRequest(abc.ABC):
    """
    One message or status on its way to Turn.

    :ivar kind: ``message`` or ``status``.
    :ivar key: parcels of one kind with the same key go one after another.
    :ivar identity: recognises the parcel when it is delivered again.
    :ivar name: an id for log lines.
    :ivar redelivered: it may have been sent before.
    :ivar delivery_count: how often it went back to its queue, where the queue counts that.
    :ivar received: when it was delivered, in the clock's seconds.
    :ivar expires: when it stops being of use, in the clock's seconds, or None.
    """

    kind: str
    key: str
    identity: Hashable
    name: str
    redelivered: bool
    delivery_count: int
    received: float
    expires: Optional[float]

    @property
    @abc.abstractmethod
    def lost(self) -> bool:
        """True once its delivery is gone, so that it cannot be settled any more."""

    @abc.abstractmethod
    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once when its delivery is gone; at once if it is."""

    @abc.abstractmethod
    async def prepare(self) -> None:
        """What has to be done once, before the first try. It may be cancelled."""

    @abc.abstractmethod
    async def post(self) -> TurnResponse:
        """
        Send it once. This ends by itself after some seconds, whatever
        happens, and does not raise for trouble of the network. It may be
        cancelled.
        """

    @abc.abstractmethod
    async def park(self, parking: DeadLetter) -> None:
        """
        Keep it where what cannot be delivered is kept; returns when it is
        safe there.

        :raises Exception: it is not, and may be tried again.
        """


class Observer(Protocol):
    """Counts what happens; for metrics."""

    def tried(self, kind: str, verdict_name: str, seconds: float) -> None:
        """A parcel was sent, and got this verdict after so many seconds."""

    def settled(self, kind: str, result_name: str) -> None:
        """A parcel's journey ended."""
