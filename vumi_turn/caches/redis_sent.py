"""Messages of ours in Redis: whom they went to, and which of them have a final status."""

from __future__ import annotations

from typing import Optional

from .redis_connection import RedisAway
from .redis_format import GET, PUT
from .redis_shared import SharedRedis
from .tables import Tables


class RedisSent:
    """
    :param shared: Redis.
    :param tables: this worker's memory, which has what is written.
    :param prefix: comes before each key.
    :param timeout: milliseconds for which it is kept.
    """

    def __init__(self, shared: SharedRedis, tables: Tables, prefix: str, timeout: int) -> None:
        self._shared = shared
        self._tables = tables
        self._recipients, self._finals = f"{prefix}out:", f"{prefix}final:"
        self._timeout = timeout

    async def recipient(self, message_id: str) -> Optional[str]:
        """Whom a message went to; None where Redis does not know, or is away."""
        try:
            found = await self._shared.run(GET, (self._recipients + message_id,))
        except RedisAway:
            return None
        return found.decode("utf-8", "replace") if found else None

    async def is_final(self, message_id: str) -> bool:
        """Whether a final status is known; False where Redis is away."""
        try:
            return bool(await self._shared.run(GET, (self._finals + message_id,)))
        except RedisAway:
            return False

    async def write_recipient(self, message_id: str) -> None:
        """
        Write what memory knows.

        :raises RedisAway: it was not written, or that is not known.
        """
        recipient = self._tables.recipients.get(message_id)
        if recipient is not None:
            await self._shared.run(PUT, (self._recipients + message_id,), (self._timeout, recipient))

    async def write_final(self, message_id: str) -> None:
        """See :meth:`write_recipient`."""
        if self._tables.finals.get(message_id) is not None:
            await self._shared.run(PUT, (self._finals + message_id,), (self._timeout, "1"))
