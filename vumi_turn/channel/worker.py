"""``TurnChannelsApi``: a worker of one channel."""

from __future__ import annotations

import os
import random
from typing import Any, Mapping, Optional

from twisted.python.failure import Failure

from ..broker.interface import Delivery, Outcome
from ..caches import MessageCache
from ..configuration.fields import ConfigErrors
from ..http.connections import ProxyConfigurationError, ProxySettings
from ..monitoring.channel_monitor import ChannelMonitor
from ..monitoring.health import ChannelHealth
from ..monitoring.management import Management
from ..monitoring.recorder import DeliveryRecorder
from ..monitoring.watched import watch_channel
from ..turn.client import TurnClient
from ..vumi.application import ApplicationWorker
from ..vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage
from .channel import Channel
from .config import TurnChannelsApiConfig
from .host import ChannelHost, SingleHost
from .standby import StandbyState, preferred_heartbeat


class TurnChannelsApi(ApplicationWorker[TurnChannelsApiConfig]):
    """
    Connects a vumi connector to Turn's Channels API.

    People's messages and the events of our own messages are taken from the
    connector's queues and POSTed to Turn; what Turn POSTs to us is published
    to the connector.
    """

    CONFIG_CLASS = TurnChannelsApiConfig

    def __init__(self, config: dict[str, Any], *, host: Optional[ChannelHost] = None, **given: Any) -> None:
        """
        :param config: the options, as they were read.
        :param host: the process, where it has more channels than this one.
        :param given: what every worker is given; see :class:`~vumi_turn.vumi.worker.BaseWorker`.
        """
        super().__init__(config, **given)
        self.host = host
        # One that stands by consumes when it has the lock.
        self.UNPAUSE_CONNECTORS = not self.config.standby

    @classmethod
    def preferred_heartbeat(cls, config: Mapping[str, Any]) -> Optional[float]:
        """One that stands by has to learn soon that the other is gone."""
        return preferred_heartbeat(config)

    # -- set-up and stopping ------------------------------------------------

    def validate_config(self) -> None:
        """The proxy of the environment is part of the configuration."""
        try:
            ProxySettings.from_environment(os.environ)
        except ProxyConfigurationError as error:
            raise ConfigErrors([str(error)]) from None

    async def setup_application(self) -> None:
        """
        Build the channel, and listen: POSTs are answered from the start, with
        503 until the broker is there.
        """
        config = self.config
        if self.host is None:
            self.host = self._own_host()
        name, management = config.connector_name, self.host.management
        metrics = management.metrics.channel(name)
        recorder = DeliveryRecorder(metrics, management.traces.channel(name), self.reactor)
        self.cache: MessageCache = config.message_cache_class(
            config.message_cache_config, self.reactor, self.host.caches, connector=name
        )
        self.turn = self.make_turn_client()
        self.channel = Channel(
            config,
            broker=self.broker,
            connector=self.connectors[config.connector_name],
            turn=self.turn,
            cache=self.cache,
            recorder=recorder,
            clock=self.reactor,
            rng=random.Random(),
            bounds=self.host.bounds,
        )
        self.health = ChannelHealth(name, self.broker, self.channel.scheduler, self.cache, self._stands_by)
        parts: dict[str, Any] = {
            "broker": self.broker,
            "scheduler": self.channel.scheduler,
            "cache": self.cache,
            "queues": lambda: management.counters.of(name),
        }
        watch_channel(metrics, self.reactor, turn=self.turn, **parts)
        monitor = ChannelMonitor(name, recorder=recorder, health=self.health, clock=self.reactor, **parts)
        try:
            await self.cache.start()
            await self.host.serve(name, self.channel.webhook, self.health)
            self.channel.start()
        except BaseException:
            # A start that fails is not torn down, and the cache's connection mends itself for ever.
            await self.cache.stop()
            self.channel.forget()
            raise
        management.views.add(monitor)

    def _stands_by(self) -> bool:
        """Whether another worker consumes the connector, and this one waits."""
        return self.channel.standby is not None and self.channel.standby.state is StandbyState.WAITING

    def _own_host(self) -> ChannelHost:
        config = self.config
        return SingleHost(
            self.listen,
            self.reactor,
            http_bind=config.http_bind,
            management_bind=config.management_bind,
            max_request_size=config.max_request_size,
            management=Management(
                self.reactor,
                trace_key=config.trace_key,
                password=config.management_password,
                content=config.management_content,
                names=config.management_hosts,
            ),
        )

    def make_turn_client(self) -> TurnClient:
        """What POSTs to Turn; the place to put another one."""
        config = self.config
        return TurnClient(
            self.reactor,
            config.turn_api_url,
            config.auth_token,
            message_timeout=config.mo_message_url_timeout,
            status_timeout=config.event_url_timeout,
            pool_size=2 * config.amqp_prefetch_count,
            proxies=ProxySettings.from_environment(os.environ),
        )

    def health_components(self) -> dict[str, dict[str, Any]]:
        """As ``/health`` shows them."""
        components: dict[str, dict[str, Any]] = self.health.report()[1]["components"]
        return components

    async def teardown_application(self) -> None:
        """
        Let what is under way end, for up to ``shutdown_timeout``; what only
        waits has gone back to its queue before.
        """
        self.health.stopping = True
        await self.channel.stop(self.config.shutdown_timeout)
        assert self.host is not None, "a channel that was set up has a host"
        self.host.withdraw(self.config.connector_name)
        await self.turn.close()
        await self.cache.stop()

    # -- vumi's names for the flows -------------------------------------------

    async def consume_user_message(self, message: TransportUserMessage) -> Outcome:
        """Hand a person's message to Turn."""
        return await self.channel.deliver_message(message)

    async def close_session(self, message: TransportUserMessage) -> Outcome:
        """Note that a session has ended."""
        return await self.channel.end_session(message)

    async def consume_ack(self, event: TransportEvent) -> Outcome:
        """Tell Turn that the network has taken one of our messages."""
        return await self.channel.deliver_status(event)

    async def consume_nack(self, event: TransportEvent) -> Outcome:
        """Tell Turn that the network has refused one of our messages."""
        return await self.channel.deliver_status(event)

    async def consume_delivery_report(self, event: TransportEvent) -> Outcome:
        """Tell Turn what the network reports of one of our messages."""
        return await self.channel.deliver_status(event)

    async def malformed(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        """Park what is not a vumi message."""
        return await self.channel.park_malformed(delivery, error)

    async def failed(self, delivery: Delivery, message: object, failure: Failure) -> Outcome:
        """Park a message on which our own code, or a middleware's, has failed."""
        return await self.channel.park_failed(delivery, failure)
