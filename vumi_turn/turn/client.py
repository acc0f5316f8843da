"""
POSTs to Turn: one POST, one :class:`TurnResponse`.

What an answer means, whether to try again and when, is decided elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Optional

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    DNSLookupError,
    UnknownHostError,
)
from twisted.python.failure import Failure
from twisted.web.client import (
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.iweb import IResponse

from ..http.connections import (
    BytesProducer,
    PreparedHeaders,
    ProxyRefused,
    ProxySettings,
    make_agent,
    values_of,
    whole_body,
)
from ..http.tls import CertificateRefused, VerifiedHost
from ..http.urls import PreparedURL, host_header
from ..timing.clock import wall_clock_of
from ..timing.read_first import ReadFirstTimeout
from .payloads import MESSAGES_PATH, STATUSES_PATH
from .plain_treq import PlainHTTPClient
from .rate_limit import TOO_MANY_REQUESTS, HeaderValues, bucket_of, value_of, wait_told, whole_number
from .response_body import Body, meaning_of, read_body
from .verdicts import BodyMeaning
from .words import masked_words, personal_texts

#: Bytes that are looked at of the body of an answer that was no plain yes.
MAX_LOOKED_AT = 4096

#: Seconds for idle connections to be closed properly.
CLOSE_TIMEOUT = 1.0

# Made once: json.dumps makes a new one for each call with options.
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

#: What may befall a POST; anything else is a bug.
NETWORK_TROUBLE = (
    CancelledError,
    CertificateRefused,
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    OSError,  # DNSLookupError is one
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
    SSL.Error,
)


@dataclass(frozen=True, slots=True)
class TurnResponse:
    """
    What became of one POST.

    :ivar status: the HTTP status, None where no answer's headers came.
    :ivar error: why there were none: ``connect``, ``dns``, ``tls``, ``lost``
        (the connection, at any moment) or ``timeout``.
    :ivar wait: seconds that Turn told us to wait before the next request.
    :ivar detail: a few words for people; never content, addresses or tokens.
    :ivar meaning: what the body of a 2xx says.
    :ivar bucket: the rate limit bucket that the answer names.
    :ivar words: Turn's own, where the answer was no plain yes; what they quote of
        the message is masked. Never logged.
    """

    status: Optional[int]
    error: Optional[str] = None
    wait: Optional[float] = None
    detail: str = ""
    meaning: BodyMeaning = BodyMeaning.NOTHING
    bucket: Optional[str] = None
    words: str = field(default="", repr=False, compare=False)


class _Post:
    """
    A POST that is under way.

    :ivar waits_for: the answer's head, then its body; what is cancelled to end it.
    :ivar timed_out: it took too long.
    """

    __slots__ = ("waits_for", "timed_out")

    def __init__(self, waits_for: Deferred[Any]) -> None:
        self.waits_for = waits_for
        self.timed_out = False

    def time_out(self) -> None:
        """Its time is over."""
        self.timed_out = True
        self.waits_for.cancel()


class TurnClient:
    """
    Turn's HTTP API, as far as we use it.

    :param reactor: connects, and tells the time.
    :param api_url: the URL above ``/messages`` and ``/statuses``.
    :param token: the channel's token.
    :param message_timeout: seconds for a whole POST of a message: to connect,
        to send, to read the answer. Once its headers are there the answer counts,
        though its body may come no further.
    :param status_timeout: the same for a status.
    :param pool_size: how many idle connections are kept.
    :param trust: authorities other than the system's, for HTTPS.
    :param agent: ``fast`` or ``twisted``, see ``make_agent``.
    :param proxies: none by default.
    :ivar rate_limit: how many requests Turn takes in a period, as its last
        answer that said so had it.
    :ivar rate_limit_remaining: how many of them it would still take.
    """

    def __init__(
        self,
        reactor: Any,
        api_url: str,
        token: str,
        *,
        message_timeout: float,
        status_timeout: float,
        pool_size: int,
        trust: Any = None,
        agent: str = "fast",
        proxies: Optional[ProxySettings] = None,
    ) -> None:
        self.rate_limit: Optional[int] = None
        self.rate_limit_remaining: Optional[int] = None
        self._reactor = reactor
        self._wall = wall_clock_of(reactor)
        self._token = token
        self._messages = PreparedURL.of(api_url.rstrip("/") + MESSAGES_PATH)
        self._statuses = PreparedURL.of(api_url.rstrip("/") + STATUSES_PATH)
        self._message_timeout = message_timeout
        self._status_timeout = status_timeout
        self._agent = make_agent(
            reactor,
            lambda host: VerifiedHost(host, trust),
            kind=agent,
            proxies=proxies,
            max_idle_per_host=pool_size,
            undecoded=True,
        )
        self._http = PlainHTTPClient(self._agent, data_to_body_producer=BytesProducer)
        self._headers = PreparedHeaders(
            {
                b"Host": [host_header(self._messages)],
                b"Authorization": [b"Bearer " + token.encode("utf-8")],
                b"Content-Type": [b"application/json"],
                b"Accept": [b"application/json"],
                b"User-Agent": [b"vumi_turn"],
            }
        )
        self._pending: set[_Post] = set()

    async def post_message(self, payload: dict[str, Any]) -> TurnResponse:
        """POST a person's message."""
        return await self._post(self._messages, payload, self._message_timeout)

    async def post_status(self, payload: dict[str, Any]) -> TurnResponse:
        """POST what became of a message of ours."""
        return await self._post(self._statuses, payload, self._status_timeout)

    async def close(self) -> None:
        """Close all connections; POSTs that are under way end as ``lost``."""
        for pending in list(self._pending):
            pending.waits_for.cancel()
        closed: Deferred[None] = Deferred()
        # Over TLS each connection waits for the other side.
        timer = self._reactor.callLater(CLOSE_TIMEOUT, closed.callback, None)

        def close(_: object) -> None:
            if not closed.called:
                closed.callback(None)

        self._agent.close().addBoth(close)
        await closed
        if timer.active():
            timer.cancel()

    async def _post(self, url: PreparedURL, payload: dict[str, Any], timeout: float) -> TurnResponse:
        body = _encode(payload).encode("ascii")
        answered: Deferred[IResponse] = self._http.post(
            url.to_text(), data=body, headers=self._headers, allow_redirects=False, unbuffered=True
        )
        post = _Post(answered)
        timer = ReadFirstTimeout(self._reactor, timeout, post.time_out)
        self._pending.add(post)
        try:
            return await self._read(post, answered, payload)
        except NETWORK_TROUBLE as error:
            if post.timed_out:
                return TurnResponse(None, "timeout", detail=f"no answer within {timeout:g} s")
            return answer_for_failure(error)
        finally:
            self._pending.discard(post)
            timer.stop()

    async def _read(self, post: _Post, answered: Deferred[IResponse], payload: dict[str, Any]) -> TurnResponse:
        response = await answered
        body = Body()
        whole = whole_body(response)
        if whole is not None:
            body.take(whole)
            return self._answer(response, body, payload)
        post.waits_for = read_body(response, body)
        try:
            await post.waits_for
        except CancelledError:
            pass  # it is too late for the rest of the body; the answer is there
        return self._answer(response, body, payload)

    def _answer(self, response: IResponse, body: Body, payload: dict[str, Any]) -> TurnResponse:
        status, headers = response.code, values_of(response)
        self._note_limits(headers)
        meaning = BodyMeaning.NOTHING
        accepted = 200 <= status < 300
        if accepted:
            meaning = meaning_of(value_of(headers, b"Content-Type"), body)
        throttled = meaning is BodyMeaning.TOO_MANY
        wait = wait_told(TOO_MANY_REQUESTS if throttled else status, headers, self._wall())
        plain_yes = accepted and meaning is BodyMeaning.NOTHING
        words = ""
        if not plain_yes and body.data:
            words = masked_words(body.data[:MAX_LOOKED_AT], personal_texts(payload), [self._token])
        return TurnResponse(status, None, wait, _words_for(status), meaning, bucket_of(headers), words)

    def _note_limits(self, headers: HeaderValues) -> None:
        limit = whole_number(value_of(headers, b"X-Ratelimit-Limit"))
        if limit is not None:
            self.rate_limit = limit
        remaining = whole_number(value_of(headers, b"X-Ratelimit-Remaining"))
        if remaining is not None:
            self.rate_limit_remaining = remaining


