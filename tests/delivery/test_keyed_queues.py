"""
KeyedQueues: who stands where.
"""

from __future__ import annotations

import random
from typing import Optional

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.fakes import FakeParcel, FakeTurn
from vumi_turn.delivery.keyed_queues import DeliveryTask, KeyedQueues


class LinesTests(SynchronousTestCase):
    """Parcels of one kind with one key stand in one line."""

    def setUp(self) -> None:
        self.turn = FakeTurn(Clock())
        self.lines = KeyedQueues()

    def journey(self, name: str, key: str = "k", kind: str = "message") -> DeliveryTask:
        return DeliveryTask(FakeParcel(self.turn, name, key, kind=kind), 0.0)

    def enter(self, *journeys: DeliveryTask) -> list[bool]:
        return [self.lines.enter(journey) for journey in journeys]

    def test_first_of_each(self) -> None:
        """Only the first of a kind and key has its turn when it enters."""
        journeys = [
            self.journey("a"),
            self.journey("b"),
            self.journey("c", "other"),
            self.journey("d", kind="status"),
            self.journey("e", kind="status"),
        ]
        self.assertEqual(self.enter(*journeys), [True, False, True, True, False])
        self.assertEqual(len(self.lines), 3)
        self.assertIn(("message", "k"), self.lines)

    def test_next_in_order(self) -> None:
        """When the head leaves it is the next one's turn, and an empty line is gone."""
        a, b, c = self.journey("a"), self.journey("b"), self.journey("c")
        self.enter(a, b, c)
        self.assertIs(self.lines.leave(a), b)
        self.assertIs(self.lines.leave(b), c)
        self.assertIsNone(self.lines.leave(c))
        self.assertEqual(len(self.lines), 0)

    def test_leaving_from_behind(self) -> None:
        """When another than the head leaves it is nobody's turn."""
        a, b, c = self.journey("a"), self.journey("b"), self.journey("c")
        self.enter(a, b, c)
        self.assertIsNone(self.lines.leave(b))
        self.assertIs(self.lines.leave(a), c)

    def test_cut(self) -> None:
        """A cut takes one and all behind it, in line order, and leaves those before."""
        a, b, c, d = (self.journey(name) for name in "abcd")
        self.enter(a, b, c, d)
        self.assertEqual(self.lines.cut(c), [c, d])
        self.assertEqual(self.lines.cut(a), [a, b])
        self.assertEqual(len(self.lines), 0)

    def test_not_in_a_line(self) -> None:
        """One that stands in no line can leave, and be cut, without touching others."""
        a, stranger = self.journey("a"), self.journey("stranger")
        self.enter(a)
        self.assertIsNone(self.lines.leave(stranger))
        self.assertEqual(self.lines.cut(stranger), [stranger])
        self.assertEqual(self.lines.cut(a), [a])

    def test_like_a_simple_model(self) -> None:
        """Over thousands of random steps the lines do what plain lists would do."""
        rng = random.Random(20)
        model: dict[str, list[DeliveryTask]] = {}
        for number in range(5000):
            key = rng.choice("abc")
            line = model.setdefault(key, [])
            chosen = rng.choice(line) if line else None
            if chosen is None or rng.random() < 0.5:
                entered = self.journey(str(number), key)
                self.assertEqual(self.lines.enter(entered), not line)
                line.append(entered)
            elif rng.random() < 0.9:
                was_head = line[0] is chosen
                line.remove(chosen)
                following: Optional[DeliveryTask] = line[0] if was_head and line else None
                self.assertIs(self.lines.leave(chosen), following)
            else:
                at = line.index(chosen)
                self.assertEqual(self.lines.cut(chosen), line[at:])
                del line[at:]
            self.assertEqual(len(self.lines), sum(1 for each in model.values() if each))
