"""
The memory of what Turn has accepted.
"""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

import vumi_turn.delivery.accepted as sent_module
from vumi_turn.delivery.accepted import CAPACITY, SIZE, AcceptedIdentities


class SentTests(SynchronousTestCase):
    """It knows the latest identities."""

    def test_knows_what_was_added(self) -> None:
        """An identity is known once it was added, and another with the same id is not."""
        sent = AcceptedIdentities()
        sent.add(("an id", b"digest"))
        self.assertIn(("an id", b"digest"), sent)
        self.assertNotIn(("an id", b"another digest"), sent)
        self.assertNotIn("an id", sent)

    def test_forgets_the_oldest(self) -> None:
        """When it is full the one that was added first goes."""
        sent = AcceptedIdentities(capacity=2)
        for identity in ("a", "b", "c"):
            sent.add(identity)
        self.assertEqual([identity in sent for identity in ("a", "b", "c")], [False, True, True])

    def test_keeps_what_was_asked_for(self) -> None:
        """One that was asked for, or added again, counts as new."""
        sent = AcceptedIdentities(capacity=3)
        for identity in ("a", "b", "c"):
            sent.add(identity)
        self.assertIn("a", sent)
        sent.add("b")
        sent.add("d")
        self.assertEqual([identity in sent for identity in ("a", "b", "c", "d")], [True, True, False, True])

    def test_capacity(self) -> None:
        """It remembers 100,000, and no more."""
        sent = AcceptedIdentities()
        for number in range(CAPACITY + 10):
            sent.add(number)
        self.assertEqual(CAPACITY, 100_000)
        self.assertNotIn(9, sent)
        self.assertIn(10, sent)
        self.assertIn(CAPACITY + 9, sent)

    def test_memory(self) -> None:
        """It takes no more memory when it is full than when it is new."""
        sent = AcceptedIdentities(capacity=1000)
        ring = sent._ring
        size = sys.getsizeof(ring)
        for number in range(2500):
            sent.add(("a message", number))
        self.assertIs(sent._ring, ring)
        self.assertEqual((sys.getsizeof(ring), len(ring)), (size, 1000 * SIZE))

    def test_across(self) -> None:
        """Bytes that lie across two identities are no identity; one that lies behind them is found."""
        self.patch(sent_module, "_digest", lambda identity: identity)
        sent = AcceptedIdentities(capacity=3)
        sent.add(b"-" * 15 + b"+")
        sent.add(b"-" * 15 + b"=")
        across = b"+" + b"-" * 15
        self.assertNotIn(across, sent)
        sent.add(across)
        self.assertIn(across, sent)

    def test_odd_letters(self) -> None:
        """An id may hold whatever text holds."""
        sent = AcceptedIdentities()
        sent.add("\ud83d \u00e4")
        self.assertIn("\ud83d \u00e4", sent)
        self.assertNotIn("\ud83e \u00e4", sent)
