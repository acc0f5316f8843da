"""The channels in a worker's file: one, or all those of a fleet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ..broker.memory import MemoryBroker
from ..channel.config import TurnChannelsApiConfig
from ..channel.fleet_config import TurnChannelsConfig, channel_specs
from ..channel.worker import TurnChannelsApi
from ..configuration.fields import ConfigErrors
from ..configuration.files import SettingsError, load_yaml
from ..vumi.middlewares import middleware_names

#: The names that a connector's name goes by.
NAMES = ("connector_name", "transport_name")


@dataclass
class WorkerFile:
    """
    What a worker's file says, read as the worker reads it.

    :ivar is_fleet: whether it is for many channels.
    :ivar channels: the options of each channel that could be read.
    :ivar binds: where the process listens, by the option's name.
    :ivar errors: a sentence for each thing with which the worker would not start.
    :ivar warnings: a sentence for each thing that is probably not meant.
    """

    is_fleet: bool
    channels: list[TurnChannelsApiConfig] = field(default_factory=list)
    binds: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_worker_file(path: str, set_options: Mapping[str, str], reactor: Any) -> WorkerFile:
    """
    Read a file as ``TurnChannels`` does where it has ``channels``, else as ``TurnChannelsApi``.

    :param set_options: what ``--set-option`` lays over it.
    :param reactor: for the workers that are made to see whether they can be; none is started.
    :raises SettingsError: the file itself cannot be used.
    """
    data = load_yaml(path)
    file = WorkerFile(is_fleet="channels" in data)
    if file.is_fleet:
        _read_fleet(file, TurnChannelsConfig.laid_over(data, set_options), reactor)
    else:
        _read_channel(file, TurnChannelsApi, TurnChannelsApiConfig.laid_over(data, set_options), reactor)
        if file.channels:
            _note_binds(file, file.channels[0])
    return file


def _read_fleet(file: WorkerFile, data: dict[str, Any], reactor: Any) -> None:
    for key, hint in TurnChannelsConfig.unknown_keys(data):
        file.warnings.append(_unknown(key, hint))
    try:
        _note_binds(file, TurnChannelsConfig(data))
    except ConfigErrors as error:
        file.errors.extend(error.errors)
    specs, errors = channel_specs(data)
    file.errors.extend(errors)
    for spec in specs:
        _read_channel(file, spec.worker_class, spec.options, reactor, f"{spec.label}.")


def _read_channel(
    file: WorkerFile, worker_class: type[TurnChannelsApi], data: dict[str, Any], reactor: Any, label: str = ""
) -> None:
    for key, hint in worker_class.CONFIG_CLASS.unknown_keys(data, middleware_names(data)):
        file.warnings.append(_unknown(label + key, hint))
    try:
        worker = worker_class(data, broker=MemoryBroker(reactor), reactor=reactor)
    except ConfigErrors as error:
        file.errors.extend(label + one for one in error.errors)
    except Exception as error:  # middlewares run other people's code
        file.errors.append(f"{label or 'the '}worker could not be made ({type(error).__name__}: {error})")
    else:
        file.channels.append(worker.config)


def _unknown(key: str, hint: str) -> str:
    return f"the option {key} is not known, and is ignored{hint and f': {hint}'}"


def _note_binds(file: WorkerFile, config: Any) -> None:
    for name in ("http_bind", "management_bind"):
        if getattr(config, name) is not None:
            file.binds[name] = getattr(config, name)


def connectors_in(path: str) -> list[str]:
    """
    The connectors of a worker's file. The secrets that it names need not be there.

    :raises SettingsError: it cannot be read, or a channel in it has no connector's name.
    """
    data = load_yaml(path, without_secrets=True)
    channels = data.get("channels", [data])
    if not isinstance(channels, list) or not all(isinstance(one, Mapping) for one in channels):
        raise SettingsError(f"{path}: channels must be a list of mappings, one for each channel")
    found: list[str] = []
    for number, channel in enumerate(channels):
        name = next((channel[key] for key in NAMES if channel.get(key)), None)
        if not isinstance(name, str):
            where = f"channels[{number}] has" if "channels" in data else "there is"
            raise SettingsError(f"{path}: {where} no connector_name")
        if name not in found:
            found.append(name)
    return found
