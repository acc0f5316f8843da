"""The HTTP server's limits of size and time."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http.case import Client, chunked, request, take_turns
from vumi_turn.http.connection import ARRIVAL_TIME, BEYOND_LIMIT_TIME, IDLE_TIME, LINGER_SIZE, LINGER_TIME, RESET_TIME
from vumi_turn.http.responses import HttpDate, respond
from vumi_turn.http.server import MIN_WAIT, BoundedSite, Paths
from vumi_turn.timing.debug_lines import debug_lines

LIMIT = 1000
MAX_HELD = 2500


class Echo(Resource):
    """Answers with the body, at once or when it is told to."""

    isLeaf = True

    def __init__(self, name: bytes = b"") -> None:
        super().__init__()
        self.name = name
        self.seen: list[Any] = []
        self.bodies: list[bytes] = []
        self.at_once = True

    def render(self, request: Any) -> Any:
        self.seen.append(request)
        self.bodies.append(request.content.read())
        if not self.at_once:
            return NOT_DONE_YET
        return respond(request, 200, self.name or self.bodies[-1], b"text/plain")

    def answer(self) -> None:
        """Answer the oldest request that waits."""
        request = self.seen.pop(0)
        request.write(respond(request, 200, b"late", b"text/plain"))
        request.finish()


class SiteCase(SynchronousTestCase):
    """A site with a resource that echoes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.echo = Echo()
        self.titles: list[str] = []
        self.site = BoundedSite(
            self.echo, self.clock, LIMIT, 3, lambda error: self.titles.append(error.title), max_held=MAX_HELD
        )
        self.clients: list[Client] = []
        self.addCleanup(self.nothing_is_left)

    def connect(self) -> Client:
        client = Client(self.site)
        self.clients.append(client)
        return client

    def nothing_is_left(self) -> None:
        for client in self.clients:
            if not client.refused:
                client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.site.connections, self.site.held), (0, 0))

    def assertTooLarge(self, client: Client) -> None:
        response = client.response()
        self.assertEqual(response.error, (413, 413, "BodyTooLarge"))
        self.assertEqual(response.headers["connection"], "close")
        self.assertTrue(client.transport.half_closed)
        self.assertEqual(self.echo.bodies, [])
        self.assertEqual(self.titles, ["BodyTooLarge"])


class HeadTests(SiteCase):
    def test_before_its_body(self) -> None:
        """A resource that has nothing to say yet may have the head of its answer written."""
        self.echo.at_once = False
        client = self.connect()
        client.send(request())
        waiting = self.echo.seen[0]
        respond(waiting, 200, b"late", b"text/plain")
        waiting.write(b"")
        self.assertTrue(client.transport.value().endswith(b"\r\n\r\n"))
        waiting.write(b"late")
        waiting.finish()
        self.assertEqual(client.response().body, b"late")

    def test_without_a_body(self) -> None:
        """An answer without a body is its head."""
        self.echo.at_once = False
        client = self.connect()
        client.send(request())
        respond(self.echo.seen[0], 200, b"", b"text/plain")
        self.echo.seen[0].finish()
        self.assertEqual((client.response().status, self.echo.bodies), (200, [b""]))

    def test_date_and_server(self) -> None:
        """An answer has the time, as it is when it is made, and does not say which server this is."""
        client = self.connect()
        client.send(request())
        headers = client.response().headers
        said = parsedate_to_datetime(headers["date"])
        self.assertLess(abs((datetime.now(timezone.utc) - said).total_seconds()), 60)
        self.assertTrue(headers["date"].endswith(" gmt"), headers["date"])
        self.assertNotIn("server", headers)

    def test_whole_server(self) -> None:
        """What asks for the whole server is not found."""
        client = self.connect()
        client.send(request("OPTIONS", "*"))
        self.assertEqual(client.response().error[2], "NotFound")


class HttpDateTests(SynchronousTestCase):
    def test_format(self) -> None:
        """RFC 9110's own example."""
        self.assertEqual(HttpDate(lambda: 784111777.9).now(), b"Sun, 06 Nov 1994 08:49:37 GMT")

    def test_once_a_second(self) -> None:
        """It is made once a second, and again when the clock was set back."""
        clock = [100.0]
        date = HttpDate(lambda: clock[0])
        first = date.now()
        clock[0] = 100.9
        self.assertIs(date.now(), first)
        for seconds, text in ((101.0, b"Thu, 01 Jan 1970 00:01:41 GMT"), (50.0, b"Thu, 01 Jan 1970 00:00:50 GMT")):
            clock[0] = seconds
            self.assertEqual(date.now(), text)


