"""Long texts on small screens."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.conversation.errors import InvalidScreenOptions, UnreadableValue
from vumi_turn.conversation.graphemes import last_boundary
from vumi_turn.conversation.gsm import DEFAULT_ALPHABET, EXTENSION_TABLE, is_gsm, septets, utf16_units
from vumi_turn.conversation.pages import Pages
from vumi_turn.conversation.screen_options import ScreenOptions, Unit
from vumi_turn.conversation.screens import ScreenLength, paginate, screen_length

ENGLISH = "Bring your card and a bottle of clean water when you come to the clinic for your next check. "
SESOTHO = "Lumela! Re kopa hore u tle kliniking ka Mantaha, u nke karete ea hau ea bophelo le metsi. "
AMHARIC = "ሰላም፣ ወደ ጤና ጣቢያ ሲመጡ ካርድዎን ይዘው ይምጡ። ለተጨማሪ መረጃ ቁጥር ይምረጡ። "
AMHARIC_OLD = "ሰላም፡ወደ፡ጤና፡ጣቢያ፡ሲመጡ፡ካርድዎን፡ይዘው፡ይምጡ።"
ARABIC = "مرحبًا، يُرجى إحضار بطاقتك عند زيارة العيادة يوم الإثنين القادم. "
HINDI = "नमस्ते, कृपया अगली जाँच के लिए क्लिनिक आते समय अपना कार्ड साथ लाएँ। "
EMOJI = "👩🏽\u200d⚕️👨\u200d👩\u200d👧\u200d👦🇱🇸👍🏿"

OPTIONS = ScreenOptions()


class LengthTests(SynchronousTestCase):
    """How long a text is on a mobile network."""

    def test_alphabet(self) -> None:
        """GSM 03.38 has 127 characters beside the escape, and ten more at two septets."""
        self.assertEqual((len(set(DEFAULT_ALPHABET)), len(set(EXTENSION_TABLE))), (127, 10))
        self.assertEqual(septets(DEFAULT_ALPHABET + EXTENSION_TABLE), 147)
        self.assertEqual(septets("Ünïcode"[0] + "{€}"), 7)
        for character in "`çïêÁ“”’–…\t\x1bአन😀":
            with case(character=character):
                self.assertFalse(is_gsm(f"a{character}"))

    def test_utf16(self) -> None:
        """An emoji is two units; half of one is one."""
        self.assertEqual([utf16_units(text) for text in ("", "ab", "ሰላ", "a😀", "\ud83d")], [0, 2, 2, 3, 1])

    def test_sizes(self) -> None:
        """The octets that a screen's septets fill hold half as many UTF-16 units."""
        for size, units in ((160, 70), (182, 80), (40, 17), (41, 18), (153, 67)):
            with case(size=size, units=units):
                options = ScreenOptions(size=size, next_key="9", next_label="+")
                self.assertEqual((options.limit(Unit.SEPTETS), options.limit(Unit.UTF16)), (size, units))

    def test_screen_length(self) -> None:
        """The counter says what is used and what is left, in the text's own unit."""
        self.assertEqual(screen_length("a€", OPTIONS), ScreenLength(3, 160, Unit.SEPTETS))
        self.assertEqual(screen_length("a😀", OPTIONS), ScreenLength(3, 70, Unit.UTF16))
        self.assertEqual(screen_length("a" * 161, OPTIONS).left, -1)
        self.assertIsNone(screen_length("a", ScreenOptions(size=0)).left)


class OptionsTests(SynchronousTestCase):
    """Options that cannot work are refused with a reason."""

    def refusal(self, **options: Any) -> tuple[str, str]:
        """Which option is at fault, and why."""
        error = self.assertRaises(InvalidScreenOptions, ScreenOptions, **options)
        self.assertEqual(str(error), f"{error.option} {error.details}")
        return error.option, error.details

    def test_size(self) -> None:
        """A screen has no size, or at least 40 characters."""
        for size in (-1, 1, 39):
            with case(size=size):
                self.assertEqual(self.refusal(size=size), ("screen_size", f"must be 0 or at least 40, not {size}"))
        ScreenOptions(size=0, next_label="x" * 500)

    def test_room(self) -> None:
        """At least 10 units are left beside all navigation lines, also of a text that is not in the GSM alphabet."""
        option, details = self.refusal(size=40, next_label="More")
        self.assertEqual(option, "screen_size")
        self.assertEqual(
            details,
            "40 leaves 8 of 17 UTF-16 units beside the page keys and labels, and at least 10 are needed:"
            " make screen_size larger or the labels shorter",
        )
        ScreenOptions(size=40, next_key="9", next_label="Go")
        ScreenOptions(size=160, next_label="x" * 55)
        self.assertIn("leaves 9 of 70 UTF-16 units", self.refusal(size=160, next_label="x" * 56)[1])
        self.assertIn("leaves 9 of 70 UTF-16 units", self.refusal(next_label="x" * 48, back_key="0")[1])
        self.assertIn("leaves 0 of 160 septets", self.refusal(next_label="x" * 200)[1])
        self.assertIn("leaves 9 of 70 UTF-16 units", self.refusal(next_label="…" + "x" * 55)[1])

    def test_keys(self) -> None:
        """Keys can be typed and told apart, and labels are one line."""
        for key in ("", " ", ".", "9\n8", " 98"):
            with case(key=key):
                self.assertEqual(self.refusal(next_key=key)[0], "page_next_key")
                self.assertEqual(self.refusal(back_key=key)[0], "page_back_key")
        for label in ("", " ", "a\nb", "More "):
            with case(label=label):
                self.assertEqual(self.refusal(next_label=label)[0], "page_next_label")
                self.assertEqual(self.refusal(back_key="0", back_label=label)[0], "page_back_label")
        self.assertEqual(
            self.refusal(next_key="n", back_key="N."), ("page_back_key", "must be another key than page_next_key")
        )


