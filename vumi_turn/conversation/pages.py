"""
The pages of one message, between which a person moves by typing keys.

=========  ==================================  =========================
page       typed                               what is shown
=========  ==================================  =========================
not last   the next key                        the next page
not first  the back key, where there is one    the page before
last       the next key                        nothing: it is an answer
first      the back key                        nothing: it is an answer
any        anything else                       nothing: it is an answer
=========  ==================================  =========================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from .errors import UnreadableValue
from .screen_options import ScreenOptions
from .screens import paginate
from .typed import simplified


@dataclass(frozen=True, slots=True)
class Pages:
    """
    A message in pages; a cache keeps one of several pages until it is answered.

    The keys are those that stand on the pages, whatever is configured later.

    :ivar texts: the pages with their navigation lines, at least one.
    :ivar next_key: typed for the next page.
    :ivar back_key: typed for the page before, None if there is no way back.
    :ivar ends_session: the last page ends the session.
    """

    texts: tuple[str, ...] = field(repr=False)
    next_key: str
    back_key: Optional[str]
    ends_session: bool

    @classmethod
    def of(cls, text: str, options: ScreenOptions, ends_session: bool) -> Pages:
        """
        Divide a text into pages.

        :param ends_session: the whole message ends the session.
        """
        return cls(paginate(text, options, ends_session), options.next_key, options.back_key, ends_session)

    @property
    def several(self) -> bool:
        """Whether there is a page to turn to, so that a cache must keep them."""
        return len(self.texts) > 1

    def turned(self, page: int, typed: str) -> Optional[int]:
        """
        The page to show next; see the table above.

        :param page: the page that the person sees, from 0.
        :param typed: what the person answered to it.
        :return: its number, from 0; None if this is an answer to the message.
        """
        meant = simplified(typed)
        last = len(self.texts) - 1
        if meant == simplified(self.next_key):
            return page + 1 if 0 <= page < last else None
        if self.back_key is not None and meant == simplified(self.back_key):
            return page - 1 if 0 < page <= last and not self.is_end(page) else None
        return None

    def is_end(self, page: int) -> bool:
        """Whether a page, from 0, ends the session; after each other one an answer is awaited."""
        return self.ends_session and page == len(self.texts) - 1

    def to_json(self) -> dict[str, Any]:
        """Itself as a JSON object, for a cache."""
        return {
            "texts": list(self.texts),
            "next_key": self.next_key,
            "back_key": self.back_key,
            "ends_session": self.ends_session,
        }

    @classmethod
    def from_json(cls, value: object) -> Pages:
        """
        Read what ``to_json`` wrote.

        :raises UnreadableValue: it is something else.
        """
        match value:
            case {
                "texts": [_, *_] as texts,
                "next_key": str(next_key),
                "back_key": str() | None as back_key,
                "ends_session": bool(ends_session),
            } if all(isinstance(text, str) for text in texts):
                return cls(tuple(texts), next_key, back_key, ends_session)
        raise UnreadableValue("not the pages of a message")
