"""
The one interface through which the rest of the program sees a broker.

Two implementations keep it: :mod:`vumi_turn.broker.amqp` (RabbitMQ) and
:mod:`vumi_turn.broker.memory` (this process only). The same contract
tests run on both.
"""

from __future__ import annotations

import abc
import enum
from typing import Awaitable, Callable, Optional

from twisted.internet.defer import Deferred
from twisted.logger import Logger

log = Logger()

#: The durable direct exchange that all vumi workers share.
VUMI_EXCHANGE = "vumi"

#: No more publishes than this may wait for the broker's confirmation.
MAX_UNCONFIRMED = 1000


class BrokerError(Exception):
    """The broker has not taken the message; publishing it again may work."""


class BrokerUnavailable(BrokerError):
    """There is no usable connection: not connected, blocked, or too much is unconfirmed."""


class ConnectionLost(BrokerError):
    """The connection went away before the broker confirmed the message."""


class Nacked(BrokerError):
    """The broker said that it could not take the message."""


class Returned(BrokerError):
    """No queue took the message, also after declaring the queue again."""


class BrokerState(str, enum.Enum):
    """
    How a broker's connections are. Members are texts, so that JSON and metrics show them as they are.

    ============  =======================================================
    CONNECTING    consuming or publishing does not work; being set up
    CONNECTED     consuming and publishing both work
    BLOCKED       consuming works; the broker takes no messages for now
    CLOSED        stopped
    ============  =======================================================

    A broker starts as CONNECTING, changes between the first three as the
    connections do, and is CLOSED from :meth:`Broker.stop` on.
    """

    CONNECTING = "connecting"
    CONNECTED = "connected"
    BLOCKED = "blocked"
    CLOSED = "closed"

    def __str__(self) -> str:
        return self.value

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)


#: Told of each new state of a broker.
StateObserver = Callable[[BrokerState], None]


class StateCell:
    """
    A broker's state, and who is told of it; for brokers only.

    :ivar current: the state.
    """

    def __init__(self) -> None:
        self.current = BrokerState.CONNECTING
        self._observers: list[StateObserver] = []

    def observe(self, observer: StateObserver) -> None:
        """Call ``observer`` with each new state."""
        self._observers.append(observer)

    def change(self, state: BrokerState) -> None:
        """Set the state. Observers' exceptions are logged; they never propagate into the broker."""
        if state is self.current:
            return
        self.current = state
        for observer in list(self._observers):
            try:
                observer(state)
            except Exception:  # an observer must not keep the connections from being made
                log.failure("An observer of the broker's state failed")


class Outcome(enum.Enum):
    """What a handler wants to become of a delivery."""

    ACK = "ack"
    REQUEUE = "requeue"


class Delivery:
    """
    One message from a queue, until it is settled.

    :ivar queue: the name of the queue it came from.
    :ivar body: the message's bytes.
    :ivar redelivered: True if the broker has given it to somebody before.
    :ivar delivery_count: how often it was returned to a quorum queue
        (``x-delivery-count``), 0 on other queues.
    :ivar received: when it arrived, in the clock's seconds.
    :ivar lost: True once its connection is gone: it can no longer be settled,
        and the broker will deliver it again.
    :ivar tag: the broker's number for it.
    """

    __slots__ = (
        "queue",
        "body",
        "redelivered",
        "delivery_count",
        "received",
        "lost",
        "tag",
        "_observers",
    )

    def __init__(
        self,
        queue: str,
        body: bytes,
        redelivered: bool = False,
        delivery_count: int = 0,
        received: float = 0.0,
        tag: int = 0,
    ) -> None:
        self.queue = queue
        self.body = body
        self.redelivered = redelivered
        self.delivery_count = delivery_count
        self.received = received
        self.tag = tag
        self.lost = False
        self._observers: list[Callable[[], None]] = []

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once when the delivery's connection is gone."""
        if self.lost:
            callback()
        else:
            self._observers.append(callback)

    def lose(self) -> None:
        """
        Mark as lost and tell the observers; for brokers only. An observer's
        exception is logged, so that the other deliveries are told too.
        """
        if self.lost:
            return
        self.lost = True
        observers, self._observers = self._observers, []
        for observer in observers:
            try:
                observer()
            except Exception:  # one delivery's observer must not keep the others from being told
                log.failure("An observer of a lost delivery of {queue} failed", queue=self.queue)

    def settle(self) -> None:
        """
        Forget the observers; for brokers only. An observer usually refers to
        what refers to the delivery: without this each message would stay in
        memory until the next run of the garbage collector.
        """
        self._observers = []


#: Takes a delivery and says, now or later, what becomes of it. It is called in
#: queue order, and its synchronous part has run before the next delivery's.
#: It must not raise: an exception is logged, and the delivery is requeued.
Handler = Callable[[Delivery], Awaitable[Outcome]]


class Consumer(abc.ABC):
    """A queue's consumer; it outlives connections."""

    @abc.abstractmethod
    def pause(self) -> None:
        """Take no new deliveries; those in hand stay valid and can be settled."""

    @abc.abstractmethod
    def unpause(self) -> None:
        """Take deliveries (again); there is never more than one consumer."""

    @property
    @abc.abstractmethod
    def paused(self) -> bool:
        """True while no new deliveries are taken."""


class Publisher(abc.ABC):
    """Publishes to one routing key."""

    @abc.abstractmethod
    def publish(self, body: bytes) -> Deferred[None]:
        """
        Publish one message.

        :param body: the message's bytes.
        :return: fires when the broker has confirmed that a queue holds the
            message. It has no timeout of its own and may not be cancelled: a
            caller that stops waiting leaves it alone.
        :raises BrokerUnavailable: (as all of these through the Deferred) at
            once, where nothing was sent.
        :raises Nacked: the broker refused it.
        :raises Returned: no queue took it.
        :raises ConnectionLost: whether the broker has it is not known.
        """


class Broker(abc.ABC):
    """
    A connection to a broker that is made again whenever it is lost.

    :ivar state: whether consuming and publishing work.
    :ivar reconnects: how often a usable connection was lost since the start.
    """

    state: BrokerState = BrokerState.CONNECTING
    reconnects: int = 0

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
    def consume(self, queue: str, handler: Handler, prefetch: int) -> Consumer:
        """
        Declare ``queue``, bind it to :data:`VUMI_EXCHANGE` and consume from it,
        now and after each reconnect. The consumer starts paused.

        :param queue: queue and routing key.
        :param handler: gets each delivery.
        :param prefetch: how many deliveries may be unsettled at a time.
        """

    @abc.abstractmethod
    def publisher(self, routing_key: str) -> Publisher:
        """
        A publisher of persistent, mandatory, confirmed messages to
        :data:`VUMI_EXCHANGE`. The queue of the same name is declared and bound.
        """

    @abc.abstractmethod
    def transient_publisher(self, exchange: str, routing_key: str) -> Publisher:
        """
        A publisher of messages nobody has to keep (heartbeats): declares the
        durable direct exchange only; not persistent, not mandatory; its
        Deferred fires as soon as the message is written.
        """

    @abc.abstractmethod
    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        """
        Close the connections cleanly, or abort them after ``timeout`` seconds.
        What is unsettled goes back to its queue; pending publishes fail with
        :exc:`ConnectionLost`.
        """
