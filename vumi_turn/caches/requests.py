"""
What is kept of Turn's requests, so that the same request sent twice is one message.

Turn may send a request again although it was answered: its retry and our 200
may pass each other, or a 200 may be lost on its way. A request is known by the
signature of its body. What is to be done with one is said here; the requests
that this process is just publishing are kept by :mod:`vumi_turn.outbound`.
"""

from __future__ import annotations

import abc
import enum
from dataclasses import dataclass

#: How many requests are remembered at most, and for how many seconds.
MAX_REQUESTS = 10_000
MAX_AGE = 3600.0
#: Seconds of the window after a 200 that the client may not have read.
UNREAD_WINDOW = 600.0


class Step(enum.Enum):
    """What is to be done with a request."""

    #: Publish its message: it is new, or the broker has not taken it before.
    PUBLISH = "publish"
    #: The broker has its message already: answer with the id.
    ANSWER = "answer"
    #: Another worker is publishing its message: ask again later.
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What a request of Turn's is.

    :ivar message_id: the id of its message, for every repeat of it.
    :ivar step: what is to be done now.
    :ivar is_new: nothing was known of it before, so its id is told to nobody.
    :ivar answered_before: the same body was answered 200 some time ago, so
        this one may be late rather than new.
    """

    message_id: str
    step: Step
    is_new: bool = False
    answered_before: bool = False


class RequestStore(abc.ABC):
    """
    The requests of one channel.

    Only :meth:`claim` waits for a server. The others note what has happened;
    they return at once and never fail. Each of them names the request by
    ``key``, the signature of its body.
    """

    @abc.abstractmethod
    async def claim(self, key: bytes, new_id: str, person: str) -> Claim:
        """
        Find out what a request is. One that is to be published is noted as
        being published by this worker before this returns.

        It is new, and gets ``new_id``, unless the same body is known: until a
        200 for it has been written, and for the repeat window after the last
        one, it is the same message; but not if a message from that person has
        been consumed since the 200.

        :param person: the address that it is for.
        """

    @abc.abstractmethod
    def confirmed(self, key: bytes, message_id: str, answer_follows: bool = False) -> None:
        """
        The broker has the message. Nothing changes where a 200 with its id
        has been written already.

        :param answer_follows: :meth:`answered` is about to be called, so a
            server need not be told of this.
        """

    @abc.abstractmethod
    def refused(self, key: bytes, message_id: str) -> None:
        """The broker has not taken the message, or this is not known: a repeat publishes it again."""

    @abc.abstractmethod
    def forget(self, key: bytes, message_id: str) -> None:
        """There is no such message: it could not be built."""

    @abc.abstractmethod
    def answered(self, key: bytes, message_id: str, person: str, was_read: bool = True) -> None:
        """
        A 200 with this id has been written out.

        :param was_read: False where the client may not have seen it: then the
            window is :data:`UNREAD_WINDOW`.
        """

    @abc.abstractmethod
    async def awaits_answer(self, message_id: str) -> bool:
        """Whether another worker has yet to write the 200 with this id. False where that cannot be asked."""
