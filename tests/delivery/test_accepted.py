"""
The memory of what Turn has accepted.
"""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

import vumi_turn.delivery.accepted as sent_module
from vumi_turn.delivery.accepted import CAPACITY, SIZE, AcceptedIdentities
from vumi_turn.timing.shared_bound import Bound


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
        """It takes no memory before it knows something, and no more than the digests and an eighth when it is full."""
        sent = AcceptedIdentities(capacity=1000)
        self.assertLess(sys.getsizeof(sent._digests), 100)
        for number in range(25000):
            sent.add(("a message", number))
            self.assertLess(sys.getsizeof(sent._digests), 1000 * SIZE * 9 // 8 + 200)
        self.assertEqual(sent.held, 1000)

    def test_shared(self) -> None:
        """Those of many channels have one bound together; a busy one does not push out what a quiet one knows."""
        bound = Bound()
        busy, quiet, *idle = (AcceptedIdentities(bound=bound) for _ in range(50))
        for number in range(100):
            quiet.add(number)
        for number in range(CAPACITY + 1000):
            busy.add(number)
        self.assertEqual(bound.total, CAPACITY)
        self.assertEqual([each.held for each in (busy, quiet, idle[0])], [CAPACITY - 100, 100, 0])
        self.assertIn(0, quiet)
        self.assertNotIn(0, busy)

    def test_a_channel_that_goes(self) -> None:
        """What it remembered is room for others, whatever is told it afterwards."""
        bound = Bound()
        one, two = AcceptedIdentities(3, bound), AcceptedIdentities(3, bound)
        for number in range(3):
            one.add(number)
        one.clear()
        one.add("late")
        self.assertEqual(bound.total, 0)
        for number in range(3):
            two.add(number)
        self.assertEqual((two.held, bound.total), (3, 3))

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
