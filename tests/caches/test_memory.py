"""The message cache in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.caches.contract import OTHER_PERSON, PERSON, CacheContract, inbound, outbound
from tests.cases import case
from vumi_turn.broker.interface import Delivery
from vumi_turn.caches import person_of
from vumi_turn.caches.expiring import SWEEP, ExpiringTable
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.configuration.fields import ConfigErrors


class MemoryMessageCacheTests(CacheContract, TestCase):
    """The contract, and what is memory's own."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1628341200)
        self.cache = self.make_cache()

    def make_cache(self, **options: Any) -> MemoryMessageCache:
        """A cache by the test's clock."""
        return MemoryMessageCache(options, self.clock)

    async def test_inbound_timeout(self) -> None:
        """An inbound message is known for timeout seconds, by id and by person."""
        self.cache = self.make_cache(timeout=60)
        await self.cache.add_inbound(inbound(1))
        self.clock.advance(59.9)
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))
        self.assertEqual(await self.last_id(), f"{1:032x}")
        self.clock.advance(0.1)
        self.assertIsNone(await self.cache.get_inbound(f"{1:032x}"))
        self.assertIsNone(await self.last_id())

    async def test_delivered_again(self) -> None:
        """A message that is delivered again is known for as long again: Turn may answer only now."""
        self.cache = self.make_cache(timeout=60)
        for _ in range(5):
            await self.cache.add_inbound(inbound(1), first=False)
            self.clock.advance(59.9)
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))
        self.assertEqual(await self.last_id(), f"{1:032x}")
        self.clock.advance(0.1)
        self.assertIsNone(await self.cache.get_inbound(f"{1:032x}"))
        self.assertIsNone(await self.last_id())

    async def test_outbound_timeout(self) -> None:
        """A recipient is known for outbound_timeout seconds, whatever the other timeout is."""
        self.cache = self.make_cache(timeout=1, outbound_timeout=60)
        await self.cache.add_outbound(outbound(1))
        self.clock.advance(59.9)
        self.assertEqual(await self.cache.get_recipient(f"{1:032x}"), PERSON)
        self.clock.advance(0.1)
        self.assertIsNone(await self.cache.get_recipient(f"{1:032x}"))

    async def test_default_timeouts(self) -> None:
        """Without options inbound messages live for an hour and outbound ones for a day."""
        await self.cache.add_inbound(inbound(1))
        await self.cache.add_outbound(outbound(2))
        self.clock.advance(3599)
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))
        self.clock.advance(1)
        self.assertIsNone(await self.cache.get_inbound(f"{1:032x}"))
        self.clock.advance(86400 - 3601)
        self.assertEqual(await self.cache.get_recipient(f"{2:032x}"), PERSON)
        self.clock.advance(1)
        self.assertIsNone(await self.cache.get_recipient(f"{2:032x}"))

    async def test_bounded(self) -> None:
        """Beyond max_messages the oldest of the same kind makes room."""
        self.cache = self.make_cache(max_messages=2)
        for number in (1, 2, 3):
            await self.cache.add_inbound(inbound(number, from_addr=f"+{number}"))
            await self.cache.add_outbound(outbound(10 + number))
        self.assertEqual(self.cache.size, 4)
        self.assertIsNone(await self.cache.get_inbound(f"{1:032x}"))
        self.assertIsNone(await self.last_id("+1"))
        self.assertEqual(await self.last_id("+2"), f"{2:032x}")
        self.assertIsNone(await self.cache.get_recipient(f"{11:032x}"))
        self.assertEqual(await self.cache.get_recipient(f"{12:032x}"), PERSON)

    async def test_size_after_expiry(self) -> None:
        """Expired messages are not counted, however many they are."""
        self.cache = self.make_cache(timeout=60)
        for number in range(5 * SWEEP):
            await self.cache.add_inbound(inbound(number))
        self.clock.advance(60)
        await self.cache.add_inbound(inbound(1000, from_addr=OTHER_PERSON))
        self.assertEqual(self.cache.size, 1)

    async def test_no_timer(self) -> None:
        """Expiry needs no delayed call."""
        await self.cache.start()
        await self.cache.add_inbound(inbound(1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_stop_forgets(self) -> None:
        """A stopped cache holds nothing."""
        await self.cache.add_inbound(inbound(1))
        await self.cache.add_outbound(outbound(2))
        await self.cache.stop()
        self.assertEqual(self.cache.size, 0)

    async def test_body_is_let_go(self) -> None:
        """The delivery that brought a message, with the whole body in it, is not kept."""
        delivery = Delivery("c.inbound", b"the whole body")
        await self.cache.add_inbound(inbound(1, note="words").replace(delivery=delivery))
        found = await self.cache.get_inbound(f"{1:032x}")
        assert found is not None
        self.assertEqual((found.delivery, dict(found.extra)), (None, {}))

    def test_config_must_be_a_mapping(self) -> None:
        """A config that is no mapping is refused with one sentence."""
        error = self.assertRaises(ConfigErrors, MemoryMessageCache, ["timeout"], self.clock)
        self.assertEqual(error.errors, ["message_cache_config must be a mapping, not list"])

    def test_check_config(self) -> None:
        """A config can be checked without making a cache; numbers may be text."""
        self.assertEqual(MemoryMessageCache.check_config({"timeout": "60", "max_messages": "5"}), [])
        wrong: tuple[object, ...] = (-1, float("nan"), float("inf"), [], "1e999")
        for timeout in wrong:
            with case(timeout=timeout):
                self.assertEqual(len(MemoryMessageCache.check_config({"timeout": timeout})), 1)


class ExpiringTableTests(SynchronousTestCase):
    """The table under the cache."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.table: ExpiringTable[int] = ExpiringTable(self.clock, timeout=10, limit=100)

    def test_set_again_lives_again(self) -> None:
        """Setting an entry again starts its time anew and puts it behind the others."""
        self.table.set("a", 1)
        self.clock.advance(6)
        self.table.set("b", 2)
        self.table.set("a", 3)
        self.clock.advance(6)
        self.assertEqual((self.table.get("a"), self.table.get("b")), (3, 2))
        self.clock.advance(4)
        self.assertEqual((self.table.get("a"), len(self.table)), (None, 0))

    def test_an_operation_sweeps_a_few(self) -> None:
        """One operation clears away a few expired entries, not thousands at once."""
        for number in range(50):
            self.table.set(str(number), number)
        self.clock.advance(10)
        self.assertIsNone(self.table.get("49"))
        self.assertEqual(len(self.table._entries), 50 - SWEEP)

    def test_limit_drops_the_one_set_longest_ago(self) -> None:
        """At the limit the entry that was set longest ago goes."""
        table: ExpiringTable[int] = ExpiringTable(self.clock, timeout=10, limit=2)
        table.set("a", 1)
        table.set("b", 2)
        table.set("a", 3)
        table.set("c", 4)
        self.assertEqual([table.get(key) for key in "abc"], [3, None, 4])


class PersonTests(SynchronousTestCase):
    """Addresses that are the same."""

    def test_one_leading_plus(self) -> None:
        """One leading plus is dropped, and nothing else is changed."""
        for address, same in [("+266", "266"), ("266", "266"), ("++2", "+2"), ("2+6", "2+6"), ("+", "")]:
            with case(address=address, same=same):
                self.assertEqual(person_of(address), same)

    def test_no_address(self) -> None:
        """No address is the empty text."""
        self.assertEqual((person_of(None), person_of("")), ("", ""))
