"""
The message cache in Redis, without a Redis: what it does while Redis is away,
and how the connection mends itself. The contract is tested on a real one, in
``tests/integration``.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence, cast

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.error import ConnectingCancelledError, ConnectionDone, ConnectionRefusedError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.caches.contract import PERSON, inbound, outbound
from tests.http.resolving import ResolvingReactor
from vumi_turn.caches import CacheUnavailable
from vumi_turn.caches.redis import ADD_INBOUND, ADD_OUTBOUND, BACKLOG, CLOSE_SESSION, GET, GET_LAST, RedisMessageCache
from vumi_turn.caches.redis_address import RedisAddress
from vumi_turn.caches.redis_connection import RedisAway, RedisConnection
from vumi_turn.configuration.fields import ConfigErrors

try:
    import txredisapi
except ImportError:
    txredisapi = None

URL = "redis://:s3cret@redis.example:6380/3"


class FakeConnection:
    """Notes the scripts it is given; it answers each with None, or with what the test says."""

    def __init__(self) -> None:
        self.up = True
        self.trouble = ""
        self.calls: list[tuple[str, tuple[str, ...], tuple[Any, ...]]] = []
        self.answers: dict[str, Any] = {GET_LAST: [None, None]}
        self.running = False

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        if not self.up:
            raise RedisAway("not connected")
        self.calls.append((script, tuple(keys), tuple(arguments)))
        return self.answers.get(script)

    def scripts(self) -> list[str]:
        """The scripts that were run since the last time this was asked."""
        scripts = [script for script, _, _ in self.calls]
        self.calls.clear()
        return scripts


class RedisMessageCacheTests(SynchronousTestCase):
    """The cache on a connection that the test holds."""

    if txredisapi is None:
        skip = "needs txredisapi: pip install '.[redis]'"

    def setUp(self) -> None:
        self.connection = FakeConnection()
        self.cache = RedisMessageCache({"url": URL}, Clock(), self.connection)

    def run_now(self, awaitable: Any) -> Any:
        """The result of what need not wait."""
        return self.successResultOf(ensureDeferred(awaitable))

    def test_away_live_session_goes_on(self) -> None:
        """While Redis is away this worker's own messages and recipients are found."""
        self.connection.up = False
        self.run_now(self.cache.add_inbound(inbound(1), False))
        self.run_now(self.cache.add_outbound(outbound(2)))
        last = self.run_now(self.cache.get_last_inbound(PERSON))
        by_id = self.run_now(self.cache.get_inbound(f"{1:032x}"))
        self.assertEqual((last.message_id, by_id.message_id), (f"{1:032x}", f"{1:032x}"))
        self.assertEqual(self.run_now(self.cache.get_recipient(f"{2:032x}")), PERSON)

    def test_away_unknown_id(self) -> None:
        """While Redis is away an id that memory does not know may exist: that is unavailable, not None."""
        self.connection.up = False
        self.failureResultOf(ensureDeferred(self.cache.get_inbound(f"{1:032x}")), CacheUnavailable)

    def test_away_unknown_person_and_recipient(self) -> None:
        """While Redis is away a person or recipient that memory does not know is None."""
        self.connection.up = False
        self.assertIsNone(self.run_now(self.cache.get_last_inbound(PERSON)))
        self.assertIsNone(self.run_now(self.cache.get_recipient(f"{1:032x}")))

    def test_away_close(self) -> None:
        """A session that was closed while Redis is away stays closed when Redis is back and has it open."""
        self.run_now(self.cache.add_inbound(inbound(1), False))
        self.connection.up = False
        self.run_now(self.cache.close_session(PERSON))
        self.assertIsNone(self.run_now(self.cache.get_last_inbound(PERSON)))
        self.connection.up = True
        self.connection.answers[GET_LAST] = [inbound(1).to_json(), b"0"]
        self.assertIsNone(self.run_now(self.cache.get_last_inbound(PERSON)))

    def test_healthy(self) -> None:
        """The cache is healthy while its connection is up."""
        self.assertTrue(self.cache.healthy)
        self.connection.up = False
        self.connection.trouble = "the connection was lost"
        self.assertFalse(self.cache.healthy)
        self.assertEqual(self.cache.trouble, "the connection was lost")

    def test_start_and_stop(self) -> None:
        """Starting and stopping is the connection's matter."""
        self.run_now(self.cache.start())
        self.assertTrue(self.connection.running)
        self.run_now(self.cache.stop())
        self.assertFalse(self.connection.running)

    def test_memory_is_asked_first(self) -> None:
        """What this worker knows by id costs no question to Redis."""
        self.run_now(self.cache.add_inbound(inbound(1), False))
        self.run_now(self.cache.add_outbound(outbound(2)))
        self.assertEqual(self.connection.scripts(), [ADD_INBOUND, ADD_OUTBOUND])
        self.run_now(self.cache.get_inbound(f"{1:032x}"))
        self.run_now(self.cache.get_recipient(f"{2:032x}"))
        self.assertEqual(self.connection.scripts(), [])

    def test_other_workers_message(self) -> None:
        """What another worker has written is found, by id and by person."""
        self.connection.answers = {
            GET: inbound(7).to_json(),
            GET_LAST: [inbound(7).to_json(), b"0"],
        }
        by_id = self.run_now(self.cache.get_inbound(f"{7:032x}"))
        last = self.run_now(self.cache.get_last_inbound(PERSON))
        self.assertEqual((by_id.message_id, last.message_id), (f"{7:032x}", f"{7:032x}"))
        self.assertEqual(
            [(script, keys) for script, keys, _ in self.connection.calls],
            [(GET, (f"vumi_turn:in:{7:032x}",)), (GET_LAST, ("vumi_turn:person:26612345678",))],
        )

    def test_another_worker_knows_a_newer_one(self) -> None:
        """Of two last messages the newer one counts, whoever knows it."""
        self.run_now(self.cache.add_inbound(inbound(2, 20), False))
        for second, expected in ((30, f"{9:032x}"), (10, f"{2:032x}")):
            self.connection.answers[GET_LAST] = [inbound(9, second).to_json(), b"0"]
            last = self.run_now(self.cache.get_last_inbound(PERSON))
            self.assertEqual(last.message_id, expected)

    def test_redis_has_forgotten(self) -> None:
        """A Redis that lost its data does not end the sessions of this worker."""
        self.run_now(self.cache.add_inbound(inbound(1), False))
        last = self.run_now(self.cache.get_last_inbound(PERSON))
        self.assertEqual(last.message_id, f"{1:032x}")

    def test_unreadable_entry(self) -> None:
        """What Redis holds and we cannot read is not known."""
        self.connection.answers = {GET: b"[]", GET_LAST: [b"{", b"0"]}
        self.assertIsNone(self.run_now(self.cache.get_inbound(f"{1:032x}")))
        self.assertIsNone(self.run_now(self.cache.get_last_inbound(PERSON)))

    def test_content_is_not_written(self) -> None:
        """What the person said is not sent to Redis."""
        self.run_now(self.cache.add_inbound(inbound(1, content="marker-content"), False))
        self.assertNotIn("marker-content", repr(self.connection.calls))

    def test_catch_up(self) -> None:
        """What was missed is written once Redis is back, in order, as redelivered, and once only."""
        self.connection.up = False
        self.run_now(self.cache.add_inbound(inbound(1), False))
        self.run_now(self.cache.add_outbound(outbound(2)))
        self.run_now(self.cache.close_session(PERSON))
        self.connection.up = True
        self.run_now(self.cache.catch_up())
        flag = self.connection.calls[0][2][4]
        closes = self.connection.calls[2][2]
        self.assertEqual(self.connection.scripts(), [ADD_INBOUND, ADD_OUTBOUND, CLOSE_SESSION])
        self.assertEqual((flag, closes), (1, (f"{1:032x}",)))
        self.run_now(self.cache.catch_up())
        self.assertEqual(self.connection.scripts(), [])

    def test_catch_up_interrupted(self) -> None:
        """What could not be written at the first attempt is written at the next."""
        self.connection.up = False
        self.run_now(self.cache.add_inbound(inbound(1), False))
        self.failureResultOf(ensureDeferred(self.cache.catch_up()), RedisAway)
        self.connection.up = True
        self.run_now(self.cache.catch_up())
        self.assertEqual(self.connection.scripts(), [ADD_INBOUND])

    def test_backlog_is_bounded(self) -> None:
        """A long absence of Redis does not fill the memory."""
        self.connection.up = False
        for number in range(BACKLOG + 5):
            self.run_now(self.cache.add_outbound(outbound(number)))
        self.assertEqual(len(self.cache._backlog), BACKLOG)

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

    def test_key_prefix(self) -> None:
        """Each key begins with key_prefix."""
        cache = RedisMessageCache({"url": URL, "key_prefix": "p/"}, Clock(), self.connection)
        self.run_now(cache.add_inbound(inbound(1), False))
        self.assertEqual(self.connection.calls[0][1], (f"p/in:{1:032x}", "p/person:26612345678"))


