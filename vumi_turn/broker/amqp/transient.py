"""Publishing of messages that may be lost: heartbeats."""

from __future__ import annotations

from typing import Optional

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.logger import Logger
from txamqp.protocol import AMQChannel

from ..interface import BrokerUnavailable, Publisher
from .client import Client
from .declare import declare_exchange
from .errors import ChannelRefused, ConnectionGone
from .frames import Envelope, Receiver

log = Logger()


class TransientPublisher(Publisher, Receiver):
    """
    What :meth:`AmqpBroker.transient_publisher` gives. It has an AMQP
    channel of its own, because a refused publish closes the channel.
    """

    def __init__(self, exchange: str, routing_key: str) -> None:
        self._exchange = exchange
        self._envelope = Envelope(exchange, routing_key, persistent=False, mandatory=False)
        self._client: Optional[Client] = None
        self._channel: Optional[AMQChannel] = None
        self._opening = False
        self._logged = ""

    def attach(self, client: Client) -> None:
        """Use a new connection."""
        self._client = client
        self._open()

    def detach(self) -> None:
        """The connection is gone."""
        self._client = self._channel = None

    def closed(self, error: Exception) -> None:
        self._refused(error)

    def publish(self, body: bytes) -> Deferred[None]:
        client = self._client
        if client is None or client.closed or client.blocked:
            return fail(BrokerUnavailable("there is no connection to RabbitMQ, or it is blocked"))
        if self._channel is None:
            self._open()
        if self._channel is None:
            return fail(BrokerUnavailable(f"the exchange {self._exchange} is not declared yet"))
        client.write(self._envelope.pack(self._channel.id, b"", body, client.frame_max))
        return succeed(None)

    def _open(self) -> None:
        if self._client is not None and not self._opening:
            ensureDeferred(self._declare(self._client)).addErrback(
                lambda failure: log.failure(
                    "The exchange {exchange} could not be set up", failure, exchange=self._exchange
                )
            )

    async def _declare(self, client: Client) -> None:
        self._opening = True
        try:
            channel = await client.open_channel()
            client.attach(channel, self)
            await declare_exchange(client, channel, self._exchange)
        except ChannelRefused as error:
            self._refused(error)
        except ConnectionGone:
            pass
        else:
            self._channel = channel
        finally:
            self._opening = False

    def _refused(self, error: Exception) -> None:
        self._channel = None
        if self._logged != str(error):
            self._logged = str(error)
            log.error(
                "RabbitMQ does not let us publish to the exchange {exchange} ({reason})",
                exchange=self._exchange,
                reason=str(error),
            )
