"""Pages' files, and the visual language that pages share."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.cases import case
from vumi_turn.http.static_files import TYPES, design_files

#: No text is harder to read than this (WCAG 2.1, AA), and no border of a field or focus ring harder to see.
TEXT, EDGE = 4.5, 3.0

DESIGN = resources.files("vumi_turn.http") / "design"


class DesignResource(Resource):
    """Serves the design's files by the query, as a page's route does."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        body = design_files().respond(request, request.path.decode("ascii")[1:])
        if body is None:
            request.setResponseCode(404)
        return body or b""


class StaticFilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.treq = StubTreq(DesignResource())

    def get(self, name: str, **headers: str) -> Any:
        return self.successResultOf(self.treq.get(f"http://127.0.0.1/{name}", headers=headers))

    def test_types(self) -> None:
        """Each file is answered with the type that its ending says."""
        for name in ("tokens.css", "parts.css", "parts.js", "icons.svg"):
            with case(name=name):
                answer = self.get(name)
                (given,) = answer.headers.getRawHeaders("content-type")
                self.assertEqual((answer.code, given), (200, TYPES["." + name.partition(".")[2]]))
                self.assertEqual(self.successResultOf(answer.content()), (DESIGN / name).read_bytes())

    def test_elsewhere(self) -> None:
        """What is not in the folder is not served."""
        for name in ("", "static_files.py", "..%2Fserver.py", "../server.py", "no.css"):
            with case(name=name):
                self.assertEqual(self.get(name).code, 404)

    def test_known_version(self) -> None:
        """A browser that has a file's present version is not sent it again; one that has another is."""
        (tag,) = self.get("parts.css").headers.getRawHeaders("etag")
        again = self.get("parts.css", **{"If-None-Match": tag})
        self.assertEqual((again.code, self.successResultOf(again.content())), (304, b""))
        self.assertEqual(self.get("parts.css", **{"If-None-Match": '"other"'}).code, 200)


class TokenTests(SynchronousTestCase):
    """The colours, in light and dark."""

    def setUp(self) -> None:
        text = (DESIGN / "tokens.css").read_text("utf-8")
        light, _, dark = text.partition("@media (prefers-color-scheme: dark)")
        self.light = self.colours(light)
        self.dark = {**self.light, **self.colours(dark)}

    def colours(self, text: str) -> dict[str, str]:
        return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", text))

    def test_both_schemes(self) -> None:
        """Each colour has a value for dark pages too."""
        text = (DESIGN / "tokens.css").read_text("utf-8").partition("@media")[2]
        self.assertEqual(set(self.colours(text)), set(self.light))

    def test_texts(self) -> None:
        """Each colour of text can be read on each surface, and a state's words on the state's own."""
        surfaces = ("page", "panel", "raised", "sunken", "hover", "chosen")
        pairs = [(ink, back) for ink in ("ink", "soft", "link") for back in surfaces]
        pairs += [(state, f"{state}-back") for state in ("good", "warn", "bad", "info", "idle")]
        pairs += [("bad", "panel"), ("good", "chosen"), ("on-accent", "accent"), ("on-accent", "accent-hover")]
        self.check(pairs, TEXT)

    def test_edges(self) -> None:
        """A field's border and the ring around what has the focus can be seen."""
        self.check([(edge, back) for edge in ("edge-strong", "focus") for back in ("page", "panel", "raised")], EDGE)

    def check(self, pairs: list[tuple[str, str]], least: float) -> None:
        for scheme, colours in (("light", self.light), ("dark", self.dark)):
            with case(scheme=scheme, colours=colours):
                for one, other in pairs:
                    with case(one=one, other=other):
                        ratio = contrast(colours[one], colours[other])
                        self.assertGreaterEqual(ratio, least, f"{scheme}: {one} on {other} is {ratio:.2f}")


class IconTests(SynchronousTestCase):
    def test_named_once(self) -> None:
        """Each icon has a name of its own, and no colour or size of its own."""
        text = (DESIGN / "icons.svg").read_text("utf-8")
        names = re.findall(r'<symbol id="([a-z-]+)" viewBox="0 0 16 16">', text)
        self.assertGreater(len(names), 30)
        self.assertEqual((len(names), len(names)), (len(set(names)), text.count("<symbol")))
        self.assertNotRegex(text, "fill=|stroke=")


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours, as ``#rrggbb``."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """WCAG's relative luminance."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