class RedisAddressTests(SynchronousTestCase):
    """The url."""

    def test_connecting(self) -> None:
        """Names, also of Docker's services with their underscores, and addresses can be connected to."""
        for url in (
            "redis://cache:7000", "redis://redis_cache:7000", "redis://[::1]:7000", "redis://192.0.2.7:7000",
            "rediss://cache:7000", "rediss://[::1]:7000",
        ):  # fmt: skip
            reactor = ResolvingReactor()
            RedisAddress.from_url(url).endpoint(reactor).connect(Factory())
            self.assertEqual([client[1] for client in reactor.tcpClients], [7000], url)

    def test_no_host_of_a_certificate(self) -> None:
        """A host name that no certificate can be for is refused, with TLS only."""
        for host in ("redis_cache", "a..b", "-a"):
            error = self.assertRaises(ValueError, RedisAddress.from_url, f"rediss://u:s3cret@{host}:7000")
            self.assertTrue(str(error).startswith("must name a host that a certificate can be for"), error)
            self.assertNotIn("s3cret", str(error))

    def test_all_parts(self) -> None:
        """A url may hold user, password (percent-encoded), host, port and database; rediss is TLS."""
        self.assertEqual(
            RedisAddress.from_url("rediss://me:p%40ss@[::1]:6380/3"),
            RedisAddress("::1", 6380, "me", "p@ss", 3, True),
        )

    def test_defaults(self) -> None:
        """Port 6379 and database 0 need not be named."""
        expected = RedisAddress("cache", 6379, "", "", 0, False)
        self.assertEqual(RedisAddress.from_url("redis://cache/"), expected)

    def test_password_is_not_shown(self) -> None:
        """Neither repr nor str shows the password."""
        address = RedisAddress.from_url(URL)
        self.assertNotIn("s3cret", repr(address) + str(address))
        self.assertEqual(str(address), "redis.example:6380")


