"""The parts of which caches are made: bounds, locks, marks of sessions, what processes share."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.caches.contract import inbound
from tests.caches.fake_redis import FakeConnection, FakeRedis
from tests.cases import case
from vumi_turn.caches.expiring import ExpiringTable
from vumi_turn.caches.keyed_lock import KeyedLock
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.caches.redis_address import RedisAddress
from vumi_turn.caches.session_marks import common, marks_of, told_apart
from vumi_turn.caches.shared import ProcessCaches
from vumi_turn.timing.shared_bound import Bound


class BoundTests(SynchronousTestCase):
    """A bound that several tables share."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.bound = Bound()

    def table(self, limit: int) -> ExpiringTable[int]:
        """A table with this bound of its own."""
        return ExpiringTable(self.clock, 10, limit, self.bound)

    def test_fullest_makes_room(self) -> None:
        """A busy table does not push out what a quiet one holds, and together they hold the largest bound."""
        quiet, busy = self.table(10), self.table(10)
        for number in range(3):
            quiet.set(str(number), number)
        for number in range(100):
            busy.set(str(number), number)
        self.assertEqual((len(quiet), len(busy), self.bound.total), (3, 7, 10))
        self.assertEqual([quiet.get(key) for key in "012"], [0, 1, 2])

    def test_both_busy(self) -> None:
        """Two busy tables share the bound equally."""
        tables = [self.table(10), self.table(4)]
        for number in range(100):
            for table in tables:
                table.set(str(number), number)
        self.assertEqual(sorted(len(table) for table in tables), [4, 6])

    def test_a_table_that_goes(self) -> None:
        """What a table held is free again when it goes, and when its entries expire or are removed."""
        one, two = self.table(10), self.table(10)
        for number in range(5):
            one.set(str(number), number)
            two.set(str(number), number)
        one.remove("0")
        one.remove("0")
        self.assertEqual(self.bound.total, 9)
        one.clear()
        self.assertEqual(self.bound.total, 5)
        self.clock.advance(10)
        self.assertEqual((len(two), self.bound.total), (0, 0))


class ProcessTests(SynchronousTestCase):
    """What the caches of one process share."""

    def test_messages(self) -> None:
        """Caches of one process hold together as many messages as the largest may; alone each holds its own."""
        clock, process = Clock(), ProcessCaches()
        together = [MemoryMessageCache({"max_messages": 10}, clock, process) for _ in range(4)]
        alone = [MemoryMessageCache({"max_messages": 10}, clock) for _ in range(4)]
        for cache in together + alone:
            for number in range(20):
                self.successResultOf(ensureDeferred(cache.add_inbound(inbound(number, from_addr=f"+{number}"))))
        self.assertEqual(sum(cache.size for cache in together), 10)
        self.assertEqual(sum(cache.size for cache in alone), 40)
        self.assertGreater(min(cache.size for cache in together), 1)

    def test_connections(self) -> None:
        """One Redis has one connection, another database has another one."""
        process = ProcessCaches()
        urls = ("redis://h/0", "redis://h:6379", "redis://h/1")
        first, again, other = (process.redis(RedisAddress.from_url(url), Clock()) for url in urls)
        self.assertIs(first, again)
        self.assertIsNot(first, other)


