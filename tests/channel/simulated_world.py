"""
Workers, a broker, a message cache and a clock in memory, all of which can fail:
what :mod:`tests.channel.test_simulation` lets people and Turn live in.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any, Callable, Optional, Protocol, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from tests.caches.fake_redis import FakeRedis
from tests.channel.simulated_caches import SharedRequests, SimulatedMemoryCache, SimulatedRedisCache, SlowConnection
from tests.channel.test_worker import CONFIG, OK
from tests.http.resolving import ResolvingReactor
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.caches.requests_memory import MemoryRequestStore
from vumi_turn.channel.worker import TurnChannelsApi
from vumi_turn.testing.worker import RecordingServer
from vumi_turn.turn.client import TurnResponse

#: When it begins, in Unix seconds.
BEGINNING = 1_700_000_000.0


class WorkerReactor(ResolvingReactor):
    """
    The reactor of one worker's process: the world's clock, until it is killed.

    :ivar connection: to Redis, for the worker's cache.
    :ivar requests: what Turn has asked for, for the worker's cache.
    """

    def __init__(self, clock: Clock, connection: SlowConnection, requests: Optional[SharedRequests]) -> None:
        self._world = clock
        super().__init__()
        self.dead = False
        self.connection = connection
        self.requests = requests

    def seconds(self) -> float:
        return self._world.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> Any:
        return self._world.callLater(delay, self._run, callable, args, kw)

    def _run(self, function: Callable[..., Any], args: tuple[object, ...], kw: dict[str, object]) -> None:
        if not self.dead:
            function(*args, **kw)


class SimulatedTurn:
    """
    Turn as one worker reaches it: it takes everything, in its time.

    :param world: is told.
    :param reactor: the worker's; nothing is heard of a worker that was killed.
    """

    rate_limit = rate_limit_remaining = None

    def __init__(self, world: World, reactor: WorkerReactor) -> None:
        self._world = world
        self._reactor = reactor

    async def post_message(self, payload: dict[str, Any]) -> TurnResponse:
        return await self._post(self._world.hear, payload["message"])

    async def post_status(self, payload: dict[str, Any]) -> TurnResponse:
        return await self._post(self._world.note_status, payload["status"])

    async def _post(self, tell: Callable[[dict[str, Any]], None], what: dict[str, Any]) -> TurnResponse:
        if self._reactor.dead:
            await Deferred()
        tell(what)
        if self._world.rng.random() < 0.5:
            await deferLater(self._reactor, self._world.rng.uniform(0, 0.2))
        return OK

    async def close(self) -> None:
        pass


class SimulatedWorker(TurnChannelsApi):
    """
    :ivar world: where it is.
    """

    world: World

    def make_turn_client(self) -> Any:
        return SimulatedTurn(self.world, self.reactor)


class Place:
    """
    Where a worker runs, is killed and runs again.

    :ivar up: whether it takes POSTs.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.up = False
        self.start()

    def start(self) -> None:
        world = self._world
        self.connection = SlowConnection(world.redis, world.clock, world.rng)
        self.connection.up = world.redis_up
        self.reactor = WorkerReactor(world.clock, self.connection, world.requests)
        self.broker = MemoryBroker(self.reactor, world.server)
        self.worker = SimulatedWorker(world.config, broker=self.broker, reactor=self.reactor)
        self.worker.world = world
        self.worker.startService()
        self.up = True

    def kill(self) -> None:
        """As by ``kill -9``: not one step more."""
        self.up = False
        self.reactor.dead = True
        self.connection.up = False
        self.broker.go_away()
        self._world.requests.forget_worker(self.reactor)

    async def stop(self) -> None:
        """As by SIGTERM."""
        await self.worker.stopService()
        self.up = False


class Phone(Protocol):
    """What gets messages."""

    address: str

    def take(self, message: dict[str, Any]) -> None:
        """One has come."""


