"""How the commands connect to RabbitMQ: to look, and to consume and publish."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Awaitable, Callable, Mapping, Optional

from twisted.internet.task import deferLater

from ..broker.interface import Broker, BrokerState
from ..failures.reader import DeliveriesLost, QueueNumbers
from ..service.broker_options import broker_from_options, parameters_from_options

#: Seconds to wait for a usable connection.
CONNECT_TIMEOUT = 15.0

#: Seconds to wait for the connection's orderly end.
CLOSE_TIMEOUT = 5.0


#: Looks at one queue.
Look = Callable[[], Awaitable[QueueNumbers]]

#: Finds a queue by its name.
FindQueue = Callable[[str], Awaitable[Optional[Look]]]


class CannotConnect(Exception):
    """There is no usable connection, or not what is looked for behind it; the text is for people."""


@asynccontextmanager
async def queue_numbers(reactor: Any, options: Mapping[str, Any]) -> AsyncIterator[FindQueue]:
    """
    A connection that asks for queues' numbers. Nothing is declared by asking: a
    name that is mistyped leaves no queue behind.

    :param options: ``vumi_options`` of :class:`~vumi_turn.service.options.VumiOptions`.
    :return: given a queue's name, what looks at it again and again, or None
        where there is no such queue.
    :raises CannotConnect: there is no way to the broker.
    :raises ValueError: an option cannot be used; the text says which.
    """
    from ..broker.amqp.errors import ChannelRefused, ConnectionGone
    from ..broker.amqp.inspector import NO_PERMISSION, BrokerInspector

    parameters = parameters_from_options(options)
    inspector = BrokerInspector(parameters, reactor)
    trouble = await inspector.connect()
    if trouble is not None:
        raise CannotConnect(f"RabbitMQ at {parameters.address}: {trouble.sentence}")

    async def find(name: str) -> Optional[Look]:
        try:
            found = await inspector.queue(name)
        except (ChannelRefused, ConnectionGone) as error:
            raise CannotConnect(f"RabbitMQ at {parameters.address}: {error}") from None
        if found.refusal is not None and found.refusal[0] != NO_PERMISSION:
            raise CannotConnect(f"the queue {name} is not as a worker makes it: {found.refusal[1]}")

        async def look() -> QueueNumbers:
            try:
                numbers = await inspector.numbers(name)
            except (ChannelRefused, ConnectionGone):
                raise DeliveriesLost("the connection was lost") from None
            return QueueNumbers(numbers.messages, numbers.consumers)

        return look if found.exists else None

    try:
        yield find
    finally:
        await inspector.close()


@asynccontextmanager
async def connected_broker(reactor: Any, options: Mapping[str, Any]) -> AsyncIterator[Broker]:
    """
    A connected broker, which is stopped at the end. One that takes no
    messages now (an alarm) can still be read.

    :param options: ``vumi_options`` of :class:`~vumi_turn.service.options.VumiOptions`.
    :raises CannotConnect: no usable connection within :data:`CONNECT_TIMEOUT`.
    :raises ValueError: an option cannot be used; the text says which.
    """
    broker = broker_from_options(options, reactor)
    broker.start()
    try:
        deadline = reactor.seconds() + CONNECT_TIMEOUT
        while broker.state not in (BrokerState.CONNECTED, BrokerState.BLOCKED):
            if reactor.seconds() > deadline:
                raise CannotConnect(f"no usable connection to the broker within {CONNECT_TIMEOUT:.0f} s")
            await deferLater(reactor, 0.05)
        yield broker
    finally:
        await broker.stop(CLOSE_TIMEOUT)
