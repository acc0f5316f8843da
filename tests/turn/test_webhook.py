"""What Turn POSTs, from the request's bytes to the answer's."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.http.case import SECRET, Response, request
from tests.http.case import Client as HttpClient
from tests.outbound.case import ADDRESS, CONTENT, outbound
from vumi_turn.http.errors import ApiUsageError
from vumi_turn.turn.errors import BrokerUnavailableError, CacheUnavailableError, MessageNotFound
from vumi_turn.turn.handler import Client
from vumi_turn.turn.payloads import OutboundRequest
from vumi_turn.turn.signature import sign
from vumi_turn.turn.webhook import Webhook


class FakeHandler:
    """
    Takes requests as the test says.

    :ivar error: what it raises.
    :ivar confirms: one for each request that waits, while ``waits`` is True.
    """

    def __init__(self) -> None:
        self.accepted: list[tuple[OutboundRequest, bytes, Client]] = []
        self.told: list[tuple[bytes, str, bool]] = []
        self.left: list[str] = []
        self.waits = False
        self.error: Optional[Exception] = None
        self.confirms: list[Deferred[None]] = []

    async def accept(self, request: OutboundRequest, key: bytes, client: Client) -> str:
        self.accepted.append((request, key, client))
        message_id = f"m{len(self.accepted)}"
        if self.waits:
            self.confirms.append(Deferred())
            await self.confirms[-1]
        if self.error is not None:
            raise self.error
        return message_id

    def answered(self, request: OutboundRequest, key: bytes, message_id: str, was_read: bool) -> None:
        self.told.append((key, message_id, was_read))

    def client_left(self, key: bytes, message_id: str) -> None:
        self.left.append(message_id)


class WebhookCase(SynchronousTestCase):
    """A webhook whose handler does what the test says."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.handler = FakeHandler()
        self.titles: list[str] = []
        self.site = self.make().site()
        self.client = HttpClient(self.site)
        self.addCleanup(self.nothing_is_left)

    def make(self, api_path: str = "") -> Webhook:
        return Webhook(
            secret=SECRET.decode(),
            handler=self.handler,
            clock=self.clock,
            api_path=api_path,
            max_request_size=2000,
            observe=self.titles.append,
        )

    def post(self, body: Optional[bytes] = None, **kw: Any) -> None:
        self.client.send(request(body=outbound() if body is None else body, **kw))

    def answer(self, body: Optional[bytes] = None, **kw: Any) -> Response:
        """POST, and the answer that came at once."""
        self.post(body, **kw)
        return self.client.response()

    def nothing_is_left(self) -> None:
        self.client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AnswerTests(WebhookCase):
    def test_confirmed(self) -> None:
        """The answer is 200 with the message's id once the handler has taken it, and not before."""
        self.handler.waits = True
        body = outbound()
        self.post(body)
        self.assertTrue(self.client.silent())
        ((wanted, key, _),) = self.handler.accepted
        self.assertEqual((wanted.to, wanted.text), (ADDRESS, CONTENT))
        self.assertEqual(key, sign(SECRET, body))
        self.handler.confirms[0].callback(None)
        response = self.client.response()
        self.assertEqual(response.status, 200)
        self.assertEqual(response.json, {"messages": [{"id": "m1"}]})
        self.assertEqual(self.titles, ["ok"])

    def test_handler_is_told(self) -> None:
        """The handler is told when the 200 has been written, and only then."""
        self.handler.waits = True
        self.post()
        self.assertEqual(self.handler.told, [])
        self.handler.confirms[0].callback(None)
        self.assertEqual(self.handler.told, [(sign(SECRET, outbound()), "m1", True)])
        self.assertEqual(self.handler.left, [])

    def test_answers_that_may_be_unread(self) -> None:
        """The handler is told where the client closed its side before the 200, or reset the connection after it."""
        self.handler.waits = True
        self.post()
        self.client.half_close()
        self.assertFalse(self.handler.accepted[0][2].present)
        self.handler.confirms[0].callback(None)
        self.assertEqual(self.client.response().message_id, "m1")
        self.assertTrue(self.client.transport.gone)
        self.assertEqual([was_read for _, _, was_read in self.handler.told], [False])
        self.client = HttpClient(self.site)
        self.handler.waits = False
        self.assertEqual(self.answer().message_id, "m2")
        self.client.transport.go(ConnectionLost())
        self.assertEqual(self.handler.told[1:], [(sign(SECRET, outbound()), "m2", read) for read in (True, False)])

    def test_client_goes_away(self) -> None:
        """A client that does not wait for its answer is counted, and its handling is cancelled."""
        self.handler.waits = True
        self.post()
        client = self.handler.accepted[0][2]
        self.assertTrue(client.present)
        self.client.leave()
        self.assertFalse(client.present)
        self.assertEqual(self.titles, ["ClientGone"])
        self.assertTrue(self.handler.confirms[0].called)
        self.assertEqual(self.handler.told, [])

    def test_api_path(self) -> None:
        """The path before /messages is the configured one, however its slashes are written."""
        for api_path in ("turn/channel", "/turn/channel", "/turn/channel/"):
            with case(api_path=api_path):
                client = HttpClient(self.make(api_path=api_path).site())
                client.send(request(path="/turn/channel/messages", body=outbound()))
                self.assertEqual(client.response().status, 200)
                client.send(request(path="/messages", body=outbound()))
                self.assertEqual(client.response().error, (404, 404, "NotFound"))
                client.leave()

    def test_host_is_no_matter(self) -> None:
        """Whatever a client calls us, it is the same site."""
        body = outbound()
        for host in ("x" * 300, "a..b", "[::1]", "%ff", "\u20ac"):
            with case(host=host):
                self.client.send(request(body=body).replace(b"Host: here", b"Host: " + host.encode()))
                self.assertEqual(self.client.response().status, 200)

    def test_other_paths(self) -> None:
        """Other paths are not found, and are not redirected to the right one."""
        for path in ("/", "/messages/", "/messages//", "/Messages", "/messages/1", "/../messages"):
            with case(path=path):
                self.assertEqual(self.answer(path=path).error, (404, 404, "NotFound"))
        self.assertEqual(self.handler.accepted, [])

    def test_other_methods(self) -> None:
        """Other methods are refused, with those that are not."""
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
            with case(method=method):
                response = self.answer(method=method)
                self.assertEqual(response.error, (405, 405, "MethodNotAllowed"))
                self.assertEqual(response.headers["allow"], "post")
        self.assertEqual(self.handler.accepted, [])

    def test_query_is_no_matter(self) -> None:
        """A query is ignored."""
        self.assertEqual(self.answer(path="/messages?a=b").status, 200)

    def test_signature(self) -> None:
        """A signature that is missing, wrong, of other bytes or of another body is refused, always alike."""
        good = b"b3RoZXI=" * 5
        for signature in (b"", b"x", good, b"\xff\xfe\x00\x80".replace(b"\x00", b""), b"=" * 44):
            with case(signature=signature):
                response = self.answer(b"not even JSON", signature=signature)
                self.assertEqual(response.error, (401, 401, "SignatureMismatchError"))
        self.assertEqual(self.handler.accepted, [])

    def test_signature_comes_first(self) -> None:
        """Nothing is parsed of a body that is not signed."""
        error = self.answer(b"[" * 1000, signature=b"wrong").error
        self.assertEqual(error, (401, 401, "SignatureMismatchError"))

    def test_bad_bodies(self) -> None:
        """A body that can never work is a 400, and publishes nothing; the next good one works."""
        for body, title in (
            (b"", "JsonDecodeError"),
            (b"\xff\xfe", "JsonDecodeError"),
            (b"[" * 900, "JsonDecodeError"),
            (b"null", "ApiUsageError"),
            (b"[]", "ApiUsageError"),
            (outbound(to=5), "ApiUsageError"),
        ):
            with case(body=body, title=title):
                self.assertEqual(self.answer(body).error, (400, 400, title), body[:40])
        self.assertEqual(self.handler.accepted, [])
        self.assertEqual(self.answer().status, 200)

    def test_no_type_is_asked_for(self) -> None:
        """What a request says about its body's type does not matter; the answer's type is JSON."""
        for n, kind in enumerate(("text/plain", "application/x-www-form-urlencoded")):
            with case(n=n, kind=kind):
                response = self.answer(outbound(context=n), headers={"Content-Type": kind})
                self.assertEqual(response.headers["content-type"], "application/json")
                self.assertEqual(response.status, 200)

    def test_refused_by_the_handler(self) -> None:
        """What the handler refuses is answered as its error says."""
        for error, expected in (
            (MessageNotFound(), (404, 404, "MessageNotFound")),
            (ApiUsageError("no"), (400, 400, "ApiUsageError")),
            (BrokerUnavailableError(), (503, 503, "BrokerUnavailable")),
            (CacheUnavailableError(), (503, 503, "BrokerUnavailable")),
        ):
            with case(error=error, expected=expected):
                self.handler.error = error
                response = self.answer()
                self.assertEqual(response.error, expected)
                self.assertEqual("retry-after" in response.headers, response.status == 503)
        self.assertEqual(self.titles, ["MessageNotFound", "ApiUsageError", "BrokerUnavailable", "BrokerUnavailable"])
        self.assertEqual(self.handler.told, [])

    def test_a_bug(self) -> None:
        """An unexpected exception is a 500 with an id that is in the log, and none of its text; others go on."""
        self.handler.error = KeyError(ADDRESS)
        response = self.answer()
        self.assertEqual(response.error, (500, 500, "InternalError"))
        self.assertNotIn(ADDRESS.encode(), response.body)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.titles, ["InternalError"])
        self.handler.error = None
        self.assertEqual(self.answer().status, 200)

    def test_too_large(self) -> None:
        """A body over max_request_size is a 413 and is counted."""
        self.assertEqual(self.answer(outbound(content="x" * 2000)).error, (413, 413, "BodyTooLarge"))
        self.assertEqual(self.titles, ["BodyTooLarge"])


