"""
What an application remembers of each person between two messages.

The names are legacy vumi's (vumi/components/session.py), with two differences:
values may be anything that JSON can hold, and are the same when they are
loaded; and a session that is saved after its time is over gets a new time,
instead of staying for ever.
"""

from __future__ import annotations

import abc
import json
from collections import OrderedDict
from importlib.util import find_spec
from typing import Any, Mapping

from twisted.internet.interfaces import IReactorTime

from ..configuration.fields import Config, ConfigErrors, ConfigFloat, ConfigInt, ConfigText, optional
from ..timing.clock import wall_clock_of
from .interface import CacheUnavailable
from .redis_address import ConfigRedisUrl
from .redis_connection import RedisAway, RedisConnection
from .redis_shared import Connection


class SessionConfig(Config):
    """Options of a session store."""

    url = optional(
        ConfigRedisUrl(
            "Where Redis is, as redis://[[user]:password@]host[:port][/database]. Without it sessions are in memory."
        )
    )
    key_prefix = ConfigText("What comes before each key in Redis.", default="vumi_turn_sessions:")
    max_session_length = ConfigFloat(
        "Seconds after which a session ends that was not given another time.", default=3600.0, exclusive_minimum=0
    )
    max_sessions = ConfigInt(
        "How many sessions are in memory at most; the oldest make room.", default=100_000, minimum=1
    )

    def post_validate(self) -> None:
        """Without its library there is no Redis."""
        if self.url is not None and find_spec("txredisapi") is None:
            raise ConfigErrors(["url needs txredisapi: pip install 'vumi_turn[redis]'"])


class SessionManager(abc.ABC):
    """
    Keeps a session for each user id: a mapping of names to what JSON can hold.

    :param max_session_length: seconds that a session lives after it was created.
    :param clock: says when a session was created.
    """

    def __init__(self, max_session_length: float, clock: IReactorTime) -> None:
        self.max_session_length = max_session_length
        self._wall = wall_clock_of(clock)

    @staticmethod
    async def from_config(options: Mapping[str, Any], reactor: Any, key_prefix: str = "") -> SessionManager:
        """
        Make a store, and start it.

        :param options: see :class:`SessionConfig`; with ``url`` it is one in Redis.
        :param reactor: the worker's.
        :param key_prefix: comes between the configured prefix and a user id: stores with the same one share.
        :raises ConfigErrors: an option is wrong or unknown.
        """
        errors = [f"{key} is not an option of sessions" for key, _ in SessionConfig.unknown_keys(options)]
        try:
            config = SessionConfig(dict(options))
        except ConfigErrors as error:
            errors = [*error.errors, *errors]
        if errors:
            raise ConfigErrors(f"sessions: {error}" for error in errors)
        if config.url is None:
            return MemorySessionManager(config.max_session_length, reactor, config.max_sessions)
        connection = RedisConnection(config.url, reactor, consequence="sessions cannot be loaded or saved")
        manager = RedisSessionManager(config.max_session_length, reactor, connection, config.key_prefix + key_prefix)
        await manager.start()
        return manager

    @abc.abstractmethod
    async def stop(self) -> None:
        """Disconnect; sessions in memory are forgotten."""

    async def create_session(self, user_id: str, **values: Any) -> dict[str, Any]:
        """
        Begin a session; an earlier one of that id is forgotten.

        :param values: what it begins with, beside ``created_at`` (Unix seconds).
        :return: the session.
        :raises CacheUnavailable: it cannot be kept now.
        :raises TypeError: JSON cannot hold a value.
        """
        session = {"created_at": self._wall(), **values}
        await self._write(user_id, _encoded(session), anew=True)
        return session

    async def load_session(self, user_id: str) -> dict[str, Any]:
        """
        A session.

        :return: empty if there is none, or if its time is over.
        :raises CacheUnavailable: it cannot be looked up now.
        """
        return {name: json.loads(value) for name, value in (await self._read(user_id)).items()}

    async def save_session(self, user_id: str, session: Mapping[str, Any]) -> dict[str, Any]:
        """
        Keep what a session has now. Names that are not given keep their values.

        :return: what was given.
        :raises CacheUnavailable: it cannot be kept now.
        :raises TypeError: JSON cannot hold a value.
        """
        await self._write(user_id, _encoded(session), anew=False)
        return dict(session)

    @abc.abstractmethod
    async def clear_session(self, user_id: str) -> None:
        """
        End a session; nothing happens if there is none.

        :raises CacheUnavailable: it cannot be ended now.
        """

    @abc.abstractmethod
    async def schedule_session_expiry(self, user_id: str, timeout: float) -> None:
        """
        Give a session another time.

        :param timeout: seconds from now.
        :raises CacheUnavailable: it cannot be given now.
        """

    @abc.abstractmethod
    async def _read(self, user_id: str) -> Mapping[str, str]:
        """A session, with the JSON of each value."""

    @abc.abstractmethod
    async def _write(self, user_id: str, values: Mapping[str, str], anew: bool) -> None:
        """Add values to a session, or to a new one instead of it."""


