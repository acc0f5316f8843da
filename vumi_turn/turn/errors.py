"""The errors with which a POST from Turn is answered; those of any HTTP request can be had here too."""

from __future__ import annotations

from typing import Optional

from ..http.errors import ApiError, ApiUsageError, InternalError, JsonDecodeError, RequestTimeoutError

__all__ = [
    "ApiError",
    "ApiUsageError",
    "BrokerUnavailableError",
    "CacheUnavailableError",
    "InternalError",
    "JsonDecodeError",
    "MessageNotFound",
    "RequestTimeoutError",
    "SignatureMismatchError",
    "UnavailableError",
    "UnsupportedMessageType",
]


class UnsupportedMessageType(ApiError):
    """Turn sent a kind of message that vumi cannot carry; only text can be."""

    status = 400
    title = "UnsupportedMessageType"
    default_details = "only messages of type text can be carried"


class SignatureMismatchError(ApiError):
    """The request is not signed by Turn with our secret; compare ``turn_hmac_secret`` with Turn's."""

    status = 401
    title = "SignatureMismatchError"
    default_details = "X-Turn-Hook-Signature is missing or is not the signature of this body"


class MessageNotFound(ApiError):
    """``reply_to`` names a message that is unknown, or was received too long ago."""

    status = 404
    title = "MessageNotFound"
    default_details = "reply_to names a message that is not known, or no longer"


class UnavailableError(ApiError):
    """
    The message was not taken now, and may be later. Turn is told one title
    for whatever is away.

    :param retry_after: in how many whole seconds to try again, sent as ``Retry-After``.
    """

    status = 503
    title = "BrokerUnavailable"

    def __init__(self, details: Optional[str] = None, retry_after: int = 1) -> None:
        super().__init__(details, headers={"Retry-After": str(retry_after)})


class BrokerUnavailableError(UnavailableError):
    """The broker is away, or has not taken the message."""

    default_details = "the message broker has not taken the message; try again later"


class CacheUnavailableError(UnavailableError):
    """The message cache is away, and what the message depends on is only known there."""

    default_details = "the message cache is away; try again later"
