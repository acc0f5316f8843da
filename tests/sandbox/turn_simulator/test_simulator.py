"""The simulated Turn, in memory."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.sandbox.http import JSON, MemoryHttp
from tests.sandbox.turn_simulator.test_formats import MESSAGE, STATUS, changed
from vumi_turn.sandbox.turn_simulator.api import simulator_app
from vumi_turn.sandbox.turn_simulator.channels_api import MAX_RECORDS
from vumi_turn.sandbox.turn_simulator.faults import TurnFaults
from vumi_turn.sandbox.turn_simulator.rate_limit import RateLimit
from vumi_turn.sandbox.turn_simulator.simulator import REPEAT_AFTER, TurnSimulator
from vumi_turn.sandbox.turn_simulator.webhook_client import ChannelAnswer, NoAnswer
from vumi_turn.turn.signature import verify

MESSAGES = "/v1/numbers/4ef2/messages"
STATUSES = "/v1/numbers/4ef2/statuses"
AUTHORIZED = {**JSON, "Authorization": "Bearer the-token"}
OK = ChannelAnswer(200, b'{"messages": [{"id": "o1"}]}')


class SimulatorCase(SynchronousTestCase):
    """A simulated Turn, and a channel that answers as the test says."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_628_345_678)
        self.answers: list[Any] = []
        self.posts: list[tuple[str, Mapping[str, str], bytes]] = []
        self.turn = TurnSimulator(
            self.clock, token="the-token", secret="the-secret", webhook="http://channel/messages", post=self.post
        )
        self.http = MemoryHttp(self, simulator_app(self.turn))

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> ChannelAnswer:
        self.posts.append((url, headers, body))
        answer = self.answers.pop(0) if self.answers else OK
        if isinstance(answer, Exception):
            raise answer
        return await answer if isinstance(answer, Deferred) else answer

    def message(self, **changes: Any) -> tuple[int, Any]:
        """POST a message as a channel does."""
        payload = MESSAGE
        for path, value in changes.items():
            payload = changed(payload, path.replace("__", "."), value)
        return self.http.call("POST", MESSAGES, payload, AUTHORIZED)

    def status(self, **fields: Any) -> tuple[int, Any]:
        """POST a status as a channel does."""
        return self.http.call("POST", STATUSES, {"status": {**STATUS["status"], **fields}}, AUTHORIZED)

    def send(self, **more: Any) -> Deferred[Any]:
        """An agent writes."""
        return ensureDeferred(self.turn.send("+26612345678", "Hi", **more))


