"""``vumi_turn_channel create``: a new channel at Turn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Awaitable, Callable, Optional
from urllib.parse import urlsplit

from .http import NoAnswer, Reply

#: Where Turn has its numbers, which channels are.
#: Source: whatsapp.turn.io/docs, "Channels API".
NUMBERS_URL = "https://whatsapp.turn.io/v1/numbers"

#: What the worker answers POSTs at.
MESSAGES = "/messages"

#: Sends a POST: URL, token, payload.
PostFunction = Callable[[str, str, Any], Awaitable[Reply]]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


class Refused(Exception):
    """No channel was made, or it is not known whether one was; the text is one line for people."""


@dataclass(frozen=True)
class ChannelRequest:
    """
    The channel that is wanted.

    :ivar from_addr: its address, as people dial or write to it.
    :ivar name: what Turn shows.
    :ivar endpoint: where Turn POSTs to; ends with ``/messages``.
    """

    from_addr: str
    name: str
    endpoint: str

    @property
    def api_path(self) -> str:
        """``vumi_api_path``: the endpoint's path before ``/messages``."""
        return urlsplit(self.endpoint).path[: -len(MESSAGES)]

    def payload(self) -> dict[str, str]:
        """What Turn is asked. Source: whatsapp.turn.io/docs, "Channels API"."""
        return {
            "backend_type": "channel",
            "number_type": "channel_http_api",
            "from_addr": self.from_addr,
            "name": self.name,
            "endpoint": self.endpoint,
        }


@dataclass(frozen=True)
class Channel:
    """
    A channel that Turn has made.

    :ivar number: its uuid, in ``turn_api_url``.
    :ivar webhook: the uuid of its webhook; empty where Turn did not say it.
    :ivar secret: what Turn signs with.
    """

    number: str
    webhook: str
    secret: str

    def __repr__(self) -> str:
        return f"<Channel {self.number}>"


async def create_channel(post: PostFunction, api_url: str, token: str, request: ChannelRequest) -> Channel:
    """
    Register a channel.

    :param post: sends it.
    :param api_url: the URL of Turn's numbers.
    :param token: of a number that there is already.
    :raises Refused: Turn did not do it, or did not say so.
    """
    try:
        reply = await post(api_url, token, request.payload())
    except NoAnswer as error:
        raise Refused(f"no answer from {_host(api_url)}: {error}{_unknown(error.sent)}") from None
    if not 200 <= reply.status < 300:
        raise Refused(refusal_of(reply, token))
    try:
        return _channel_of(reply.json())
    except ValueError as error:
        raise Refused(
            f"Turn answered {reply.status}, but {error}: is --api-url right? "
            "If it is, look in Turn whether the channel is there before you try again"
        ) from None


def refusal_of(reply: Reply, token: str) -> str:
    """What an answer other than 2xx means, in one line without the token."""
    status, said = reply.status, reply.words(token)
    words = f": {said}" if said else ""
    if status == 401:
        return f"Turn does not accept the token (401{words}): it must be one of a number that exists, not expired"
    if status == 403:
        return f"Turn does not let this token create channels (403{words})"
    if status == 404:
        return f"there is nothing to create channels at (404{words}): check --api-url"
    if status in (400, 422):
        return f"Turn refuses the channel ({status}){words or ', and does not say why'}"
    if status == 429:
        wait = reply.retry_after or ""
        when = f"in {wait} s" if wait.isascii() and wait.isdigit() else "later"
        return f"Turn takes no more requests just now (429): try again {when}"
    if 300 <= status < 400:
        return f"Turn answers with a redirect ({status}), which is not followed: check --api-url"
    if status >= 500:
        return f"Turn has failed ({status}{words}): look there whether the channel was made, and try again later"
    return f"Turn refuses it ({status}{words})"


def _channel_of(answer: Any) -> Channel:
    """
    :raises ValueError: it is not what Turn answers; without any value of it.
    """
    if not isinstance(answer, dict):
        raise ValueError("not with a JSON object")
    return Channel(
        _field(answer, "number", "uuid", _NAME),
        _field(answer, "webhook", "uuid", _NAME) if _has(answer, "webhook", "uuid") else "",
        _field(answer, "webhook", "hmac_secret"),
    )


def _has(answer: dict[str, Any], part: str, name: str) -> bool:
    return isinstance(answer.get(part), dict) and answer[part].get(name) is not None


def _field(answer: dict[str, Any], part: str, name: str, form: Optional[re.Pattern[str]] = None) -> str:
    value = answer[part].get(name) if _has(answer, part, name) else None
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"without {part}.{name}")
    if form is not None and not form.fullmatch(value):
        raise ValueError(f"with a {part}.{name} that is no uuid")
    return value


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _unknown(sent: bool) -> str:
    if not sent:
        return ""
    return ". The channel may have been made all the same: look in Turn before you try again"
