"""
When Turn knows the id of a message: a status that names it must not arrive
before.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Awaitable, Callable, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..timing.shared_bound import Bound

#: Seconds for which a status waits for the 200 with its message's id.
ANSWER_TIMEOUT = 5.0
#: Seconds in which a finished answer leaves the connection's buffer for the network.
FLUSH_TIME = 0.01
#: Seconds between two questions whether another worker has written its 200.
POLL_INTERVAL = 0.05
#: How many messages without a 200 are remembered; the oldest are forgotten.
MAX_MESSAGES = 10_000


class _Open:
    """
    A message whose 200 has not left us.

    :ivar clients: how many wait for it.
    :ivar left_at: when the last of them was gone, in the clock's seconds.
    :ivar written_at: when its 200 was finished; None before.
    """

    __slots__ = ("clients", "left_at", "written_at", "watchers")

    def __init__(self, now: float) -> None:
        self.clients = 0
        self.left_at = now
        self.written_at: Optional[float] = None
        self.watchers: list[Deferred[None]] = []


class AnswerTracker:
    """
    Knows which messages Turn has not been told of.

    :param clock: measures the waits.
    :param elsewhere: says whether another worker has yet to write the 200
        with an id.
    :param bound: how many messages without a 200 all channels of the process remember.
    """

    def __init__(
        self, clock: IReactorTime, elsewhere: Callable[[str], Awaitable[bool]], bound: Optional[Bound] = None
    ) -> None:
        self._clock = clock
        self._elsewhere = elsewhere
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._written: deque[tuple[float, str]] = deque()
        self._bound = bound or Bound()
        self._bound.join(self, MAX_MESSAGES)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def held(self) -> int:
        """How many messages are without a 200."""
        return len(self._open)

    def drop_oldest(self) -> None:
        """Forget the message that came first; statuses wait for its 200 no longer."""
        self._forget(next(iter(self._open)))

    def leave(self) -> None:
        """Count no more: the channel has gone."""
        self._bound.leave(self)

    def client_waits(self, message_id: str) -> None:
        """A client waits to be told this id."""
        message = self._open.get(message_id)
        if message is None:
            message = self._open[message_id] = _Open(self._clock.seconds())
            self._bound.added(self)
        message.clients += 1

    def client_left(self, message_id: str) -> None:
        """One of them has gone, or was told something else."""
        message = self._open.get(message_id)
        if message is not None and message.clients:
            message.clients -= 1
            message.left_at = self._clock.seconds()

    def written(self, message_id: str) -> None:
        """A 200 with this id is finished; it leaves with the reactor's next rounds."""
        message = self._open.get(message_id)
        if message is None:
            return
        now = message.written_at = self._clock.seconds()
        if message.watchers:
            self._clock.callLater(FLUSH_TIME, self._forget, message_id)
        # The others go with the next answers: a timer for each would be expensive.
        self._written.append((now, message_id))
        while self._written[0][0] + FLUSH_TIME < now:
            self._forget(self._written.popleft()[1])

    async def wait(self, message_id: str) -> None:
        """
        Wait until Turn has been told an id.

        Where no client is left this ends :data:`ANSWER_TIMEOUT` after the
        last one had gone, so that many such messages delay statuses once and
        not one after another; and that long after now at the latest.
        """
        message = self._open.get(message_id)
        if message is None:
            await self._wait_elsewhere(message_id)
            return
        now = self._clock.seconds()
        if message.written_at is not None:
            rest = message.written_at + FLUSH_TIME - now
        elif message.clients:
            rest = ANSWER_TIMEOUT
        else:
            rest = message.left_at + ANSWER_TIMEOUT - now
        if rest <= 0:
            return
        watcher: Deferred[None] = Deferred(message.watchers.remove)
        message.watchers.append(watcher)
        timer = self._clock.callLater(rest, self._end, message, watcher)
        try:
            await watcher
        finally:
            if timer.active():
                timer.cancel()

    async def _wait_elsewhere(self, message_id: str) -> None:
        until = self._clock.seconds() + ANSWER_TIMEOUT
        while await self._elsewhere(message_id) and self._clock.seconds() < until:
            await deferLater(self._clock, POLL_INTERVAL)

    def _end(self, message: _Open, watcher: Deferred[None]) -> None:
        message.watchers.remove(watcher)
        watcher.callback(None)

    def _forget(self, message_id: str) -> None:
        message = self._open.pop(message_id, None)
        if message is not None:
            self._bound.removed(self)
            watchers, message.watchers = message.watchers, []
            for watcher in watchers:
                watcher.callback(None)
