"""The channels in a worker's file: one, or all those of a fleet."""

from __future__ import annotations

from typing import Any, Mapping

from ..configuration.files import SettingsError, load_yaml

#: The names that a connector's name goes by.
NAMES = ("connector_name", "transport_name")


def channels_of(data: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """
    The options of each channel.

    :param data: what a worker's file says: a channel's options, or ``channels``
        with what is different for each and ``defaults`` with the rest.
    :param path: the file's name, for errors.
    :raises SettingsError: ``channels`` or ``defaults`` is not what it has to be.
    """
    if "channels" not in data:
        return [dict(data)]
    channels, defaults = data["channels"], data.get("defaults") or {}
    if not isinstance(channels, list) or not all(isinstance(one, dict) for one in channels):
        raise SettingsError(f"{path}: channels must be a list of mappings, one for each channel")
    if not isinstance(defaults, dict):
        raise SettingsError(f"{path}: defaults must be a mapping of options")
    return [{**defaults, **one} for one in channels]


def connectors_in(path: str) -> list[str]:
    """
    The connectors of a worker's file.

    :raises SettingsError: it cannot be read, or a channel in it has no connector's name.
    """
    found: list[str] = []
    for number, channel in enumerate(channels_of(load_yaml(path), path)):
        name = next((channel[key] for key in NAMES if channel.get(key)), None)
        if not isinstance(name, str):
            where = f"channels[{number}] has" if "channels" in load_yaml(path) else "there is"
            raise SettingsError(f"{path}: {where} no connector_name")
        if name not in found:
            found.append(name)
    return found
