"""What becomes of each type of Turn's messages on a phone."""

from __future__ import annotations

import copy
import json
from typing import Any, Iterator, Optional

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.conversation.errors import MalformedPart, RenderingError, UnsupportedType
from vumi_turn.conversation.numbering import numbered
from vumi_turn.conversation.parts import ChoiceKind, ChoicePart
from vumi_turn.conversation.rendering import FORMATS, OTHER_TYPE, render

TEXT = {"type": "text", "text": {"body": "Hi"}}

BUTTONS = {
    "type": "interactive",
    "interactive": {
        "type": "button",
        "header": {"type": "text", "text": "Consent"},
        "body": {"text": "Do you agree?"},
        "footer": {"text": "Free"},
        "action": {
            "buttons": [
                {"type": "reply", "reply": {"id": "a", "title": "Yes"}},
                {"type": "reply", "reply": {"id": "b", "title": "No"}},
            ]
        },
    },
}

LIST = {
    "type": "interactive",
    "interactive": {
        "type": "list",
        "body": {"text": "Choose"},
        "action": {
            "button": "Open",
            "sections": [
                {"title": "Care", "rows": [{"id": "c", "title": "Antenatal", "description": "before birth"}]},
                {"title": "More", "rows": [{"id": "d", "title": "Stop"}, {"id": "e", "title": "Help"}]},
            ],
        },
    },
}

URL = {
    "type": "interactive",
    "interactive": {
        "type": "cta_url",
        "body": {"text": "Book a visit"},
        "action": {"name": "cta_url", "parameters": {"display_text": "Book", "url": "https://example.org/b"}},
    },
}

LOCATION_REQUEST = {
    "type": "interactive",
    "interactive": {
        "type": "location_request_message",
        "body": {"text": "Where are you?"},
        "action": {"name": "send_location"},
    },
}

LOCATION = {
    "type": "location",
    "location": {"latitude": -29.31, "longitude": 27.48, "name": "Clinic", "address": "Main Rd, Maseru"},
}

CONTACTS = {
    "type": "contacts",
    "contacts": [
        {"name": {"formatted_name": "Nurse"}, "phones": [{"phone": "+266221", "type": "WORK"}, {"phone": "+266222"}]},
        {"name": {"formatted_name": "Doctor"}},
    ],
}


def medium(type_: str, **fields: Any) -> dict[str, Any]:
    """A message that is one medium."""
    return {"type": type_, type_: fields}


LINK = "https://example.org/m"

#: Each row of the table of types: what Turn sends, and the text of it.
TABLE: list[tuple[dict[str, Any], str]] = [
    (TEXT, "Hi"),
    ({"text": {"body": "Hi"}}, "Hi"),
    ({"type": None, "text": {"body": "Hi"}}, "Hi"),
    ({"type": "text", "text": {"body": "1. Yes\n2. No\n"}}, "1. Yes\n2. No\n"),
    ({"type": "text", "text": {"body": ""}}, ""),
    ({"type": "text", "text": {"body": "cut \ud83d"}}, "cut \ufffd"),
    (BUTTONS, "Consent\nDo you agree?\nFree\n1. Yes\n2. No"),
    (LIST, "Choose\nCare\n1. Antenatal: before birth\nMore\n2. Stop\n3. Help"),
    (URL, "Book a visit\nBook: https://example.org/b"),
    (LOCATION_REQUEST, "Where are you?"),
    *((medium(type_, link=LINK, caption="Look"), f"Look\n{LINK}") for type_ in ("image", "video", "audio", "sticker")),
    *((medium(type_, link=LINK), LINK) for type_ in ("image", "video", "audio", "sticker", "document")),
    *((medium(type_, id="123", caption="Look"), "Look") for type_ in ("image", "video", "audio", "document")),
    (medium("image", link=None, caption="Look"), "Look"),
    (medium("document", link=LINK, filename="card.pdf"), f"card.pdf\n{LINK}"),
    (medium("document", link=LINK, filename="card.pdf", caption="Your card"), f"Your card\n{LINK}"),
    (medium("document", link=LINK, filename=["not", "used"], caption="Your card"), f"Your card\n{LINK}"),
    (LOCATION, "Clinic\nMain Rd, Maseru\nhttps://www.google.com/maps?q=-29.31,27.48"),
    (
        {"type": "location", "location": {"latitude": "37.44216251868683", "longitude": 0.0000001}},
        "https://www.google.com/maps?q=37.44216251868683,0.0000001",
    ),
    (CONTACTS, "Nurse: +266221, +266222\nDoctor"),
]


def text_of(turn: dict[str, Any], content: object = None) -> str:
    """The text with numbered choices."""
    return numbered(render(turn, content).parts).text