class SizeTests(SiteCase):
    def test_largest(self) -> None:
        """A body of exactly the limit is taken, with its length or in chunks."""
        body = b"x" * LIMIT
        client = self.connect()
        client.send(request(body=body))
        self.assertEqual(client.response().body, body)
        client.send(chunked([body[:400], body[400:]]))
        self.assertEqual(client.response().body, body)
        self.assertEqual(self.titles, [])

    def test_by_its_length(self) -> None:
        """A body that says it is larger is refused before any of it has come."""
        client = self.connect()
        client.send(request(body=b"x" * (LIMIT + 1))[: -LIMIT - 1])
        self.assertTooLarge(client)

    def test_not_asked_for(self) -> None:
        """A client that asks first is not told to go on with a body that is too large."""
        client = self.connect()
        head = request(body=b"x" * 2000, headers={"Expect": "100-continue"})[:-2000]
        client.send(head)
        self.assertTooLarge(client)

    def test_asked_for(self) -> None:
        """A client that asks first is told to go on where the body is small enough."""
        client = self.connect()
        whole = request(body=b"hello", headers={"Expect": "100-continue"})
        client.send(whole[:-5])
        self.assertEqual(client.response().status, 100)
        client.send(whole[-5:])
        self.assertEqual(client.response().body, b"hello")

    def test_chunks_are_counted(self) -> None:
        """A body in chunks is refused as soon as it is too large, and its rest is not kept."""
        client = self.connect()
        client.send(chunked([b"x" * 600, b"x" * 600, b"x" * 600])[:-100])
        self.assertTooLarge(client)
        client.send(b"x" * 100_000)
        self.assertTrue(client.silent())
        self.assertEqual(client.transport.protocol._dataBuffer, [])

    def test_whole_in_one_piece(self) -> None:
        """What comes behind a refused body in the same packet is no request."""
        client = self.connect()
        client.send(request(body=b"x" * 2000) + request(body=b"smuggled"))
        self.assertTooLarge(client)

    def test_huge_length(self) -> None:
        """A length of thousands of digits is a body that is too large, and no traceback."""
        for name in ("Content-Length", "content-length"):
            for digits in (50, 5000):
                client = self.connect()
                client.send(request(headers={name: "9" * digits}) + b"x")
                self.assertTooLarge(client)
                self.titles.clear()
                client.leave()

    def test_long_length_of_a_small_body(self) -> None:
        """Neither does one with as many zeros before it pass."""
        client = self.connect()
        client.send(request(headers={"Content-Length": "0" * 5000 + "1"}) + b"x")
        self.assertTooLarge(client)

    def test_all_together(self) -> None:
        """What is held of all bodies is bounded: the next one is 503, and what is answered makes room again."""
        first, second, third = self.connect(), self.connect(), self.connect()
        for client in (first, second):
            client.send(request(body=b"x" * 1000)[:-1])
        third.send(request(body=b"y" * 600))
        response = third.response()
        self.assertEqual(response.error, (503, 503, "ServerBusy"))
        self.assertEqual(response.headers["retry-after"], "1")
        self.assertEqual(self.site.held, 1998)
        first.send(b"x")
        self.assertEqual(len(first.response().body), 1000)
        self.assertEqual(self.site.held, 999)
        third.leave()
        third = self.connect()
        third.send(request(body=b"y" * 600))
        self.assertEqual(third.response().status, 200)

    def test_held_until_answered(self) -> None:
        """A body is held until its request has been answered, or its client has gone."""
        self.echo.at_once = False
        first, second = self.connect(), self.connect()
        for client in (first, second):
            client.send(request(body=b"x" * 500))
        self.assertEqual(self.site.held, 1000)
        self.echo.answer()
        self.assertEqual(self.site.held, 500)
        second.leave()
        self.assertEqual(self.site.held, 0)

    def test_compressed(self) -> None:
        """A body with an encoding is a 415 before it is asked for; one that says it has none is taken."""
        for encoding in ("gzip", "identity, GZIP", "br"):
            client = self.connect()
            client.send(request(body=b"x" * 100, headers={"Content-Encoding": encoding})[:-100])
            response = client.response()
            self.assertEqual(response.error, (415, 415, "UnsupportedMediaType"))
            self.assertEqual(response.headers["accept-encoding"], "identity")
            client.leave()
        self.assertEqual(self.echo.bodies, [])
        client = self.connect()
        client.send(request(body=b"x", headers={"Content-Encoding": "Identity"}))
        self.assertEqual(client.response().status, 200)

    def test_lingers(self) -> None:
        """After a refusal what still comes is thrown away, for a moment; then the connection is cut."""
        client = self.connect()
        client.send(request(body=b"x" * 2000)[:-1000])
        self.assertTooLarge(client)
        for _ in range(10):
            self.clock.advance(LINGER_TIME / 11)
            client.send(b"x" * 100)
        self.assertFalse(client.transport.gone)
        self.clock.advance(LINGER_TIME / 10)
        self.assertTrue(client.transport.gone)

    def test_lingers_for_so_much(self) -> None:
        """What still comes is thrown away up to a size, too."""
        client = self.connect()
        client.send(request(headers={"Content-Length": str(LIMIT + 1)}))
        self.assertTooLarge(client)
        piece = b"x" * (LINGER_SIZE // 4)
        for _ in range(4):
            client.send(piece)
        self.assertFalse(client.transport.gone)
        client.send(b"x")
        self.assertTrue(client.transport.gone)

    def test_others_are_served(self) -> None:
        """A refused client disturbs nobody else."""
        self.connect().send(request(body=b"x" * 2000))
        client = self.connect()
        client.send(request(body=b"hello"))
        self.assertEqual(client.response().body, b"hello")

    def test_header_flood(self) -> None:
        """Too many headers, or too long ones, are a 400 in JSON and the end of the connection."""
        for head in (
            b"".join(b"X-%d: y\r\n" % n for n in range(200)),
            b"".join(b"X-%d: %b\r\n" % (n, b"y" * 1000) for n in range(20)),
            b"X: " + b"y" * 100_000,
        ):
            client = self.connect()
            client.send(b"GET / HTTP/1.1\r\n" + head + b"\r\n\r\n" + request(body=b"smuggled"))
            self.assertEqual(client.response().error, (400, 400, "ApiUsageError"))
            self.assertTrue(client.transport.half_closed)
            client.leave()
        self.assertEqual(self.echo.bodies, [])

    def test_no_http(self) -> None:
        """What is no HTTP is a 400 in JSON, and said once."""
        for junk in (
            b"\x16\x03\x01\x02\x00\r\n\r\n",
            b"GET /\r\n\r\n",
            b"\x00\xff" * 20_000,
            b"GET / HTTP/1.1\r\nno colon\r\nnor here\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"e" * 70_000,
        ):
            client = self.connect()
            client.send(junk)
            self.assertEqual(client.response().error, (400, 400, "ApiUsageError"), junk[:60])
            client.leave()
        self.assertEqual(self.echo.bodies, [])

    def test_form_is_not_read(self) -> None:
        """A body is bytes whatever its type says it is."""
        client = self.connect()
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
            client.send(request(body=b"a=b&c=d", headers={"Content-Type": kind}))
            self.assertEqual(client.response().body, b"a=b&c=d")
            self.assertEqual(self.echo.seen[-1].args, {})


class TimeTests(SiteCase):
    def test_slow_headers(self) -> None:
        """A request has to arrive within a time, and bytes that trickle in don't prolong it."""
        client = self.connect()
        client.send(b"POST /messages HTTP/1.1\r\n")
        for n in range(19):
            self.clock.advance(ARRIVAL_TIME / 20)
            client.send(b"X-%d: y\r\n" % n)
        self.assertFalse(client.transport.gone)
        self.clock.advance(ARRIVAL_TIME / 20)
        self.assertTrue(client.transport.gone)

    def test_slow_body(self) -> None:
        """The time is that of the whole request, with its body."""
        client = self.connect()
        client.send(request(body=b"x" * 100)[:-100])
        for _ in range(19):
            self.clock.advance(ARRIVAL_TIME / 20)
            client.send(b"x")
        self.assertFalse(client.transport.gone)
        self.clock.advance(ARRIVAL_TIME / 20)
        self.assertTrue(client.transport.gone)
        self.assertEqual(self.echo.bodies, [])

    def test_not_while_answering(self) -> None:
        """Our own time to answer is not the client's."""
        self.echo.at_once = False
        client = self.connect()
        client.send(request(body=b"x"))
        self.clock.advance(10 * IDLE_TIME)
        self.assertFalse(client.transport.gone)
        self.echo.answer()
        self.assertEqual(client.response().body, b"late")

    def test_idle(self) -> None:
        """A connection without a request is closed after a while, a new one and a used one."""
        new, used = self.connect(), self.connect()
        used.send(request(body=b"x"))
        self.clock.advance(IDLE_TIME - 1)
        self.assertFalse(new.transport.gone or used.transport.gone)
        self.clock.advance(1)
        self.assertTrue(new.transport.gone and used.transport.gone)

    def test_next_request_has_its_own_time(self) -> None:
        """The time for a request runs from its own first byte."""
        client = self.connect()
        for _ in range(3):
            whole = request(body=b"hello")
            client.send(whole[:-1])
            self.clock.advance(ARRIVAL_TIME - 1)
            client.send(whole[-1:])
            self.assertEqual(client.response().body, b"hello")
            self.clock.advance(IDLE_TIME - 1)

    def test_pipelined_part(self) -> None:
        """A request that began to come while another was answered has its time, too."""
        self.echo.at_once = False
        client = self.connect()
        client.send(request(body=b"one") + request(body=b"two")[:-1])
        self.clock.advance(2 * ARRIVAL_TIME)
        self.echo.answer()
        self.assertFalse(client.transport.gone)
        self.clock.advance(ARRIVAL_TIME)
        self.assertTrue(client.transport.gone)

    def test_pipelined_flood(self) -> None:
        """While one request is answered, those behind it are not read without end."""
        self.echo.at_once = False
        client = self.connect()
        client.send(request(body=b"one"))
        for _ in range(40):
            client.send(request(body=b"x" * 900))
            if client.transport.producerState == "paused":
                break
        self.assertEqual(client.transport.producerState, "paused")
        self.assertEqual(self.echo.bodies, [b"one"])


class TurnTests(SiteCase):
    """Many requests of one client at once."""

    def test_one_at_a_time(self) -> None:
        """Between any two requests of a client the reactor sees to others; nothing more is read meanwhile."""
        client, other = self.connect(), self.connect()
        bodies = [b"one", b"two", b"three", b"four"]
        client.send(b"".join(request(body=body) for body in bodies) + request(body=b"five")[:-1])
        self.assertEqual(self.echo.bodies, [b"one"])
        self.assertEqual(client.transport.producerState, "paused")
        other.send(request(body=b"other"))
        self.assertEqual(take_turns(self.clock), 4)
        self.assertEqual(self.echo.bodies, [b"one", b"other", b"two", b"three", b"four"])
        self.assertEqual(client.transport.producerState, "producing")
        self.assertEqual([response.body for response in client.responses()], bodies)
        client.send(b"e")
        self.assertEqual(client.response().body, b"five"[:-1] + b"e")

    def test_without_bodies(self) -> None:
        """So do requests that have no body, which are parsed in another way."""
        client = self.connect()
        client.send(3 * request("GET"))
        self.assertEqual(len(client.responses()), 1)
        self.assertEqual(take_turns(self.clock), 2)
        self.assertEqual(len(client.responses()), 2)

    def test_answers_that_are_not_read(self) -> None:
        """While a client does not read its answers no more of them are made, and it has only so much time."""
        for reads in (True, False):
            self.echo.bodies.clear()
            client = self.connect()
            client.send(request(body=b"one") + request(body=b"two"))
            channel = client.transport.protocol
            channel.pauseProducing()  # as the transport does when its buffer is full
            take_turns(self.clock)
            self.assertEqual(self.echo.bodies, [b"one"])
            if reads:
                channel.resumeProducing()
                take_turns(self.clock)
                self.assertEqual(self.echo.bodies, [b"one", b"two"])
                client.leave()
            else:
                self.clock.advance(ARRIVAL_TIME)
                self.assertTrue(client.transport.gone)

    def test_gone_before_its_turn(self) -> None:
        """A client that has gone away has no turn any more."""
        client = self.connect()
        client.send(2 * request(body=b"one"))
        client.leave()
        self.assertEqual(take_turns(self.clock), 0)
        self.assertEqual(self.echo.bodies, [b"one"])


class ConnectionTests(SiteCase):
    def test_the_longest_idle_makes_room(self) -> None:
        """Beyond the bound the connection that has waited for the longest is closed."""
        first, second, third = self.connect(), self.connect(), self.connect()
        first.send(request(body=b"x"))
        self.clock.advance(MIN_WAIT)
        fourth = self.connect()
        self.assertFalse(fourth.refused)
        self.assertTrue(second.transport.gone)
        self.assertFalse(first.transport.gone or third.transport.gone)
        fourth.send(request(body=b"y"))
        self.assertEqual(fourth.response().body, b"y")

    def test_who_is_under_way_stays(self) -> None:
        """A request that is on its way, or may be, makes room for nobody: the new one is answered 503, and closed."""
        first, second, third = self.connect(), self.connect(), self.connect()
        first.send(request(body=b"x"))
        self.clock.advance(MIN_WAIT)
        for client in (first, second, third):
            client.send(request(body=b"late")[:-1])
        fourth = self.connect()
        fourth.send(request(body=b"y"))
        response = fourth.response()
        self.assertEqual(response.error, (503, 503, "ServerBusy"))
        self.assertEqual(response.headers["retry-after"], "1")
        self.assertTrue(fourth.transport.half_closed)
        self.assertEqual(self.titles, ["ServerBusy"])
        first.responses()
        for client in (first, second, third):
            client.send(b"e")
            self.assertEqual(client.response().body, b"late")

    def test_who_is_answered_stays(self) -> None:
        """A connection whose request is being answered makes room for nobody, however long that takes."""
        self.echo.at_once = False
        clients = [self.connect() for _ in range(3)]
        for client in clients:
            client.send(request(body=b"x"))
        self.clock.advance(100)
        another = self.connect()
        another.send(request("GET"))
        self.assertEqual(another.response().status, 503)
        self.assertFalse(any(client.transport.gone for client in clients))
        self.echo.answer()
        self.assertEqual(clients[0].response().status, 200)
        self.clock.advance(MIN_WAIT)
        another = self.connect()
        another.send(request("GET"))
        self.assertTrue(another.silent())

    def test_too_many_beyond(self) -> None:
        """Those beyond the bound are bounded as well, in number and in time."""
        for _ in range(3):
            self.connect().send(request(body=b"x")[:-1])
        beyond = [self.connect() for _ in range(3)]
        self.assertTrue(self.connect().refused)
        beyond[0].send(b"POST / HTTP/1.1\r\n")
        self.clock.advance(BEYOND_LIMIT_TIME)
        self.assertTrue(all(client.transport.gone for client in beyond))
        self.assertFalse(self.connect().refused)

    def test_nothing_listens_any_more(self) -> None:
        """When the port is closed idle connections end, and the others after their answer."""
        self.echo.at_once = False
        idle, busy = self.connect(), self.connect()
        busy.send(request(body=b"x"))
        self.site.stopFactory()
        self.assertTrue(idle.transport.gone)
        self.assertFalse(busy.transport.gone)
        self.echo.answer()
        self.assertEqual(busy.response().body, b"late")
        self.assertTrue(busy.transport.gone)

    def test_leaving(self) -> None:
        """
        Where another process takes the next connections, each of those there
        are is closed after its next answer, which says so: no request meets a
        connection that was just closed.
        """
        self.echo.at_once = False
        idle, busy = self.connect(), self.connect()
        busy.send(request(body=b"x"))
        self.site.leave()
        self.assertEqual((idle.transport.gone, busy.transport.gone, self.site.connections), (False, False, 2))
        self.echo.answer()
        self.assertEqual(busy.response().body, b"late")
        self.echo.at_once = True
        idle.send(request(body=b"y"))
        response = idle.response()
        self.assertEqual((response.body, response.headers["connection"]), (b"y", "close"))
        self.assertEqual((idle.transport.gone, busy.transport.gone, self.site.connections), (True, True, 0))

    def test_last_answers_are_written(self) -> None:
        """When the port is closed a connection that has just been answered is not cut: its answer is to arrive."""
        client = self.connect()
        client.send(request(body=b"x"))
        cut: list[bool] = []
        self.patch(client.transport, "abortConnection", lambda: cut.append(True))
        self.site.stopFactory()
        self.assertEqual(cut, [])
        self.assertTrue(client.transport.gone)

    def test_no_timer_of_its_own(self) -> None:
        """A site that is started and has no connections has no timers."""
        self.site.doStart()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.site.doStop()

    def test_only_http_1(self) -> None:
        """TLS clients are not offered HTTP/2, which would come without the limits."""
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])


