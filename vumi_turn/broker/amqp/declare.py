"""Declaring what we consume from and publish to, as every vumi worker declares it."""

from __future__ import annotations

from txamqp.protocol import AMQChannel

from ..interface import VUMI_EXCHANGE
from .client import Client


async def declare_exchange(client: Client, channel: AMQChannel, exchange: str) -> None:
    """
    Declare a durable direct exchange.

    :raises ChannelRefused: RabbitMQ does not let us, or has another one of that name.
    :raises ConnectionGone: the connection is gone.
    """
    await client.call(channel, "exchange_declare", exchange=exchange, type="direct", durable=True)


async def declare_queue(client: Client, channel: AMQChannel, queue: str) -> None:
    """
    Declare vumi's exchange and a durable queue without arguments (legacy
    workers declare it so too, and get 406 where it differs), and bind the two.

    :raises ChannelRefused: RabbitMQ does not let us, or has another one of that name.
    :raises ConnectionGone: the connection is gone.
    """
    await declare_exchange(client, channel, VUMI_EXCHANGE)
    await client.call(channel, "queue_declare", queue=queue, durable=True)
    await client.call(channel, "queue_bind", queue=queue, exchange=VUMI_EXCHANGE, routing_key=queue)
