"""
The trace: what became of each of the latest messages, step by step.

It holds no content and no address. A person is known by a keyed hash of the
address, so that somebody who knows the address (and the key) can ask for it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Union

#: Messages of a channel that are kept, at the most.
PER_CHANNEL = 10_000

#: Messages of a process that are kept, at the most; shared out fairly among its channels.
PER_PROCESS = 50_000

#: Steps of one message that are kept: the first of them, and the latest.
FIRST_STEPS, LATEST_STEPS = 10, 30

#: Bytes of a person's hash.
HASH_SIZE = 8

#: What a step tells beside its name.
Detail = Mapping[str, Union[str, int, float, None]]


class PersonHash:
    """
    Hashes addresses.

    :param key: the secret without which nobody can try out addresses.
    """

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.blake2b(key, digest_size=32).digest()

    def of(self, address: str) -> str:
        """
        :param address: with or without its leading plus sign.
        :return: 16 hexadecimal digits.
        """
        text = address.strip().removeprefix("+").encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=HASH_SIZE).hexdigest()


class _Entry:
    """One message."""

    __slots__ = ("direction", "kind", "person", "first", "latest", "left_out")

    def __init__(self, direction: str, kind: str, person: Optional[str]) -> None:
        self.direction = direction
        self.kind = kind
        self.person = person
        self.first: list[tuple[float, str, Optional[Detail]]] = []
        self.latest: Optional[deque[tuple[float, str, Optional[Detail]]]] = None
        self.left_out = 0

    def add(self, step: tuple[float, str, Optional[Detail]]) -> None:
        if len(self.first) < FIRST_STEPS:
            self.first.append(step)
            return
        if self.latest is None:
            self.latest = deque(maxlen=LATEST_STEPS)
        if len(self.latest) == LATEST_STEPS:
            self.left_out += 1
        self.latest.append(step)

    def steps(self) -> Iterator[tuple[float, str, Optional[Detail]]]:
        yield from self.first
        yield from self.latest or ()


class TraceStore:
    """
    The traces of a process.

    :param wall_time: Unix seconds, for people to read.
    :param key: of the hashes of addresses.
    :param per_channel: messages of a channel that are kept.
    :param per_process: messages that are kept in all. Beyond it the oldest of
        the channel that has the most goes.
    """

    def __init__(
        self,
        wall_time: Callable[[], float],
        key: bytes,
        per_channel: int = PER_CHANNEL,
        per_process: int = PER_PROCESS,
    ) -> None:
        self.wall_time = wall_time
        self.person_hash = PersonHash(key)
        self._per_channel = per_channel
        self._per_process = per_process
        self._channels: dict[str, ChannelTrace] = {}
        self._size = 0

    def channel(self, connector: str) -> ChannelTrace:
        """The trace of one channel; the same for the same name."""
        trace = self._channels.get(connector)
        if trace is None:
            trace = self._channels[connector] = ChannelTrace(connector, self)
        return trace

    def remove(self, connector: str) -> None:
        """A channel has gone, and its trace with it."""
        trace = self._channels.pop(connector, None)
        if trace is not None:
            self._size -= len(trace)

    def find(self, message_id: str) -> list[dict[str, Any]]:
        """What is known of a message, in each channel that knows it; for JSON."""
        found = (trace.get(message_id) for trace in self._channels.values())
        return [entry for entry in found if entry is not None]

    def of_person(self, address: str, limit: int = 100) -> list[dict[str, Any]]:
        """The latest messages from and to a person, by address or by its hash; the latest first."""
        hashes = {self.person_hash.of(address), address}
        entries = [entry for trace in self._channels.values() for entry in trace.of_person(hashes)]
        entries.sort(key=lambda entry: entry["steps"][0]["at"] if entry["steps"] else 0.0, reverse=True)
        return entries[:limit]

    def latest(self, connector: str, limit: int = 50) -> list[dict[str, Any]]:
        """A channel's latest messages, the latest first."""
        trace = self._channels.get(connector)
        return [] if trace is None else trace.latest(limit)

    def added(self, trace: ChannelTrace) -> None:
        """A channel has one more message: keep to the bounds."""
        self._size += 1
        if len(trace) > self._per_channel:
            trace.drop_oldest()
            self._size -= 1
        if self._size > self._per_process:
            max(self._channels.values(), key=len).drop_oldest()
            self._size -= 1


class ChannelTrace:
    """
    The trace of one channel: the latest messages by their ids.

    :param connector: the channel's name.
    :param store: what it belongs to.
    """

    def __init__(self, connector: str, store: TraceStore) -> None:
        self.connector = connector
        self._store = store
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def begin(self, message_id: str, direction: str, kind: str, address: Optional[str], step: str) -> None:
        """
        A message has come, from either side; one that comes again goes on
        where it was.

        :param direction: ``inbound`` (to Turn) or ``outbound`` (from Turn).
        :param kind: ``message`` or ``status``.
        :param address: the person's; only its hash is kept.
        :param step: what has happened.
        """
        entry = self._entries.get(message_id)
        if entry is not None:
            entry.add((self._store.wall_time(), step, None))
            return
        person = None if address is None else self._store.person_hash.of(address)
        entry = self._entries[message_id] = _Entry(direction, kind, person)
        entry.add((self._store.wall_time(), step, None))
        self._store.added(self)

    def add(self, message_id: str, step: str, detail: Optional[Detail] = None) -> None:
        """
        Something has happened to a message; nothing is noted where it is not
        (or no longer) known.

        :param step: one word, such as ``tried`` or ``published``.
        :param detail: what else there is to say of it; no content, no address.
        """
        entry = self._entries.get(message_id)
        if entry is not None:
            entry.add((self._store.wall_time(), step, detail))

    def get(self, message_id: str) -> Optional[dict[str, Any]]:
        """What is known of a message, for JSON; None if nothing is."""
        entry = self._entries.get(message_id)
        return None if entry is None else self._shown(message_id, entry)

    def latest(self, limit: int) -> list[dict[str, Any]]:
        """The latest messages, the latest first."""
        found = []
        for message_id in reversed(self._entries):
            found.append(self._shown(message_id, self._entries[message_id]))
            if len(found) == limit:
                break
        return found

    def of_person(self, hashes: Iterable[str]) -> Iterator[dict[str, Any]]:
        """All messages of people with one of these hashes."""
        wanted = set(hashes)
        for message_id, entry in self._entries.items():
            if entry.person in wanted:
                yield self._shown(message_id, entry)

    def drop_oldest(self) -> None:
        """Forget the message that came first."""
        self._entries.popitem(last=False)

    def _shown(self, message_id: str, entry: _Entry) -> dict[str, Any]:
        return {
            "id": message_id,
            "connector": self.connector,
            "direction": entry.direction,
            "kind": entry.kind,
            "person": entry.person,
            "left_out": entry.left_out,
            "steps": [{"at": at, "step": step, **(detail or {})} for at, step, detail in entry.steps()],
        }
