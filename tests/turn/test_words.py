"""Turn's own words, without what they quote."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.turn.words import MASK, MAX_WORDS, masked_words, personal_texts

PAYLOAD = {
    "contact": {"id": "+26612345678", "profile": {"name": "Thandi Mokoena"}},
    "message": {
        "type": "text",
        "text": {"body": "My name is Thandi & I'm “ill”"},
        "from": "+26612345678",
        "id": "m1",
        "timestamp": "1628345678",
    },
}
PERSONAL = personal_texts(PAYLOAD)


def errors(details: str, **more: object) -> bytes:
    return json.dumps({"errors": [{"code": 1008, "title": "Bad parameter", "details": details, **more}]}).encode()


class PersonalTests(SynchronousTestCase):
    def test_message(self) -> None:
        """Content, address and name are a person's; ids, types and times are not."""
        self.assertEqual(set(PERSONAL), {"+26612345678", "Thandi Mokoena", "My name is Thandi & I'm “ill”"})

    def test_status(self) -> None:
        """Of a status the recipient is a person's."""
        status = {"id": "m1", "status": "sent", "timestamp": "1628345678", "recipient_id": "+26612345678"}
        self.assertEqual(personal_texts({"status": status}), ["+26612345678"])

    def test_choice(self) -> None:
        """A choice's title and id are content."""
        message = {"id": "m1", "type": "interactive", "interactive": {"type": "list_reply"}}
        message["interactive"]["list_reply"] = {"id": "day-3", "title": "Wednesday"}  # type: ignore[index]
        self.assertEqual(set(personal_texts({"message": message})), {"day-3", "Wednesday"})


class WordsTests(SynchronousTestCase):
    def test_errors(self) -> None:
        """Errors become a line: code, title and details of each."""
        self.assertEqual(
            masked_words(errors("the template has no language"), PERSONAL),
            "1008 Bad parameter: the template has no language",
        )

    def test_deep_errors(self) -> None:
        """Errors that are nested deep are read as text, however deep Python reads JSON."""
        for depth in (99, 300, 900, 5_000, 30_000):
            for opened, closed in (("[", "]"), ('{"a":', "}")):
                with case(depth=depth, opened=opened):
                    body = '{"errors": ' + opened * depth + '"no such number"' + closed * depth + "}"
                    self.assertTrue(masked_words(body.encode(), PERSONAL))

    def test_other_shapes(self) -> None:
        """Errors by field, other JSON, a web page, plain text and nothing are read too."""
        for body, line in (
            (b'{"errors": {"endpoint": ["is invalid"]}}', "endpoint is invalid"),
            (b'{"error": "no such number"}', "no such number"),
            (b'{"detail": "no"}', '{"detail": "no"}'),
            (b"[1, 2]", "[1, 2]"),
            (b"<html><style>p {}</style><title>502</title>\n<p>Bad &amp; gone</html>", "502 Bad & gone"),
            (b"no\r\n  such \x00thing", "no such ?thing"),
            (b"\x1f\x8bxxxx", "(compressed)"),
            (b"\xff\xfe", "\ufffd\ufffd"),
            (b"[" * 100000, None),
            (b"", ""),
        ):
            with case(body=body, line=line):
                found = masked_words(body, PERSONAL)
                if line is not None:
                    self.assertEqual(found, line)
                self.assertLessEqual(len(found), MAX_WORDS)

    def test_bound(self) -> None:
        """No more than 500 characters are kept, and it is shown that there were more."""
        found = masked_words(errors("xy " * 1000), PERSONAL)
        self.assertEqual((len(found), found[-1]), (MAX_WORDS, "…"))

    def test_masked(self) -> None:
        """Content, address, name and tokens are masked however they are quoted."""
        content = "My name is Thandi & I'm “ill”"
        for details in (
            f"cannot send '{content}' to that",
            f"cannot send {content.upper()} to that",
            f"cannot send {json.dumps(content)} to that",
            "cannot send My name is Thandi &amp; I&#x27;m “ill” to that",
            "cannot send My%20name%20is%20Thandi%20%26%20I%27m%20%E2%80%9Cill%E2%80%9D to that",
            "cannot send My\nname  is\tThandi & I'm “ill” to that",
            "cannot send My name is Th… to that",
            "cannot send Thandi Mokoena to that",
            "cannot send +26612345678 to that",
            "cannot send 26612345678 to that",
            "cannot send +266 1234-5678 to that",
            "cannot send 012345678 to that",
            "cannot send secret-token-1 to that",
            "cannot send Bearer abcdefghijkl to that",
            "cannot send eyJhbGciOi.eyJzdWIi.abc to that",
        ):
            with case(details=details):
                for body in (errors(details), details.encode()):
                    with case(body=body):
                        found = masked_words(body, PERSONAL, ["secret-token-1"])
                        self.assertIn("cannot send", found)
                        self.assertIn("to that", found)
                        self.assertIn(MASK, found)
                        for quoted in ("Thandi", "ill", "name is", "12345678", "secret", "abcdef", "eyJ"):
                            with case(quoted=quoted):
                                self.assertNotIn(quoted, found)

    def test_short_content(self) -> None:
        """A short text is masked where it stands for itself, and not inside other words and numbers."""
        self.assertEqual(masked_words(b"code 131: '1' is no choice", ["1"]), "code 131: '***' is no choice")

    def test_cut_body(self) -> None:
        """A content that is longer than what was read of the body does not come through at its end."""
        content = "".join(f"word{number} " for number in range(1000))
        body = json.dumps({"errors": [{"details": f"no: {content}"}]}).encode()[:2048]
        self.assertEqual(masked_words(body, [content]).partition("no: ")[2], MASK)

    @settings(max_examples=50, deadline=None)
    @given(st.text(min_size=9, max_size=60), st.text(max_size=40), st.text(max_size=40))
    def test_any_content(self, content: str, before: str, after: str) -> None:
        """Whatever is quoted by JSON or as it is does not come through."""
        wanted = " ".join(content.split())
        if len(wanted) < 9 or not wanted.isprintable() or "*" in wanted:
            return
        for body in (
            json.dumps({"errors": [{"details": f"{before} {content} {after}"}]}).encode("utf-8", "replace"),
            f"{before} {content} {after}".encode("utf-8", "replace"),
        ):
            with case(body=body):
                if wanted not in before and wanted not in after:
                    self.assertNotIn(wanted, masked_words(body, [content]))
