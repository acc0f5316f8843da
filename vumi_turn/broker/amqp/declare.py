"""Declaring what we consume from and publish to, as every vumi worker declares it."""

from __future__ import annotations

from typing import Any, Optional

from twisted.logger import Logger
from txamqp.protocol import AMQChannel

from ..interface import VUMI_EXCHANGE
from .client import Client
from .errors import ChannelRefused

#: RabbitMQ's reply code where the user lacks a permission.
ACCESS_REFUSED = 403

log = Logger()


class Declarer:
    """
    Declares on AMQP channels of its own, because a refusal closes the channel.

    What we lack the permission for is left as it is, since somebody else may
    have declared it: RabbitMQ says later whether it exists.

    :param client: the connection.
    :param about: what is declared, in log lines: a ``queue`` or a ``connector``.
    :ivar refusals: what we lack the permission for, in RabbitMQ's words.
    """

    def __init__(self, client: Client, **about: str) -> None:
        self._about = about
        self.refusals: list[str] = []
        self._client = client
        self._channel: Optional[AMQChannel] = None

    async def exchange(self, exchange: str) -> None:
        """
        Declare a durable direct exchange.

        :raises ChannelRefused: RabbitMQ has another one of that name.
        :raises ConnectionGone: the connection is gone.
        """
        await self._call("exchange_declare", exchange=exchange, type="direct", durable=True)

    async def queue(self, queue: str, arguments: Optional[dict[str, Any]] = None) -> None:
        """
        Declare vumi's exchange and a durable queue, and bind the two. The shared
        queues have no arguments (legacy workers declare them without, and get
        406 where they differ).

        :raises ChannelRefused: RabbitMQ has another exchange or queue of that name.
        :raises ConnectionGone: the connection is gone.
        """
        await self.exchange(VUMI_EXCHANGE)
        await self._call("queue_declare", queue=queue, durable=True, arguments=arguments or {})
        await self._call("queue_bind", queue=queue, exchange=VUMI_EXCHANGE, routing_key=queue)

    async def close(self) -> None:
        """
        Close the channel.

        :raises ChannelRefused: there was no answer.
        :raises ConnectionGone: the connection is gone.
        """
        channel, self._channel = self._channel, None
        if channel is not None:
            await self._client.close_channel(channel)

    async def _call(self, method: str, **fields: Any) -> None:
        if self._channel is None:
            self._channel = await self._client.open_channel(**self._about)
        try:
            await self._client.call(self._channel, method, **fields)
        except ChannelRefused as error:
            self._channel = None
            if error.code != ACCESS_REFUSED:
                raise
            self.refusals.append(str(error))


async def declare_queue(client: Client, queue: str, arguments: Optional[dict[str, Any]] = None) -> list[str]:
    """
    Declare and bind one queue; see :meth:`Declarer.queue`.

    :return: what we lack the permission for, in RabbitMQ's words.
    """
    declarer = Declarer(client, queue=queue)
    await declarer.queue(queue, arguments)
    await declarer.close()
    return declarer.refusals


class PermissionLog:
    """Logs what we may not declare: once, and again only when it has changed."""

    def __init__(self) -> None:
        self._logged: dict[str, list[str]] = {}

    def note(self, name: str, refusals: list[str], **about: str) -> None:
        """
        Log what was refused.

        :param name: the queue or exchange that was declared.
        :param refusals: RabbitMQ's words; empty where everything was allowed.
        :param about: fields of the line: a ``queue`` or a ``connector``.
        """
        if refusals and self._logged.get(name) != refusals:
            log.warn(
                "RabbitMQ does not let us declare all of {name}, so what exists is used ({reasons})",
                name=name,
                reasons="; ".join(refusals),
                **about,
            )
        self._logged[name] = refusals
