"""
The message cache in this process's memory.

Bounded, and every operation takes the same short time however full it is:
entries stand in the order in which they will expire, so that those which have
expired are taken from the front, a few with each operation. There is no timer.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Mapping, Optional, TypeVar

from twisted.internet.interfaces import IReactorTime

from ..vumi.messages import TransportUserMessage
from .addresses import person_of
from .config import read_cache_config
from .interface import LATE_AFTER, MessageCache, stripped
from .requests_memory import MemoryRequestStore

#: How many expired entries one operation clears away at most: more than one, so
#: that they become fewer; few, so that no operation is slow after an idle hour.
SWEEP = 8

Value = TypeVar("Value")


class ExpiringTable(Generic[Value]):
    """
    A mapping whose entries live for the same time and whose size is bounded.

    :param clock: tells the time.
    :param timeout: seconds that an entry lives after it was last set.
    :param limit: how many entries there may be; the oldest one makes room.
    """

    __slots__ = ("_clock", "_timeout", "_limit", "_entries")

    def __init__(self, clock: IReactorTime, timeout: float, limit: int) -> None:
        self._clock = clock
        self._timeout = timeout
        self._limit = limit
        self._entries: OrderedDict[str, tuple[float, Value]] = OrderedDict()

    def set(self, key: str, value: Value) -> None:
        """Set an entry; its time starts anew."""
        now = self._clock.seconds()
        entries = self._entries
        entries[key] = (now + self._timeout, value)
        entries.move_to_end(key)
        if len(entries) > self._limit:
            entries.popitem(last=False)
        self._sweep(now, SWEEP)

    def get(self, key: str) -> Optional[Value]:
        """The entry's value, or None if there is none or its time is over."""
        now = self._clock.seconds()
        self._sweep(now, SWEEP)
        entry = self._entries.get(key)
        if entry is None or entry[0] <= now:
            return None
        return entry[1]

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()

    def __len__(self) -> int:
        """How many entries there are; those whose time is over are cleared away first."""
        self._sweep(self._clock.seconds(), len(self._entries))
        return len(self._entries)

    def _sweep(self, now: float, most: int) -> None:
        entries = self._entries
        for _ in range(most):
            if not entries:
                return
            if entries[next(iter(entries))][0] > now:
                return
            entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Last:
    """
    The last message of a person.

    :ivar closed: whether the session it belongs to was closed.
    """

    message: TransportUserMessage
    closed: bool


class MemoryMessageCache(MessageCache):
    """
    Keeps messages in memory: for one worker, until it is restarted.

    :param config: the options, see :class:`.config.CacheConfig`.
    :param clock: tells the time.
    :raises ConfigErrors: an option is wrong.
    """

    def __init__(self, config: Mapping[str, Any], clock: IReactorTime) -> None:
        options = read_cache_config(self.CONFIG_CLASS, config)
        limit = options.max_messages
        self._inbound: ExpiringTable[TransportUserMessage] = ExpiringTable(clock, options.timeout, limit)
        self._last: ExpiringTable[Last] = ExpiringTable(clock, options.timeout, limit)
        self._outbound: ExpiringTable[str] = ExpiringTable(clock, options.outbound_timeout, limit)

    async def start(self) -> None:
        """There is nothing to make ready."""

    async def stop(self) -> None:
        """Forget all."""
        for table in (self._inbound, self._last, self._outbound):
            table.clear()

    @property
    def healthy(self) -> bool:
        """Always: there is nothing that could be away."""
        return True

    @property
    def size(self) -> int:
        """Inbound and outbound messages that are remembered."""
        return len(self._inbound) + len(self._outbound)

    async def add_inbound(self, message: TransportUserMessage, redelivered: bool = False) -> None:
        """See :meth:`MessageCache.add_inbound`."""
        self.remember(stripped(message), redelivered)

    def remember(self, lean: TransportUserMessage, redelivered: bool) -> None:
        """:meth:`add_inbound` of a message that is stripped already."""
        known = self._inbound.get(lean.message_id) is not None
        self._inbound.set(lean.message_id, lean)
        person = person_of(lean.from_addr)
        if not person:
            return
        closed = lean.session_event == TransportUserMessage.SESSION_CLOSE
        last = self._last.get(person)
        if last is not None:
            if last.message.message_id == lean.message_id:
                closed = closed or last.closed
            elif _comes_again(lean.timestamp, last, redelivered, known):
                return
        self._last.set(person, Last(lean, closed))

    async def get_inbound(self, message_id: str) -> Optional[TransportUserMessage]:
        """See :meth:`MessageCache.get_inbound`; always available."""
        return self._inbound.get(message_id)

    async def get_last_inbound(self, address: Optional[str]) -> Optional[TransportUserMessage]:
        """See :meth:`MessageCache.get_last_inbound`."""
        last = self.last(address)
        return None if last is None or last.closed else last.message

    def last(self, address: Optional[str]) -> Optional[Last]:
        """The last message of a person, also if its session is closed."""
        return self._last.get(person_of(address))

    async def close_session(self, address: Optional[str], message_id: Optional[str] = None) -> None:
        """See :meth:`MessageCache.close_session`."""
        person = person_of(address)
        last = self._last.get(person)
        if last is not None and message_id in (None, last.message.message_id):
            self._last.set(person, Last(last.message, True))

    async def add_outbound(self, message: TransportUserMessage) -> None:
        """See :meth:`MessageCache.add_outbound`."""
        if message.to_addr:
            self._outbound.set(message.message_id, message.to_addr)

    async def get_recipient(self, message_id: str) -> Optional[str]:
        """See :meth:`MessageCache.get_recipient`."""
        return self._outbound.get(message_id)

    def request_store(self, clock: IReactorTime, repeat_window: float) -> MemoryRequestStore:
        """See :meth:`MessageCache.request_store`."""
        return MemoryRequestStore(clock, repeat_window, self.last_id)

    def last_id(self, address: str) -> Optional[str]:
        """The id of a person's last message, also if its session is closed."""
        last = self.last(address)
        return None if last is None else last.message.message_id


def _comes_again(timestamp: datetime, last: Last, redelivered: bool, known: bool) -> bool:
    """
    Whether a message is one from before the last one. Where both were stamped
    in the same moment, one that we knew already is; and nothing but a newer
    one opens a closed session.
    """
    newer_by = (timestamp - last.message.timestamp).total_seconds()
    if not (redelivered or known):
        return newer_by < -LATE_AFTER
    return newer_by < 0 or (newer_by == 0 and (known or last.closed))
