"""
Settings: YAML with ``!include`` and ``!env``, and overlays.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Mapping, Optional

import yaml


class SettingsError(Exception):
    """A settings file cannot be used; the text names the file and says why."""


class _Loader(yaml.SafeLoader):
    """YAML's safe types, and our two tags. One class for each file: it knows the file it reads."""

    path: Path
    environ: Mapping[str, str]
    within: tuple[Path, ...]

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """PyYAML's own, which raises what it likes where a value is none of its type."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:
            kind = str(node.tag).rpartition(":")[2]
            reason = f"this is no {kind} ({error})" if isinstance(error, ValueError) else f"this is no {kind}"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark) from None


def _include(loader: _Loader, node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        raise SettingsError(f"{loader.path}: !include wants the name of a file")
    return _load(loader.path.parent / str(node.value), loader.environ, loader.within)


def _env(loader: _Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        name, rest = str(node.value), []
    elif isinstance(node, yaml.SequenceNode):
        name, *rest = loader.construct_sequence(node, deep=True) or [""]
    else:
        name, rest = "", []
    if not isinstance(name, str) or not name or len(rest) > 1:
        raise SettingsError(f"{loader.path}: !env wants a name, or [a name, a default]")
    if name in loader.environ:
        return loader.environ[name]
    if rest:
        return rest[0]
    raise SettingsError(f"{loader.path}: the environment has no {name}, which !env asks for")


_Loader.add_constructor("!include", _include)
_Loader.add_constructor("!env", _env)


def load_yaml(path: str, environ: Optional[Mapping[str, str]] = None) -> dict[str, Any]:
    """
    Read a settings file.

    ``!include other.yaml`` is another file, relative to this one; ``!env NAME``
    and ``!env [NAME, default]`` are from the environment.

    :param path: the file's name.
    :param environ: the environment; the process's own where it is not given.
    :return: the settings; an empty file has none.
    :raises SettingsError: naming the file and what is wrong with it.
    """
    value = _load(Path(path), os.environ if environ is None else environ, ())
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


def _load(path: Path, environ: Mapping[str, str], within: tuple[Path, ...]) -> Any:
    try:
        resolved = path.resolve()
        text = "" if resolved in within else path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8") from None
    except (RuntimeError, ValueError) as error:  # a loop of links, and a name that no file can have
        raise SettingsError(f"{str(path)!r}: cannot be read ({error})") from None
    if resolved in within:
        raise SettingsError(f"{path}: includes itself")
    return _parsed(text, path, environ, (*within, resolved))


def _parsed(text: str, path: Path, environ: Mapping[str, str], within: tuple[Path, ...]) -> Any:
    loader: Optional[_Loader] = None
    try:
        loader = _Loader(text)
        loader.path, loader.environ, loader.within = path, environ, within
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise SettingsError(f"{path}{where}: is not YAML ({error.problem})") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not YAML ({str(error).splitlines()[0]})") from None
    except RecursionError:
        raise SettingsError(f"{path}: is nested too deep") from None
    finally:
        if loader is not None:
            loader.dispose()
