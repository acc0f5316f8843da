"""Connects vumi, over RabbitMQ, to Turn's Channels API."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

__all__ = ["MemoryMessageCache", "RedisMessageCache", "TurnChannels", "TurnChannelsApi", "__version__"]

#: Loaded when they are asked for, so that listing twistd's plugins stays cheap.
_LAZY = {
    "TurnChannels": "vumi_turn.channel.fleet",
    "TurnChannelsApi": "vumi_turn.channel.worker",
    "MemoryMessageCache": "vumi_turn.caches.memory",
    "RedisMessageCache": "vumi_turn.caches.redis",
}

if TYPE_CHECKING:
    from .caches.memory import MemoryMessageCache
    from .caches.redis import RedisMessageCache
    from .channel.fleet import TurnChannels
    from .channel.worker import TurnChannelsApi


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
