"""What Turn POSTs, from the request's bytes to the answer's."""

from __future__ import annotations

import json
from typing import Any, Optional
from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.http.case import SECRET, Client, Response, request
from vumi_turn.http.errors import ApiUsageError
from vumi_turn.turn.errors import BrokerUnavailableError, MessageNotFound
from vumi_turn.turn.payloads import OutboundRequest
from vumi_turn.turn.webhook import WRITING_TIME, WRITTEN_TIMEOUT, Webhook
from vumi_turn.vumi.messages import TransportUserMessage

ADDRESS, CONTENT = "+26612345678", "Dumela"


class Nacked(Exception):
    """What the broker of these tests says where it does not take a message."""


def outbound(**changes: Any) -> bytes:
    """The body of a POST of Turn's."""
    value = {
        "to": ADDRESS,
        "from": None,
        "reply_to": None,
        "content": CONTENT,
        "turn": {"type": "text", "text": {"body": CONTENT}},
        "waiting_for_user_input": False,
        **changes,
    }
    return json.dumps(value).encode()


class WebhookCase(SynchronousTestCase):
    """
    A webhook on a broker that confirms when the test says so.

    :ivar confirms: one for each publish that was asked for and is not settled.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.built: list[tuple[OutboundRequest, str]] = []
        self.published: list[TransportUserMessage] = []
        self.confirms: list[Deferred[None]] = []
        self.build_waits: Optional[Deferred[None]] = None
        self.build_error: Optional[Exception] = None
        self.at_once: Any = None
        self.titles: list[str] = []
        self.ids = iter(f"m{n}" for n in range(1, 1000))
        self.webhook = self.make()
        self.site = self.webhook.site()
        self.client = Client(self.site)
        self.clients = [self.client]
        self.addCleanup(self.nothing_is_left)

    def make(self, **options: Any) -> Webhook:
        values: dict[str, Any] = {
            "secret": SECRET.decode(),
            "build": self.build,
            "publish": self.publish,
            "retryable": (Nacked,),
            "clock": self.clock,
            "request_timeout": 240.0,
            "publish_timeout": 4.0,
            "max_request_size": 2000,
            "new_id": lambda: next(self.ids),
            "observe": self.titles.append,
        }
        return Webhook(**{**values, **options})

    async def build(self, wanted: OutboundRequest, message_id: str) -> TransportUserMessage:
        self.built.append((wanted, message_id))
        if self.build_waits is not None:
            await self.build_waits
        if self.build_error is not None:
            raise self.build_error
        return TransportUserMessage.send(wanted.to, wanted.content, message_id=message_id)

    async def publish(self, message: TransportUserMessage) -> None:
        self.published.append(message)
        if isinstance(self.at_once, Exception):
            raise self.at_once
        if self.at_once:
            return
        confirm: Deferred[None] = Deferred()
        self.confirms.append(confirm)
        await confirm

    def confirm(self, error: Optional[Exception] = None) -> None:
        """Settle the oldest publish."""
        confirm = self.confirms.pop(0)
        if error is None:
            confirm.callback(None)
        else:
            confirm.errback(error)

    def another(self) -> Client:
        """A further client."""
        client = Client(self.site)
        self.clients.append(client)
        return client

    def post(self, body: Optional[bytes] = None, client: Optional[Client] = None, **kw: Any) -> Client:
        client = client or self.client
        client.send(request(body=outbound() if body is None else body, **kw))
        return client

    def answer(self, body: Optional[bytes] = None, **kw: Any) -> Response:
        """POST, and the answer that came at once."""
        return self.post(body, **kw).response()

    def ids_published(self) -> list[str]:
        return [message.message_id for message in self.published]

    def assertBusy(self, response: Response) -> None:
        """A 503 that says when to come again."""
        self.assertEqual(response.error, (503, 503, "BrokerUnavailable"))
        self.assertGreater(int(response.headers["retry-after"]), 0)

    def nothing_is_left(self) -> None:
        for confirm in self.confirms:
            confirm.callback(None)
        for client in self.clients:
            client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AnswerTests(WebhookCase):
    def test_confirmed(self) -> None:
        """The answer is 200 with the message's id once the broker has the message, and not before."""
        self.post()
        self.assertTrue(self.client.silent())
        (message,) = self.published
        self.assertEqual((message.to_addr, message.content), (ADDRESS, CONTENT))
        self.confirm()
        response = self.client.response()
        self.assertEqual(response.status, 200)
        self.assertEqual(response.json, {"messages": [{"id": "m1"}]})
        self.assertEqual(message.message_id, "m1")
        self.assertEqual(self.titles, ["ok"])

    def test_confirmed_at_once(self) -> None:
        """A broker that confirms inside the call is fine, too."""
        self.at_once = True
        self.assertEqual(self.answer().message_id, "m1")

    def test_api_path(self) -> None:
        """The path before /messages is the configured one, however its slashes are written."""
        self.at_once = True
        for api_path in ("turn/channel", "/turn/channel", "/turn/channel/"):
            client = Client(self.make(api_path=api_path).site())
            client.send(request(path="/turn/channel/messages", body=outbound()))
            self.assertEqual(client.response().status, 200)
            client.send(request(path="/messages", body=outbound()))
            self.assertEqual(client.response().error, (404, 404, "NotFound"))
            client.leave()

    def test_host_is_no_matter(self) -> None:
        """Whatever a client calls us, it is the same site."""
        self.at_once = True
        body = outbound()
        for host in ("x" * 300, "a..b", "[::1]", "%ff", "\u20ac"):
            self.client.send(request(body=body).replace(b"Host: here", b"Host: " + host.encode()))
            self.assertEqual(self.client.response().status, 200)

    def test_other_paths(self) -> None:
        """Other paths are not found, and are not redirected to the right one."""
        for path in ("/", "/messages/", "/messages//", "/Messages", "/messages/1", "/../messages"):
            self.assertEqual(self.answer(path=path).error, (404, 404, "NotFound"), path)
        self.assertEqual(self.published, [])

    def test_other_methods(self) -> None:
        """Other methods are refused, with those that are not."""
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
            response = self.answer(method=method)
            self.assertEqual(response.error, (405, 405, "MethodNotAllowed"), method)
            self.assertEqual(response.headers["allow"], "post")
        self.assertEqual(self.published, [])

    def test_query_is_no_matter(self) -> None:
        """A query is ignored."""
        self.at_once = True
        self.assertEqual(self.answer(path="/messages?a=b").status, 200)

    def test_signature(self) -> None:
        """A signature that is missing, wrong, of other bytes or of another body is refused, always alike."""
        good = b"b3RoZXI=" * 5
        for signature in (b"", b"x", good, b"\xff\xfe\x00\x80".replace(b"\x00", b""), b"=" * 44):
            response = self.answer(b"not even JSON", signature=signature)
            self.assertEqual(response.error, (401, 401, "SignatureMismatchError"))
        self.assertEqual(self.built, [])

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
            (outbound(turn={"type": "image"}), "UnsupportedMessageType"),
        ):
            self.assertEqual(self.answer(body).error, (400, 400, title), body[:40])
        self.assertEqual(self.built, [])
        self.at_once = True
        self.assertEqual(self.answer().status, 200)

    def test_no_type_is_asked_for(self) -> None:
        """What a request says about its body's type does not matter; the answer's type is JSON."""
        self.at_once = True
        for n, kind in enumerate(("text/plain", "application/x-www-form-urlencoded")):
            response = self.answer(outbound(context=n), headers={"Content-Type": kind})
            self.assertEqual(response.headers["content-type"], "application/json")
            self.assertEqual(response.status, 200)

    def test_refused_by_the_builder(self) -> None:
        """What cannot be built is answered as its error says."""
        for error, expected in (
            (MessageNotFound(), (404, 404, "MessageNotFound")),
            (ApiUsageError("no"), (400, 400, "ApiUsageError")),
            (BrokerUnavailableError("the cache is away"), (503, 503, "BrokerUnavailable")),
        ):
            self.build_error = error
            self.assertEqual(self.answer().error, expected)
        self.assertEqual(self.published, [])
        self.assertEqual(self.titles, ["MessageNotFound", "ApiUsageError", "BrokerUnavailable"])

    def test_not_taken(self) -> None:
        """Where the broker does not take a message the answer is 503, at once or when it says so."""
        self.at_once = Nacked()
        self.assertBusy(self.answer())
        self.at_once = None
        self.post(outbound(to="+1"))
        self.confirm(Nacked())
        self.assertBusy(self.client.response())

    def test_a_bug(self) -> None:
        """An unexpected exception is a 500 with an id that is in the log, and none of its text."""
        for attribute in ("build_error", "at_once"):
            self.build_error = self.at_once = None
            setattr(self, attribute, KeyError(ADDRESS))
            response = self.answer(outbound(context=attribute))
            self.assertEqual(response.error, (500, 500, "InternalError"))
            self.assertNotIn(ADDRESS.encode(), response.body)
            (event,) = self.flushLoggedErrors(KeyError)
        self.assertEqual(self.titles, ["InternalError"] * 2)

    def test_a_bug_before_there_is_a_message(self) -> None:
        """So is one in handling the request itself, and the next request is handled."""

        def find(key: bytes) -> None:
            raise KeyError(ADDRESS)

        self.at_once = True
        with patch.object(self.webhook._repeats, "find", find):
            response = self.answer()
        self.assertEqual(response.error, (500, 500, "InternalError"))
        self.assertNotIn(ADDRESS.encode(), response.body)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(self.answer().status, 200)

    def test_too_large(self) -> None:
        """A body over max_request_size is a 413 and is counted."""
        self.assertEqual(self.answer(outbound(content="x" * 2000)).error, (413, 413, "BodyTooLarge"))
        self.assertEqual(self.titles, ["BodyTooLarge"])


