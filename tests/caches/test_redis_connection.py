"""Where Redis is, and the connection that mends itself, without a Redis."""

from __future__ import annotations

from typing import Any, Callable, Optional, cast

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.error import ConnectingCancelledError, ConnectionDone, ConnectionRefusedError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.cases import case
from tests.http.resolving import ResolvingReactor
from vumi_turn.caches.redis_address import RedisAddress
from vumi_turn.caches.redis_connection import RedisAway, RedisConnection, ScriptFailed, WriteRefused
from vumi_turn.timing.named_log import connector_of

try:
    import txredisapi
except ImportError:
    txredisapi = None


URL = "redis://:s3cret@redis.example:6380/3"


class Listener:
    """Counts what it is told."""

    def __init__(self, connector: str = "", key_prefix: str = "k:") -> None:
        self.connector, self.key_prefix = connector, key_prefix
        self.ups = self.downs = 0

    def redis_up(self) -> None:
        self.ups += 1

    def redis_down(self) -> None:
        self.downs += 1


class RedisAddressTests(SynchronousTestCase):
    """The url."""

    def test_connecting(self) -> None:
        """Names, also of Docker's services with their underscores, and addresses can be connected to."""
        for url in (
            "redis://cache:7000", "redis://redis_cache:7000", "redis://[::1]:7000", "redis://192.0.2.7:7000",
            "rediss://cache:7000", "rediss://[::1]:7000",
        ):  # fmt: skip
            with case(url=url):
                reactor = ResolvingReactor()
                RedisAddress.from_url(url).endpoint(reactor).connect(Factory())
                self.assertEqual([client[1] for client in reactor.tcpClients], [7000])

    def test_no_host_of_a_certificate(self) -> None:
        """A host name that no certificate can be for is refused, with TLS only."""
        for host in ("redis_cache", "a..b", "-a"):
            with case(host=host):
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
        self.listener = Listener()
        self.connection = self.make_connection("redis://127.0.0.1")

    def make_connection(self, url: str) -> RedisConnection:
        """A connection that the test's endpoint makes."""
        return RedisConnection(RedisAddress.from_url(url), self.clock, cast(Any, self.endpoint))

    def start(self) -> Deferred[None]:
        """Start the connection."""
        return ensureDeferred(self.connection.start(self.listener))

    def stop(self) -> None:
        """Stop it; nothing may be left behind."""
        self.successResultOf(ensureDeferred(self.connection.stop(self.listener)))
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
        self.assertEqual((self.connection.up, self.listener.ups), (True, 1))
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
        self.assertEqual((self.connection.up, self.listener.ups), (True, 2))
        self.stop()

    def test_stood_still(self) -> None:
        """Answers that arrived while the process stood still are read before the connection is given up."""
        self.come_up()
        asked = [self.ask() for _ in range(5)]
        self.clock.callLater(0.5, self.endpoint.transport.protocol.dataReceived, b"$1\r\n7\r\n" * 5)
        self.clock.advance(0.5)
        self.assertEqual([self.successResultOf(each) for each in asked], [b"7"] * 5)
        self.assertTrue(self.connection.up)
        self.stop()

    def test_stood_still_with_one_answer(self) -> None:
        """What was not answered in time is given up all the same, also where others were."""
        self.capture()
        self.come_up()
        one, two = self.ask(), self.ask()
        self.clock.callLater(0.5, self.endpoint.transport.protocol.dataReceived, b"$1\r\n7\r\n")
        self.clock.advance(0.5)
        self.assertEqual(self.successResultOf(one), b"7")
        self.failureResultOf(two, RedisAway)
        self.assertFalse(self.connection.up)
        self.stop()

    def test_refusal_ends_the_connection(self) -> None:
        """A Redis that refuses to work (read only, still loading) counts as away."""
        lines = self.capture()
        self.come_up()
        for answer in (b"-READONLY You can't write against a read only replica.\r\n", b"-LOADING Redis is loading\r\n"):
            with case(answer=answer):
                self.failureResultOf(self.ask(answer), RedisAway)
                self.assertFalse(self.connection.up)
                self.clock.advance(0.5)
                self.endpoint.answer(b"+PONG\r\n", self.clock)
        self.assertEqual(len(lines), 2)
        self.assertEqual((self.listener.ups, self.listener.downs), (3, 2))
        self.stop()

    def test_refusal_of_a_command(self) -> None:
        """A Redis without memory for more, or a script that fails on a key, leaves the connection alone."""
        self.come_up()
        for answer, error in (
            (
                b"-OOM command not allowed when used memory > 'maxmemory'. script: 7d, on @user_script:1.\r\n",
                WriteRefused,
            ),
            (b"-ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed\r\n", WriteRefused),
            (b"-MISCONF Redis is configured to save RDB snapshots\r\n", WriteRefused),
            (b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", ScriptFailed),
            (
                b"-ERR user_script:3: attempt to perform arithmetic on a nil value script: f, on @user_script:3.\r\n",
                ScriptFailed,
            ),
        ):
            self.failureResultOf(self.ask(answer), error)
        self.assertEqual((self.connection.up, self.listener.downs), (True, 0))
        self.stop()

    def test_shared(self) -> None:
        """A connection with two users connects once, tells both, and is closed with the last of them."""
        self.come_up()
        other = Listener()
        self.successResultOf(ensureDeferred(self.connection.start(other)))
        self.assertEqual((other.ups, self.endpoint.attempts), (1, 1))
        self.successResultOf(ensureDeferred(self.connection.stop(self.listener)))
        self.assertTrue(self.connection.up)
        self.successResultOf(ensureDeferred(self.connection.stop(other)))
        self.assertEqual((self.connection.up, self.clock.getDelayedCalls()), (False, []))

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

    def test_names_its_users(self) -> None:
        """Its lines name the connector, where one uses it; else the connectors, and the keys of what is none's."""
        many = [Listener(f"c{number:02}") for number in range(11)]
        for listeners, connector, words in (
            ([Listener("ussd"), Listener("ussd")], "ussd", "still trying"),
            ([Listener("ussd"), Listener("sms")], "", "still trying (for sms, ussd)"),
            ([Listener("", "sessions:")], "", "still trying (for keys sessions:…)"),
            (many, "", "still trying (for c00, c01, c02, c03, c04, c05, c06, c07, c08, c09 and 1 more)"),
        ):
            with case(words=words):
                self.endpoint.mood = "silent"
                connection = self.make_connection("redis://127.0.0.1")
                started = [ensureDeferred(connection.start(listener)) for listener in listeners]
                events = self.capture_events()
                self.clock.advance(10)
                self.assertEqual([connector_of(event) for event in events], [connector])
                self.assertTrue(formatEvent(events[0]).endswith(words), formatEvent(events[0]))
                self.endpoint.mood = "open"
                self.clock.advance(0.5)
                self.endpoint.answer(b"+PONG\r\n", self.clock)
                self.assertEqual(connector_of(events[1]), connector)
                self.assertIn("is back after", formatEvent(events[1]))
                for listener, start in zip(listeners, started, strict=True):
                    self.successResultOf(start)
                    self.successResultOf(ensureDeferred(connection.stop(listener)))

    def capture(self) -> list[str]:
        """The log lines of this room from here on, as text."""
        lines: list[str] = []
        self.observe(lambda event: lines.append(formatEvent(event)))
        return lines

    def capture_events(self) -> list[LogEvent]:
        """The same as events."""
        events: list[LogEvent] = []
        self.observe(events.append)
        return events

    def observe(self, take: Callable[[LogEvent], object]) -> None:
        """Hand on each event of this package."""

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if str(event.get("log_namespace", "")).startswith("vumi_turn."):
                take(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
