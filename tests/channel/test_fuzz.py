"""Random messages of Turn's through a whole worker: a screen that a phone can show, or a 400 that names the field."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.channel.test_conversations import ConversationCase
from tests.conversation.test_rendering import TABLE
from tests.http.case import Client, Response
from tests.http.case import request as web_request
from vumi_turn.caches.redis_format import decode_document, encode_document
from vumi_turn.conversation.gsm import is_gsm, septets, utf16_units
from vumi_turn.conversation.joining import Part
from vumi_turn.conversation.menus import Menu
from vumi_turn.conversation.numbering import numbered
from vumi_turn.conversation.pages import Pages
from vumi_turn.conversation.rendering import render
from vumi_turn.conversation.screen_options import ScreenOptions
from vumi_turn.vumi.messages import TransportUserMessage

#: What texts are made of: scripts that join, marks of direction, halves of pairs, and what costs two.
PIECES = st.sampled_from(
    [
        "a",
        "Yes",
        "1. ",
        "\n",
        " ",
        "\0",
        "€",
        "[",
        "ሰላም",
        "\u202e",
        "سلام",
        "\u200f",
        "कि",
        "👩🏽‍⚕️",
        "👨‍👩‍👧",
        "🇱",
        "e\u0301" * 9,
    ]
    + ["\ud83d", "\udc00", "\u2028", "\x85", "98", "x" * 150, "क्ष" * 40]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)
DEEP = json.loads("[" * 300 + "]" * 300)

#: Changes of a document: which place, by a number, and what is there then; ``...`` removes it.
CHANGES = st.lists(
    st.tuples(st.integers(0, 40), TEXTS | TEXTS | VALUES | st.just(...) | st.just(DEEP)), min_size=1, max_size=3
)
TURNS = st.sampled_from([turn for turn, _ in TABLE])

quick = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def changed(turn: dict[str, Any], changes: list[tuple[int, Any]]) -> dict[str, Any]:
    """A document with other values at some places."""
    document = copy.deepcopy(turn)
    for number, value in changes:
        places = list(places_of(document))
        if places:
            place, key = places[number % len(places)]
            if value is ...:
                del place[key]
            else:
                place[key] = copy.deepcopy(value)
    return document


def places_of(value: Any) -> Any:
    """Every place below a value: what holds it, and its key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)) and value[key] is not DEEP:
            yield from places_of(value[key])


def stored(document: Any) -> Any:
    """A document as a cache in Redis gives it back."""
    return decode_document(encode_document(document).encode("ascii"))


class FuzzTests(ConversationCase):
    """A USSD session, in which nothing is held."""

    def setUp(self) -> None:
        super().setUp()
        self.stop(self.worker)
        self.worker = self.start(page_back_key="0")
        self.turn = self.worker.fake_turn
        self.site = self.worker.channel.webhook.site()
        self.number = 0

    def post(self, body: dict[str, Any]) -> Response:
        """Turn's POST, as bytes."""
        client = Client(self.site)
        client.send(web_request(body=json.dumps(body).encode()))
        self.turns()
        response = client.response()
        client.leave()
        return response

    @quick
    @given(TURNS, CHANGES, TEXTS | VALUES, st.booleans())
    def test_documents(self, turn: dict[str, Any], changes: list[tuple[int, Any]], content: Any, waits: bool) -> None:
        """Whatever is in it: 200 and a screen that can be shown, or 400 that says what is wrong."""
        self.number += 1
        before = len(self.sent())
        self.say(f"i{self.number}", None, "new")
        body = {"to": "+26612345678", "turn": changed(turn, changes), "content": content}
        response = self.post({**body, "waiting_for_user_input": waits, "reply_to": f"i{self.number}"})
        self.assertEqual(self.flushLoggedErrors(), [])
        sent = self.sent()[before:]
        if response.status == 400:
            error = response.json["errors"][0]
            if error["title"] != "JsonDecodeError":  # NaN, infinity, and what is nested too deep
                self.assertIn(error["title"], ("ApiUsageError", "UnsupportedMessageType"))
                self.assertRegex(error["details"], r"^turn\b")
            self.assertEqual(sent, [])
            return
        self.assertEqual([(message.message_id, response.status) for message in sent], [(response.message_id, 200)])
        text = sent[0].content
        assert text is not None
        text.encode("utf-8")
        length, limit = (septets(text), 160) if is_gsm(text) else (utf16_units(text), 70)
        self.assertLessEqual(length, limit)
        more = text.endswith("\n98. More")
        self.assertEqual(sent[0].session_event, "resume" if waits or more else "close")
        if more:
            self.say(f"k{self.number}", "98")
            self.assertEqual(self.sent()[-1].in_reply_to, f"k{self.number}")


class DocumentTests(SynchronousTestCase):
    """What is kept in the cache and in the queue of parts."""

    @quick
    @given(TEXTS, st.booleans(), st.sampled_from([turn for turn, _ in TABLE if turn.get("type") == "interactive"]))
    def test_round_trip(self, text: str, ends: bool, turn: dict[str, Any]) -> None:
        """Menus, pages and parts come back from a cache and from their queue as they were."""
        whole = text.encode("utf-8", "replace").decode()
        pages = Pages.of(whole, ScreenOptions(back_key="0"), ends)
        self.assertEqual(Pages.from_json(stored(pages.to_json())), pages)
        document = changed(turn, [(number, whole) for number in (6, 9)])
        original = TransportUserMessage.send("*120#", None, from_addr="+266", session_event="new", message_id="i1")
        part = Part.from_json(Part("m1", original.bare(), document, whole, ends).to_json())
        self.assertEqual((part.turn, part.content, part.waits), (document, whole, ends))
        menu = numbered(render(turn).parts).menu
        if menu is not None:
            self.assertEqual(Menu.from_json(stored(menu.to_json())), menu)
