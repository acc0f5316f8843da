"""Media, places and people: what WhatsApp draws, in words and links."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Sequence

from .errors import MalformedPart, UnsupportedType
from .parts import Parts
from .shapes import JsonObject

#: The types of a message that is one medium.
MEDIA_TYPES = ("image", "video", "audio", "document", "sticker")

#: Where a person can look at a place. Source: developers.google.com/maps/documentation/urls
MAP_URL = "https://www.google.com/maps?q="

_DECIMAL = re.compile(r"[+-]?\d{1,3}(\.\d{1,30})?", re.ASCII)


def medium_parts(medium: JsonObject, type_: str) -> Parts:
    """
    A message that is one medium: its caption and link.

    Source: WhatsApp, "Image messages", "Video messages", "Audio messages",
    "Document messages", "Sticker messages".

    :param type_: one of ``MEDIA_TYPES``.
    :raises UnsupportedType: it has neither link nor caption.
    """
    parts = caption_and_link(medium, type_)
    if not any(parts.shown):
        raise UnsupportedType(f"{medium.path} has neither link nor caption")
    return parts


def caption_and_link(medium: JsonObject, type_: str) -> Parts:
    """
    What leads a person to a medium, perhaps nothing.

    A medium without a link has an id in Turn's store, which needs a token: a
    phone cannot get it.
    """
    link = medium.optional_text("link")
    caption = medium.optional_text("caption")
    if link and not caption and type_ == "document":
        caption = medium.optional_text("filename")
    return Parts((caption, link), lost_media=not link)


def location_parts(location: JsonObject) -> Parts:
    """
    A place's name, address and a link to a map.

    Source: WhatsApp, "Location messages", where coordinates are strings; Turn
    has been said to send numbers. Both are read.
    """
    name, address = location.optional_text("name"), location.optional_text("address")
    latitude = _degrees(location, "latitude", 90)
    longitude = _degrees(location, "longitude", 180)
    return Parts((name, address, f"{MAP_URL}{latitude},{longitude}"))


def contacts_parts(contacts: Sequence[JsonObject]) -> Parts:
    """
    A line for each contact: its name and its telephone numbers.

    Source: WhatsApp, "Contacts messages".
    """
    if not contacts:
        raise MalformedPart("turn.contacts must not be empty")
    return Parts([_contact(contact) for contact in contacts])


def _contact(contact: JsonObject) -> str:
    name = contact.object("name").filled_text("formatted_name")
    entries = contact.objects("phones") if contact.has("phones") else []
    phones = ", ".join(filter(None, (entry.optional_text("phone") for entry in entries)))
    return f"{name}: {phones}" if phones else name


def _degrees(location: JsonObject, key: str, limit: int) -> str:
    value = location.fields.get(key)
    degrees = None
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        degrees = Decimal(value.strip())
    # The bound comes first: it keeps out NaN, infinity, and integers that Python does not print.
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and -limit <= value <= limit:
        degrees = Decimal(repr(value))
    if degrees is None or not -limit <= degrees <= limit:
        if value is None:
            raise location.malformed(key, "a number")
        raise MalformedPart(f"{location.path}.{key} must be a number from -{limit} to {limit}")
    return f"{degrees:f}"
