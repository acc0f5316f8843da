"""Sessions of applications in a real Redis."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.caches.session_contract import SessionContract
from tests.integration.redis_server import RedisServer
from vumi_turn.caches import CacheUnavailable
from vumi_turn.caches.session_store import RedisSessionManager, SessionManager


class RedisSessionTests(SessionContract, TestCase):
    timeout = 60.0

    async def setUp(self) -> None:  # type: ignore[override]
        self.server = RedisServer(password="secret")
        self.addCleanup(self.server.stop)
        self.server.start()
        self.sessions = await self.made()

    async def made(self) -> SessionManager:
        options = {"url": self.server.url, "max_session_length": 2}
        sessions = await SessionManager.from_config(options, reactor, "greeter:")
        self.addCleanup(lambda: _stopped(sessions))
        return sessions

    async def pass_time(self, seconds: float) -> None:
        await deferLater(reactor, seconds + 0.1, lambda: None)

    async def test_shared(self) -> None:
        """Two workers with the same prefix share sessions; the keys have it, and no other values are there."""
        other = await self.made()
        self.assertIsInstance(other, RedisSessionManager)
        await self.sessions.create_session("+266", step=1)
        self.assertEqual((await other.load_session("+266"))["step"], 1)
        self.assertEqual(self.server.ask("keys", "*"), "vumi_turn_sessions:greeter:+266")

    async def test_redis_away(self) -> None:
        """A Redis that went away is said at once, and is used again when it is back."""
        self.server.kill()
        for _ in range(100):
            try:
                await self.sessions.load_session("a")
            except CacheUnavailable:
                break
            await deferLater(reactor, 0.05, lambda: None)
        else:
            self.fail("Redis was not missed")
        self.server.start()
        for _ in range(200):
            try:
                await self.sessions.create_session("a")
                break
            except CacheUnavailable:
                await deferLater(reactor, 0.05, lambda: None)
        self.assertEqual(set(await self.sessions.load_session("a")), {"created_at"})


async def _stop(sessions: SessionManager) -> None:
    await sessions.stop()


def _stopped(sessions: SessionManager) -> object:
    from twisted.internet.defer import ensureDeferred

    return ensureDeferred(_stop(sessions))
