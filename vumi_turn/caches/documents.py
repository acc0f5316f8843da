"""
Small documents beside the messages: menus, pages, joined ids and the like.

A cache keeps them as JSON and knows nothing of their meaning. One operation is
atomic across workers: :meth:`DocumentStore.update`.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from enum import Enum
from typing import Any, Callable, Generic, Mapping, Optional, TypeVar

#: JSON: None, bool, int, float, str, list, dict with text keys.
Document = Any

Result = TypeVar("Result")


class Lifetime(Enum):
    """For how long a document is kept after it was last written."""

    __hash__ = object.__hash__  # looked up for each document that is read or written

    TIMEOUT = "timeout"
    OUTBOUND_TIMEOUT = "outbound_timeout"


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A kind of document.

    :ivar name: part of each key; no colon in it.
    :ivar lifetime: which of the cache's two timeouts is its.
    :ivar written_once: who wrote one knows it also where the others cannot be asked.
    """

    name: str
    lifetime: Lifetime = Lifetime.TIMEOUT
    written_once: bool = False


@dataclass(frozen=True, slots=True)
class Change(Generic[Result]):
    """
    What becomes of a document.

    :ivar document: its new value; None removes it.
    :ivar result: what the caller of :meth:`DocumentStore.update` is told.
    """

    document: Optional[Document]
    result: Result


class DocumentStore(abc.ABC):
    """Keeps documents by kind and key. What is given in or out is not to be changed in place."""

    @abc.abstractmethod
    async def get(self, kind: Kind, key: str) -> Optional[Document]:
        """
        A document.

        :return: None if there is none, or no longer.
        :raises CacheUnavailable: there may be one, but it cannot be looked up.
        """

    @abc.abstractmethod
    async def put(self, kind: Kind, documents: Mapping[str, Optional[Document]]) -> None:
        """
        Write documents, all of them or none, whatever was there; None removes one.

        :raises CacheUnavailable: they were not written, or that is not known.
        """

    @abc.abstractmethod
    async def update(self, kind: Kind, key: str, change: Callable[[Optional[Document]], Change[Result]]) -> Result:
        """
        Change a document by what it is now, atomically across all workers.

        :param change: gets the document, or None, and says what becomes of it.
            It may be called several times, so it has no effects of its own.
        :return: the result of the change that was written.
        :raises CacheUnavailable: it was not written, or that is not known.
        """
