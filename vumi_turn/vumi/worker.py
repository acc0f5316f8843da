"""
The life of a worker: how it is set up, what it owns, how it stops.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Generic, Mapping, Optional, Union

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import TypeVar

from ..broker.interface import Broker, BrokerState, Delivery, Outcome
from ..configuration.fields import ConfigErrors
from ..http.kept_ports import KeptPorts, Listening
from ..http.listening import is_inherited, join
from ..timing.timeouts import Timeouts
from .config import ApplicationConfig, WorkerConfig
from .connectors import BaseConnector, ReceiveInboundConnector, ReceiveOutboundConnector
from .failed_messages import FailedMessages
from .heartbeat import Heartbeat
from .lifecycle import TooSlow, WorkerLifecycle
from .messages import MalformedMessage
from .middleware import BaseMiddleware
from .middlewares import create_middlewares

log = Logger()

C = TypeVar("C", bound=BaseConnector)

#: A worker's configuration: what its ``CONFIG_CLASS`` makes.
ConfigT = TypeVar("ConfigT", bound=WorkerConfig, default=ApplicationConfig)


class DuplicateConnectorError(Exception):
    """A worker was asked for a second connector of the same name."""


class BaseWorker(WorkerLifecycle, Generic[ConfigT]):
    """
    A worker: connectors, middlewares and heartbeats, set up at the start and
    taken down at the end. Applications derive from
    :class:`~vumi_turn.vumi.application.ApplicationWorker`.

    A worker with options of its own derives from ``BaseWorker[ItsConfig]`` and
    says ``CONFIG_CLASS = ItsConfig``; a type checker then knows ``self.config``.

    :param config: the options, as they were read.
    :param broker: the worker starts and stops it.
    :param reactor: the clock, and what it listens and connects with.
    :param system_id: for the heartbeats.
    :param fatal: stops the process with exit status 1; called after a set-up
        that failed, which has been logged.
    :raises ConfigErrors: with everything that is wrong with ``config``.
    :ivar when_set_up: fires once with whether the set-up has worked.
    :ivar set_up_error: why it has not, as a sentence.
    :ivar config: the options, as ``CONFIG_CLASS`` reads them.
    :ivar connectors: by name.
    :ivar middlewares: in the order of the configuration.
    :ivar stopping: True from the moment that the worker is told to stop.
    :ivar kept_ports: what it listens on; the process's, where another worker may take its place.
    """

    CONFIG_CLASS: type[Any] = ApplicationConfig
    config: ConfigT

    def __init__(
        self,
        config: dict[str, Any],
        *,
        broker: Broker,
        reactor: Any,
        system_id: str = "global",
        fatal: Optional[Callable[[], None]] = None,
    ) -> None:
        super().__init__()
        self.broker = broker
        self.reactor = reactor
        self.fatal = fatal
        self.connectors: dict[str, Any] = {}
        self.stopping = False
        self._system_id = system_id
        self.config, self.middlewares = self._read(config)
        self._ready_middlewares: list[BaseMiddleware] = []
        self._ports: list[IListeningPort] = []
        self._inherited: list[tuple[IListeningPort, IProtocolFactory]] = []
        self._served: list[tuple[IListeningPort, IProtocolFactory]] = []
        self.kept_ports = KeptPorts()
        self._rests = Timeouts(reactor)
        most = getattr(self.config, "max_failures", 0)
        self._failed_messages = FailedMessages(broker, reactor, self._rests.sleep, most)
        self.when_set_up: Deferred[bool] = Deferred()
        self.set_up_error = ""
        self._set_up: Deferred[None] = Deferred()
        self._is_set_up = False
        self._heartbeat: Optional[Heartbeat] = None

    def _read(self, config: dict[str, Any]) -> tuple[ConfigT, list[BaseMiddleware]]:
        errors: list[str] = []
        middlewares: list[BaseMiddleware] = []
        try:
            static: ConfigT = self.CONFIG_CLASS(config, static=True)
        except ConfigErrors as error:
            errors.extend(error.errors)
        if isinstance(config.get("middleware"), (list, tuple)):  # else it is an error already, or none
            try:
                middlewares = create_middlewares(config, self)
            except ConfigErrors as error:
                errors.extend(error.errors)
        if errors:
            raise ConfigErrors(errors)
        return static, middlewares

    @classmethod
    def preferred_heartbeat(cls, config: Mapping[str, Any]) -> Optional[float]:
        """
        The seconds between AMQP heartbeats, where a worker needs others than the default.

        :param config: the options, as they were read.
        """
        return None

    # -- for those who write workers ------------------------------------------

    def get_static_config(self) -> ConfigT:
        """The options; legacy vumi's name for :attr:`config`."""
        return self.config

    async def get_config(self, message: Any, ctxt: Any = None) -> ConfigT:
        """The options for one message; a worker whose options differ by message overrides this."""
        return self.config

    async def malformed(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        """
        Say what becomes of a delivery that is not a vumi message. As it is:
        logged and parked in ``<connector>.failures_of_application``.
        """
        return await self._failed_messages.malformed(delivery, error)

    async def failed(self, delivery: Delivery, message: Any, failure: Failure) -> Outcome:
        """
        Say what becomes of a message on which a handler or a middleware
        failed. As it is: logged, and requeued after 1 s, doubling to 60 s;
        after ``max_failures`` times parked in ``<connector>.failures_of_application``.
        """
        return await self._failed_messages.failed(delivery, failure)

    async def listen(self, endpoint: Union[str, IStreamServerEndpoint], factory: IProtocolFactory) -> IListeningPort:
        """
        Listen until the worker has stopped: the port is closed after
        :meth:`teardown_worker`.

        :param endpoint: an endpoint, or its description as of Twisted.
        :param factory: makes a protocol for each connection.
        :raises CannotListenError: the address is taken or not ours.
        :raises ConfigErrors: the endpoint's file cannot be made.
        """
        try:
            if isinstance(endpoint, str):
                port, was_kept = await self.kept_ports.listen(self.reactor, endpoint, factory)
            else:
                port, was_kept = Listening(await endpoint.listen(factory), False)
        except OSError as error:
            raise ConfigErrors([f"it cannot listen on {endpoint} ({error.strerror})"]) from None
        self._ports.append(port)
        self._served.append((port, factory))
        if is_inherited(endpoint):
            self._inherited.append((port, factory))
        if was_kept or is_inherited(endpoint):
            ensureDeferred(self._accept(port))
        self.log.info("{worker} listens on {address}", worker=type(self).__name__, address=_shown(port.getHost()))
        return port

    async def _accept(self, port: IListeningPort) -> None:
        """A boundary: nobody waits for it."""
        try:
            await join(port, self._can_publish, self._rests.sleep)
        except TooSlow:
            pass  # the worker stops
        except Exception:
            self.log.failure("Accepting connections failed")

    def _can_publish(self) -> bool:
        return self.broker.state in (BrokerState.CONNECTED, BrokerState.BLOCKED)

    def health_components(self) -> dict[str, dict[str, Any]]:
        """
        How each part is, by name: at least ``health``, one of ``ok``,
        ``degraded`` and ``down``. A worker with more parts adds them.
        """
        well = self.broker.state is BrokerState.CONNECTED and not self.stopping
        return {"amqp": {"health": "ok" if well else "down", "state": self.broker.state.value}}

    def report_health(self) -> dict[str, Any]:
        """The worst of the parts as ``health``, and all of them as ``components``."""
        components = self.health_components()
        found = {part["health"] for part in components.values()}
        worst = next((one for one in ("down", "degraded") if one in found), "ok")
        return {"health": worst, "components": components}

    # -- connectors -----------------------------------------------------------

    def setup_connector(self, connector_class: type[C], name: str, middleware: bool = True) -> Deferred[C]:
        """
        Make a connector, paused.

        :param connector_class: what kind.
        :param name: its name, in lower case.
        :param middleware: whether its messages pass the middlewares.
        :return: the connector, at once.
        :raises DuplicateConnectorError: there is one of that name.
        """
        if name in self.connectors:
            raise DuplicateConnectorError(f"there is a connector of the name {name!r} already")
        connector = connector_class(
            name,
            self.broker,
            prefetch=self.config.amqp_prefetch_count,
            middlewares=self.middlewares if middleware else (),
            clock=self.reactor,
            on_malformed=self.malformed,
            on_error=self.failed,
        )
        self.connectors[name] = connector
        return succeed(connector)

    def setup_ri_connector(self, name: str, middleware: bool = True) -> Deferred[ReceiveInboundConnector]:
        """A connector as applications have it; parameters as for :meth:`setup_connector`."""
        return self.setup_connector(ReceiveInboundConnector, name, middleware)

    def setup_ro_connector(self, name: str, middleware: bool = True) -> Deferred[ReceiveOutboundConnector]:
        """A connector as transports have it; parameters as for :meth:`setup_connector`."""
        return self.setup_connector(ReceiveOutboundConnector, name, middleware)

    def pause_connectors(self) -> Deferred[None]:
        """Take no new messages for now."""
        for connector in self.connectors.values():
            connector.pause()
        return succeed(None)

    def unpause_connectors(self) -> Deferred[None]:
        """Take messages (again)."""
        for connector in self.connectors.values():
            connector.unpause()
        return succeed(None)


def _shown(address: Any) -> str:
    """Where something listens, as one would type it."""
    if isinstance(address, UNIXAddress):
        return os.fsdecode(address.name or b"")
    host = getattr(address, "host", None)
    if host is None:
        return str(address)
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
