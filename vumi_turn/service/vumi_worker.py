"""
``twistd vumi_worker``: its flags, and how a worker is built from them.

The flags are legacy vumi's (vumi/servicemaker.py), with the same meaning and
defaults; those that are new say so in their text.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import warnings
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, TypeVar

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.reflect import ModuleNotFound, ObjectNotFound, namedAny

from ..broker.interface import Broker
from ..configuration.fields import ConfigErrors
from ..configuration.files import SettingsError, load_yaml, overlay
from .logs import FORMATS, LEVELS, LoggedService

log = Logger()

N = TypeVar("N", int, float)

DEFAULTS: Mapping[str, Any] = {
    "hostname": "127.0.0.1",
    "port": 5672,
    "username": "vumi",
    "password": "vumi",
    "vhost": "/develop",
    "specfile": None,
    "sentry": None,
    "system-id": "global",
    "heartbeat": 30.0,
    "amqp-url": None,
    "amqp-ca-file": None,
}


#: What an AMQP URL has in one.
PARTS_OF_URL = ("hostname", "port", "username", "password", "vhost")

#: The key of ``vumi_options`` with those of them that win over the URL, if there are any.
OVER_URL = "over-amqp-url"

#: Python looks for circular garbage among its newest objects whenever there
#: are so many more of them, and among all objects after some of these looks.
#: Its default of 700 is less than what one prefetch of messages needs while it
#: is under way: each look finds most of them alive and counts them as old, so
#: that all objects are gone through, some 50 ms long, every thousand messages.
YOUNG_OBJECTS = 10_000


class VumiOptions(usage.Options):
    """
    The flags that everything which speaks to the broker has.

    :ivar vumi_options: the values, from the flags, else from ``--vumi-config``,
        else the defaults.
    """

    optParameters: list[list[Any]] = [
        ["hostname", None, None, "AMQP broker (*)"],
        ["port", None, None, "AMQP port (*)"],
        ["username", None, None, "AMQP username (*)"],
        ["password", None, None, "AMQP password (*)"],
        ["vhost", None, None, "AMQP virtual host (*)"],
        ["specfile", None, None, "Ignored: the AMQP definition is built in (*)"],
        ["sentry", None, None, "Sentry DSN (*)"],
        ["heartbeat", None, None, "Seconds between AMQP heartbeats; 0 is off; new (*)"],
        ["amqp-url", None, None, "amqp://user:password@host:port/vhost, or amqps:// for TLS; new (*)"],
        ["amqp-ca-file", None, None, "PEM file of the authorities to trust for amqps; new (*)"],
        [
            "vumi-config",
            None,
            None,
            "YAML config file for setting core vumi options (any command-line parameter marked with an asterisk)",
        ],
        ["system-id", None, None, "An identifier for a collection of Vumi workers (*)"],
    ]

    def parseArgs(self, *unexpected: str) -> None:
        """Everything is said by flags."""
        if unexpected:
            raise usage.UsageError(f"{unexpected[0]} is not expected here: each value comes after its flag")

    def postOptions(self) -> None:
        """Lay the flags over the file, and the file over the defaults."""
        names = [parameter[0] for parameter in VumiOptions.optParameters]
        given = {name: self[name] for name in names if self[name] is not None}
        path = given.pop("vumi-config", None)
        try:
            from_file = load_yaml(path) if path else {}
        except SettingsError as error:
            raise usage.UsageError(str(error)) from None
        from_file = {key.replace("_", "-"): value for key, value in from_file.items() if value is not None}
        for name in sorted(set(from_file) - set(DEFAULTS)):
            _warn(f"{path}: {name} is no option of vumi, and is ignored")
            del from_file[name]
        self.vumi_options = overlay(DEFAULTS, from_file, given)
        if "amqp-url" in from_file and "amqp-url" not in given and not given.keys().isdisjoint(PARTS_OF_URL):
            self.vumi_options[OVER_URL] = [name for name in PARTS_OF_URL if name in given]
        if self.vumi_options["specfile"] is not None:
            _warn("--specfile is ignored: the AMQP definition is built in")
        try:
            parameters_from_options(self.vumi_options)
        except ValueError as error:
            raise usage.UsageError(str(error)) from None


def parameters_from_options(options: Mapping[str, Any]) -> Any:
    """
    :param options: ``vumi_options`` of :class:`VumiOptions`.
    :return: the broker's ``ConnectionParameters``.
    :raises ValueError: a value cannot be used; the text says which.
    """
    from ..broker.amqp.parameters import ConnectionParameters

    heartbeat = _number(float, options["heartbeat"])
    if heartbeat is None or not 0 <= heartbeat <= 65535:
        raise ValueError(f"heartbeat must be a number of seconds from 0 to 65535, not {options['heartbeat']!r}")
    common = {"heartbeat": heartbeat, "ca_file": options["amqp-ca-file"]}
    if options["amqp-url"]:
        parts = _parts_of_url(options, options.get(OVER_URL, ()))
        return ConnectionParameters.from_url(options["amqp-url"], **parts, **common)
    return ConnectionParameters(**_parts_of_url(options, PARTS_OF_URL), **common)


def _parts_of_url(options: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """
    Where the broker is and who we are there, as single options say it.

    :raises ValueError: a value cannot be used; the text says which.
    """
    parts: dict[str, Any] = {name: str(options[name]) for name in names}
    if "port" in parts:
        port = _number(int, options["port"])
        if port is None or not 0 < port < 65536:
            raise ValueError(f"port must be a number from 1 to 65535, not {options['port']!r}")
        parts["port"] = port
    if not parts.get("hostname", "any").strip():
        raise ValueError("hostname must not be empty")
    return parts


def _number(kind: Callable[[str], N], value: Any) -> Optional[N]:
    """A number from a flag, which is a text, or from a file; None if it is none."""
    try:
        return kind(str(value))
    except ValueError:
        return None


def broker_from_options(options: Mapping[str, Any], reactor: Any) -> Broker:
    """
    A broker that is not started yet.

    :param options: ``vumi_options`` of :class:`VumiOptions`.
    :raises ValueError: a value cannot be used; the text says which.
    """
    from ..broker.amqp import AmqpBroker

    return AmqpBroker(parameters_from_options(options), reactor)


class StartWorkerOptions(VumiOptions):
    """
    Flags of ``vumi_worker``.

    :ivar from_file: what ``--config`` says.
    :ivar set_options: what ``--set-option`` lays over that.
    :ivar worker_config: both, one over the other, key by key.
    """

    longdesc = "Launch an instance of a vumi worker process."
    optFlags = [["worker-help", None, "Print out a usage message for the worker-class and exit"]]
    optParameters = [
        ["worker-class", None, None, "Class of a worker to start"],
        ["worker_class", None, None, "Deprecated. See --worker-class instead"],
        ["config", None, None, "YAML config file for worker configuration options"],
        ["maxthreads", None, None, "Maximum size of reactor thread pool"],
        ["log-format", None, "text", "How log lines look: text, or json with one object a line; new"],
        ["log-level", None, "info", "The lowest level that is logged: debug (addresses too), info, warn, error; new"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.set_options: dict[str, str] = {}

    def opt_set_option(self, keyvalue: str) -> None:
        """Set a worker configuration option, as key:value (overrides values from --config)."""
        key, colon, value = keyvalue.partition(":")
        if not key or not colon:
            # What follows a wrong sign may be a secret.
            name = re.split(r"[=\s]", key, maxsplit=1)[0]
            raise usage.UsageError(f"--set-option wants key:value, not {name!r}{'' if name == key else '…'}")
        self.set_options[key] = value

    def postOptions(self) -> None:
        """Find the class and read its configuration."""
        super().postOptions()
        name = self["worker-class"]
        if self["worker_class"] is not None:
            warnings.warn("--worker_class is deprecated: use --worker-class", DeprecationWarning, stacklevel=2)
            name = name or self["worker_class"]
        if not name:
            raise usage.UsageError("please specify --worker-class")
        for flag, values in (("log-format", FORMATS), ("log-level", LEVELS)):
            if self[flag] not in values:
                raise usage.UsageError(f"--{flag} must be one of {', '.join(values)}, not {self[flag]!r}")
        threads = self["maxthreads"]
        if threads is not None and (_number(int, threads) or 0) < 1:
            raise usage.UsageError(f"maxthreads must be a whole number, 1 or more, not {threads!r}")
        self.worker_class_name = name
        if self["worker-help"]:
            self._help()
        try:
            self.from_file = load_yaml(self["config"]) if self["config"] else {}
        except SettingsError as error:
            _stop(str(error))
        self.worker_config = overlay(self.from_file, self.set_options)

    def _help(self) -> None:
        worker_class = find_worker_class(self.worker_class_name)
        print(worker_class.__doc__ or "")
        config_class = getattr(worker_class, "CONFIG_CLASS", None)
        if config_class is not None:
            print(config_class.__doc__)
        raise SystemExit(0)


def find_worker_class(name: str) -> Any:
    """
    The class that ``--worker-class`` names; ends the process with a clear
    line where there is none.
    """
    from ..vumi.worker import BaseWorker

    try:
        found = namedAny(name)
    except Exception as error:  # importing a module may raise anything
        reason = (str(error) or type(error).__name__).split("\n")[0]
        if isinstance(error, (ModuleNotFound, ObjectNotFound)):
            reason = f"there is no {name}; is it installed, or its folder on PYTHONPATH?"
        _stop(f"--worker-class {name} cannot be imported: {reason}")
    if not (isinstance(found, type) and issubclass(found, BaseWorker)):
        _stop(f"--worker-class {name} is not a worker of vumi_turn: a subclass of BaseWorker is expected")
    return found


def _warn(line: str) -> None:
    print("warning:", line, file=sys.stderr)


def _stop(*lines: str) -> Any:
    for line in lines:
        print("vumi_worker:", " ".join(line.split()), file=sys.stderr)
    raise SystemExit(1)


def warn_of_unknown_keys(worker_class: Any, config: Mapping[str, Any]) -> None:
    """A log line for each key that is no option: probably a misspelt one."""
    for fields in _unknown_keys(worker_class, config):
        log.warn("The option {key} is not known, and is ignored{hint}", **fields)


def _unknown_keys(worker_class: Any, config: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The fields of each one's line."""
    middlewares = config.get("middleware")
    listed = middlewares if isinstance(middlewares, (list, tuple)) else ()
    also = {str(name) for item in listed if isinstance(item, dict) for name in item}
    for key, near in worker_class.CONFIG_CLASS.unknown_keys(config, also):
        yield {"key": key, "hint": f": did you mean {near}?" if near else ""}


