"""
A simulated Turn: the Channels API as a channel sees it.

It takes messages and statuses, validates them strictly, signs and POSTs
outbound messages, repeats those that fail as Turn does, limits the rate, and
can be told to misbehave. It remembers what happened. It knows nothing of vumi,
so any channel can be pointed at it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import deque
from typing import Any, Awaitable, Callable, Mapping, Optional

from klein import Klein
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ...caches import person_of
from ...timing.clock import wall_clock_of
from ...timing.timeouts import Timeouts
from ..recent import Recent
from .faults import FaultPlan, TurnFaults
from .formats import Invalid, check_message, check_status, outbound_payload, same_person
from .rate_limit import RateLimit, limit_headers
from .records import Conversation, Entry, Record
from .webhook_client import ChannelAnswer, NoAnswer, plain_headers

#: Posts a body with headers to a URL; raises :exc:`NoAnswer`.
Post = Callable[[str, Mapping[str, str], bytes], Awaitable[ChannelAnswer]]

#: The waits between Turn's tries of one outbound message, in seconds.
REPEAT_AFTER = (1.0, 2.0, 4.0, 8.0, 15.0)

#: What is remembered at the most: requests, people, ids.
MAX_RECORDS, MAX_PEOPLE, MAX_IDS = 500, 200, 10_000


class TurnSimulator:
    """
    :param clock: for waits and timestamps.
    :param token: the bearer token that a channel must send.
    :param secret: signs what is POSTed to the channel.
    :param webhook: the channel's URL for messages.
    :param post: how to POST to it.
    :param limit: the rate limit, None for none.
    :ivar plan: how it behaves.
    :ivar on_message: called with each new message of a person's.
    :ivar on_request: called with each request's record when it has come, and
        again when it is settled.
    :ivar on_conversation: called with a conversation that has changed.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        token: str,
        secret: str,
        webhook: str,
        post: Post,
        limit: Optional[RateLimit] = None,
    ) -> None:
        self._clock = clock
        self._wall = wall_clock_of(clock)
        self._token = token.encode("utf-8")
        self._secret = secret.encode("utf-8")
        self._post = post
        self._waits = Timeouts(clock)
        self.webhook = webhook
        self.limit = limit
        self.plan = FaultPlan()
        self.on_message: Callable[[str, dict[str, Any]], None] = lambda address, message: None
        self.on_request: Callable[[Record], None] = lambda record: None
        self.on_conversation: Callable[[Conversation], None] = lambda conversation: None
        self.records: deque[Record] = deque(maxlen=MAX_RECORDS)
        self._last_number = 0
        self._conversations: Recent[Conversation] = Recent(MAX_PEOPLE)
        self._received: Recent[bool] = Recent(MAX_IDS)
        self._sent: Recent[tuple[str, Entry]] = Recent(MAX_IDS)
        self._early: Recent[list[str]] = Recent(MAX_IDS)

    def reset(self) -> None:
        """Forget all that happened, and have no fault."""
        self.plan.set(TurnFaults())
        self.records.clear()
        for memory in (self._conversations, self._received, self._sent, self._early):
            memory.clear()

    def stop(self) -> None:
        """End all waits: delayed answers are given, and nothing is tried again."""
        self._waits.end(lambda: NoAnswer("the simulated Turn is stopping"))

    def conversation(self, address: str) -> Conversation:
        """A person's conversation, a new one where there is none."""
        key = person_of(address)
        known = self._conversations.get(key)
        return known if known is not None else self._conversations.put(key, Conversation(address))

    def conversations(self) -> list[Conversation]:
        """All of them, the one that began first first."""
        return self._conversations.values()

    # -- what a channel POSTs to Turn ----------------------------------------

    def add_routes(self, app: Klein, prefix: str = "") -> None:
        """Serve the API's paths, below ``prefix``."""

        @app.route(f"{prefix}/v1/numbers/<number>/messages", methods=["POST"])
        def messages(request: IRequest, number: str) -> Deferred[bytes]:
            return ensureDeferred(self._serve(request, "message"))

        @app.route(f"{prefix}/v1/numbers/<number>/statuses", methods=["POST"])
        def statuses(request: IRequest, number: str) -> Deferred[bytes]:
            return ensureDeferred(self._serve(request, "status"))

    async def _serve(self, request: Any, kind: str) -> bytes:
        record = self._record(request, kind)
        request.notifyFinish().addErrback(lambda _: self._settle(record))
        faults = self.plan.next(kind)
        if faults.delay:
            await self._waits.sleep(faults.delay)
        if faults.mode == "hang":
            await Deferred()  # ends when the client has gone, and klein cancels this
        if faults.mode == "lost_answer":
            self._judge(request, record, TurnFaults())
        if faults.mode in ("down", "lost_answer"):
            request.transport.abortConnection()
            await Deferred()
        status, headers, problem = self._judge(request, record, faults)
        record.answer_headers = {**headers, "Content-Type": "application/json"}
        record.answer = json.dumps({"errors": [{"details": problem}]} if problem else {}).encode("ascii")
        request.setResponseCode(status)
        for name, value in record.answer_headers.items():
            request.setHeader(name, value)
        self._settle(record, status)
        return record.answer

    def _record(self, request: Any, kind: str) -> Record:
        self._last_number += 1
        record = Record(
            self._last_number,
            self._wall(),
            kind,
            request.path.decode("ascii", "replace"),
            plain_headers(request.requestHeaders),
            request.content.read(),
        )
        self.records.append(record)
        self.on_request(record)
        return record

    def _settle(self, record: Record, status: Optional[int] = None) -> None:
        if not record.answered:
            record.answered, record.status = True, status
            self.on_request(record)

    def _judge(self, request: Any, record: Record, faults: TurnFaults) -> tuple[int, dict[str, str], Optional[str]]:
        """The status, its headers, and what is wrong."""
        headers: dict[str, str] = {}
        if faults.mode == "throttle":
            reset = self._wall() + faults.retry_after
            calls = self.limit.calls if self.limit is not None else 60
            headers = {"Retry-After": str(faults.retry_after), **limit_headers(calls, 0, reset)}
            return 429, headers, "rate limit exceeded"
        if faults.mode == "error":
            return faults.status, {}, f"told to answer {faults.status}"
        if self.limit is not None:
            allowed, headers = self.limit.take()
            if not allowed:
                return 429, headers, "rate limit exceeded"
        given = request.requestHeaders.getRawHeaders(b"authorization") or [b""]
        if not hmac.compare_digest(given[0], b"Bearer " + self._token):
            return 401, headers, "the bearer token is missing or wrong"
        try:
            self._take(record)
        except Invalid as error:
            return 400, headers, str(error)
        return 200, headers, None

    def _take(self, record: Record) -> None:
        """
        :raises Invalid: the body is not what the API takes.
        """
        content_type = next((value for name, value in record.headers.items() if name.lower() == "content-type"), "")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise Invalid(f"the Content-Type must be application/json, not {content_type!r}")
        try:
            payload = json.loads(record.body.decode("utf-8"))
        except (ValueError, RecursionError):
            raise Invalid("the body is not JSON") from None
        if record.kind == "message":
            self._take_message(check_message(payload))
        else:
            self._take_status(check_status(payload))

    def _take_message(self, message: dict[str, Any]) -> None:
        if message["id"] in self._received:
            return  # the same message again: Turn keeps one
        self._received.put(message["id"], True)
        entry = Entry("inbound", message["id"], message["text"]["body"], self._wall())
        self._say(message["from"], entry)
        self.on_message(message["from"], message)

    def _take_status(self, status: dict[str, Any]) -> None:
        known = self._sent.get(status["id"])
        if known is None:
            # A status may overtake the answer that has the message's id.
            early = self._early.get(status["id"]) or self._early.put(status["id"], [])
            early.append(status["status"])
            return
        address, entry = known
        if "recipient_id" in status and not same_person(status["recipient_id"], address):
            raise Invalid("status.recipient_id must be the person whom the message went to")
        if status["status"] not in entry.statuses:
            entry.statuses.append(status["status"])
        self.on_conversation(self.conversation(address))

    def _say(self, address: str, entry: Entry) -> None:
        conversation = self.conversation(address)
        conversation.entries.append(entry)
        self.on_conversation(conversation)

    # -- what Turn POSTs to a channel ----------------------------------------

    async def send(
        self, to: str, text: str, *, reply_to: Optional[str] = None, waiting: bool = False, repeats: bool = True
    ) -> Entry:
        """
        Send a text to a person, as an agent or a journey in Turn does.

        :param to: the person's address.
        :param text: what to say.
        :param reply_to: the id of the inbound message that this answers.
        :param waiting: whether the person is expected to answer.
        :param repeats: whether to repeat a POST that failed, as Turn does.
        :return: the line of the conversation; its ``error`` says why it failed.
        """
        entry = Entry("outbound", None, text, self._wall(), waiting=waiting, sending=True)
        self._say(to, entry)
        body = json.dumps(outbound_payload(to, text, reply_to, waiting)).encode("ascii")
        for wait in (*REPEAT_AFTER, None) if repeats else (None,):
            entry.tries += 1
            again, entry.error = await self._try(to, entry, body)
            if not again or wait is None:
                break
            self.on_conversation(self.conversation(to))
            await self._waits.sleep(wait)
        entry.sending = False
        self.on_conversation(self.conversation(to))
        return entry

    async def _try(self, to: str, entry: Entry, body: bytes) -> tuple[bool, Optional[str]]:
        """POST once; whether to try again, and what was wrong."""
        signature = base64.b64encode(hmac.new(self._secret, body, hashlib.sha256).digest())
        headers = {"Content-Type": "application/json", "X-Turn-Hook-Signature": signature.decode("ascii")}
        try:
            answer = await self._post(self.webhook, headers, body)
        except NoAnswer as error:
            return True, f"the channel gave {error}"
        if not 200 <= answer.status < 300:
            return answer.status >= 500, f"the channel answered {answer.status}"
        name = _id_of(answer.body)
        if name is None:
            return False, f"the channel answered {answer.status}, without messages[0].id"
        entry.id = name
        entry.statuses.extend(self._early.pop(name) or [])
        self._sent.put(name, (to, entry))
        return False, None


def _id_of(answer: bytes) -> Optional[str]:
    """The id that a channel's answer gives to a message."""
    try:
        name = json.loads(answer)["messages"][0]["id"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return name if isinstance(name, str) and name else None