class Transport(StringTransport):
    """A transport whose abort is noticed by the protocol at once."""

    protocol: Any = None

    def abortConnection(self) -> None:
        if self.protocol is not None:
            protocol, self.protocol = self.protocol, None
            protocol.connectionLost(Failure(ConnectionDone()))


class Endpoint:
    """Connects as the test says: ``refused``, ``silent``, ``cancellable`` or ``open``."""

    def __init__(self) -> None:
        self.mood = "open"
        self.attempts = 0
        self.transport = Transport()

    def connect(self, factory: Any) -> Deferred[Any]:
        self.attempts += 1
        if self.mood == "refused":
            return fail(ConnectionRefusedError())
        if self.mood == "silent":
            return Deferred()
        if self.mood == "cancellable":  # as Twisted's endpoints are
            return Deferred(lambda attempt: attempt.errback(ConnectingCancelledError(None)))
        protocol = factory.buildProtocol(None)
        self.transport = Transport()
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        return succeed(protocol)

    def sent(self) -> bytes:
        """What was written since the last time this was asked."""
        value: bytes = self.transport.value()
        self.transport.clear()
        return value

    def answer(self, data: bytes, clock: Clock) -> None:
        """Let Redis say this; txredisapi reads on with the reactor's next turns."""
        self.transport.protocol.dataReceived(data)
        clock.pump([0] * 5)


