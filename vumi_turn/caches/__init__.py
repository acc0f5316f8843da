"""
Message caches: what the worker remembers of the messages it has carried.

``memory`` and ``redis`` keep the one interface of ``interface``; the same
contract tests run on both.
"""

from __future__ import annotations

from .interface import CacheConfigError, CacheUnavailable, MessageCache, normalise_address

__all__ = ["CacheConfigError", "CacheUnavailable", "MessageCache", "normalise_address"]
