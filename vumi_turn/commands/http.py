"""
HTTP requests from the command line: the answer is kept, and what went wrong is
a sentence.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Optional

import treq
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.web.http_headers import Headers

from ..http.connections import BytesProducer, ProxySettings, make_agent
from ..http.tls import VerifiedHost
from ..http.urls import PreparedURL
from ..timing.clock import wall_clock_of
from ..turn.client import NETWORK_TROUBLE, answer_for_failure
from ..turn.rate_limit import http_date, value_of
from ..turn.response_body import Body, meaning_of
from ..turn.verdicts import BodyMeaning
from ..vumi.messages.encoding import is_deep

#: Seconds for one request: to connect, to send, to read the answer with its body.
TIMEOUT = 30.0

#: How many bytes an answer may have.
MAX_ANSWER = 65536

#: How much of Turn's own words is shown.
MAX_WORDS = 300


class NoAnswer(Exception):
    """
    There was no whole answer; the text says why.

    :ivar sent: whether Turn may have got the request all the same.
    """

    def __init__(self, why: str, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


@dataclass(frozen=True)
class Reply:
    """
    What Turn answered.

    :ivar status: the HTTP status.
    :ivar body: the bytes.
    :ivar retry_after: Turn's ``Retry-After``, as it was written.
    :ivar content_type: its ``Content-Type``, where it has one.
    :ivar skew: by how many seconds our clock is before Turn's ``Date``,
        negative where it is behind; None without a ``Date``.
    """

    status: int
    body: bytes = b""
    retry_after: Optional[str] = None
    skew: Optional[float] = None
    content_type: Optional[bytes] = None

    @property
    def meaning(self) -> BodyMeaning:
        """What the body says, whatever the status is."""
        body = Body()
        body.data, body.complete = self.body, True
        return meaning_of(self.content_type, body)

    def json(self) -> Any:
        """
        The body, decoded.

        :raises ValueError: it is not JSON, or nested too deep.
        """
        try:
            value = json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deep") from None
        if isinstance(value, (dict, list)) and is_deep(value):
            raise ValueError("nested too deep")
        return value

    def words(self, token: str) -> str:
        """
        What Turn says is wrong: one line, never with the token in it.

        Source: Turn's errors are ``{"errors": [{"code", "title", "details"}]}``;
        those of validation have an object of field names instead of the list.
        """
        try:
            said = self.json()
        except ValueError:
            return ""
        if isinstance(said, dict):
            said = said.get("errors") or said.get("error") or said.get("message")
        text = " ".join("; ".join(_sentences(said)).split())
        if token:
            text = text.replace(token, "***")
        text = "".join(c if c.isprintable() else "?" for c in text)
        return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 3] + "..."


def _sentences(said: Any, name: str = "") -> list[str]:
    """The texts within an error of Turn's, each after the name of its field."""
    if isinstance(said, str):
        return [f"{name} {said}".strip()]
    if isinstance(said, list):
        return [sentence for one in said for sentence in _sentences(one, name)]
    if isinstance(said, dict):
        words = said.get("details") or said.get("title") or said.get("message")
        if isinstance(words, str):
            return _sentences(words, name)
        return [sentence for key, value in said.items() for sentence in _sentences(value, str(key))]
    return []


class HttpClient:
    """
    Sends single requests, and reads whole answers.

    :param reactor: connects, and tells the time.
    :param agent: sends the requests; one of its own, through the proxy of the
        environment, where it is not given.
    :param timeout: seconds for each.
    :param who: is asked, for the words of errors.
    :param max_answer: bytes that an answer may have.
    """

    def __init__(
        self,
        reactor: Any,
        agent: Any = None,
        timeout: float = TIMEOUT,
        who: str = "Turn",
        max_answer: int = MAX_ANSWER,
    ) -> None:
        self._reactor = reactor
        self._agent = agent
        self._timeout = timeout
        self._who = who
        self._max_answer = max_answer

    async def get(self, url: str) -> Reply:
        """
        GET what is at a URL.

        :raises NoAnswer: there was no answer in time, or not a whole one.
        """
        return await self._in_time("GET", url, {}, b"")

    async def post(self, url: str, token: Optional[str], payload: Any) -> Reply:
        """
        POST JSON.

        :param token: the Bearer token; None for none.
        :param payload: what becomes the body.
        :raises NoAnswer: there was none in time, or not a whole one.
        """
        headers = {"Content-Type": ["application/json"]}
        if token is not None:
            headers["Authorization"] = [f"Bearer {token}"]
        return await self._in_time("POST", url, headers, json.dumps(payload).encode("ascii"))

    async def _in_time(self, method: str, url: str, headers: dict[str, list[str]], body: bytes) -> Reply:
        exchange: Deferred[Reply] = ensureDeferred(self._exchange(method, url, headers, body))
        late = NoAnswer(f"{self._who} has not answered within {self._timeout:g} s", sent=True)

        def time_out(result: Any, timeout: Optional[float]) -> Any:
            raise late

        return await exchange.addTimeout(self._timeout, self._reactor, time_out)

    async def _exchange(self, method: str, url: str, headers: dict[str, list[str]], body: bytes) -> Reply:
        prepared = PreparedURL.of(url)
        agent = self._agent or make_agent(
            self._reactor,
            VerifiedHost,
            proxies=ProxySettings.from_environment(os.environ),
            idle_timeout=0,
        )
        wall = wall_clock_of(self._reactor)
        started = wall()
        try:
            response = await HTTPClient(agent, data_to_body_producer=BytesProducer).request(
                method,
                prepared,
                data=body,
                headers={**headers, "Accept": ["application/json"], "User-Agent": ["vumi_turn"]},
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            middle = (started + wall()) / 2
            content = await _collected(response, self._who, self._max_answer)
        except NETWORK_TROUBLE as error:
            answer = answer_for_failure(error)
            why = "the host name was not found" if answer.error == "dns" else answer.detail
            raise NoAnswer(why, sent=answer.error == "lost") from None
        return Reply(
            response.code,
            content,
            _retry_after(response.headers),
            _skew(http_date(value_of(response.headers, b"Date")), middle),
            value_of(response.headers, b"Content-Type"),
        )


async def _collected(response: Any, who: str, most: int) -> bytes:
    """
    A body, of which no more than so many bytes are kept.

    :raises NoAnswer: it has more.
    """
    parts: list[bytes] = []
    size = 0

    def collect(data: bytes) -> None:
        nonlocal size
        size += len(data)
        if size > most:
            # treq gives this to who waits, and closes the connection.
            raise NoAnswer(f"{who}'s answer has more than {most} bytes", sent=True)
        parts.append(data)

    await treq.collect(response, collect)
    return b"".join(parts)


def _retry_after(headers: Headers) -> Optional[str]:
    value = value_of(headers, b"Retry-After")
    return None if value is None else value.decode("latin-1")


def _skew(date: Optional[float], now: float) -> Optional[float]:
    """An HTTP date is of whole seconds, cut off: half a second is added on the average."""
    return None if date is None else now - (date + 0.5)