class TakingTests(SimulatorCase):
    """What a channel POSTs."""

    def test_message(self) -> None:
        """A good message is answered 200, is in the conversation, and somebody may answer it."""
        heard: list[str] = []
        self.turn.on_message = lambda person, message, said: heard.append(f"{person} {message['id']}")
        self.assertEqual(self.message(), (200, {}))
        self.assertEqual(heard, ["+26612345678 m1"])
        (entry,) = self.turn.conversation("26612345678").entries
        self.assertEqual((entry.direction, entry.id, entry.text), ("inbound", "m1", "Hello"))

    def test_message_again(self) -> None:
        """The same message again is taken, and is not said twice."""
        self.message()
        self.assertEqual(self.message(), (200, {}))
        self.assertEqual(len(self.turn.conversation("+26612345678").entries), 1)

    def test_token(self) -> None:
        """A missing or wrong token is answered 401, and nothing is taken."""
        for headers in (JSON, {**JSON, "Authorization": "Bearer other"}, {**JSON, "Authorization": "Bearer \u00e9"}):
            with case(headers=headers):
                status, details = self.http.details("POST", MESSAGES, MESSAGE, headers=headers)
                self.assertEqual((status, details), (401, "the bearer token is missing or wrong"))
        self.assertEqual(self.turn.conversations(), [])

    def test_wrong_message(self) -> None:
        """A wrong message is answered 400 with the field that is wrong."""
        status, value = self.message(message__type="image")
        self.assertEqual((status, value["errors"][0]["details"]), (400, "message.type must be text or interactive"))

    def test_not_json(self) -> None:
        """What is no JSON is answered 400."""
        asked = self.http.treq.post("http://127.0.0.1:8010" + MESSAGES, data=b"\xff{", headers=AUTHORIZED)
        self.assertEqual(self.http.read(asked), (400, {"errors": [{"details": "the body is not JSON"}]}))

    def test_content_type(self) -> None:
        """A body that is not said to be JSON is answered 400."""
        for given in ({}, {"Content-Type": "text/plain"}):
            with case(given=given):
                headers = {"Authorization": AUTHORIZED["Authorization"], **given}
                status, details = self.http.details("POST", MESSAGES, MESSAGE, headers=headers)
                self.assertEqual(status, 400)
                self.assertIn("the Content-Type must be application/json", details)
        self.assertEqual(self.turn.conversations(), [])

    def test_status(self) -> None:
        """Statuses of a message that Turn sent are on its line, each once."""
        self.successResultOf(self.send())
        for status in ("sent", "delivered", "delivered"):
            with case(status=status):
                self.assertEqual(self.status(id="o1", status=status), (200, {}))
        (entry,) = self.turn.conversation("+26612345678").entries
        self.assertEqual(entry.statuses, ["sent", "delivered"])

    def test_status_before_the_id(self) -> None:
        """A status that overtakes the answer with the message's id is not lost."""
        answer: Deferred[ChannelAnswer] = Deferred()
        self.answers.append(answer)
        sending = self.send()
        self.assertEqual(self.status(id="o1", status="sent"), (200, {}))
        answer.callback(OK)
        self.assertEqual(self.successResultOf(sending).statuses, ["sent"])

    def test_status_of_another_person(self) -> None:
        """A status with a recipient who is not the message's is answered 400."""
        self.successResultOf(self.send())
        status, value = self.status(id="o1", recipient_id="+266999")
        self.assertEqual(status, 400)
        self.assertIn("recipient_id must be the person", value["errors"][0]["details"])
        self.assertEqual(self.status(id="o1", recipient_id="26612345678"), (200, {}))

    def test_rate_limit(self) -> None:
        """Calls beyond the limit get 429 with Turn's headers, and are not taken."""
        self.turn.api.limit = RateLimit(self.clock, calls=1)
        self.message()
        asked = self.http.start("POST", MESSAGES, changed(MESSAGE, "message.id", "m2"), AUTHORIZED)
        response = self.successResultOf(asked)
        self.assertEqual(response.code, 429)
        self.assertEqual(response.headers.getRawHeaders("retry-after"), ["60"])
        self.assertEqual(response.headers.getRawHeaders("x-ratelimit-remaining"), ["0"])
        self.assertEqual(len(self.turn.conversation("+26612345678").entries), 1)

    def test_records_are_bounded(self) -> None:
        """Old requests are forgotten, and the numbers go on."""
        for _ in range(MAX_RECORDS + 3):
            self.message()
        self.assertEqual(len(self.turn.api.records), MAX_RECORDS)
        self.assertEqual(self.turn.api.records[-1].number, MAX_RECORDS + 3)


class FaultsTests(SimulatorCase):
    """How it misbehaves."""

    def test_error(self) -> None:
        """Told to answer 503 once, it does so once, and takes nothing."""
        self.turn.api.plan.set(TurnFaults("error", status=503, times=1))
        self.assertEqual(self.message()[0], 503)
        self.assertEqual(self.turn.conversations(), [])
        self.assertEqual(self.message()[0], 200)

    def test_throttle(self) -> None:
        """Told to throttle, it answers 429 with Retry-After and the limit's headers."""
        self.turn.api.plan.set(TurnFaults("throttle", retry_after=7))
        response = self.successResultOf(self.http.start("POST", MESSAGES, MESSAGE, AUTHORIZED))
        self.assertEqual(response.code, 429)
        self.assertEqual(response.headers.getRawHeaders("retry-after"), ["7"])
        self.assertEqual(response.headers.getRawHeaders("x-ratelimit-reset"), ["1628345685.000"])

    def test_slow(self) -> None:
        """Told to be slow, it answers as usual after the delay and not before."""
        self.turn.api.plan.set(TurnFaults(delay=3))
        asked = self.http.start("POST", MESSAGES, MESSAGE, AUTHORIZED)
        self.clock.advance(2.9)
        self.assertNoResult(asked)
        self.clock.advance(0.2)
        self.assertEqual(self.http.read(asked), (200, {}))

    def test_stop_ends_delays(self) -> None:
        """When it stops, what is delayed is answered at once and no timer is left."""
        self.turn.api.plan.set(TurnFaults(delay=100))
        asked = self.http.start("POST", MESSAGES, MESSAGE, AUTHORIZED)
        self.turn.stop()
        self.assertEqual(self.http.read(asked)[0], 200)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_records_say_what_became(self) -> None:
        """A request's record is told of twice: when it comes, and with what it was answered."""
        told: list[tuple[bool, Optional[int]]] = []
        self.turn.api.on_request = lambda record: told.append((record.answered, record.status))
        self.turn.api.plan.set(TurnFaults("error", status=500, times=1))
        self.message()
        self.assertEqual(told, [(False, None), (True, 500)])


