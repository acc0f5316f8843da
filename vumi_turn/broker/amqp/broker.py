"""RabbitMQ as a :class:`~vumi_turn.broker.interface.Broker`."""

from __future__ import annotations

import uuid
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from ..interface import Broker, BrokerState, Consumer, Handler, Publisher, StateCell, StateObserver
from .client import Client
from .consumer import AmqpConsumer
from .parameters import ConnectionParameters
from .publisher import ConfirmingPublisher
from .robust_connection import ConnectionFailure, RobustConnection
from .transport import make_endpoint

#: Seconds for closing the connections cleanly, unless stop() is given another number.
STOP_TIMEOUT = 5.0

log = Logger()


class AmqpBroker(Broker):
    """
    Two connections to RabbitMQ, one to consume and one to publish: a broker in
    an alarm stops reading the one that publishes, and must still read the
    acknowledgements on the other.

    :param parameters: where RabbitMQ is, and who we are there.
    :param clock_reactor: the reactor.
    :param endpoint: where to connect to (an ``IStreamClientEndpoint``), if not where the parameters say.
    :param new_id: makes ids that are unique.
    :raises ValueError: the CA file cannot be used.
    """

    def __init__(
        self,
        parameters: ConnectionParameters,
        clock_reactor: Any,
        *,
        endpoint: Any = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._parameters = parameters
        self._clock = clock_reactor
        self._new_id = new_id
        self._consumers: list[AmqpConsumer] = []
        self._publishing = ConfirmingPublisher(new_id)
        self._state = StateCell()
        self._stopped = False
        self._was_up = False
        self._logged: set[str] = set()
        target = endpoint or make_endpoint(parameters, clock_reactor)
        common: dict[str, Any] = {"up": self._changed, "down": self._down}
        self._consuming_connection = RobustConnection(
            "consuming",
            parameters,
            target,
            clock_reactor,
            set_up=self._set_up_consuming,
            torn_down=self._consuming_gone,
            **common,
        )
        self._publishing_connection = RobustConnection(
            "publishing",
            parameters,
            target,
            clock_reactor,
            set_up=self._set_up_publishing,
            torn_down=self._publishing.detach,
            **common,
        )

    @property
    def state(self) -> BrokerState:  # type: ignore[override]
        return self._state.current

    @property
    def reconnects(self) -> int:  # type: ignore[override]
        """How often a usable connection was lost."""
        return self._consuming_connection.losses + self._publishing_connection.losses

    def on_state(self, observer: StateObserver) -> None:
        self._state.observe(observer)

    def start(self) -> None:
        self._consuming_connection.start()
        self._publishing_connection.start()

    def consume(self, queue: str, handler: Handler, prefetch: int) -> Consumer:
        consumer = AmqpConsumer(queue, handler, prefetch, self._clock, self._changed, self._new_id)
        self._consumers.append(consumer)
        client = self._consuming_connection.client
        if self._consuming_connection.ready and client is not None:
            consumer.join(client)
        return consumer

    def publisher(self, routing_key: str) -> Publisher:
        return self._publishing.add(routing_key)

    def transient_publisher(self, exchange: str, routing_key: str) -> Publisher:
        return self._publishing.add_transient(exchange, routing_key)

    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        self._stopped = True
        for consumer in self._consumers:
            consumer.stop()
        bound = STOP_TIMEOUT if timeout is None else timeout
        done = gatherResults([self._consuming_connection.stop(bound), self._publishing_connection.stop(bound)])
        self._publishing.detach()
        self._changed()
        return done.addCallback(lambda _: None)

    # The connections

    async def _set_up_consuming(self, client: Client) -> None:
        for consumer in self._consumers:  # also those that are added meanwhile
            await consumer.attach(client)

    def _consuming_gone(self) -> None:
        for consumer in self._consumers:
            consumer.detach()

    async def _set_up_publishing(self, client: Client) -> None:
        client.on_blocked = self._blocked
        await self._publishing.attach(client)
        if self._publishing_connection.losses:
            # It may have been lost because the exchange was deleted, and with it the
            # bindings of the queues that we consume from. RabbitMQ tells nobody of that.
            for consumer in self._consumers:
                consumer.declare_again()

    def _blocked(self, blocked: bool, reason: str) -> None:
        if blocked:
            log.warn("RabbitMQ blocks publishing: {reason}", reason=reason)
        else:
            log.info("RabbitMQ takes messages again")
        self._changed()

    # The state and its log lines

    def _current(self) -> BrokerState:
        if self._stopped:
            return BrokerState.CLOSED
        connections = self._consuming_connection, self._publishing_connection
        if not all(each.ready for each in connections) or not all(consumer.ready for consumer in self._consumers):
            return BrokerState.CONNECTING
        client = self._publishing_connection.client
        return BrokerState.BLOCKED if client is not None and client.blocked else BrokerState.CONNECTED

    def _changed(self) -> None:
        both_ready = self._consuming_connection.ready and self._publishing_connection.ready
        if both_ready and not self._was_up and not self._stopped:
            log.info("Connected to RabbitMQ at {address}", address=self._parameters.address)
            self._was_up = True
            self._logged.clear()
        self._state.change(self._current())

    def _down(self, failure: ConnectionFailure) -> None:
        """Log one line when the connection is lost, and another one only for a failure of another kind."""
        was_up, self._was_up = self._was_up, False
        self._changed()
        if self._stopped or failure.kind in self._logged:
            return
        self._logged.add(failure.kind)
        log.error(
            "{what} RabbitMQ at {address}: {reason}; trying until it works",
            what="Lost the connection to" if was_up else "Cannot use",
            address=self._parameters.address,
            reason=failure.sentence,
        )
