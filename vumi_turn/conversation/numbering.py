"""From the parts of a message, or of several that were joined, to one text with numbered choices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Collection, Iterable, Optional, Union

from .menus import Choice, Menu
from .parts import ChoicePart
from .shapes import one_line
from .typed import number_in, simplified


@dataclass(frozen=True, slots=True)
class NumberedText:
    """
    A text as a person reads it.

    :ivar text: all parts, each on a line or lines of its own.
    :ivar menu: what can be chosen, None if nothing can.
    """

    text: str = field(repr=False)
    menu: Optional[Menu] = None


def numbered(parts: Iterable[Union[str, ChoicePart]], keys: Collection[str] = ()) -> NumberedText:
    """
    Make one text of parts. A choice becomes the line ``N. title``.

    :param parts: of one message, or of joined messages one after another. A
        blank one leaves no line, except that a single text stays as it is.
    :param keys: what a person types to turn pages; a number that would be
        typed in the same way is left out, and the next one is taken.
    """
    found = tuple(parts)
    if len(found) == 1 and isinstance(found[0], str):
        return NumberedText(found[0])
    taken = {number_in(simplified(key)) for key in keys}
    lines: list[str] = []
    choices: list[Choice] = []
    number = 0
    for part in found:
        if isinstance(part, str):
            if part.strip():
                lines.append(part)
            continue
        number += 1
        while number in taken:
            number += 1
        choices.append(Choice(number, part.kind, part.id, part.title))
        lines.append(choice_line(number, part))
    return NumberedText("\n".join(lines), Menu(tuple(choices)) if choices else None)


def choice_line(number: int, choice: ChoicePart) -> str:
    """The line for a choice, without line breaks of its own: ``1. title`` or ``1. title: description``."""
    line = f"{number}. {one_line(choice.title)}"
    return f"{line}: {one_line(choice.description)}" if choice.description else line
