"""
Menus: the choices that a person can answer with, and which one was meant.

Which menu a person has, as the message cache must keep it:

=====================================  ==========================
what happens                           the person's menu is then
=====================================  ==========================
a message with choices is sent         the menu of that message
one without, that waits for input      none
one without, that does not wait        the same as before
a new session begins                   none
the cache's ``timeout`` passes         none
any other input, also a choice made    the same as before
=====================================  ==========================

``menu_after_message`` and ``menu_for_input`` are that table; the timeout is the cache's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional, Union

from .errors import UnreadableValue
from .parts import ChoiceKind
from .typed import number_in, simplified

#: A plain look-up, because every choice of a menu is read for each answer.
_KINDS: Mapping[str, ChoiceKind] = {kind.value: kind for kind in ChoiceKind}


@dataclass(frozen=True, slots=True)
class Choice:
    """
    A choice under its number.

    :ivar number: what the person types for it.
    :ivar kind: on what it would be tapped.
    :ivar id: Turn's own name for it.
    :ivar title: the text that Turn compares an answer with.
    """

    number: int
    kind: ChoiceKind
    id: str = field(repr=False)
    title: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Itself as a JSON object."""
        return {"number": self.number, "kind": self.kind.value, "id": self.id, "title": self.title}

    @classmethod
    def from_json(cls, value: object) -> Choice:
        """
        Read what ``to_json`` wrote.

        :raises UnreadableValue: it is something else.
        """
        if isinstance(value, dict):
            number, kind, id_, title = map(value.get, ("number", "kind", "id", "title"))
            if isinstance(number, int) and isinstance(kind, str) and isinstance(id_, str) and isinstance(title, str):
                if kind in _KINDS:
                    return cls(number, _KINDS[kind], id_, title)
        raise UnreadableValue("not a choice")


@dataclass(frozen=True, slots=True)
class Menu:
    """
    The choices of one message.

    :ivar choices: in the order of the screen, at least one; no number twice.
    """

    choices: tuple[Choice, ...]

    def to_json(self) -> dict[str, Any]:
        """Itself as a JSON object, for a cache."""
        return {"choices": [choice.to_json() for choice in self.choices]}

    @classmethod
    def from_json(cls, value: object) -> Menu:
        """
        Read what ``to_json`` wrote.

        :raises UnreadableValue: it is something else.
        """
        return cls(tuple(map(Choice.from_json, _stored_choices(value))))


def _stored_choices(menu: object) -> list[Any]:
    """The choices of a menu as ``to_json`` wrote it, none of which has been looked at."""
    choices = menu.get("choices") if isinstance(menu, dict) else None
    if isinstance(choices, list) and choices:
        return choices
    raise UnreadableValue("not a menu")


@dataclass(frozen=True, slots=True)
class OutOfRange:
    """The person typed a number that no choice has; it goes to Turn as it was typed."""


@dataclass(frozen=True, slots=True)
class TypedThrough:
    """The person typed something that is no choice; it goes to Turn as it was typed."""


def choose(menu: Menu, typed: str) -> Union[Choice, OutOfRange, TypedThrough]:
    """
    Which choice was meant.

    A number is looked for first, then a title. Case, space around the text and
    a final ``.`` or ``)`` make no difference; of two titles that are the same
    then, the one that was typed exactly is meant, else the first.

    :param typed: the text as it came.
    """
    meant = simplified(typed)
    number = number_in(meant)
    if number is not None:
        for choice in menu.choices:
            if choice.number == number:
                return choice
    titled = [choice for choice in menu.choices if meant and simplified(choice.title) == meant]
    exactly = [choice for choice in titled if choice.title == typed.strip()]
    if titled:
        return (exactly or titled)[0]
    return TypedThrough() if number is None else OutOfRange()


def choose_stored(menu: object, typed: str) -> Union[Choice, OutOfRange, TypedThrough]:
    """
    As ``choose``, of a menu as ``to_json`` wrote it. Most people type a number:
    then only its choice is read.

    :param typed: the text as it came.
    :raises UnreadableValue: it is no menu, or a choice that was read is none.
    """
    number = number_in(simplified(typed))
    if number is not None:
        for choice in _stored_choices(menu):
            if isinstance(choice, dict) and choice.get("number") == number:
                return Choice.from_json(choice)
    return choose(Menu.from_json(menu), typed)


def menu_after_message(current: Optional[Menu], shown: Optional[Menu], waits_for_input: bool) -> Optional[Menu]:
    """
    The person's menu once a message was sent; see the table above.

    :param current: the menu before.
    :param shown: the menu of the message, None if it has no choices.
    :param waits_for_input: Turn waits for an answer to the message.
    """
    if shown is not None:
        return shown
    return None if waits_for_input else current


def menu_for_input(current: Optional[Menu], new_session: bool) -> Optional[Menu]:
    """
    The menu that an input is an answer to; see the table above.

    :param new_session: the input begins a session (``session_event`` ``new``).
    """
    return None if new_session else current


def answer_as_text(choice: Choice) -> dict[str, Any]:
    """
    A choice as the text that Turn compares with: the exact title.

    :return: the fields of ``message`` that say what was answered.
    """
    return {"type": "text", "text": {"body": choice.title}}


def answer_as_interactive(choice: Choice) -> dict[str, Any]:
    """
    A choice as if it had been tapped.

    Source: WhatsApp's Cloud API, webhooks, "interactive messages" of type
    ``button_reply`` and ``list_reply``.

    :return: the fields of ``message`` that say what was answered.
    """
    reply = f"{choice.kind.value}_reply"
    return {"type": "interactive", "interactive": {"type": reply, reply: {"id": choice.id, "title": choice.title}}}


#: What makes a choice's message, by the option ``answer_as``.
ANSWERS: Mapping[str, Callable[[Choice], dict[str, Any]]] = {
    "text": answer_as_text,
    "interactive": answer_as_interactive,
}
