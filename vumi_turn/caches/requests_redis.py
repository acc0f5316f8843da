"""
Turn's requests in Redis: for several workers, and across their restarts.

What this worker does is in its memory as well, which decides while Redis is
away. Then a repeat that reaches another worker, or the same one after a
restart, is a second message; no request is refused for that.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Protocol, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..timing.named_log import named
from ..timing.shared_bound import Bound, BoundedDict
from .redis_connection import RedisAway
from .requests import MAX_AGE, MAX_REQUESTS, UNREAD_WINDOW, Claim, RequestStore, Step
from .requests_memory import MemoryRequestStore

log = Logger()

#: Seconds for which a worker is taken to be publishing what it has claimed,
#: unless it says so again.
LEASE = 3.0
LEASE_INTERVAL = 1.0
#: Seconds for which an answered request is remembered, at least.
ANSWERED_AGE = 60.0
#: Seconds after a claim in which another worker's statuses wait for the 200.
UNANSWERED_AGE = 8.0

# Keys: the request, its window, the person, this worker's lease. Arguments: a
# new id, this worker, the request's age in ms, the lease in ms, what comes
# before a worker's lease, what comes before an id without a 200, its age in ms.
# Gives the id, the step, whether it is new, whether it was answered before.
CLAIM = """
local function last_id(key)
    return string.match(redis.call('GET', key) or '', '^%["([^"]*)') or ''
end
redis.call('SET', KEYS[4], '1', 'PX', ARGV[4])
local found = redis.call('HMGET', KEYS[1], 'id', 'stage', 'owner')
local id, stage, owner = found[1], found[2], found[3]
local new, before = 0, 0
if stage == 'confirmed' then return {id, 'answer', 0, 0} end
if stage == 'answered' then
    local last = redis.call('GET', KEYS[2])
    if last and last == last_id(KEYS[3]) then return {id, 'answer', 0, 0} end
    id, before = false, 1
elseif stage == 'publishing' then
    if owner == ARGV[2] then return {id, 'mine', 0, 0} end
    if redis.call('EXISTS', ARGV[5] .. owner) == 1 then return {id, 'wait', 0, 0} end
