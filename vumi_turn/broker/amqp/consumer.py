"""A queue's consumer: one AMQP channel on the consuming connection, opened again whenever it is lost."""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from txamqp.protocol import AMQChannel

from ...timing.backoff import RECONNECT_FIRST, RECONNECT_LONGEST, Backoff
from ..interface import Delivery, Handler, Outcome
from ..settling import SettlingConsumer
from .client import Client
from .declare import declare_queue
from .errors import ChannelRefused, ConnectionGone
from .frames import Receiver, delivery_count, pack_ack, pack_requeue

#: Seconds of consuming after which the backoff starts from the beginning.
_STEADY = 5.0

log = Logger()


class AmqpConsumer(SettlingConsumer, Receiver):
    """
    What :meth:`AmqpBroker.consume` gives.

    The desired state (paused or not) and the channel's actual state are kept
    apart: :meth:`_reconcile` makes calls, one after another, until the two agree.

    :param prefetch: how many deliveries may be unsettled at a time.
    :param clock: the reactor's clock.
    :param changed: called when :attr:`ready` may have changed.
    :param new_tag: makes consumer tags.
    """

    def __init__(
        self,
        queue: str,
        handler: Handler,
        prefetch: int,
        clock: Any,
        changed: Callable[[], None],
        new_tag: Callable[[], str],
    ) -> None:
        super().__init__(queue, handler)
        self._prefetch = prefetch
        self._clock = clock
        self._changed = changed
        self._new_tag = new_tag
        self._paused = True
        self._client: Optional[Client] = None
        self._channel: Optional[AMQChannel] = None
        self._number = 0
        self._declared = False
        self._tag: Optional[str] = None
        self._reconciling = False
        self._backoff = Backoff(RECONNECT_FIRST, RECONNECT_LONGEST, at_once=True)
        self._retry: Any = None
        self._since = 0.0
        self._logged = ""

    # The interface

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        self._paused = True
        self._start_reconciling()

    def unpause(self) -> None:
        self._paused = False
        self._start_reconciling()

    @property
    def ready(self) -> bool:
        """True when RabbitMQ sends, or would at once, what is in the queue."""
        return self._declared and (self._paused or self._tag is not None)

    # The connection

    async def attach(self, client: Client) -> None:
        """
        Use a new connection.

        Returns when consuming, or when RabbitMQ has refused the queue and the
        next attempt is due later.

        :raises ConnectionGone: the connection is gone.
        """
        self._client = client
        self._backoff.reset()
        await self._reconcile()
        if client.closed:
            raise ConnectionGone(client.why())

    def join(self, client: Client) -> None:
        """Use a connection that is in use already."""
        self._client = client
        self._start_reconciling()

    def declare_again(self) -> None:
        """Declare exchange, queue and binding again, should they be gone; consuming goes on meanwhile."""
        if self._declared:
            self._declared = False
            self._start_reconciling()

    def detach(self) -> None:
        """The connection is gone, and with it every delivery."""
        self._client = None
        self._drop_channel()
        self._cancel_retry()

    def stop(self) -> None:
        """Take nothing more; what is unsettled is lost, and RabbitMQ queues it again."""
        self._paused = True
        self.detach()

    # What arrives on the channel

    def delivered(self, tag: int, redelivered: bool, properties: bytes, body: bytes) -> None:
        if self._paused:
            self._write(pack_requeue(self._number, tag))
            return
        self._handle(Delivery(self.queue, body, redelivered, delivery_count(properties), self._clock.seconds(), tag))

    def cancelled(self, consumer_tag: str) -> None:
        if consumer_tag != self._tag:
            return
        log.warn("RabbitMQ cancelled the consumer of {queue}; consuming again", queue=self.queue)
        self._tag = None
        self._declared = False
        self._schedule_retry()

    def closed(self, error: Exception) -> None:
        if self._channel is not None:  # else a call of ours has failed with the same error
            self._refused(error)

    def _settled(self, delivery: Delivery, outcome: Outcome) -> None:
        pack = pack_ack if outcome is Outcome.ACK else pack_requeue
        self._write(pack(self._number, delivery.tag))

    def _write(self, frame: bytes) -> None:
        if self._client is not None:
            self._client.write(frame)

    # From the channel's actual state to the desired one

    def _start_reconciling(self) -> None:
        if self._client is not None and self._retry is None:
            ensureDeferred(self._reconcile()).addErrback(_not_reconciled, self.queue)

    async def _reconcile(self) -> None:
        if self._reconciling:
            return  # the loop that runs looks at the desired state again after each call
        self._reconciling = True
        try:
            while self._client is not None and await self._step(self._client):
                pass
        except ConnectionGone:
            pass
        except ChannelRefused as error:
            self._refused(error)
        finally:
            self._reconciling = False
            self._changed()

    async def _step(self, client: Client) -> bool:
        """Make one call towards the desired state; return False when there is nothing left to do."""
        if self._retry is not None:
            return False
        if self._channel is None:
            channel = await client.open_channel()
            self._channel, self._number = channel, channel.id
            client.attach(channel, self)
            await client.call(channel, "basic_qos", prefetch_count=self._prefetch)
        elif not self._declared:
            await declare_queue(client, self._channel, self.queue)
            self._declared = True
        elif not self._paused and self._tag is None:
            tag = self._new_tag()
            self._tag = tag
            await client.call(self._channel, "basic_consume", queue=self.queue, consumer_tag=tag)
            self._since = self._clock.seconds()
            self._recovered()
        elif self._paused and self._tag is not None:
            tag = self._tag
            await client.call(self._channel, "basic_cancel", consumer_tag=tag)
            if self._tag == tag:
                self._tag = None
        else:
            return False
        return True

    def _refused(self, error: Exception) -> None:
        self._drop_channel()
        if str(error) != self._logged:
            self._logged = str(error)
            log.error(
                "RabbitMQ does not let us consume from {queue} ({reason}); trying again",
                queue=self.queue,
                reason=str(error),
            )
        self._schedule_retry()

    def _schedule_retry(self) -> None:
        """Try again after the backoff's next delay."""
        if self._client is None or self._retry is not None:
            return
        if self._since and self._clock.seconds() - self._since >= _STEADY:
            self._backoff.reset()
        self._since = 0.0
        self._retry = self._clock.callLater(self._backoff.next(), self._retry_now)
        self._changed()

    def _retry_now(self) -> None:
        self._retry = None
        self._start_reconciling()

    def _cancel_retry(self) -> None:
        retry, self._retry = self._retry, None
        if retry is not None and retry.active():
            retry.cancel()

    def _recovered(self) -> None:
        if self._logged:
            self._logged = ""
            log.info("Consuming from {queue} again", queue=self.queue)

    def _drop_channel(self) -> None:
        self._channel = None
        self._declared = False
        self._tag = None
        for delivery in self._take_unsettled():
            delivery.lose()
        self._changed()


def _not_reconciled(failure: Failure, queue: str) -> None:
    log.failure("The consumer of {queue} could not be set up", failure, queue=queue)
