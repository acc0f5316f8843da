"""
A simulated Turn: the Channels API as a channel sees it.

It takes messages and statuses, validates them strictly, signs and POSTs
outbound messages, repeats those that fail as Turn does, limits the rate, and
can be told to misbehave. It records everything. It knows nothing of vumi, so
any channel can be pointed at it.

The formats are those of Turn's Channels API documentation,
https://whatsapp.turn.io/docs/api/channel_api.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Optional

from klein import Klein
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.iweb import IRequest

log = Logger()

#: Posts ``body`` with ``headers`` to a URL; gives the status and the body of the answer.
Post = Callable[[str, dict[str, str], bytes], Awaitable[tuple[int, bytes]]]

#: Turn wants an answer within this many seconds.
WEBHOOK_TIMEOUT = 5.0

#: The waits between Turn's tries of one outbound message, in seconds.
REPEAT_AFTER = (1.0, 2.0, 4.0, 8.0, 15.0)

STATUSES = ("sent", "delivered", "read", "failed")


class Invalid(Exception):
    """What was POSTed is not what the Channels API takes; the text says why."""


@dataclass(frozen=True)
class Weather:
    """
    How Turn behaves.

    :ivar mode: ``up``; ``down`` cuts each connection; ``hang`` never answers;
        ``error`` answers ``status``; ``throttle`` answers 429 with
        ``retry_after``; ``liar`` takes what it got and then cuts.
    :ivar delay: seconds before each answer.
    :ivar status: what ``error`` answers.
    :ivar retry_after: seconds that ``throttle`` tells to wait.
    :ivar times: for how many requests; None is until it is changed.
    """

    mode: str = "up"
    delay: float = 0.0
    status: int = 500
    retry_after: int = 10
    times: Optional[int] = None

    MODES = ("up", "down", "hang", "error", "throttle", "liar")

    def __post_init__(self) -> None:
        if self.mode not in self.MODES:
            raise ValueError(f"mode must be one of {', '.join(self.MODES)}, not {self.mode!r}")
        if self.delay < 0 or self.retry_after < 0:
            raise ValueError("delay and retry_after must not be negative")
        if not 300 <= self.status <= 599:
            raise ValueError("status must be from 300 to 599")


@dataclass
class Entry:
    """One line of a conversation: ``direction`` is ``inbound`` or ``outbound``."""

    direction: str
    id: Optional[str]
    text: str
    at: float
    statuses: list[str] = field(default_factory=list)
    error: Optional[str] = None
    waiting: bool = False


def _string(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{name} must be a string")
    if not value:
        raise Invalid(f"{name} must not be empty")
    return value


def _object(value: Any, name: str, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{name} must be an object")
    for key in value:
        if key not in allowed:
            raise Invalid(f"{name}.{key} is not known")
    return value


def _timestamp(value: Any, name: str) -> str:
    text = _string(value, name)
    if not (text.isascii() and text.isdigit()):
        raise Invalid(f"{name} must be a string of Unix seconds")
    return text


def check_message(payload: Any) -> dict[str, Any]:
    """
    :return: the ``message`` object of a valid payload.
    :raises Invalid: naming the field that is wrong.
    """
    _object(payload, "the body", ("contact", "message"))
    contact = _object(payload.get("contact"), "contact", ("id", "profile"))
    _string(contact.get("id"), "contact.id")
    _string(_object(contact.get("profile"), "contact.profile", ("name",)).get("name"), "contact.profile.name")
    message = _object(payload.get("message"), "message", ("type", "text", "from", "id", "timestamp"))
    if message.get("type") != "text":
        raise Invalid("message.type must be text")
    _string(_object(message.get("text"), "message.text", ("body",)).get("body"), "message.text.body")
    _string(message.get("from"), "message.from")
    _string(message.get("id"), "message.id")
    _timestamp(message.get("timestamp"), "message.timestamp")
    if message["from"] != contact["id"]:
        raise Invalid("message.from must be contact.id")
    return message


def check_status(payload: Any) -> dict[str, Any]:
    """
    :return: the ``status`` object of a valid payload.
    :raises Invalid: naming the field that is wrong.
    """
    _object(payload, "the body", ("status",))
    status = _object(payload.get("status"), "status", ("id", "status", "timestamp", "recipient_id"))
    _string(status.get("id"), "status.id")
    if status.get("status") not in STATUSES:
        raise Invalid(f"status.status must be one of {', '.join(STATUSES)}")
    _timestamp(status.get("timestamp"), "status.timestamp")
    if "recipient_id" in status:
        _string(status["recipient_id"], "status.recipient_id")
    return status


class RateLimit:
    """Turn's limit: so many calls in a window of so many seconds."""

    def __init__(self, clock: IReactorTime, calls: int = 60, window: float = 60.0) -> None:
        self._clock = clock
        self.calls = calls
        self.window = window
        self._used = 0
        self._until = 0.0

    def take(self) -> tuple[bool, dict[str, str]]:
        """Count a call: whether it is within the limit, and the headers that say so."""
        now = self._clock.seconds()
        if now >= self._until:
            self._used, self._until = 0, now + self.window
        allowed = self._used < self.calls
        if allowed:
            self._used += 1
        headers = {
            "X-Ratelimit-Limit": str(self.calls),
            "X-Ratelimit-Remaining": str(self.calls - self._used),
            "X-Ratelimit-Reset": f"{self._until:.3f}",
        }
        if not allowed:
            headers["Retry-After"] = str(max(1, int(self._until - now + 0.999)))
        return allowed, headers


