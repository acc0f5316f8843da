"""The table of errors that Turn is answered with."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.http import errors
from vumi_turn.turn import errors as turn_errors


class ErrorTests(SynchronousTestCase):
    """Status, title, body and headers of each error."""

    def test_table(self) -> None:
        """Each error has the status and the title that Turn's operators know it by."""
        found = {(error.status, error.title) for error in errors.ApiError.__subclasses__()}
        self.assertEqual(
            found,
            {
                (400, "JsonDecodeError"),
                (400, "ApiUsageError"),
                (400, "UnsupportedMessageType"),
                (401, "SignatureMismatchError"),
                (404, "MessageNotFound"),
                (404, "NotFound"),
                (405, "MethodNotAllowed"),
                (413, "BodyTooLarge"),
                (500, "InternalError"),
                (415, "UnsupportedMediaType"),
                (401, "Unauthorized"),
                (403, "Forbidden"),
                (429, "TooManyAttempts"),
                (503, "ServerBusy"),
                (503, "BrokerUnavailable"),
                (504, "TimeoutError"),
            },
        )

    def test_body(self) -> None:
        """The body holds one error with code, title and details."""
        error = errors.ApiUsageError("turn.text.body must be a string, not a list")
        self.assertEqual(
            json.loads(error.to_json()),
            {
                "errors": [
                    {
                        "code": 400,
                        "title": "ApiUsageError",
                        "details": "turn.text.body must be a string, not a list",
                    }
                ]
            },
        )

    def test_any_details(self) -> None:
        """Details may hold any text, half of a surrogate pair too; the body is ASCII."""
        body = errors.ApiUsageError("é \ud83d").to_json()
        self.assertTrue(body.isascii())
        self.assertEqual(json.loads(body)["errors"][0]["details"], "é \ud83d")

    def test_default_details(self) -> None:
        """Every error says something, also when nothing was said about it."""
        for error in errors.ApiError.__subclasses__():
            with case(error=error):
                made = errors.InternalError("0f" * 16) if error is errors.InternalError else error()
                self.assertTrue(made.details and str(made) == made.details, error.__name__)

    def test_headers(self) -> None:
        """What may work later says when, and a wrong method is told the right ones."""
        self.assertEqual(turn_errors.BrokerUnavailableError().headers, {"Retry-After": "1"})
        self.assertEqual(turn_errors.BrokerUnavailableError("later", retry_after=5).headers, {"Retry-After": "5"})
        self.assertEqual(errors.MethodNotAllowed(allow=("GET", "HEAD")).headers, {"Allow": "GET, HEAD"})
        self.assertEqual(errors.MethodNotAllowed().headers, {"Allow": "POST"})
        self.assertEqual(errors.NotFound().headers, {})

    def test_internal_error(self) -> None:
        """A bug is answered with an id that is in the log, and nothing else is told."""
        error = errors.InternalError("0f" * 16)
        self.assertIn("0f" * 16, json.loads(error.to_json())["errors"][0]["details"])
        self.assertEqual(error.error_id, "0f" * 16)
