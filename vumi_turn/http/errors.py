"""
The errors with which an HTTP request can be answered.

They are one table in classes: the HTTP status and the title are the class's,
the details say what is wrong with this request. Details go over the wire to
the client, whose users read them, so they name fields and types, never a secret nor
an exception's text.
"""

from __future__ import annotations

import json
import math
from typing import ClassVar, Iterable, Mapping, Optional


class ApiError(Exception):
    """
    An answer other than 200.

    :ivar status: the HTTP status, also the ``code`` in the body.
    :ivar title: the error's name in the body; callers decide by it.
    :ivar details: one sentence for a person.
    :ivar headers: further response headers.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "InternalError"
    default_details: ClassVar[str] = "Something went wrong"

    def __init__(self, details: Optional[str] = None, headers: Optional[Mapping[str, str]] = None) -> None:
        self.details = self.default_details if details is None else details
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(self.details)

    def to_json(self) -> bytes:
        """The response's body, ASCII."""
        error = {"code": self.status, "title": self.title, "details": self.details}
        return json.dumps({"errors": [error]}).encode("ascii")


class JsonDecodeError(ApiError):
    """The body cannot be read as JSON; look at what sends it."""

    status = 400
    title = "JsonDecodeError"
    default_details = "the body is not JSON"


class ApiUsageError(ApiError):
    """A field is missing or of the wrong type; the details name it."""

    status = 400
    title = "ApiUsageError"
    default_details = "the body is not a message"


class Unauthorized(ApiError):
    """The change needs the operator's password."""

    status = 401
    title = "Unauthorized"
    default_details = "this needs the user operator and management_password"

    def __init__(self, details: Optional[str] = None) -> None:
        super().__init__(details, headers={"WWW-Authenticate": 'Basic realm="vumi_turn", charset="UTF-8"'})


class Forbidden(ApiError):
    """The request comes from somewhere else than the page itself, or changes are switched off."""

    status = 403
    title = "Forbidden"
    default_details = "this request does not come from the page itself"


class NotFound(ApiError):
    """Nothing lives at this path; compare the channel's endpoint with ``vumi_api_path``."""

    status = 404
    title = "NotFound"
    default_details = "there is nothing at this path"


class MethodNotAllowed(ApiError):
    """
    The path exists, but not for this method.

    :param allow: the methods that it has; they are sent as ``Allow``.
    """

    status = 405
    title = "MethodNotAllowed"

    def __init__(self, details: Optional[str] = None, allow: Iterable[str] = ("POST",)) -> None:
        allowed = ", ".join(allow)
        super().__init__(f"this path only takes {allowed}" if details is None else details, headers={"Allow": allowed})


class BodyTooLarge(ApiError):
    """The body is longer than ``max_request_size``."""

    status = 413
    title = "BodyTooLarge"
    default_details = "the body is larger than max_request_size"


class UnsupportedMediaType(ApiError):
    """The body is compressed, which is not taken."""

    status = 415
    title = "UnsupportedMediaType"
    default_details = "the body has a Content-Encoding; send it as it is"

    def __init__(self, details: Optional[str] = None) -> None:
        super().__init__(details, headers={"Accept-Encoding": "identity"})


class TooManyAttempts(ApiError):
    """
    Too many wrong passwords have come from this address.

    :param seconds: after which the next one is looked at.
    """

    status = 429
    title = "TooManyAttempts"

    def __init__(self, seconds: float = 1.0) -> None:
        after = max(math.ceil(seconds), 1)
        super().__init__(f"too many wrong passwords; try again in {after} s", headers={"Retry-After": str(after)})


class ServerBusy(ApiError):
    """There are too many connections, or too much is being received at once."""

    status = 503
    title = "ServerBusy"
    default_details = "too many requests at once; try again later"

    def __init__(self, details: Optional[str] = None) -> None:
        super().__init__(details, headers={"Retry-After": "1"})


class InternalError(ApiError):
    """
    A bug of ours.

    :param error_id: what to look for in the log.
    """

    status = 500
    title = "InternalError"

    def __init__(self, error_id: str) -> None:
        super().__init__(f"an unexpected error; the log of vumi_turn has it as {error_id}")
        self.error_id = error_id


class RequestTimeoutError(ApiError):
    """The request took longer than ``request_timeout``."""

    status = 504
    title = "TimeoutError"
    default_details = "the request was not handled within request_timeout"
