"""
What the sandbox's HTTP servers share: JSON in and out, and who may ask.

They have no password, so a page of another site must not drive them through
somebody's browser. A change needs the content type ``application/json``, which
such a page may not send; and a server that listens on this machine only
answers only to this machine's names, so that a foreign name which was pointed
here is of no use.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any, Awaitable, Callable, Optional
from urllib.parse import parse_qs, urlsplit

from klein import Klein
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException

from ..broker.interface import BrokerError
from ..http.server import BoundedSite

#: A request's body may have so many bytes.
MAX_BODY = 65536

#: Headers of every answer.
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class BadRequest(Exception):
    """The request cannot be carried out; the text says why."""

    status = 400


class NotThere(BadRequest):
    """What the path names does not exist here."""

    status = 404


class NotTaken(BadRequest):
    """The channel did not take a message."""

    status = 502


def is_loopback(host: str) -> bool:
    """Whether a host, as it is listened on, is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard(Resource):
    """
    Lets through what may pass, and gives every answer its safe headers.

    :param resource: what answers.
    :param host: where it is listened.
    """

    isLeaf = True

    def __init__(self, resource: IResource, host: str) -> None:
        super().__init__()
        self._resource = resource
        self._local_only = is_loopback(host)

    def render(self, request: Any) -> Any:
        for name, value in SAFE_HEADERS.items():
            request.setHeader(name, value)
        if self._local_only and not _names_loopback(request.getHeader("host")):
            return _error(request, 403, "ask for it by this machine's own name: 127.0.0.1 or localhost")
        return self._resource.render(request)


def _names_loopback(host: Optional[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        return False
    return name is not None and is_loopback(name)


class QuietSite(BoundedSite):
    """A site that logs no requests: they are on the page."""

    noisy = False

    def log(self, request: Any) -> None:
        pass


def site_of(app: Klein, reactor: IReactorTime, host: str) -> QuietSite:
    """What to listen with, on ``host``."""
    return QuietSite(Guard(app.resource(), host), reactor, MAX_BODY)


def json_app() -> Klein:
    """An application that says in JSON what is wrong."""
    app = Klein()

    @app.handle_errors(BadRequest)
    def bad(request: IRequest, failure: Failure) -> bytes:
        error: Any = failure.value
        return _error(request, error.status, str(error))

    @app.handle_errors(BrokerError)
    def no_broker(request: IRequest, failure: Failure) -> bytes:
        return _error(request, 503, f"the broker has not taken it: {failure.value}")

    @app.handle_errors(HTTPException)
    def no_route(request: Any, failure: Failure) -> bytes:
        error: Any = failure.value
        for name, value in error.get_headers({}):
            if name == "Allow":
                request.setHeader(name, value)
        return _error(request, error.code, "there is nothing here" if error.code == 404 else error.name.lower())

    return app


def change(request: Any, act: Callable[[dict[str, Any]], Awaitable[Any]]) -> Deferred[bytes]:
    """Do what a request with a JSON object asks for; the answer is what ``act`` gives."""

    async def run() -> bytes:
        return as_json(request, await act(_body(request)))

    return ensureDeferred(run())


def as_json(request: Any, value: Any, status: int = 200) -> bytes:
    """An answer."""
    request.setResponseCode(status)
    request.setHeader("Content-Type", "application/json")
    request.setHeader("Cache-Control", "no-store")
    return json.dumps(value).encode("ascii")


def text_of(body: dict[str, Any], name: str) -> str:
    """A field that must be a text, and not an empty one."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{name} must be a string, and not an empty one")
    return value


def optional_text_of(body: dict[str, Any], name: str) -> Optional[str]:
    """A field that is a text where it is given."""
    return text_of(body, name) if body.get(name) is not None else None


def turn_of(body: dict[str, Any]) -> Optional[dict[str, Any]]:
    """The field ``turn``: a message of any type in WhatsApp's shape, or nothing, which is a text."""
    turn = body.get("turn")
    if turn is not None and not isinstance(turn, dict):
        raise BadRequest("turn must be an object")
    return turn


def content_of(body: dict[str, Any]) -> Optional[str]:
    """The field ``text``; beside ``turn`` there may be none."""
    return optional_text_of(body, "text") if body.get("turn") is not None else text_of(body, "text")


def flag_of(body: dict[str, Any], name: str, default: Optional[bool] = None) -> bool:
    """A field that must be true or false."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false")
    return value


def ids_of_body(body: dict[str, Any]) -> Optional[list[str]]:
    """The field ``ids``: a list of texts, or nothing."""
    ids = body.get("ids")
    if ids is not None and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
        raise BadRequest("ids must be a list of strings")
    return ids


def argument(request: Any, name: str) -> Optional[str]:
    """What the query says, None where it does not."""
    values = parse_qs(request.uri.partition(b"?")[2].decode("ascii", "replace")).get(name)
    return values[0] if values else None


def number_argument(request: Any, name: str) -> int:
    """A whole number of the query, 0 where there is none."""
    value = argument(request, name) or "0"
    if not (value.isascii() and value.isdigit() and len(value) < 16):
        raise BadRequest(f"{name} must be a whole number")
    return int(value)


def _body(request: Any) -> dict[str, Any]:
    content_type = (request.getHeader("content-type") or "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise BadRequest("the Content-Type must be application/json")
    try:
        value = json.loads(request.content.read().decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadRequest("the body must be JSON") from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    return value


def _error(request: Any, status: int, details: str) -> bytes:
    return as_json(request, {"errors": [{"code": status, "details": details}]}, status)