class SendingTests(SimulatorCase):
    """What it POSTs to the channel."""

    def test_signed(self) -> None:
        """A message is POSTed with the signature of its very bytes, and gets the channel's id."""
        entry = self.successResultOf(self.send(reply_to="m1", waiting=True))
        ((url, headers, body),) = self.posts
        self.assertEqual(url, "http://channel/messages")
        self.assertTrue(verify(b"the-secret", body, headers["X-Turn-Hook-Signature"].encode()))
        payload = json.loads(body)
        self.assertEqual((payload["to"], payload["reply_to"]), ("+26612345678", "m1"))
        self.assertIs(payload["waiting_for_user_input"], True)
        self.assertEqual((entry.id, entry.error, entry.sending, entry.tries), ("o1", None, False, 1))

    def test_repeats_failures(self) -> None:
        """A 5xx and a lost answer are repeated with the same bytes, after growing waits."""
        self.answers = [ChannelAnswer(503, b""), NoAnswer("no answer within 5 s")]
        sending = self.send()
        (entry,) = self.turn.conversation("+26612345678").entries
        self.assertEqual((entry.error, entry.sending), ("the channel answered 503", True))
        self.clock.advance(REPEAT_AFTER[0])
        self.assertEqual(entry.error, "the channel gave no answer within 5 s")
        self.assertNoResult(sending)
        self.clock.advance(REPEAT_AFTER[1])
        self.assertEqual(self.successResultOf(sending).id, "o1")
        self.assertEqual((entry.error, entry.sending, entry.tries), (None, False, 3))
        self.assertEqual(len({body for _, _, body in self.posts}), 1)

    def test_gives_up(self) -> None:
        """After its last repeat it gives up at once and says why."""
        self.answers = [ChannelAnswer(500, b"")] * 6
        sending = self.send()
        self.clock.pump(REPEAT_AFTER)
        entry = self.successResultOf(sending)
        self.assertEqual((entry.error, entry.sending), ("the channel answered 500", False))
        self.assertEqual(len(self.posts), 1 + len(REPEAT_AFTER))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_4xx_is_final(self) -> None:
        """A 4xx is not repeated."""
        self.answers = [ChannelAnswer(401, b"")]
        entry = self.successResultOf(self.send())
        self.assertEqual(entry.error, "the channel answered 401")
        self.assertEqual(len(self.posts), 1)

    def test_without_repeats(self) -> None:
        """A script may ask for one try only."""
        self.answers = [ChannelAnswer(503, b"")]
        self.assertEqual(self.successResultOf(self.send(repeats=False)).tries, 1)

    def test_answer_without_id(self) -> None:
        """A 200 that names no message is an error."""
        for body in (b"", b"[]", b'{"messages": []}', b'{"messages": [{"id": 5}]}'):
            with case(body=body):
                self.answers = [ChannelAnswer(200, body)]
                self.assertIn("without messages[0].id", self.successResultOf(self.send()).error)


class ControlTests(SimulatorCase):
    """The API by which a test drives it."""

    def test_requests(self) -> None:
        """Requests are listed by kind and number, with their answers, and without the token."""
        self.message(message__type="image")
        self.status(id="o9")
        status, value = self.http.call("GET", "/requests?kind=message")
        self.assertEqual(status, 200)
        (record,) = value["requests"]
        self.assertEqual((record["status"], record["body"]["message"]["type"]), (400, "image"))
        self.assertIn("message.type", record["answer"]["errors"][0]["details"])
        self.assertEqual(record["headers"]["Authorization"], "***")
        self.assertEqual([r["kind"] for r in self.http.call("GET", "/requests?since=1")[1]["requests"]], ["status"])
        self.assertEqual(self.http.details("GET", "/requests?since=x"), (400, "since must be a whole number"))
        details = self.http.details("GET", "/requests?kind=x")
        self.assertEqual(details, (400, "kind must be message, status or channel"))

    def test_faults(self) -> None:
        """Faults is set, read and refused."""
        status, value = self.http.call("PUT", "/faults", {"mode": "error", "status": 503})
        self.assertEqual((status, value["status"], value["script"]), (200, 503, []))
        self.assertEqual(self.http.call("GET", "/faults"), (200, value))
        self.assertEqual(self.http.details("PUT", "/faults", {"mode": "sunny"})[0], 400)

    def test_script(self) -> None:
        """A script of faults is played to the requests that come."""
        self.http.call("PUT", "/faults", {"script": [{"mode": "error", "times": 2}, {"mode": "throttle"}]})
        self.assertEqual([self.message()[0] for _ in range(4)], [500, 500, 429, 200])
        wrong: tuple[Any, ...] = ({}, [{"mode": "x"}])
        for script in wrong:
            with case(script=script):
                self.assertEqual(self.http.details("PUT", "/faults", {"script": script})[0], 400)

    def test_send(self) -> None:
        """A message is sent on demand; one that the channel does not take is a 502 that says why."""
        body = {"to": "+266111", "text": "Hi"}
        self.assertEqual(self.http.call("POST", "/send", body), (200, {"id": "o1", "tries": 1}))
        self.answers = [ChannelAnswer(404, b"")]
        self.assertEqual(self.http.details("POST", "/send", body), (502, "the channel answered 404"))
        self.assertEqual(
            self.http.details("POST", "/send", {"to": "+266111"}),
            (400, "text must be a string, and not an empty one"),
        )

    def test_conversations_and_reset(self) -> None:
        """Conversations are shown by address, and a reset forgets them, the requests and the faults."""
        self.message()
        shown = self.http.call("GET", "/conversations")[1]["conversations"]
        self.assertEqual([entry["text"] for entry in shown["+26612345678"]], ["Hello"])
        self.http.call("PUT", "/faults", {"mode": "down"})
        self.assertEqual(self.http.call("POST", "/reset", {}), (200, {}))
        self.assertEqual(self.http.call("GET", "/conversations"), (200, {"conversations": {}}))
        self.assertEqual(self.http.call("GET", "/requests"), (200, {"requests": []}))
        self.assertEqual(self.http.call("GET", "/faults")[1]["mode"], "up")


