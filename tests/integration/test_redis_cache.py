"""The message cache on a real Redis."""

from __future__ import annotations

import time
from typing import Any, Callable, Optional

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.caches.contract import OTHER_PERSON, PERSON, CacheContract, inbound, outbound
from tests.integration.redis_server import RedisServer
from vumi_turn.caches import CacheUnavailable
from vumi_turn.caches.redis import RedisMessageCache

try:
    import txredisapi
except ImportError:
    txredisapi = None


def sleep(seconds: float) -> Deferred[None]:
    """Wait, really."""
    return deferLater(reactor, seconds, lambda: None)


async def until(condition: Callable[[], bool], timeout: float = 10) -> None:
    """Wait for what must become true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not true after {timeout} s")
        await sleep(0.02)


class RedisCase(TestCase):
    """A test with a Redis of its own."""

    cache: Any
    timeout = 60
    password = ""
    if txredisapi is None:
        skip = "needs txredisapi: pip install '.[redis]'"

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.server = RedisServer(self.password)
        self.addCleanup(self.server.stop)
        self.server.start()
        self.cache = await self.started()

    def make_cache(self, url: Optional[str] = None, **options: Any) -> RedisMessageCache:
        """A cache on the test's Redis."""
        return RedisMessageCache({"url": url or self.server.url, **options}, reactor)

    async def started(self, **options: Any) -> RedisMessageCache:
        """The same, started; the test's end stops it."""
        cache = self.make_cache(**options)
        await cache.start()
        self.addCleanup(lambda: ensureDeferred(cache.stop()))
        return cache

    async def fall(self) -> None:
        """End Redis, and wait until the cache has noticed."""
        self.server.kill()
        await until(lambda: not self.cache.healthy)


class RedisContractTests(RedisCase, CacheContract):
    """The contract, on one worker's cache, which has its memory too."""


class ColdContractTests(RedisCase, CacheContract):
    """The contract, read by another worker each time: what Redis itself knows."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await RedisCase.setUp(self)
        self.writer = self.cache
        self.cache = Pair(self.writer, await self.started())


class Pair:
    """Writes by one cache and reads by another."""

    def __init__(self, writer: RedisMessageCache, reader: RedisMessageCache) -> None:
        self.add_inbound = writer.add_inbound
        self.add_outbound = writer.add_outbound
        self.close_session = reader.close_session
        self.get_inbound = reader.get_inbound
        self.get_last_inbound = reader.get_last_inbound
        self.is_in_latest_session = reader.is_in_latest_session
        self.get_recipient = reader.get_recipient
        self.advance_status = reader.advance_status
        self.documents = reader.documents
        self._writer = writer

    @property
    def healthy(self) -> bool:
        """The writer's."""
        return self._writer.healthy

    @property
    def size(self) -> int:
        """The writer's."""
        return self._writer.size


