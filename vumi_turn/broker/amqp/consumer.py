"""A queue's consumer: one AMQP channel on the consuming connection, opened again whenever it is lost."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from twisted.internet.defer import FirstError, ensureDeferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure
from txamqp.protocol import AMQChannel

from ...timing.backoff import RECONNECT_FIRST, RECONNECT_LONGEST, Backoff
from ...timing.one_time_event import OneTimeEvent
from ..interface import Delivery, Handler, Outcome
from ..settling import SettlingConsumer
from .additional import AdditionalWindow
from .client import Client
from .declare import PermissionLog, declare_queue
from .errors import IS_A_STREAM, ChannelRefused, ConnectionGone
from .frames import Receiver, pack_ack, pack_requeue, properties_of

#: Seconds of consuming after which the backoff starts from the beginning.
_STEADY = 5.0

#: A consumer's default priority. Streams, which lose what was published before the
#: consumer came and cannot requeue, know no priorities: RabbitMQ answers 406.
_NO_STREAMS = {"x-priority": 0}

log = Logger()


class AmqpDelivery(Delivery):
    """A delivery whose headers are decoded when somebody asks for them."""

    __slots__ = ("_properties",)

    def __init__(
        self, queue: str, body: bytes, redelivered: bool, properties: bytes, received: float, tag: int
    ) -> None:
        super().__init__(queue, body, redelivered, None, received, tag)
        self._properties = properties

    @property
    def headers(self) -> Mapping[str, Any]:
        if self._headers is None:
            self._headers = properties_of(self._properties).get("headers") or {}
        return self._headers


class AmqpConsumer(SettlingConsumer, Receiver):
    """
    What :meth:`AmqpBroker.consume` gives.

    The desired state (paused or not, how large a window) and the channel's
    actual state are kept apart: :meth:`_reconcile` makes calls, one after
    another, until the two agree.

    :param prefetch: how many deliveries may be unsettled at a time.
    :param clock: the reactor's clock.
    :param changed: called when :attr:`ready` or :attr:`error` may have changed.
    :param new_tag: makes consumer tags.
    :param arguments: the queue's.
    :ivar error: why RabbitMQ does not let us consume; empty if it does.
    """

    def __init__(
        self,
        queue: str,
        handler: Handler,
        prefetch: int,
        clock: Any,
        changed: Callable[[], None],
        new_tag: Callable[[], str],
        arguments: Optional[dict[str, Any]] = None,
    ) -> None:
        super().__init__(queue, handler)
        self.error = ""
        self._prefetch = prefetch
        self._clock = clock
        self._changed = changed
        self._new_tag = new_tag
        self._arguments = arguments
        self._paused = True
        self._client: Optional[Client] = None
        self._channel: Optional[AMQChannel] = None
        self._number = 0
        self._declared = False
        self._tag: Optional[bytes] = None
        self._consuming = False  # True when RabbitMQ has answered
        self._additional = AdditionalWindow(prefetch)
        self._reconciling = False
        self._reconciled: OneTimeEvent[None] = OneTimeEvent()
        self._backoff = Backoff(RECONNECT_FIRST, RECONNECT_LONGEST, at_once=True)
        self._retry: Any = None
        self._since = 0.0
        self._permissions = PermissionLog()

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

    def allow_more(self, count: int) -> None:
        if self._arguments:
            return  # a single active consumer: a second one would get nothing
        self._additional.want(count)
        if not self._additional.fits:
            self._start_reconciling()

    @property
    def ready(self) -> bool:
        """True when RabbitMQ sends, or would at once, what is in the queue."""
        return self._declared and (self._paused or self._consuming)

    @property
    def waits(self) -> bool:
        """True when RabbitMQ has refused something, and the next attempt is due later."""
        return self._retry is not None

    # The connection

    def attach(self, client: Client) -> None:
        """Use a new connection, or one that is in use already."""
        self._client = client
        self._backoff.reset()
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

    def end(self) -> None:
        """Take nothing more; what is unsettled is lost, and RabbitMQ queues it again when the channel is closed."""
        self._paused = True
        self.detach()

    async def stop(self) -> None:
        """
        End, and close the channel.

        :raises ChannelRefused: RabbitMQ has not answered.
        :raises ConnectionGone: the connection is gone.
        """
        client, channel = self._client, self._channel
        self.end()
        if self._reconciling:
            # RabbitMQ may answer a close before a call that came earlier, which is then never answered.
            await self._reconciled.wait()
        if client is not None and channel is not None and not client.closed:
            await client.close_channel(channel)

    # What arrives on the channel

    def delivered(self, tag: int, redelivered: bool, properties: bytes, body: bytes, consumer_tag: bytes) -> None:
        if self._paused:
            self._write(pack_requeue(self._number, tag))
            return
        if consumer_tag != self._tag:
            self._additional.took(tag, consumer_tag)
        self._handle(AmqpDelivery(self.queue, body, redelivered, properties, self._clock.seconds(), tag))

    def cancelled(self, consumer_tag: str) -> None:
        tag = consumer_tag.encode("utf-8")
        if tag == self._additional.tag:
            self._additional.closed()
        if tag != self._tag:
            return
        log.warn("RabbitMQ cancelled the consumer of {queue}; consuming again", queue=self.queue)
        self._tag, self._consuming = None, False
        self._declared = False
        self._schedule_retry()

    def closed(self, error: Exception) -> None:
        if self._channel is not None:  # else a call of ours has failed with the same error
            self._refused(error)

    def _settled(self, delivery: Delivery, outcome: Outcome) -> None:
        pack = pack_ack if outcome is Outcome.ACK else pack_requeue
        self._write(pack(self._number, delivery.tag))
        if self._additional.settled(delivery.tag) and not self._additional.fits:
            self._start_reconciling()

    def _write(self, frame: bytes) -> None:
        if self._client is not None:
            self._client.write(frame)

    # From the channel's actual state to the desired one

    def _start_reconciling(self) -> None:
        if self._client is not None and self._retry is None and not self._reconciling:
            self._changed()
            ensureDeferred(self._reconcile(self._client)).addErrback(_not_reconciled, self.queue)

    async def _reconcile(self, client: Client) -> None:
        self._reconciling = True
        self._reconciled = OneTimeEvent()
        try:
            while client is self._client and self._retry is None and await self._step(client):
                pass
        except ConnectionGone:
            pass
        except ChannelRefused as error:
            if client is self._client:
                self._refused(error)
        finally:
            self._reconciling = False
            self._reconciled.fire(None)
            self._changed()
        if client is not self._client:
            self._start_reconciling()  # another connection came while a call was under way

    async def _step(self, client: Client) -> bool:
        """Make one change towards the desired state; return False when there is nothing left to do."""
        if not self._declared:
            refusals = await declare_queue(client, self.queue, self._arguments)
            self._permissions.note(self.queue, refusals, queue=self.queue)
            self._declared = client is self._client
        elif self._channel is None:
            channel = await client.open_channel(queue=self.queue)
            if client is not self._client:  # stopped meanwhile
                await client.close_channel(channel)
                return False
            self._channel, self._number = channel, channel.id
            client.attach(channel, self)
        elif not self._paused and self._tag is None:
            self._tag = self._new_tag().encode("ascii")
            await self._consume(client, self._channel, self._tag, self._prefetch)
            self._consuming = self._tag is not None
            self._since = self._clock.seconds()
            self._recovered()
        elif self._paused and (self._tag is not None or self._additional.tag is not None):
            await self._cancel_both(client, self._channel)
        else:
            return await self._step_additional(client, self._channel)
        return True

    async def _cancel_both(self, client: Client, channel: AMQChannel) -> None:
        """
        Cancel both consumers in one step: what goes back to the queue after a
        pause must not come to the one that is cancelled later. It would go
        back again, on a quorum queue behind what came after it.
        """
        tag, additional = self._tag, self._additional.tag
        calls = [
            ensureDeferred(client.call(channel, "basic_cancel", consumer_tag=each))
            for each in (tag, additional)
            if each is not None
        ]
        try:
            await gatherResults(calls, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        if self._tag == tag:
            self._tag, self._consuming = None, False
        if additional is not None and self._additional.tag == additional:
            self._additional.closed()

    async def _step_additional(self, client: Client, channel: AMQChannel) -> bool:
        window = self._additional
        if window.tag is not None and not window.fits:
            tag = window.tag
            await client.call(channel, "basic_cancel", consumer_tag=tag)
            if window.tag == tag:
                window.closed()
        elif window.tag is None and window.needed and not self._paused:
            tag, size = self._new_tag().encode("ascii"), window.needed
            window.opened(tag, size)
            await self._consume(client, channel, tag, size)
        else:
            return False
        return True

    async def _consume(self, client: Client, channel: AMQChannel, tag: bytes, prefetch: int) -> None:
        await client.call(channel, "basic_qos", prefetch_count=prefetch)
        await client.call(channel, "basic_consume", queue=self.queue, consumer_tag=tag, arguments=_NO_STREAMS)

    def _refused(self, error: Exception) -> None:
        self._drop_channel()
        words = str(error)
        if "x-priority" in words:
            words = IS_A_STREAM
        if words != self.error:
            self.error = words
            log.error(
                "RabbitMQ does not let us consume from {queue} ({reason}); trying again", queue=self.queue, reason=words
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
        if self.error:
            self.error = ""
            log.info("Consuming from {queue} again", queue=self.queue)

    def _drop_channel(self) -> None:
        self._channel = None
        self._declared = False
        self._tag, self._consuming = None, False
        self._additional.reset()
        for delivery in self._take_unsettled():
            delivery.lose()
        self._changed()


def _not_reconciled(failure: Failure, queue: str) -> None:
    log.failure("The consumer of {queue} could not be set up", failure, queue=queue)
