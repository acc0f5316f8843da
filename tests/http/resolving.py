"""A reactor in memory that knows names too, the same with every release of Twisted."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer


class Names:
    """A resolver that knows where everything is, or nothing."""

    known = True

    def resolveHostName(self, receiver: Any, name: str, portNumber: int = 0, *args: Any, **kw: Any) -> None:
        receiver.resolutionBegan(None)
        if self.known:
            receiver.addressResolved(IPv4Address("TCP", "192.0.2.1", portNumber))
        receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class ResolvingReactor(MemoryReactorClock):
    """Connects and resolves in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver: Any = Names()