class World:
    """
    All of it.

    :param seed: of what happens.
    :param shared: with Redis; else each worker has its own memory.
    :param workers: how many there are.
    :param options: of the worker.
    :ivar heard: what Turn was told, by the message's id.
    :ivar statuses: what Turn was told of its own messages, by id.
    :ivar problems: what must not have happened.
    :ivar faults: when something has failed, and what.
    :ivar seen: how often what is to be tested has happened.
    """

    def __init__(self, seed: int, shared: bool, workers: int = 1, **options: Any) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.clock.advance(BEGINNING)
        self.server = RecordingServer(self.clock)
        self.redis = FakeRedis()
        self.redis_up = True
        self.shared = shared
        self.requests = SharedRequests(MemoryRequestStore(self.clock, 5.0, self._last_of))
        cache = SimulatedRedisCache if shared else SimulatedMemoryCache
        self.config = {
            **CONFIG,
            "message_cache_class": f"{cache.__module__}.{cache.__name__}",
            "message_cache_config": {"url": "redis://localhost"} if shared else {},
            "join_window": 1.0,
            **options,
        }
        self.heard: dict[str, list[dict[str, Any]]] = {}
        self.statuses: dict[str, list[str]] = {}
        self.problems: list[str] = []
        self.seen: Counter[str] = Counter()
        self.faults: list[tuple[float, str]] = []
        self.last_inputs: dict[str, str] = {}
        self._phones: dict[str, Phone] = {}
        self._sent: dict[str, list[dict[str, Any]]] = {}
        self._held: set[str] = set()
        self._looked = self._looked_parts = 0
        self.server.on_push = self._look
        self.places = [Place(self) for _ in range(workers)]
        self.advance(2.0)

    def _last_of(self, address: str) -> Optional[str]:
        return self.last_inputs.get(address)

    # -- time ------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass, and all that is due happen at its moment."""
        end = self.clock.seconds() + seconds
        while True:
            moment = min((call.getTime() for call in self.clock.getDelayedCalls()), default=end)
            if moment > end:
                break
            self.clock.advance(max(moment - self.clock.seconds(), 0.0))
            if moment >= end:
                break
        self.clock.advance(max(end - self.clock.seconds(), 0.0))

    async def sleep(self, seconds: float) -> None:
        await deferLater(self.clock, seconds)

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for something, for so long at most; whether it has come."""
        for _ in range(int(seconds / 0.1)):
            if condition():
                return True
            await self.sleep(0.1)
        return condition()

    # -- what Turn is told --------------------------------------------------------------

    def hear(self, message: dict[str, Any]) -> None:
        self.heard.setdefault(message["id"], []).append(message)
        self.last_inputs[message["from"]] = message["id"]

    def has_heard(self, message_id: str) -> bool:
        return message_id in self.heard

    def note_status(self, status: dict[str, Any]) -> None:
        self.statuses.setdefault(status["id"], []).append(status["status"])

    # -- what fails ---------------------------------------------------------------------

    def note(self, fault: str) -> None:
        self.faults.append((self.clock.seconds(), fault))

    def may_show_twice(self) -> bool:
        """Whether Turn's repeat may have been taken for another message: only where a worker's memory is lost."""
        lost = ("redis",) if self.shared else ("kill", "stop")
        return self.failed_since(0, *lost)

    def failed_since(self, moment: float, *faults: str) -> bool:
        """Whether one of these has happened since a moment."""
        return any(at >= moment and fault in faults for at, fault in self.faults)

    async def trouble(self, kinds: Sequence[str]) -> None:
        """One fault of a kind, and what mends it."""
        kind, place = self.rng.choice(kinds), self.rng.choice(self.places)
        if not place.up:
            return
        self.note(kind)
        if kind == "nack":
            place.broker.nack_next(self.rng.randint(1, 3))
        elif kind == "connection":
            place.broker.go_away()
            await self.sleep(self.rng.uniform(0.1, 3))
            if place.up:
                place.broker.come_back()
        elif kind == "kill":
            place.kill()
            await self.sleep(self.rng.uniform(0.1, 2))
            place.start()
        elif kind == "stop":
            await place.stop()
            place.start()
        elif kind == "redis":
            await self._redis_away()
        self.note(kind)

    async def _redis_away(self) -> None:
        if not self.redis_up:
            return
        self.redis_up = False
        for place in self.places:
            place.connection.lose()
        await self.sleep(self.rng.choice([0.3, 3.0, 8.0]))
        self.redis_up = True
        for place in self.places:
            if place.up:
                place.connection.come_back()

    # -- what is in the queues -------------------------------------------------------------

    def add(self, people: Sequence[Phone]) -> None:
        """Their phones get what is published to them."""
        for person in people:
            self._phones[person.address] = person

    def holds(self, message_id: str) -> bool:
        """Whether the broker has a message of Turn's: as one of its own, or as a part."""
        self._look()
        return message_id in self._held

    def to(self, address: str) -> list[dict[str, Any]]:
        """All messages to a person, the first one first."""
        self._look()
        return self._sent.get(address, [])

    def _look(self) -> None:
        outbound, parts = self.server.pushed["c.outbound"], self.server.pushed["c.turn_joining"]
        for body in parts[self._looked_parts :]:
            self._held.add(json.loads(body)["id"])
        self._looked_parts = len(parts)
        for body in outbound[self._looked :]:
            self._looked += 1
            message = json.loads(body)
            self._held.add(message["message_id"])
            self._sent.setdefault(message["to_addr"], []).append(message)
            self._phones[message["to_addr"]].take(message)
