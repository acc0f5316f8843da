"""RabbitMQ as a :class:`~vumi_turn.broker.interface.Broker`."""

from __future__ import annotations

import uuid
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from ..interface import Broker, Consumer, Handler, Publisher
from .client import Client
from .consumer import AmqpConsumer
from .parameters import ConnectionParameters
from .publisher import Publishing
from .robust_connection import RobustConnection, Trouble
from .transport import make_endpoint

#: Seconds for a clean goodbye, where nobody says how long it may take.
STOP_TIMEOUT = 5.0

log = Logger()


class AmqpBroker(Broker):
    """
    Two connections to RabbitMQ, one to consume and one to publish: a broker in
    an alarm stops reading the one that publishes, and must still read the
    acknowledgements on the other.

    :param clock_reactor: the reactor.
    :param endpoint: where to connect to (an ``IStreamClientEndpoint``), if not where the parameters say.
    :param new_id: makes ids that nobody else makes.
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
        self._publishing = Publishing(new_id)
        self._watchers: list[Callable[[str], None]] = []
        self._stopped = False
        self._was_up = False
        self._logged: set[str] = set()
        way = endpoint or make_endpoint(parameters, clock_reactor)
        common: dict[str, Any] = {"up": self._changed, "down": self._down}
        self._consuming_link = RobustConnection(
            "consuming",
            parameters,
            way,
            clock_reactor,
            set_up=self._set_up_consuming,
            torn_down=self._consuming_gone,
            **common,
        )
        self._publishing_link = RobustConnection(
            "publishing",
            parameters,
            way,
            clock_reactor,
            set_up=self._set_up_publishing,
            torn_down=self._publishing.detach,
            **common,
        )
        self.state = "connecting"

    @property
    def reconnects(self) -> int:  # type: ignore[override]
        """How often a usable connection was lost."""
        return self._consuming_link.losses + self._publishing_link.losses

    def on_state(self, callback: Callable[[str], None]) -> None:
        """Call ``callback`` with each new :attr:`state`."""
        self._watchers.append(callback)

    def start(self) -> None:
        self._consuming_link.start()
        self._publishing_link.start()

    def consume(self, queue: str, handler: Handler, prefetch: int) -> Consumer:
        consumer = AmqpConsumer(queue, handler, prefetch, self._clock, self._changed, self._new_id)
        self._consumers.append(consumer)
        client = self._consuming_link.client
        if self._consuming_link.ready and client is not None:
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
        done = gatherResults([self._consuming_link.stop(bound), self._publishing_link.stop(bound)])
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
        if self._publishing_link.losses:
            # It may have been lost because somebody has deleted the exchange. With
            # that went the bindings of what we consume from, of which nobody is told.
            for consumer in self._consumers:
                consumer.declare_again()

    def _blocked(self, blocked: bool, reason: str) -> None:
        if blocked:
            log.warn("RabbitMQ blocks publishing: {reason}", reason=reason)
        else:
            log.info("RabbitMQ takes messages again")
        self._changed()

    # The state, and what the log says of it

    def _current(self) -> str:
        if self._stopped:
            return "closed"
        links = self._consuming_link, self._publishing_link
        if not all(link.ready for link in links) or not all(consumer.ready for consumer in self._consumers):
            return "connecting"
        client = self._publishing_link.client
        return "blocked" if client is not None and client.blocked else "connected"

    def _changed(self) -> None:
        links_up = self._consuming_link.ready and self._publishing_link.ready
        if links_up and not self._was_up and not self._stopped:
            log.info("Connected to RabbitMQ at {address}", address=self._parameters.address)
            self._was_up = True
            self._logged.clear()
        state = self._current()
        if state == self.state:
            return
        self.state = state
        for watcher in list(self._watchers):
            try:
                watcher(state)
            except Exception:  # who watches must not keep the connections from being made
                log.failure("What watches the broker's state failed")

    def _down(self, trouble: Trouble) -> None:
        """One line when the connection goes, and one more only where the reason is of another kind."""
        was_up, self._was_up = self._was_up, False
        self._changed()
        if self._stopped or trouble.kind in self._logged:
            return
        self._logged.add(trouble.kind)
        log.error(
            "{what} RabbitMQ at {address}: {reason}; trying until it works",
            what="Lost the connection to" if was_up else "Cannot use",
            address=self._parameters.address,
            reason=trouble.sentence,
        )