class HalfClosedTests(SiteCase):
    """Clients that close their side and still read."""

    def test_answered(self) -> None:
        """What was asked for is answered, then the connection is closed."""
        self.echo.at_once = False
        client = self.connect()
        client.send(request(body=b"x"))
        client.half_close()
        self.assertFalse(client.transport.gone)
        self.echo.answer()
        self.assertEqual(client.response().body, b"late")
        self.assertTrue(client.transport.gone)

    def test_all_are_answered(self) -> None:
        """So are all requests that came before; half a one behind them is not."""
        client = self.connect()
        client.send(request(body=b"one") + request(body=b"two") + request(body=b"three")[:-1])
        client.half_close()
        take_turns(self.clock)
        self.assertEqual([response.body for response in client.responses()], [b"one", b"two"])
        self.assertTrue(client.transport.gone)

    def test_nothing_asked(self) -> None:
        """Where nothing is asked for, or only half of it, the connection is closed at once."""
        for sent in (b"", request(body=b"x")[:-1]):
            client = self.connect()
            if sent:
                client.send(sent)
            client.half_close()
            self.assertTrue(client.transport.gone)
        self.assertEqual(self.echo.bodies, [])


class ResetTests(SiteCase):
    """Connections that end with a reset."""

    def reset_after(self, seconds: float, reason: Exception, more: bytes = b"") -> list[str]:
        """Who was called back of a reset so long after an answer."""
        called: list[str] = []
        client = self.connect()
        client.send(request(body=b"x"))
        client.transport.protocol.call_if_reset(lambda: called.append("reset"))
        if more:
            client.send(more)
        self.clock.advance(seconds)
        client.transport.go(reason)
        return called

    def test_unread(self) -> None:
        """A reset right after an answer is told; a close, a late reset and one after the next request are not."""
        self.assertEqual(self.reset_after(RESET_TIME - 0.1, ConnectionLost()), ["reset"])
        self.assertEqual(self.reset_after(RESET_TIME - 0.1, ConnectionDone()), [])
        self.assertEqual(self.reset_after(RESET_TIME, ConnectionLost()), [])
        self.assertEqual(self.reset_after(RESET_TIME - 0.1, ConnectionLost(), request(body=b"y")), [])


