"""The memory of Turn's requests."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.outbound.idempotency import IdempotencyStore, Stage


class RepeatsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.repeats = IdempotencyStore(self.clock, max_bodies=3, max_age=100)

    def test_found(self) -> None:
        """A message is found by its body's signature and by its id, and by nothing else."""
        pending = self.repeats.add(b"s1", "m1")
        self.assertIs(pending.stage, Stage.BUILDING)
        self.assertIs(self.repeats.find(b"s1"), pending)
        self.assertIs(self.repeats.find_id("m1"), pending)
        self.assertIsNone(self.repeats.find(b"m1"))
        self.assertIsNone(self.repeats.find_id("s1"))

    def test_forgotten(self) -> None:
        """A forgotten message is found no more, and who waits for that hears of it, once."""
        pending = self.repeats.add(b"s1", "m1")
        written = pending.written()
        self.assertNoResult(written)
        self.repeats.forget(pending)
        self.assertIsNone(self.successResultOf(written))
        self.assertIsNone(self.repeats.find(b"s1"))
        self.assertIsNone(self.repeats.find_id("m1"))
        self.repeats.forget(pending)
        self.assertEqual(len(self.repeats), 0)

    def test_forgetting_the_old_one(self) -> None:
        """Forgetting a message leaves the new one with the same body alone."""
        old = self.repeats.add(b"s1", "m1")
        self.repeats.forget(old)
        new = self.repeats.add(b"s1", "m2")
        self.repeats.forget(old)
        self.assertIs(self.repeats.find(b"s1"), new)

    def test_who_no_longer_waits(self) -> None:
        """A wait that was cancelled is not told."""
        pending = self.repeats.add(b"s1", "m1")
        given_up, other = pending.written(), pending.written()
        given_up.addErrback(lambda _: None)
        given_up.cancel()
        self.repeats.forget(pending)
        self.assertTrue(other.called)

    def test_too_many(self) -> None:
        """Beyond the bound the oldest is forgotten."""
        first = self.repeats.add(b"s1", "m1")
        written = first.written()
        for n in (2, 3, 4):
            self.repeats.add(b"s%d" % n, f"m{n}")
        self.assertEqual(len(self.repeats), 3)
        self.assertIsNone(self.repeats.find(b"s1"))
        self.assertIsNotNone(self.repeats.find(b"s2"))
        self.assertTrue(written.called)

    def test_too_old(self) -> None:
        """A message is forgotten an hour after its first request, with no timer."""
        self.repeats.add(b"s1", "m1")
        self.clock.advance(60)
        self.repeats.add(b"s2", "m2")
        self.clock.advance(39)
        self.assertIsNotNone(self.repeats.find(b"s1"))
        self.clock.advance(1)
        self.assertIsNone(self.repeats.find(b"s1"))
        self.assertIsNone(self.repeats.find_id("m1"))
        self.assertIsNotNone(self.repeats.find_id("m2"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