class RequestLineTests(WebhookCase):
    def test_whole_url(self) -> None:
        """A request line may hold the whole URL, as HTTP demands of a server."""
        for path in ("http://our.host/messages", "HTTPS://our.host:8080/messages?a=http://x"):
            with case(path=path):
                self.assertEqual(self.answer(path=path).status, 200)
        for path in (
            "http://our.host",
            "http:///",
            "http://our.host/http://our.host/messages",
            "ftp://our.host/messages",
        ):
            with case(path=path):
                self.assertEqual(self.answer(path=path).error, (404, 404, "NotFound"))


class LogTests(WebhookCase):
    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []
        observer: ILogObserver = self.events.append  # type: ignore[assignment]
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(self) -> list[str]:
        told = [event for event in self.events if event["log_level"] > LogLevel.debug]
        return [event["log_format"].format(**event) for event in told]

    def test_one_line_a_minute(self) -> None:
        """Refusals of a kind are a line a minute, with the number of those between."""
        for _ in range(30):
            self.answer(signature=b"wrong")
        self.answer(b"[]")
        self.assertEqual(len(self.lines()), 2)
        self.assertIn("401 SignatureMismatchError", self.lines()[0])
        self.assertIn("400 ApiUsageError", self.lines()[1])
        self.clock.advance(60)
        self.answer(signature=b"wrong")
        self.assertEqual(len(self.lines()), 4)
        self.assertIn("29 more", self.lines()[2])

    def test_too_large(self) -> None:
        """What is refused before it has arrived has its line too."""
        self.answer(outbound(content="x" * 2000))
        self.assertEqual(len(self.lines()), 1)
        self.assertIn("413 BodyTooLarge: the body is larger than max_request_size", self.lines()[0])

    def test_wrong_path(self) -> None:
        """A POST to another path is counted, and its line names the option to look at; a visitor's GET is neither."""
        self.answer(path="/other/messages")
        self.answer(path="/other/messages", method="GET")
        self.assertEqual(self.titles, ["NotFound"])
        self.assertEqual(len(self.lines()), 1)
        (line,) = self.lines()
        self.assertTrue(line.endswith(": /other/messages, not /messages; check vumi_api_path"), line)

    def test_odd_paths(self) -> None:
        """The path in the log is not long, without a query and without what may be an address."""
        for path, shown in (
            ("/caf%C3%A9/~", "/caf%C3%A9/~"),
            ("/" + "x" * 200, "/" + "x" * 79),
            ("/to/%2B26612345678/now?text=Dumela", "/to/%2B…/now"),
        ):
            with case(path=path, shown=shown):
                self.clock.advance(60)
                self.post(path=path)
                self.assertIn(f": {shown}, not /messages", self.lines()[-1])

    def test_what_to_check(self) -> None:
        """The line of a wrong signature names the option to look at, which Turn is not told."""
        answer = self.answer(signature=b"wrong")
        self.assertTrue(self.lines()[0].endswith("the signature of this body; check turn_hmac_secret"), self.lines())
        self.assertNotIn(b"turn_hmac_secret", answer.body)

    def test_nothing_private(self) -> None:
        """No line above debug has an address, content, a signature, a secret or where it came from."""
        self.answer(path=f"/messages?to={ADDRESS}")
        self.answer(path=f"/{ADDRESS}")
        self.answer(outbound(reply_to=5))
        self.answer(signature=b"marker-signature")
        text = "\n".join(self.lines())
        self.assertIn("reply_to", text)
        for private in (ADDRESS, CONTENT, "marker-signature", SECRET.decode(), "192.0.2.77"):
            with case(private=private):
                self.assertNotIn(private, text)
