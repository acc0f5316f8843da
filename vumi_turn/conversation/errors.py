"""
Every error of this package.

The texts are sentences for a person: those about a message go to Turn, whose
users read them, so they name fields and types and never a message's content.
"""

from __future__ import annotations


class RenderingError(Exception):
    """
    A message of Turn's that cannot become a text.

    :ivar details: one sentence that names the part and what is wrong with it.
    """

    def __init__(self, details: str) -> None:
        self.details = details
        super().__init__(details)


class MalformedPart(RenderingError):
    """A part that is used is missing or of the wrong kind; Turn is answered 400 ApiUsageError."""


class UnsupportedType(RenderingError):
    """A type that no text can be made of, without ``content``; Turn is answered 400 UnsupportedMessageType."""


class UnreadableValue(ValueError):
    """A stored menu, choice or page set is not in the form that ``to_json`` writes; treat it as lost."""


class InvalidScreenOptions(ValueError):
    """
    Options for screens that cannot work together; the worker must not start with them.

    :ivar option: the name of the configuration option at fault.
    :ivar details: one sentence that says what is wrong and what is expected.
    """

    def __init__(self, option: str, details: str) -> None:
        self.option = option
        self.details = details
        super().__init__(f"{option} {details}")
