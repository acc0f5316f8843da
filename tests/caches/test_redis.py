"""
The message cache in Redis, without a Redis: on one in memory that a test can
take away. The contract is tested on a real one too, in ``tests/integration``.
"""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.caches.contract import JOINED, PAGES, PERSON, CacheContract, inbound, outbound
from tests.caches.fake_redis import FakeConnection, FakeRedis
from tests.cases import case
from vumi_turn.caches import CacheUnavailable
from vumi_turn.caches.documents import Change
from vumi_turn.caches.redis import RedisMessageCache
from vumi_turn.caches.redis_format import ADD_INBOUND, GET, GET_PERSON, KEEP, PUT, PUT_NEW, REPLACE
from vumi_turn.caches.redis_members import SETTLE
from vumi_turn.caches.redis_shared import BEAT, PATIENCE, RETRY
from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.conversation.joined_notes import TURN_IDS

try:
    import txredisapi
except ImportError:
    txredisapi = None

URL = "redis://:s3cret@redis.example:6380/3"


class Wall:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        self.seconds += 0.001
        return self.seconds


class RedisCase(SynchronousTestCase):
    """A cache on a Redis in memory."""

    if txredisapi is None:
        skip = "needs txredisapi: pip install '.[redis]'"

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = Wall()
        self.redis = FakeRedis()
        self.connection = FakeConnection(self.redis)
        self.cache = self.worker("a", self.connection)

    def worker(self, name: str, connection: Optional[FakeConnection] = None, **options: Any) -> RedisMessageCache:
        """A started cache of another worker."""
        connection = connection or FakeConnection(self.redis)
        cache = RedisMessageCache(
            {"url": URL, **options}, self.clock, now=self.now, connection=connection, worker_id=name
        )
        self.run_now(cache.start())
        return cache

    def run_now(self, awaitable: Any) -> Any:
        """The result of what need not wait."""
        return self.successResultOf(ensureDeferred(awaitable))

    def unavailable(self, awaitable: Any) -> None:
        """It may be had soon."""
        self.failureResultOf(ensureDeferred(awaitable), CacheUnavailable)

    def last(self, cache: RedisMessageCache) -> Optional[str]:
        """The id of the message that a reply would answer."""
        message = self.run_now(cache.get_last_inbound(PERSON))
        return None if message is None else message.message_id


class FakeContractTests(CacheContract, TestCase):
    """The contract, on a Redis in memory."""

    if txredisapi is None:
        skip = "needs txredisapi: pip install '.[redis]'"

    def setUp(self) -> None:
        self.cache = self.make_cache()
        self.successResultOf(ensureDeferred(self.cache.start()))

    def make_cache(self, **options: Any) -> RedisMessageCache:
        return RedisMessageCache({"url": URL, **options}, Clock(), connection=FakeConnection())


