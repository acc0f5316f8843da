"""
The memory of what Turn has accepted.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.delivery.sent import CAPACITY, Sent


class SentTests(SynchronousTestCase):
    """It knows the latest identities."""

    def test_knows_what_was_added(self) -> None:
        """An identity is known once it was added, and another with the same id is not."""
        sent = Sent()
        sent.add(("an id", b"digest"))
        self.assertIn(("an id", b"digest"), sent)
        self.assertNotIn(("an id", b"another digest"), sent)
        self.assertNotIn("an id", sent)

    def test_forgets_the_oldest(self) -> None:
        """When it is full the one that was added first goes."""
        sent = Sent(capacity=2)
        for identity in ("a", "b", "c"):
            sent.add(identity)
        self.assertEqual([identity in sent for identity in ("a", "b", "c")], [False, True, True])
        self.assertEqual(len(sent), 2)

    def test_keeps_what_was_asked_for(self) -> None:
        """One that was asked for, or added again, counts as new."""
        sent = Sent(capacity=3)
        for identity in ("a", "b", "c"):
            sent.add(identity)
        self.assertIn("a", sent)
        sent.add("b")
        sent.add("d")
        self.assertEqual([identity in sent for identity in ("a", "b", "c", "d")], [True, True, False, True])

    def test_capacity(self) -> None:
        """It remembers 100,000, and no more."""
        sent = Sent()
        for number in range(CAPACITY + 10):
            sent.add(number)
        self.assertEqual((CAPACITY, len(sent)), (100_000, 100_000))
        self.assertNotIn(9, sent)
        self.assertIn(10, sent)
