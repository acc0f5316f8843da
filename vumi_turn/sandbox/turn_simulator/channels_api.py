"""The simulated Turn's side of the Channels API: what a channel POSTs, judged and answered."""

from __future__ import annotations

import hmac
import json
from collections import deque
from typing import Any, Callable, Optional, Protocol
from uuid import uuid4

from klein import Klein
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ...timing.clock import wall_clock_of
from ...timing.timeouts import Timeouts
from .faults import FaultPlan, TurnFaults
from .formats import Invalid, check_message, check_new_channel, check_status
from .rate_limit import RateLimit, limit_headers
from .records import Record
from .webhook_client import plain_headers

#: How many requests are remembered.
MAX_RECORDS = 500


class Taker(Protocol):
    """What valid requests are given to."""

    def take_message(self, message: dict[str, Any]) -> None:
        """A person's message."""

    def take_status(self, status: dict[str, Any]) -> None:
        """
        What became of a message to a person.

        :raises Invalid: it does not fit to that message.
        """

    def take_channel(self, channel: dict[str, Any]) -> dict[str, str]:
        """A channel is to be made; what Turn tells of its webhook."""


class ChannelsApi:
    """
    :param clock: for delays and timestamps.
    :param token: the bearer token that a channel must send.
    :param taker: gets what is valid.
    :param limit: the rate limit, None for none.
    :ivar plan: how it behaves.
    :ivar on_request: called with each request's record when it has come, and again when it is settled.
    """

    def __init__(self, clock: IReactorTime, token: str, taker: Taker, limit: Optional[RateLimit] = None) -> None:
        self._wall = wall_clock_of(clock)
        self._token = token.encode("utf-8")
        self._taker = taker
        self._waits = Timeouts(clock)
        self.limit = limit
        self.plan = FaultPlan()
        self.on_request: Callable[[Record], None] = lambda record: None
        self.records: deque[Record] = deque(maxlen=MAX_RECORDS)
        self._last_number = 0

    def stop(self) -> None:
        """End all waits: delayed answers are given."""
        self._waits.end(lambda: ConnectionAbortedError("the simulated Turn is stopping"))

    def reset(self) -> None:
        """Forget all requests, and have no fault."""
        self.plan.set(TurnFaults())
        self.records.clear()

    def add_routes(self, app: Klein, prefix: str = "") -> None:
        """
        Serve the API's paths, below ``prefix``.

        klein knows a route by its function's name: none may be another's of
        the same application.
        """

        @app.route(f"{prefix}/v1/numbers/<number>/messages", methods=["POST"])
        def turn_messages(request: IRequest, number: str) -> Deferred[bytes]:
            return ensureDeferred(self._serve(request, "message"))

        @app.route(f"{prefix}/v1/numbers/<number>/statuses", methods=["POST"])
        def turn_statuses(request: IRequest, number: str) -> Deferred[bytes]:
            return ensureDeferred(self._serve(request, "status"))

        @app.route(f"{prefix}/v1/numbers", methods=["POST"])
        def turn_numbers(request: IRequest) -> Deferred[bytes]:
            return ensureDeferred(self._serve(request, "channel"))

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
        status, headers, answer = self._judge(request, record, faults)
        record.answer_headers = {**headers, "Content-Type": "application/json"}
        record.answer = json.dumps(answer).encode("ascii")
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

    def _judge(self, request: Any, record: Record, faults: TurnFaults) -> tuple[int, dict[str, str], Any]:
        """The status, its headers, and the answer."""
        headers: dict[str, str] = {}
        if faults.mode == "throttle":
            reset = self._wall() + faults.retry_after
            calls = self.limit.calls if self.limit is not None else 60
            headers = {"Retry-After": str(faults.retry_after), **limit_headers(calls, 0, reset)}
            return 429, headers, _problem("rate limit exceeded")
        if faults.mode == "error":
            return faults.status, {}, _problem(f"told to answer {faults.status}")
        if self.limit is not None:
            allowed, headers = self.limit.take()
            if not allowed:
                return 429, headers, _problem("rate limit exceeded")
        given = request.requestHeaders.getRawHeaders(b"authorization") or [b""]
        if not hmac.compare_digest(given[0], b"Bearer " + self._token):
            return 401, headers, _problem("the bearer token is missing or wrong")
        try:
            answer = self._take(record)
        except Invalid as error:
            return 400, headers, _problem(str(error))
        return 200, headers, answer

    def _take(self, record: Record) -> dict[str, Any]:
        """
        :return: the answer.
        :raises Invalid: the body is not what the API takes.
        """
        content_type = next((value for name, value in record.headers.items() if name.lower() == "content-type"), "")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise Invalid(f"the Content-Type must be application/json, not {content_type!r}")
        try:
            payload = json.loads(record.body.decode("utf-8"))
        except (ValueError, RecursionError):
            raise Invalid("the body is not JSON") from None
        if record.kind == "channel":
            webhook = self._taker.take_channel(check_new_channel(payload))
            return {"number": {"uuid": str(uuid4())}, "webhook": {"uuid": str(uuid4()), **webhook}}
        if record.kind == "message":
            self._taker.take_message(check_message(payload))
        else:
            self._taker.take_status(check_status(payload))
        return {}


def _problem(details: str) -> dict[str, Any]:
    return {"errors": [{"details": details}]}