# -- why there was no answer --------------------------------------------------


def answer_for_failure(error: BaseException) -> TurnResponse:
    """
    The :class:`TurnResponse` for a POST that got none.

    Reasons are told by their types: their texts may hold what was sent.
    """
    cause = _cause_of(error)
    if isinstance(cause, CertificateRefused):
        return TurnResponse(None, "tls", detail=str(cause))
    if isinstance(cause, ProxyRefused):
        return TurnResponse(None, "connect", detail=str(cause))
    if isinstance(cause, (DNSLookupError, UnknownHostError)):
        return TurnResponse(None, "dns", detail="the host name of turn_api_url was not found")
    if isinstance(cause, ConnectError):
        return TurnResponse(None, "connect", detail=f"no connection ({type(cause).__name__})")
    if isinstance(cause, SSL.Error) and not isinstance(cause, (SSL.SysCallError, SSL.ZeroReturnError)):
        return TurnResponse(None, "tls", detail=f"TLS failed: {_ssl_reason(cause)}")
    return TurnResponse(None, "lost", detail=f"the connection was lost ({type(cause).__name__})")


def _cause_of(error: BaseException) -> BaseException:
    """twisted.web wraps what happened, sometimes twice."""
    for _ in range(5):
        reasons = getattr(error, "reasons", None)
        if not reasons or not isinstance(reasons[0], Failure):
            break
        cause = reasons[0].value
        if cause is None:
            break
        error = cause
    return error


def _ssl_reason(error: SSL.Error) -> str:
    """OpenSSL's own words, such as ``wrong version number``."""
    entries = error.args[0] if error.args and isinstance(error.args[0], (list, tuple)) else ()
    words = [str(entry[2]) for entry in entries if isinstance(entry, tuple) and len(entry) == 3 and entry[2]]
    return ", ".join(words) or "no reason given"


@lru_cache(maxsize=64)
def _words_for(status: int) -> str:
    """The standard's words, if it has any: what Turn wrote may quote what it was sent."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