class MoreThanTextTests(SimulatorCase):
    """Messages with buttons, choices, notes, and channels that are made."""

    def test_turn(self) -> None:
        """A message of any type goes as it was given, with or without a text beside it."""
        shape = {"type": "image", "image": {"link": "https://x/y.png"}}
        self.successResultOf(ensureDeferred(self.turn.send("+266111", None, turn=shape)))
        body = json.loads(self.posts[-1][2])
        self.assertEqual((body["turn"], body["content"]), (shape, None))
        (entry,) = self.turn.conversation("+266111").entries
        self.assertEqual((entry.text, entry.turn), ("(image)", shape))

    def test_send_turn(self) -> None:
        """By the API too; without a text and without that it is refused."""
        status, answer = self.http.call("POST", "/send", {"to": "+266111", "turn": {"type": "sticker"}})
        self.assertEqual((status, answer["id"]), (200, "o1"))
        self.assertEqual(
            self.http.details("POST", "/send", {"to": "+266111"}), (400, "text must be a string, and not an empty one")
        )
        self.assertEqual(
            self.http.details("POST", "/send", {"to": "+266111", "turn": "x"}), (400, "turn must be an object")
        )

    def test_why_refused(self) -> None:
        """The channel's own words are in the error."""
        self.answers = [ChannelAnswer(400, b'{"errors": [{"details": "turn.type is missing"}]}')]
        entry = self.successResultOf(self.send())
        self.assertEqual(entry.error, "the channel answered 400: turn.type is missing")

    def test_reason(self) -> None:
        """Why a message failed on its way is kept, whether that is known before its id or after."""
        self.turn.note_failure("o1", "too long")
        self.successResultOf(self.send())
        self.turn.note_failure("o1", "no session")
        (entry,) = self.turn.conversation("+26612345678").entries
        self.assertEqual(entry.reason, "no session")

    def test_note(self) -> None:
        """A note is a line of the conversation, and nobody's message."""
        self.turn.note("+266111", "Session opened")
        (entry,) = self.turn.conversation("266111").entries
        self.assertEqual((entry.direction, entry.text, entry.id), ("note", "Session opened", None))

    def test_new_channel(self) -> None:
        """A channel is made with what its owner needs; the simulator sends to it from then on, if it is to."""
        asked = {
            "backend_type": "channel",
            "number_type": "channel_http_api",
            "from_addr": "*120#",
            "name": "Clinic",
            "endpoint": "https://our.host/messages",
        }
        status, answer = self.http.call("POST", "/v1/numbers", asked, AUTHORIZED)
        self.assertEqual((status, answer["webhook"]["hmac_secret"]), (200, "the-secret"))
        self.assertEqual(len({answer["number"]["uuid"], answer["webhook"]["uuid"]}), 2)
        self.assertEqual(self.turn.webhook, "http://channel/messages")
        following = TurnSimulator(
            self.clock, token="the-token", secret="s", webhook="http://channel/messages", post=self.post, follow=True
        )
        MemoryHttp(self, simulator_app(following)).call("POST", "/v1/numbers", asked, AUTHORIZED)
        self.assertEqual(following.webhook, "https://our.host/messages")
        self.assertEqual(self.http.call("POST", "/v1/numbers", asked, JSON)[0], 401)
