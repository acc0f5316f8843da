"""
Who may look at an operator's page, and who may change something there.

A page without a name of its own is reached by an address, so that a foreign
name which was pointed at it (DNS rebinding) is refused by its ``Host``. A
change needs a password, a body that a form of another site cannot send, and an
``Origin`` that is the page's own: the browser adds the password by itself.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from ipaddress import ip_address
from typing import Any, Collection, Optional
from urllib.parse import urlsplit

from twisted.web.server import Request

from .errors import ApiUsageError, Forbidden, JsonDecodeError, Unauthorized
from .responses import respond
from .wrong_passwords import WrongPasswords

#: The user's name in HTTP basic authentication.
OPERATOR = "operator"


def check_host(request: Request, names: Collection[str] = ()) -> None:
    """
    Refuse a request for another server than this one.

    :param names: host names that are ours; addresses and ``localhost`` always are.
    :raises Forbidden: ``Host`` is another name, or there is none.
    """
    hosts = request.requestHeaders.getRawHeaders(b"host", [])
    if len(hosts) != 1 or not _is_own(_host_name(hosts[0]), names):
        raise Forbidden("Host is not this server")


def check_change(
    request: Request,
    password: Optional[str],
    names: Collection[str] = (),
    wrong: Optional[WrongPasswords] = None,
) -> dict[str, Any]:
    """
    Check a request that changes something, and read it.

    :param password: the operator's; None where nobody may change anything.
    :param names: see :func:`check_host`.
    :param wrong: limits how often a password can be tried out.
    :return: the JSON object in its body.
    :raises Forbidden: ``Host`` or ``Origin`` is not this page, or there is no password to know.
    :raises Unauthorized: the password is missing or wrong.
    :raises TooManyAttempts: it was wrong too often.
    :raises ApiUsageError: the body is not said to be JSON, or is no object.
    :raises JsonDecodeError: it is not JSON.
    """
    check_host(request, names)
    if not password:
        raise Forbidden("changes need a management_password, which is not configured")
    authorization = _single(request, b"authorization")
    if wrong is not None:
        wrong.check(request)
    if not is_operator(authorization, password):
        if wrong is not None and authorization is not None:  # without one a browser asks for it
            wrong.add(request)
        raise Unauthorized()
    if not is_own_origin(_single(request, b"origin"), request.requestHeaders.getRawHeaders(b"host", [b""])[0]):
        raise Forbidden("Origin is not this page")
    return json_object(request)


def is_operator(authorization: Optional[bytes], password: str) -> bool:
    """
    Whether a header ``Authorization`` is the operator's, in the same time
    however much of it is right. Any bytes may be given.
    """
    scheme, _, credentials = (authorization or b"").partition(b" ")
    try:
        given = base64.b64decode(credentials.strip(), validate=True) if scheme.lower() == b"basic" else b""
    except binascii.Error:
        given = b""
    return hmac.compare_digest(given, f"{OPERATOR}:{password}".encode("utf-8")) and bool(password)


def is_own_origin(origin: Optional[bytes], host: bytes) -> bool:
    """Whether a header ``Origin`` names the server that ``Host`` names; ``null`` does not."""
    if origin is None:
        return False
    scheme, separator, rest = origin.partition(b"://")
    return bool(separator) and scheme in (b"http", b"https") and rest.lower() == host.lower()


def json_object(request: Request) -> dict[str, Any]:
    """
    The JSON object in a request's body.

    :raises ApiUsageError: the body is not said to be JSON, or is no object.
    :raises JsonDecodeError: it is not JSON.
    """
    kind = (_single(request, b"content-type") or b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise ApiUsageError("the Content-Type must be application/json")
    content: Any = request.content
    try:
        value = json.loads(content.read().decode("utf-8"))
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise JsonDecodeError() from None
    if not isinstance(value, dict):
        raise ApiUsageError("the body must be a JSON object")
    return value


def respond_json(request: Request, value: Any, status: int = 200) -> bytes:
    """
    Set a response's status and headers for a JSON value that must not be kept.

    :return: the body, ASCII.
    """
    request.responseHeaders.setRawHeaders(b"Cache-Control", [b"no-store"])
    return respond(request, status, json.dumps(value).encode("ascii"))


def _single(request: Request, name: bytes) -> Optional[bytes]:
    """A header that comes once; None where it is missing, or comes more often."""
    values = request.requestHeaders.getRawHeaders(name, [])
    return values[0] if len(values) == 1 else None


def _host_name(host: bytes) -> str:
    """The name in ``Host``, empty where there is none."""
    try:
        return urlsplit(f"//{host.decode('ascii')}").hostname or ""
    except ValueError:  # UnicodeDecodeError is one
        return ""


def _is_own(name: str, names: Collection[str]) -> bool:
    if name == "localhost" or name in {own.lower() for own in names}:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
