"""
What the delivery policy carries, and the words it ends with.
"""

from __future__ import annotations

import abc
import enum
from typing import Callable, Hashable, Optional, Protocol

from ..failures.dead_letter import DeadLetter
from ..turn.verdicts import TurnResponse, Verdict


class Result(enum.Enum):
    """How the delivery of a request ended; there is exactly one for each."""

    #: Turn has it: acknowledge it.
    DELIVERED = "delivered"
    #: It is in the failures queue: acknowledge it.
    PARKED = "parked"
    #: It was answered here, and Turn need not hear of it: acknowledge it.
    PAGE = "page"
    #: There is nothing to tell Turn: acknowledge it.
    NOTHING = "nothing"
    #: Give it back to its queue.
    REQUEUE = "requeue"
    #: Its AMQP delivery is gone, and will come again: there is nothing to do.
    LOST = "lost"


class DeliveryRequest(abc.ABC):
    """
    One message or status on its way to Turn.

    :ivar kind: ``message`` or ``status``.
    :ivar key: requests of one kind with the same key are sent one after another.
    :ivar identity: recognises the request when it is delivered again.
    :ivar name: an id for log lines.
    :ivar redelivered: it may have been sent before.
    :ivar delivery_count: how often it went back to its queue, where the queue counts that.
    :ivar received: when it was delivered, in the clock's seconds.
    :ivar expires: when it stops being of use, in the clock's seconds, or None.
    :ivar tries: how often it was sent; the observer counts.
    :ivar result: its result, where :meth:`prepare` has found out that nothing
        is to be sent.
    """

    tries: int = 0
    result: Optional[Result] = None
    kind: str
    key: str
    identity: Hashable
    name: str
    redelivered: bool
    delivery_count: int
    received: float
    expires: Optional[float]

    @property
    def person(self) -> str:
        """Whose request it is, as far as that is known; the key where it is not."""
        return self.key

    @property
    @abc.abstractmethod
    def lost(self) -> bool:
        """True once its AMQP delivery is gone, so that it cannot be settled any more."""

    @abc.abstractmethod
    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once when its AMQP delivery is gone; at once if it is."""

    @abc.abstractmethod
    async def prepare(self) -> None:
        """What has to be done once, before the first try. It may be cancelled."""

    async def answer(self) -> None:
        """
        Answer it here, where :meth:`prepare` has made :attr:`result` a page;
        returns when the broker has the page. It may be cancelled.
        """
        raise AssertionError("only what asks for a page is answered here")

    @abc.abstractmethod
    async def post(self) -> TurnResponse:
        """
        Send it once. This ends by itself after some seconds, whatever
        happens, and does not raise for network errors. It may be cancelled.
        """

    @abc.abstractmethod
    async def park(self, dead_letter: DeadLetter) -> None:
        """
        Publish it to the failures queue; returns when the broker has confirmed it.

        :raises Exception: it is not there, and may be tried again.
        """


class DeliveryObserver(Protocol):
    """Is told what happens to requests, for metrics and traces; what it raises is logged and changes nothing."""

    def tried(self, request: DeliveryRequest, verdict: Verdict, what: str, seconds: float, words: str = "") -> None:
        """
        A request was sent.

        :param verdict: what came of it.
        :param what: the same in a few words.
        :param seconds: how long that took.
        :param words: Turn's own words in a refusal, masked; never to be logged.
        """

    def settled(self, request: DeliveryRequest, result: Result) -> None:
        """A request has its result."""


class Window(Protocol):
    """
    The consumers' windows of unacknowledged messages.

    What cannot move because of its own key, or because it cannot be parked,
    must not use up the window of the others: it opens by as many.
    """

    def blocked(self, kind: str, count: int) -> None:
        """
        The number of blocked requests has changed.

        :param kind: ``message`` or ``status``.
        :param count: how many of this kind are blocked now.
        """
