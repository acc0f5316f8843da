"""
Publishing: one AMQP channel in confirm mode on the publishing connection, and a
publisher in front of it for each routing key.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from txamqp.protocol import AMQChannel

from ..interface import MAX_UNCONFIRMED, VUMI_EXCHANGE, BrokerUnavailable, ConnectionLost, Nacked, Publisher, Returned
from .client import Client
from .declare import declare_queue
from .errors import ChannelRefused, ConnectionGone
from .frames import Envelope, Receiver
from .transient import TransientPublisher

log = Logger()


class _Pending:
    """A publish that the broker has not confirmed yet."""

    __slots__ = ("done", "key", "body", "returned", "again")

    def __init__(self, done: Deferred[None], key: str, body: bytes) -> None:
        self.done = done
        self.key = key
        self.body = body
        self.returned = False
        self.again = False  # True for the second time, after a return


class ConfirmingPublisher(Receiver):
    """
    Publishes for all publishers of a broker, and follows each message until it is confirmed.

    :param new_id: makes ids that are unique: the prefix of the message ids of one connection.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._client: Optional[Client] = None
        self._channel: Optional[AMQChannel] = None
        self._number = 0
        self._prefix = ""
        self._last_tag = 0
        self._pending: dict[int, _Pending] = {}
        self._returned = 0
        self._envelopes: dict[str, Envelope] = {}
        self._declaring: dict[str, list[Deferred[None]]] = {}
        self._transients: list[TransientPublisher] = []
        self._logged: dict[str, str] = {}

    # Publishers

    def add(self, routing_key: str) -> AmqpPublisher:
        """A publisher for ``routing_key``, declared now or with the next connection."""
        if routing_key not in self._envelopes:
            self._envelopes[routing_key] = Envelope(VUMI_EXCHANGE, routing_key, persistent=True, mandatory=True)
            if self._client is not None:
                ensureDeferred(self._declare_late(routing_key)).addErrback(_unexpected)
        return AmqpPublisher(self, routing_key)

    def add_transient(self, exchange: str, routing_key: str) -> TransientPublisher:
        """A publisher of messages that may be lost."""
        publisher = TransientPublisher(exchange, routing_key)
        self._transients.append(publisher)
        if self._channel is not None and self._client is not None:
            publisher.attach(self._client)
        return publisher

    # The connection

    async def attach(self, client: Client) -> None:
        """
        Use a new connection.

        :raises ConnectionGone: the connection is gone.
        """
        self._client = client
        for key in list(self._envelopes):
            await self._declare_one(key)
        channel = await client.open_channel()
        client.attach(channel, self)
        await client.call(channel, "confirm_select")
        self._number, self._last_tag = channel.id, 0
        self._prefix = self._new_id()
        self._channel = channel
        for publisher in self._transients:
            publisher.attach(client)

    def detach(self) -> None:
        """The connection is gone: what was not confirmed may or may not be there."""
        self._client = self._channel = None
        pending, self._pending = self._pending, {}
        for publisher in self._transients:
            publisher.detach()
        for entry in pending.values():
            entry.done.errback(ConnectionLost("the connection was lost before RabbitMQ confirmed"))

    # Publishing

    def publish(self, key: str, body: bytes) -> Deferred[None]:
        """See :meth:`vumi_turn.broker.interface.Publisher.publish`."""
        client = self._client
        if client is None or self._channel is None or client.closed:
            return fail(BrokerUnavailable("there is no connection to RabbitMQ"))
        if client.blocked:
            return fail(BrokerUnavailable("RabbitMQ is blocked: it is short of memory or disk"))
        if len(self._pending) + self._returned >= MAX_UNCONFIRMED:
            return fail(BrokerUnavailable(f"{MAX_UNCONFIRMED} messages wait for RabbitMQ's confirmation"))
        done: Deferred[None] = Deferred()
        self._send(client, _Pending(done, key, body))
        return done

    def _send(self, client: Client, entry: _Pending) -> None:
        """Number and write in one step: the broker counts what it reads."""
        self._last_tag = tag = self._last_tag + 1
        self._pending[tag] = entry
        message_id = b"%s-%d" % (self._prefix.encode("ascii"), tag)
        client.write(self._envelopes[entry.key].pack(self._number, message_id, entry.body, client.frame_max))

    # What arrives on the channel

    def confirmed(self, tag: int, multiple: bool) -> None:
        for entry in self._settled(tag, multiple):
            if not entry.returned:
                entry.done.callback(None)
            elif entry.again:
                entry.done.errback(Returned(f"no queue takes messages for {entry.key}"))
            else:
                ensureDeferred(self._again(entry)).addErrback(_unexpected)

    def refused(self, tag: int, multiple: bool) -> None:
        for entry in self._settled(tag, multiple):
            entry.done.errback(Nacked("RabbitMQ could not take the message"))

    def returned(self, message_id: str) -> None:
        prefix, _, tag = message_id.rpartition("-")
        entry = self._pending.get(int(tag)) if prefix == self._prefix and tag.isdecimal() else None
        if entry is None:
            log.warn("RabbitMQ returned a message that is not among the unconfirmed ones")
        else:
            entry.returned = True

    def closed(self, error: Exception) -> None:
        if self._client is not None:
            self._client.give_up(f"RabbitMQ closed the publishing channel: {error}")

    def _settled(self, tag: int, multiple: bool) -> list[_Pending]:
        pending = self._pending
        if multiple:
            return [pending.pop(each) for each in list(takewhile(lambda t: t <= tag or not tag, pending))]
        entry = pending.pop(tag, None)
        return [] if entry is None else [entry]

    async def _again(self, entry: _Pending) -> None:
        """The queue was not there: declare it and publish once more."""
        client = self._client
        self._returned += 1
        try:
            await self._declare_shared(entry.key)
        except ChannelRefused as error:
            entry.done.errback(Returned(f"no queue for {entry.key}, and it cannot be made: {error}"))
            return
        except ConnectionGone as error:
            entry.done.errback(ConnectionLost(str(error)))
            return
        finally:
            self._returned -= 1
        if client is None or client is not self._client or client.closed:
            entry.done.errback(ConnectionLost("the connection was lost while the queue was declared"))
            return
        entry.returned, entry.again = False, True
        self._send(client, entry)

    # Declaring

    async def _declare_one(self, key: str) -> None:
        """Declare, and go on where RabbitMQ refuses: ``mandatory`` tells whether messages arrive."""
        try:
            await self._declare_shared(key)
        except ChannelRefused as error:
            if self._logged.get(key) != str(error):
                self._logged[key] = str(error)
                log.error(
                    "RabbitMQ does not let us declare the queue {queue} that we publish to ({reason})",
                    queue=key,
                    reason=str(error),
                )

    async def _declare_late(self, key: str) -> None:
        try:
            await self._declare_one(key)
        except ConnectionGone:
            pass  # the next connection declares it

    def _declare_shared(self, key: str) -> Deferred[None]:
        """Declare a queue; whoever asks meanwhile shares the answer."""
        done: Deferred[None] = Deferred()
        waiting = self._declaring.setdefault(key, [])
        waiting.append(done)
        if len(waiting) == 1:
            ensureDeferred(self._declare(key)).addBoth(self._tell, key)
        return done

    def _tell(self, result: Any, key: str) -> None:
        for waiting in self._declaring.pop(key):
            waiting.callback(result)

    async def _declare(self, key: str) -> None:
        """On a channel of its own, because a refusal closes it."""
        client = self._client
        if client is None:
            raise ConnectionGone("there is no connection")
        channel = await client.open_channel()
        await declare_queue(client, channel, key)
        await client.close_channel(channel)
        self._logged.pop(key, None)


class AmqpPublisher(Publisher):
    """What :meth:`AmqpBroker.publisher` gives."""

    def __init__(self, publishing: ConfirmingPublisher, routing_key: str) -> None:
        self._publishing = publishing
        self._key = routing_key

    def publish(self, body: bytes) -> Deferred[None]:
        return self._publishing.publish(self._key, body)


def _unexpected(failure: Failure) -> None:
    log.failure("Publishing to RabbitMQ failed unexpectedly", failure)
