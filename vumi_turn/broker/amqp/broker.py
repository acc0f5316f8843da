"""RabbitMQ as a :class:`~vumi_turn.broker.interface.Broker`."""

from __future__ import annotations

import uuid
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred

from .connection_pair import ConnectionPair
from .parameters import ConnectionParameters
from .scope import STOP_TIMEOUT, AmqpScope


class AmqpBroker(AmqpScope):
    """
    A pair of connections to RabbitMQ, and a scope of its own on them.

    :param parameters: where RabbitMQ is, and who we are there.
    :param clock_reactor: the reactor.
    :param connector: whose broker it is, named in log lines; empty where it is no single one's.
    :param endpoint: where to connect to (an ``IStreamClientEndpoint``), if not where the parameters say.
    :param new_id: makes ids that are unique.
    :raises ValueError: the CA file cannot be used.
    """

    def __init__(
        self,
        parameters: ConnectionParameters,
        clock_reactor: Any,
        *,
        connector: str = "",
        endpoint: Any = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        pair = ConnectionPair(parameters, clock_reactor, endpoint, connector)
        super().__init__(parameters.address, pair, clock_reactor, new_id, connector)

    def start(self) -> None:
        super().start()
        self._pair.start()

    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        """Close both connections, and with them all scopes' channels; abort them after ``timeout`` seconds."""
        self._end()
        for consumer in self._consumers:
            consumer.end()
        self._publisher.detach()
        return self._pair.stop(STOP_TIMEOUT if timeout is None else timeout)
