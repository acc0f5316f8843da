"""The options of :class:`vumi_turn.TurnChannels`, and of each of its channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Optional
from urllib.parse import quote

from ..configuration.fields import (
    Config,
    ConfigBool,
    ConfigClassName,
    ConfigDict,
    ConfigError,
    ConfigFloat,
    ConfigHostNames,
    ConfigInt,
    ConfigList,
    ConfigSecret,
    ConfigServerEndpoint,
    ConfigText,
    optional,
)

#: The worker of a channel that names none.
WORKER_CLASS = "vumi_turn.TurnChannelsApi"

#: What the process answers itself.
RESERVED_PATHS = frozenset({"health", "live", "metrics"})


class TurnChannelsConfig(Config):
    """
    Configuration of many channels in one process.
    """

    http_bind = ConfigServerEndpoint(
        "Where Turn's POSTs are taken: host:port, [::1]:port or a Twisted server endpoint.", required=True
    )
    management_bind = optional(
        ConfigServerEndpoint(
            "An address of their own for /health, /live, /metrics and the operator's page, which then leave http_bind."
        )
    )
    management_password = optional(
        ConfigSecret("The password with which the operator's page may replay and drop; without one it only shows.")
    )
    management_content = ConfigBool("Whether the operator's page shows what people wrote.", default=False)
    management_hosts = ConfigHostNames(
        "Host names of the operator's page; addresses, localhost and the machine's own name are its own too.",
        default=[],
    )
    trace_key = optional(
        ConfigSecret("The key of the hashes of addresses; give one where several processes are asked together.")
    )
    worker_name = optional(ConfigText("The worker's name in heartbeats; they are sent only where it is given."))
    standby = ConfigBool(
        "Whether of several workers on one connector one consumes while the others wait.", default=False
    )
    shutdown_timeout = ConfigFloat("Seconds to finish what is under way when stopping.", default=10.0, minimum=0)
    max_request_size = ConfigInt("How many bytes a POST from Turn may have.", default=262144, minimum=1024)
    defaults = ConfigDict("Options of every channel that has none of its own of that name.", default={})
    channels = ConfigList("The channels, each a mapping of its options.", required=True)

    @classmethod
    def laid_over(cls, below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
        """An option above lies over the top level where it belongs there, else over ``defaults``."""
        known = cls.known_names()
        top = {key: value for key, value in above.items() if key in known}
        rest = {key: value for key, value in above.items() if key not in known}
        laid = super().laid_over(below, top)
        if rest:
            defaults = laid.get("defaults")
            laid["defaults"] = {**(defaults if isinstance(defaults, Mapping) else {}), **rest}
        return laid

    @classmethod
    def unknown_keys(cls, config_data: Mapping[str, Any], also_known: Iterable[str] = ()) -> list[tuple[str, str]]:
        """Those at the top, and those of each channel, by its place and name."""
        found = super().unknown_keys(config_data, also_known)
        specs, _ = channel_specs(config_data)
        by_defaults: dict[str, str] = {}
        for spec in specs:
            listed = spec.options.get("middleware")
            names = (
                {str(name) for item in listed if isinstance(item, Mapping) for name in item}
                if isinstance(listed, (list, tuple))
                else set()
            )
            for key, hint in spec.worker_class.CONFIG_CLASS.unknown_keys(spec.options, names):
                if key in spec.own_keys:
                    found.append((f"{spec.label}.{key}", hint))
                else:
                    by_defaults[f"defaults.{key}"] = hint
        return found + list(by_defaults.items())


#: What is the process's own, and stands at the top only.
PROCESS_OPTIONS = frozenset(TurnChannelsConfig.known_names()) - {"defaults", "channels"}


@dataclass(frozen=True)
class ChannelSpec:
    """
    One channel of a configuration.

    :ivar label: how errors name it, ``channels[3] (ussd_lesotho)``.
    :ivar name: its connector.
    :ivar worker_class: what makes its worker.
    :ivar options: its own and the defaults, for that class.
    :ivar own_keys: the options that it gives itself.
    """

    label: str
    name: str
    worker_class: type[Any]
    options: dict[str, Any]
    own_keys: frozenset[str] = field(default=frozenset(), compare=False)


def channel_specs(config: Mapping[str, Any]) -> tuple[list[ChannelSpec], list[str]]:
    """
    The channels of a configuration.

    :param config: as it was read.
    :return: the channels that can be told apart from each other, and a
        sentence for each thing that is wrong with the list of them. What is
        wrong with a channel's own options its class says.
    """
    errors: list[str] = []
    defaults = config.get("defaults") or {}
    items = config.get("channels")
    if not isinstance(defaults, Mapping) or not isinstance(items, list):
        return [], errors  # the fields of the whole say so
    errors += [
        f"defaults.{key} is the process's own: put it at the top" for key in sorted(PROCESS_OPTIONS & set(defaults))
    ]
    if not items:
        errors.append("channels must have at least one channel")
    specs: list[ChannelSpec] = []
    for number, item in enumerate(items):
        spec = _spec_of(number, item, defaults, config, errors)
        if spec is not None:
            specs.append(spec)
    return specs, errors + _clashes(specs)


def _spec_of(
    number: int, item: Any, defaults: Mapping[str, Any], config: Mapping[str, Any], errors: list[str]
) -> Optional[ChannelSpec]:
    label = f"channels[{number}]"
    if not isinstance(item, Mapping):
        errors.append(f"{label} must be a mapping of options, not {type(item).__name__}")
        return None
    name = item.get("connector_name", item.get("transport_name"))
    if not isinstance(name, str) or not name:
        errors.append(f"{label}.connector_name is missing: each channel has a connector of its own")
        return None
    label = f"{label} ({name})"
    for key in sorted(PROCESS_OPTIONS & set(item)):
        errors.append(f"{label}.{key} is the process's own: put it at the top")
    worker_class = _worker_class(item.get("worker_class", defaults.get("worker_class", WORKER_CLASS)), label, errors)
    if worker_class is None:
        return None
    options = {key: value for key, value in defaults.items() if key not in PROCESS_OPTIONS and key != "worker_class"}
    own = {key: value for key, value in item.items() if key not in PROCESS_OPTIONS and key != "worker_class"}
    laid: dict[str, Any] = worker_class.CONFIG_CLASS.laid_over(options, own)
    laid.setdefault("vumi_api_path", "/" + quote(name, safe=""))
    laid["http_bind"] = config.get("http_bind", "127.0.0.1:0")
    for key in ("shutdown_timeout", "max_request_size", "standby"):
        if key in config and key in worker_class.CONFIG_CLASS.known_names():
            laid[key] = config[key]
    return ChannelSpec(label, name, worker_class, laid, frozenset(str(key) for key in own))


def _worker_class(value: Any, label: str, errors: list[str]) -> Optional[type[Any]]:
    try:
        found: type[Any] = _WorkerClass({"worker_class": value}).worker_class
    except ConfigError as error:
        errors.append(f"{label}.{error}")
        return None
    from .worker import TurnChannelsApi

    if not issubclass(found, TurnChannelsApi):
        errors.append(f"{label}.worker_class must be TurnChannelsApi or a subclass of it, not {found.__name__}")
        return None
    return found


class _WorkerClass(Config):
    """What a channel says of its class."""

    worker_class = ConfigClassName("The channel's class.", required=True)


def _clashes(specs: list[ChannelSpec]) -> list[str]:
    """A sentence for each two channels that want the same name or path."""
    errors: list[str] = []
    names: dict[str, ChannelSpec] = {}
    paths: dict[str, ChannelSpec] = {}
    for spec in specs:
        other = names.setdefault(spec.name, spec)
        if other is not spec:
            errors.append(f"{spec.label}.connector_name is that of {other.label} too: a connector has one channel")
        path = str(spec.options["vumi_api_path"]).strip("/")
        if path in RESERVED_PATHS or path.partition("/")[0] in RESERVED_PATHS:
            errors.append(f"{spec.label}.vumi_api_path must not begin with /{path}, which the process answers itself")
        other = paths.setdefault(path, spec)
        if other is not spec and other.name != spec.name:
            errors.append(f"{spec.label}.vumi_api_path is that of {other.label} too: /{path}")
    return errors
