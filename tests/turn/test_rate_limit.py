"""What Turn's headers may say, in every form and none."""

from __future__ import annotations

import os
import time
from typing import Optional

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.cases import case
from vumi_turn.turn.rate_limit import MAX_WAIT, wait_told

#: Thu, 01 Jan 2026 00:00:00 GMT.
NOW = 1767225600.0


def told(status: int, headers: dict[bytes, bytes], now: float = NOW) -> Optional[float]:
    """What is understood."""
    return wait_told(status, Headers({name: [value] for name, value in headers.items()}), now)


class DateTests(SynchronousTestCase):
    """Dates are in GMT."""

    def setUp(self) -> None:
        zone = os.environ.get("TZ")

        def restore() -> None:
            if zone is None:
                os.environ.pop("TZ", None)
            else:
                os.environ["TZ"] = zone
            time.tzset()

        self.addCleanup(restore)

    def test_three_forms(self) -> None:
        """Each of HTTP's three forms of a date is in GMT, wherever this runs."""
        for zone in ("UTC", "Africa/Maseru", "America/New_York"):
            with case(zone=zone):
                os.environ["TZ"] = zone
                time.tzset()
                for form in (
                    b"Thu, 01 Jan 2026 00:01:00 GMT",
                    b"Thursday, 01-Jan-26 00:01:00 GMT",
                    b"Thu Jan  1 00:01:00 2026",
                ):
                    with case(form=form):
                        self.assertEqual(told(429, {b"Retry-After": form}), 60.0, (zone, form))


class AnythingTests(SynchronousTestCase):
    """Headers are whatever a server writes."""

    @given(
        st.dictionaries(
            st.sampled_from([b"Retry-After", b"X-Ratelimit-Reset", b"X-Ratelimit-Remaining", b"Date"]),
            st.one_of(
                st.binary(max_size=12).map(lambda value: value.translate(None, b"\r\n\0")),
                st.from_regex(rb"[0-9:, +\-A-Za-z.]{0,30}", fullmatch=True),
                st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()),
                st.floats().map(lambda number: str(number).encode()),
                st.integers().map(lambda number: str(number).encode()),
            ),
        ),
        st.sampled_from([200, 429, 503]),
        st.floats(0, 4e9),
    )
    def test_bounded(self, headers: dict[bytes, bytes], status: int, now: float) -> None:
        """Whatever the headers hold, the wait is none or one of up to ten minutes."""
        wait = told(status, headers, now)
        self.assertTrue(wait is None or 0 < wait <= MAX_WAIT, wait)