class TimeTests(WebhookCase):
    def test_not_confirmed_in_time(self) -> None:
        """A broker that does not confirm within publish_timeout is a 503; the publishing goes on."""
        self.post()
        self.clock.advance(3.9)
        self.assertTrue(self.client.silent())
        self.clock.advance(0.1)
        self.assertBusy(self.client.response())
        self.assertFalse(self.confirms[0].called)

    def test_building_too_long(self) -> None:
        """The whole handling is bounded by request_timeout: 504."""
        self.build_waits = Deferred()
        self.post()
        self.clock.advance(239)
        self.assertTrue(self.client.silent())
        self.clock.advance(1)
        self.assertEqual(self.client.response().error, (504, 504, "TimeoutError"))
        self.build_waits.callback(None)

    def test_time_of_the_broker(self) -> None:
        """publish_timeout begins with the publishing, not with the building before it."""
        self.build_waits = Deferred()
        self.post()
        self.clock.advance(60)
        self.build_waits.callback(None)
        self.clock.advance(3.9)
        self.assertTrue(self.client.silent())
        self.clock.advance(0.1)
        self.assertBusy(self.client.response())

    def test_shorter_request_timeout(self) -> None:
        """A request_timeout that is shorter than publish_timeout holds, also after some building."""
        self.site = self.make(request_timeout=3.0).site()
        self.build_waits = Deferred()
        client = self.post(client=self.another())
        self.clock.advance(1)
        self.build_waits.callback(None)
        self.clock.advance(1.9)
        self.assertTrue(client.silent())
        self.clock.advance(0.1)
        self.assertEqual(client.response().error, (504, 504, "TimeoutError"))