class OneWorkerTests(RedisCase):
    """A worker that is alone goes on by its memory while Redis is away."""

    def test_away(self) -> None:
        """Its own messages, recipients, final statuses and documents are found; an unknown id may exist."""
        self.run_now(self.cache.documents.put(JOINED, {"k": 1}))
        self.connection.lose()
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.run_now(self.cache.add_outbound(outbound(2)))
        self.run_now(self.cache.advance_status("m", final=True))
        self.run_now(self.cache.documents.put(PAGES, {"p": [1]}))
        self.run_now(self.cache.documents.update(PAGES, "q", lambda document: Change([2], None)))
        self.assertEqual(self.last(self.cache), f"{1:032x}")
        self.assertEqual(self.run_now(self.cache.get_inbound(f"{1:032x}")).message_id, f"{1:032x}")
        self.assertEqual(self.run_now(self.cache.get_recipient(f"{2:032x}")), PERSON)
        self.assertFalse(self.run_now(self.cache.advance_status("m", final=False)))
        self.assertTrue(self.run_now(self.cache.advance_status("n", final=False)))
        self.assertEqual(self.run_now(self.cache.documents.get(JOINED, "k")), 1)
        self.assertEqual(self.run_now(self.cache.documents.get(PAGES, "p")), [1])
        self.assertIsNone(self.run_now(self.cache.get_last_inbound("+999")))
        self.assertIsNone(self.run_now(self.cache.get_recipient("unknown")))
        self.unavailable(self.cache.get_inbound("unknown"))

    def test_told_later(self) -> None:
        """What Redis missed is written when it is back, what is the latest of it, and once only."""
        self.connection.lose()
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.run_now(self.cache.add_outbound(outbound(2)))
        self.run_now(self.cache.close_session(PERSON, f"{1:032x}"))
        self.run_now(self.cache.documents.put(PAGES, {"p": [1]}))
        self.run_now(self.cache.documents.put(PAGES, {"p": None, "q": [2]}))
        self.connection.come_back()
        scripts = self.connection.scripts()
        self.assertEqual(sorted(scripts), sorted([PUT_NEW, REPLACE, REPLACE, PUT, PUT, PUT]))
        other = self.worker("b")
        self.assertIsNone(self.last(other))
        self.assertTrue(self.run_now(other.get_inbound(f"{1:032x}")))
        self.assertEqual(self.run_now(other.get_recipient(f"{2:032x}")), PERSON)
        self.assertEqual(self.run_now(other.documents.get(PAGES, "q")), [2])
        self.assertIsNone(self.run_now(other.documents.get(PAGES, "p")))
        self.clock.advance(BEAT)
        self.assertEqual(self.connection.scripts(), [])

    def test_told_later_in_spite_of_an_interruption(self) -> None:
        """What could not be written at the first attempt is written at the next."""
        self.connection.lose()
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.redis.full = True
        self.connection.come_back()
        self.assertFalse(self.cache.healthy)
        self.redis.full = False
        self.clock.advance(RETRY)
        self.assertTrue(self.cache.healthy)
        self.assertEqual(self.last(self.worker("b")), f"{1:032x}")

    def test_backlog_is_bounded(self) -> None:
        """A long absence of Redis does not fill the memory."""
        cache = self.worker("b", connection := FakeConnection(self.redis), max_messages=5)
        connection.lose()
        for number in range(100):
            self.run_now(cache.add_outbound(outbound(number)))
        self.assertEqual(len(cache._backlog), 20)
        connection.come_back()
        self.assertEqual(len([key for key in self.redis.data if ":out:" in key]), 5)

    def test_closed_while_away(self) -> None:
        """A session that was closed while Redis is away is closed there too when it is back."""
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.connection.lose()
        self.run_now(self.cache.close_session(PERSON, f"{1:032x}"))
        self.assertIsNone(self.last(self.cache))
        self.connection.come_back()
        self.assertIsNone(self.last(self.cache))
        self.assertIsNone(self.last(self.worker("b")))

    def test_restarted_and_empty(self) -> None:
        """A Redis that has lost its data is told everything that this worker knows."""
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.run_now(self.cache.add_outbound(outbound(2)))
        self.run_now(self.cache.advance_status("m", final=True))
        self.run_now(self.cache.documents.put(PAGES, {"p": [1]}))
        self.connection.lose()
        self.redis.restart()
        self.connection.come_back()
        other = self.worker("b")
        self.assertEqual(self.last(other), f"{1:032x}")
        self.assertEqual(self.run_now(other.get_recipient(f"{2:032x}")), PERSON)
        self.assertFalse(self.run_now(other.advance_status("m", final=False)))
        self.assertEqual(self.run_now(other.documents.get(PAGES, "p")), [1])

    def test_redis_has_forgotten(self) -> None:
        """A Redis that lost its data without a word does not end the sessions of this worker."""
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.redis.data.clear()
        self.assertEqual(self.last(self.cache), f"{1:032x}")

    def test_healthy(self) -> None:
        """The cache is healthy while Redis answers, and else says why it is not."""
        self.assertEqual((self.cache.healthy, self.cache.trouble), (True, ""))
        self.connection.lose("the connection was lost")
        self.assertEqual((self.cache.healthy, self.cache.trouble), (False, "the connection was lost"))
        self.connection.come_back()
        self.assertEqual((self.cache.healthy, self.cache.trouble), (True, ""))

    def test_start_and_stop(self) -> None:
        """A stopped worker is off the list, and leaves no delayed call."""
        self.run_now(self.cache.stop())
        self.assertEqual((self.connection.running, self.clock.getDelayedCalls()), (False, []))
        self.assertEqual(self.redis.data, {"vumi_turn:workers": set()})

    def test_started_while_away(self) -> None:
        """A worker that starts while Redis is away works, and does not know whether it is alone."""
        connection = FakeConnection(self.redis)
        connection.up = False
        cache = self.worker("b", connection)
        self.run_now(cache.add_inbound(inbound(1)))
        self.unavailable(cache.get_last_inbound(PERSON))
        self.assertEqual(self.run_now(cache.get_inbound(f"{1:032x}")).message_id, f"{1:032x}")
        connection.come_back()
        self.unavailable(cache.get_last_inbound(PERSON))
        self.clock.pump([0.5] * int(2 * BEAT + 1))
        self.assertEqual(self.last(cache), f"{1:032x}")


