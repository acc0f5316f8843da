"""How a worker is set up, and how it stops."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import Any, Callable, Optional

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from .._version import __version__
from ..broker.interface import Broker
from ..configuration.fields import ConfigErrors
from ..http.kept_ports import KeptPorts
from ..http.listening import leave
from ..timing.named_log import named
from ..timing.timeouts import Timeouts, deferred_of
from .heartbeat import Heartbeat
from .messages import generate_id
from .middleware import MIDDLEWARE_TIMEOUT, BaseMiddleware

log = Logger()

#: Seconds that stopping may take beyond the configured ``shutdown_timeout``.
STOP_MARGIN = 5.0

#: ``shutdown_timeout`` of workers whose configuration has no such option, in seconds.
SHUTDOWN_TIMEOUT = 10.0

#: Seconds for closing the broker's connections.
BROKER_STOP_TIMEOUT = 3.0


class TooSlow(Exception):
    """A part of the set-up or of stopping took too long."""


class WorkerLifecycle(MultiService):
    """
    The start and the end of a :class:`~vumi_turn.vumi.worker.BaseWorker`,
    which has the attributes and the hooks.
    """

    config: Any
    broker: Broker
    reactor: Any
    fatal: Optional[Callable[[], None]]
    connectors: dict[str, Any]
    middlewares: list[BaseMiddleware]
    when_set_up: Deferred[bool]
    set_up_error: str
    stopping: bool
    kept_ports: KeptPorts

    _system_id: str
    _ready_middlewares: list[BaseMiddleware]
    _ports: list[IListeningPort]
    _inherited: list[tuple[IListeningPort, IProtocolFactory]]
    _served: list[tuple[IListeningPort, IProtocolFactory]]
    _rests: Timeouts
    _set_up: Deferred[None]
    _is_set_up: bool
    _heartbeat: Optional[Heartbeat]

    @property
    def log(self) -> Logger:
        """Names the connector, where the worker has one."""
        return named(log, getattr(self.config, "connector_name", None) or "")

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

    # -- the start ------------------------------------------------------------

    def startService(self) -> None:
        """Start the broker, and set up; nothing waits until the broker is there."""
        super().startService()
        self.log.info("{worker} is starting (vumi_turn {version})", worker=type(self).__name__, version=__version__)
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
            self.set_up_error = reason
            self.log.critical("{worker} cannot start: {reason}", worker=name, reason=reason)
        else:
            error_id = generate_id()
            self.set_up_error = f"its set-up failed; the log has the error {error_id}"
            self.log.failure("{worker} cannot start (error {error_id})", failure, worker=name, error_id=error_id)
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
        # A port that another worker goes on with is left as one that another process has.
        for port, factory in self._served if self.kept_ports.keeping else self._inherited:
            await self._finish("leaving a port", partial(leave, port, factory, self.reactor), deadline)
        if self._is_set_up:
            await self._finish("finishing what is under way", self.teardown_worker, deadline)
        for port in self._ports:
            await self._finish("closing a port", partial(self.kept_ports.release, port), deadline)
        for connector in self.connectors.values():
            connector.teardown()
        for middleware in reversed(self._ready_middlewares):
            title = f"taking down the middleware {middleware.name}"
            await self._finish(title, middleware.teardown_middleware, deadline)
        if self._heartbeat is not None:
            self._heartbeat.stop()
        await self._finish("closing the broker's connections", self._stop_broker, None)
        await _done(super().stopService())
        self.log.info("{worker} has stopped", worker=type(self).__name__)

    def _stop_broker(self) -> Deferred[None]:
        return self.broker.stop(BROKER_STOP_TIMEOUT)

    async def _finish(self, what: str, finish: Callable[[], Any], deadline: Optional[float]) -> None:
        """Do one part of stopping, whatever comes of it; each has at least a second."""
        seconds = BROKER_STOP_TIMEOUT + 1 if deadline is None else deadline - self.reactor.seconds()
        try:
            await self._bounded(finish(), max(seconds, 1.0), what)
        except TooSlow as error:
            self.log.error("While stopping: {error}", error=str(error))
        except Exception:  # the other parts have to be stopped all the same
            self.log.failure("Stopping, {what} failed", what=what)

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
