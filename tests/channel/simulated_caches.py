"""The message caches of a :class:`~tests.channel.simulated_world.World`: a slow Redis, and one in memory."""

from __future__ import annotations

import random
from typing import Any, Mapping, Sequence

from twisted.internet.task import Clock, deferLater

from tests.caches.fake_redis import FakeConnection, FakeRedis
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.caches.redis import RedisMessageCache
from vumi_turn.caches.redis_connection import RedisAway
from vumi_turn.caches.requests import Claim, RequestStore, Step
from vumi_turn.caches.requests_memory import MemoryRequestStore


class SlowConnection(FakeConnection):
    """A connection to Redis whose answers take their time, so that workers come between each other."""

    def __init__(self, redis: FakeRedis, clock: Clock, rng: random.Random) -> None:
        super().__init__(redis)
        self._clock = clock
        self._rng = rng

    async def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        if self._rng.random() < 0.3:
            await deferLater(self._clock, self._rng.uniform(0, 0.01))
        result = await super().evaluate(script, keys, arguments)
        self.calls.clear()
        if self._rng.random() < 0.3:
            await deferLater(self._clock, self._rng.uniform(0, 0.01))
            if not self.up:
                raise RedisAway("its answer was lost")
        return result


class SharedRequests(RequestStore):
    """
    Turn's requests as Redis has them: known to all workers, and kept when one is killed.

    :param memory: what is known.
    """

    def __init__(self, memory: MemoryRequestStore) -> None:
        self._memory = memory
        self._publishing: dict[bytes, object] = {}

    def of(self, worker: object) -> RequestStore:
        """As one worker sees it."""
        view = SharedRequests(self._memory)
        view._publishing = self._publishing
        view.worker = worker
        return view

    worker: object = None

    def forget_worker(self, worker: object) -> None:
        """It was killed."""
        for key in [key for key, owner in self._publishing.items() if owner is worker]:
            del self._publishing[key]

    async def claim(self, key: bytes, new_id: str, person: str) -> Claim:
        if self._publishing.get(key, self.worker) is not self.worker:
            return Claim("", Step.WAIT)
        claim = await self._memory.claim(key, new_id, person)
        if claim.step is Step.PUBLISH:
            self._publishing[key] = self.worker
        return claim

    def confirmed(self, key: bytes, message_id: str, answer_follows: bool = False) -> None:
        self._publishing.pop(key, None)
        self._memory.confirmed(key, message_id)

    def refused(self, key: bytes, message_id: str) -> None:
        self._publishing.pop(key, None)
        self._memory.refused(key, message_id)

    def forget(self, key: bytes, message_id: str) -> None:
        self._publishing.pop(key, None)
        self._memory.forget(key, message_id)

    def answered(self, key: bytes, message_id: str, person: str, was_read: bool = True) -> None:
        self._memory.answered(key, message_id, person, was_read)

    async def awaits_answer(self, message_id: str) -> bool:
        return False


class SimulatedRedisCache(RedisMessageCache):
    """On the Redis of the reactor that it is given."""

    def __init__(self, config: Mapping[str, Any], clock: Any, process: Any = None, connector: str = "") -> None:
        super().__init__(config, clock, process, clock.seconds, connector, clock.connection)
        self._reactor = clock

    def request_store(self, clock: Any, repeat_window: float) -> Any:
        return self._reactor.requests.of(self._reactor)


class SimulatedMemoryCache(MemoryMessageCache):
    """By the world's clock."""

    def __init__(self, config: Mapping[str, Any], clock: Any, process: Any = None, connector: str = "") -> None:
        super().__init__(config, clock, process, clock.seconds, connector)
