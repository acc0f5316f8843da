"""
Publishing: one AMQP channel in confirm mode on the publishing connection, and a
publisher in front of it for each routing key.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any, Callable, Mapping, Optional

from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from txamqp.protocol import AMQChannel

from ...timing.backoff import RECONNECT_FIRST, RECONNECT_LONGEST, Backoff
from ...timing.named_log import named
from ..errors import BrokerUnavailable, ConnectionLost, MessageTooLarge, Nacked, Returned
from ..interface import MAX_UNCONFIRMED, VUMI_EXCHANGE, Publisher
from .client import Client
from .declaring import QueueDeclarations
from .errors import ChannelRefused, ConnectionGone
from .frames import Envelope, Receiver, pack_headers
from .size_limit import SizeLimit
from .transient import TransientPublisher

log = Logger()


class _Pending:
    """A publish that the broker has not confirmed yet."""

    __slots__ = ("done", "key", "body", "headers", "returned", "again")

    def __init__(self, done: Deferred[None], key: str, body: bytes, headers: bytes) -> None:
        self.done = done
        self.key = key
        self.body = body
        self.headers = headers
        self.returned = False
        self.again = False  # True for the second time, after a return


class ConfirmingPublisher(Receiver):
    """
    Publishes for all publishers of a scope, and follows each message until it is confirmed.

    :param clock: the reactor's clock.
    :param new_id: makes ids that are unique: the prefix of the message ids of one channel.
    :param limit: the broker's limit, which all scopes of a connection share.
    :param changed: called when :attr:`ready` or :attr:`error` may have changed.
    :param channel_lost: called when RabbitMQ has closed the channel: the exchange may
        be gone, and with it bindings.
    :param connector: named in log lines; empty where it is no single one's.
    :ivar error: why RabbitMQ does not let us publish; empty if it does.
    """

    def __init__(
        self,
        clock: Any,
        new_id: Callable[[], str],
        limit: SizeLimit,
        changed: Callable[[], None],
        channel_lost: Callable[[], None],
        connector: str = "",
    ) -> None:
        self._log = named(log, connector)
        self._connector = connector
        self._about: dict[str, str] = {"connector": connector} if connector else {}
        self.error = ""
        self._clock = clock
        self._new_id = new_id
        self._limit = limit
        self._changed = changed
        self._channel_lost = channel_lost
        self._client: Optional[Client] = None
        self._channel: Optional[AMQChannel] = None
        self._number = 0
        self._prefix = b""
        self._last_tag = 0
        self._pending: dict[int, _Pending] = {}
        self._returned = 0
        # A list while a channel is replaced that RabbitMQ has closed for one message.
        self._resend: Optional[list[_Pending]] = None
        self._envelopes: dict[str, Envelope] = {}
        self._declarations = QueueDeclarations()
        self._transients: list[TransientPublisher] = []
        self._backoff = Backoff(RECONNECT_FIRST, RECONNECT_LONGEST, at_once=True)
        self._retry: Any = None

    @property
    def ready(self) -> bool:
        """True while messages are taken, unless RabbitMQ blocks the connection."""
        return self._channel is not None or self._resend is not None

    @property
    def waits(self) -> bool:
        """True when RabbitMQ has refused the channel, and the next attempt is due later."""
        return self._retry is not None

    # Publishers

    def add(self, routing_key: str, arguments: Optional[dict[str, Any]] = None) -> AmqpPublisher:
        """A publisher for ``routing_key``, whose queue is declared now or with the next connection."""
        if routing_key not in self._envelopes:
            self._envelopes[routing_key] = Envelope(VUMI_EXCHANGE, routing_key, persistent=True, mandatory=True)
            self._declarations.arguments[routing_key] = arguments
            if self._channel is not None and self._client is not None:
                ensureDeferred(self._declarations.try_to_declare(self._client, routing_key)).addErrback(_ignore_loss)
        return AmqpPublisher(self, routing_key)

    def add_transient(self, exchange: str, routing_key: str) -> TransientPublisher:
        """A publisher of messages that may be lost."""
        publisher = TransientPublisher(exchange, routing_key, self._connector)
        self._transients.append(publisher)
        if self._channel is not None and self._client is not None:
            publisher.attach(self._client)
        return publisher

    # The connection

    def attach(self, client: Client) -> None:
        """Use a new connection, or one that is in use already."""
        self._client = client
        self._backoff.reset()
        self._start_set_up()

    def detach(self) -> None:
        """The connection is gone: what was not confirmed may or may not be there."""
        self._client = self._channel = None
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        self._retry = None
        for publisher in self._transients:
            publisher.detach()
        self._fail_all("the connection was lost before RabbitMQ confirmed")

    async def stop(self) -> None:
        """
        Publish nothing more, and close the channel.

        :raises ChannelRefused: RabbitMQ has not answered.
        :raises ConnectionGone: the connection is gone.
        """
        client, channel = self._client, self._channel
        channels = [each.channel for each in self._transients] + [channel]
        self.detach()
        for each in channels:
            if client is not None and each is not None and not client.closed:
                await client.close_channel(each)

    def _start_set_up(self) -> None:
        self._retry = None
        if self._client is not None:
            ensureDeferred(self._set_up(self._client)).addErrback(self._unexpected)

    async def _set_up(self, client: Client) -> None:
        try:
            for key in list(self._envelopes):
                await self._declarations.try_to_declare(client, key)
            channel = await client.open_channel(**self._about)
            client.attach(channel, self)
            await client.call(channel, "confirm_select")
        except ConnectionGone:
            return
        except ChannelRefused as error:
            if client is self._client:
                self._refused(error)
            return
        if client is not self._client:  # stopped meanwhile
            ensureDeferred(client.close_channel(channel)).addErrback(_ignore_loss)
            return
        self._begin(client, channel)

    def _begin(self, client: Client, channel: AMQChannel) -> None:
        """Publish on a new channel, first what another message's refusal has cost its confirm."""
        self._number, self._last_tag = channel.id, 0
        self._prefix = self._new_id().encode("ascii")
        self._channel = channel
        self.error = ""
        resend, self._resend = self._resend or [], None
        for entry in resend:
            self._send(client, entry)
        for publisher in self._transients:
            publisher.attach(client)
        self._changed()

    def _refused(self, error: Exception) -> None:
        if str(error) != self.error:
            self.error = str(error)
            self._log.error("RabbitMQ does not let us publish ({reason}); trying again", reason=self.error)
        if self._retry is None:
            self._retry = self._clock.callLater(self._backoff.next(), self._start_set_up)
        resend, self._resend = self._resend or [], None
        self._changed()
        for entry in resend:
            entry.done.errback(ConnectionLost(f"RabbitMQ does not let us publish: {error}"))

    def _fail_all(self, why: str) -> None:
        pending, self._pending = list(self._pending.values()), {}
        resend, self._resend = self._resend or [], None
        for entry in [*pending, *resend]:
            entry.done.errback(ConnectionLost(why))

    def _unexpected(self, failure: Failure, queue: str = "") -> None:
        about: dict[str, Any] = self._about or ({"queue": queue} if queue else {})
        self._log.failure("Publishing to RabbitMQ failed unexpectedly", failure, **about)

    # Publishing

    def publish(self, key: str, body: bytes, headers: Optional[Mapping[str, Any]]) -> Deferred[None]:
        """See :meth:`vumi_turn.broker.interface.Publisher.publish`."""
        client = self._client
        if client is None or not self.ready or client.closed:
            return fail(BrokerUnavailable(self.error or "there is no connection to RabbitMQ"))
        if client.blocked:
            return fail(BrokerUnavailable("RabbitMQ is blocked: it is short of memory or disk"))
        if self._limit.excludes(body):
            return fail(MessageTooLarge(self._limit.value or 0))
        if len(self._pending) + self._returned + len(self._resend or ()) >= MAX_UNCONFIRMED:
            return fail(BrokerUnavailable(f"{MAX_UNCONFIRMED} messages wait for RabbitMQ's confirmation"))
        try:
            packed = pack_headers(headers, client.frame_max)
        except ValueError:
            return fail(Failure())
        done: Deferred[None] = Deferred()
        self._send(client, _Pending(done, key, body, packed))
        return done

    def _send(self, client: Client, entry: _Pending) -> None:
        """Number and write in one step: the broker counts what it reads."""
        if self._resend is not None:
            self._resend.append(entry)
            return
        self._last_tag = tag = self._last_tag + 1
        self._pending[tag] = entry
        message_id = b"%s-%d" % (self._prefix, tag)
        envelope = self._envelopes[entry.key]
        client.write(envelope.pack(self._number, message_id, entry.body, client.frame_max, entry.headers))

    # What arrives on the channel

    def confirmed(self, tag: int, multiple: bool) -> None:
        for entry in self._settled(tag, multiple):
            if not entry.returned:
                entry.done.callback(None)
            elif entry.again:
                entry.done.errback(Returned(f"no queue takes messages for {entry.key}"))
            else:
                ensureDeferred(self._publish_again(entry)).addErrback(self._unexpected, entry.key)

    def refused(self, tag: int, multiple: bool) -> None:
        for entry in self._settled(tag, multiple):
            entry.done.errback(Nacked("RabbitMQ refused the message: its queue is full, or the broker has an error"))

    def returned(self, message_id: str) -> None:
        prefix, _, tag = message_id.rpartition("-")
        known = prefix == self._prefix.decode("ascii") and tag.isdecimal()
        entry = self._pending.get(int(tag)) if known else None
        if entry is None:
            self._log.warn("RabbitMQ returned a message that is not among the unconfirmed ones")
        else:
            entry.returned = True

    def closed(self, error: Exception) -> None:
        if self._channel is None:
            return  # a call of ours has failed with the same error
        self._channel = None
        pending, self._pending = list(self._pending.values()), {}
        if self._limit.learn(error) and any(self._limit.excludes(entry.body) for entry in pending):
            self._replace_channel(pending)
        else:
            self._log.error("RabbitMQ closed the publishing channel ({reason}); opening another one", reason=str(error))
            self._changed()  # first, so that who hears of a failed publish sees the new state
            for entry in pending:
                entry.done.errback(ConnectionLost(f"RabbitMQ closed the channel before it confirmed: {error}"))
            self._channel_lost()
            if self._retry is None and self._client is not None:
                self._retry = self._clock.callLater(self._backoff.next(), self._start_set_up)

    def _replace_channel(self, pending: list[_Pending]) -> None:
        """
        A message was too large, and RabbitMQ has closed the channel for it. It has
        read the others before it and dropped those after it, and confirms none of them
        any more: they are published again.
        """
        self._resend = []
        for entry in pending:
            if not self._limit.excludes(entry.body):
                entry.returned = False
                self._resend.append(entry)
        for entry in pending:
            if self._limit.excludes(entry.body):
                self._log.error(
                    "RabbitMQ refused a message of {size} bytes for {queue}: its max_message_size is {limit}",
                    size=len(entry.body),
                    queue=entry.key,
                    limit=self._limit.value,
                )
                entry.done.errback(MessageTooLarge(self._limit.value or 0))
        self._start_set_up()

    def _settled(self, tag: int, multiple: bool) -> list[_Pending]:
        pending = self._pending
        if multiple:
            return [pending.pop(each) for each in list(takewhile(lambda t: t <= tag or not tag, pending))]
        entry = pending.pop(tag, None)
        return [] if entry is None else [entry]

    async def _publish_again(self, entry: _Pending) -> None:
        """The queue was not there: declare it and publish once more."""
        client = self._client
        self._returned += 1
        try:
            await self._declarations.declare(client, entry.key)
        except ChannelRefused as error:
            entry.done.errback(Returned(f"no queue for {entry.key}, and it cannot be made: {error}"))
            return
        except ConnectionGone as error:
            entry.done.errback(ConnectionLost(str(error)))
            return
        finally:
            self._returned -= 1
        if client is None or client is not self._client or client.closed or not self.ready:
            entry.done.errback(ConnectionLost("the connection was lost while the queue was declared"))
            return
        entry.returned, entry.again = False, True
        self._send(client, entry)


class AmqpPublisher(Publisher):
    """What :meth:`AmqpBroker.publisher` gives."""

    def __init__(self, publisher: ConfirmingPublisher, routing_key: str) -> None:
        self._publisher = publisher
        self._key = routing_key

    def publish(self, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> Deferred[None]:
        return self._publisher.publish(self._key, body, headers)


def _ignore_loss(failure: Failure) -> None:
    """A channel or connection that is gone is set up again by others."""
    failure.trap(ConnectionGone, ChannelRefused)
