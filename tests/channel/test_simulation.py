"""
Random journeys of several people by USSD and SMS, through whole workers in
memory that are killed, stopped and cut off, and the promises that hold whatever happens.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from tests.channel.simulated_people import ANY, Person
from tests.channel.simulated_world import World

try:
    import txredisapi
except ImportError:
    txredisapi = None

#: Seconds of the clock for one world.
LONGEST = 2000
#: What can befall a worker that shares nothing.
ALONE = ("nack", "connection", "kill", "stop")


class SimulationTests(SynchronousTestCase):
    """Whatever happens."""

    def run_world(
        self, seed: int, shared: bool, workers: int = 1, faults: tuple[str, ...] = (), **options: Any
    ) -> World:
        """What became of one world; its problems are in it."""
        world = World(seed, shared, workers, **{"page_back_key": "0", **options})
        people = [Person(world, number, ussd=number % 3 > 0) for number in range(4)]
        world.add(people)
        lives = gatherResults([Deferred.fromCoroutine(person.live(2)) for person in people])
        for _ in range(LONGEST):
            if lives.called:
                break
            if faults and world.rng.random() < 0.3:
                trouble = Deferred.fromCoroutine(world.trouble(faults))
                while not trouble.called:
                    world.advance(0.5)
                self.successResultOf(trouble)
            world.advance(1.0)
        self.successResultOf(lives)
        world.advance(20.0)
        for person in people:
            person.check()
        for place in world.places:
            stopped = Deferred.fromCoroutine(place.stop())
            world.advance(15.0)
            self.successResultOf(stopped)
        for queue in ("inbound", "event", "turn_joining", "turn_failures"):
            left = world.places[0].broker.queue_contents(f"c.{queue}")
            if left:
                world.problems.append(f"left in {queue}: {left[:3]}")
        return world

    def simulate(self, seed: int, **arguments: Any) -> World:
        """A world without a problem."""
        world = self.run_world(seed, **arguments)
        self.assertEqual(world.problems, [], f"seed {seed}")
        return world

    def test_calm(self) -> None:
        """Each message is shown once, in order, on screens that are not too long, and each answer is understood."""
        seen = self.simulate(0, shared=False).seen + self.simulate(1, shared=False, screen_size=182).seen
        # What is to be tested has happened, or this shows nothing.
        self.assertEqual(set(seen), {"page", "choice", "joined", "taken"})
        self.assertGreater(min(seen.values()), 5, seen)

    def test_trouble_in_memory(self) -> None:
        """The same with one worker whose memory is lost with it: nothing that Turn has a 200 for is lost."""
        for seed in range(10, 13):
            self.simulate(seed, shared=False, faults=ALONE)

    def test_two_workers(self) -> None:
        """The same with two workers that share a Redis, which come between each other."""
        if txredisapi is None:
            self.skipTest("needs txredisapi: pip install '.[redis]'")
        self.simulate(20, shared=True, workers=2, screen_size=100)

    def test_trouble_with_redis(self) -> None:
        """With a Redis, what is shown twice has one id, and nothing that a worker knew is lost with it."""
        if txredisapi is None:
            self.skipTest("needs txredisapi: pip install '.[redis]'")
        for seed in range(30, 33):
            self.simulate(seed, shared=True, workers=2, faults=ANY)

    def test_it_can_fail(self) -> None:
        """A worker that joins nothing is found out, and one that knows nothing of the keys."""
        apart = self.run_world(0, shared=False, join_window=0)
        self.assertTrue(any("not together" in problem for problem in apart.problems))
        keyless = self.run_world(0, shared=False, page_next_key="97")
        self.assertNotEqual(keyless.problems, [])