class RepeatTests(WebhookCase):
    def test_joins(self) -> None:
        """The same body while it is being published is the same message: one publish, one id, two answers."""
        self.post()
        second = self.post(client=self.another())
        self.assertEqual(self.ids_published(), ["m1"])
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")
        self.assertEqual(second.response().message_id, "m1")

    def test_joins_the_building(self) -> None:
        """It joins a message that is still being built, too."""
        self.build_waits = Deferred()
        self.post()
        second = self.post(client=self.another())
        self.build_waits.callback(None)
        self.assertEqual(self.ids_published(), ["m1"])
        self.confirm()
        self.assertEqual(second.response().message_id, "m1")
        self.assertEqual(self.client.response().message_id, "m1")

    def test_joins_after_a_timeout(self) -> None:
        """After a 503 for want of time the repeat joins the same publish, and gets its id."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        self.post()
        self.clock.advance(3.9)
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1"])

    def test_a_late_confirm_counts(self) -> None:
        """A confirm that came when nobody waited answers the repeat at once, with nothing published."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        self.confirm()
        self.assertEqual(self.answer().message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1"])

    def test_hung_broker(self) -> None:
        """While the broker hangs each repeat waits publish_timeout, and nothing more is published."""
        for _ in range(5):
            self.post()
            self.clock.advance(4)
            self.assertBusy(self.client.response())
        self.assertEqual(self.ids_published(), ["m1"])

    def test_after_a_200_it_is_new(self) -> None:
        """Once a 200 has been written the same body is another message: people repeat themselves."""
        self.at_once = True
        self.assertEqual(self.answer().message_id, "m1")
        self.assertEqual(self.answer().message_id, "m2")
        self.assertEqual(self.ids_published(), ["m1", "m2"])

    def test_published_again(self) -> None:
        """After a nack the repeat publishes the same message again, with the same id."""
        self.post()
        self.confirm(Nacked())
        self.assertBusy(self.client.response())
        self.post()
        self.assertEqual(self.ids_published(), ["m1", "m1"])
        self.assertIs(self.published[0], self.published[1])
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")
        self.assertEqual(len(self.built), 1)

    def test_nacked_after_a_timeout(self) -> None:
        """A nack that came when nobody waited lets the repeat publish again, with the same id."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        self.confirm(Nacked())
        self.at_once = True
        self.assertEqual(self.answer().message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1", "m1"])

    def test_nack_with_two_waiting(self) -> None:
        """All that wait for a message hear that it was not taken."""
        self.post()
        second = self.post(client=self.another())
        self.confirm(Nacked())
        self.assertBusy(self.client.response())
        self.assertBusy(second.response())

    def test_unknown_outcome_keeps_the_id(self) -> None:
        """After an unexpected exception in publishing the broker may have it: the repeat has the same id."""
        self.at_once = KeyError("oops")
        self.assertEqual(self.answer().status, 500)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.at_once = True
        self.assertEqual(self.answer().message_id, "m1")

    def test_what_could_not_be_built(self) -> None:
        """What could not be built is forgotten: its repeat is looked at afresh."""
        self.build_error = MessageNotFound()
        self.assertEqual(self.answer().status, 404)
        self.build_error = None
        self.at_once = True
        self.assertEqual(self.answer().message_id, "m2")
        self.assertEqual(len(self.built), 2)

    def test_other_bodies_are_other_messages(self) -> None:
        """Bodies that differ in a byte are different messages."""
        self.post()
        self.post(outbound() + b" ", client=self.another())
        self.assertEqual(self.ids_published(), ["m1", "m2"])

    def test_client_goes_away(self) -> None:
        """A client that goes away cancels nothing, and its repeat joins what it began."""
        self.post()
        self.client.leave()
        self.assertFalse(self.confirms[0].called)
        self.assertEqual(self.titles, ["ClientGone"])
        second = self.post(client=self.another())
        self.confirm()
        self.assertEqual(second.response().message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1"])

    def test_gone_before_the_confirm(self) -> None:
        """Where nobody was left to be told, the repeat gets the id with nothing published."""
        self.post()
        self.client.leave()
        self.confirm()
        self.assertEqual(self.answer(client=self.another()).message_id, "m1")
        self.assertEqual(self.ids_published(), ["m1"])

    def test_gone_while_building(self) -> None:
        """A client that goes away while its message is built does not end that, either."""
        self.build_waits = Deferred()
        self.post()
        self.client.leave()
        self.build_waits.callback(None)
        self.assertEqual(self.ids_published(), ["m1"])
        self.confirm()

    def test_one_of_two_goes_away(self) -> None:
        """One client that goes away takes nothing from the other."""
        self.post()
        second = self.post(client=self.another())
        self.client.leave()
        self.confirm()
        self.assertEqual(second.response().message_id, "m1")


class WrittenTests(WebhookCase):
    def test_unknown(self) -> None:
        """Where no answer is to come nothing is waited for."""
        self.assertIsNone(self.successResultOf(self.webhook.written("m1")))

    def test_written(self) -> None:
        """A status waits until the 200 with its message's id has been written."""
        self.post()
        written = self.webhook.written("m1")
        other = self.webhook.written("m2")
        self.assertNoResult(written)
        self.successResultOf(other)
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")
        self.assertIsNone(self.successResultOf(written))
        self.assertIsNone(self.successResultOf(self.webhook.written("m1")))

    def test_not_for_ever(self) -> None:
        """It waits for 5 seconds at most, also where Turn never asks again."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        self.confirm()
        written = self.webhook.written("m1")
        self.clock.advance(WRITTEN_TIMEOUT - 0.1)
        self.assertNoResult(written)
        self.clock.advance(0.1)
        self.assertIsNone(self.successResultOf(written))

    def test_many_wait(self) -> None:
        """Several statuses of one message wait side by side, and one that times out disturbs none."""
        self.post()
        first = self.webhook.written("m1")
        self.clock.advance(3)
        second = self.webhook.written("m1")
        self.clock.advance(2)
        self.successResultOf(first)
        self.assertNoResult(second)
        self.assertBusy(self.client.response())
        self.confirm()
        self.assertEqual(self.answer().message_id, "m1")
        self.successResultOf(second)

    def test_who_stops_waiting(self) -> None:
        """A wait that is cancelled leaves no timer, and disturbs no other one."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        other = self.webhook.written("m1")
        timers = set(self.clock.getDelayedCalls())
        written = self.webhook.written("m1")
        written.cancel()
        self.failureResultOf(written, CancelledError)
        self.assertEqual(set(self.clock.getDelayedCalls()), timers)
        self.confirm()
        self.assertEqual(self.answer().message_id, "m1")
        self.successResultOf(other)


class StopTests(WebhookCase):
    def drain(self, timeout: float = 10.0) -> Deferred[None]:
        return Deferred.fromCoroutine(self.webhook.drain(timeout))

    def written(self, drained: Deferred[None]) -> None:
        """It is over as soon as the last answer can be on its way."""
        self.clock.advance(WRITING_TIME)
        self.successResultOf(drained)

    def test_no_new_ones(self) -> None:
        """A worker that stops takes no new messages."""
        self.webhook.stop()
        self.assertBusy(self.answer())
        self.assertEqual(self.built, [])
        self.assertEqual(self.answer(signature=b"wrong").status, 401)

    def test_repeats(self) -> None:
        """A repeat of what is under way is no new message: after the stop it would be a second one."""
        self.post()
        self.clock.advance(4)
        self.assertBusy(self.client.response())
        self.webhook.stop()
        self.post()
        drained = self.drain()
        self.confirm()
        self.assertEqual(self.client.response().message_id, "m1")
        self.written(drained)
        self.assertEqual(self.ids_published(), ["m1"])

    def test_repeat_of_a_refused_one(self) -> None:
        """A repeat that would have to be published again is left to the next worker."""
        self.post()
        self.confirm(Nacked())
        self.assertBusy(self.client.response())
        self.webhook.stop()
        self.assertBusy(self.answer())
        self.assertEqual(self.ids_published(), ["m1"])

    def test_idle(self) -> None:
        """Where nothing is under way only the last answers are waited for: to leave for the network."""
        self.at_once = True
        self.assertEqual(self.answer().status, 200)
        self.webhook.stop()
        drained = self.drain()
        self.assertNoResult(drained)
        self.written(drained)

    def test_drained(self) -> None:
        """Draining waits for what is under way, and that is answered."""
        self.post()
        self.webhook.stop()
        drained = self.drain()
        self.assertNoResult(drained)
        self.confirm()
        self.written(drained)
        self.assertEqual(self.client.response().message_id, "m1")

    def test_publishing_without_a_client(self) -> None:
        """It waits for a publish that no client waits for, too."""
        self.post()
        self.client.leave()
        drained = self.drain()
        self.assertNoResult(drained)
        self.confirm()
        self.written(drained)

    def test_not_for_ever(self) -> None:
        """Draining is over after its time, however much is under way."""
        self.post()
        drained = self.drain(3.0)
        self.clock.advance(2.9)
        self.assertNoResult(drained)
        self.clock.advance(0.1)
        self.written(drained)


class RequestLineTests(WebhookCase):
    def test_whole_url(self) -> None:
        """A request line may hold the whole URL, as HTTP demands of a server."""
        self.at_once = True
        for path in ("http://our.host/messages", "HTTPS://our.host:8080/messages?a=http://x"):
            self.assertEqual(self.answer(path=path).status, 200, path)
        for path in (
            "http://our.host",
            "http:///",
            "http://our.host/http://our.host/messages",
            "ftp://our.host/messages",
        ):
            self.assertEqual(self.answer(path=path).error, (404, 404, "NotFound"), path)


class LogTests(WebhookCase):
    def setUp(self) -> None:
        super().setUp()
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

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
        self.assertNotIn("others", self.lines()[0])
        self.clock.advance(60)
        self.answer(signature=b"wrong")
        self.assertEqual(len(self.lines()), 3)
        self.assertIn("29 others", self.lines()[2])

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
        self.assertTrue(self.lines()[0].endswith("nothing at this path; check vumi_api_path"), self.lines())

    def test_what_to_check(self) -> None:
        """The line of a wrong signature names the option to look at, which Turn is not told."""
        answer = self.answer(signature=b"wrong")
        self.assertTrue(self.lines()[0].endswith("the signature of this body; check turn_hmac_secret"), self.lines())
        self.assertNotIn(b"turn_hmac_secret", answer.body)

    def test_nothing_private(self) -> None:
        """No line above debug has an address, content, a signature, a secret or where it came from."""
        self.at_once = True
        self.answer(path=f"/messages?to={ADDRESS}")
        self.answer(path=f"/{ADDRESS}")
        self.answer(outbound(reply_to=5))
        self.answer(signature=b"marker-signature")
        text = "\n".join(self.lines())
        self.assertIn("reply_to", text)
        for private in (ADDRESS, CONTENT, "marker-signature", SECRET.decode(), "192.0.2.77"):
            self.assertNotIn(private, text)
