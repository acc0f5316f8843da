"""Turn's requests in this process's memory: for one worker, until it ends."""

from __future__ import annotations

import enum
from typing import Callable, Optional

from twisted.internet.interfaces import IReactorTime

from ..timing.shared_bound import Bound, BoundedDict
from .requests import MAX_AGE, MAX_REQUESTS, UNREAD_WINDOW, Claim, RequestStore, Step

#: Gives the id of the last message consumed from the person with an address, None where none is known.
LastInbound = Callable[[str], Optional[str]]


class Stage(enum.Enum):
    """How far a request has come."""

    PUBLISHING = "publishing"
    REFUSED = "refused"
    CONFIRMED = "confirmed"
    ANSWERED = "answered"


class _Record:
    """
    One request.

    :ivar since: when it came, or was answered last, in the clock's seconds.
    :ivar window: once it is answered, for how many seconds repeats are the same message.
    :ivar last_inbound: once it is answered, the id of the person's last message then.
    """

    __slots__ = ("message_id", "stage", "since", "window", "last_inbound")

    def __init__(self, message_id: str, stage: Stage, since: float) -> None:
        self.message_id = message_id
        self.stage = stage
        self.since = since
        self.window = 0.0
        self.last_inbound: Optional[str] = None


class MemoryRequestStore(RequestStore):
    """
    :param clock: tells the time; no timer is set.
    :param repeat_window: seconds after a 200 in which the same body is the
        same message; 0 is off.
    :param last_inbound: knows the persons' last messages.
    :param max_requests: how many are remembered of those that were answered,
        and of the others; beyond it the oldest is forgotten.
    :param max_age: seconds for which one is remembered.
    :param open_bound: how many of those that were not answered all stores of the process remember.
    :param answered_bound: likewise, of those that were.
    """

    def __init__(
        self,
        clock: IReactorTime,
        repeat_window: float,
        last_inbound: LastInbound,
        max_requests: int = MAX_REQUESTS,
        max_age: float = MAX_AGE,
        open_bound: Optional[Bound] = None,
        answered_bound: Optional[Bound] = None,
    ) -> None:
        self._clock = clock
        self._repeat_window = repeat_window
        self._last_inbound = last_inbound
        self._max_age = max_age
        # Apart, so that those which were answered never displace the others.
        self._open: BoundedDict[bytes, _Record] = BoundedDict(max_requests, open_bound)
        self._answered: BoundedDict[bytes, _Record] = BoundedDict(max_requests, answered_bound)

    def __len__(self) -> int:
        return len(self._open) + len(self._answered)

    def clear(self) -> None:
        """Forget all."""
        self._open.clear()
        self._answered.clear()

    async def claim(self, key: bytes, new_id: str, person: str) -> Claim:
        """See :meth:`RequestStore.claim`."""
        now = self._clock.seconds()
        self._expire(self._open, now)
        self._expire(self._answered, now)
        record = self._open.get(key)
        if record is not None:
            if record.stage is Stage.CONFIRMED:
                return Claim(record.message_id, Step.ANSWER)
            record.stage = Stage.PUBLISHING
            return Claim(record.message_id, Step.PUBLISH)
        answered = self._answered.get(key)
        if answered is not None and self._is_repeat(answered, person, now):
            return Claim(answered.message_id, Step.ANSWER)
        self._open.set(key, _Record(new_id, Stage.PUBLISHING, now))
        return Claim(new_id, Step.PUBLISH, is_new=True, answered_before=answered is not None)

    def adopt(self, key: bytes, message_id: str, step: Step) -> None:
        """Note what another store has said of a request."""
        stage = Stage.PUBLISHING if step is Step.PUBLISH else Stage.CONFIRMED
        self._set(key, message_id, stage)

    def confirmed(self, key: bytes, message_id: str, answer_follows: bool = False) -> None:
        """See :meth:`RequestStore.confirmed`."""
        answered = self._answered.get(key)
        if answered is not None and answered.message_id == message_id and key not in self._open:
            return
        self._set(key, message_id, Stage.CONFIRMED)

    def refused(self, key: bytes, message_id: str) -> None:
        """See :meth:`RequestStore.refused`."""
        self._set(key, message_id, Stage.REFUSED)

    def forget(self, key: bytes, message_id: str) -> None:
        """See :meth:`RequestStore.forget`."""
        record = self._open.get(key)
        if record is not None and record.message_id == message_id:
            self._open.pop(key)

    def answered(self, key: bytes, message_id: str, person: str, was_read: bool = True) -> None:
        """See :meth:`RequestStore.answered`."""
        record = self._open.get(key)
        if record is not None and record.message_id == message_id:
            self._open.pop(key)
        else:
            record = self._answered.get(key)
            if record is not None and record.message_id != message_id:
                return  # the late answer of an earlier message with this body
        now = self._clock.seconds()
        if record is None:
            record = _Record(message_id, Stage.ANSWERED, now)
        record.stage = Stage.ANSWERED
        record.since = now
        record.window = self._repeat_window if was_read else UNREAD_WINDOW
        record.last_inbound = self._last_inbound(person)
        self._answered.set(key, record)

    async def awaits_answer(self, message_id: str) -> bool:
        """See :meth:`RequestStore.awaits_answer`; there is no other worker."""
        return False

    def _is_repeat(self, record: _Record, person: str, now: float) -> bool:
        return now - record.since < record.window and record.last_inbound == self._last_inbound(person)

    def _set(self, key: bytes, message_id: str, stage: Stage) -> None:
        record = self._open.get(key)
        if record is not None and record.message_id == message_id:
            record.stage = stage
        else:  # forgotten meanwhile, or another store has said it
            self._open.set(key, _Record(message_id, stage, self._clock.seconds()))

    def _expire(self, records: BoundedDict[bytes, _Record], now: float) -> None:
        while len(records):
            key = next(iter(records))
            if now - records[key].since < self._max_age:
                return
            records.pop(key)
