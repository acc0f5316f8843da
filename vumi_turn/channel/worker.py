"""``TurnChannelsApi``: a worker of one channel."""

from __future__ import annotations

import random
from typing import Any

from twisted.python.failure import Failure

from ..broker.interface import Delivery, Outcome
from ..caches import MessageCache
from ..http.server import BoundedSite
from ..monitoring.health import Health, management_resource, watch_channel
from ..monitoring.metrics import MetricsRegistry
from ..turn.client import TurnClient
from ..vumi.application import ApplicationWorker
from ..vumi.messages import MalformedMessage, TransportEvent, TransportUserMessage
from .channel import Channel
from .config import TurnChannelsApiConfig


class TurnChannelsApi(ApplicationWorker[TurnChannelsApiConfig]):
    """
    Connects a vumi connector to Turn's Channels API.

    People's messages and the events of our own messages are taken from the
    connector's queues and POSTed to Turn; what Turn POSTs to us is published
    to the connector.
    """

    CONFIG_CLASS = TurnChannelsApiConfig

    # -- set-up and stopping ------------------------------------------------

    async def setup_application(self) -> None:
        """
        Build the channel, and listen: POSTs are answered from the start, with
        503 until the broker is there.
        """
        config = self.config
        self.metrics = MetricsRegistry()
        channel_metrics = self.metrics.channel(config.connector_name)
        self.cache: MessageCache = config.message_cache_class(config.message_cache_config, self.reactor)
        self.turn = self.make_turn_client()
        self.channel = Channel(
            config,
            broker=self.broker,
            connector=self.connectors[config.connector_name],
            turn=self.turn,
            cache=self.cache,
            metrics=channel_metrics,
            clock=self.reactor,
            rng=random.Random(),
        )
        self.health = Health(self.broker, self.channel.scheduler, self.cache)
        watch_channel(
            channel_metrics,
            self.reactor,
            broker=self.broker,
            scheduler=self.channel.scheduler,
            cache=self.cache,
            turn=self.turn,
        )
        try:
            await self.cache.start()
            await self._listen()
        except BaseException:
            # A start that fails is not torn down, and the cache's connection mends itself for ever.
            await self.cache.stop()
            raise

    async def _listen(self) -> None:
        """Listen on ``http_bind``, and for whoever watches us there or on ``management_bind``."""
        management = management_resource(self.health, self.metrics, self.reactor)
        beside = {}
        if self.config.management_bind is None:
            beside = {b"/health": management, b"/metrics": management}
        else:
            site = BoundedSite(management, self.reactor, self.config.max_request_size)
            await self.listen(self.config.management_bind, site)
        await self.listen(self.config.http_bind, self.channel.webhook.site(beside))

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
