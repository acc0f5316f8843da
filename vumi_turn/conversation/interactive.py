"""
Interactive messages: buttons, lists, a link, a request for a location.

Source: WhatsApp's Cloud API, "Interactive reply buttons messages",
"Interactive list messages", "Interactive call-to-action URL button messages",
"Location request messages".
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence, Union

from .errors import MalformedPart, UnsupportedType
from .media import MEDIA_TYPES, caption_and_link
from .parts import ChoiceKind, ChoicePart, Parts
from .shapes import JsonObject, shortened


def interactive_parts(interactive: JsonObject) -> Parts:
    """
    The parts of an interactive message.

    :raises UnsupportedType: its ``type`` is none that is known here.
    """
    type_ = interactive.text("type")
    read = _FORMATS.get(type_)
    if read is None:
        raise UnsupportedType(f"{interactive.path}.type {shortened(type_)} cannot be shown as text")
    return read(interactive)


def _buttons(interactive: JsonObject) -> Parts:
    """Reply buttons: ``action.buttons[].reply`` of id and title."""
    buttons = interactive.object("action").objects("buttons")
    choices = [_choice(button.object("reply"), ChoiceKind.BUTTON) for button in buttons]
    return _with_frame(interactive, choices, "buttons")


def _list(interactive: JsonObject) -> Parts:
    """A list: ``action.sections[]`` of a title and rows, each of id, title and description."""
    lines: list[Union[str, ChoicePart]] = []
    for section in interactive.object("action").objects("sections"):
        lines.append(section.optional_text("title"))
        lines.extend(_choice(row, ChoiceKind.LIST) for row in section.objects("rows"))
    return _with_frame(interactive, lines, "sections")


def _url(interactive: JsonObject) -> Parts:
    """A button that opens a page: ``action.parameters`` of display_text and url."""
    body = interactive.object("body").text("text")
    parameters = interactive.object("action").object("parameters")
    label, url = parameters.text("display_text"), parameters.filled_text("url")
    return Parts((body, f"{label}: {url}" if label.strip() else url), lost_media=_has_medium(interactive))


def _location_request(interactive: JsonObject) -> Parts:
    """A question for the person's location, which a text phone answers in words."""
    return Parts((interactive.object("body").filled_text("text"),))


_FORMATS: Mapping[str, Callable[[JsonObject], Parts]] = {
    "button": _buttons,
    "list": _list,
    "cta_url": _url,
    "location_request_message": _location_request,
}


def _with_frame(interactive: JsonObject, lines: Sequence[Union[str, ChoicePart]], source: str) -> Parts:
    if not any(isinstance(line, ChoicePart) for line in lines):
        raise MalformedPart(f"{interactive.path}.action.{source} must hold at least one choice")
    header = _header(interactive)
    body = interactive.object("body").text("text")
    footer = interactive.optional_object("footer")
    last = "" if footer is None else footer.optional_text("text")
    return Parts((*header.shown, body, last, *lines), header.lost_media)


def _header(interactive: JsonObject) -> Parts:
    """A text or a medium over the body; one of a kind not known here is left out as a lost medium."""
    header = interactive.optional_object("header")
    if header is None:
        return Parts(())
    type_ = header.text("type") if header.has("type") else "text"
    if type_ == "text":
        return Parts((header.optional_text("text"),))
    if type_ not in MEDIA_TYPES:
        return Parts((), lost_media=True)
    return caption_and_link(header.object(type_), type_)


def _has_medium(interactive: JsonObject) -> bool:
    """Whether a header that is not shown, and so not judged, has a medium."""
    header = interactive.fields.get("header")
    return isinstance(header, dict) and header.get("type") in MEDIA_TYPES


def _choice(reply: JsonObject, kind: ChoiceKind) -> ChoicePart:
    description = reply.optional_text("description") if kind is ChoiceKind.LIST else ""
    return ChoicePart(kind, reply.text("id"), reply.filled_text("title"), description)