class RequestTests(SiteCase):
    def test_path_of_other_bytes(self) -> None:
        """A path or method that is no text is not found, and the connection stays usable."""
        client = self.connect()
        for path in ("/%ff", "/messages%c3%28"):
            client.send(request("GET", path))
            self.assertEqual(client.response().error, (404, 404, "NotFound"))
        client.send(request("OPTIONS", "*"))
        self.assertEqual(client.response().error, (404, 404, "NotFound"))
        client.send(request(body=b"x"))
        self.assertEqual(client.response().status, 200)

    def test_a_bug(self) -> None:
        """An exception is answered with an id that is also in the log, and nothing of its text."""

        def fail(request: Any) -> Any:
            raise KeyError("+26612345678")

        self.echo.render = fail  # type: ignore[method-assign]
        client = self.connect()
        client.send(request(body=b"x"))
        response = client.response()
        self.assertEqual(response.error, (500, 500, "InternalError"))
        self.assertNotIn(b"266", response.body)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_no_server_header(self) -> None:
        """What server we are is nobody's business."""
        client = self.connect()
        client.send(request(body=b"x"))
        self.assertNotIn("server", client.response().headers)

    def test_paths(self) -> None:
        """Others have their exact paths, without the query; the rest goes to the one resource."""
        self.site.resource = Paths(Echo(b"main"), {b"/health": Echo(b"health")})
        client = self.connect()
        found = {}
        for path in ("/health", "/health?x=y", "/health/", "/healthy", "/", "/messages"):
            client.send(request("GET", path))
            found[path] = client.response().body
        healthy = [path for path, body in found.items() if body == b"health"]
        self.assertEqual(healthy, ["/health", "/health?x=y"])
        self.assertEqual(set(found.values()), {b"health", b"main"})


class DebugLineTests(SiteCase):
    """The line for each request, at debug."""

    def lines(self) -> list[str]:
        """Those of two requests."""
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
        try:
            client = self.connect()
            for _ in range(2):
                client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        finally:
            globalLogPublisher.removeObserver(events.append)  # type: ignore[arg-type]
        return [formatEvent(event) for event in events if "answered" in event.get("log_format", "")]

    def test_wanted(self) -> None:
        """There is one where somebody reads debug lines."""
        self.assertEqual(self.lines(), ["b'GET' b'/' was answered 200"] * 2)

    def test_not_wanted(self) -> None:
        """There is none where the log leaves them out."""
        self.patch(debug_lines, "wanted", False)
        self.assertEqual(self.lines(), [])
