"""
Keyed queues: which request may start.
"""

from __future__ import annotations

import random
from typing import Optional

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.fakes import FakeRequest, FakeTurn
from vumi_turn.delivery.keyed_queues import KeyedQueues
from vumi_turn.delivery.observer import BlockedTasks
from vumi_turn.delivery.task import DeliveryTask


class KeyedQueuesTests(SynchronousTestCase):
    """Requests of one kind with one key form one queue."""

    def setUp(self) -> None:
        self.turn = FakeTurn(Clock())
        self.queues = KeyedQueues()

    def task(self, name: str, key: str = "k", kind: str = "message") -> DeliveryTask:
        return DeliveryTask(FakeRequest(self.turn, name, key, kind=kind), BlockedTasks(Clock(), None))

    def add(self, *tasks: DeliveryTask) -> list[bool]:
        return [self.queues.add(task) for task in tasks]

    def test_first_of_each(self) -> None:
        """Only the first of a kind and key may start when it is added."""
        tasks = [
            self.task("a"),
            self.task("b"),
            self.task("c", "other"),
            self.task("d", kind="status"),
            self.task("e", kind="status"),
        ]
        self.assertEqual(self.add(*tasks), [True, False, True, True, False])
        self.assertEqual(len(self.queues), 3)
        self.assertIn(("message", "k"), self.queues)

    def test_next_in_order(self) -> None:
        """When the head is removed the next one may start, and an empty queue is gone."""
        a, b, c = self.task("a"), self.task("b"), self.task("c")
        self.add(a, b, c)
        self.assertIs(self.queues.remove(a), b)
        self.assertIs(self.queues.remove(b), c)
        self.assertIsNone(self.queues.remove(c))
        self.assertEqual(len(self.queues), 0)

    def test_leaving_from_behind(self) -> None:
        """When another than the head is removed nobody may start."""
        a, b, c = self.task("a"), self.task("b"), self.task("c")
        self.add(a, b, c)
        self.assertIsNone(self.queues.remove(b))
        self.assertIs(self.queues.remove(a), c)

    def test_cut(self) -> None:
        """A cut removes one and all behind it, in order, and leaves those before."""
        a, b, c, d = (self.task(name) for name in "abcd")
        self.add(a, b, c, d)
        self.assertEqual(self.queues.cut(c), [c, d])
        self.assertEqual(self.queues.cut(a), [a, b])
        self.assertEqual(len(self.queues), 0)

    def test_not_in_a_queue(self) -> None:
        """One that is in no queue can be removed, and cut, without touching others."""
        a, stranger = self.task("a"), self.task("stranger")
        self.add(a)
        self.assertIsNone(self.queues.remove(stranger))
        self.assertEqual(self.queues.cut(stranger), [stranger])
        self.assertEqual(self.queues.cut(a), [a])

    def test_like_a_simple_model(self) -> None:
        """Over thousands of random steps the queues do what plain lists would do."""
        rng = random.Random(20)
        model: dict[str, list[DeliveryTask]] = {}
        for number in range(5000):
            key = rng.choice("abc")
            queue = model.setdefault(key, [])
            chosen = rng.choice(queue) if queue else None
            if chosen is None or rng.random() < 0.5:
                added = self.task(str(number), key)
                self.assertEqual(self.queues.add(added), not queue)
                queue.append(added)
            elif rng.random() < 0.9:
                was_head = queue[0] is chosen
                queue.remove(chosen)
                following: Optional[DeliveryTask] = queue[0] if was_head and queue else None
                self.assertIs(self.queues.remove(chosen), following)
            else:
                at = queue.index(chosen)
                self.assertEqual(self.queues.cut(chosen), queue[at:])
                del queue[at:]
            self.assertEqual(len(self.queues), sum(1 for each in model.values() if each))
