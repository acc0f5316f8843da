"""A broker on connections that it shares with others: AMQP channels, set-up and state of its own."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Optional

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...timing.named_log import named
from ...timing.timeouts import Timeouts
from ..errors import BrokerUnavailable
from ..interface import Broker, Consumer, Handler, Publisher, QueueCounts, QueueLock
from ..states import BrokerState, StateCell, StateObserver
from .client import Client
from .connection_pair import ConnectionPair, ConnectionUser
from .consumer import AmqpConsumer
from .errors import ChannelRefused, ConnectionGone
from .lock import AmqpLock, count_queue
from .publisher import ConfirmingPublisher

#: Seconds for closing cleanly, unless stop() is given another number.
STOP_TIMEOUT = 5.0

#: The arguments of a queue of which one consumer at a time gets the deliveries.
SINGLE_ACTIVE = {"x-single-active-consumer": True}

log = Logger()


class AmqpScope(Broker, ConnectionUser):
    """
    What :meth:`AmqpBroker.scope` gives.

    :param name: shown in log lines of the scope itself.
    :param pair: the connections.
    :param clock: the reactor's clock.
    :param new_id: makes ids that are unique.
    :param connector: named in log lines of publishing; empty where the scope is no channel's.
    """

    def __init__(
        self, name: str, pair: ConnectionPair, clock: Any, new_id: Callable[[], str], connector: str = ""
    ) -> None:
        self._log = named(log, connector or name)
        self._about = {"connector": connector} if connector else {}
        self._pair = pair
        self._clock = clock
        self._new_id = new_id
        self._state = StateCell()
        self._started = self._stopped = False
        self._published_before = False
        self._consumers: list[AmqpConsumer] = []
        self._locks: list[AmqpLock] = []
        self._publisher = ConfirmingPublisher(
            clock, new_id, pair.limit, self.refresh, self._declare_consumed_again, connector
        )

    # The interface

    @property
    def state(self) -> BrokerState:  # type: ignore[override]
        return self._state.current

    @property
    def reason(self) -> str:  # type: ignore[override]
        if self.state is not BrokerState.CONNECTING:
            return ""
        errors = [f"{each.queue}: {each.error}" for each in self._consumers if each.error]
        if self._publisher.error:
            errors.append(f"publishing: {self._publisher.error}")
        return self._pair.failure or "; ".join(errors)

    @property
    def reconnects(self) -> int:  # type: ignore[override]
        return self._pair.losses

    @property
    def heartbeat(self) -> float:  # type: ignore[override]
        client = self._pair.consuming.client
        return 0.0 if client is None else client.heartbeat_interval

    def on_state(self, observer: StateObserver) -> None:
        self._state.observe(observer)

    def start(self) -> None:
        self._started = True
        self._pair.add(self)
        self.refresh()

    def consume(self, queue: str, handler: Handler, prefetch: int, *, single_active: bool = False) -> Consumer:
        arguments = SINGLE_ACTIVE if single_active else None
        consumer = AmqpConsumer(queue, handler, prefetch, self._clock, self.refresh, self._new_id, arguments)
        self._consumers.append(consumer)
        client = self._pair.consuming.client
        if self._started and not self._stopped and self._pair.consuming.ready and client is not None:
            consumer.attach(client)
        return consumer

    def publisher(self, routing_key: str, *, single_active: bool = False) -> Publisher:
        return self._publisher.add(routing_key, SINGLE_ACTIVE if single_active else None)

    def transient_publisher(self, exchange: str, routing_key: str) -> Publisher:
        return self._publisher.add_transient(exchange, routing_key)

    def scope(self, name: str) -> AmqpScope:
        return AmqpScope(name, self._pair, self._clock, self._new_id, name)

    def lock(self, queue: str) -> QueueLock:
        lock = AmqpLock(queue, self._pair.consuming)
        self._locks.append(lock)
        return lock

    async def counts(self, queue: str) -> Optional[QueueCounts]:
        return await count_queue(self._pair.consuming, queue)

    def heard_since(self, moment: float) -> bool:
        client = self._pair.consuming.client
        return client is not None and self._pair.consuming.ready and client.last_received > moment

    async def probe(self) -> bool:
        client = self._pair.consuming.client
        if client is None or not self._pair.consuming.ready:
            return False
        try:
            await client.close_channel(await client.open_channel(**self._about))
        except (ConnectionGone, ChannelRefused):
            return False
        return True

    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        """Close this scope's AMQP channels, within ``timeout`` seconds; the connections stay."""
        closings: list[Awaitable[None]] = [*(each.stop() for each in self._consumers), self._publisher.stop()]
        closings += [each.release() for each in self._locks]
        self._end()
        bound = STOP_TIMEOUT if timeout is None else timeout
        late = BrokerUnavailable(f"RabbitMQ did not answer within {bound:g} s")
        # The wait is bounded, not the calls: txamqp cannot forget a call that is cancelled.
        waiting: Deferred[None] = Deferred()
        gatherResults([_closed(each) for each in closings]).addCallback(
            lambda _: None if waiting.called else waiting.callback(None)
        )
        return Timeouts(self._clock).bound(waiting, bound, lambda: late).addErrback(self._not_closed)

    def _end(self) -> None:
        self._stopped = True
        self._pair.remove(self)
        self.refresh()

    def _not_closed(self, failure: Failure) -> None:
        failure.trap(BrokerUnavailable)
        self._log.warn("Closing the AMQP channels: {reason}", reason=failure.getErrorMessage())

    # The connections

    def consuming_up(self, client: Client) -> None:
        for consumer in self._consumers:
            consumer.attach(client)
        self.refresh()

    def consuming_lost(self) -> None:
        for consumer in self._consumers:
            consumer.detach()
        self.refresh()

    def publishing_up(self, client: Client) -> None:
        self._publisher.attach(client)
        if self._published_before:
            self._declare_consumed_again()
        self.refresh()

    def publishing_lost(self) -> None:
        self._publisher.detach()
        self.refresh()

    def _declare_consumed_again(self) -> None:
        """
        The publishing channel may have been closed because the exchange was deleted, and with it the
        bindings of the queues that we consume from. RabbitMQ tells nobody of that.
        """
        for consumer in self._consumers:
            consumer.declare_again()

    # The state

    @property
    def consuming_settled(self) -> bool:
        return all(each.ready or each.waits for each in self._consumers)

    @property
    def publishing_settled(self) -> bool:
        return self._publisher.ready or self._publisher.waits

    def refresh(self) -> None:
        if self._started and not self._stopped:
            self._published_before = self._published_before or self._publisher.ready
            self._pair.settled()
        self._state.change(self._current())

    def _current(self) -> BrokerState:
        pair = self._pair
        if self._stopped or pair.stopped:
            return BrokerState.CLOSED
        ready = pair.ready and self._publisher.ready and all(each.ready for each in self._consumers)
        if not self._started or not ready:
            return BrokerState.CONNECTING
        return BrokerState.BLOCKED if pair.blocked else BrokerState.CONNECTED


async def _close(closing: Awaitable[None]) -> None:
    try:
        await closing
    except (ConnectionGone, ChannelRefused):
        pass  # what is gone needs no closing


def _closed(closing: Awaitable[None]) -> Deferred[None]:
    return Deferred.fromCoroutine(_close(closing))
