"""``TurnChannels``: many channels in one process."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.web.resource import IResource

from ..caches.shared import ProcessCaches
from ..configuration.fields import ConfigErrors
from ..http.server import BoundedSite
from ..monitoring.health import ChannelHealth, FleetHealth
from ..monitoring.management import Management
from ..turn.webhook import Webhook, webhook_path
from ..vumi.worker import BaseWorker
from .fleet_config import PROCESS_OPTIONS, ChannelSpec, TurnChannelsConfig, channel_specs
from .process_bounds import ProcessBounds
from .routes import ChannelRoutes
from .standby import preferred_heartbeat
from .worker import TurnChannelsApi

log = Logger()

#: Seconds before a channel whose set-up has failed is tried again.
SET_UP_AGAIN = 10.0


class TurnChannels(BaseWorker[TurnChannelsConfig]):  # type: ignore[type-var]  # it has no connector of its own
    """
    Connects any number of vumi connectors to channels of Turn's, in one
    process: one pair of AMQP connections, one HTTP port, one ``/health``.

    Each channel is a worker of its own class, on the shared broker.
    """

    CONFIG_CLASS = TurnChannelsConfig

    def __init__(self, config: dict[str, Any], **given: Any) -> None:
        super().__init__(config, **given)
        self.management = Management(
            self.reactor,
            trace_key=self.config.trace_key,
            password=self.config.management_password,
            content=self.config.management_content,
            names=self.config.management_hosts,
        )
        self.caches = ProcessCaches()
        self.bounds = ProcessBounds()
        self.health = FleetHealth()
        self._raw_config = config
        self._routes = ChannelRoutes(self.reactor)
        self._channels: dict[str, _Channel] = {}
        for spec, worker in self._built:
            self._channels[spec.name] = _Channel(self, spec, worker)
        del self._built

    def _read(self, config: dict[str, Any]) -> tuple[TurnChannelsConfig, list[Any]]:
        """The options of the whole and of every channel; all that is wrong is told at once."""
        errors: list[str] = []
        try:
            static = TurnChannelsConfig(config)
        except ConfigErrors as error:
            errors.extend(error.errors)
        specs, wrong = channel_specs(config)
        errors.extend(wrong)
        self._built = self._build(specs, errors)
        if errors:
            raise ConfigErrors(errors)
        return static, []

    def _build(self, specs: list[ChannelSpec], errors: list[str]) -> list[tuple[ChannelSpec, TurnChannelsApi]]:
        """The workers of channels; what is wrong with their options is added to ``errors``."""
        built = []
        for spec in specs:
            try:
                built.append((spec, self._make(spec)))
            except ConfigErrors as error:
                errors.extend(f"{spec.label}.{each}" for each in error.errors)
        return built

    def _make(self, spec: ChannelSpec) -> TurnChannelsApi:
        worker: TurnChannelsApi = spec.worker_class(
            spec.options,
            host=self,
            broker=self.broker.scope(spec.name),
            reactor=self.reactor,
            system_id=self._system_id,
        )
        return worker

    @classmethod
    def preferred_heartbeat(cls, config: Mapping[str, Any]) -> Optional[float]:
        """One that stands by has to learn soon that the other is gone."""
        return preferred_heartbeat(config)

    # -- the worker's life ----------------------------------------------------

    async def setup_worker(self) -> None:
        """Listen, and start every channel; none waits for another."""
        management = self.management.resource(self.health, page=self.config.management_bind is not None)
        if self.config.management_bind is None:
            for path in (b"/health", b"/live", b"/metrics"):
                self._routes.put(path, management)
        else:
            await self.listen(self.config.management_bind, self._site(management))
        for channel in self._channels.values():
            self._routes.reserve(channel.path)
        await self.listen(self.config.http_bind, self._site(self._routes))
        for name, channel in self._channels.items():
            self.health.starting(name)
            channel.start()

    def _site(self, resource: IResource) -> BoundedSite:
        return BoundedSite(resource, self.reactor, self.config.max_request_size, observe=self._routes.refused)

    async def teardown_worker(self) -> None:
        """Stop every channel, all at once."""
        self.health.stopping = True
        await self._all([channel.stop() for channel in self._channels.values()])
        self.management.stop()

    @staticmethod
    async def _all(pending: list[Deferred[None]]) -> None:
        await DeferredList(pending)

    def health_components(self) -> dict[str, dict[str, Any]]:
        """As ``/health`` shows them: a part for each channel."""
        channels: dict[str, dict[str, Any]] = self.health.report()[1]["channels"]
        return channels

    def worker_of(self, name: str) -> TurnChannelsApi:
        """
        The worker of a running channel.

        :raises KeyError: there is none of that name.
        """
        return self._channels[name].worker

    # -- what channels ask of the process --------------------------------------

    async def serve(self, connector: str, webhook: Webhook, health: ChannelHealth) -> None:
        """See :class:`~vumi_turn.channel.host.ChannelHost`."""
        self._routes.put(webhook.path.encode("ascii"), webhook.route())
        self.health.add(connector, health)

    def withdraw(self, connector: str) -> None:
        """See :class:`~vumi_turn.channel.host.ChannelHost`."""
        self.management.remove(connector)

    # -- another configuration ---------------------------------------------------

    async def reload(self, config: dict[str, Any]) -> None:
        """
        Make the running channels those of a new configuration: what is new
        starts, what is gone stops, what has changed is restarted, and what is
        the same is not touched.

        :param config: the options, as they were read.
        :raises ConfigErrors: with everything that is wrong; then nothing has changed.
        """
        errors: list[str] = []
        try:
            TurnChannelsConfig(config)
        except ConfigErrors as error:
            errors.extend(error.errors)
        raw = {**config, **{key: self._raw_config.get(key) for key in PROCESS_OPTIONS}}
        raw = {key: value for key, value in raw.items() if key in self._raw_config or key not in PROCESS_OPTIONS}
        specs, wrong = channel_specs(raw)
        errors.extend(wrong)
        wanted = {spec.name: spec for spec in specs}
        changed = [spec for spec in specs if self._differs(spec)]
        built = self._build(changed, errors)
        if errors:
            raise ConfigErrors(errors)
        for key in sorted(PROCESS_OPTIONS):
            if config.get(key) != self._raw_config.get(key):
                log.warn("The option {key} is the process's own: its new value needs a restart", key=key)
        self._raw_config = raw
        gone = [name for name in self._channels if name not in wanted or name in {spec.name for spec in changed}]
        await self._all([self._channels[name].stop() for name in gone])
        for name in gone:
            self._forget(name)
        for spec, worker in built:
            channel = self._channels[spec.name] = _Channel(self, spec, worker)
            self._routes.reserve(channel.path)
            if not self.stopping:
                self.health.starting(spec.name)
                channel.start()
        log.info(
            "The configuration was read again: {started} channels started, {stopped} stopped, {kept} untouched",
            started=len(built),
            stopped=len(gone),
            kept=len(self._channels) - len(built),
        )

    def _differs(self, spec: ChannelSpec) -> bool:
        running = self._channels.get(spec.name)
        return running is None or running.differs_from(spec)

    def _forget(self, name: str) -> None:
        self._routes.drop(self._channels.pop(name).path)
        self.health.remove(name)
        self.management.remove(name)
        self.management.traces.remove(name)

    def set_up_failed(self, name: str, reason: str) -> None:
        """A channel's set-up has failed; it is tried again."""
        self.health.failed(name, reason)
        self.management.views.failed(name, reason)


