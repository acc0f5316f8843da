"""
What people were shown, and what they mean by what they type.

Kept as documents in the message cache, so that every worker knows them:

=========  ====================  ===================================================
kind       key                   document
=========  ====================  ===================================================
person     the address           ``menu``, ``pages``, ``page``: what the person sees;
                                 the input that turned the page is its ``key``, and
                                 ``shown_by`` is the id of the message that shows it
input      an inbound message    ``choice``, ``typed``, or the page that was shown
=========  ====================  ===================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import Any, Callable, Mapping, Optional, Protocol, Sequence, Union

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..caches import CacheUnavailable, person_of
from ..caches.documents import Change, DocumentStore, Kind
from ..vumi.messages import TransportUserMessage
from .errors import UnreadableValue
from .menus import Choice, Menu, OutOfRange, choose_stored, menu_after_message
from .numbering import numbered
from .pages import Pages
from .rendering import Rendered
from .screen_options import ScreenOptions

PERSON = Kind("person")
INPUT = Kind("input")

#: Seconds for which an input waits for a message cache that is away.
CACHE_WAIT = 5.0
#: Seconds between two looks whether it is back.
CACHE_RETRY = 0.25

#: Messages that begin or go on with a session have one of these.
IN_SESSION = (TransportUserMessage.SESSION_NEW, TransportUserMessage.SESSION_RESUME)


@dataclass(frozen=True, slots=True)
class PageTurned:
    """
    An input that asks for another page.

    :ivar text: the page.
    :ivar message_id: the id of the message that shows it.
    :ivar ends_session: nothing is expected after it.
    """

    text: str = field(repr=False)
    message_id: str
    ends_session: bool

    def to_json(self) -> dict[str, Any]:
        """Itself as a JSON object."""
        return {"page": self.text, "id": self.message_id, "end": self.ends_session}


class InputArrival(Enum):
    """How an input came."""

    FIRST = "first"
    #: The broker delivers it once more; whether it was consumed before is not known.
    AGAIN = "again"
    #: The broker delivers it once more, and it was consumed before.
    CONSUMED = "consumed"
    #: It was parked, and was put back into its queue.
    REPLAYED = "replayed"


#: What an input means; None: what was typed.
Meaning = Union[Choice, PageTurned, None]


@dataclass(frozen=True, slots=True)
class Shown:
    """
    What a person is shown by one message of ours.

    :ivar text: the whole text, or the first page of it.
    :ivar menu: the choices, if there are any.
    :ivar pages: all pages, if there are several.
    :ivar waits: an answer is expected.
    :ivar goes_on: the session goes on after it, also where no answer is expected.
    """

    text: str = field(repr=False)
    menu: Optional[Menu]
    pages: Optional[Pages]
    waits: bool
    goes_on: bool

    @property
    def session_event(self) -> str:
        """``resume`` while there is anything that the person may answer, else ``close``."""
        if self.goes_on or self.pages is not None:
            return TransportUserMessage.SESSION_RESUME
        return TransportUserMessage.SESSION_CLOSE


class ConversationObserver(Protocol):
    """Counts what people do."""

    def choice(self, outcome: str) -> None:
        """A person with a menu typed something: ``made``, ``typed_through``, ``out_of_range``, ``cache_away``."""

    def page_shown(self) -> None:
        """Another page was asked for."""


class Conversations:
    """
    Reads inputs, and composes what people are shown.

    :param documents: of the message cache.
    :param clock: measures the wait for a cache that is away.
    :param screen: how long a screen is; None where nothing is paged.
    :param new_id: makes the ids of messages that show pages.
    :param observer: counts.
    """

    def __init__(
        self,
        documents: DocumentStore,
        clock: IReactorTime,
        screen: Optional[ScreenOptions],
        new_id: Callable[[], str],
        observer: ConversationObserver,
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._screen = screen
        self._new_id = new_id
        self._observer = observer

    # -- from a person ------------------------------------------------------------

    async def read_input(
        self, message: TransportUserMessage, arrival: InputArrival, ends_session: bool = True
    ) -> Meaning:
        """
        What a person means. It is decided once, when the message is first
        consumed, and remembered for when it comes again.

        :param arrival: how it came.
        :param ends_session: a close is that of the session which the person is in, not of another one.
        :return: None where it is what was typed, also where the cache cannot
            be asked for :data:`CACHE_WAIT` seconds.
        """
        given_up_at = self._clock.seconds() + CACHE_WAIT
        while True:
            try:
                return await self._read(message, arrival, ends_session)
            except CacheUnavailable:
                if self._clock.seconds() >= given_up_at:
                    self._observer.choice("cache_away")
                    return None
            await deferLater(self._clock, CACHE_RETRY)

    async def _read(self, message: TransportUserMessage, arrival: InputArrival, ends_session: bool) -> Meaning:
        if arrival is not InputArrival.FIRST:
            note = await self._documents.get(INPUT, message.message_id)
            if note is not None:
                await self._keep_note(message.message_id, note)
                return _meaning_of(note)
        person = person_of(message.from_addr)
        seen = await self._documents.get(PERSON, person) if person else None
        if seen is None:
            return None
        if arrival in (InputArrival.CONSUMED, InputArrival.REPLAYED) and seen.get("key") != message.message_id:
            return None  # nothing was asked then; what the person sees by now came later
        if message.session_event == TransportUserMessage.SESSION_NEW:
            await self._documents.put(PERSON, {person: None})
            return None
        if message.session_event == TransportUserMessage.SESSION_CLOSE and ends_session:
            await self._forget_pages(person)
        typed = message.content
        if not typed:
            return None
        if message.session_event == TransportUserMessage.SESSION_RESUME and "pages" in seen:
            turned = await self._turn_page(person, seen, typed, message.message_id)
            if turned is not None:
                return turned
        return await self._choose(seen, typed, message.message_id)

    async def _keep_note(self, message_id: str, note: Any) -> None:
        """For as long again: while Turn is away an input comes again and again, and is still what it was."""
        try:
            await self._documents.put(INPUT, {message_id: note})
        except CacheUnavailable:
            pass

    async def _turn_page(
        self, person: str, seen: Mapping[str, Any], typed: str, message_id: str
    ) -> Optional[PageTurned]:
        if _pages_of(seen) is None:
            return None
        new_id = self._new_id()

        def turn(document: Any) -> Change[Optional[PageTurned]]:
            pages = _pages_of(document or {})
            if pages is None:
                return Change(document, None)
            if document.get("key") == message_id:  # a worker was killed before it noted more of it
                page, shown_by = document.get("page", 0), document.get("shown_by", new_id)
            else:
                page, shown_by = pages.turned(document.get("page", 0), typed), new_id
            if page is None:
                return Change(document, None)
            turned = PageTurned(pages.texts[page], shown_by, pages.is_end(page))
            return Change({**document, "page": page, "key": message_id, "shown_by": shown_by}, turned)

        turned = await self._documents.update(PERSON, person, turn)
        if turned is not None:
            await self._documents.put(INPUT, {message_id: turned.to_json()})
            self._observer.page_shown()
        return turned

    async def _choose(self, seen: Mapping[str, Any], typed: str, message_id: str) -> Optional[Choice]:
        if "menu" not in seen:
            return None
        try:
            chosen = choose_stored(seen["menu"], typed)
        except UnreadableValue:
            return None
        if isinstance(chosen, Choice):
            await self._documents.put(INPUT, {message_id: {"choice": chosen.to_json()}})
            self._observer.choice("made")
            return chosen
        # Noted too: when it comes again the person may have another menu.
        await self._documents.put(INPUT, {message_id: {"typed": True}})
        self._observer.choice("out_of_range" if isinstance(chosen, OutOfRange) else "typed_through")
        return None

    async def _forget_pages(self, person: str) -> None:
        def without_pages(document: Any) -> Change[None]:
            return Change(_kept(_menu_json(document), None, 0), None)

        await self._documents.update(PERSON, person, without_pages)

    # -- to a person --------------------------------------------------------------

    def compose(self, messages: Sequence[Rendered], *, waits: bool, in_session: bool, goes_on: bool) -> Shown:
        """
        The text of one message, or of several that are shown as one.

        :param messages: as they were rendered, in order.
        :param waits: an answer is expected.
        :param in_session: it is shown on a screen, which has a size.
        :param goes_on: the session goes on after it: as a rule where an answer is expected.
        """
        screen = self._screen if in_session else None
        parts = chain.from_iterable(message.parts for message in messages)
        whole = numbered(parts, () if screen is None else screen.keys)
        if screen is None:
            return Shown(whole.text, whole.menu, None, waits, goes_on)
        pages = Pages.of(whole.text, screen, not goes_on)
        return Shown(pages.texts[0], whole.menu, pages if pages.several else None, waits, goes_on)

    async def note_shown(self, address: Optional[str], shown: Shown) -> None:
        """
        Remember what a person is about to be shown. It is written before the
        message is published: the answer may be faster than the confirmation.

        :raises CacheUnavailable: it is not remembered: keys and numbers go to
            Turn as they are typed.
        """
        person = person_of(address)
        if not person:
            return
        if shown.menu is None and shown.pages is None:
            if not shown.waits:
                return  # nothing is asked: what was asked before still is
            if await self._documents.get(PERSON, person) is None:
                return

        def show(document: Any) -> Change[None]:
            menu = menu_after_message(_menu_of(document or {}), shown.menu, shown.waits)
            pages = None if shown.pages is None else shown.pages.to_json()
            return Change(_kept(None if menu is None else menu.to_json(), pages, 0), None)

        await self._documents.update(PERSON, person, show)


def _kept(menu: Any, pages: Any, page: int) -> Optional[dict[str, Any]]:
    """A person's document; None where there is nothing to keep."""
    document: dict[str, Any] = {}
    if menu is not None:
        document["menu"] = menu
    if pages is not None:
        document["pages"] = pages
        document["page"] = page
    return document or None


def _menu_json(document: Any) -> Any:
    return None if document is None else document.get("menu")


def _menu_of(document: Mapping[str, Any]) -> Optional[Menu]:
    try:
        return Menu.from_json(document["menu"]) if "menu" in document else None
    except UnreadableValue:
        return None


def _pages_of(document: Mapping[str, Any]) -> Optional[Pages]:
    try:
        return Pages.from_json(document["pages"]) if "pages" in document else None
    except UnreadableValue:
        return None


def _meaning_of(note: Any) -> Meaning:
    match note:
        case {"page": str(text), "id": str(message_id), "end": bool(end)}:
            return PageTurned(text, message_id, end)
        case {"choice": choice}:
            try:
                return Choice.from_json(choice)
            except UnreadableValue:
                return None
    return None
