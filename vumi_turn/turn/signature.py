"""
The signature on what Turn POSTs to us.

Source: Turn's documentation of webhooks (whatsapp.turn.io/docs, "Webhooks":
the header ``X-Turn-Hook-Signature`` is base64 of HMAC-SHA256 of the raw body).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Optional

#: The request header that carries the signature.
SIGNATURE_HEADER = "X-Turn-Hook-Signature"


def sign(secret: bytes, body: bytes) -> bytes:
    """
    :param secret: the webhook's HMAC secret.
    :param body: the raw body, before anything is parsed.
    :return: the header's value.
    """
    return base64.b64encode(hmac.digest(secret, body, hashlib.sha256))


def verify(secret: bytes, body: bytes, signature: Optional[bytes]) -> bool:
    """
    Whether ``signature`` is that of ``body``, in the same time however much
    of it is right. Any bytes may be given: a signature that is not base64, or
    not ASCII, is just a wrong one.

    :param signature: the header's value, None where there is no such header.
    :return: False also for an empty secret, with which everyone could sign.
    """
    if not secret or signature is None:
        return False
    return hmac.compare_digest(sign(secret, body), signature)