end
if not id then id, new = ARGV[1], 1 end
redis.call('HSET', KEYS[1], 'id', id, 'stage', 'publishing', 'owner', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', ARGV[6] .. id, ARGV[2], 'PX', ARGV[7])
return {id, 'publish', new, before}
"""

# Keys: the request. Arguments: the id, the stage, its age in ms.
NOTE = """
local found = redis.call('HMGET', KEYS[1], 'id', 'stage')
if found[1] and (found[1] ~= ARGV[1] or found[2] == 'answered') then return 0 end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'stage', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""

# Keys: the request, its window, the person, the id without a 200. Arguments:
# the id, the window in ms, the request's age in ms.
ANSWERED = """
local last = string.match(redis.call('GET', KEYS[3]) or '', '^%["([^"]*)') or ''
redis.call('DEL', KEYS[4])
local id = redis.call('HGET', KEYS[1], 'id')
if id and id ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'stage', 'answered')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if tonumber(ARGV[2]) > 0 then
    redis.call('SET', KEYS[2], last, 'PX', ARGV[2])
else
    redis.call('DEL', KEYS[2])
end
return 1
"""

# Keys: the request, the id without a 200. Arguments: the id.
FORGET = """
redis.call('DEL', KEYS[2])
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

OWNER_OF_UNANSWERED = "return redis.call('GET', KEYS[1])"


class Scripts(Protocol):
    """What runs scripts: the cache's connection to Redis."""

    @property
    def connected(self) -> bool:
        """Whether Redis answers."""

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script, or raise RedisAway within half a second."""


class RedisRequestStore(RequestStore):
    """
    :param clock: measures the lease.
    :param connection: to Redis.
    :param memory: the same worker's store in memory.
    :param prefix: comes before each key.
    :param person_key: the key under which the cache keeps a person's last message, with whose id the value begins.
    :param worker: names this process among the workers.
    :param repeat_window: seconds after a 200 in which the same body is the same message.
    :param connector: whose requests they are.
    :param bound: how many answered ids all stores of the process remember.
    """

    def __init__(
        self,
        clock: IReactorTime,
        connection: Scripts,
        memory: MemoryRequestStore,
        prefix: str,
        person_key: Callable[[str], str],
        worker: str,
        repeat_window: float,
        connector: str = "",
        bound: Optional[Bound] = None,
    ) -> None:
        self._log = named(log, connector)
        self._clock = clock
        self._connection = connection
        self._memory = memory
        self._prefix = prefix
        self._person_key = person_key
        self._worker = worker
        self._window = _milliseconds(repeat_window)
        self._publishing: set[bytes] = set()
        self._answered: BoundedDict[str, None] = BoundedDict(MAX_REQUESTS, bound)
        self._lease_timer: Optional[IDelayedCall] = None

    def stop(self) -> None:
        """Leave no timer. What is still being published can be claimed by others when the lease is over."""
        if self._lease_timer is not None and self._lease_timer.active():
            self._lease_timer.cancel()
        self._memory.clear()
        self._answered.clear()

    async def claim(self, key: bytes, new_id: str, person: str) -> Claim:
        """See :meth:`RequestStore.claim`; while Redis is away memory decides."""
        request = self._request(key)
        keys = (request, f"{request}:window", self._person_key(person), self._lease(self._worker))
        arguments = (
            *(new_id, self._worker, _milliseconds(MAX_AGE), _milliseconds(LEASE)),
            *(self._lease(""), self._unanswered(""), _milliseconds(UNANSWERED_AGE)),
        )
        try:
            answer = await self._connection.run(CLAIM, keys, arguments)
        except RedisAway:
            return await self._memory.claim(key, new_id, person)
        step = answer[1].decode("ascii")
        if step == "mine":
            # It has ended here without Redis having been told.
            return await self._memory.claim(key, new_id, person)
        claim = Claim(answer[0].decode("utf-8"), Step(step), bool(answer[2]), bool(answer[3]))
        if claim.step is not Step.WAIT:
            self._memory.adopt(key, claim.message_id, claim.step)
        if claim.step is Step.PUBLISH:
            self._publishing.add(key)
            self._keep_lease()
        return claim

    def confirmed(self, key: bytes, message_id: str, answer_follows: bool = False) -> None:
        """See :meth:`RequestStore.confirmed`."""
        self._publishing.discard(key)
        self._memory.confirmed(key, message_id)
        if not answer_follows:
            self._tell(NOTE, (self._request(key),), (message_id, "confirmed", _milliseconds(MAX_AGE)))

    def refused(self, key: bytes, message_id: str) -> None:
        """See :meth:`RequestStore.refused`."""
        self._publishing.discard(key)
        self._memory.refused(key, message_id)
        self._tell(NOTE, (self._request(key),), (message_id, "refused", _milliseconds(MAX_AGE)))

    def forget(self, key: bytes, message_id: str) -> None:
        """See :meth:`RequestStore.forget`."""
        self._publishing.discard(key)
        self._memory.forget(key, message_id)
        self._tell(FORGET, (self._request(key), self._unanswered(message_id)), (message_id,))

    def answered(self, key: bytes, message_id: str, person: str, was_read: bool = True) -> None:
        """See :meth:`RequestStore.answered`."""
        self._memory.answered(key, message_id, person, was_read)
        self._answered.set(message_id, None)
        request = self._request(key)
        window = self._window if was_read else _milliseconds(UNREAD_WINDOW)
        self._tell(
            ANSWERED,
            (request, f"{request}:window", self._person_key(person), self._unanswered(message_id)),
            (message_id, window, max(window, _milliseconds(ANSWERED_AGE))),
        )

    async def awaits_answer(self, message_id: str) -> bool:
        """See :meth:`RequestStore.awaits_answer`."""
        if message_id in self._answered:
            return False
        try:
            owner = await self._connection.run(OWNER_OF_UNANSWERED, (self._unanswered(message_id),), ())
        except RedisAway:
            return False
        return owner is not None and owner != self._worker.encode("ascii")

    def _tell(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> None:
        """Tell Redis something without waiting; one that is away does not hear it."""
        if self._connection.connected:
            telling = Deferred.fromCoroutine(self._connection.run(script, keys, arguments))
            telling.addErrback(self._not_told)

    def _keep_lease(self) -> None:
        """Say from time to time that this worker is still publishing, as long as it is."""
        if self._lease_timer is None or not self._lease_timer.active():
            self._lease_timer = self._clock.callLater(LEASE_INTERVAL, self._renew_lease)

    def _renew_lease(self) -> None:
        if self._publishing:
            lease = "return redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])"
            self._tell(lease, (self._lease(self._worker),), (_milliseconds(LEASE),))
            self._keep_lease()

    def _request(self, key: bytes) -> str:
        return f"{self._prefix}request:{key.decode('ascii')}"

    def _lease(self, worker: str) -> str:
        return f"{self._prefix}publishing:{worker}"

    def _unanswered(self, message_id: str) -> str:
        return f"{self._prefix}unanswered:{message_id}"

    def _not_told(self, failure: Failure) -> None:
        if not failure.check(RedisAway):
            self._log.failure("Noting a request of Turn's in Redis failed", failure)


def _milliseconds(seconds: float) -> int:
    return int(1000 * seconds)
