"""What the message caches of one process share: a bound, and connections to Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tables import Bounds

if TYPE_CHECKING:
    from .redis_address import RedisAddress
    from .redis_connection import RedisConnection


class ProcessCaches:
    """
    Given to each cache of a process that carries several channels.

    What all caches hold in memory together is bounded by the largest of their
    ``max_messages``, and Turn's requests by the bound of one; one Redis has one
    connection.
    """

    def __init__(self) -> None:
        self.bounds = Bounds()
        self._connections: dict[RedisAddress, RedisConnection] = {}

    def redis(self, address: RedisAddress, reactor: Any) -> RedisConnection:
        """
        The connection to a Redis; it connects while somebody uses it.

        :param reactor: connects, and tells the time.
        """
        connection = self._connections.get(address)
        if connection is None:
            from .redis_connection import RedisConnection  # only who has a Redis loads what talks to it

            connection = self._connections[address] = RedisConnection(address, reactor)
        return connection
