"""Settings: YAML with ``!include``, ``!env`` and ``!file``, and overlays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Mapping, Optional

from yaml import YAMLError

from .yaml_loader import Loader, SettingsError, read_text

__all__ = ["SettingsError", "load_yaml", "overlay"]


def load_yaml(path: str, environ: Optional[Mapping[str, str]] = None, without_secrets: bool = False) -> dict[str, Any]:
    """
    Read a settings file.

    ``!include other.yaml`` is another file, ``!file secret.txt`` a file's one
    line, both relative to this one; ``!env NAME`` and ``!env [NAME, default]``
    are from the environment. ``<<: !include common.yaml`` merges a file in.

    :param path: the file's name.
    :param environ: the environment; the process's own where it is not given.
    :param without_secrets: for who needs other options only: what ``!file`` and
        ``!env`` cannot give here is an empty text, not an error.
    :return: the settings; an empty file has none.
    :raises SettingsError: naming the file and what is wrong with it, never a value.
    """
    value = _load(Path(path), os.environ if environ is None else environ, (), without_secrets)
    if value is None:
        return {}
    if not isinstance(value, dict):
        found = "a list" if isinstance(value, list) else "a single value"
        raise SettingsError(f"{path}: options are expected as 'name: value', not {found}")
    bad = [key for key in value if not isinstance(key, str)]
    if bad:
        raise SettingsError(f"{path}: the option {bad[0]!r} must be a text; put it in quotes")
    return value


def overlay(*settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings one over the other, the last on top; not recursive, as in legacy vumi."""
    merged: dict[str, Any] = {}
    for one in settings:
        merged.update(one)
    return merged


def _load(path: Path, environ: Mapping[str, str], within: tuple[Path, ...], without_secrets: bool) -> Any:
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, and a name that no file can have
        raise SettingsError(f"{str(path)!r}: cannot be read ({error})") from None
    if resolved in within:
        raise SettingsError(f"{path}: includes itself")

    def include(other: Path) -> Any:
        return _load(other, environ, (*within, resolved), without_secrets)

    text = read_text(path)
    try:
        loader = Loader(text, path, environ, include, without_secrets)
    except YAMLError as error:  # a character that YAML does not allow
        raise SettingsError(f"{path}: is not YAML ({str(error).splitlines()[0]})") from None
    return loader.read()