class MemorySessionManager(SessionManager):
    """
    Sessions in this process's memory: for one worker, until it is restarted.

    :param max_session_length: seconds.
    :param clock: measures them.
    :param max_sessions: how many there are at most; the one that was written longest ago makes room.
    """

    def __init__(self, max_session_length: float, clock: IReactorTime, max_sessions: int = 100_000) -> None:
        super().__init__(max_session_length, clock)
        self._clock = clock
        self._limit = max_sessions
        self._sessions: OrderedDict[str, tuple[float, dict[str, str]]] = OrderedDict()

    async def stop(self) -> None:
        """Forget all."""
        self._sessions.clear()

    async def clear_session(self, user_id: str) -> None:
        """See :meth:`SessionManager.clear_session`; always available."""
        self._sessions.pop(user_id, None)

    async def schedule_session_expiry(self, user_id: str, timeout: float) -> None:
        """See :meth:`SessionManager.schedule_session_expiry`; always available."""
        values = await self._read(user_id)
        if values:
            self._sessions[user_id] = (self._clock.seconds() + timeout, dict(values))

    async def _read(self, user_id: str) -> Mapping[str, str]:
        ends, values = self._sessions.get(user_id, (0.0, {}))
        if values and ends <= self._clock.seconds():
            del self._sessions[user_id]
            return {}
        return values

    async def _write(self, user_id: str, values: Mapping[str, str], anew: bool) -> None:
        known = {} if anew else await self._read(user_id)
        ends = self._sessions[user_id][0] if known else self._clock.seconds() + self.max_session_length
        self._sessions[user_id] = (ends, {**known, **values})
        self._sessions.move_to_end(user_id)
        if len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)


# Keys: the session. Arguments: whether it is a new one, its time in ms, then names and values.
_WRITE = """
if ARGV[1] == '1' then redis.call('DEL', KEYS[1]) end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return nil
"""
_READ = "return redis.call('HGETALL', KEYS[1])"
_CLEAR = "return redis.call('DEL', KEYS[1])"
_EXPIRE = "return redis.call('PEXPIRE', KEYS[1], ARGV[1])"


class RedisSessionManager(SessionManager):
    """
    Sessions in Redis: for several workers, and across restarts. While Redis is
    away every call raises :exc:`CacheUnavailable`: a message whose handler lets
    that through comes again later.

    :param max_session_length: seconds.
    :param clock: says when a session was created.
    :param connection: to Redis.
    :param key_prefix: comes before each user id.
    """

    def __init__(self, max_session_length: float, clock: IReactorTime, connection: Connection, key_prefix: str) -> None:
        super().__init__(max_session_length, clock)
        self._connection = connection
        self.connector, self.key_prefix = "", key_prefix

    async def start(self) -> None:
        """Connect; a Redis that is away is waited for half a second only."""
        await self._connection.start(self)

    async def stop(self) -> None:
        """Close the connection."""
        await self._connection.stop(self)

    def redis_up(self) -> None:
        """Nothing has to be caught up."""

    def redis_down(self) -> None:
        """Nothing is in memory."""

    async def clear_session(self, user_id: str) -> None:
        """See :meth:`SessionManager.clear_session`."""
        await self._run(_CLEAR, user_id)

    async def schedule_session_expiry(self, user_id: str, timeout: float) -> None:
        """See :meth:`SessionManager.schedule_session_expiry`."""
        await self._run(_EXPIRE, user_id, _milliseconds(timeout))

    async def _read(self, user_id: str) -> Mapping[str, str]:
        found = [each.decode("utf-8") for each in await self._run(_READ, user_id) or []]
        return dict(zip(found[::2], found[1::2], strict=True))

    async def _write(self, user_id: str, values: Mapping[str, str], anew: bool) -> None:
        flat = [text for pair in values.items() for text in pair]
        await self._run(_WRITE, user_id, int(anew), _milliseconds(self.max_session_length), *flat)

    async def _run(self, script: str, user_id: str, *arguments: Any) -> Any:
        try:
            return await self._connection.evaluate(script, (self.key_prefix + user_id,), arguments)
        except RedisAway as error:
            raise CacheUnavailable(f"sessions in Redis: {error}") from None


def _encoded(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in values.items()}


def _milliseconds(seconds: float) -> int:
    return int(1000 * seconds) or 1
