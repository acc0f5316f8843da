"""Reading the fields of decoded JSON: each error names the field by its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional

from .errors import MalformedPart


@dataclass(frozen=True, slots=True, repr=False)
class JsonObject:
    """
    An object in decoded JSON, and where it stands.

    A field that is null is missing: Turn sends null for what is not set. Fields
    that nobody asks for are not looked at.

    :ivar fields: its fields.
    :ivar path: its name in errors, for example ``turn.interactive.body``.
    """

    fields: Mapping[str, Any]
    path: str

    def has(self, key: str) -> bool:
        """Whether there is such a field, of any kind but null."""
        return self.fields.get(key) is not None

    def text(self, key: str) -> str:
        """
        A text, perhaps an empty one.

        Half of a surrogate pair, which JSON can hold and UTF-8 cannot, becomes U+FFFD.

        :raises MalformedPart: it is missing or no string.
        """
        value = self.fields.get(key)
        if isinstance(value, str):
            return unicode_text(value)
        raise self.malformed(key, "a string")

    def filled_text(self, key: str) -> str:
        """
        A text that is not blank.

        :raises MalformedPart: it is missing, no string, or blank.
        """
        text = self.text(key)
        if not text.strip():
            raise MalformedPart(f"{self.path}.{key} must not be empty")
        return text

    def optional_text(self, key: str) -> str:
        """
        A text, empty where it is missing or blank.

        :raises MalformedPart: it is there and no string.
        """
        text = self.text(key) if self.has(key) else ""
        return text if text.strip() else ""

    def object(self, key: str) -> JsonObject:
        """
        An object.

        :raises MalformedPart: it is missing or no object.
        """
        value = self.fields.get(key)
        if isinstance(value, dict):
            return JsonObject(value, f"{self.path}.{key}")
        raise self.malformed(key, "an object")

    def optional_object(self, key: str) -> Optional[JsonObject]:
        """
        An object, or None where it is missing.

        :raises MalformedPart: it is there and no object.
        """
        return self.object(key) if self.has(key) else None

    def objects(self, key: str) -> list[JsonObject]:
        """
        A list of objects.

        :raises MalformedPart: it is missing, no list, or holds something else.
        """
        values = self.fields.get(key)
        if not isinstance(values, list):
            raise self.malformed(key, "a list")
        path = f"{self.path}.{key}"
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise MalformedPart(f"{path}[{index}] must be an object, not {kind_of(value)}")
        return [JsonObject(value, f"{path}[{index}]") for index, value in enumerate(values)]

    def malformed(self, key: str, expected: str) -> MalformedPart:
        """
        The error for a field that is not what it must be.

        :param expected: what it must be, for example ``a string``.
        """
        if key not in self.fields:
            return MalformedPart(f"{self.path}.{key} is missing")
        return MalformedPart(f"{self.path}.{key} must be {expected}, not {kind_of(self.fields[key])}")


def kind_of(value: object) -> str:
    """JSON's word for the kind of a value, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, (int, float)):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def unicode_text(text: str) -> str:
    """Text with U+FFFD for each half of a surrogate pair: an emoji that somebody cut in two."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def one_line(text: str) -> str:
    """Text without line breaks, and with single spaces."""
    return " ".join(text.split())


def shortened(text: str) -> str:
    """A name out of a message for an error's text: quoted, and not longer than 40 characters."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