class CostTests(RedisCase):
    """What the common operations ask of Redis."""

    def test_one_question(self) -> None:
        """A message, a look-up, a recipient and a status cost one question each, and what memory knows none."""
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.run_now(self.cache.add_inbound(inbound(2, 2)))
        self.run_now(self.cache.add_outbound(outbound(3)))
        self.assertEqual(self.connection.scripts(), [ADD_INBOUND, ADD_INBOUND, PUT])
        self.last(self.cache)
        self.run_now(self.cache.close_session(PERSON, f"{1:032x}"))
        self.assertEqual(self.connection.scripts(), [GET_PERSON, REPLACE])
        self.run_now(self.cache.get_inbound(f"{1:032x}"))
        self.run_now(self.cache.get_recipient(f"{3:032x}"))
        self.assertEqual(self.connection.scripts(), [])
        self.run_now(self.cache.advance_status("m", final=False))
        self.run_now(self.cache.documents.update(PAGES, "k", lambda document: Change(1, None)))
        self.assertEqual(self.connection.scripts(), [GET, REPLACE])

    def test_keys(self) -> None:
        """Each key begins with key_prefix, and what the person said is not among the values."""
        cache = self.worker("b", FakeConnection(redis := FakeRedis()), key_prefix="p/")
        self.run_now(cache.add_inbound(inbound(1, content="marker-content")))
        self.run_now(cache.documents.put(PAGES, {"k": 1}))
        self.assertEqual(
            sorted(redis.data),
            ["p/document:pages:k", f"p/in:{1:032x}", "p/person:26612345678", "p/worker:b", "p/workers"],
        )
        self.assertNotIn("marker-content", repr(redis.data))

    def test_connectors_are_apart(self) -> None:
        """Two connectors with one Redis and one prefix do not see each other's people; workers of one do."""
        caches = [
            RedisMessageCache(
                {"url": URL}, self.clock, now=self.now, connection=FakeConnection(self.redis), connector=connector
            )
            for connector in ("sms", "ussd", "ussd")
        ]
        for cache in caches:
            self.run_now(cache.start())
        self.run_now(caches[1].add_inbound(inbound(1)))
        self.assertEqual([self.last(cache) for cache in caches], [None, f"{1:032x}", f"{1:032x}"])
        self.assertIn("vumi_turn:ussd:person:26612345678", self.redis.data)

    def test_url_is_required_and_never_shown(self) -> None:
        """Without a url the cache is refused; a wrong one is refused without being shown."""
        (error,) = RedisMessageCache.check_config({})
        self.assertTrue(error.startswith("message_cache_config.url is missing: "), error)
        for url in (
            "http://:s3cret@redis",
            "redis://",
            "redis://:s3cret@h:99999/0",
            "redis://:s3cret@h/zero",
            "redis://:s3cret@h:0",
            "redis://:s3cret@h/0?x=1",
            ["s3cret"],
            "redis://:s3cret@[::1/0",
        ):
            refused = self.assertRaises(ConfigErrors, RedisMessageCache, {"url": url}, Clock())
            self.assertEqual(len(refused.errors), 1, url)
            self.assertTrue(refused.errors[0].startswith("message_cache_config.url must "), refused.errors)
            self.assertNotIn("s3cret", refused.errors[0])