def with_value(turn: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value, or without one if it is ``...``, at a path such as ``interactive.body.text``."""
    changed = copy.deepcopy(turn)
    keys = [int(key) if key.isdigit() else key for key in path.split(".")]
    place: Any = changed
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return changed


class TypesTests(SynchronousTestCase):
    """The table of types."""

    def test_table(self) -> None:
        """Each type that can be shown has its text, whatever its content is."""
        for turn, text in TABLE:
            with case(turn=turn, text=text):
                for content in (None, "other", 5):
                    with case(content=content):
                        self.assertEqual(text_of(turn, content), text)

    def test_table_is_whole(self) -> None:
        """No type is shown that the table does not have."""
        self.assertEqual({turn.get("type") or "text" for turn, _ in TABLE}, {"text", *FORMATS})

    def test_choices(self) -> None:
        """A choice has its kind, id and exact title."""
        buttons = render(with_value(BUTTONS, "interactive.action.buttons.0.reply.title", " Yes\nplease "))
        yes = ChoicePart(ChoiceKind.BUTTON, "a", " Yes\nplease ")
        self.assertEqual(buttons.parts[-2:], (yes, ChoicePart(ChoiceKind.BUTTON, "b", "No")))
        self.assertIn("\n1. Yes please\n2. No", numbered(buttons.parts).text)
        row = ChoicePart(ChoiceKind.LIST, "c", "Antenatal", "before birth")
        self.assertEqual(render(LIST).parts[2], row)

    def test_header_with_medium(self) -> None:
        """The medium over a body is shown as a message that is one, before the body."""
        headers: list[tuple[Any, str, bool]] = [
            ({"type": "image", "image": {"link": LINK}}, f"{LINK}\n", False),
            ({"type": "document", "document": {"link": LINK, "filename": "a.pdf"}}, f"a.pdf\n{LINK}\n", False),
            ({"type": "video", "video": {"id": "1", "caption": "Look"}}, "Look\n", True),
            ({"type": "image", "image": {"id": "1"}}, "", True),
            ({"type": "hologram"}, "", True),
            ({"text": "Consent"}, "Consent\n", False),
            ({"type": "text", "text": None}, "", False),
            ({}, "", False),
            (None, "", False),
        ]
        for header, shown, lost in headers:
            with case(header=header, shown=shown, lost=lost):
                turn = with_value(BUTTONS, "interactive.header", header)
                self.assertEqual(text_of(turn), f"{shown}Do you agree?\nFree\n1. Yes\n2. No")
                self.assertEqual((render(turn).lost_media, render(turn).by_content), (lost, False))

    def test_empty_parts(self) -> None:
        """An empty or blank part leaves no line."""
        for empty in ("", " \n"):
            with case(empty=empty):
                turn = BUTTONS
                for path in ("header.text", "body.text", "footer.text"):
                    turn = with_value(turn, f"interactive.{path}", empty)
                self.assertEqual(text_of(turn), "1. Yes\n2. No")
                turn = with_value(LIST, "interactive.action.sections.0.title", empty)
                turn = with_value(turn, "interactive.action.sections.0.rows.0.description", empty)
                self.assertEqual(text_of(turn), "Choose\n1. Antenatal\nMore\n2. Stop\n3. Help")
                self.assertEqual(text_of(with_value(LOCATION, "location.name", empty)).count("\n"), 1)

    def test_joined(self) -> None:
        """Choices of joined messages are numbered on, and all of them are in the menu."""
        parts = [part for turn in (TEXT, BUTTONS, LIST) for part in render(turn).parts]
        joined = numbered(parts)
        self.assertTrue(joined.text.startswith("Hi\nConsent\nDo you agree?\nFree\n1. Yes\n2. No\nChoose\nCare\n3. Ant"))
        assert joined.menu is not None
        self.assertEqual([choice.id for choice in joined.menu.choices], ["a", "b", "c", "d", "e"])

    def test_lost_media(self) -> None:
        """It is noted when a medium is not led to."""
        self.assertFalse(render(medium("image", link=LINK)).lost_media)
        self.assertTrue(render(medium("image", id="1", caption="Look")).lost_media)
        header = {"type": "image", "image": {"link": LINK}}
        self.assertTrue(render(with_value(URL, "interactive.header", header)).lost_media)
        self.assertFalse(render(URL).lost_media)

    def test_shows_no_content(self) -> None:
        """What may come into a log shows no content."""
        for turn, text in TABLE:
            with case(turn=turn, text=text):
                shown = f"{render(turn)!r} {numbered(render(turn).parts)!r}"
                for line in filter(None, text.split("\n")):
                    with case(line=line):
                        self.assertNotIn(line, shown)


class ContentTests(SynchronousTestCase):
    """What is sent where no text can be made of the type's own parts."""

    UNKNOWN: list[tuple[dict[str, Any], str, str]] = [
        ({"type": "template", "template": {}}, "template", "turn.type 'template' cannot be shown as text"),
        ({"type": "order"}, OTHER_TYPE, "turn.type 'order' cannot be shown as text"),
        (
            {"type": "interactive", "interactive": {"type": "flow"}},
            "interactive",
            "turn.interactive.type 'flow' cannot be shown as text",
        ),
        (medium("image", id="1"), "image", "turn.image has neither link nor caption"),
        (medium("document", filename="a.pdf"), "document", "turn.document has neither link nor caption"),
        ({"type": "x" * 1000}, OTHER_TYPE, f"turn.type '{'x' * 40}…' cannot be shown as text"),
    ]

    #: Parts that are used: where they stand, and how an error names them.
    USED: list[tuple[dict[str, Any], str, bool]] = [
        (BUTTONS, "interactive", True),
        (BUTTONS, "interactive.type", True),
        (BUTTONS, "interactive.header", False),
        (BUTTONS, "interactive.header.type", False),
        (BUTTONS, "interactive.header.text", False),
        (BUTTONS, "interactive.body", True),
        (BUTTONS, "interactive.body.text", True),
        (BUTTONS, "interactive.footer", False),
        (BUTTONS, "interactive.footer.text", False),
        (BUTTONS, "interactive.action", True),
        (BUTTONS, "interactive.action.buttons", True),
        (BUTTONS, "interactive.action.buttons.1.reply", True),
        (BUTTONS, "interactive.action.buttons.1.reply.id", True),
        (BUTTONS, "interactive.action.buttons.1.reply.title", True),
        (LIST, "interactive.action.sections", True),
        (LIST, "interactive.action.sections.1.title", False),
        (LIST, "interactive.action.sections.1.rows", True),
        (LIST, "interactive.action.sections.1.rows.1.id", True),
        (LIST, "interactive.action.sections.1.rows.1.title", True),
        (LIST, "interactive.action.sections.0.rows.0.description", False),
        (URL, "interactive.action.parameters", True),
        (URL, "interactive.action.parameters.display_text", True),
        (URL, "interactive.action.parameters.url", True),
        (LOCATION_REQUEST, "interactive.body", True),
        (medium("image", link=LINK, caption="Look"), "image", True),
        (medium("image", link=LINK, caption="Look"), "image.link", False),
        (medium("image", link=LINK, caption="Look"), "image.caption", False),
        (medium("document", link=LINK, filename="a.pdf"), "document.filename", False),
        (LOCATION, "location", True),
        (LOCATION, "location.latitude", True),
        (LOCATION, "location.longitude", True),
        (LOCATION, "location.name", False),
        (LOCATION, "location.address", False),
        (CONTACTS, "contacts", True),
        (CONTACTS, "contacts.0.name", True),
        (CONTACTS, "contacts.0.name.formatted_name", True),
        (CONTACTS, "contacts.0.phones", False),
        (CONTACTS, "contacts.0.phones.0.phone", False),
    ]

    def refusal(self, error: type[RenderingError], turn: dict[str, Any], content: object = None) -> str:
        """What is said about a message that is refused."""
        return str(self.assertRaises(error, render, turn, content).details)

    def malformed(self) -> Iterator[tuple[dict[str, Any], str, Optional[str]]]:
        """Messages with one part that is malformed, that part, and what is said of it."""
        for turn, path, required in self.USED:
            name = "turn." + ".".join(path.split("."))
            for digit in "01":
                name = name.replace(f".{digit}", f"[{digit}]")
            yield with_value(turn, path, 7000), name, None
            if required:
                yield with_value(turn, path, ...), name, f"{name} is missing"
                yield with_value(turn, path, None), name, None

    def test_unknown(self) -> None:
        """A type that cannot be shown is its content, else refused by its name and by what content is."""
        for turn, name, details in self.UNKNOWN:
            with case(turn=turn, name=name, details=details):
                rendered = render(turn, "Hi \ud83d")
                self.assertEqual((rendered.parts, rendered.by_content, rendered.type), (("Hi \ufffd",), True, name))
                self.assertEqual(rendered.lost_media, name in ("image", "document"))
                contents = ((None, "missing"), ("", "empty"), (" \n", "empty"), (["Hi"], "a list"), (5, "a number"))
                for content, why in contents:
                    with case(content=content, why=why):
                        self.assertEqual(
                            self.refusal(UnsupportedType, turn, content), f"{details}, and content is {why}"
                        )

    def test_malformed(self) -> None:
        """A used part that is missing or of the wrong kind is replaced by content, else refused by its name."""
        for turn, name, details in self.malformed():
            with case(turn=turn, name=name, details=details):
                rendered = render(turn, "Hi")
                self.assertEqual((rendered.parts, rendered.by_content, rendered.type), (("Hi",), True, turn["type"]))
                for content in (None, "", ["Hi"]):
                    with case(content=content):
                        said = self.refusal(MalformedPart, turn, content)
                        self.assertTrue(said.startswith(f"{name} "), (name, said))
                        if details is not None:
                            self.assertEqual(said, details)

    def test_error_texts(self) -> None:
        """An error names the part, what it must be and what it is."""
        for path, value, details in (
            ("interactive.body.text", ["Hi"], "turn.interactive.body.text must be a string, not a list"),
            ("interactive.body", None, "turn.interactive.body must be an object, not null"),
            ("interactive.action.buttons", {}, "turn.interactive.action.buttons must be a list, not an object"),
            ("interactive.action.buttons", [], "turn.interactive.action.buttons must hold at least one choice"),
            ("interactive.action.buttons.1", 1.5, "turn.interactive.action.buttons[1] must be an object, not a number"),
            (
                "interactive.action.buttons.0.reply.title",
                " ",
                "turn.interactive.action.buttons[0].reply.title must not be empty",
            ),
        ):
            with case(path=path, value=value, details=details):
                self.assertEqual(self.refusal(MalformedPart, with_value(BUTTONS, path, value)), details)
        no_rows = with_value(LIST, "interactive.action.sections", [{"title": "Care", "rows": []}])
        self.assertEqual(
            self.refusal(MalformedPart, no_rows), "turn.interactive.action.sections must hold at least one choice"
        )
        self.assertEqual(
            self.refusal(MalformedPart, {"type": "contacts", "contacts": []}), "turn.contacts must not be empty"
        )

    def test_no_place(self) -> None:
        """Coordinates are numbers of this earth, also as strings."""
        for value in (90.5, -91, "91", "1e2", "nowhere", "", True, 10**5000, float("nan"), float("inf"), [1]):
            with case(value=value):
                turn = with_value(LOCATION, "location.latitude", value)
                self.assertEqual(
                    self.refusal(MalformedPart, turn), "turn.location.latitude must be a number from -90 to 90"
                )
        for key, value in (("longitude", -180), ("latitude", "+90.0")):
            with case(key=key, value=value):
                self.assertIn("maps?q=", text_of(with_value(LOCATION, f"location.{key}", value)))

    def test_text_is_not_replaced(self) -> None:
        """A malformed text, and a message that names no type, is refused whatever its content is."""
        for turn, details in (
            ({"type": "text"}, "turn.text is missing"),
            ({"type": "text", "text": "Hi"}, "turn.text must be an object, not a string"),
            ({"type": "text", "text": {"body": ["Hi"]}}, "turn.text.body must be a string, not a list"),
            ({"text": None}, "turn.text must be an object, not null"),
            ({}, "turn.type is missing"),
            ({"image": {"link": LINK}}, "turn.type is missing"),
            ({"type": ["text"], "text": {"body": "Hi"}}, "turn.type must be a string, not a list"),
        ):
            with case(turn=turn, details=details):
                self.assertEqual(self.refusal(MalformedPart, turn, "Hi"), details)

    def test_unused_is_not_judged(self) -> None:
        """Fields that are not used refuse nothing, of whatever kind they are."""
        odd: Any = [{"deep": [None]}, 1e400, 10**5000]
        for turn, path in (
            (BUTTONS, "interactive.action.buttons.0.type"),
            (LIST, "interactive.action.button"),
            (LOCATION_REQUEST, "interactive.action"),
            (LOCATION_REQUEST, "interactive.header"),
            (URL, "interactive.header"),
            (URL, "interactive.footer"),
            (URL, "interactive.action.name"),
            (CONTACTS, "contacts.0.phones.0.type"),
        ):
            with case(turn=turn, path=path):
                self.assertEqual(text_of(with_value(turn, path, odd)), text_of(turn))
        for turn, text in TABLE:
            with case(turn=turn, text=text):
                self.assertEqual(text_of({**turn, "preview_url": odd, "context": odd}), text)

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["text", "type", "title", "id", "link", "reply", "rows", "phone"]), inner),
        max_leaves=6,
    )  # fmt: skip

    @given(st.sampled_from([turn for turn, _ in TABLE]), st.data())
    def test_any_value_anywhere(self, turn: dict[str, Any], data: st.DataObject) -> None:
        """Whatever stands at any place, there is a text of strings or an error that names a part of ``turn``."""
        changed = copy.deepcopy(turn)
        place: Any = changed
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
                break
            place = place[key]
        place[key] = data.draw(self.json_values)
        try:
            text = numbered(render(changed).parts).text
        except RenderingError as error:
            self.assertTrue(error.details.startswith("turn."))
            json.dumps(error.details)
        else:
            text.encode("utf-8")
