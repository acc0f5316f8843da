"""Sessions of applications."""

from __future__ import annotations

from typing import Any, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.caches.session_contract import SessionContract
from vumi_turn.caches import CacheUnavailable
from vumi_turn.caches.redis_connection import RedisAway
from vumi_turn.caches.session_store import MemorySessionManager, RedisSessionManager, SessionManager
from vumi_turn.configuration.fields import ConfigErrors


class MemoryTests(SessionContract, TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1628345678)
        self.sessions = MemorySessionManager(2, self.clock, max_sessions=3)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def test_bound(self) -> None:
        """Beyond the bound the session that was written longest ago makes room."""
        for name in "abc":
            await self.sessions.create_session(name)
        await self.sessions.save_session("a", {"x": 1})
        await self.sessions.create_session("d")
        found = [name for name in "abcd" if await self.sessions.load_session(name)]
        self.assertEqual(found, ["a", "c", "d"])
        await self.sessions.stop()
        self.assertEqual(await self.sessions.load_session("a"), {})

    async def test_created_at(self) -> None:
        """A session knows when it was created, in Unix seconds."""
        self.assertEqual((await self.sessions.create_session("a"))["created_at"], 1628345678)

    async def test_no_json(self) -> None:
        """What JSON cannot hold is refused, and nothing is kept."""
        with self.assertRaises(TypeError):
            await self.sessions.create_session("a", thing=object())
        self.assertEqual(await self.sessions.load_session("a"), {})


class Away:
    """A connection to a Redis that does not answer."""

    up = False
    trouble = "refused"

    def __init__(self) -> None:
        self.listeners: list[Any] = []

    async def start(self, listener: Any) -> None:
        self.listeners.append(listener)
        listener.redis_up()
        listener.redis_down()

    async def stop(self, listener: Any) -> None:
        self.listeners.remove(listener)

    async def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        raise RedisAway("not connected")


class RedisAwayTests(SynchronousTestCase):
    def test_away(self) -> None:
        """While Redis is away every call says so: the message comes again later, and is not counted as a failure."""
        connection = Away()
        sessions = RedisSessionManager(2, Clock(), connection, "s:")
        self.successResultOf(Deferred.fromCoroutine(sessions.start()))
        for call in (
            sessions.create_session("a"),
            sessions.load_session("a"),
            sessions.save_session("a", {}),
            sessions.clear_session("a"),
            sessions.schedule_session_expiry("a", 1),
        ):
            self.failureResultOf(Deferred.fromCoroutine(call), CacheUnavailable)
        self.successResultOf(Deferred.fromCoroutine(sessions.stop()))
        self.assertEqual(connection.listeners, [])


class ConfigTests(SynchronousTestCase):
    def test_memory(self) -> None:
        """Without a URL sessions are in memory, with the length that is configured."""
        made = SessionManager.from_config({"max_session_length": 5}, Clock())
        sessions = self.successResultOf(Deferred.fromCoroutine(made))
        self.assertEqual((type(sessions), sessions.max_session_length), (MemorySessionManager, 5))

    def test_wrong(self) -> None:
        """Whatever is wrong is said at once, and nothing of a URL, which may hold a password."""
        options = {"url": "http://:secret@h", "max_session_length": 0, "max_lenght": 1}
        made = SessionManager.from_config(options, Clock())
        error = self.failureResultOf(Deferred.fromCoroutine(made), ConfigErrors).value
        self.assertEqual(len(error.errors), 3)
        self.assertNotIn("secret", str(error))
