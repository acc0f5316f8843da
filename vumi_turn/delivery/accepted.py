"""
What Turn has already accepted.
"""

from __future__ import annotations

import hashlib
from typing import Hashable, Optional

from ..timing.shared_bound import Bound

#: How many identities are remembered; those of all channels of a process together.
CAPACITY = 100_000

#: Bytes that stand for an identity.
SIZE = 16


class AcceptedIdentities:
    """
    The identities of accepted requests, the latest of them, as digests one
    behind the other: none takes memory before it is there, and adding one
    costs next to nothing. Looking one up goes through all of them, some 0.3 ms;
    that is done for what was delivered before, which is rare.

    :param capacity: how many are remembered.
    :param bound: how many all channels of the process remember.
    """

    def __init__(self, capacity: int = CAPACITY, bound: Optional[Bound] = None) -> None:
        # Taking something from the front of a bytearray moves nothing of the rest.
        self._digests = bytearray()
        self._bound = bound or Bound()
        self._bound.join(self, capacity)

    @property
    def held(self) -> int:
        """How many are remembered."""
        return len(self._digests) // SIZE

    def add(self, identity: Hashable) -> None:
        """
        Remember an identity as the latest one.

        :param identity: what ``repr`` tells apart from others.
        """
        self._put(_digest(identity))

    def __contains__(self, identity: Hashable) -> bool:
        digest = _digest(identity)
        found = self._digests.find(digest)
        while found > 0 and found % SIZE:  # it lies across two others
            found = self._digests.find(digest, found + 1)
        if found < 0:
            return False
        # Whoever asks may ask again: it stays for as long as a new one.
        del self._digests[found : found + SIZE]
        self._bound.removed(self)
        self._put(digest)
        return True

    def drop_oldest(self) -> None:
        """Forget the one that was added first."""
        del self._digests[:SIZE]
        self._bound.removed(self)

    def clear(self) -> None:
        """Forget all, and count no more."""
        self._bound.leave(self)
        self._digests.clear()

    def _put(self, digest: bytes) -> None:
        self._digests += digest
        self._bound.added(self)


def _digest(identity: Hashable) -> bytes:
    if isinstance(identity, bytes) and len(identity) == SIZE:
        return identity  # it is a digest already
    return hashlib.blake2b(repr(identity).encode("utf-8", "backslashreplace"), digest_size=SIZE).digest()
