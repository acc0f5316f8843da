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
from ..vumi.messages import TransportUserMessage
from .config import CacheConfig, read_cache_config
from .requests import RequestStore
from .requests_memory import MemoryRequestStore

#: A message this many seconds older than the last one known of the same person
#: is taken for an old one that comes again (parked and replayed, say), although
#: the broker does not flag it. Clocks of transports differ by less.
LATE_AFTER = 60.0


class CacheUnavailable(Exception):
    """The cache cannot be asked at the moment; asking again later may work."""


class MessageCache(abc.ABC):
    """
    Remembers inbound messages by id and by person, and who each outbound
    message went to.

    Addresses are the same with and without a leading ``+``. Who has none is
    nobody: there is no last message without an address.
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
        """Let go of connections and timers."""

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

    @abc.abstractmethod
    async def add_inbound(self, message: TransportUserMessage, redelivered: bool = False) -> None:
        """
        Remember a person's message, and that it is their last one.

        A message that comes again never takes the place of a newer one and
        never opens a session that was closed; newer is what its ``timestamp``
        says. With ``session_event`` ``close`` the person's session is closed.

        :param message: it is kept without its content.
        :param redelivered: the broker has delivered it before. Then its
            timestamp is compared; a message that is delivered for the first
            time is the last one, because it came last.
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
        """

    @abc.abstractmethod
    async def close_session(self, address: Optional[str], message_id: Optional[str] = None) -> None:
        """
        Close the session of the person with this address, until a newer
        message of theirs comes. The message stays known by its id.

        :param message_id: close it only if this is still the id of their last
            message; so that a session that was opened meanwhile stays open.
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


def stripped(message: TransportUserMessage) -> TransportUserMessage:
    """What a cache keeps of a message: what a reply needs, without the content."""
    return message.bare()