class SeveralWorkersTests(RedisCase):
    """Several workers know together what a person said last, or say that they don't."""

    def setUp(self) -> None:
        super().setUp()
        self.other_connection = FakeConnection(self.redis)
        self.other = self.worker("b", self.other_connection)
        self.run_now(self.cache.add_inbound(inbound(99, from_addr="+1")))
        self.clock.advance(0)  # that has shown the second to the first

    def both_lose(self) -> None:
        for connection in (self.connection, self.other_connection):
            connection.lose()

    def test_other_workers_message(self) -> None:
        """What another worker has written is found, by id and by person, and the later message counts."""
        self.run_now(self.cache.add_inbound(inbound(1, 50)))
        self.run_now(self.other.add_inbound(inbound(2, 20)))
        self.assertEqual((self.last(self.cache), self.last(self.other)), (f"{2:032x}", f"{2:032x}"))
        self.assertTrue(self.run_now(self.other.get_inbound(f"{1:032x}")))

    def test_delivered_again(self) -> None:
        """What is delivered again is kept for as long again, for all workers; what has expired is written again."""
        self.run_now(self.cache.add_inbound(inbound(1)))
        keys = (f"vumi_turn:in:{1:032x}", "vumi_turn:person:26612345678")
        self.connection.scripts()
        for expired in ((), keys[:1], keys):
            with case(expired=expired):
                for key in expired:
                    del self.redis.data[key]
                self.run_now(self.cache.add_inbound(inbound(1), first=False))
                self.assertEqual([call[:2] for call in self.connection.calls], [(KEEP, keys)])
                self.connection.scripts()
                self.assertTrue(self.run_now(self.other.get_inbound(f"{1:032x}")))
                self.assertEqual(self.last(self.other), f"{1:032x}")

    def test_other_workers_close(self) -> None:
        """A session that another worker closed is closed, and one that began there is not."""
        self.run_now(self.cache.add_inbound(inbound(1, session="s1")))
        self.run_now(self.other.close_session(PERSON, f"{1:032x}"))
        self.assertIsNone(self.last(self.cache))
        self.run_now(self.cache.add_inbound(inbound(2, 2, session_event="new", session="s2")))
        self.run_now(self.other.close_session(PERSON, f"{1:032x}"))
        self.assertEqual(self.last(self.other), f"{2:032x}")

    def test_away_at_first(self) -> None:
        """For half a minute it is unavailable what the others may know; an id that this worker knows is found."""
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.run_now(self.other.add_inbound(inbound(2, 2)))
        self.both_lose()
        for _ in range(2):
            self.unavailable(self.cache.get_last_inbound(PERSON))
            self.unavailable(self.cache.get_last_inbound("+999"))
            self.unavailable(self.cache.get_inbound(f"{2:032x}"))
            self.assertTrue(self.run_now(self.cache.get_inbound(f"{1:032x}")))
            self.clock.advance(PATIENCE - 0.1)
        self.unavailable(self.cache.documents.get(PAGES, "k"))
        self.unavailable(self.cache.documents.put(PAGES, {"k": 1}))
        self.unavailable(self.cache.documents.update(PAGES, "k", lambda document: Change(1, None)))

    def test_written_once(self) -> None:
        """What is written once is known to its writer, though Redis is away; the rest may have changed."""
        self.run_now(self.cache.documents.put(TURN_IDS, {"m1": ["m1", "m2"]}))
        self.run_now(self.cache.documents.put(PAGES, {"m1": [1]}))
        self.both_lose()
        self.assertEqual(self.run_now(self.cache.documents.get(TURN_IDS, "m1")), ["m1", "m2"])
        self.unavailable(self.cache.documents.get(TURN_IDS, "m9"))
        self.unavailable(self.cache.documents.get(PAGES, "m1"))
        self.unavailable(self.other.documents.get(TURN_IDS, "m1"))
        self.run_now(self.cache.documents.put(TURN_IDS, {"m2": []}))
        self.run_now(self.cache.documents.update(TURN_IDS, "m3", lambda document: Change(["m3"], None)))
        self.unavailable(self.cache.documents.put(PAGES, {"m2": [1]}))
        self.assertEqual(self.run_now(self.cache.documents.get(TURN_IDS, "m2")), [])
        for connection in (self.connection, self.other_connection):
            connection.come_back()
        self.clock.pump([0.5] * int(2 * BEAT + 1))
        self.assertEqual(self.run_now(self.other.documents.get(TURN_IDS, "m3")), ["m3"])

    def test_away_for_long(self) -> None:
        """After that nobody's last message is known: a reply by an older session would be worse."""
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.both_lose()
        self.clock.advance(PATIENCE)
        self.assertIsNone(self.last(self.cache))
        self.unavailable(self.cache.get_inbound("unknown"))

    def test_just_back(self) -> None:
        """Until the others have written what they took meanwhile, an unknown id is unavailable, not unknown."""
        self.both_lose()
        self.run_now(self.other.add_inbound(inbound(1)))
        self.connection.come_back()
        self.assertFalse(self.cache.healthy)
        self.assertIn("is being told", self.cache.trouble)
        self.unavailable(self.cache.get_inbound(f"{1:032x}"))
        self.unavailable(self.cache.get_last_inbound(PERSON))
        self.other_connection.come_back()
        self.clock.advance(0.5)
        self.assertEqual(self.last(self.cache), f"{1:032x}")
        self.assertIsNone(self.run_now(self.cache.get_inbound("unknown")))
        self.assertTrue(self.cache.healthy)

    def test_just_back_and_another_was_never_away(self) -> None:
        """Where only this worker's connection was lost, the others' next heartbeat is enough."""
        self.connection.lose()
        self.connection.come_back()
        self.unavailable(self.cache.get_inbound("unknown"))
        self.clock.pump([0.5] * int(2 * BEAT + 1))
        self.assertIsNone(self.run_now(self.cache.get_inbound("unknown")))

    def test_another_that_does_not_come_back(self) -> None:
        """A worker that is gone for good is waited for a while only."""
        self.both_lose()
        self.connection.come_back()
        self.clock.pump([0.5] * int(2 * SETTLE - 1))
        self.unavailable(self.cache.get_inbound("unknown"))
        self.clock.advance(0.5)
        self.assertIsNone(self.run_now(self.cache.get_inbound("unknown")))

    def test_what_both_took(self) -> None:
        """Of the messages that two workers took during an outage the later one is the last, whoever writes first."""
        for first, second in (
            (self.connection, self.other_connection),
            (self.other_connection, self.connection),
        ):
            self.both_lose()
            self.run_now(self.cache.add_inbound(inbound(1, 90, session="s1")))
            self.run_now(self.other.add_inbound(inbound(2, 10, session="s2")))
            first.come_back()
            second.come_back()
            self.clock.pump([0.5] * 2)
            self.assertEqual((self.last(self.cache), self.last(self.other)), (f"{2:032x}", f"{2:032x}"))

    def test_restarted_and_empty(self) -> None:
        """A Redis that has lost its data learns from each what it knows: no older session is taken for the latest."""
        self.run_now(self.cache.add_inbound(inbound(1, 1, session="s1")))
        self.run_now(self.other.add_inbound(inbound(2, 2, session="s2")))
        self.both_lose()
        self.redis.restart()
        self.connection.come_back()
        self.unavailable(self.cache.get_last_inbound(PERSON))
        self.other_connection.come_back()
        self.clock.advance(0.5)
        self.assertEqual(self.last(self.cache), f"{2:032x}")

    def test_restarted_with_older_data(self) -> None:
        """The same where Redis has what it had some time ago."""
        self.run_now(self.cache.add_inbound(inbound(1, 1, session="s1")))
        older = dict(self.redis.data)
        self.run_now(self.other.add_inbound(inbound(2, 2, session="s2")))
        self.both_lose()
        self.redis.restart(data=True)
        self.redis.data = older
        self.connection.come_back()
        self.other_connection.come_back()
        self.clock.advance(0.5)
        self.assertEqual(self.last(self.cache), f"{2:032x}")

    def test_full(self) -> None:
        """A Redis that writes nothing is as if it were away, though it can be read."""
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.redis.full = True
        self.run_now(self.other.add_inbound(inbound(2, 2)))
        self.unavailable(self.cache.get_last_inbound(PERSON))
        self.assertEqual((self.cache.healthy, self.other.healthy), (False, False))
        self.assertIn("does not write: OOM", self.cache.trouble)
        self.redis.full = False
        self.clock.pump([0.5] * 3)
        self.assertEqual((self.last(self.cache), self.cache.trouble), (f"{2:032x}", ""))

    def test_another_has_left(self) -> None:
        """A worker whose companion has stopped is alone again."""
        self.run_now(self.other.stop())
        self.clock.advance(BEAT)
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.connection.lose()
        self.assertEqual(self.last(self.cache), f"{1:032x}")


