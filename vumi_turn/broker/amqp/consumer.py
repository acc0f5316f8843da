"""A queue's consumer: one channel on the consuming connection, opened again whenever it is lost."""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from txamqp.protocol import AMQChannel

from ...timing.backoff import Backoff
from ..interface import Consumer, Delivery, Handler, Outcome
from .client import Client
from .declare import declare_queue
from .errors import ChannelRefused, LinkLost
from .frames import Receiver, delivery_count, pack_ack, pack_requeue

#: A channel that consumed for this many seconds starts its waits from the beginning.
_STEADY = 5.0

log = Logger()


class AmqpConsumer(Consumer, Receiver):
    """
    What :meth:`AmqpBroker.consume` gives.

    The wish (paused or not) and the state of the channel are kept apart:
    :meth:`_bring` makes calls, one after another, until the state is as wished.

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
        self.queue = queue
        self._handler = handler
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
        self._bringing = False
        self._unsettled: dict[int, Delivery] = {}
        self._backoff = Backoff()
        self._retry: Any = None
        self._since = 0.0
        self._logged = ""

    # The interface

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        self._paused = True
        self._kick()

    def unpause(self) -> None:
        self._paused = False
        self._kick()

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

        :raises LinkLost: the connection is gone.
        """
        self._client = client
        self._backoff.reset()
        await self._bring()
        if client.closed:
            raise LinkLost(client.why())

    def join(self, client: Client) -> None:
        """Use a connection that is in use already."""
        self._client = client
        self._kick()

    def declare_again(self) -> None:
        """Make exchange, queue and binding anew, should they be gone; consuming goes on meanwhile."""
        if self._declared:
            self._declared = False
            self._kick()

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
        delivery = Delivery(self.queue, body, redelivered, delivery_count(properties), self._clock.seconds(), tag)
        self._unsettled[tag] = delivery
        try:
            outcome: Deferred[Outcome] = ensureDeferred(self._handler(delivery))  # type: ignore[arg-type]
        except Exception:  # a handler must not raise; if it does, that is one delivery's trouble
            self._failed(Failure(), delivery)
            return
        outcome.addCallbacks(self._settle, self._failed, callbackArgs=(delivery,), errbackArgs=(delivery,)).addErrback(
            _not_settled
        )

    def cancelled(self, consumer_tag: str) -> None:
        if consumer_tag != self._tag:
            return
        log.warn("RabbitMQ ended the consumer of {queue}; consuming again", queue=self.queue)
        self._tag = None
        self._declared = False
        self._again()

    def closed(self, error: Exception) -> None:
        if self._channel is not None:  # else a call of ours has failed with the same error
            self._refused(error)

    # Settling

    def _settle(self, outcome: Outcome, delivery: Delivery) -> None:
        if delivery.lost or self._unsettled.pop(delivery.tag, None) is None:
            return
        delivery.settle()
        pack = pack_ack if outcome is Outcome.ACK else pack_requeue
        self._write(pack(self._number, delivery.tag))

    def _failed(self, failure: Failure, delivery: Delivery) -> None:
        log.failure("The handler of {queue} failed; its message is requeued", failure, queue=self.queue)
        self._settle(Outcome.REQUEUE, delivery)

    def _write(self, frame: bytes) -> None:
        if self._client is not None:
            self._client.write(frame)

    # Bringing the channel to where it should be

    def _kick(self) -> None:
        if self._client is not None and self._retry is None:
            ensureDeferred(self._bring()).addErrback(_not_brought, self.queue)

    async def _bring(self) -> None:
        if self._bringing:
            return  # the calls under way look at the wish again when they are done
        self._bringing = True
        try:
            while self._client is not None and await self._step(self._client):
                pass
        except LinkLost:
            pass
        except ChannelRefused as error:
            self._refused(error)
        finally:
            self._bringing = False
            self._changed()

    async def _step(self, client: Client) -> bool:
        """One call towards the wish; returns False when there is nothing left to do."""
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
        self._again()

    def _again(self) -> None:
        """Try again after a while, longer each time."""
        if self._client is None or self._retry is not None:
            return
        if self._since and self._clock.seconds() - self._since >= _STEADY:
            self._backoff.reset()
        self._since = 0.0
        self._retry = self._clock.callLater(self._backoff.next(), self._retry_now)
        self._changed()

    def _retry_now(self) -> None:
        self._retry = None
        self._kick()

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
        unsettled, self._unsettled = self._unsettled, {}
        for delivery in unsettled.values():
            try:
                delivery.lose()
            except Exception:  # who watches one delivery must not keep the others from being told
                log.failure("What watches a delivery of {queue} failed", queue=self.queue)
        self._changed()


def _not_settled(failure: Failure) -> None:
    log.failure("A delivery could not be settled", failure)


def _not_brought(failure: Failure, queue: str) -> None:
    log.failure("The consumer of {queue} could not be set up", failure, queue=queue)
