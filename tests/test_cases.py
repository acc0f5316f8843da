"""The failures of loops over examples."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case


def next_of(mapping: dict[str, str]) -> str:
    """What has no place in the mapping is a KeyError."""
    return mapping["x"]


class CaseTests(SynchronousTestCase):
    def test_message(self) -> None:
        """A failure names the example, all of them where loops are nested, and keeps what was said."""
        with self.assertRaises(AssertionError) as caught, case(kind="message"), case(status=408):
            self.assertIs(*["refused", "unavailable"])
        self.assertEqual(str(caught.exception), "with kind='message': with status=408: 'refused' is not 'unavailable'")

    def test_success(self) -> None:
        """An example that holds changes nothing, and other exceptions pass."""
        with case(status=200):
            pass
        with self.assertRaises(KeyError) as caught, case(status=200):
            next_of({})
        self.assertEqual(caught.exception.args, ("x",))
