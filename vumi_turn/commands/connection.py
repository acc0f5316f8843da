"""How the commands connect to RabbitMQ: to look, and to consume and publish."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Mapping

from twisted.internet.task import deferLater

from ..broker.interface import Broker, BrokerState
from ..service.broker_options import broker_from_options, parameters_from_options

#: Seconds to wait for a usable connection.
CONNECT_TIMEOUT = 15.0

#: Seconds to wait for the connection's orderly end.
CLOSE_TIMEOUT = 5.0


class CannotConnect(Exception):
    """There is no usable connection, or not what is looked for behind it; the text is for people."""


@asynccontextmanager
async def connected_broker(reactor: Any, options: Mapping[str, Any]) -> AsyncIterator[Broker]:
    """
    A connected broker, which is stopped at the end. One that takes no
    messages now (an alarm) can still be read.

    :param options: ``vumi_options`` of :class:`~vumi_turn.service.options.VumiOptions`.
    :raises CannotConnect: the broker refuses the login, is away, or there is no usable
        connection within :data:`CONNECT_TIMEOUT`.
    :raises ValueError: an option cannot be used; the text says which.
    """
    from ..broker.amqp.inspector import BrokerInspector

    parameters = parameters_from_options(options)
    inspector = BrokerInspector(parameters, reactor)
    failure = await inspector.connect()
    if failure is not None:
        raise CannotConnect(f"RabbitMQ at {parameters.address}: {failure.sentence}")
    await inspector.close()
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