class StrangeKeyTests(RedisCase):
    """What is not ours under our prefix is replaced, and nobody else suffers."""

    def test_another_type(self) -> None:
        """A key of another type is replaced, counted, and the cache stays up."""
        self.redis.data["vumi_turn:person:26612345678"] = {"a hash": "of somebody"}
        self.redis.data[f"vumi_turn:in:{2:032x}"] = {"another"}
        self.run_now(self.cache.add_inbound(inbound(1)))
        self.assertEqual(self.last(self.cache), f"{1:032x}")
        self.assertIsNone(self.run_now(self.cache.get_inbound(f"{2:032x}")))
        self.assertEqual((self.cache.replaced_keys, self.cache.healthy), (2, True))

    def test_unreadable(self) -> None:
        """What cannot be read counts as not known, and is replaced by the next write."""
        for value in (b"{", b"[]", b"[1,2,3,4,5,6,7]", b"nothing\n{}", b"\xff"):
            self.redis.data.update(
                {
                    "vumi_turn:person:26612345678": value,
                    f"vumi_turn:in:{1:032x}": value,
                    "vumi_turn:document:pages:k": b"\xff{",
                }
            )
            cache = self.worker("b")
            self.assertIsNone(self.last(cache))
            self.assertIsNone(self.run_now(cache.get_inbound(f"{1:032x}")))
            self.assertIsNone(self.run_now(cache.documents.get(PAGES, "k")))
            self.run_now(cache.add_inbound(inbound(1)))
            self.run_now(cache.documents.update(PAGES, "k", lambda document: Change(1, None)))
            self.assertEqual(self.last(cache), f"{1:032x}")
            self.assertEqual(self.run_now(cache.documents.get(PAGES, "k")), 1)
            self.assertGreater(cache.replaced_keys, 3)
            self.run_now(cache.stop())
