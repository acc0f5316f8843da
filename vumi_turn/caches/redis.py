"""
The message cache in Redis, shared by workers and kept across their restarts.

What this worker has seen lately is in its memory as well. That makes most
look-ups free, and while Redis is away live sessions go on: only what other
workers know is out of reach. What could not be written is written when Redis
is back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Mapping, Optional, Protocol, Sequence

from twisted.internet.interfaces import IReactorTime

from ..configuration.fields import ConfigErrors, ConfigInt, ConfigText
from ..vumi.messages import MalformedMessage, TransportUserMessage, generate_id
from .addresses import person_of
from .config import CacheConfig, read_cache_config
from .interface import LATE_AFTER, CacheUnavailable, MessageCache, stripped
from .memory import Last, MemoryMessageCache
from .redis_address import ConfigRedisUrl
from .redis_connection import RedisAway, RedisConnection
from .requests_redis import RedisRequestStore

#: How many writes are kept for a Redis that is away; the oldest go.
BACKLOG = 10_000

# Keys: the message, the person. Arguments: the message's JSON, id, timestamp in
# microseconds, closed (0 or 1), redelivered (0 or 1), the timeout in ms, how
# many microseconds make a message late, the person's address. The rule is that
# of add_inbound.
ADD_INBOUND = """
local known = redis.call('EXISTS', KEYS[1]) == 1
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[6])
if ARGV[8] == '' then return 0 end
local last = redis.call('HMGET', KEYS[2], 'id', 'time', 'closed')
local closed = ARGV[4]
if last[1] == ARGV[2] then
    if last[3] == '1' then closed = '1' end
elseif last[1] then
    local newer_by = tonumber(ARGV[3]) - tonumber(last[2])
    if known or ARGV[5] == '1' then
        if newer_by < 0 or (newer_by == 0 and (known or last[3] == '1')) then return 0 end
    elseif newer_by < -tonumber(ARGV[7]) then
        return 0
    end
