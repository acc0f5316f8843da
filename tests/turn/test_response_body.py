"""What the body of a 2xx says."""

from __future__ import annotations

import gzip
from typing import Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.turn.response_body import MAX_BODY, Body, meaning_of
from vumi_turn.turn.verdicts import BodyMeaning

JSON = b"application/json; charset=utf-8"
HTML = b"text/html; charset=utf-8"


class MeaningTests(SynchronousTestCase):
    def meaning(
        self, data: bytes, content_type: Optional[bytes] = JSON, *, complete: bool = True, too_long: bool = False
    ) -> BodyMeaning:
        body = Body()
        body.data, body.complete, body.too_long = data, complete, too_long
        return meaning_of(content_type, body)

    def test_plain_yes(self) -> None:
        """What Turn answers to what it takes, and whatever is no list of errors, says nothing more."""
        for data in (
            b"",
            b"{}",
            b'{"messages": [{"id": "1"}]}',
            b'{"errors": []}',
            b'{"errors": null}',
            b'{"errors": {"code": 429}}',
            b'{"errors": "429"}',
            b'[{"errors": [1]}]',
            b'{"meta": {"errors": [{"code": 429}]}}',
            b'"errors"',
            b'{"errors": [',
            b'{"errors": [1]} and more',
            b'{"errors": ' + b"[" * 30000,
            b"\xff\xfe",
            b"OK",
            b"<ok/>",
        ):
            with case(data=data):
                self.assertIs(self.meaning(data), BodyMeaning.NOTHING, data[:50])

    def test_errors(self) -> None:
        """A list of errors is no yes, whatever is in it."""
        for data in (
            b'{"errors": [{"code": 400, "title": "Bad"}]}',
            b'{"messages": [{"id": "1"}], "errors": ["no"]}',
            b'{"errors": [{"code": [429]}]}',
            b' {"errors": [null]}',
        ):
            with case(data=data):
                self.assertIs(self.meaning(data), BodyMeaning.ERRORS)

    def test_too_many(self) -> None:
        """An error with code 429, as a number or a text, means that there are too many requests."""
        for code in (b"429", b'"429"'):
            with case(code=code):
                self.assertIs(self.meaning(b'{"errors": [{"code": 1}, {"code": %b}]}' % code), BodyMeaning.TOO_MANY)

    def test_web_page(self) -> None:
        """A web page is one by its beginning, or by its type with something like it in it."""
        page = b"\xef\xbb\xbf \n<!DOCTYPE html><title>Log in to the Wi-Fi</title>"
        for data, content_type in (
            (page, JSON),
            (page, None),
            (b"<HTML>", b"text/plain"),
            (b"<!-- portal --><div>", HTML),
            (gzip.compress(page), HTML),
        ):
            with case(data=data, content_type=content_type):
                self.assertIs(self.meaning(data, content_type), BodyMeaning.WEB_PAGE, (data, content_type))

    def test_type_alone(self) -> None:
        """A type that some server adds to everything makes no web page."""
        for data in (b"", b"OK", b'{"messages": []}'):
            with case(data=data):
                self.assertIs(self.meaning(data, HTML), BodyMeaning.NOTHING)

    def test_incomplete(self) -> None:
        """What is not complete says nothing, but for a web page that is too long to be read."""
        errors, page = b'{"errors": [1]}', b"<html>" + b"x" * MAX_BODY
        self.assertIs(self.meaning(errors, complete=False), BodyMeaning.NOTHING)
        self.assertIs(self.meaning(page, HTML, complete=False), BodyMeaning.NOTHING)
        self.assertIs(self.meaning(errors, complete=False, too_long=True), BodyMeaning.NOTHING)
        self.assertIs(self.meaning(page, HTML, complete=False, too_long=True), BodyMeaning.WEB_PAGE)
