"""
The worker of this process, which reads its configuration again on SIGHUP.

::

    state       event                                next state
    running     SIGHUP, file wrong or unchanged      running
    running     SIGHUP, worker is Reloadable         running (the worker goes on with what is new)
    running     SIGHUP, any other worker             restarting
    restarting  the new worker is set up             running
    restarting  the new worker could not be set up   restarting, with the configuration before
"""

from __future__ import annotations

import signal
from typing import Any, Callable, Protocol, runtime_checkable

from twisted.application.service import MultiService
from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..configuration.fields import ConfigErrors
from ..configuration.files import SettingsError
from ..http.kept_ports import KeptPorts
from ..vumi.worker import BaseWorker
from .twistd_process import TwistdProcess, end_with_failure, on_signal

log = Logger()


@runtime_checkable
class Reloadable(Protocol):
    """A worker that takes another configuration without being restarted."""

    async def reload(self, config: dict[str, Any]) -> None:
        """
        Go on with other options. Returns when they are in use.

        :param config: all options, as they were read.
        :raises ConfigErrors: they cannot be used; nothing has changed.
        """


class WorkerHost(MultiService):
    """
    Runs a worker, and another one after a change of its configuration.

    :param make: makes a worker of its options and of what to call when it cannot start.
    :param read: reads the options.
    :param config: the options that were read first.
    :param reactor: delivers signals; is stopped when the first start fails.
    :param process: told how the start went.
    """

    def __init__(
        self,
        make: Callable[[dict[str, Any], Callable[[], None]], BaseWorker[Any]],
        read: Callable[[], dict[str, Any]],
        config: dict[str, Any],
        reactor: Any,
        process: TwistdProcess,
    ) -> None:
        super().__init__()
        self._make = make
        self._read = read
        self._config = config
        self._reactor = reactor
        self._process = process
        self._reloading = False
        self._again = False
        self._ports = KeptPorts()
        self.worker = self._made(config, self._cannot_start)
        self.worker.setServiceParent(self)

    def _made(self, config: dict[str, Any], fatal: Callable[[], None]) -> BaseWorker[Any]:
        worker = self._make(config, fatal)
        worker.kept_ports = self._ports
        return worker

    def startService(self) -> None:
        """Start the worker, and listen to SIGHUP."""
        self._process.starting()
        on_signal(signal.SIGHUP, self._reactor, self.reload)
        super().startService()
        self.worker.when_set_up.addCallback(self._started)

    def _started(self, done: bool) -> bool:
        if done:
            self._process.started()
        return done

    def _cannot_start(self) -> None:
        end_with_failure(self._reactor, self._process)

    def reload(self) -> None:
        """Read the configuration again, and go on with it. While that is under way it is done once more after it."""
        self._again = True
        if not self._reloading:
            self._reloading = True
            ensureDeferred(self._reload()).addErrback(_failed)

    async def _reload(self) -> None:
        try:
            while self._again and self.running:
                self._again = False
                await self._reload_once()
        finally:
            self._reloading = False

    async def _reload_once(self) -> None:
        try:
            config = self._read()
            if config == self._config:
                log.info("The configuration was read again; nothing in it has changed")
                return
            if isinstance(self.worker, Reloadable):
                await self.worker.reload(dict(config))
                self._config = config
                log.info("The configuration was read again, and is in use")
            else:
                await self._restart(config)
        except (SettingsError, ConfigErrors, ValueError) as error:
            for sentence in getattr(error, "errors", [str(error)]):
                log.error("The configuration is wrong, and the one before stays in use: {reason}", reason=sentence)

    async def _restart(self, config: dict[str, Any]) -> None:
        """
        Replace the worker by one with other options.

        :raises ConfigErrors: the options cannot be used; nothing has changed.
        """
        worker = self._made(config, _nothing)
        log.info("The configuration has changed: the worker is restarted")
        try:
            if await self._replace(worker):
                self._config = config
            elif self.running:
                log.error("The worker could not start with the changed configuration: the one before is used again")
                await self._replace(self._made(self._config, self._cannot_start))
        finally:
            await self._ports.close_kept()

    async def _replace(self, worker: BaseWorker[Any]) -> bool:
        """Stop the worker, and start another one on the same ports; whether that could start."""
        self._ports.keeping = True
        try:
            await maybeDeferred(self.worker.disownServiceParent)
        finally:
            self._ports.keeping = False
        if not self.running:
            return False
        self.worker = worker
        worker.setServiceParent(self)
        return await worker.when_set_up


def _nothing() -> None:
    """What a worker calls that could not start, where the one before is started again."""


def _failed(failure: Failure) -> None:
    log.failure("Reading the configuration again failed", failure)
