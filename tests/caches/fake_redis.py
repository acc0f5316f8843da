"""
A Redis in memory that knows this cache's scripts, and connections to it that
can be lost. It cannot run Lua: what the scripts do is written again here, and
the contract tests run on a real Redis as well.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence

from vumi_turn.caches import redis_format as scripts
from vumi_turn.caches.redis_connection import RedisAway, RedisListener, ScriptFailed, WriteRefused


class FakeRedis:
    """
    The data. There is no expiry, but for heartbeats that a test removes.

    :ivar full: refuse to write.
    :ivar run_id: names the process.
    """

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.full = False
        self.run_id = b"1"
        self._scripts: dict[str, Callable[[Sequence[str], list[bytes]], Any]] = {
            scripts.ADD_INBOUND: self._add_inbound,
            scripts.REPLACE: self._replace,
            scripts.PUT: self._put,
            scripts.PUT_NEW: self._put_new,
            scripts.KEEP: self._put_new,
            scripts.GET: self._get,
            scripts.GET_PERSON: self._get_person,
            scripts.HEARTBEAT: self._heartbeat,
            scripts.LEAVE: self._leave,
            scripts.REMOVE: self._remove,
            scripts.RUN_ID: lambda keys, arguments: self.run_id,
        }

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script that this cache has."""
        return self._scripts[script](keys, [_bytes(argument) for argument in arguments])

    def restart(self, data: bool = False) -> None:
        """Another process, with the data or without."""
        self.run_id = str(int(self.run_id) + 1).encode()
        if not data:
            self.data.clear()

    def _value(self, key: str) -> bytes:
        value = self.data.get(key, b"")
        if not isinstance(value, bytes):
            raise ScriptFailed("WRONGTYPE Operation against a key holding the wrong kind of value")
        return value

    def _set(self, key: str, value: Any) -> None:
        if self.full:
            raise WriteRefused("OOM command not allowed when used memory > 'maxmemory'.")
        self.data[key] = value

    def _set_or_remove(self, key: str, value: bytes) -> None:
        if value:
            self._set(key, value)
        else:
            self.data.pop(key, None)

    def _add_inbound(self, keys: Sequence[str], arguments: list[bytes]) -> Any:
        there, expected, record, person, _ = arguments
        found = [self._value(key) for key in keys[:2]]
        if bool(there) != bool(found[0]) or expected != found[1]:
            return found
        self._set(keys[0], record)
        if person:
            self._set(keys[1], person)
        return len(self.data.get(keys[2], ()))

    def _replace(self, keys: Sequence[str], arguments: list[bytes]) -> Any:
        found = self._value(keys[0])
        if found != arguments[0]:
            return [found]
        self._set_or_remove(keys[0], arguments[1])
        return None

    def _put(self, keys: Sequence[str], arguments: list[bytes]) -> Any:
        for key, value in zip(keys, arguments[1:], strict=True):
            self._set_or_remove(key, value)

    def _put_new(self, keys: Sequence[str], arguments: list[bytes]) -> Any:
        for key, value in zip(keys, arguments[1:], strict=True):
            if key not in self.data:
                self._set(key, value)

    def _get(self, keys: Sequence[str], arguments: list[bytes]) -> Any:
        return self._value(keys[0]) or None

    def _get_person(self, keys: Sequence[str], arguments: list[bytes]) -> Any:
        self._set(keys[1], arguments[0])
        return [self._value(keys[0]) or None, len(self.data.get(keys[2], ()))]

    def _heartbeat(self, keys: Sequence[str], arguments: list[bytes]) -> Any:
        name, count, _, prefix = (argument.decode() for argument in arguments)
        self._set(keys[0], {*self.data.get(keys[0], ()), name})
        self._set(prefix + name, count.encode())
        found: list[bytes] = []
        for each in sorted(self.data[keys[0]]):
            if prefix + each in self.data:
                found += [each.encode(), self.data[prefix + each]]
        return found

    def _leave(self, keys: Sequence[str], arguments: list[bytes]) -> Any:
        self.data.get(keys[0], set()).discard(arguments[0].decode())
        self.data.pop(keys[1], None)

    def _remove(self, keys: Sequence[str], arguments: list[bytes]) -> Any:
        for key in keys:
            self.data.pop(key, None)


class FakeConnection:
    """
    One worker's connection.

    :ivar calls: the scripts that were run, with keys and arguments.
    """

    def __init__(self, redis: Optional[FakeRedis] = None) -> None:
        self.redis = redis or FakeRedis()
        self.up = True
        self.trouble = ""
        self.running = False
        self.calls: list[tuple[str, tuple[str, ...], tuple[Any, ...]]] = []
        self._listener: Optional[RedisListener] = None

    async def start(self, listener: RedisListener) -> None:
        self.running = True
        self._listener = listener
        if self.up:
            listener.redis_up()

    async def stop(self, listener: RedisListener) -> None:
        self.running = False
        self._listener = None

    async def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        if not self.up:
            raise RedisAway("not connected")
        self.calls.append((script, tuple(keys), tuple(arguments)))
        return self.redis.run(script, keys, arguments)

    def lose(self, trouble: str = "the connection was lost") -> None:
        """Redis is away."""
        self.up, self.trouble = False, trouble
        if self._listener is not None:
            self._listener.redis_down()

    def come_back(self) -> None:
        """Redis is back."""
        self.up, self.trouble = True, ""
        if self._listener is not None:
            self._listener.redis_up()

    def scripts(self) -> list[str]:
        """The scripts that were run since the last time this was asked, heartbeats aside."""
        aside = (scripts.HEARTBEAT, scripts.RUN_ID)
        run = [script for script, _, _ in self.calls if script not in aside]
        self.calls.clear()
        return run


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
