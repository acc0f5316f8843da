"""
A look at RabbitMQ that changes nothing there, for those who want to know
whether a worker could work with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from .client import Client
from .declare import declare_exchange
from .errors import ChannelRefused, LinkLost
from .parameters import ConnectionParameters
from .robust_connection import ClientFactory, Trouble, trouble_of, unreachable
from .transport import make_endpoint

#: RabbitMQ's reply code for what is not there.
NOT_FOUND = 404
#: RabbitMQ's reply code for what is there with other properties.
DIFFERS = 406

#: Seconds for the goodbye.
CLOSE_TIMEOUT = 2.0


@dataclass(frozen=True)
class Found:
    """
    An exchange or a queue, as RabbitMQ has it.

    :ivar exists: whether it is there.
    :ivar messages: how many wait in a queue.
    :ivar consumers: how many take from a queue.
    :ivar refusal: AMQP's code and RabbitMQ's words, where a worker's own
        declaration of it would be refused.
    """

    exists: bool
    messages: int = 0
    consumers: int = 0
    refusal: Optional[tuple[int, str]] = None


class BrokerInspector:
    """
    One connection, to look around with.

    What is missing stays missing: RabbitMQ compares a declaration with what is
    there only if it is a real one, so first it is asked whether there is
    something.

    :param parameters: where RabbitMQ is, and who we are there.
    :param reactor: connects, and tells the time.
    :param endpoint: where to connect to, if not where the parameters say.
    :raises ValueError: the CA file cannot be used.
    """

    def __init__(self, parameters: ConnectionParameters, reactor: Any, endpoint: Any = None) -> None:
        self._parameters = parameters
        self._clock = reactor
        self._endpoint = endpoint or make_endpoint(parameters, reactor)
        self._client: Optional[Client] = None

    async def connect(self) -> Optional[Trouble]:
        """
        Connect, log in and enter the vhost.

        :return: what went wrong, None if nothing did.
        """
        try:
            client: Client = await self._endpoint.connect(
                ClientFactory(lambda: Client(self._parameters, "checking", self._clock))
            )
        except Exception as error:  # DNS, TCP and proxies have exceptions of many classes
            return unreachable(error)
        try:
            await client.handshake()
        except LinkLost:
            client.bound_closing(CLOSE_TIMEOUT)
            await client.gone()
            return trouble_of(client)
        self._client = client
        return None

    async def exchange(self, name: str) -> Found:
        """
        Look at a durable direct exchange.

        :raises LinkLost: the connection is gone.
        """
        if await self._asked("exchange_declare", exchange=name, type="direct", passive=True) is None:
            return Found(exists=False)
        client, channel = self._connected, await self._connected.open_channel()
        try:
            await declare_exchange(client, channel, name)
        except ChannelRefused as refused:
            return Found(exists=True, refusal=(refused.code, refused.text))
        return Found(exists=True)

    async def queue(self, name: str) -> Found:
        """
        Look at a durable queue without arguments.

        :raises LinkLost: the connection is gone.
        """
        declared = await self._asked("queue_declare", queue=name, passive=True)
        if declared is None:
            return Found(exists=False)
        client, channel = self._connected, await self._connected.open_channel()
        refusal: Optional[tuple[int, str]] = None
        try:
            await client.call(channel, "queue_declare", queue=name, durable=True)
        except ChannelRefused as refused:
            refusal = refused.code, refused.text
        return Found(True, declared.message_count, declared.consumer_count, refusal)

    async def close(self) -> None:
        """Say goodbye."""
        client, self._client = self._client, None
        if client is not None:
            await client.shut_down(CLOSE_TIMEOUT)

    @property
    def _connected(self) -> Client:
        if self._client is None:
            raise LinkLost("it is not connected")
        return self._client

    async def _asked(self, method: str, **fields: Any) -> Any:
        """The answer to a passive declaration, None where there is nothing of that name."""
        channel = await self._connected.open_channel()
        try:
            return await self._connected.call(channel, method, **fields)
        except ChannelRefused as refused:
            if refused.code == NOT_FOUND:
                return None
            raise
