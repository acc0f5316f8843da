"""
What Turn sends, as the parts of a text for a phone that shows nothing else.

Turn's API is "completely aligned with the official WhatsApp Business API"
(whatsapp.turn.io/docs), so ``turn`` is read in the shapes of the messages that
WhatsApp's Cloud API sends (developers.facebook.com/docs/whatsapp/cloud-api,
"Messages"). No other message than a text has been seen on a channel, therefore
each format is one function that names its page there. Only what is used is judged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Union

from .errors import RenderingError, UnsupportedType
from .interactive import interactive_parts
from .media import MEDIA_TYPES, contacts_parts, location_parts, medium_parts
from .parts import ChoicePart, Parts
from .shapes import JsonObject, kind_of, shortened, unicode_text

#: In place of the name of a type that is not known here: names come from
#: outside, and metrics are counted by them.
OTHER_TYPE = "other"


@dataclass(frozen=True, slots=True)
class Rendered:
    """
    A message of Turn's as text.

    :ivar type: ``turn.type``, or ``other``; for metrics.
    :ivar parts: texts and choices in the order of the screen, none of them
        empty but that of an empty text. ``numbering`` makes one text of them.
    :ivar by_content: the parts are not used, ``content`` is the whole text.
    :ivar lost_media: it had a picture or the like that the text does not lead to.
    """

    type: str
    parts: tuple[Union[str, ChoicePart], ...] = field(repr=False)
    by_content: bool = False
    lost_media: bool = False


def render(turn: Mapping[str, Any], content: object = None) -> Rendered:
    """
    Make the parts of a text of what Turn sends.

    :param turn: the object ``turn`` of Turn's POST.
    :param content: the field ``content`` beside it, of any kind. It is the
        text where there is no better one.
    :raises MalformedPart: a part is missing or of the wrong kind, and ``content`` is no text.
    :raises UnsupportedType: no text can be made of this type, and ``content`` is no text.
    """
    message = JsonObject(turn, "turn")
    type_ = _type_of(message)
    if type_ == "text":
        return Rendered("text", (text_body(message),))
    try:
        parts = FORMATS.get(type_, _unknown)(message)
    except RenderingError as error:
        return _by_content(type_, content, error)
    shown = tuple(part for part in parts.shown if isinstance(part, ChoicePart) or part.strip())
    return Rendered(type_, shown, lost_media=parts.lost_media)


def text_body(message: JsonObject) -> str:
    """
    A text, as it is: also an empty one, with which a session ends without a word.

    Source: Turn's Channels API; WhatsApp, "Text messages".
    """
    return message.object("text").text("body")


def _medium(type_: str) -> Callable[[JsonObject], Parts]:
    return lambda message: medium_parts(message.object(type_), type_)


#: What reads each type but ``text``; it raises RenderingError where only ``content`` can be shown.
FORMATS: Mapping[str, Callable[[JsonObject], Parts]] = {
    "interactive": lambda message: interactive_parts(message.object("interactive")),
    "location": lambda message: location_parts(message.object("location")),
    "contacts": lambda message: contacts_parts(message.objects("contacts")),
    **{type_: _medium(type_) for type_ in MEDIA_TYPES},
}


def _unknown(message: JsonObject) -> Parts:
    """Templates too: their texts are with WhatsApp, a message only names one."""
    raise UnsupportedType(f"turn.type {shortened(message.text('type'))} cannot be shown as text")


def _by_content(type_: str, content: object, error: RenderingError) -> Rendered:
    if isinstance(content, str) and content.strip():
        name = type_ if type_ in FORMATS or type_ == "template" else OTHER_TYPE
        return Rendered(name, (unicode_text(content),), by_content=True, lost_media=type_ in MEDIA_TYPES)
    if isinstance(error, UnsupportedType):
        raise UnsupportedType(f"{error.details}, and content {_why_not(content)}") from None
    raise error


def _type_of(message: JsonObject) -> str:
    if not message.has("type") and "text" in message.fields:
        return "text"
    return message.text("type")


def _why_not(content: object) -> str:
    if content is None:
        return "is missing"
    return "is empty" if isinstance(content, str) else f"is {kind_of(content)}"
