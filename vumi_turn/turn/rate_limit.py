"""
What Turn says about its rate limit: how long to wait, and how much is left.

Source: Turn's documentation of its API (whatsapp.turn.io/docs, "Rate limits"):
a 429 has ``Retry-After`` in seconds; ``X-Ratelimit-Limit``, ``-Remaining`` and
``-Reset``, a float of Unix seconds, may come with any answer, and ``-Bucket``
names what they count for (``general``, ``text``, ``media``). A proxy before Turn
may say ``Retry-After`` as a date, as RFC 9110 allows.
"""

from __future__ import annotations

import math
import re
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Optional, Protocol, Sequence

#: The longest time, in seconds, that Turn is believed when it says to wait.
MAX_WAIT = 600.0

TOO_MANY_REQUESTS = 429

#: Characters of a bucket's name that count.
MAX_BUCKET = 64

_SECONDS = re.compile(rb"[0-9]+(\.[0-9]*)?\Z")


class HeaderValues(Protocol):
    """Headers by their names: twisted.web's ``Headers``, or what the agent makes at a lower cost."""

    def getRawHeaders(self, name: bytes) -> Optional[Sequence[bytes]]:
        """All values of a header, in order; None where there is no such header."""


def wait_told(status: int, headers: HeaderValues, now: float) -> Optional[float]:
    """
    How long Turn told us to wait.

    Turn's clock is not ours: a moment that it names is compared with the
    ``Date`` of the same answer.

    :param now: Unix seconds, for an answer without ``Date``.
    :return: seconds, at most :data:`MAX_WAIT`; None where it said nothing that
        can be understood, or a moment that is over.
    """
    throttled = status == TOO_MANY_REQUESTS
    if not throttled and whole_number(value_of(headers, b"X-Ratelimit-Remaining")) != 0:
        return None
    date = http_date(value_of(headers, b"Date"))
    if date is None:
        date = now
    wait = _retry_after(value_of(headers, b"Retry-After"), date) if throttled else None
    if wait is None:
        reset = _seconds(value_of(headers, b"X-Ratelimit-Reset"))
        wait = None if reset is None else reset - date
    if wait is None or wait <= 0:
        return None
    return min(wait, MAX_WAIT)


def _retry_after(value: Optional[bytes], date: float) -> Optional[float]:
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    moment = http_date(value)
    return None if moment is None else moment - date


def value_of(headers: HeaderValues, name: bytes) -> Optional[bytes]:
    """A header's first value, if there is such a header."""
    values = headers.getRawHeaders(name)
    return values[0].strip() if values else None


def bucket_of(headers: HeaderValues) -> Optional[str]:
    """The rate limit bucket that an answer names, if it names one."""
    value = value_of(headers, b"X-Ratelimit-Bucket")
    return value.decode("latin-1")[:MAX_BUCKET] if value else None


def _seconds(value: Optional[bytes]) -> Optional[float]:
    if value is None or not _SECONDS.match(value):
        return None
    seconds = float(value)
    return seconds if math.isfinite(seconds) else MAX_WAIT * 1e9


def whole_number(value: Optional[bytes]) -> Optional[int]:
    """A header's value as a number; None for anything else."""
    return int(value) if value is not None and value.isdigit() and len(value) < 16 else None


def http_date(value: Optional[bytes]) -> Optional[float]:
    """
    A moment as HTTP's headers have it.

    :return: Unix seconds, whole ones; None for anything else than a date.
    """
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value.decode("ascii"))
        if moment.tzinfo is None:
            # The oldest of HTTP's three forms names no zone; all are in GMT.
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