end
redis.call('HSET', KEYS[2], 'id', ARGV[2], 'time', ARGV[3], 'closed', closed, 'message', ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return 1
"""

# Keys: the person. Arguments: the id that the last message must have, or ''.
CLOSE_SESSION = """
local id = redis.call('HGET', KEYS[1], 'id')
if not id or (ARGV[1] ~= '' and ARGV[1] ~= id) then return 0 end
redis.call('HSET', KEYS[1], 'closed', '1')
return 1
"""

# Keys: the message. Arguments: the address, the timeout in ms.
ADD_OUTBOUND = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"

GET = "return redis.call('GET', KEYS[1])"
GET_LAST = "return redis.call('HMGET', KEYS[1], 'message', 'closed')"


class Connection(Protocol):
    """What the cache needs of a connection; :class:`RedisConnection` is one."""

    @property
    def up(self) -> bool:
        """Whether Redis answers."""

    @property
    def trouble(self) -> str:
        """Why it does not; empty while it does."""

    async def start(self) -> None:
        """Connect, without waiting long."""

    async def stop(self) -> None:
        """Connect no more."""

    async def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script, or raise RedisAway within half a second."""


@dataclass(frozen=True, slots=True)
class Write:
    """A script that changes something, and what it is run with."""

    script: str
    keys: tuple[str, ...]
    arguments: tuple[Any, ...]


class RedisCacheConfig(CacheConfig):
    """Options of a message cache in Redis."""

    url = ConfigRedisUrl(
        "Where Redis is: redis://[[user]:password@]host[:port][/database], or rediss:// for TLS.", required=True
    )
    key_prefix = ConfigText("What comes before each key.", default="vumi_turn:")
    max_messages = ConfigInt(
        "How many of each are in this worker's memory as well; the oldest make room.", default=10_000, minimum=1
    )

    def post_validate(self) -> None:
        """Without its library there is no Redis."""
        if find_spec("txredisapi") is None:
            raise ConfigErrors(["url needs txredisapi: pip install 'vumi_turn[redis]'"])


class RedisMessageCache(MessageCache):
    """
    Keeps messages in Redis: for several workers, and across restarts.

    :param config: the options, see :class:`RedisCacheConfig`.
    :param reactor: connects, and tells the time.
    :param connection: instead of one to ``url``; for tests.
    :raises ConfigErrors: an option is wrong, or txredisapi is not installed.
    """

    CONFIG_CLASS = RedisCacheConfig

    def __init__(self, config: Mapping[str, Any], reactor: Any, connection: Optional[Connection] = None) -> None:
        options = read_cache_config(self.CONFIG_CLASS, config)
        self._prefix = options.key_prefix
        self._timeout = int(1000 * options.timeout) or 1
        self._outbound_timeout = int(1000 * options.outbound_timeout) or 1
        self._memory = MemoryMessageCache({key: getattr(options, key) for key in CacheConfig.known_names()}, reactor)
        self._backlog: deque[Write] = deque(maxlen=BACKLOG)
        self._request_stores: list[RedisRequestStore] = []
        self._connection: Connection = connection or RedisConnection(options.url, reactor, on_up=self.catch_up)

    @property
    def healthy(self) -> bool:
        """False while Redis is away."""
        return self._connection.up

    @property
    def trouble(self) -> str:
        """Why Redis is away."""
        return self._connection.trouble

    @property
    def size(self) -> int:
        """Messages in this worker's memory."""
        return self._memory.size

    async def start(self) -> None:
        """Connect; a Redis that is away is waited for half a second only."""
        await self._connection.start()

    async def stop(self) -> None:
        """Close the connection."""
        for store in self._request_stores:
            store.stop()
        await self._connection.stop()
        await self._memory.stop()

    async def catch_up(self) -> None:
        """
        Write what could not be written while Redis was away.

        :raises RedisAway: it has gone again; what is left is kept.
        """
        while self._backlog:
            write = self._backlog[0]
            await self._connection.evaluate(write.script, write.keys, write.arguments)
            if self._backlog and self._backlog[0] is write:
                self._backlog.popleft()

    async def add_inbound(self, message: TransportUserMessage, redelivered: bool = False) -> None:
        """See :meth:`MessageCache.add_inbound`; a Redis that is away is told later."""
        lean = stripped(message)
        self._memory.remember(lean, redelivered)
        keys = (self._key("in", lean.message_id), self._person(lean.from_addr))
        closed = int(lean.session_event == TransportUserMessage.SESSION_CLOSE)
        micros = int(lean.timestamp.timestamp()) * 1_000_000 + lean.timestamp.microsecond
        late = int(LATE_AFTER * 1_000_000)
        person = person_of(lean.from_addr)
        body = lean.to_json()

        def write(redelivered: bool) -> Write:
            flag = int(redelivered)
            arguments = (body, lean.message_id, micros, closed, flag, self._timeout, late, person)
            return Write(ADD_INBOUND, keys, arguments)

        # Written later it must not take the place of what came meanwhile.
        await self._write(write(redelivered), later=write(True))

    async def get_inbound(self, message_id: str) -> Optional[TransportUserMessage]:
        """See :meth:`MessageCache.get_inbound`. A message never changes, so memory is asked first."""
        message = await self._memory.get_inbound(message_id)
        if message is not None:
            return message
        try:
            return _decode(await self._connection.evaluate(GET, [self._key("in", message_id)], []))
        except RedisAway:
            raise CacheUnavailable("Redis is away") from None

    async def get_last_inbound(self, address: Optional[str]) -> Optional[TransportUserMessage]:
        """
        See :meth:`MessageCache.get_last_inbound`. Another worker may know a
        newer one; while Redis is away, what this one knows has to do.
        """
        known = self._memory.last(address)
        try:
            body, closed = await self._connection.evaluate(GET_LAST, [self._person(address)], [])
        except RedisAway:
            last = known
        else:
            message = _decode(body)
            last = _latest(known, Last(message, closed == b"1") if message else None)
        return None if last is None or last.closed else last.message

    async def close_session(self, address: Optional[str], message_id: Optional[str] = None) -> None:
        """See :meth:`MessageCache.close_session`; a Redis that is away is told later."""
        known = self._memory.last(address)
        await self._memory.close_session(address, message_id)
        # Told later, it is about the session that is open now.
        if message_id is None and known is not None:
            later = known.message.message_id
        else:
            later = message_id or ""
        person = (self._person(address),)
        await self._write(
            Write(CLOSE_SESSION, person, (message_id or "",)), later=Write(CLOSE_SESSION, person, (later,))
        )

    async def add_outbound(self, message: TransportUserMessage) -> None:
        """See :meth:`MessageCache.add_outbound`; a Redis that is away is told later."""
        await self._memory.add_outbound(message)
        if message.to_addr:
            keys = (self._key("out", message.message_id),)
            await self._write(Write(ADD_OUTBOUND, keys, (message.to_addr, self._outbound_timeout)))

    async def get_recipient(self, message_id: str) -> Optional[str]:
        """See :meth:`MessageCache.get_recipient`."""
        recipient = await self._memory.get_recipient(message_id)
        if recipient is not None:
            return recipient
        try:
            found = await self._connection.evaluate(GET, [self._key("out", message_id)], [])
        except RedisAway:
            return None
        return None if found is None else found.decode("utf-8")

    def request_store(self, clock: IReactorTime, repeat_window: float) -> RedisRequestStore:
        """See :meth:`MessageCache.request_store`; shared by the workers as the messages are."""
        memory = self._memory.request_store(clock, repeat_window)
        store = RedisRequestStore(
            clock, self._connection, memory, self._prefix, self._person, generate_id(), repeat_window
        )
        self._request_stores.append(store)
        return store

    async def _write(self, write: Write, later: Optional[Write] = None) -> None:
        if self._connection.up:
            try:
                await self._connection.evaluate(write.script, write.keys, write.arguments)
                return
            except RedisAway:
                pass
        self._backlog.append(later or write)

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}{kind}:{name}"

    def _person(self, address: Optional[str]) -> str:
        return self._key("person", person_of(address))


def _latest(mine: Optional[Last], shared: Optional[Last]) -> Optional[Last]:
    """
    Which of two is a person's last message: Redis' one, but where Redis has
    lost something, or has not been told yet, the newer one. Closed is closed.
    """
    if mine is None or shared is None:
        return mine or shared
    if mine.message.message_id == shared.message.message_id:
        return Last(shared.message, mine.closed or shared.closed)
    return mine if mine.message.timestamp > shared.message.timestamp else shared


def _decode(body: Optional[bytes]) -> Optional[TransportUserMessage]:
    """A message from Redis; what cannot be read (of another version, say) counts as not known."""
    if body is None:
        return None
    try:
        return TransportUserMessage.from_json(body)
    except MalformedMessage:
        return None
