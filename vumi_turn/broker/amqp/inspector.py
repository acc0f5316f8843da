"""
Finds out what RabbitMQ has, without changing anything there: for commands that
tell whether a worker could use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from txamqp.protocol import AMQChannel

from .client import Client
from .errors import IS_A_STREAM, ChannelRefused, ConnectionGone, NoAnswer
from .parameters import ConnectionParameters
from .robust_connection import ClientFactory, ConnectionFailure, failure_of, unreachable
from .transport import make_endpoint

#: RabbitMQ's reply code for what is not there.
NOT_FOUND = 404
#: RabbitMQ's reply code where a permission lacks.
NO_PERMISSION = 403
#: RabbitMQ's reply code for what is there with other properties.
DIFFERS = 406

#: Seconds that RabbitMQ has to answer ``connection.close``.
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
    One connection that looks at exchanges and queues and creates none.

    RabbitMQ compares the properties of a declaration only when it is not
    passive, and such a declaration creates what is missing; so each one is
    preceded by a passive declaration, and left out where that finds nothing.

    :param parameters: where RabbitMQ is, and who we are there.
    :param reactor: connects, and is the clock.
    :param endpoint: where to connect to, if not where the parameters say.
    :raises ValueError: the CA file cannot be used.
    """

    def __init__(self, parameters: ConnectionParameters, reactor: Any, endpoint: Any = None) -> None:
        self._parameters = parameters
        self._clock = reactor
        self._endpoint = endpoint or make_endpoint(parameters, reactor)
        self._client: Optional[Client] = None

    async def connect(self) -> Optional[ConnectionFailure]:
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
        except ConnectionGone:
            client.bound_closing(CLOSE_TIMEOUT)
            await client.gone()
            return failure_of(client)
        self._client = client
        return None

    async def exchange(self, name: str) -> Found:
        """
        Look at a durable direct exchange.

        :raises ConnectionGone: the connection is gone.
        """
        if await self._asked("exchange_declare", exchange=name, type="direct", passive=True) is None:
            return Found(exists=False)
        channel = await self._connected.open_channel()
        try:
            await self._call(channel, "exchange_declare", exchange=name, type="direct", durable=True)
        except ChannelRefused as refused:
            return Found(exists=True, refusal=(refused.code, refused.text))
        return Found(exists=True)

    async def queue(self, name: str) -> Found:
        """
        Look at a durable queue without arguments.

        :raises ConnectionGone: the connection is gone.
        """
        declared = await self._asked("queue_declare", queue=name, passive=True)
        if declared is None:
            return Found(exists=False)
        channel = await self._connected.open_channel()
        refusal: Optional[tuple[int, str]] = None
        try:
            await self._call(channel, "queue_declare", queue=name, durable=True)
        except ChannelRefused as refused:
            refusal = refused.code, refused.text
        if refusal is None and await self._is_stream(name):
            refusal = DIFFERS, IS_A_STREAM
        return Found(True, declared.message_count, declared.consumer_count, refusal)

    async def _is_stream(self, name: str) -> bool:
        """
        Whether a queue is a stream although it was declared without arguments: a vhost may have
        streams as its default type, and then a plain declaration says nothing.
        """
        channel = await self._connected.open_channel()
        try:
            arguments = {"x-queue-type": "stream"}
            await self._call(channel, "queue_declare", queue=name, durable=True, arguments=arguments)
        except ChannelRefused:
            return False
        return True

    @property
    def server(self) -> tuple[str, str]:
        """The product and the version that RabbitMQ said when we connected; empty where it said none."""
        properties = {} if self._client is None else self._client.server
        return str(properties.get("product", "")), str(properties.get("version", ""))

    async def close(self) -> None:
        """Close the connection; wait at most :data:`CLOSE_TIMEOUT` seconds for RabbitMQ's answer."""
        client, self._client = self._client, None
        if client is not None:
            await client.shut_down(CLOSE_TIMEOUT)

    @property
    def _connected(self) -> Client:
        if self._client is None:
            raise ConnectionGone("it is not connected")
        return self._client

    async def _call(self, channel: AMQChannel, method: str, **fields: Any) -> Any:
        """As :meth:`Client.call`; a call that is not answered counts as a lost connection."""
        try:
            return await self._connected.call(channel, method, **fields)
        except NoAnswer as error:
            raise ConnectionGone(str(error)) from None

    async def _asked(self, method: str, **fields: Any) -> Any:
        """The answer to a passive declaration, None where there is nothing of that name."""
        channel = await self._connected.open_channel()
        try:
            return await self._call(channel, method, **fields)
        except ChannelRefused as refused:
            if refused.code == NOT_FOUND:
                return None
            raise