class _Channel:
    """
    One running channel.

    :param fleet: what it belongs to.
    :param spec: what it was made of.
    :param worker: runs it.
    :ivar path: where Turn's POSTs to it are taken.
    :ivar worker: what runs it now.
    """

    def __init__(self, fleet: TurnChannels, spec: ChannelSpec, worker: TurnChannelsApi) -> None:
        self.path = webhook_path(worker.config.vumi_api_path).encode("ascii")
        self._fleet = fleet
        self._spec = spec
        self.worker = worker
        self._again: Optional[IDelayedCall] = None
        self._stopped = False

    def differs_from(self, spec: ChannelSpec) -> bool:
        """Whether a configuration asks for something else than what runs."""
        return (spec.worker_class, spec.options) != (self._spec.worker_class, self._spec.options)

    def start(self) -> None:
        """Start the worker; one that cannot be set up is started anew after :data:`SET_UP_AGAIN`."""
        self._again = None
        self.worker.fatal = self._failed
        self.worker.startService()

    def _failed(self) -> None:
        if self._stopped:
            return
        reason = self.worker.set_up_error or "its set-up has failed; the log says why"
        self._fleet.set_up_failed(self._spec.name, reason)
        self._fleet._routes.reserve(self.path)
        ensureDeferred(self._replace())

    async def _replace(self) -> None:
        """A worker is set up once: another takes the place of one that failed."""
        await self.worker.stopService()
        self._fleet.management.metrics.remove(self._spec.name)
        if self._stopped:
            return
        self.worker = self._fleet._make(self._spec)
        self._again = self._fleet.reactor.callLater(SET_UP_AGAIN, self.start)

    def stop(self) -> Deferred[None]:
        """Stop the worker as on SIGTERM; fires when that is over."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        return self.worker.stopService()
