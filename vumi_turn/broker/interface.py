"""
The one interface through which the rest of the program sees a broker.

Two implementations keep it: :mod:`vumi_turn.broker.amqp` (RabbitMQ) and
:mod:`vumi_turn.broker.memory` (this process only). The same contract
tests run on both.
"""

from __future__ import annotations

import abc
from typing import Any, Callable, Mapping, NamedTuple, Optional

from twisted.internet.defer import Deferred

from .deliveries import Delivery, Handler, Outcome
from .errors import BrokerError, BrokerUnavailable, ConnectionLost, MessageTooLarge, Nacked, Returned
from .states import BrokerState, StateObserver

__all__ = [
    "Broker",
    "BrokerError",
    "BrokerState",
    "BrokerUnavailable",
    "ConnectionLost",
    "Consumer",
    "Delivery",
    "Handler",
    "MAX_ADDITIONAL",
    "MAX_UNCONFIRMED",
    "MessageTooLarge",
    "Nacked",
    "Outcome",
    "Publisher",
    "QueueCounts",
    "QueueLock",
    "Returned",
    "StateObserver",
    "VUMI_EXCHANGE",
]

#: The durable direct exchange that all vumi workers share.
VUMI_EXCHANGE = "vumi"

#: No more publishes than this may wait for the broker's confirmation, in each scope.
MAX_UNCONFIRMED = 1000

#: No more unsettled deliveries than this beyond a consumer's prefetch (:meth:`Consumer.allow_more`).
MAX_ADDITIONAL = 1000


class Consumer(abc.ABC):
    """A queue's consumer; it outlives connections."""

    @abc.abstractmethod
    def pause(self) -> None:
        """Take no new deliveries; those in hand stay valid and can be settled."""

    @abc.abstractmethod
    def unpause(self) -> None:
        """Take deliveries (again). Calling it twice does not consume twice."""

    @property
    @abc.abstractmethod
    def paused(self) -> bool:
        """True while no new deliveries are taken."""

    @abc.abstractmethod
    def allow_more(self, count: int) -> None:
        """
        Let the consumer hold more than its prefetch, because that many of its
        deliveries cannot move (they wait behind another one of the same key, or
        to be parked) and must not keep others from being delivered.

        May be called with each change of the number: changes cost the broker
        something only now and then. Deliveries that are in hand stay valid
        when the number falls.

        :param count: how many unsettled deliveries may be held beyond the
            prefetch; it is rounded up to a multiple of the prefetch, and bounded
            by :data:`MAX_ADDITIONAL`. Without effect on a queue with a single
            active consumer.
        """


