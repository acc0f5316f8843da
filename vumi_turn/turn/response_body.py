"""
What the body of one of Turn's answers says.

The status says whether Turn has taken a request, as soon as the answer's
headers are there. The body is read for what else it says: Turn, and proxies
before it, may answer 200 to what they did not take.
"""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from .rate_limit import TOO_MANY_REQUESTS
from .verdicts import BodyMeaning

#: Bytes of a body that are read before its connection is closed.
MAX_BODY = 65536

_HTML_TYPES = (b"text/html", b"application/xhtml+xml")
_HTML_STARTS = (b"<!doctype html", b"<html")
_GZIP = b"\x1f\x8b"


class Body:
    """
    As much of a body as has come.

    :ivar data: its bytes, at most :data:`MAX_BODY`.
    :ivar complete: it has come to its end.
    :ivar too_long: there was more of it.
    """

    __slots__ = ("data", "complete", "too_long")

    def __init__(self) -> None:
        self.data = b""
        self.complete = False
        self.too_long = False

    def take(self, whole: bytes) -> None:
        """All of it has come at once."""
        self.too_long = len(whole) > MAX_BODY
        self.complete = not self.too_long
        self.data = whole[:MAX_BODY]


def read_body(response: IResponse, body: Body) -> Deferred[None]:
    """
    Read a response's body to its end, so that its connection can be used again.

    :param body: gets what comes.
    :return: fires when no more comes, whatever the reason; it does not fail.
        Cancelling it closes the connection.
    """
    reader = _Reader(body)
    response.deliverBody(reader)
    return reader.done


class _Reader(Protocol):
    def __init__(self, body: Body) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._hang_up())
        self._body = body

    def dataReceived(self, data: bytes) -> None:
        body = self._body
        if body.too_long:
            return
        body.data = body.data + data if body.data else data
        if len(body.data) > MAX_BODY:
            body.data = body.data[:MAX_BODY]
            body.too_long = True
            if not self.done.called:
                self.done.callback(None)
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.done.called:
            # Without a length or chunks the end of the connection is the end of the body.
            done = reason.type is ResponseDone  # the usual case; check() takes much longer
            self._body.complete = done or reason.check(ResponseDone, PotentialDataLoss) is not None
            self.done.callback(None)

    def _hang_up(self) -> None:
        if self.transport is not None:
            # Not loseConnection: over TLS that would wait for the other side.
            self.transport.stopProducing()  # type: ignore[attr-defined]


def meaning_of(content_type: Optional[bytes], body: Body) -> BodyMeaning:
    """
    What a body says of a request that was answered with 2xx.

    Source of the errors: Turn's documentation (whatsapp.turn.io/docs/api/errors);
    the WhatsApp Business API that it follows has a list ``errors`` of objects with ``code``.

    :param content_type: the answer's ``Content-Type``, if it has one.
    :param body: one that is not complete says nothing, unless it is too long and a web page.
    """
    if not body.complete and not body.too_long:
        return BodyMeaning.NOTHING
    if _is_web_page(content_type, body.data):
        return BodyMeaning.WEB_PAGE
    if body.too_long or b'"errors"' not in body.data:
        return BodyMeaning.NOTHING
    errors = _errors_in(body.data)
    if not errors:
        return BodyMeaning.NOTHING
    codes = [error.get("code") for error in errors if isinstance(error, dict)]
    if any(code in (TOO_MANY_REQUESTS, str(TOO_MANY_REQUESTS)) for code in codes if isinstance(code, (int, str))):
        return BodyMeaning.TOO_MANY
    return BodyMeaning.ERRORS


def _is_web_page(content_type: Optional[bytes], data: bytes) -> bool:
    """A captive portal's, a proxy's, or another site's: no API answers with one."""
    start = data[:200].removeprefix(b"\xef\xbb\xbf").lstrip()[:20].lower()
    if start.startswith(_HTML_STARTS):
        return True
    if content_type is None or not content_type.lower().startswith(_HTML_TYPES):
        return False
    return b"<" in data or data.startswith(_GZIP)


def _errors_in(data: bytes) -> list[Any]:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        return []
    errors = parsed.get("errors") if isinstance(parsed, dict) else None
    return errors if isinstance(errors, list) else []