class TurnSimulator:
    """
    :param clock: for waits and timestamps.
    :param token: the bearer token that a channel must send.
    :param secret: signs what is POSTed to the channel.
    :param webhook: the channel's URL for messages.
    :param post: how to POST to it.
    :param limit: the rate limit, None for none.
    :param observe: called with each ``(name, details)`` that happens.
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
        observe: Optional[Callable[[str, dict[str, Any]], None]] = None,
    ) -> None:
        self._clock = clock
        self._token = token
        self._secret = secret.encode("utf-8")
        self.webhook = webhook
        self._post = post
        self.limit = limit
        self._observe = observe if observe is not None else lambda name, details: None
        self.weather = Weather()
        self.requests: list[dict[str, Any]] = []
        self.conversations: dict[str, list[Entry]] = {}
        self._received: set[str] = set()
        self._sent: dict[str, tuple[str, Entry]] = {}
        self.on_message: Optional[Callable[[str, dict[str, Any]], None]] = None
        self.app = self._routes()

    # -- what a channel POSTs to Turn ----------------------------------------

    def _routes(self) -> Klein:
        app = Klein()

        @app.route("/v1/numbers/<number>/messages", methods=["POST"])
        def messages(request: IRequest, number: str) -> Deferred[bytes]:
            return ensureDeferred(self._serve(request, "message", check_message, self._take_message))

        @app.route("/v1/numbers/<number>/statuses", methods=["POST"])
        def statuses(request: IRequest, number: str) -> Deferred[bytes]:
            return ensureDeferred(self._serve(request, "status", check_status, self._take_status))

        return app

    async def _serve(
        self,
        request: Request,
        kind: str,
        check: Callable[[Any], dict[str, Any]],
        take: Callable[[dict[str, Any]], None],
    ) -> bytes:
        body = request.content.read()
        weather = self._next_weather()
        if weather.delay:
            await sleep(self._clock, weather.delay)
        if weather.mode == "hang":
            return await _never(request)
        if weather.mode == "down":
            return await self._cut(request, kind, body)
        status, headers, answer = self._judge(request, weather, kind, body, check, take)
        if weather.mode == "liar":
            return await self._cut(request, kind, body)
        self._record(request, kind, body, status, headers)
        request.setResponseCode(status)
        for name, value in headers.items():
            request.setHeader(name, value)
        request.setHeader("Content-Type", "application/json")
        return json.dumps(answer).encode("utf-8")

    def _judge(
        self,
        request: Request,
        weather: Weather,
        kind: str,
        body: bytes,
        check: Callable[[Any], dict[str, Any]],
        take: Callable[[dict[str, Any]], None],
    ) -> tuple[int, dict[str, str], dict[str, Any]]:
        headers: dict[str, str] = {}
        if weather.mode == "throttle":
            return 429, {"Retry-After": str(weather.retry_after)}, _error("rate limit exceeded")
        if weather.mode == "error":
            return weather.status, {}, _error(f"told to answer {weather.status}")
        if self.limit is not None:
            allowed, headers = self.limit.take()
            if not allowed:
                return 429, headers, _error("rate limit exceeded")
        expected = b"Bearer " + self._token.encode("utf-8")
        if not hmac.compare_digest(request.getHeader(b"authorization") or b"", expected):
            return 401, headers, _error("the bearer token is missing or wrong")
        try:
            take(check(json.loads(body.decode("utf-8"))))
        except (ValueError, RecursionError):
            return 400, headers, _error("the body is not JSON")
        except Invalid as error:
            return 400, headers, _error(str(error))
        return 200, headers, {}

    def _take_message(self, message: dict[str, Any]) -> None:
        if message["id"] in self._received:
            return  # the same message again: Turn keeps one
        self._received.add(message["id"])
        entry = Entry("inbound", message["id"], message["text"]["body"], self._clock.seconds())
        self.conversations.setdefault(message["from"], []).append(entry)
        self._observe("inbound", {"address": message["from"], "id": message["id"]})
        if self.on_message is not None:
            self.on_message(message["from"], message)

    def _take_status(self, status: dict[str, Any]) -> None:
        address, entry = self._sent.get(status["id"], (None, None))
        if entry is not None and status["status"] not in entry.statuses:
            entry.statuses.append(status["status"])
        self._observe("status", {"address": address, "id": status["id"], "status": status["status"]})

    def _next_weather(self) -> Weather:
        weather = self.weather
        if weather.times is not None:
            left = weather.times - 1
            self.weather = (
                Weather(weather.mode, weather.delay, weather.status, weather.retry_after, left)
                if left > 0
                else Weather()
            )
        return weather

    async def _cut(self, request: Request, kind: str, body: bytes) -> bytes:
        self._record(request, kind, body, None, {})
        gone = _never(request)
        request.transport.abortConnection()
        return await gone

    def _record(
        self, request: Request, kind: str, body: bytes, status: Optional[int], headers: dict[str, str]
    ) -> None:
        record = {
            "at": self._clock.seconds(),
            "kind": kind,
            "path": request.path.decode("ascii", "replace"),
            "request_headers": {
                name.decode("ascii", "replace"): values[0].decode("ascii", "replace")
                for name, values in request.requestHeaders.getAllRawHeaders()
            },
            "body": body.decode("utf-8", "replace"),
            "status": status,
            "headers": headers,
        }
        self.requests.append(record)
        self._observe("request", record)

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
        entry = Entry("outbound", None, text, self._clock.seconds(), waiting=waiting)
        self.conversations.setdefault(to, []).append(entry)
        self._observe("outbound", {"address": to, "id": None, "error": None})
        body = json.dumps(outbound_payload(to, text, reply_to, waiting)).encode("utf-8")
        for wait in REPEAT_AFTER if repeats else (0.0,):
            status, answer = await self._post_once(body)
            if status is not None and status < 500:
                break
            if repeats:
                await sleep(self._clock, wait)
        if status == 200:
            entry.id = json.loads(answer)["messages"][0]["id"]
            entry.error = None
            self._sent[entry.id] = (to, entry)
        else:
            entry.error = f"the channel answered {status}" if status else "the channel did not answer"
        self._observe("outbound", {"address": to, "id": entry.id, "error": entry.error})
        return entry

    async def _post_once(self, body: bytes) -> tuple[Optional[int], bytes]:
        signature = base64.b64encode(hmac.new(self._secret, body, hashlib.sha256).digest())
        headers = {"Content-Type": "application/json", "X-Turn-Hook-Signature": signature.decode("ascii")}
        try:
            answer = await self._post(self.webhook, headers, body)
        except Exception as error:  # whatever the network does is one more reason to try again
            log.debug("POST to the channel failed: {error!r}", error=error)
            return None, b""
        return answer


def outbound_payload(to: str, text: str, reply_to: Optional[str], waiting: bool) -> dict[str, Any]:
    """What Turn POSTs for a text message."""
    return {
        "to": to,
        "from": None,
        "reply_to": reply_to,
        "content": text,
        "context": None,
        "block": None,
        "resources": None,
        "evaluated_resources": None,
        "turn": {"type": "text", "text": {"body": text}},
        "waiting_for_user_input": waiting,
    }


def _error(details: str) -> dict[str, Any]:
    return {"errors": [{"details": details}]}


async def _never(request: Request) -> bytes:
    """Give no answer; ends when the client has gone."""
    await request.notifyFinish()
    return b""


def sleep(clock: IReactorTime, seconds: float) -> Deferred[None]:
    """Fires after ``seconds``."""
    done: Deferred[None] = Deferred()
    clock.callLater(seconds, done.callback, None)
    return done