class RedisOwnTests(RedisCase):
    """What only a cache in Redis promises."""

    async def last_id(self, cache: RedisMessageCache, address: str = PERSON) -> Optional[str]:
        """The id of the message that a reply to this person would answer."""
        message = await cache.get_last_inbound(address)
        return None if message is None else message.message_id

    async def test_expiry_is_redis_own(self) -> None:
        """Each key expires by its timeout, set in the same step as the key."""
        cache = await self.started(timeout=30, outbound_timeout=90, key_prefix="p:")
        await cache.add_inbound(inbound(1))
        await cache.add_outbound(outbound(2))
        await cache.close_session(PERSON, f"{1:032x}")
        await cache.advance_status(f"{2:032x}", final=True)
        keys = {
            f"p:in:{1:032x}": 30,
            "p:person:26612345678": 30,
            f"p:out:{2:032x}": 90,
            f"p:final:{2:032x}": 90,
            "p:workers": 120,
        }
        found = set(self.server.ask("KEYS", "p:*").split())
        (worker,) = found - set(keys)
        self.assertTrue(worker.startswith("p:worker:"))
        keys[worker] = 12
        for key, timeout in keys.items():
            self.assertTrue(timeout - 5 < int(self.server.ask("PTTL", key)) / 1000 <= timeout, key)

    async def test_expired(self) -> None:
        """After its timeout an entry is known no more."""
        writer = await self.started(timeout=0.2, outbound_timeout=0.2)
        await writer.add_inbound(inbound(1))
        await writer.add_outbound(outbound(2))
        await sleep(0.3)
        for cache in (writer, self.cache):
            self.assertIsNone(await cache.get_inbound(f"{1:032x}"))
            self.assertIsNone(await self.last_id(cache))
            self.assertIsNone(await cache.get_recipient(f"{2:032x}"))

    async def test_many_at_once(self) -> None:
        """Many workers' writes and look-ups at the same time leave each person's newest message the last."""
        other = await self.started()
        messages = [inbound(number, number % 60, from_addr=f"+{number % 7}") for number in range(300)]
        await gatherResults(
            [
                ensureDeferred((other if number % 2 else self.cache).add_inbound(message, first=False))
                for number, message in enumerate(messages)
            ]
        )
        reader = await self.started()
        for person in range(7):
            newest = max(int(m.timestamp.timestamp()) for m in messages if m.from_addr == f"+{person}")
            last = await reader.get_last_inbound(f"+{person}")
            assert last is not None
            self.assertEqual(int(last.timestamp.timestamp()), newest)

    async def test_redis_goes_and_comes_back(self) -> None:
        """
        While Redis is away this worker's sessions go on and an unknown id is
        unavailable; afterwards other workers learn what happened meanwhile.
        """
        await self.cache.add_inbound(inbound(1, 1))
        await self.fall()
        await self.cache.add_inbound(inbound(2, 2))
        await self.cache.add_inbound(inbound(3, 3, from_addr=OTHER_PERSON))
        await self.cache.close_session(OTHER_PERSON, f"{3:032x}")
        await self.cache.add_outbound(outbound(4))
        self.assertEqual(await self.last_id(self.cache), f"{2:032x}")
        self.assertIsNone(await self.last_id(self.cache, OTHER_PERSON))
        with self.assertRaises(CacheUnavailable):
            await self.cache.get_inbound(f"{9:032x}")
        self.server.start()
        await until(lambda: self.cache.healthy)
        other = await self.started()
        self.assertEqual(await self.last_id(other), f"{2:032x}")
        self.assertIsNone(await self.last_id(other, OTHER_PERSON))
        self.assertTrue(await other.get_inbound(f"{3:032x}"))
        self.assertEqual(await other.get_recipient(f"{4:032x}"), PERSON)
        self.assertIsNone(await self.cache.get_inbound(f"{9:032x}"))

    async def test_frozen_redis(self) -> None:
        """A Redis that hangs costs half a second, not Turn's patience, and is used again when it thaws."""
        await self.cache.add_inbound(inbound(1))
        self.server.freeze()
        self.addCleanup(self.server.thaw)
        began = time.monotonic()
        self.assertEqual(await self.last_id(self.cache), f"{1:032x}")
        self.assertTrue(0.3 < time.monotonic() - began < 1)
        self.assertFalse(self.cache.healthy)
        began = time.monotonic()
        with self.assertRaises(CacheUnavailable):
            await self.cache.get_inbound(f"{9:032x}")
        self.assertTrue(time.monotonic() - began < 0.6)
        self.server.thaw()
        await until(lambda: self.cache.healthy)
        self.assertIsNone(await self.cache.get_inbound(f"{9:032x}"))

    async def test_start_without_redis(self) -> None:
        """A worker starts although Redis is down, and uses it once it is up."""
        await self.fall()
        began = time.monotonic()
        cache = await self.started()
        self.assertTrue(time.monotonic() - began < 1)
        self.assertFalse(cache.healthy)
        await cache.add_inbound(inbound(1))
        self.server.start()
        await until(lambda: cache.healthy)
        self.assertEqual(self.server.ask("EXISTS", f"vumi_turn:in:{1:032x}"), "1")

    async def test_restarted_worker(self) -> None:
        """A worker that starts anew knows its sessions and recipients."""
        await self.cache.add_inbound(inbound(1))
        await self.cache.add_outbound(outbound(2))
        await self.cache.stop()
        anew = await self.started()
        self.assertEqual(await self.last_id(anew), f"{1:032x}")
        self.assertEqual(await anew.get_recipient(f"{2:032x}"), PERSON)

    async def test_scripts_flushed(self) -> None:
        """A Redis that has forgotten our scripts is told them again, without an error."""
        await self.cache.add_inbound(inbound(1, 1))
        self.server.ask("SCRIPT", "FLUSH")
        await self.cache.add_inbound(inbound(2, 2))
        self.assertTrue(self.cache.healthy)
        self.assertEqual(self.server.ask("EXISTS", f"vumi_turn:in:{2:032x}"), "1")

    async def test_data_lost(self) -> None:
        """A Redis that lost its data does not end this worker's sessions."""
        await self.cache.add_inbound(inbound(1))
        self.server.ask("FLUSHALL")
        self.assertEqual(await self.last_id(self.cache), f"{1:032x}")


class PasswordTests(RedisCase):
    """A Redis that wants a password."""

    password = "p@ss:w/rd"

    async def started(self, **options: Any) -> RedisMessageCache:
        """With the password, percent-encoded."""
        options.setdefault("url", f"redis://:p%40ss%3Aw%2Frd@127.0.0.1:{self.server.port}/2")
        return await RedisCase.started(self, **options)

    async def test_password_and_database(self) -> None:
        """The password opens Redis, and the database of the url is the one that is used."""
        self.assertTrue(self.cache.healthy)
        await self.cache.add_inbound(inbound(1))
        self.assertEqual(self.server.ask("-n", "2", "EXISTS", f"vumi_turn:in:{1:032x}"), "1")

    async def test_wrong_password_corrected_later(self) -> None:
        """A worker whose password is wrong starts, and works once Redis accepts it."""
        cache = await self.started(url=f"redis://:later@127.0.0.1:{self.server.port}/0")
        self.assertFalse(cache.healthy)
        self.server.ask("CONFIG", "SET", "requirepass", "later")
        await until(lambda: cache.healthy)
