"""README.rst and the pages in ``docs``, taken apart: their literal blocks, commands, tables and HTTP requests."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Callable, ClassVar, NamedTuple, Optional, Sequence

import docutils.core
from docutils import nodes
from docutils.parsers.rst import Directive, directives, roles

ROOT = Path(__file__).resolve().parent.parent

#: With these words a line of a literal block without a language is a command.
PROGRAMS = (
    "apt-get",
    "PYTHONPATH=",
    "python3",
    "tox",
    "twistd",
    "virtualenv",
    "VUMI_TURN_",
    "vumi_turn_",
    ".venv/bin/",
)

#: Sphinx's roles and directives that the pages use; docutils alone does not know them.
ROLES = ("doc", "ref", "term", "http:get", "http:put", "http:post")
WITHOUT_TEXT = ("toctree", "automodule", "autoclass", "autofunction")
FROM_FILES = ("literalinclude",)
HTTP = "http:"


class Block(NamedTuple):
    """A literal block, the title of the section that it is in, and its language if it says one."""

    page: str
    section: str
    language: str
    text: str


class Request(NamedTuple):
    """An HTTP request that a page documents, with the JSON body that it shows."""

    section: str
    method: str
    path: str
    body: str | None


def _role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Sequence[str] = ()
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """The text of a reference, in place of the reference."""
    return [nodes.inline(rawtext, re.sub(r"\s*<[^<>]*>$", "", text))], []


class _Nothing(Directive):
    """A directive whose text comes from elsewhere."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[Optional[dict[str, Callable[[str], Any]]]] = None

    def run(self) -> list[nodes.Node]:
        return []


class _FromFile(_Nothing):
    """A directive that shows a file, which has tests of its own."""

    option_spec = {"language": directives.unchanged, "caption": directives.unchanged, "lines": directives.unchanged}


class _Contents(_Nothing):
    """A directive whose content stands on the page."""

    option_spec = {"noindex": directives.flag}

    def run(self) -> list[nodes.Node]:
        holder = nodes.container(directive=self.name, argument=(self.arguments or [""])[0])
        self.state.nested_parse(self.content, self.content_offset, holder)
        return [holder]


for _name in ROLES:
    roles.register_local_role(_name, _role)
for _name in WITHOUT_TEXT:
    directives.register_directive(_name, _Nothing)
for _name in FROM_FILES:
    directives.register_directive(_name, _FromFile)
for _name in ("glossary", *(HTTP + method for method in ("get", "put", "post"))):
    directives.register_directive(_name, _Contents)


def names() -> list[str]:
    """README.rst, and each page, as paths from the root of the tree."""
    return ["README.rst", "CONTRIBUTING.rst", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.rst"))]


@cache
def document(page: str) -> Any:
    """
    A page, parsed.

    :raises docutils.utils.SystemMessage: it is not valid reStructuredText.
    """
    return docutils.core.publish_doctree(
        (ROOT / page).read_text("utf-8"),
        source_path=str(ROOT / page),
        settings_overrides={
            "halt_level": 2,
            "report_level": 2,
            "syntax_highlight": "none",
            "_disable_config": True,
        },
    )


def section_of(node: Any) -> str:
    """The title of the section that something is in."""
    above = node
    while not isinstance(above, (nodes.section, nodes.document)):
        above = above.parent
    title = above.next_node(nodes.title)
    return "" if title is None else str(title.astext())


def blocks() -> list[Block]:
    """The literal blocks of all pages, in order."""
    found = []
    for page in names():
        for block in document(page).findall(nodes.literal_block):
            languages = [name for name in block["classes"] if name != "code"]
            language = languages[0] if languages else ""
            found.append(Block(page, section_of(block), language, block.astext()))
    return found


def commands() -> list[str]:
    """Each line that a reader may type, a continued one as one line, each once."""
    found: dict[str, None] = {}
    for block in blocks():
        lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
        if block.language == "bash" or (not block.language and lines and lines[0].startswith(PROGRAMS)):
            found.update((line.strip(), None) for line in lines if line.strip())
    return list(found)


def block_with(words: str) -> str:
    """
    The one literal block that holds these words.

    :raises AssertionError: there is none, or there are several.
    """
    found = {block.text for block in blocks() if words in block.text}
    assert len(found) == 1, f"{len(found)} blocks of the pages hold {words!r}"
    return found.pop()


def command_with(words: str) -> str:
    """
    The one command that holds these words, or that ends with them; several pages may show it.

    :raises AssertionError: there is none, or there are several.
    """
    found = sorted({command for command in commands() if words in command})
    ending = [command for command in found if command.endswith(words)]
    found = ending if len(ending) == 1 else found
    assert len(found) == 1, f"{len(found)} commands of the pages hold {words!r}: {found}"
    return found[0]


def table_rows(page: str, section: str) -> list[list[str]]:
    """The cells' texts of all tables of a section, row by row, without the heads."""
    rows: list[list[str]] = []
    for table in document(page).findall(nodes.table):
        if section_of(table) == section:
            for body in table.findall(nodes.tbody):
                rows.extend([entry.astext() for entry in row.findall(nodes.entry)] for row in body.findall(nodes.row))
    return rows


def requests(page: str) -> list[Request]:
    """The HTTP requests that a page documents, in order."""
    found = []
    for holder in document(page).findall(nodes.container):
        name = holder.get("directive", "")
        if name.startswith(HTTP):
            body = holder.next_node(nodes.literal_block)
            shown = None if body is None else str(body.astext())
            found.append(Request(section_of(holder), name[len(HTTP) :].upper(), holder["argument"], shown))
    return found
