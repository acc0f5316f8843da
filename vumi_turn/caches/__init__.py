"""
Message caches: what the worker remembers of the messages it has carried.

``memory`` and ``redis`` keep the one interface of ``interface``; the same
contract tests run on both.
"""

from __future__ import annotations

from .addresses import person_of
from .interface import CacheUnavailable, MessageCache

__all__ = ["CacheUnavailable", "MessageCache", "person_of"]
