"""Loops over examples whose failures say which example it was."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

#: Characters of an example's value in a message.
SHOWN = 300


@contextmanager
def case(**example: object) -> Iterator[None]:
    """
    One example of several: with it begins the message of an assertion that fails inside.

    :param example: the values that make it different from the others, by name.
    """
    try:
        yield
    except AssertionError as error:
        values = ", ".join(f"{name}={value!r:.{SHOWN}}" for name, value in example.items())
        error.args = (f"with {values}: {error}", *error.args[1:])
        raise