def makeService(options: StartWorkerOptions) -> IService:
    """
    The worker that the flags and its configuration ask for.

    A wrong configuration ends the process with status 1 and a line for each
    wrong option.
    """
    from twisted.internet import reactor

    gc.set_threshold(YOUNG_OBJECTS)
    worker_class = find_worker_class(options.worker_class_name)
    if options["maxthreads"] is not None:
        reactor.suggestThreadPoolSize(int(options["maxthreads"]))  # type: ignore[attr-defined]
    vumi = options.vumi_options
    config = worker_class.CONFIG_CLASS.laid_over(options.from_file, options.set_options)
    if vumi["sentry"]:
        _install_sentry(str(vumi["sentry"]), options.worker_class_name, vumi["system-id"], reactor)
    try:
        worker: IService = worker_class(
            config,
            broker=broker_from_options(vumi, reactor),
            reactor=reactor,
            system_id=vumi["system-id"] or "global",
            fatal=lambda: end_with_failure(reactor),
        )
    except ConfigErrors as error:
        line = "The option {key} is not known, and is ignored{hint}"
        _stop(*error.errors, *(line.format(**fields) for fields in _unknown_keys(worker_class, config)))
    except ValueError as error:
        _stop(str(error))
    warn_of_unknown_keys(worker_class, config)
    return LoggedService(worker, options.parent, options["log-format"], options["log-level"])


def end_with_failure(reactor: Any, status: int = 1) -> None:
    """Stop the reactor in order, and end the process with an exit status of failure."""

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    reactor.addSystemEventTrigger("after", "shutdown", end)
    # A set-up may fail before the reactor runs; then it is stopped in its first turn.
    reactor.callLater(0, reactor.stop)


def _install_sentry(dsn: str, worker_class_name: str, system_id: Optional[str], reactor: Any) -> None:
    from ..monitoring.sentry import SentryMissing, install

    try:
        install(dsn, server_name=system_id or "global", worker=worker_class_name, reactor=reactor)
    except (SentryMissing, ValueError) as error:
        _stop(str(error))


Options = StartWorkerOptions
