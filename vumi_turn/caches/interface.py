"""
What a message cache is.

A reply needs the message it answers, and a status needs the person it is
about; neither needs what was said, so a cache keeps no content.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Mapping, Optional

from twisted.internet.interfaces import IReactorTime

from ..configuration.fields import ConfigErrors
from ..timing.unavailable import TemporarilyUnavailable
from ..vumi.messages import TransportUserMessage
from .config import CacheConfig, read_cache_config
from .documents import DocumentStore
from .requests import RequestStore
from .requests_memory import MemoryRequestStore


class CacheUnavailable(TemporarilyUnavailable):
    """The cache cannot be asked at the moment; asking again later may work."""


class MessageCache(abc.ABC):
    """
    Remembers inbound messages by id and by person, and who each outbound
    message went to.

    Addresses are the same with and without a leading ``+``. Who has none is
    nobody: there is no last message without an address.

    A worker makes its cache as ``message_cache_class(config, clock, process,
    connector=name)``: its ``message_cache_config``, what measures timeouts,
    the :class:`~.shared.ProcessCaches` of the process, and the connector's name.
    """

    #: What ``message_cache_config`` may say.
    CONFIG_CLASS: ClassVar[type[CacheConfig]] = CacheConfig

    @classmethod
    def check_config(cls, config: Mapping[str, Any]) -> list[str]:
        """
        Look at a ``message_cache_config`` without using it.

        :return: one sentence for each wrong option, which names it as
            ``message_cache_config.timeout``; empty if all is well.
        """
        try:
            read_cache_config(cls.CONFIG_CLASS, config)
        except ConfigErrors as error:
            return error.errors
        return []

    @abc.abstractmethod
    async def start(self) -> None:
        """Make ready. A server that is away does not make this fail or wait for long."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """Close connections, end timers."""

    @property
    @abc.abstractmethod
    def healthy(self) -> bool:
        """False while the cache works worse than it should; ``/health`` says so."""

    @property
    def trouble(self) -> str:
        """Why it is not healthy, in few words and without secrets; empty where that is not known."""
        return ""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """How many messages this process holds in memory."""

    @property
    def replaced_keys(self) -> int:
        """How many entries could not be read, or were of another type, and were replaced since the start."""
        return 0

    @property
    def alone(self) -> bool:
        """Whether no other worker uses the cache, as far as is known."""
        return True

    @property
    @abc.abstractmethod
    def documents(self) -> DocumentStore:
        """What is kept beside the messages."""

    def request_store(self, clock: IReactorTime, repeat_window: float) -> RequestStore:
        """
        The store of Turn's requests that goes with this cache. Unless a cache
        has another it is one in memory, with no repeat window: it does not
        know who has written since a 200.

        :param clock: tells the time.
        :param repeat_window: seconds after a 200 in which the same body is the
            same message; 0 is off.
        """
        return MemoryRequestStore(clock, 0.0, lambda person: None)

    @abc.abstractmethod
    async def add_inbound(self, message: TransportUserMessage, *, first: bool = True) -> None:
        """
        Remember a person's message, and that it is their last one.

        A message that is delivered for the first time is the last one,
        whatever its timestamp says. One that comes again never takes the place
        of a newer one and never opens a session that was closed; newer is what
        its ``timestamp`` says. With ``session_event`` ``close`` the session
        that the message belongs to is closed, if it is the person's latest.

        :param message: it is kept without its content.
        :param first: False for a message that the broker has delivered
            before, and for one that was replayed.
        """

    @abc.abstractmethod
    async def get_inbound(self, message_id: str) -> Optional[TransportUserMessage]:
        """
        The inbound message with this id, its content None.

        :return: None if it is not known, or no longer.
        :raises CacheUnavailable: it may be known, but cannot be looked up.
        """

    @abc.abstractmethod
    async def get_last_inbound(self, address: Optional[str]) -> Optional[TransportUserMessage]:
        """
        The last message of the person with this address, its content None.

        :return: None if none is known, or if the session it belongs to is closed.
        :raises CacheUnavailable: another worker may know it, which can soon be asked.
        """

    async def is_in_latest_session(self, address: Optional[str], message_id: str) -> Optional[bool]:
        """
        Whether a message is in its sender's latest session, and that is open.

        :param address: the person's.
        :param message_id: of an inbound message of a session.
        :return: None where that is not known.
        :raises CacheUnavailable: another worker may know it, which can soon be asked.
        """
        return None

    @abc.abstractmethod
    async def close_session(self, address: Optional[str], message_id: str) -> None:
        """
        Close a session. Its messages stay known by their ids.

        :param address: the person's.
        :param message_id: of a message in the session that is meant. A message
            that is in none, an SMS say, closes none; nor is a session closed
            that began later.
        """

    @abc.abstractmethod
    async def add_outbound(self, message: TransportUserMessage) -> None:
        """Remember whom a message of ours goes to."""

    @abc.abstractmethod
    async def get_recipient(self, message_id: str) -> Optional[str]:
        """
        The ``to_addr`` of the outbound message with this id.

        :return: None if it is not known, or cannot be looked up now.
        """

    @abc.abstractmethod
    async def advance_status(self, message_id: str, final: bool) -> bool:
        """
        Note a status of an outbound message before it is sent to Turn.

        :param final: the message was delivered or has failed; else it was sent.
        :return: False where it would go backwards: it was sent, and a final
            status is known already. It is remembered for ``outbound_timeout``.
            While a shared cache is away each worker knows its own.
        """
