"""
What Turn has already accepted.
"""

from __future__ import annotations

from typing import Hashable

#: How many identities are remembered.
CAPACITY = 100_000


class Sent:
    """
    The identities of accepted parcels, the latest of them.

    :param capacity: how many are remembered.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._identities: dict[Hashable, None] = {}

    def add(self, identity: Hashable) -> None:
        """Remember an identity as the latest one."""
        identities = self._identities
        if identity in identities:
            del identities[identity]
        elif len(identities) >= self._capacity:
            del identities[next(iter(identities))]
        identities[identity] = None

    def __contains__(self, identity: Hashable) -> bool:
        if identity not in self._identities:
            return False
        # Whoever asks may ask again: it stays for as long as a new one.
        del self._identities[identity]
        self._identities[identity] = None
        return True

    def __len__(self) -> int:
        return len(self._identities)
