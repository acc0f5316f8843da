"""
What an answer of Turn means for the message that was sent: a table, and nothing else.

Turn's status codes are those of https://whatsapp.turn.io/docs/api/errors and of
the Channels API, https://whatsapp.turn.io/docs/api/channel_api.
"""

from __future__ import annotations

import enum
from typing import Optional, Protocol


class Verdict(enum.Enum):
    """The class of what happened to a message."""

    #: Turn has it.
    DELIVERED = "delivered"
    #: Too many requests: everybody waits.
    THROTTLED = "throttled"
    #: Turn cannot be reached, or cannot answer now.
    UNAVAILABLE = "unavailable"
    #: Turn is there, but not for us: the token or the URL is wrong.
    MISCONFIGURED = "misconfigured"
    #: Turn tried and failed: this message's fault, or Turn's.
    FAILED = "failed"
    #: Turn will never take this message.
    REFUSED = "refused"
    #: Never sent: it is no message.
    MALFORMED = "malformed"
    #: Our own code failed on it.
    ERROR = "error"
    #: Never sent: it is too old to be of use.
    STALE = "stale"


class BodyMeaning(enum.Enum):
    """What the body of an answer with 2xx says."""

    #: Nothing that changes what the status says.
    NOTHING = "nothing"
    #: A list of errors: it is no yes.
    ERRORS = "errors"
    #: A list of errors with code 429 in it.
    TOO_MANY = "too many"
    #: A web page: this is not Turn's API.
    WEB_PAGE = "web page"


#: Messages with these are held, never parked, while Turn accepts nothing else.
HELD_CLASSES = frozenset({Verdict.UNAVAILABLE, Verdict.MISCONFIGURED})

#: The two kinds of requests, most urgent first.
MESSAGE = "message"
STATUS = "status"


class TurnResponse(Protocol):
    """What came of one POST."""

    @property
    def status(self) -> Optional[int]:
        """The HTTP status, or None if there was no answer."""

    @property
    def error(self) -> Optional[str]:
        """Why there was no answer, in one word, or None if there was one."""

    @property
    def wait(self) -> Optional[float]:
        """Seconds for which Turn wants no requests, or None if it said nothing."""

    @property
    def detail(self) -> str:
        """A short reason for people: never an address, never content."""

    @property
    def meaning(self) -> BodyMeaning:
        """What the body of a 2xx says."""

    @property
    def bucket(self) -> Optional[str]:
        """The rate limit bucket that the answer names, if it names one."""

    @property
    def words(self) -> str:
        """Turn's own words where it has not taken the request, masked; never logged."""


#: Timeouts on Turn's side, "too early", and what proxies say of a server that is away.
_UNAVAILABLE = frozenset({408, 425, 502, 503, 504})
_MISCONFIGURED = frozenset({401, 403})

#: What a 2xx means with such a body.
_OF_ACCEPTED = {
    BodyMeaning.NOTHING: Verdict.DELIVERED,
    BodyMeaning.ERRORS: Verdict.REFUSED,
    BodyMeaning.TOO_MANY: Verdict.THROTTLED,
    BodyMeaning.WEB_PAGE: Verdict.MISCONFIGURED,
}

_WORDS = {
    BodyMeaning.NOTHING: "",
    BodyMeaning.ERRORS: " with a list of errors",
    BodyMeaning.TOO_MANY: " with an error 429",
    BodyMeaning.WEB_PAGE: " with a web page",
}


def classify(kind: str, answer: TurnResponse) -> Verdict:
    """
    The verdict on one POST.

    :param kind: ``message`` or ``status``. The path of messages exists on
        every Turn, so that a 404 there means a wrong URL; a 404 on statuses
        may be about the one message that the status is of.
    :param answer: what came of the POST.
    """
    status = answer.status
    if status is None:
        return Verdict.UNAVAILABLE
    if 200 <= status < 300:
        return _OF_ACCEPTED[answer.meaning]
    if status == 429:
        return Verdict.THROTTLED
    if status in _UNAVAILABLE:
        return Verdict.UNAVAILABLE
    if status in _MISCONFIGURED or 300 <= status < 400:
        return Verdict.MISCONFIGURED
    if status == 404:
        return Verdict.FAILED if kind == STATUS else Verdict.MISCONFIGURED
    if 400 <= status < 500:
        return Verdict.REFUSED
    return Verdict.FAILED


def describe(answer: Optional[TurnResponse]) -> str:
    """What came of a POST, in a few words for people."""
    if answer is None:
        return "no answer"
    if answer.status is None:
        words = answer.error or "no answer"
    else:
        words = f"status {answer.status}{_WORDS[answer.meaning]}"
    return f"{words}: {answer.detail}" if answer.detail else words
