"""
YAML's safe types and our tags, with errors that say what to do and never quote
a value: it may be a secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Mapping, NoReturn, Optional

import yaml

#: How many values a file may have once its aliases are written out. Nested
#: aliases ("billion laughs") make a small file large.
MAX_VALUES = 200_000

#: What begins a value and means something in YAML, so that a text with it needs quotes.
MARKS = {
    "*": "is an alias",
    "&": "is an anchor",
    "!": "is a tag (ours are !env, !file and !include)",
    "%": "is a directive",
    "@": "is reserved",
    "`": "is reserved",
}

_MERGE = "tag:yaml.org,2002:merge"
_NAME = r"[A-Z_][A-Z0-9_]*"

#: The option and the beginning of the value that a line has.
_LINE = r"""^\s*(?:-\s+)*(?P<key>[\w.-]+|"[^"]*"|'[^']*')\s*:\s+(?P<value>\S.*)$"""


class SettingsError(Exception):
    """A settings file cannot be used; the text names the file and says why."""


class Loader(yaml.SafeLoader):
    """
    Reads one file.

    :param text: what the file holds.
    :param path: its name; what it includes is relative to it.
    :param environ: the environment.
    :param include: reads another file.
    :param without_secrets: ``!file``, and ``!env`` without a value, are empty texts.
    """

    def __init__(
        self,
        text: str,
        path: Path,
        environ: Mapping[str, str],
        include: Callable[[Path], Any],
        without_secrets: bool = False,
    ) -> None:
        self.without_secrets = without_secrets
        self.path = path
        self.environ = environ
        self.include = include
        self._lines = text.splitlines()
        super().__init__(text)

    def read(self) -> Any:
        """
        What the file holds.

        :raises SettingsError: it cannot be used.
        """
        try:
            node = self.get_single_node()
            if node is None:
                return None
            self._check_size(node)
            return self.construct_document(node)
        except yaml.MarkedYAMLError as error:
            self._refuse(error)
        except yaml.YAMLError as error:
            raise SettingsError(f"{self.path}: is not YAML ({str(error).splitlines()[0]})") from None
        except RecursionError:
            raise SettingsError(f"{self.path}: is nested too deep") from None
        finally:
            self.dispose()

    def _refuse(self, error: yaml.MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        if mark is None:
            raise SettingsError(f"{self.path}: is not YAML ({_without_values(error.problem)})")
        where = f"{self.path}, line {mark.line + 1}, column {mark.column + 1}"
        raise SettingsError(f"{where}: {self._hint(mark.line) or f'is not YAML ({_without_values(error.problem)})'}")

    def _hint(self, line: int) -> Optional[str]:
        """What to do about a value of this line that begins with a sign of YAML's."""
        found = re.match(_LINE, self._lines[line]) if line < len(self._lines) else None
        if found is None or found["value"][0] not in MARKS:
            return None
        mark = found["value"][0]
        if found["value"].startswith("!!"):
            return None
        text = f"the value of {found['key']} begins with {mark}, which {MARKS[mark]} in YAML: put it in quotes"
        return f'{text}, as {found["key"]}: "{mark}…"'

    def _check_size(self, root: yaml.Node) -> None:
        """
        Refuse a file whose aliases make it large, before anything is made of it.

        :raises SettingsError: it is too large, or holds itself.
        """
        sizes: dict[int, int] = {}

        def size(node: yaml.Node) -> int:
            known = sizes.get(id(node))
            if known == 0:
                self.fail(node, "an alias refers to what it is part of")
            if known is None:
                sizes[id(node)] = 0
                known = sizes[id(node)] = 1 + sum(size(child) for child in _children(node))
            return known

        if size(root) > MAX_VALUES:
            raise SettingsError(f"{self.path}: its aliases make more than {MAX_VALUES} values of it")

    def fail(self, node: yaml.Node, reason: str) -> NoReturn:
        """
        :raises SettingsError: with the file, the node's line, and the reason.
        """
        mark = node.start_mark
        raise SettingsError(f"{self.path}, line {mark.line + 1}, column {mark.column + 1}: {reason}")

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """PyYAML's own raises whatever it likes where a value is not of the type that its tag says."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError):
            kind = str(node.tag).rpartition(":")[2]
            self.fail(node, f"is not YAML (this is no {kind}; a text is put in quotes)")

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping, each of whose keys is given once; ``<<: !include FILE`` is merged into it."""
        if not isinstance(node, yaml.MappingNode):
            return super().construct_mapping(node, deep)
        included: dict[Any, Any] = {}
        own = []
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                value = self._included(value, included)
                if value is None:
                    continue
            elif isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    self.fail(key, f"{key.value} is given twice, in line {lines[key.value]} already")
                lines[key.value] = line
            own.append((key, value))
        node.value = own
        return {**included, **super().construct_mapping(node, deep)}

    def _included(self, value: yaml.Node, included: dict[Any, Any]) -> Optional[yaml.Node]:
        """Add the files that a merge names to ``included``; give back the rest of the merge."""
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        files = [item for item in items if item.tag == "!include"]
        if not files:
            return value
        for item in reversed(files):  # the first one wins
            found = _include(self, item)
            if not isinstance(found, dict):
                self.fail(item, "<<: !include wants a file with a mapping")
            included.update(found)
        rest = [item for item in items if item.tag != "!include"]
        return yaml.SequenceNode(value.tag, rest, value.start_mark, value.end_mark) if rest else None


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return []


def _without_values(problem: object) -> str:
    """An error of PyYAML's without the texts from the file that it quotes; single signs stay."""
    return re.sub(r"""'(?!<)[^']{2,}'|"[^"]{2,}\"""", "…", str(problem))


def _include(loader: Loader, node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        loader.fail(node, "!include wants the name of a file")
    return loader.include(loader.path.parent / str(node.value))


def _env(loader: Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        name, rest = str(node.value), []
    elif isinstance(node, yaml.SequenceNode):
        name, *rest = loader.construct_sequence(node, deep=True) or [""]
    else:
        name, rest = "", []
    if not isinstance(name, str) or not name or len(rest) > 1:
        loader.fail(node, "!env wants a name, or [a name, a default]")
    if name in loader.environ:
        return loader.environ[name].rstrip("\r\n")
    if rest:
        return rest[0]
    if loader.without_secrets:
        return ""
    # Whoever puts the secret itself behind !env does not want to read it in a log.
    shown = name if re.fullmatch(_NAME, name) else "such name"
    loader.fail(node, f"the environment has no {shown}, which !env asks for")


def _file(loader: Loader, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        loader.fail(node, "!file wants the name of a file")
    if loader.without_secrets:
        return ""
    path = loader.path.parent / str(node.value)
    text = read_text(path).rstrip("\r\n")
    if "\n" in text or "\r" in text:
        loader.fail(node, f"{path} must have one line, which !file reads, not several")
    return text


def read_text(path: Path) -> str:
    """
    A file's text.

    :raises SettingsError: it cannot be read, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}, line {line}: is not UTF-8") from None
    except (RuntimeError, ValueError) as error:  # a loop of links, and a name that no file can have
        raise SettingsError(f"{str(path)!r}: cannot be read ({error})") from None


Loader.add_constructor("!include", _include)
Loader.add_constructor("!env", _env)
Loader.add_constructor("!file", _file)
