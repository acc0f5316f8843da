"""The store of Turn's requests on a real Redis."""

from __future__ import annotations

from twisted.internet import reactor

from tests.caches.contract import inbound
from tests.caches.requests_contract import PERSON, RequestStoreContract
from tests.integration.test_redis_cache import RedisCase, sleep
from vumi_turn.caches.requests import Claim, RequestStore, Step
from vumi_turn.caches.requests_redis import LEASE

WINDOW = 0.5


class StoreCase(RequestStoreContract, RedisCase):
    """A store beside a cache; seconds are tenths here."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await RedisCase.setUp(self)
        self.store = self.cache.request_store(reactor, WINDOW)

    async def let_pass(self, seconds: float) -> None:
        await sleep(min(seconds, 6) * WINDOW / 5)

    async def hear(self, message_id: str, person: str = PERSON) -> None:
        await self.cache.add_inbound(inbound(1, message_id=message_id, from_addr=person))


class ContractTests(StoreCase):
    """The contract, on one worker's store, which has its memory too."""


class ColdContractTests(StoreCase):
    """The contract, with claims by another worker: what Redis itself knows."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        other = (await self.started()).request_store(reactor, WINDOW)

        async def claim(key: bytes, new_id: str, person: str) -> Claim:
            await sleep(0.03)  # what was noted on the other connection has arrived
            return await other.claim(key, new_id, person)

        self.store.claim = claim  # type: ignore[method-assign]


del StoreCase


class WorkersTests(RedisCase):
    """Several workers."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await RedisCase.setUp(self)
        self.first = self.cache.request_store(reactor, 5.0)
        self.second = (await self.started()).request_store(reactor, 5.0)

    async def claims(self, *stores: RequestStore) -> list[Claim]:
        return [await store.claim(b"s1", f"m{n}", PERSON) for n, store in enumerate(stores, 1)]

    async def test_published_by_one(self) -> None:
        """While one worker publishes, the others wait; then they answer with its id."""
        self.assertEqual(
            await self.claims(self.first, self.second),
            [Claim("m1", Step.PUBLISH, is_new=True), Claim("m1", Step.WAIT)],
        )
        self.first.confirmed(b"s1", "m1")
        self.assertEqual(await self.claims(self.second), [Claim("m1", Step.ANSWER)])

    async def test_refused_at_one(self) -> None:
        """What one worker could not publish the next one does, under the same id."""
        await self.claims(self.first)
        self.first.refused(b"s1", "m1")
        self.assertEqual(await self.claims(self.second), [Claim("m1", Step.PUBLISH)])
        self.assertEqual(await self.claims(self.first), [Claim("m1", Step.WAIT)])

    async def test_killed(self) -> None:
        """What a worker was publishing when it was killed is published by another under the same id."""
        await self.claims(self.first)
        await self.cache.stop()  # no more leases
        await sleep(LEASE - 1)
        self.assertEqual(await self.claims(self.second), [Claim("m1", Step.WAIT)])
        await sleep(1.1)
        self.assertEqual(await self.claims(self.second), [Claim("m1", Step.PUBLISH)])

    async def test_slow(self) -> None:
        """A worker that publishes for longer than its lease keeps it."""
        await self.claims(self.first)
        await sleep(LEASE + 1)
        self.assertEqual(await self.claims(self.second), [Claim("m1", Step.WAIT)])

    async def test_answer_of_another(self) -> None:
        """Another worker's message awaits its 200 until that is written; one's own is no matter of this."""
        await self.claims(self.first)
        self.assertTrue(await self.second.awaits_answer("m1"))
        self.assertFalse(await self.first.awaits_answer("m1"))
        self.first.confirmed(b"s1", "m1")
        self.first.answered(b"s1", "m1", PERSON)
        self.assertFalse(await self.second.awaits_answer("m1"))

    async def test_away(self) -> None:
        """While Redis is away memory decides, and nothing is refused."""
        await self.claims(self.first)
        self.first.confirmed(b"s1", "m1")
        await self.fall()
        self.assertEqual(await self.claims(self.first), [Claim("m1", Step.ANSWER)])
        self.assertEqual((await self.first.claim(b"s2", "m2", PERSON)).step, Step.PUBLISH)
        self.assertFalse(await self.first.awaits_answer("m9"))
        self.first.answered(b"s1", "m1", PERSON)
        self.first.refused(b"s2", "m2")
        self.first.forget(b"s2", "m2")
