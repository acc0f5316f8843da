"""
The life of a worker: how it is set up, what it owns, how it stops.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Callable, Generic, Optional, Union

from twisted.application.service import MultiService
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import TypeVar

from .._version import __version__
from ..broker.interface import Broker, BrokerState, Delivery, Outcome
from ..configuration.fields import ConfigErrors
from ..http.listening import server_endpoint
from ..timing.timeouts import Timeouts, deferred_of
from .config import ApplicationConfig
from .connectors import BaseConnector, ReceiveInboundConnector, ReceiveOutboundConnector
from .heartbeat import Heartbeat
from .messages import MalformedMessage, generate_id
from .middleware import MIDDLEWARE_TIMEOUT, BaseMiddleware
from .middlewares import create_middlewares

log = Logger()

#: Seconds before a message goes back to its queue that nobody could handle.
REQUEUE_DELAY = 5.0

#: Seconds that stopping may take beyond the configured ``shutdown_timeout``.
STOP_MARGIN = 5.0

#: ``shutdown_timeout`` of workers whose configuration has no such option, in seconds.
SHUTDOWN_TIMEOUT = 10.0

#: Seconds for closing the broker's connections.
BROKER_STOP_TIMEOUT = 3.0

C = TypeVar("C", bound=BaseConnector)

#: A worker's configuration: what its ``CONFIG_CLASS`` makes.
ConfigT = TypeVar("ConfigT", bound=ApplicationConfig, default=ApplicationConfig)


class DuplicateConnectorError(Exception):
    """A worker was asked for a second connector of the same name."""


class TooSlow(Exception):
    """A part of the set-up or of stopping took too long."""


class BaseWorker(MultiService, Generic[ConfigT]):
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
    :ivar config: the options, as ``CONFIG_CLASS`` reads them.
    :ivar connectors: by name.
    :ivar middlewares: in the order of the configuration.
    :ivar stopping: True from the moment that the worker is told to stop.
    """

    CONFIG_CLASS: type[Any] = ApplicationConfig

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
        self._rests = Timeouts(reactor)
        self.when_set_up: Deferred[bool] = Deferred()
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

    # -- for those who write workers ------------------------------------------

    def get_static_config(self) -> ConfigT:
        """The options; legacy vumi's name for :attr:`config`."""
        return self.config

    async def get_config(self, message: Any, ctxt: Any = None) -> ConfigT:
        """The options for one message; a worker whose options differ by message overrides this."""
        return self.config

    def validate_config(self) -> Any:
        """Check what ``CONFIG_CLASS`` cannot; an exception here stops the start."""

    def setup_connectors(self) -> Any:
        """Set up the connectors that the worker starts with."""

    def setup_worker(self) -> Any:
        """Get ready and unpause; the last part of the start."""

    def teardown_worker(self) -> Any:
        """Finish what is under way; the first part of stopping. Not called if the set-up failed."""

    def custom_heartbeat_attrs(self) -> dict[str, Any]:
        """Attributes to add to each heartbeat."""
        return {}

    async def malformed(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        """
        Say what becomes of a delivery that is not a vumi message. As it is:
        logged, and requeued after a while.
        """
        error_id = generate_id()
        log.error(
            "What came from {queue} is not a vumi message ({reason}); it goes back (error {error_id})",
            queue=delivery.queue,
            reason=str(error),
            error_id=error_id,
        )
        return await self._requeue_later()

    async def failed(self, delivery: Delivery, message: Any, failure: Failure) -> Outcome:
        """
        Say what becomes of a message on which a handler or a middleware
        failed. As it is: logged, and requeued after a while.
        """
        log.failure(
            "Handling a message from {queue} failed; it goes back (error {error_id})",
            failure,
            queue=delivery.queue,
            error_id=generate_id(),
        )
        return await self._requeue_later()

    async def _requeue_later(self) -> Outcome:
        await self._rests.sleep(REQUEUE_DELAY)
        return Outcome.REQUEUE

    async def listen(self, endpoint: Union[str, IStreamServerEndpoint], factory: IProtocolFactory) -> IListeningPort:
        """
        Listen until the worker has stopped: the port is closed after
        :meth:`teardown_worker`.

        :param endpoint: an endpoint, or its description as of Twisted.
        :param factory: makes a protocol for each connection.
        :raises CannotListenError: the address is taken or not ours.
        :raises ConfigErrors: the endpoint's file cannot be made.
        """
        where: Any = server_endpoint(self.reactor, endpoint) if isinstance(endpoint, str) else endpoint
        try:
            port: IListeningPort = await where.listen(factory)
        except OSError as error:
            raise ConfigErrors([f"it cannot listen on {endpoint} ({error.strerror})"]) from None
        self._ports.append(port)
        log.info("{worker} listens on {address}", worker=type(self).__name__, address=_shown(port.getHost()))
        return port

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

    # -- the start ------------------------------------------------------------

    def startService(self) -> None:
        """Start the broker, and set up; nothing waits until the broker is there."""
        super().startService()
        log.info("{worker} is starting (vumi_turn {version})", worker=type(self).__name__, version=__version__)
        self.broker.start()
        self._set_up = ensureDeferred(self._start())
        self._set_up.addErrback(self._not_started)

    async def _start(self) -> None:
        await _done(self.validate_config())
        await self._set_up_middlewares()
        self._start_heartbeat()
        await _done(self.setup_connectors())
        await _done(self.setup_worker())
        self._is_set_up = True
        self.when_set_up.callback(True)

    async def _set_up_middlewares(self) -> None:
        for middleware in self.middlewares:
            title = f"setting up the middleware {middleware.name}"
            await self._bounded(middleware.setup_middleware(), MIDDLEWARE_TIMEOUT, title)
            self._ready_middlewares.append(middleware)

    def _start_heartbeat(self) -> None:
        name = self.config.worker_name
        if not name:
            return
        self._heartbeat = Heartbeat(
            self.broker,
            self.reactor,
            system_id=self._system_id,
            worker_name=name,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            more=self.custom_heartbeat_attrs,
        )
        self._heartbeat.start()

    def _not_started(self, failure: Failure) -> None:
        if self.stopping:
            self.when_set_up.callback(False)
            return
        name = type(self).__name__
        if failure.check(ConfigErrors, CannotListenError):
            reason = "; ".join(getattr(failure.value, "errors", None) or [str(failure.value)])
            log.critical("{worker} cannot start: {reason}", worker=name, reason=reason)
        else:
            error_id = generate_id()
            log.failure("{worker} cannot start (error {error_id})", failure, worker=name, error_id=error_id)
        self.when_set_up.callback(False)
        if self.fatal is not None:
            self.fatal()

    # -- stopping -------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """
        Take no more messages, let the worker finish, and close everything;
        fires when the broker's connections are closed.
        """
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        self.stopping = True
        self._set_up.cancel()
        for connector in self.connectors.values():
            connector.stop_consuming()
        self._rests.end(lambda: TooSlow("the worker is stopping"))
        timeout = getattr(self.config, "shutdown_timeout", None)
        deadline = self.reactor.seconds() + (SHUTDOWN_TIMEOUT if timeout is None else timeout) + STOP_MARGIN
        if self._is_set_up:
            await self._finish("finishing what is under way", self.teardown_worker, deadline)
        for port in self._ports:
            await self._finish("closing a port", port.stopListening, deadline)
        for connector in self.connectors.values():
            connector.teardown()
        for middleware in reversed(self._ready_middlewares):
            title = f"taking down the middleware {middleware.name}"
            await self._finish(title, middleware.teardown_middleware, deadline)
        if self._heartbeat is not None:
            self._heartbeat.stop()
        await self._finish("closing the broker's connections", self._stop_broker, None)
        await _done(super().stopService())
        log.info("{worker} has stopped", worker=type(self).__name__)

    def _stop_broker(self) -> Deferred[None]:
        return self.broker.stop(BROKER_STOP_TIMEOUT)

    async def _finish(self, what: str, finish: Callable[[], Any], deadline: Optional[float]) -> None:
        """Do one part of stopping, whatever comes of it; each has at least a second."""
        seconds = BROKER_STOP_TIMEOUT + 1 if deadline is None else deadline - self.reactor.seconds()
        try:
            await self._bounded(finish(), max(seconds, 1.0), what)
        except TooSlow as error:
            log.error("While stopping: {error}", error=str(error))
        except Exception:  # the other parts have to be stopped all the same
            log.failure("Stopping, {what} failed", what=what)

    async def _bounded(self, result: Any, seconds: float, what: str) -> None:
        pending = deferred_of(result)
        if pending is not None:
            late = TooSlow(f"{what} took longer than {seconds:g} s")
            await Timeouts(self.reactor).bound(pending, seconds, lambda: late)


async def _done(result: Any) -> None:
    """Wait for what a method gave back, if that is something to wait for."""
    pending = deferred_of(result)
    if pending is not None:
        await pending


def _shown(address: Any) -> str:
    """Where something listens, as one would type it."""
    if isinstance(address, UNIXAddress):
        return os.fsdecode(address.name or b"")
    host = getattr(address, "host", None)
    if host is None:
        return str(address)
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
