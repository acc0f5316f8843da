"""
The state machine of one delivery. :data:`TRANSITIONS` is all of it; docs/architecture.rst has the picture.
"""

from __future__ import annotations

import enum
from typing import Any, Coroutine, Optional, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..timing.running import Running
from .request import DeliveryRequest, Result

log = Logger()


class State(enum.Enum):
    """Where a task is."""

    __hash__ = object.__hash__  # members are looked up several times for each request

    #: Accepted by the scheduler a moment ago.
    NEW = "new"
    #: Another request with its key is in front of it.
    QUEUED = "queued"
    PREPARING = "preparing"
    #: Waits to be admitted, or for its next try in this round.
    WAITING = "waiting"
    #: Waits alone for its next round, while Turn accepts others.
    HELD = "held"
    #: The POST, or the publish of its page, is under way.
    POSTING = "posting"
    #: What is under way is its last; unless Turn accepts it, or its page is there, it goes back to its queue.
    LAST_POST = "last post"
    #: Its dead letter is being published.
    PARKING = "parking"
    #: Waits for the next try to publish its dead letter.
    UNPARKED = "unparked"
    #: As PARKING, for the last time.
    LAST_PARKING = "last parking"
    #: What was under way has ended; it goes back to its queue now.
    RECALLED = "recalled"
    #: The policy itself failed on it; it goes back to its queue at its deadline.
    STRANDED = "stranded"
    #: It has its result. What still runs for it changes nothing.
    ENDED = "ended"


class Event(enum.Enum):
    """What happens to a task."""

    __hash__ = object.__hash__

    #: It is behind others of its key.
    QUEUE = "queue"
    #: It is the first of its key.
    START = "start"
    PREPARED = "prepared"
    POST = "post"
    #: The POST has ended, whatever came of it.
    ANSWERED = "answered"
    #: Its round failed while Turn accepted others.
    HOLD = "hold"
    RESUME = "resume"
    PARK = "park"
    PARK_FAILED = "park failed"
    #: The worker stops, or its deadline is reached: finish what is under way, and no more.
    RECALL = "recall"
    #: The policy itself raised an exception.
    STRAND = "strand"
    END = "end"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.NEW, Event.QUEUE): State.QUEUED,
    (State.NEW, Event.START): State.PREPARING,
    (State.NEW, Event.PARK): State.PARKING,
    (State.QUEUED, Event.START): State.PREPARING,
    (State.PREPARING, Event.PREPARED): State.WAITING,
    (State.PREPARING, Event.PARK): State.PARKING,
    (State.WAITING, Event.POST): State.POSTING,
    (State.WAITING, Event.HOLD): State.HELD,
    (State.WAITING, Event.PARK): State.PARKING,
    (State.HELD, Event.RESUME): State.WAITING,
    (State.POSTING, Event.ANSWERED): State.WAITING,
    (State.POSTING, Event.RECALL): State.LAST_POST,
    (State.LAST_POST, Event.RECALL): State.LAST_POST,
    (State.LAST_POST, Event.ANSWERED): State.RECALLED,
    (State.PARKING, Event.PARK_FAILED): State.UNPARKED,
    (State.PARKING, Event.RECALL): State.LAST_PARKING,
    (State.LAST_PARKING, Event.RECALL): State.LAST_PARKING,
    (State.LAST_PARKING, Event.PARK_FAILED): State.RECALLED,
    (State.UNPARKED, Event.PARK): State.PARKING,
    # A POST or a publish that could not be cancelled ends after its task.
    (State.ENDED, Event.ANSWERED): State.ENDED,
    (State.ENDED, Event.PARK_FAILED): State.ENDED,
    **{(state, Event.STRAND): State.STRANDED for state in State if state is not State.ENDED},
    **{(state, Event.END): State.ENDED for state in State if state is not State.ENDED},
}

#: What is under way in these is let to finish.
BUSY = frozenset({State.POSTING, State.LAST_POST, State.PARKING, State.LAST_PARKING})

#: These cannot move because of themselves or of their key, whatever Turn does: the
#: consumer's window opens by as many, so that they don't delay others.
BLOCKED = frozenset({State.QUEUED, State.HELD, State.PARKING, State.LAST_PARKING, State.UNPARKED, State.STRANDED})

#: For each step its next state, and by how much it changes the number of blocked tasks.
_STEPS = {step: (to, (to in BLOCKED) - (step[0] in BLOCKED)) for step, to in TRANSITIONS.items()}


class IllegalTransition(Exception):
    """An event that :data:`TRANSITIONS` does not have in this state; a bug."""


class BlockedCounter(Protocol):
    """Counts the tasks in :data:`BLOCKED` states."""

    def change(self, kind: str, by: int) -> None:
        """So many more, or fewer, tasks of this kind are blocked."""


class DeliveryTask:
    """
    One request on its way to its result.

    :param request: what is delivered.
    :param blocked: is told when the task becomes blocked, and when it no longer is.
    :ivar outcome: fires with the result.
    :ivar state: changed by :meth:`on` only.
    """

    __slots__ = ("request", "outcome", "state", "_blocked", "_running")

    def __init__(self, request: DeliveryRequest, blocked: BlockedCounter) -> None:
        self.request = request
        self.outcome: Deferred[Result] = Deferred()
        self.state = State.NEW
        self._blocked = blocked
        self._running: Optional[Running[None]] = None

    def on(self, event: Event) -> None:
        """
        Make a step of the state machine.

        :raises IllegalTransition: there is no such step.
        """
        try:
            self.state, change = _STEPS[self.state, event]
        except KeyError:
            raise IllegalTransition(f"{event} in {self.state}") from None
        if change:
            self._blocked.change(self.request.kind, change)

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start what takes the request to its result; it must not raise."""
        self._running = Running(coroutine, _ended, _raised)

    def cancel(self) -> None:
        """Cancel what it waits for, unless it is its own coroutine that calls this."""
        if self._running is not None:
            self._running.cancel()

    @property
    def busy(self) -> bool:
        """A POST or a publish is under way."""
        return self.state in BUSY

    @property
    def forced_result(self) -> Optional[Result]:
        """The result it must end with now, whatever else it still had to do; None while it may go on."""
        if self.request.lost or self.state is State.ENDED:
            return Result.LOST
        if self.state is State.RECALLED:
            return Result.REQUEUE
        return None


def _ended(_: None) -> None:
    """The coroutine has told the result by itself."""


def _raised(failure: Failure) -> None:
    log.failure("A delivery's task has raised, which it must not", failure)