class Publisher(abc.ABC):
    """Publishes to one routing key."""

    @abc.abstractmethod
    def publish(self, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> Deferred[None]:
        """
        Publish one message.

        :param body: the message's bytes.
        :param headers: AMQP headers, of the types of :attr:`Delivery.headers`;
            all together less than 4,000 bytes.
        :return: fires when the broker has confirmed that a queue holds the
            message. It has no timeout of its own and may not be cancelled: a
            caller that stops waiting leaves it alone.
        :raises BrokerUnavailable: (as all of these through the Deferred) at
            once, where nothing was sent.
        :raises MessageTooLarge: the body is larger than the broker takes: at once
            when the limit is known, else by the broker's answer. Other messages
            that are unconfirmed then are published again, by the broker object.
        :raises Nacked: the broker refused it, because its queue is full for example.
        :raises Returned: no queue took it.
        :raises ConnectionLost: whether the broker has it is not known.
        :raises ValueError: a header has no type in AMQP, or they are too large.
        """


class QueueCounts(NamedTuple):
    """
    What a queue has.

    :ivar messages: how many messages are ready to be delivered.
    :ivar consumers: how many consumers it has.
    """

    messages: int
    consumers: int


class QueueLock(abc.ABC):
    """
    A lock that at most one connection to the broker holds: an exclusive queue
    of that name. The broker releases it when the holder's connection ends.
    """

    @property
    @abc.abstractmethod
    def held(self) -> bool:
        """True while the consuming connection that acquired it is open, as far as is known here."""

    @abc.abstractmethod
    async def acquire(self) -> bool:
        """
        Try to get the lock, without waiting for another holder. A refusal is an
        error line in the broker's log: look at :meth:`Broker.counts` of what
        the holder consumes first.

        :return: True if it is held now; False if another connection holds it.
        :raises BrokerUnavailable: there is no connection, or no answer.
        """

    @abc.abstractmethod
    async def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""

    @abc.abstractmethod
    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` each time that the lock is lost with its connection (not when it is released)."""


class Broker(abc.ABC):
    """
    A connection to a broker that is made again whenever it is lost.

    :ivar state: whether consuming and publishing work.
    :ivar reason: why the state is CONNECTING, as a sentence; empty where that
        is not known, or where the state is another one.
    :ivar reconnects: how often a usable connection was lost since the start.
    :ivar heartbeat: seconds between heartbeats on the consuming connection, as agreed with the
        broker: it gives up a connection, and its locks, after at least one of them in which
        nothing came. 0 without heartbeats, or while there is no connection.
    """

    state: BrokerState = BrokerState.CONNECTING
    reason: str = ""
    reconnects: int = 0
    heartbeat: float = 0.0

    @abc.abstractmethod
    def on_state(self, observer: StateObserver) -> None:
        """
        Call ``observer`` with each new :attr:`state`, after it has changed.

        :param observer: an exception that it raises is logged.
        """

    @abc.abstractmethod
    def start(self) -> None:
        """Connect, and stay connected until :meth:`stop`."""

    @abc.abstractmethod
    def consume(self, queue: str, handler: Handler, prefetch: int, *, single_active: bool = False) -> Consumer:
        """
        Declare ``queue``, bind it to :data:`VUMI_EXCHANGE` and consume from it,
        now and after each reconnect. The consumer starts paused.

        Where we may not declare (no ``configure`` permission), what exists is
        consumed. A queue that the broker refuses (another kind, a stream) is
        tried again with backoff; meanwhile :attr:`reason` says why.

        :param queue: queue and routing key.
        :param handler: gets each delivery.
        :param prefetch: how many deliveries may be unsettled at a time, 1 to 65535.
        :param single_active: declare the queue with ``x-single-active-consumer``:
            of all its consumers, also of other connections, the one that came
            first gets all deliveries; when it ends, the next one does.
        """

    @abc.abstractmethod
    def publisher(self, routing_key: str, *, single_active: bool = False) -> Publisher:
        """
        A publisher of persistent, mandatory, confirmed messages to
        :data:`VUMI_EXCHANGE`. The queue of the same name is declared and bound.

        :param single_active: as for :meth:`consume`.
        """

    @abc.abstractmethod
    def transient_publisher(self, exchange: str, routing_key: str) -> Publisher:
        """
        A publisher of messages that may be lost (heartbeats): declares the
        durable direct exchange only; not persistent, not mandatory; its
        Deferred fires as soon as the message is written.
        """

    @abc.abstractmethod
    def scope(self, name: str) -> Broker:
        """
        A broker that shares this one's connections and nothing else: it has AMQP
        channels, confirm numbers, a bound of unconfirmed publishes, a set-up, a
        :attr:`state` and a :attr:`reason` of its own. A queue that is refused, or a
        call that is not answered, in one scope leaves the others untouched.

        :meth:`start` and :meth:`stop` of a scope begin and end its use of the
        connections; they never open or close these. After :meth:`stop` it cannot
        be started again: make another one.

        :param name: shown in log lines.
        """

    @abc.abstractmethod
    def lock(self, queue: str) -> QueueLock:
        """
        A lock on the consuming connection, not acquired yet.

        :param queue: the name of the exclusive queue; nothing may publish to it.
        """

    @abc.abstractmethod
    async def counts(self, queue: str) -> Optional[QueueCounts]:
        """
        Look at a queue by a passive declaration, which changes nothing and, where the
        queue exists, leaves no line in the broker's log.

        :return: None if there is no such queue.
        :raises BrokerUnavailable: there is no connection, no answer, or no permission.
        """

    @abc.abstractmethod
    def heard_since(self, moment: float) -> bool:
        """
        Tell whether anything has arrived on the consuming connection since a moment.

        After the reactor stood still, what arrives first may have been sent long before;
        :meth:`probe` asks the broker.

        :param moment: in the clock's seconds.
        """

    @abc.abstractmethod
    async def probe(self) -> bool:
        """
        Ask the broker for an answer on the consuming connection: a round trip, at most
        10 s after the last byte that came.

        :return: True if it answered: the connection, and a lock that it holds, were
            still there when it did. False if the connection is gone.
        """

    @abc.abstractmethod
    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        """
        Close the connections cleanly, or abort them after ``timeout`` seconds.
        What is unsettled goes back to its queue; pending publishes fail with
        :exc:`ConnectionLost`.
        """