class RedisConnectionTests(SynchronousTestCase):
    """The connection that mends itself."""

    if txredisapi is None:
        skip = "needs txredisapi: pip install '.[redis]'"

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.caught_up = 0
        self.connection = self.make_connection("redis://127.0.0.1")

    def make_connection(self, url: str) -> RedisConnection:
        """A connection that the test's endpoint makes."""

        async def on_up() -> None:
            self.caught_up += 1

        return RedisConnection(RedisAddress.from_url(url), self.clock, on_up, cast(Any, self.endpoint))

    def start(self) -> Deferred[None]:
        """Start the connection."""
        return ensureDeferred(self.connection.start())

    def stop(self) -> None:
        """Stop it; nothing may be left behind."""
        self.successResultOf(ensureDeferred(self.connection.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def come_up(self) -> None:
        """Start it, and let Redis answer the PING."""
        started = self.start()
        self.endpoint.answer(b"+PONG\r\n", self.clock)
        self.successResultOf(started)
        self.endpoint.sent()

    def ask(self, answer_is: Optional[bytes] = None) -> Deferred[Any]:
        """Ask something."""
        asked = ensureDeferred(self.connection.evaluate("return 1", ["key"], ["argument"]))
        if answer_is is not None:
            self.endpoint.answer(answer_is, self.clock)
        return asked

    def test_up(self) -> None:
        """It is up once Redis has answered a PING and what was missed has been written."""
        started = self.start()
        self.assertEqual(self.endpoint.sent(), b"*1\r\n$4\r\nPING\r\n")
        self.assertFalse(self.connection.up)
        self.endpoint.answer(b"+PONG\r\n", self.clock)
        self.successResultOf(started)
        self.assertEqual((self.connection.up, self.caught_up), (True, 1))
        self.stop()
        self.assertFalse(self.connection.up)

    def test_stopped_as_soon_as_started(self) -> None:
        """Who stops it in the moment in which the start has ended leaves nothing behind either."""
        self.start().addCallback(lambda ignored: self.stop())
        self.endpoint.answer(b"+PONG\r\n", self.clock)
        self.assertEqual((self.connection.up, self.clock.getDelayedCalls()), (False, []))
        self.assertIsNone(self.endpoint.transport.protocol)

    def test_stopped_while_connecting(self) -> None:
        """Who stops an attempt is not told that Redis is away."""
        self.endpoint.mood = "cancellable"
        started = self.start()
        lines = self.capture()
        self.stop()
        self.successResultOf(started)
        self.assertEqual((lines, self.connection.trouble), ([], ""))

    def test_password_and_database(self) -> None:
        """The password and the database of the url are used, before anything else."""
        self.connection = self.make_connection("redis://me:s3cret@h/3")
        self.start()
        self.assertIn(b"$4\r\nAUTH\r\n$2\r\nme\r\n$6\r\ns3cret\r\n", self.endpoint.sent())
        self.endpoint.answer(b"+OK\r\n", self.clock)
        self.assertEqual(self.endpoint.sent(), b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n")
        self.endpoint.answer(b"+OK\r\n", self.clock)
        self.assertEqual(self.endpoint.sent(), b"*1\r\n$4\r\nPING\r\n")
        self.stop()

    def test_wrong_password_is_tried_again(self) -> None:
        """A refused password is tried again later, and said without the password."""
        lines = self.capture()
        self.connection = self.make_connection("redis://:s3cret@h")
        started = self.start()
        self.endpoint.answer(b"-WRONGPASS invalid password\r\n", self.clock)
        self.successResultOf(started)
        self.assertFalse(self.connection.up)
        self.assertEqual(len(lines), 1)
        self.assertIn("WRONGPASS", lines[0])
        self.assertNotIn("s3cret", lines[0])
        self.assertIn("Redis at h:6379: RedisAway: ResponseError: WRONGPASS", self.connection.trouble)
        self.clock.advance(0.5)
        self.endpoint.answer(b"+OK\r\n", self.clock)
        self.endpoint.answer(b"+PONG\r\n", self.clock)
        self.assertEqual((self.connection.up, self.connection.trouble), (True, ""))
        self.stop()

    def test_answer(self) -> None:
        """An answer is handed on as bytes, numbers that are text too."""
        self.come_up()
        self.assertEqual(self.successResultOf(self.ask(b"$3\r\n007\r\n")), b"007")
        self.assertEqual(self.successResultOf(self.ask(b"$-1\r\n")), None)
        self.assertEqual(self.successResultOf(self.ask(b"*2\r\n$1\r\na\r\n$-1\r\n")), [b"a", None])
        self.stop()

    def test_start_is_not_held_up(self) -> None:
        """A Redis that does not answer holds the start up for half a second."""
        self.capture()
        self.endpoint.mood = "silent"
        started = self.start()
        self.clock.advance(0.4)
        self.assertNoResult(started)
        self.clock.advance(0.1)
        self.successResultOf(started)
        self.assertFalse(self.connection.up)
        self.stop()

    def test_start_with_redis_down(self) -> None:
        """A Redis that refuses the connection does not hold the start up at all."""
        self.capture()
        self.endpoint.mood = "refused"
        self.successResultOf(self.start())
        self.failureResultOf(self.ask(), RedisAway)
        self.stop()

    def test_silence_ends_the_connection(self) -> None:
        """No answer in half a second fails the question, and a new connection is made."""
        self.capture()
        self.come_up()
        asked = self.ask()
        self.clock.advance(0.49)
        self.assertNoResult(asked)
        self.clock.advance(0.01)
        self.failureResultOf(asked, RedisAway)
        self.assertFalse(self.connection.up)
        self.clock.advance(0.5)
        self.assertEqual(self.endpoint.attempts, 2)
        self.endpoint.answer(b"+PONG\r\n", self.clock)
        self.assertEqual((self.connection.up, self.caught_up), (True, 2))
        self.stop()

    def test_refusal_ends_the_connection(self) -> None:
        """A Redis that refuses to work (out of memory, read only) counts as away."""
        lines = self.capture()
        self.come_up()
        self.failureResultOf(self.ask(b"-OOM command not allowed\r\n"), RedisAway)
        self.assertFalse(self.connection.up)
        self.assertEqual(len(lines), 1)
        self.stop()

    def test_lost_connection_fails_all_questions(self) -> None:
        """A lost connection fails the questions under way at once."""
        self.capture()
        self.come_up()
        asked = [self.ask(), self.ask()]
        self.endpoint.transport.abortConnection()
        for question in asked:
            self.failureResultOf(question, RedisAway)
        self.failureResultOf(self.ask(), RedisAway)
        self.stop()

    def test_caller_gives_up(self) -> None:
        """A question that its caller cancels does not harm the connection, nor the next question's answer."""
        self.come_up()
        first, second = self.ask(), self.ask()
        first.addErrback(lambda failure: None)
        first.cancel()
        self.endpoint.answer(b"$1\r\n1\r\n$1\r\n2\r\n", self.clock)
        self.assertEqual(self.successResultOf(second), b"2")
        self.assertTrue(self.connection.up)
        self.stop()

    def test_delays(self) -> None:
        """Attempts to connect come after 0.5 s doubling to 5 s."""
        self.capture()
        self.endpoint.mood = "refused"
        self.start()
        times = []
        for eighth in range(1, 160):
            before = self.endpoint.attempts
            self.clock.advance(0.125)
            if self.endpoint.attempts > before:
                times.append(eighth / 8)
        self.assertEqual(times, [0.5, 1.5, 3.5, 7.5, 12.5, 17.5])
        self.stop()

    def test_delays_start_anew(self) -> None:
        """Once Redis has been up, the first attempt after a loss comes after 0.5 s again."""
        self.capture()
        self.endpoint.mood = "refused"
        self.start()
        self.clock.pump([0.5] * 14)
        self.endpoint.mood = "open"
        self.clock.pump([0.5])
        self.endpoint.answer(b"+PONG\r\n", self.clock)
        self.assertTrue(self.connection.up)
        attempts = self.endpoint.attempts
        self.endpoint.transport.abortConnection()
        self.clock.advance(0.49)
        self.assertEqual(self.endpoint.attempts, attempts)
        self.clock.advance(0.01)
        self.assertEqual(self.endpoint.attempts, attempts + 1)
        self.stop()

    def test_one_log_line_a_minute(self) -> None:
        """An absence of Redis is one log line at once, then one a minute, and one when it is back."""
        lines = self.capture()
        self.endpoint.mood = "refused"
        self.start()
        self.assertEqual(len(lines), 1)
        self.clock.pump([0.5] * 300)
        self.assertEqual(len(lines), 3)
        self.endpoint.mood = "open"
        attempts = self.endpoint.attempts
        while self.endpoint.attempts == attempts:
            self.clock.advance(0.5)
        self.endpoint.answer(b"+PONG\r\n", self.clock)
        self.assertEqual(len(lines), 4)
        self.assertIn("is back after 15", lines[3])
        self.stop()

    def capture(self) -> list[str]:
        """The log lines of this room from here on, as text."""
        from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if str(event.get("log_namespace", "")).startswith("vumi_turn."):
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return lines
