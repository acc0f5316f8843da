"""The store of Turn's requests in memory."""

from __future__ import annotations

from typing import Any, Coroutine

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.caches.contract import inbound
from tests.caches.requests_contract import PERSON, RequestStoreContract
from tests.cases import case
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.caches.requests_memory import MemoryRequestStore


class ContractTests(RequestStoreContract, TestCase):
    """The contract."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = MemoryMessageCache({}, self.clock)
        self.store = self.cache.request_store(self.clock, 5.0)

    async def let_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def hear(self, message_id: str, person: str = PERSON) -> None:
        await self.cache.add_inbound(inbound(1, message_id=message_id, from_addr=person))


class BoundTests(SynchronousTestCase):
    """It is bounded."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryRequestStore(self.clock, 5.0, lambda person: None, max_requests=3, max_age=100)

    def wait_for(self, operation: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(operation))

    def ids(self, *keys: bytes) -> list[str]:
        return [self.wait_for(self.store.claim(key, "new", PERSON)).message_id for key in keys]

    def test_too_many(self) -> None:
        """Beyond the bound the oldest is forgotten."""
        for n in range(4):
            self.wait_for(self.store.claim(b"%d" % n, f"m{n}", PERSON))
        self.assertEqual(len(self.store), 3)
        self.assertEqual(self.ids(b"1", b"2", b"3"), ["m1", "m2", "m3"])
        self.assertEqual(self.ids(b"0"), ["new"])

    def test_answered_ones_make_room(self) -> None:
        """Those which were answered displace no other."""
        self.wait_for(self.store.claim(b"open", "m0", PERSON))
        for n in range(9):
            self.wait_for(self.store.claim(b"%d" % n, f"m{n}", PERSON))
            self.store.answered(b"%d" % n, f"m{n}", PERSON)
        self.assertEqual(len(self.store), 4)
        self.assertEqual(self.ids(b"open"), ["m0"])

    def test_too_old(self) -> None:
        """An hour after its first request it is forgotten, with no timer."""
        self.wait_for(self.store.claim(b"1", "m1", PERSON))
        self.clock.advance(99)
        self.assertEqual(self.ids(b"1"), ["m1"])
        self.clock.advance(1)
        self.assertEqual(self.ids(b"1"), ["new"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_window(self) -> None:
        """With a window of 0 the same body is a new message after each 200."""
        store = MemoryRequestStore(self.clock, 0.0, lambda person: None)
        for name in ("m1", "m2"):
            with case(name=name):
                self.assertEqual(self.wait_for(store.claim(b"1", name, PERSON)).message_id, name)
                store.answered(b"1", name, PERSON)