class KeyedLockTests(SynchronousTestCase):
    """One operation at a time for each key."""

    def setUp(self) -> None:
        self.lock = KeyedLock()
        self.log: list[str] = []

    async def work(self, key: str, name: str, until: Any = None) -> None:
        """Hold a key, and wait for something."""
        async with self.lock.hold(key):
            self.log.append(name)
            if until is not None:
                await until

    def test_in_order(self) -> None:
        """Those with the same key come one after another, in order; those with another don't wait."""
        gate: Deferred[None] = Deferred()
        working = [ensureDeferred(self.work("k", "1", gate))]
        working += [ensureDeferred(self.work(*each)) for each in (("k", "2"), ("k", "3"), ("other", "4"))]
        self.assertEqual(self.log, ["1", "4"])
        gate.callback(None)
        for each in working:
            self.successResultOf(each)
        self.assertEqual(self.log, ["1", "4", "2", "3"])

    def test_failure_and_cancellation(self) -> None:
        """One that fails, or gives up waiting, leaves the key to the next."""
        gate: Deferred[None] = Deferred()
        first = ensureDeferred(self.work("k", "1", gate))
        second = ensureDeferred(self.work("k", "2"))
        third = ensureDeferred(self.work("k", "3"))
        second.cancel()
        self.failureResultOf(second)
        gate.errback(ZeroDivisionError())
        self.failureResultOf(first, ZeroDivisionError)
        self.successResultOf(third)
        self.assertEqual(self.log, ["1", "3"])

    def test_many(self) -> None:
        """Thousands may wait, and none of them needs to wait any more."""
        gate: Deferred[None] = Deferred()
        working = [ensureDeferred(self.work("k", "", gate)) for _ in range(5000)]
        gate.callback(None)
        self.successResultOf(working[-1])
        self.assertEqual(len(self.log), 5000)


class MarksTests(SynchronousTestCase):
    """What transport_metadata says of a session."""

    def test_names_of_sessions(self) -> None:
        """Keys that name a session decide alone, wherever they stand, and however they are written."""
        for one, other in (
            ({"session_id": "1", "n": 1}, {"session_id": "2", "n": 1}),
            ({"mtn": {"sessionID": 1}}, {"mtn": {"sessionID": 2}}),
            ({"dmark_ussd": {"transaction_id": "1"}}, {"dmark_ussd": {"transaction_id": "2"}}),
            ({"imimobile_ussd": {"tid": "1"}}, {"imimobile_ussd": {"tid": "2"}}),
            ({"x": {"ussd-session": "1"}}, {"x": {"ussd-session": "2"}}),
        ):
            with case(one=one, other=other):
                self.assertTrue(told_apart(marks_of(one), marks_of(other), named_only=True))
                self.assertFalse(told_apart(marks_of(one), marks_of({**one, "n": 2})))

    def test_other_values(self) -> None:
        """Without such a key any value tells apart that both messages have."""
        one = marks_of({"shortcode": "120", "n": 1})
        self.assertTrue(told_apart(one, marks_of({"shortcode": "121"})))
        self.assertFalse(told_apart(one, marks_of({"shortcode": "121"}), named_only=True))
        self.assertFalse(told_apart(one, marks_of({"shortcode": "120"})))
        for nothing in ({}, {"other": 1}, {"shortcode": None}, {"session_event": "close"}):
            with case(nothing=nothing):
                self.assertFalse(told_apart(one, marks_of(nothing)))

    def test_in_common(self) -> None:
        """What differs between the messages of a session is no mark of it."""
        shared = common(marks_of({"a": "1", "n": 1, "c": 3}), marks_of({"a": "1", "n": 2}))
        self.assertEqual(shared, {"/a": "1", "/c": "3"})

    def test_bounded(self) -> None:
        """A large metadata is not kept whole."""
        marks = marks_of({f"k{number}": "x" * 1000 for number in range(100)})
        self.assertTrue(sum(map(len, marks.values())) < 1000)
        deep: Any = "x"
        for _ in range(50):
            deep = {"k": deep}
        self.assertEqual(len(marks_of(deep)), 1)


class FakeRedisTests(SynchronousTestCase):
    """The Redis in memory that the tests use keeps what the cache's code assumes of a real one."""

    def test_connections_share(self) -> None:
        """Two connections see the same data."""
        redis = FakeRedis()
        one, two = FakeConnection(redis), FakeConnection(redis)
        from vumi_turn.caches.redis_format import GET, PUT

        self.successResultOf(ensureDeferred(one.evaluate(PUT, ("k",), (1000, "v"))))
        self.assertEqual(self.successResultOf(ensureDeferred(two.evaluate(GET, ("k",), ()))), b"v")
