"""``twistd vumi_worker``: how a worker is built from the flags and its configuration."""

from __future__ import annotations

import gc
from typing import Any, Callable, Optional

from twisted.application.service import IService

from ..configuration.fields import ConfigErrors
from ..timing.clock import measure_monotonically
from ..vumi.worker import BaseWorker
from .broker_options import broker_from_options, with_heartbeat
from .exits import stop
from .logs import LoggedService
from .options import StartWorkerOptions
from .reload import WorkerHost
from .twistd_process import TwistdProcess
from .worker_class import find_worker_class, unknown_keys, warn_of_unknown_keys

#: Python looks for circular garbage among its newest objects whenever there
#: are so many more of them, and among all objects after some of these looks.
#: Its default of 700 is less than what one prefetch of messages needs while it
#: is under way: each look finds most of them alive and counts them as old, so
#: that all objects are gone through, some 50 ms long, every thousand messages.
YOUNG_OBJECTS = 10_000


def makeService(options: StartWorkerOptions) -> IService:
    """
    The worker that the flags and its configuration ask for.

    A wrong configuration ends the process with status 1 and a line for each
    wrong option.
    """
    from twisted.internet import reactor

    measure_monotonically(reactor)
    gc.freeze()  # what was loaded stays: looks for garbage, which stop everything else, need not go through it
    gc.set_threshold(YOUNG_OBJECTS)
    worker_class = find_worker_class(options.worker_class_name)
    if options["maxthreads"] is not None:
        reactor.suggestThreadPoolSize(int(options["maxthreads"]))  # type: ignore[attr-defined]
    vumi = options.vumi_options
    config = worker_class.CONFIG_CLASS.laid_over(options.from_file, options.set_options)
    if vumi["sentry"]:
        _install_sentry(str(vumi["sentry"]), options.worker_class_name, vumi["system-id"], reactor)

    def make(config: dict[str, Any], fatal: Callable[[], None]) -> BaseWorker[Any]:
        chosen = with_heartbeat(vumi, worker_class.preferred_heartbeat(config))
        worker: BaseWorker[Any] = worker_class(
            config,
            broker=broker_from_options(chosen, reactor, _connector_of(worker_class, config)),
            reactor=reactor,
            system_id=vumi["system-id"] or "global",
            fatal=fatal,
        )
        return worker

    def read() -> dict[str, Any]:
        laid: dict[str, Any] = worker_class.CONFIG_CLASS.laid_over(options.read_config(), options.set_options)
        return laid

    try:
        host = WorkerHost(make, read, config, reactor, TwistdProcess(options.parent))
    except ConfigErrors as error:
        line = "The option {key} is not known, and is ignored{hint}"
        stop(*error.errors, *(line.format(**fields) for fields in unknown_keys(worker_class, config)))
    except ValueError as error:
        stop(str(error))
    warn_of_unknown_keys(worker_class, config)
    return LoggedService(host, options.parent, options["log-format"], options["log-level"], reactor)


def _connector_of(worker_class: type[BaseWorker[Any]], config: dict[str, Any]) -> str:
    """The connector that a worker has, as it is written; empty where it has none, or several."""
    if "connector_name" not in worker_class.CONFIG_CLASS.known_names():
        return ""
    name = config.get("connector_name", config.get("transport_name"))
    return name if isinstance(name, str) else ""


def _install_sentry(dsn: str, worker_class_name: str, system_id: Optional[str], reactor: Any) -> None:
    from ..monitoring.sentry import SentryMissing, install

    try:
        install(dsn, server_name=system_id or "global", worker=worker_class_name, reactor=reactor)
    except (SentryMissing, ValueError) as error:
        stop(str(error))


Options = StartWorkerOptions
