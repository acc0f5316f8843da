"""Dates as vumi's messages hold them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.vumi.messages.samples import WHEN
from vumi_turn.vumi.messages import format_vumi_date, parse_vumi_date


class DateTests(SynchronousTestCase):
    """The field ``timestamp``."""

    def test_formats(self) -> None:
        """A date is read in each form in which senders write it, as the same moment."""
        moment = WHEN.replace(microsecond=0)
        for text, expected in {
            "2021-08-07 12:34:56.789012": WHEN,
            "2021-08-07 12:34:56": moment,
            "2021-08-07 12:34:56.5": moment.replace(microsecond=500000),
            "2021-08-07 12:34:56.789012345": WHEN,
            "2021-08-07 12:34:56.789012Z": WHEN,
            "2021-08-07T12:34:56Z": moment,
            "2021-08-07T12:34:56.789012": WHEN,
            "2021-08-07T14:34:56.789012+02:00": WHEN,
            "2021-08-07T14:34:56+0200": moment,
            "2021-08-07T14:34:56+02": moment,
            "2021-08-07 07:04:56-05:30": moment,
        }.items():
            with case(text=text, expected=expected):
                found = parse_vumi_date(text)
                self.assertEqual((found, found.utcoffset()), (expected, timedelta(0)))

    def test_no_dates(self) -> None:
        """What is no date, or one that does not exist, is a ValueError."""
        for text in (
            "",
            "yesterday",
            "2021-08-07",
            "20210807T123456",
            "2021-W31-6T12:34:56.000000",
            "2021-02-30 00:00:00",
            "2021-08-07 24:00:00",
            "2021-08-07 24:00:00.000000",
            "2021-08-07 12:34:56+25:00",
            "2021-08-07 12:34:56+02:60",
            "0001-01-01 00:00:00+01:00",
            "9999-12-31 23:59:59-01:00",
            "2021-08-07 12:34:56.",
            "2021-08-07 12:34:56\n",
            "2021-08-07 12:34:56,789000",
            "2021-08-07 12:34:56.7890٠0",
            "2021-W31-6 12:34:56.789000",
            "2021-08-07 12.34.56.789000",
            "2021-02-30 00:00:00.000000",
            "٢٠٢١-08-07 12:34:56",
        ):
            with case(text=text):
                self.assertRaises(ValueError, parse_vumi_date, text)

    def test_writing(self) -> None:
        """Dates are written in UTC with six digits of fraction and a year of four."""
        east = timezone(timedelta(hours=2))
        self.assertEqual(format_vumi_date(datetime(2021, 8, 7, 12, 0)), "2021-08-07 12:00:00.000000")
        self.assertEqual(format_vumi_date(datetime(2021, 8, 7, 12, 0, tzinfo=east)), "2021-08-07 10:00:00.000000")
        self.assertEqual(format_vumi_date(datetime(33, 4, 3)), "0033-04-03 00:00:00.000000")

    @given(st.datetimes())
    @settings(max_examples=50, deadline=None)
    def test_round_trip(self, moment: datetime) -> None:
        """Every date that is written is read as the same moment."""
        self.assertEqual(parse_vumi_date(format_vumi_date(moment)), moment.replace(tzinfo=timezone.utc))
