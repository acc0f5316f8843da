"""Where a text may be cut between visible characters."""

from __future__ import annotations

from types import ModuleType
from typing import Optional
from unittest import SkipTest

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.conversation.graphemes import last_boundary

regex: Optional[ModuleType]
try:
    import regex  # type: ignore[import-untyped,no-redef,unused-ignore]
except ImportError:
    regex = None

#: Texts of one visible character each.
SINGLE = (
    "a", "\r\n", "e\u0301", "☺\ufe0f", "1\ufe0f\u20e3", "👍🏽", "👩🏽\u200d⚕\ufe0f", "👨\u200d👩\u200d👧\u200d👦",
    "🇱🇸", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "कि", "क्षि", "क्\u200dष", "ก็", "กำ",
    "각", "\u1100\u1161\u11a8", "가\u11a8", "نُّ", "\u0600١", "አ", "ક્ષ", "ক্ষ", "Z\u0351\u036b\u0343", "क्\u093cष",
)  # fmt: skip

PIECES = st.sampled_from([*SINGLE, *"\u200d\u200c\u0301\ufe0f🏽🇱🇸्क \n\r\u00ad\u200b\u1160\u11a8가각ᄀ\u0903\u0600"])


def boundaries(text: str) -> list[int]:
    """All places within a text where it may be cut."""
    return [end for end in range(1, len(text)) if last_boundary(text, 0, end) == end]


class GraphemesTests(SynchronousTestCase):
    """Unicode's rules, on what Python knows of its characters."""

    def test_single(self) -> None:
        """Nothing is cut within a visible character, and each can be cut off any other."""
        for one in SINGLE:
            with case(one=one):
                self.assertEqual(boundaries(one), [], ascii(one))
                for other in SINGLE:
                    with case(other=other):
                        if one == other == "\u0600١":
                            continue
                        self.assertEqual(boundaries(one + other), [len(one)], ascii(one + other))

    def test_flags(self) -> None:
        """Flags are cut after each pair of letters, also when one letter is left."""
        self.assertEqual(boundaries("🇱🇸🇿🇦🇧"), [2, 4])
        self.assertEqual(boundaries("a🇱🇸🇿"), [1, 3])
        self.assertEqual(boundaries("🇱\u0301🇸🇿"), [2])

    def test_too_long(self) -> None:
        """Where the first character is longer than what was asked for, its begin is found."""
        self.assertEqual(last_boundary("a" + "\u0301" * 9, 0, 5), 0)
        self.assertEqual(last_boundary("ba" + "\u0301" * 9, 0, 5), 1)

    @given(st.lists(PIECES, min_size=1, max_size=12).map("".join))
    def test_never_more_than_unicode(self, text: str) -> None:
        """No cut is made where the annex makes none."""
        if regex is None:
            raise SkipTest("pip install regex: its \\X is what is compared with")
        allowed = {match.end() for match in regex.finditer(r"\X", text)}
        self.assertLessEqual(set(boundaries(text)), allowed, ascii(text))
