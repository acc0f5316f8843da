"""README.rst, taken apart: its literal blocks and the commands in them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import docutils.core
from docutils import nodes

ROOT = Path(__file__).resolve().parent.parent

#: With these words a line of a literal block is a command.
PROGRAMS = (
    "apt-get",
    "curl",
    "PYTHONPATH=",
    "python3",
    "python",
    "tox",
    "twistd",
    "virtualenv",
    "VUMI_TURN_",
    "vumi_turn_",
    ".venv/bin/",
)


class Block(NamedTuple):
    """A literal block, and the title of the section that it is in."""

    section: str
    text: str


@cache
def document() -> Any:
    """
    README.rst, parsed.

    :raises docutils.utils.SystemMessage: it is not valid reStructuredText.
    """
    return docutils.core.publish_doctree(
        (ROOT / "README.rst").read_text("utf-8"), settings_overrides={"halt_level": 2, "report_level": 2}
    )


def blocks() -> list[Block]:
    """The literal blocks, in order."""
    found = []
    for block in document().findall(nodes.literal_block):
        section: Any = block
        while not isinstance(section, (nodes.section, nodes.document)):
            section = section.parent
        title = section.next_node(nodes.title)
        found.append(Block(title.astext() if title is not None else "", block.astext()))
    return found


def commands() -> list[str]:
    """Each line that a reader may type, a continued one as one line."""
    found = []
    for block in blocks():
        text = re.sub(r"\\\n\s*", "", block.text)
        lines = text.splitlines()
        if lines and lines[0].startswith(PROGRAMS):
            found.extend(line.strip() for line in lines if line.strip())
    return found


def block_with(words: str) -> str:
    """
    The one literal block that holds these words.

    :raises AssertionError: there is none, or there are several.
    """
    found = [block.text for block in blocks() if words in block.text]
    assert len(found) == 1, f"{len(found)} blocks of README.rst hold {words!r}"
    return found[0]


def command_with(words: str) -> str:
    """
    The one command that holds these words.

    :raises AssertionError: there is none, or there are several.
    """
    found = [command for command in commands() if words in command]
    assert len(found) == 1, f"{len(found)} commands of README.rst hold {words!r}: {found}"
    return found[0]


def table_rows(section: str) -> list[list[str]]:
    """The cells' texts of all tables of a section, row by row, without the heads."""
    rows = []
    for table in document().findall(nodes.table):
        above: Any = table
        while not isinstance(above, nodes.section):
            above = above.parent
        if above.next_node(nodes.title).astext() != section:
            continue
        for body in table.findall(nodes.tbody):
            rows.extend([entry.astext() for entry in row.findall(nodes.entry)] for row in body.findall(nodes.row))
    return rows
