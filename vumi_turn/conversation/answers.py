"""
How an input of a session has been answered, as every worker of the connector
must know: a screen shows one answer for each input.

=========  ==============================  =======================================
state      what has happened               what another answer to it becomes
=========  ==============================  =======================================
none       nothing                         a part, or a message that waits
joining    a part is being held            joins it
closed     what was joined was published   a message of its own, ``resume``
answered   a message that waits for input  a message of its own, ``resume``
           or a page was published
=========  ==============================  =======================================

While an input is ``joining`` and a message that waits is on its way to join
(``waiting``), nothing is closed. A document names the message that answered
(``id``), those of Turn's that were joined into it (``ids``), and whether it
ended the session (``ends``) or was one of several pages (``page``).
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Sequence

from ..caches.documents import Change, DocumentStore, Kind

ANSWER = Kind("answer")


class AnswerState(Enum):
    """See the table above."""

    NONE = "none"
    JOINING = "joining"
    CLOSED = "closed"
    ANSWERED = "answered"


class Finish(Enum):
    """How a joined message is to be published."""

    #: It ends the session.
    CLOSE = "close"
    #: The session goes on.
    RESUME = "resume"
    #: The input has been answered with another message; the session goes on.
    LATE = "late"
    #: A message that waits is on its way to join it.
    HOLD = "hold"


class InputAnswers:
    """
    Knows how inputs were answered.

    :param documents: of the message cache. Each method raises
        :exc:`~vumi_turn.caches.CacheUnavailable` where it cannot be asked.
    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def begin_part(self, input_id: str, message_id: str) -> AnswerState:
        """
        A message that does not wait answers an input: mark it, before the part
        is published.

        :param message_id: its id.
        :return: how it was answered before. Where that is ``closed`` or
            ``answered`` there is nothing to join.
        """

        def begin(document: Any) -> Change[AnswerState]:
            state = _state_for(document, message_id)
            if _is_answered(document):
                return Change(document, state)
            return Change({"state": AnswerState.JOINING.value, "waiting": _waiting(document)}, state)

        return await self._documents.update(ANSWER, input_id, begin)

    async def begin_waiting(self, input_id: str, message_id: str) -> AnswerState:
        """
        A message that waits answers an input. Where parts of it are held it
        is to join them, and nothing is closed until it has.

        :param message_id: its id.
        :return: how the input was answered before.
        """

        if await self._documents.get(ANSWER, input_id) is None:
            return AnswerState.NONE

        def begin(document: Any) -> Change[AnswerState]:
            state = _state_for(document, message_id)
            if state is AnswerState.JOINING and not _is_answered(document):
                return Change({"state": AnswerState.JOINING.value, "waiting": True}, state)
            return Change(document, state)

        return await self._documents.update(ANSWER, input_id, begin)

    async def state_of(self, input_id: str) -> AnswerState:
        """How an input was answered so far."""
        return _state_of(await self._documents.get(ANSWER, input_id))

    async def state_for(self, input_id: str, message_id: str) -> AnswerState:
        """How an input was answered before a message, which may have been published already, answers it."""
        return _state_for(await self._documents.get(ANSWER, input_id), message_id)

    async def answered(self, input_id: str, message_id: str, page: bool = False) -> None:
        """
        A message that waits for input, or a page, is about to be published.

        :param message_id: its id.
        :param page: it is one of several pages.
        """

        def answer(document: Any) -> Change[None]:
            answered = {"state": AnswerState.ANSWERED.value, "id": message_id, **({"page": True} if page else {})}
            if _is_answered(document) and document.get("id") == message_id:
                answered = {**document, **answered}
            return Change(answered, None)

        await self._documents.update(ANSWER, input_id, answer)

    async def shows_page(self, input_id: str) -> bool:
        """Whether an input was answered with one of several pages."""
        document = await self._documents.get(ANSWER, input_id)
        return isinstance(document, dict) and document.get("page") is True

    async def finish(self, input_id: str, message_id: str, waits: bool, ids: Sequence[str]) -> Finish:
        """
        What is held for an input is about to be published as one message.
        Asked again with the same id, after a restart for example, the answer
        is the same.

        :param message_id: of the joined message.
        :param waits: it waits for an answer.
        :param ids: of the messages that are joined into it.
        :return: how it is to be published, or that it is to be held on.
        """

        def finish(document: Any) -> Change[Finish]:
            if _is_answered(document):
                if document.get("id") != message_id:
                    return Change(document, Finish.LATE)
                ends = document.get("ends") is True and not waits
                more = [name for name in ids if name not in _ids_of(document)]
                same = {**document, "ids": [*_ids_of(document), *more]} if more else document
                return Change(same, Finish.CLOSE if ends else Finish.RESUME)
            if waits:
                answered = {"state": AnswerState.ANSWERED.value, "id": message_id, "ids": list(ids)}
                return Change(answered, Finish.RESUME)
            if _waiting(document):
                return Change(document, Finish.HOLD)
            closed = {"state": AnswerState.CLOSED.value, "id": message_id, "ids": list(ids), "ends": True}
            return Change(closed, Finish.CLOSE)

        return await self._documents.update(ANSWER, input_id, finish)


def _state_of(document: Any) -> AnswerState:
    try:
        return AnswerState(document["state"])
    except (KeyError, TypeError, ValueError):
        return AnswerState.NONE


def _is_answered(document: Any) -> bool:
    return _state_of(document) in (AnswerState.CLOSED, AnswerState.ANSWERED)


def _ids_of(document: Any) -> list[str]:
    ids = document.get("ids") if isinstance(document, dict) else None
    return ids if isinstance(ids, list) else []


def _state_for(document: Any, message_id: str) -> AnswerState:
    """
    How an input was answered, for one more message. One that comes again, as
    Turn's repeat, does not answer it a second time: if it was joined its way
    is the queue, where it is known; else it is the answer itself.
    """
    state = _state_of(document)
    if state not in (AnswerState.CLOSED, AnswerState.ANSWERED):
        return state
    if message_id in _ids_of(document):
        return AnswerState.JOINING
    return AnswerState.NONE if document.get("id") == message_id else state


def _waiting(document: Any) -> bool:
    return isinstance(document, dict) and document.get("waiting") is True
