"""The errors with which a POST from Turn is answered, beside those of any HTTP request."""

from __future__ import annotations

from typing import Optional

from ..http.errors import ApiError


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


class BrokerUnavailableError(ApiError):
    """
    The message was not taken now, and may be later.

    :param retry_after: in how many whole seconds to try again, sent as ``Retry-After``.
    """

    status = 503
    title = "BrokerUnavailable"
    default_details = "the message broker has not taken the message; try again later"

    def __init__(self, details: Optional[str] = None, retry_after: int = 1) -> None:
        super().__init__(details, headers={"Retry-After": str(retry_after)})
