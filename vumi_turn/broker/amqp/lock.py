"""What needs neither a consumer nor a publisher: locks and counts, on AMQP channels that are closed at once."""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.logger import Logger

from ..errors import BrokerUnavailable
from ..interface import QueueCounts, QueueLock
from .client import Client
from .errors import ChannelRefused, ConnectionGone
from .robust_connection import RobustConnection

#: RabbitMQ's reply codes.
_NOT_FOUND, _RESOURCE_LOCKED = 404, 405

log = Logger()


async def _call_once(connection: RobustConnection, method: str, queue: str, **fields: Any) -> tuple[Client, Any]:
    """
    Call a method on a channel of its own.

    :return: the connection and the answer.
    :raises ChannelRefused: RabbitMQ has refused the call.
    :raises BrokerUnavailable: there is no connection, or it was lost.
    """
    client = connection.client
    if client is None or not connection.ready:
        raise BrokerUnavailable("there is no connection to RabbitMQ")
    try:
        channel = await client.open_channel(queue=queue)
        answer = await client.call(channel, method, queue=queue, **fields)
        await client.close_channel(channel)
    except ConnectionGone as error:
        raise BrokerUnavailable(str(error)) from None
    return client, answer


async def count_queue(connection: RobustConnection, queue: str) -> Optional[QueueCounts]:
    """See :meth:`vumi_turn.broker.interface.Broker.counts`."""
    try:
        _, answer = await _call_once(connection, "queue_declare", queue=queue, passive=True)
    except ChannelRefused as error:
        if error.code == _NOT_FOUND:
            return None
        raise BrokerUnavailable(str(error)) from None
    return QueueCounts(answer.message_count, answer.consumer_count)


class AmqpLock(QueueLock):
    """
    What :meth:`AmqpBroker.lock` gives.

    :param queue: the exclusive queue's name.
    :param connection: the connection that is to hold it.
    """

    def __init__(self, queue: str, connection: RobustConnection) -> None:
        self._queue = queue
        self._connection = connection
        self._holder: Optional[Client] = None
        self._observers: list[Callable[[], None]] = []

    @property
    def held(self) -> bool:
        return self._holder is not None and not self._holder.closed and self._holder.lost_reason is None

    async def acquire(self) -> bool:
        if self.held:
            return True
        try:
            client, _ = await _call_once(self._connection, "queue_declare", queue=self._queue, exclusive=True)
        except ChannelRefused as error:
            if error.code == _RESOURCE_LOCKED:
                return False
            raise BrokerUnavailable(str(error)) from None
        self._holder = client
        client.gone().addCallback(lambda _: self._lost(client))
        return self.held

    async def release(self) -> None:
        held, self._holder = self.held, None
        if held:
            try:
                await _call_once(self._connection, "queue_delete", queue=self._queue)
            except (ChannelRefused, BrokerUnavailable) as error:
                log.warn("The lock {queue} was not given back: {reason}", queue=self._queue, reason=str(error))

    def on_lost(self, callback: Callable[[], None]) -> None:
        self._observers.append(callback)

    def _lost(self, client: Client) -> None:
        if client is not self._holder:
            return  # it was released
        self._holder = None
        for observer in list(self._observers):
            try:
                observer()
            except Exception:  # an observer must not keep the connection from being made again
                log.failure("An observer of the lock {queue} failed", queue=self._queue)
