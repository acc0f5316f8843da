"""
Requests that are small or refused, and answers that are JSON whatever goes
wrong.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from io import BytesIO
from typing import Any, Callable, Optional
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from .errors import ApiError, InternalError, NotFound

log = Logger()

#: What comes before the path where a request line holds the whole URL, which a
#: server must take (RFC 9112, 3.2.2).
_WHOLE_URL = re.compile(rb"(?i)\Ahttps?://[^/?]*/?")


def respond(request: Request, status: int, body: bytes, content_type: bytes = b"application/json") -> bytes:
    """
    Set a response's status and headers.

    :return: the body, for klein to write.
    """
    request.setResponseCode(status)
    headers = request.responseHeaders
    headers.setRawHeaders(b"Content-Type", [content_type])
    headers.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
    return body


def respond_error(request: Request, error: ApiError) -> bytes:
    """Set a response's status and headers to those of an error, and return its body."""
    for name, value in error.headers.items():
        request.responseHeaders.setRawHeaders(name, [value])
    return respond(request, error.status, error.to_json())


class HttpDate:
    """
    The value of ``Date`` headers, made once a second.

    :param wall_time: Unix seconds.
    """

    __slots__ = ("_wall_time", "_second", "_text")

    def __init__(self, wall_time: Callable[[], float] = time.time) -> None:
        self._wall_time = wall_time
        self._second = -1
        self._text = b""

    def now(self) -> bytes:
        """The time as RFC 9110, 5.6.7 has it."""
        second = int(self._wall_time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True).encode("ascii")
        return self._text


_date = HttpDate()


class BoundedRequest(Request):
    """
    A request whose body is in memory, because it is small; anything else is
    refused.
    """

    defaultContentType = b"application/json"

    def gotLength(self, length: Optional[int]) -> None:
        self.content = self._body = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        if self.finished:
            return
        channel: Any = self.channel
        if channel.hold(self, len(data)):
            self._body.write(data)

    def parseCookies(self) -> None:
        """None are read."""

    def getCookie(self, key: bytes) -> None:
        """Cookies are not supported."""
        raise NotImplementedError("a bounded request reads no cookies")

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """As twisted.web does it, but no form is read from the body."""
        self._body.seek(0)
        self.args: dict[bytes, list[bytes]] = {}
        self.method, self.uri, self.clientproto = command, _WHOLE_URL.sub(b"/", path, 1), version
        self.path = self.uri.partition(b"?")[0]
        self.process()

    def getRequestHostname(self) -> bytes:
        """
        All names are one site. klein would take what a client says for a host
        name, and stumble over what is none.
        """
        return b"localhost"

    def process(self) -> None:
        """As twisted.web does it, but without its ``Server`` header, and with no header made twice."""
        channel: Any = self.channel
        site = self.site = channel.site
        try:
            self.method.decode("ascii")
            unquote_to_bytes(self.path).decode("utf-8")
        except UnicodeDecodeError:
            self.answer(NotFound())
            return
        self.responseHeaders.setRawHeaders(b"Date", [_date.now()])
        if self.path == b"*":  # the whole server
            self.answer(NotFound())
            return
        self.prepath: list[bytes] = []
        self.postpath = [unquote_to_bytes(part) for part in self.path[1:].split(b"/")]
        try:
            self.render(site.getResourceFor(self))
        except BaseException:
            self.processingFailed(Failure())

    def write(self, data: bytes) -> None:
        super().write(data)
        channel: Any = self.channel
        if channel is not None:
            channel.write_head()

    def processingFailed(self, reason: Failure) -> Failure:
        """A bug: say so with an id that is also in the log."""
        error_id = uuid4().hex
        log.failure("Answering a request failed ({error_id})", reason, error_id=error_id)
        if self.channel is not None and not self.finished and not self.startedWriting:
            self.answer(InternalError(error_id))
        return reason

    def answer(self, error: ApiError) -> None:
        """Write an error and finish."""
        self.write(respond_error(self, error))
        self.finish()


def internal_error(what: str) -> InternalError:
    """Log the exception that is being handled, and make the answer that names its id."""
    error_id = uuid4().hex
    log.failure("{what} ({error_id})", what=what, error_id=error_id)
    return InternalError(error_id)
