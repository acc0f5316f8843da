"""Publishing of messages that may be lost: heartbeats."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from txamqp.protocol import AMQChannel

from ...timing.named_log import named
from ..errors import BrokerUnavailable
from ..interface import Publisher
from .client import Client
from .declare import Declarer, PermissionLog
from .errors import ChannelRefused, ConnectionGone
from .frames import Envelope, Receiver, pack_headers

log = Logger()


class TransientPublisher(Publisher, Receiver):
    """
    What :meth:`AmqpBroker.transient_publisher` gives. It has an AMQP channel of
    its own, because a refused publish closes the channel.

    :param connector: whose it is, named in log lines; empty where it is no single one's.
    :ivar channel: that channel, None while there is none.
    """

    def __init__(self, exchange: str, routing_key: str, connector: str = "") -> None:
        self._log = named(log, connector)
        self._about = {"connector": connector} if connector else {}
        self.channel: Optional[AMQChannel] = None
        self._exchange = exchange
        self._envelope = Envelope(exchange, routing_key, persistent=False, mandatory=False)
        self._client: Optional[Client] = None
        self._opening = False
        self._permissions = PermissionLog()
        self._logged = ""

    def attach(self, client: Client) -> None:
        """Use a new connection."""
        self._client = client
        if self.channel is None:
            self._open()

    def detach(self) -> None:
        """The connection is gone."""
        self._client = self.channel = None

    def closed(self, error: Exception) -> None:
        self._refused(error)

    def publish(self, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> Deferred[None]:
        client = self._client
        if client is None or client.closed or client.blocked:
            return fail(BrokerUnavailable("there is no connection to RabbitMQ, or it is blocked"))
        if self.channel is None:
            self._open()
        if self.channel is None:
            return fail(BrokerUnavailable(f"the exchange {self._exchange} is not declared yet"))
        try:
            packed = pack_headers(headers, client.frame_max)
        except ValueError:
            return fail(Failure())
        client.write(self._envelope.pack(self.channel.id, b"", body, client.frame_max, packed))
        return succeed(None)

    def _open(self) -> None:
        if self._client is not None and not self._opening:
            ensureDeferred(self._declare(self._client)).addErrback(
                lambda failure: self._log.failure(
                    "The exchange {exchange} could not be set up", failure, exchange=self._exchange
                )
            )

    async def _declare(self, client: Client) -> None:
        self._opening = True
        try:
            declarer = Declarer(client, **self._about)
            await declarer.exchange(self._exchange)
            await declarer.close()
            self._permissions.note(f"the exchange {self._exchange}", declarer.refusals, **self._about)
            channel = await client.open_channel(**self._about)
            if client is self._client:
                client.attach(channel, self)
                self.channel = channel
            else:  # stopped meanwhile
                await client.close_channel(channel)
        except ChannelRefused as error:
            self._refused(error)
        except ConnectionGone:
            pass
        finally:
            self._opening = False

    def _refused(self, error: Exception) -> None:
        self.channel = None
        if self._logged != str(error):
            self._logged = str(error)
            self._log.error(
                "RabbitMQ does not let us publish to the exchange {exchange} ({reason})",
                exchange=self._exchange,
                reason=str(error),
            )