class PaginateTests(SynchronousTestCase):
    """Where pages begin and end."""

    def test_fits(self) -> None:
        """A text that fits a screen is one page as it is, without navigation; without a size each does."""
        for text in ("", "Hi\n", "a" * 160, "€" * 80, "ሰ" * 70, "😀" * 35, " " * 160):
            with case(text=text):
                self.assertEqual(paginate(text, OPTIONS), (text,))
        self.assertEqual(paginate("a" * 9999, ScreenOptions(size=0)), ("a" * 9999,))
        for text in ("a" * 161, "€" * 81, "ሰ" * 71, "😀" * 36):
            with case(text=text):
                self.assertEqual(len(paginate(text, OPTIONS)), 2)

    def test_lines(self) -> None:
        """Pages end behind a line; all but the last end with the way on."""
        text = "\n".join(f"{number}. {'x' * 40}" for number in range(1, 8))
        pages = paginate(text, OPTIONS)
        self.assertEqual([page.split("\n")[-1] for page in pages], ["98. More", "98. More", f"7. {'x' * 40}"])
        self.assertEqual("\n".join(page.removesuffix("\n98. More") for page in pages), text)

    def test_exact(self) -> None:
        """A page is filled to the last unit by its lines and navigation."""
        first = "a" * (160 - len("\n98. More"))
        self.assertEqual(paginate(f"{first}\n{'b' * 160}", OPTIONS), (f"{first}\n98. More", "b" * 160))
        self.assertEqual(paginate(f"{first} {'b' * 160}", OPTIONS), (f"{first}\n98. More", "b" * 160))
        for space in (" ", "\n"):
            with case(space=space):
                text = f"{first[:75]}{space}{first[76:]}{space}{'b' * 160}"
                self.assertEqual(paginate(text, OPTIONS), (f"{text[:151]}\n98. More", "b" * 160))

    def test_words(self) -> None:
        """A line longer than a page is cut behind a word, a word longer than one anywhere."""
        words = ("clinic " * 30).strip()
        pages = paginate(words, OPTIONS)
        self.assertEqual(" ".join(page.removesuffix("\n98. More") for page in pages), words)
        pages = paginate("a" * 400, OPTIONS)
        self.assertEqual([len(page) for page in pages], [160, 160, 400 - 2 * 151])
        for space in ("\u00a0", "\u202f"):
            with case(space=space):
                kept = paginate(f"one two{space}{'ሰ' * 58} {'ሰ' * 60}", OPTIONS)[0]
                self.assertEqual(kept, "one\n98. More")

    def test_space_with_a_mark(self) -> None:
        """A space that carries a mark is no place to cut."""
        text = f"one two \u0301{'ሰ' * 58} {'ሰ' * 60}"
        self.assertEqual(paginate(text, OPTIONS)[0], "one\n98. More")

    def test_word_separators(self) -> None:
        """Ethiopic's word separator stays at the end of its page."""
        pages = paginate(AMHARIC_OLD * 3, OPTIONS)
        self.assertTrue(all(page.removesuffix("\n98. More").endswith("፡") for page in pages[:-1]))
        self.assertEqual("".join(page.removesuffix("\n98. More") for page in pages), AMHARIC_OLD * 3)

    def test_visible_characters(self) -> None:
        """A family, a flag or a conjunct is not cut."""
        for text in (EMOJI * 8, "e\u0301" * 90, "क्षि" * 40, "🇱🇸" * 40, "👍🏽" * 40):
            with case(text=text):
                pages = [page.removesuffix("\n98. More") for page in paginate(text, OPTIONS)]
                self.assertGreater(len(pages), 1)
                self.assertEqual("".join(pages), text)
                place = 0
                for page in pages[:-1]:
                    with case(page=page):
                        place += len(page)
                        self.assertEqual(last_boundary(text, 0, place), place)

    def test_endless_character(self) -> None:
        """A visible character longer than a page is cut between code points."""
        text = "Z" + "\u0351" * 300
        pages = [page.removesuffix("\n98. More") for page in paginate(text, OPTIONS)]
        self.assertEqual("".join(pages), text)
        self.assertEqual(len(pages[0]), 61)

    def test_back(self) -> None:
        """The way back is before the way on, on all pages but the first and one that ends the session."""
        options = ScreenOptions(back_key="0")
        pages = paginate("a" * 400, options)
        ends = [re.sub("a{9,}", "", page) for page in pages]
        self.assertEqual(ends, ["\n98. More", "\n0. Back\n98. More", "\n0. Back"])
        closing = paginate("a" * 400, options, ends_session=True)
        self.assertEqual(re.sub("a{9,}", "", closing[-1]), "")
        self.assertEqual(closing[:-1], pages[:-1])
        # The last page has room for what the way back would take.
        self.assertEqual(len(paginate("a" * (151 + 160), options, ends_session=True)), 2)
        self.assertEqual(len(paginate("a" * (151 + 160), options)), 3)

    def test_alphabet_is_judged_once(self) -> None:
        """One character outside the alphabet, also in a label, makes all pages shorter."""
        self.assertEqual(len(paginate("a" * 300 + "ሰ", OPTIONS)[0]), 70)
        self.assertEqual(len(paginate("a" * 300, ScreenOptions(next_label="More…"))[0]), 70)
        self.assertEqual(len(paginate("a" * 160, ScreenOptions(next_label="More…"))), 1)
        self.assertEqual(len(paginate("a" * 300, ScreenOptions(back_key="0", back_label="←"))[0]), 70)

    def test_white_space(self) -> None:
        """White space is dropped at cuts and around a text that is cut, nowhere else."""
        long = "b" * 150
        self.assertEqual(paginate(f"a \n\n \n {long} {long}", OPTIONS)[:2], ("a\n98. More", f"{long}\n98. More"))
        self.assertEqual(paginate(f"\n {long}  " + " " * 200, OPTIONS), (long,))
        self.assertEqual(paginate(f"a\r\n\r\nc\r\n{long}\r\n{long}", OPTIONS)[0], "a\r\n\r\nc\n98. More")
        self.assertEqual(paginate(" " * 500, OPTIONS), ("",))

    words = st.sampled_from(
        [text for text in (ENGLISH, SESOTHO, AMHARIC, AMHARIC_OLD, ARABIC, HINDI) for text in text.split()]
        + [EMOJI, "👍🏽", "🇱🇸", "€" * 30, "x" * 90, "क्षि" * 30, "Z" + "\u0351" * 99]
        + ["{", "\u0301", "a\u00a0b", "\u200b"]
    )
    spaces = st.sampled_from([" "] * 6 + ["\n", "\n\n", "", "  ", "\r\n", " \n "])
    texts = st.lists(st.tuples(words, spaces).map("".join), max_size=80).map("".join)
    options = st.builds(
        ScreenOptions,
        size=st.integers(100, 300),
        next_label=st.sampled_from(["More", "ተጨማሪ", "{next}"]),
        back_key=st.sampled_from([None, "0"]),
        back_label=st.sampled_from(["Back", "العودة"]),
    )

    @given(texts, options, st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_any_text(self, text: str, options: ScreenOptions, ends: bool) -> None:
        """No page is longer than the size, nothing but white space at cuts is lost, and no page is blank."""
        pages = paginate(text, options, ends)
        if len(pages) == 1:
            self.assertEqual(pages[0].strip(), text.strip())
            self.assertLessEqual(screen_length(pages[0], options).used, screen_length(pages[0], options).size)
            return
        unit = Unit.SEPTETS if is_gsm(text + options.next_line + options.back_line) else Unit.UTF16
        rest = text.strip()
        for number, page in enumerate(pages):
            with case(number=number, page=page):
                last = number == len(pages) - 1
                self.assertLessEqual(unit.length(page), options.limit(unit))
                back = options.back_line if number and not (ends and last) else ""
                navigation = back + ("" if last else options.next_line)
                self.assertTrue(page.endswith(navigation))
                body = page[: len(page) - len(navigation)]
                self.assertTrue(body.strip())
                self.assertTrue(rest.startswith(body), (body, rest))
                following = rest[len(body) :]
                # A page is not cut within a line that could have stood on it to its end.
                if not last and "\n" in body and not following.lstrip(" \r").startswith("\n"):
                    self.fail(f"cut within a line behind a whole one: {body!r} {following!r}")
                rest = following.lstrip(" \n\r")
        self.assertEqual(rest, "")

    @given(st.lists(words, min_size=2, max_size=30), st.text(st.sampled_from("a \nሰ"), max_size=200), options)
    @settings(max_examples=60, deadline=None)
    def test_choices_are_whole(self, titles: list[str], question: str, options: ScreenOptions) -> None:
        """A choice's line that fits a page is not cut."""
        lines = [f"{number}. {title}" for number, title in enumerate(titles, 1)]
        text = "\n".join([question, *lines])
        shown = [line.rstrip("\r ") for page in paginate(text, options) for line in page.split("\n")]
        unit = Unit.SEPTETS if is_gsm(text + options.next_line + options.back_line) else Unit.UTF16
        room = options.limit(unit) - unit.length(options.next_line + options.back_line)
        for line in lines:
            with case(line=line):
                if unit.length(line) <= room:
                    self.assertIn(line, shown)

    def test_languages(self) -> None:
        """A page of each language ends behind a word, and no page begins with a mark."""
        for language in (ENGLISH, SESOTHO, AMHARIC, ARABIC, HINDI):
            with case(language=language):
                pages = [page.removesuffix("\n98. More") for page in paginate(language * 6, OPTIONS)]
                self.assertEqual(" ".join(pages).split(), (language * 6).split())
                self.assertFalse([page for page in pages if unicodedata.category(page[0])[0] == "M"])

    def test_long_text(self) -> None:
        """A text of 100,000 characters is divided in a time that grows with it, not with its square."""
        self.assertGreater(len(paginate(ENGLISH * 1100, OPTIONS)), 600)
        self.assertGreater(len(paginate(EMOJI * 5000, OPTIONS)), 1000)


class PagesTests(SynchronousTestCase):
    """Which page a key shows."""

    def setUp(self) -> None:
        self.pages = Pages.of("a" * 400, ScreenOptions(back_key="B"), False)
        self.closing = Pages.of("a" * 400, ScreenOptions(back_key="B"), True)

    def test_table(self) -> None:
        """A key turns the page while there is a page in that direction; all else is an answer."""
        for page, on, back in ((0, 1, None), (1, 2, 0), (2, None, 1)):
            with case(page=page, on=on, back=back):
                for typed in ("98", " 98. ", "98)", "٩٨"):
                    with case(typed=typed):
                        self.assertEqual(self.pages.turned(page, typed), on)
                for typed in ("B", "b", " b. "):
                    with case(typed=typed):
                        self.assertEqual(self.pages.turned(page, typed), back)
                for typed in ("", "1", "9 8", "988", "098", "More", "a"):
                    with case(typed=typed):
                        self.assertIsNone(self.pages.turned(page, typed))

    def test_without_back(self) -> None:
        """Without a back key there is no way back."""
        pages = Pages.of("a" * 400, OPTIONS, False)
        self.assertEqual([pages.turned(1, typed) for typed in ("98", "B", "0", "")], [2, None, None, None])

    def test_end(self) -> None:
        """Only the last page ends the session, and there is no way back from it."""
        self.assertEqual([self.closing.is_end(page) for page in range(3)], [False, False, True])
        self.assertEqual([self.pages.is_end(page) for page in range(3)], [False, False, False])
        self.assertIsNone(self.closing.turned(2, "B"))
        self.assertEqual(self.closing.turned(1, "B"), 0)
        self.assertTrue(Pages.of("Bye", OPTIONS, True).is_end(0))

    def test_single(self) -> None:
        """A text that fits is one page, which no key turns."""
        pages = Pages.of("Hi", OPTIONS, False)
        self.assertEqual((pages.texts, pages.several, self.pages.several), (("Hi",), False, True))
        self.assertIsNone(pages.turned(0, "98"))

    def test_unknown_page(self) -> None:
        """A page that does not exist is not turned to another."""
        for page in (-1, 3, 99):
            with case(page=page):
                self.assertEqual([self.pages.turned(page, typed) for typed in ("98", "B")], [None, None])

    def test_json(self) -> None:
        """Pages survive JSON; what are no pages is said to be none."""
        for pages in (self.pages, self.closing, Pages.of("ሰ" * 99, OPTIONS, False)):
            with case(pages=pages):
                self.assertEqual(Pages.from_json(json.loads(json.dumps(pages.to_json()))), pages)
        stored = self.pages.to_json()
        changes: dict[str, list[Any]] = {
            "texts": [[], "ab", ["a", 1], None],
            "next_key": [1],
            "back_key": [1],
            "ends_session": [None, 1],
        }
        broken = [{**stored, key: value} for key, values in changes.items() for value in values]
        values: list[Any] = [None, [], {}, *broken]
        for value in values:
            with case(value=value):
                self.assertRaises(UnreadableValue, Pages.from_json, value)

    def test_shows_no_content(self) -> None:
        """What may come into a log shows no text."""
        self.assertNotIn("aaa", repr(self.pages))
