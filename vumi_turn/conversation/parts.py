"""The parts of a text, before its choices have numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Sequence, Union


class ChoiceKind(str, Enum):
    """On what a person with WhatsApp would tap."""

    BUTTON = "button"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class ChoicePart:
    """
    A choice that a message offers.

    :ivar kind: a button, or a row of a list.
    :ivar id: Turn's own name for it.
    :ivar title: what it says, and what Turn compares an answer with.
    :ivar description: what is shown behind the title, perhaps empty.
    """

    kind: ChoiceKind
    id: str = field(repr=False)
    title: str = field(repr=False)
    description: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What one format gives.

    :ivar shown: texts, perhaps empty ones, and choices.
    :ivar lost_media: it had a medium to which no link leads.
    """

    shown: Sequence[Union[str, ChoicePart]] = field(repr=False)
    lost_media: bool = False
