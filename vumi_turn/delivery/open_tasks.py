"""
The tasks that have no result yet, and the time by which each must have one.
"""

from __future__ import annotations

from typing import Callable, Iterator, Optional

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .task import DeliveryTask, Event, State

#: So long after its delivery a request goes back to its queue, in seconds:
#: RabbitMQ closes a channel that holds one for 30 minutes.
LONGEST_STAY = 20 * 60.0

#: A POST or a publish that is under way then may take so much longer, in seconds.
GRACE = 5 * 60.0

_LAST = frozenset({State.LAST_POST, State.LAST_PARKING})


class OpenTasks:
    """
    One timer watches the deadlines of all.

    :param clock: what deadlines are measured by.
    :param give_back: gives a task back to its queue, with those behind it.
    """

    def __init__(self, clock: IReactorTime, give_back: Callable[[DeliveryTask], None]) -> None:
        self._clock = clock
        self._give_back = give_back
        self._deadlines: dict[DeliveryTask, float] = {}
        self._timer: Optional[IDelayedCall] = None
        self._timer_at = float("inf")
        self._stopped = False

    def add(self, task: DeliveryTask) -> None:
        """Watch a task, from the delivery of its request on."""
        deadline = self._deadlines[task] = task.request.received + LONGEST_STAY
        if deadline < self._timer_at:
            self._set_timer(deadline)

    def remove(self, task: DeliveryTask) -> None:
        """It has its result."""
        del self._deadlines[task]

    def stop(self) -> None:
        """Watch no deadline any more."""
        self._stopped = True
        self._timer_at = float("-inf")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __iter__(self) -> Iterator[DeliveryTask]:
        return iter(list(self._deadlines))

    def __len__(self) -> int:
        return len(self._deadlines)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._clock.callLater(max(when - self._clock.seconds(), 0.0), self._check)

    def _check(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        now = self._clock.seconds()
        for task, deadline in list(self._deadlines.items()):
            if task.state is State.ENDED or deadline > now:
                continue
            if task.busy and task.state not in _LAST:
                task.on(Event.RECALL)
                self._deadlines[task] = deadline + GRACE
            else:
                self._give_back(task)
        if self._deadlines and not self._stopped:
            self._set_timer(min(self._deadlines.values()))
